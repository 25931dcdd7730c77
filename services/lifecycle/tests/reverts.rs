//! A revert is final when its block is, and not before.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::*;
use domain::amount::Metis;
use lifecycle::{Action, Config, Point};
use runtime::errors::refusal_of;
use testkit::{wait_for, wait_until};

use crate::lanes::BLOCKS_TO_FINAL;
use crate::world::{DEADLINE, World, address, lock, managed, owner_name, quick};

const LOCKED: u64 = 25_000;

fn withdraw() -> Parameters {
    Parameters::Withdraw(WithdrawParameters { amount_wei: Metis::whole(1_000).wei_string() })
}

/// A withdrawal that reverts because the pool was paused after it was signed, deep enough to be settled; with the block of
/// the pause.
async fn reverted() -> (World, Operation, u64) {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(LOCKED)).await;
    world.next_batch("alpha").await;
    let failpoints = [(Point::AfterStoreBeforeBroadcast, Action::Pause)].into();
    world.restart(Config { failpoints, ..quick() }).await;
    let operation = world.ask(&sequencer.id, withdraw()).await;
    wait_until("it is signed", DEADLINE, || async {
        world.operation(&operation.id).await.transactions.first().is_some_and(|one| one.state == "SIGNED")
    })
    .await;
    world.kill();
    let paused = world.l1.set_pause(true).await.unwrap();
    world.restart(quick()).await;
    let told = wait_for("the revert is told", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        let operation = world.operation(&operation.id).await;
        Some(operation).filter(|operation| operation.reason.contains("fails when that block is final"))
    })
    .await;
    assert_eq!(told.state(), OperationState::Mined);
    (world, told, paused.block_number)
}

async fn locked(world: &World) -> Metis {
    let id = world.l1.sequencer_of(address(&owner_name("alpha"))).await.unwrap().unwrap();
    world.l1.record(id).await.unwrap().unwrap().amount
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_that_a_reorganisation_takes_back_has_its_effect_once() {
    let (mut world, operation, paused) = reverted().await;
    world.l1.set_pause(false).await.unwrap();
    // Asked for again now, it would be done twice.
    let again = world.client.create_operation(managed(&operation.sequencer, withdraw())).await.unwrap_err();
    assert_eq!(refusal_of(&again).unwrap().reason, "OPERATION_IN_FLIGHT");
    let head = world.l1.link.head().await.unwrap().number;
    world.l1.link.reorg(head + 1 - paused, &[]).await.unwrap();
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    assert_eq!(done.transactions.len(), 1);
    assert_eq!(done.transactions[0].hash, operation.transactions[0].hash, "the same bytes");
    assert_eq!(locked(&world).await, Metis::whole(LOCKED - 1_000));
    world.next_batch("alpha").await;
    world.done(&operation.sequencer, withdraw()).await;
    assert_eq!(locked(&world).await, Metis::whole(LOCKED - 2_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_fails_its_operation_when_its_block_is_final() {
    let (world, operation, _) = reverted().await;
    world.l1.link.mine(BLOCKS_TO_FINAL).await.unwrap();
    let failed = world.until_state(&operation.id, OperationState::Failed).await;
    assert_eq!(
        (failed.reason_code.as_str(), failed.transactions[0].state.as_str()),
        ("POOL_PAUSED", "REVERTED")
    );
    assert_eq!(locked(&world).await, Metis::whole(LOCKED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverted_operation_that_is_cancelled_by_hand_does_not_come_back() {
    let (mut world, operation, paused) = reverted().await;
    let request = CancelOperationRequest { id: operation.id.clone(), reason: "not now".to_owned() };
    let answer = world.client.cancel_operation(request).await.unwrap().into_inner().operation.unwrap();
    assert_eq!(answer.state(), OperationState::Mined, "a reorganisation could still bring it back");
    // A look that began before would send the call once more, and the operation say that it was mined before its cancel.
    wait_until("the cancel is noticed", DEADLINE, || async {
        world.operation(&operation.id).await.reason.contains("is cancelled when that block is final")
    })
    .await;
    let head = world.l1.link.head().await.unwrap().number;
    world.l1.link.reorg(head + 1 - paused, &[]).await.unwrap();
    let done = world.until_state(&operation.id, OperationState::Cancelled).await;
    assert_eq!(done.transactions[0].mined_form, "CANCEL");
    assert!(done.reason.contains("not now"), "{}", done.reason);
    assert_eq!(locked(&world).await, Metis::whole(LOCKED));
}
