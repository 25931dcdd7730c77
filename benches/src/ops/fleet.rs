//! A thousand sequencers from WHITELISTED to ACTIVE, beside a script that only signs and sends the same transactions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use alloy_sol_types::SolCall;
use anyhow::{Context, Result, ensure};
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{CreateOperationRequest, LockParameters, OperationMode, OperationParameters, Phase};
use chain::abi::{Erc20, LockingPool};
use domain::amount::Metis;
use domain::pubkey::PublicKey;
use futures::{StreamExt, TryStreamExt, stream};
use k256::ecdsa::SigningKey;
use serde_json::json;
use testkit::contracts::{Link, node_key, secret};
use uuid::Uuid;

use super::members::{self, METIS, Member};
use super::stage::{BLOCK_GAS, Stage};
use super::world::world;
use crate::report::{Figure, rounded};

const SEQUENCERS: usize = 1_000;
const AT_ONCE: usize = 16;
/// The promise: this often the time of the script.
const TIMES_MAX: f64 = 1.5;
const SCRIPT_MAX: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);
const GWEI: u128 = 1_000_000_000;
/// As lifecycle gives an approval, and a lock that it cannot estimate.
const GAS: [u64; 2] = [100_000, 800_000];

/// Ours, then the script on a stage of its own.
pub async fn thousand() -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let stage = Stage::start(world).await?;
    let members = members::whitelisted(&stage, SEQUENCERS).await?;
    members::known_to_consensus(&stage, &members).await?;
    stage.with_the_clock().await?;
    let begun = Instant::now();
    members::ask_all(&stage, members.iter().map(lock).collect()).await?;
    let asked = begun.elapsed();
    members::until(&stage, Phase::Active, SEQUENCERS).await?;
    let ours = begun.elapsed();
    world.drop_database(&stage.database).await?;
    drop(stage);
    let stage = Stage::start(world).await?;
    let script = script(&stage).await?;
    world.drop_database(&stage.database).await?;
    let (ours, script) = (ours.as_secs_f64(), script.as_secs_f64());
    Ok(Figure::new(
        ours,
        "s",
        script * TIMES_MAX,
        "from the first of 1,000 requests to lock until all are ACTIVE: approval and lock of each checked, signed, sent, \
         followed, confirmed; an L2 epoch of each signer was there before",
    )
    .limit(script, "a script that signs the same 2,000 transactions with k256 and sends them, until all are mined")
    .with("sequencers", json!(SEQUENCERS))
    .with("all_asked_s", json!(rounded(asked.as_secs_f64())))
    .with("block_gas", json!(BLOCK_GAS)))
}

fn lock(member: &Member) -> CreateOperationRequest {
    let parameters = Parameters::Lock(LockParameters {
        amount_wei: Metis::whole(METIS).wei_string(),
        override_node_reason: "nodes are no part of this figure".to_owned(),
        ..Default::default()
    });
    CreateOperationRequest {
        request_id: Uuid::now_v7().to_string(),
        sequencer: member.id.clone(),
        parameters: Some(OperationParameters { parameters: Some(parameters) }),
        mode: OperationMode::Managed.into(),
        ..Default::default()
    }
}

/// Who the script signs for.
struct Account {
    key: SigningKey,
    owner: Address,
    signer: PublicKey,
}

async fn script(stage: &Stage) -> Result<Duration> {
    let accounts: Vec<Account> = (0..SEQUENCERS)
        .map(|number| {
            let key = SigningKey::from(secret(&format!("script-{number}")));
            let owner = Address::from_public_key(key.verifying_key());
            Account { key, owner, signer: node_key(&format!("script-signer-{number}")) }
        })
        .collect();
    let owners: Vec<Address> = accounts.iter().map(|account| account.owner).collect();
    members::fund(stage, &owners).await?;
    stage.with_the_clock().await?;
    let (accounts, l1) = (Arc::new(accounts), stage.l1.clone());
    let begun = Instant::now();
    let sending = stream::iter(0..SEQUENCERS).map(|number| {
        let (accounts, l1) = (accounts.clone(), l1.clone());
        async move {
            let account = &accounts[number];
            let approve = Erc20::approveCall { spender: l1.locking_info, value: Metis::whole(METIS).0 };
            let lock = LockingPool::lockWithRewardRecipientCall {
                signer: account.signer.address(),
                rewardRecipient: account.owner,
                amount: Metis::whole(METIS).0,
                signerPubkey: account.signer.bytes64().into(),
            };
            let calls = [(l1.metis, approve.abi_encode()), (l1.locking_pool, lock.abi_encode())];
            for ((nonce, gas), (to, data)) in (0_u64..).zip(GAS).zip(calls) {
                let raw = signed(&account.key, l1.chain_id, nonce, gas, to, data)?;
                l1.link.rpc::<B256>("eth_sendRawTransaction", json!([raw])).await?;
            }
            anyhow::Ok(())
        }
    });
    sending.buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
    until_mined(&l1.link, l1.locking_pool, begun).await?;
    Ok(begun.elapsed())
}

fn signed(
    key: &SigningKey,
    chain_id: u64,
    nonce: u64,
    gas_limit: u64,
    to: Address,
    data: Vec<u8>,
) -> Result<Bytes> {
    let transaction = TxEip1559 {
        chain_id,
        nonce,
        gas_limit,
        max_fee_per_gas: 20 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: TxKind::Call(to),
        value: U256::ZERO,
        access_list: Default::default(),
        input: data.into(),
    };
    let (signature, parity) = key.sign_prehash_recoverable(transaction.signature_hash().as_slice())?;
    let signature = Signature::from_signature_and_parity(signature, parity.is_y_odd());
    Ok(TxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into())
}

async fn until_mined(link: &Link, pool: Address, begun: Instant) -> Result<()> {
    loop {
        let locked = link.view(pool, &LockingPool::totalSequencersCall {}).await?;
        if locked == U256::from(SEQUENCERS) {
            return Ok(());
        }
        ensure!(begun.elapsed() < SCRIPT_MAX, "{locked} of {SEQUENCERS} are locked");
        tokio::time::sleep(LOOK).await;
    }
}
