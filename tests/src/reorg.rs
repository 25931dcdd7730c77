//! L1 is reorganised under a lock, and later under a reward: everything that is shown follows the new chain.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use api::lifecycle::v1::{ListTransitionsRequest, OperationState, Phase, Transition};
use api::rewards::v1::GetBalanceRequest;
use api::types::v1::{BlockRef, Layer};
use dev::announce::{Announce, Audience};
use dev::clients::Clients;
use dev::stack::{NETWORK, Options, Services, World};
use domain::amount::{Eth, Metis};
use serde_json::{Value, json};
use testkit::contracts::{L1, account, node_key};
use testkit::{wait_for, wait_until};

use crate::stage::{
    Candidate, SEEN_MAX, ask, candidate, lock, locks_of, mine_every_second, mine_no_more, operation, sent_by,
    until_seen, until_state,
};

/// Blocks that vanish at least.
const DEPTH_MIN: u64 = 3;
/// Deeper than the first reorganisation, so that consensus has not acted on the lock yet.
const CONFIRMATIONS: u64 = 6;
const LOCK: u64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_follows_the_new_chain() -> Result<()> {
    let announce = Announce::to(Audience::Nobody);
    let options = Options { confirmations: CONFIRMATIONS, ..Options::to_travel() };
    let mut world = World::start(&options, &announce).await?;
    let services = Services::start(&mut world, &announce).await?;
    let clients = Clients::of(world.access())?;
    let l1 = world.simulator().l1();
    // The pool's ids are given in the order of locks: this one may take the id of ours on the new chain.
    let rival = account("rival");
    world.simulator().fund(rival, Metis::whole(LOCK), Eth::whole(1)).await?;
    l1.whitelist(rival, true).await?;
    let mut ours = candidate(&world, &clients, "alpha").await?;

    let asked = ask(&clients, lock(&ours.id, LOCK)).await?;
    let before = mined_deep_enough(&clients, l1, &asked.id).await?;
    reorganise(l1, before.number).await?;
    l1.lock(rival, &node_key("rival"), rival, Metis::whole(LOCK)).await?;
    mine_every_second(l1).await?;
    locked_on_the_new_chain(&clients, l1, &mut ours, &asked.id, &before).await?;
    rewarded_on_the_new_chain(&clients, l1, &mut ours).await?;

    services.stop().await?;
    world.stop().await
}

/// Stops the chain when the lock has blocks on top, and gives its block.
async fn mined_deep_enough(clients: &Clients, l1: &L1, id: &str) -> Result<BlockRef> {
    let block = wait_for("the lock is shown as mined", SEEN_MAX, || async {
        let operation = operation(clients, id).await?;
        operation.transactions.get(1)?.block.clone()
    })
    .await;
    let top = block.number + DEPTH_MIN - 1;
    wait_until("blocks are on top of the lock", SEEN_MAX, || async {
        l1.link.head().await.is_ok_and(|head| head.number >= top)
    })
    .await;
    mine_no_more(l1).await?;
    Ok(block)
}

/// Replaces this block and all above it by empty ones.
async fn reorganise(l1: &L1, first: u64) -> Result<()> {
    let depth = l1.link.head().await?.number + 1 - first;
    ensure!(depth >= DEPTH_MIN, "only {depth} blocks would vanish");
    l1.link.reorg(depth, &[]).await?;
    Ok(())
}

