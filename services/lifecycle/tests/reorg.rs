//! What a reorganisation takes away is taken back here, and what is ours is sent again.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::*;
use domain::amount::{Eth, Metis};
use sea_orm::{ConnectionTrait, Statement};
use testkit::proxy::Faults;
use testkit::{wait_for, wait_until};

use crate::world::{DEADLINE, World, address, lock, owner_name, quick, several_looks};

/// Where a node does not say what is final, so many blocks on top make it so.
const FINAL_DEPTH: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn where_a_node_does_not_say_what_is_final_depth_does() {
    let (mut world, pools) = World::behind(quick(), 1).await;
    pools[0].set(Faults { no_finality: true, ..Faults::default() });
    let sequencer = world.whitelisted("alpha").await;
    world.l1.approve(address(&owner_name("alpha")), Metis::whole(20_000)).await.unwrap();
    let done = world.done(&sequencer.id, lock(20_000)).await;
    let mined_at = done.transactions[0].block.as_ref().unwrap().number;
    let db = world.db.admin().await;
    let is_final = || async {
        let sql = "SELECT 1 FROM lifecycle.transaction WHERE finalized";
        let statement = Statement::from_string(db.get_database_backend(), sql);
        db.query_one_raw(statement).await.is_ok_and(|row| row.is_some())
    };
    let head = world.l1.link.head().await.unwrap().number;
    world.l1.link.mine(mined_at + FINAL_DEPTH - 1 - head).await.unwrap();
    several_looks(&pools[0]).await;
    assert!(!is_final().await, "one block is missing");
    world.l1.link.mine(1).await.unwrap();
    wait_until("it is final", DEADLINE, is_final).await;
    assert!(pools[0].counts().faults.get("no_finality").is_some_and(|asked| *asked > 0), "it was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_vanishes_is_undone_in_state_and_history() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    world.l1.link.mine(3).await.unwrap();
    world.l1.lock(owner, &testkit::contracts::node_key("alpha"), owner, Metis::whole(20_000)).await.unwrap();
    world.until_phase(&sequencer.id, Phase::Locked).await;
    // The approval and the lock are gone.
    world.l1.link.reorg(2, &[]).await.unwrap();
    world.l1.link.mine(2).await.unwrap();
    let back = world.until_phase(&sequencer.id, Phase::Whitelisted).await;
    assert_eq!((back.sequencer_id.as_str(), back.locked_wei.as_str()), ("", "0"));
    let standing = world.transitions(&sequencer.id, false).await;
    assert_eq!(standing.last().map(Transition::to), Some(Phase::Whitelisted));
    let all = world.transitions(&sequencer.id, true).await;
    assert!(all.last().is_some_and(|last| last.undone && last.to() == Phase::Locked));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_lock_returns_after_a_reorganisation_and_stands_once() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    world.l1.fund(owner, Metis::ZERO, Eth::whole(1)).await.unwrap();
    world.l1.approve(owner, Metis::whole(20_000)).await.unwrap();
    world.l1.link.mine(3).await.unwrap();
    let operation = world.done(&sequencer.id, lock(20_000)).await;
    let mined_at = operation.transactions[0].block.as_ref().unwrap().number;
    let head = world.l1.link.head().await.unwrap().number;
    world.l1.link.reorg(head - mined_at + 1, &[]).await.unwrap();
    wait_until("the operation noticed", DEADLINE, || async {
        let steps = world.operation(&operation.id).await.steps;
        steps.iter().any(|step| step.reason.contains("reorganisation"))
    })
    .await;
    let again = world.until_state(&operation.id, OperationState::Confirmed).await;
    assert_eq!(again.transactions.len(), 1);
    assert_eq!(again.transactions[0].hash, operation.transactions[0].hash, "the same bytes");
    world.until_phase(&sequencer.id, Phase::Locked).await;
    assert_eq!(world.keys.nonces_signed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_reward_a_reorganisation_took_fails_when_its_block_is_final() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(20_000)).await;
    world.l1.set_discount(0).await.unwrap();
    world.l1.link.mine(3).await.unwrap();
    let credited = world.l1.submit_batch(&[(address("alpha"), 10)]).await.unwrap().block_number;
    let claim = world.done(&sequencer.id, Parameters::Claim(ClaimParameters { l2_gas: 0 })).await;
    let head = world.l1.link.head().await.unwrap().number;
    world.l1.link.reorg(head - credited + 1, &[]).await.unwrap();
    let did_nothing = || async {
        world.l1.link.mine(1).await.unwrap();
        Some(world.operation(&claim.id).await).filter(|one| one.reason.contains("did nothing in block"))
    };
    let waits = wait_for("it is mined again", DEADLINE, did_nothing).await;
    assert_eq!(waits.state(), OperationState::Mined, "the reward may come back");
    world.l1.link.mine(FINAL_DEPTH + 2).await.unwrap();
    let failed = world.until_state(&claim.id, OperationState::Failed).await;
    assert_eq!((failed.reason_code.as_str(), failed.transactions.len()), ("NO_EFFECT", 1));
    let recipient = address("recipient").to_string();
    world.done(&sequencer.id, Parameters::SetRecipient(SetRecipientParameters { recipient })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_a_strangers_lock_and_its_undoing() {
    let mut world = World::start().await;
    let owner = address("stranger-owner");
    world.l1.fund(owner, Metis::whole(50_000), Eth::whole(10)).await.unwrap();
    world.l1.whitelist(owner, true).await.unwrap();
    world.l1.link.mine(3).await.unwrap();
    let mut watch =
        world.client.watch_transitions(WatchTransitionsRequest::default()).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().transition.is_none(), "first the cursor alone");
    world
        .l1
        .lock(owner, &testkit::contracts::node_key("stranger"), owner, Metis::whole(20_000))
        .await
        .unwrap();
    let locked = watch.message().await.unwrap().unwrap();
    assert_eq!(locked.transition.as_ref().unwrap().to(), Phase::Locked);
    world.l1.link.reorg(2, &[]).await.unwrap();
    world.l1.link.mine(2).await.unwrap();
    let undone = watch.message().await.unwrap().unwrap();
    let (was, is) = (locked.transition.unwrap(), undone.transition.unwrap());
    assert!(is.undone && is.id == was.id, "the same transition, taken back");
    assert_eq!(undone.sequencer.unwrap().sequencer_id, "");
}
