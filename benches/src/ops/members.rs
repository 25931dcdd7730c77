//! The sequencers of a stage: keys, the register, and what the chain says of them.

use std::time::{Duration, Instant};

use alloy_primitives::Address;
use alloy_sol_types::sol;
use anyhow::{Context, Result, ensure};
use api::keys::v1::{CreateKeyRequest, KeyRole};
use api::lifecycle::v1::register_sequencer_request::{Owner, Signer};
use api::lifecycle::v1::{CreateOperationRequest, ListSequencersRequest, Phase, RegisterSequencerRequest};
use chain::abi::{Erc20, LockingPool};
use domain::amount::{Eth, Metis};
use domain::pubkey::PublicKey;
use futures::{StreamExt, TryStreamExt, stream};
use sqlx::Row;
use testkit::contracts::{Action, node_key};
use uuid::Uuid;

use super::stage::{EPOCH_BLOCKS, NETWORK, Stage};

/// What is asked of a service at once while a stage is set up.
const AT_ONCE: usize = 16;
/// More than this and something is broken.
const PHASE_MAX: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);
const ETH: u64 = 10;
/// What each owns, and locks.
pub const METIS: u64 = 20_000;
const PAGE: i32 = 500;

sol! {
    // Of our own token only: nobody can do that on a public chain.
    interface MetisToken {
        function mint(address to, uint256 amount) external;
    }
}

/// A sequencer of ours: its owner's key is in keys, its signer's key somewhere else.
#[derive(Debug, Clone)]
pub struct Member {
    /// Id in the register.
    pub id: String,
    /// Owner on L1.
    pub owner: Address,
    /// Public key of the signer.
    pub signer: PublicKey,
}

/// Makes so many sequencers: keys, ETH, METIS, whitelisted, registered.
///
/// # Errors
/// When a service or the chain refuses.
pub async fn whitelisted(stage: &Stage, count: usize) -> Result<Vec<Member>> {
    let keys = stream::iter(0..count).map(|number| owner_key(stage, number)).buffered(AT_ONCE);
    let keys: Vec<(String, Address)> = keys.try_collect().await?;
    let owners: Vec<Address> = keys.iter().map(|(_, owner)| *owner).collect();
    fund(stage, &owners).await?;
    let members = stream::iter(keys.into_iter().enumerate());
    let members = members.map(|(number, key)| register(stage, number, key)).buffered(AT_ONCE);
    let members: Vec<Member> = members.try_collect().await?;
    until(stage, Phase::Whitelisted, count).await?;
    Ok(members)
}

/// Gives owners ETH and METIS, and lets them in.
///
/// # Errors
/// When the chain refuses.
pub async fn fund(stage: &Stage, owners: &[Address]) -> Result<()> {
    let mut actions = Vec::new();
    for owner in owners {
        stage.l1.link.set_balance(*owner, Eth::whole(ETH).0).await?;
        let mint = MetisToken::mintCall { to: *owner, amount: Metis::whole(METIS).0 };
        actions.push(Action::call(stage.l1.deployer, stage.l1.metis, &mint));
        let admit = LockingPool::setWhitelistCall { addr: *owner, yes: true };
        actions.push(Action::call(stage.l1.deployer, stage.l1.locking_pool, &admit));
    }
    stage.l1.link.act_all(&actions).await?;
    Ok(())
}

/// Gives each signer an epoch of L2, so that a sequencer is ACTIVE as soon as it is locked.
///
/// # Errors
/// When the chain refuses, or the service does not learn of it.
pub async fn known_to_consensus(stage: &Stage, members: &[Member]) -> Result<()> {
    for member in members {
        stage.l2.commit_epoch(member.signer.address()).await?;
        // The epoch before the one that is queued must be over; the commit itself was one block.
        stage.l2.link.mine(EPOCH_BLOCKS - 1).await?;
    }
    let begun = Instant::now();
    let mut sql = stage.sql().await?;
    loop {
        let known = sqlx::query("SELECT count(*) FROM lifecycle.producer").fetch_one(&mut sql).await?;
        let known: i64 = known.try_get(0)?;
        if usize::try_from(known)? >= members.len() {
            return Ok(());
        }
        ensure!(begun.elapsed() < PHASE_MAX, "{known} signers are known: {}", stage.said());
        tokio::time::sleep(LOOK).await;
    }
}

/// The same with what they own locked.
///
/// # Errors
/// As [`whitelisted`].
pub async fn locked(stage: &Stage, count: usize) -> Result<Vec<Member>> {
    let members = whitelisted(stage, count).await?;
    let mut actions = Vec::new();
    for Member { owner, signer, .. } in &members {
        let approve = Erc20::approveCall { spender: stage.l1.locking_info, value: Metis::whole(METIS).0 };
        actions.push(Action::call(*owner, stage.l1.metis, &approve));
        let lock = LockingPool::lockWithRewardRecipientCall {
            signer: signer.address(),
            rewardRecipient: *owner,
            amount: Metis::whole(METIS).0,
            signerPubkey: signer.bytes64().into(),
        };
        actions.push(Action::call(*owner, stage.l1.locking_pool, &lock));
    }
    stage.l1.link.act_all(&actions).await?;
    until(stage, Phase::Locked, count).await?;
    Ok(members)
}

/// Asks for all of these, some at a time.
///
/// # Errors
/// When one is refused.
pub async fn ask_all(stage: &Stage, requests: Vec<CreateOperationRequest>) -> Result<()> {
    let asking = stream::iter(requests).map(|request| {
        let mut client = stage.lifecycle();
        async move { client.create_operation(request).await }
    });
    asking.buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
    Ok(())
}

/// Waits until so many sequencers are in a phase.
///
/// # Errors
/// When they do not get there.
pub async fn until(stage: &Stage, phase: Phase, count: usize) -> Result<()> {
    let begun = Instant::now();
    let mut client = stage.lifecycle();
    loop {
        let (mut found, mut page_token) = (0, String::new());
        loop {
            let request = ListSequencersRequest {
                network: NETWORK.to_owned(),
                phase: phase.into(),
                page_size: PAGE,
                page_token,
                ..Default::default()
            };
            let page = client.list_sequencers(request).await?.into_inner();
            found += page.sequencers.len();
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if found >= count {
            return Ok(());
        }
        let name = phase.as_str_name();
        ensure!(begun.elapsed() < PHASE_MAX, "{found} of {count} are {name}: {}", stage.said());
        tokio::time::sleep(LOOK).await;
    }
}

async fn owner_key(stage: &Stage, number: usize) -> Result<(String, Address)> {
    let request = CreateKeyRequest {
        request_id: Uuid::now_v7().to_string(),
        name: format!("owner-{number}"),
        role: KeyRole::Owner.into(),
        ..Default::default()
    };
    let key = stage.keys().create_key(request).await?.into_inner().key.context("a key")?;
    let address = key.public_key.context("a public key")?.address.parse()?;
    Ok((key.id, address))
}

async fn register(stage: &Stage, number: usize, (key, owner): (String, Address)) -> Result<Member> {
    let signer = node_key(&format!("{owner}"));
    let request = RegisterSequencerRequest {
        request_id: Uuid::now_v7().to_string(),
        network: NETWORK.to_owned(),
        name: format!("member-{number:05}"),
        owner: Some(Owner::OwnerKeyId(key)),
        signer: Some(Signer::SignerPubkey(signer.listing())),
        ..Default::default()
    };
    let answer = stage.lifecycle().register_sequencer(request).await?.into_inner();
    let id = answer.sequencer.context("a sequencer")?.id;
    Ok(Member { id, owner, signer })
}