async fn locked_on_the_new_chain(
    clients: &Clients,
    l1: &L1,
    ours: &mut Candidate,
    id: &str,
    before: &BlockRef,
) -> Result<()> {
    let owner = ours.accounts.owner;
    let done = until_state(clients, id, OperationState::Confirmed).await;
    ensure!(done.transactions.len() == 2, "an approval and a lock: {:?}", done.transactions);
    let after = done.transactions[1].block.clone().context("the block of the lock")?;
    assert_ne!(after.hash, before.hash, "the transaction has moved");
    assert_canonical(l1, &after, "the lock").await?;
    let returned = done.steps.iter().map(|step| step.state()).collect::<Vec<_>>();
    let mined: Vec<usize> =
        (0..returned.len()).filter(|place| returned[*place] == OperationState::Mined).collect();
    let between = mined.first().zip(mined.last()).map(|(first, last)| &returned[*first..*last]);
    let back = between.is_some_and(|states| states.contains(&OperationState::Broadcast));
    ensure!(back, "it went back before it was mined again: {returned:?}");
    assert_eq!((sent_by(l1, owner).await?, locks_of(l1, ours.accounts.signer).await?), (2, 1));

    let chain_id = l1.sequencer_of(owner).await?.context("the owner has a sequencer")?;
    until_seen(&mut ours.operator, "the sequencer is active under its id on the new chain", |seen| {
        seen.phase() == Phase::Active
            && seen.sequencer_id == chain_id.to_string()
            && seen.locked_wei == Metis::whole(LOCK).wei_string()
    })
    .await;
    let all = transitions(clients, &ours.id).await?;
    let undone: Vec<&Transition> = all.iter().filter(|one| one.undone).collect();
    let lock_undone = undone.iter().any(|one| {
        one.to() == Phase::Locked && one.block.as_ref().is_some_and(|block| block.hash == before.hash)
    });
    ensure!(lock_undone, "the first lock is shown as undone: {all:?}");
    let mut states = Vec::new();
    for change in all.iter().filter(|one| !one.undone) {
        // Activation may come from a log of L2, which was not reorganised.
        if let Some(log) = change.log.as_ref().filter(|log| log.layer() == Layer::L1) {
            let block = log.block.as_ref().context("the block of a log")?;
            assert_canonical(l1, block, &change.cause).await?;
        }
        states.push(change.to());
    }
    ensure!(states.ends_with(&[Phase::Whitelisted, Phase::Locked, Phase::Active]), "{states:?}");
    let ids: BTreeSet<u64> = all.iter().map(|one| one.id).collect();
    ensure!(ids.len() == all.len(), "every change stands once: {all:?}");
    Ok(())
}

async fn rewarded_on_the_new_chain(clients: &Clients, l1: &L1, ours: &mut Candidate) -> Result<()> {
    let Candidate { accounts, operator, .. } = ours;
    let id = operator.whole().await?.sequencer_id;
    mine_no_more(l1).await?;
    let vanishing = l1.submit_batch(&[(accounts.signer, 10)]).await?.block_number;
    l1.link.mine(DEPTH_MIN - 1).await?;
    until_rewarded(clients, l1, &id, "the first reward is shown").await?;
    ensure!(unclaimed(clients, &id).await.is_some_and(|shown| shown != "0"), "there was a reward");
    reorganise(l1, vanishing).await?;
    until_rewarded(clients, l1, &id, "the reward is taken back").await?;
    ensure!(unclaimed(clients, &id).await.is_some_and(|shown| shown == "0"), "nothing is left of it");
    l1.submit_batch(&[(accounts.signer, 7)]).await?;
    until_rewarded(clients, l1, &id, "the other reward is shown").await?;
    ensure!(unclaimed(clients, &id).await.is_some_and(|shown| shown != "0"), "there is a reward again");
    Ok(())
}

/// Waits until the unclaimed reward is the contract's.
async fn until_rewarded(clients: &Clients, l1: &L1, id: &str, what: &str) -> Result<()> {
    let contract = l1.record(id.parse()?).await?.context("the record")?.reward.wei_string();
    wait_until(what, SEEN_MAX, || async { unclaimed(clients, id).await.as_ref() == Some(&contract) }).await;
    Ok(())
}

async fn unclaimed(clients: &Clients, id: &str) -> Option<String> {
    let request = GetBalanceRequest { network: NETWORK.to_owned(), sequencer_id: id.to_owned(), at_block: 0 };
    Some(clients.rewards.clone().get_balance(request).await.ok()?.into_inner().balance?.unclaimed_wei)
}

async fn transitions(clients: &Clients, sequencer: &str) -> Result<Vec<Transition>> {
    let request = ListTransitionsRequest {
        sequencer: sequencer.to_owned(),
        include_undone: true,
        ..Default::default()
    };
    Ok(clients.lifecycle.clone().list_transitions(request).await?.into_inner().transitions)
}

/// The block is on the chain as it is now.
async fn assert_canonical(l1: &L1, block: &BlockRef, what: &str) -> Result<()> {
    let number = format!("{:#x}", block.number);
    let now: Value = l1.link.rpc("eth_getBlockByNumber", json!([number, false])).await?;
    assert_eq!(now["hash"].as_str(), Some(block.hash.as_str()), "block {number} of {what}");
    Ok(())
}
