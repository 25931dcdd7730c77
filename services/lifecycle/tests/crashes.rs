//! The service is killed in each window of a send. Afterwards there is exactly one effect on chain.

use std::collections::BTreeMap;

use api::lifecycle::v1::*;
use domain::amount::Metis;
use lifecycle::{Action, Config, Point};
use testkit::wait_until;

use crate::world::{DEADLINE, World, address, lock, owner_name, quick};

/// Waits until the send has reached the failpoint, as far as the tables tell.
async fn until_stuck(world: &World, id: &str, point: Point) {
    // Once it is on chain, a pass of the next holder of the lease may have seen its receipt already.
    let wanted: &[&str] = match point {
        Point::AfterBroadcastBeforeRecord => &["SIGNED", "BROADCAST", "MINED"],
        Point::AfterStoreBeforeBroadcast => &["SIGNED"],
        _ => &["PLANNED"],
    };
    let signed = usize::from(point != Point::AfterNonce);
    wait_until(&format!("the send stands at {point:?}"), DEADLINE, || async {
        let operation = world.operation(id).await;
        let there = operation.transactions.first().is_some_and(|one| wanted.contains(&one.state.as_str()));
        let sent = world.l1.sequencer_of(address(&owner_name("alpha"))).await.unwrap().is_some();
        let is_sent = point == Point::AfterBroadcastBeforeRecord;
        there && world.keys.nonces_signed() == signed && sent == is_sent
    })
    .await;
}

async fn killed_at(point: Point) {
    let stopped = Config { failpoints: BTreeMap::from([(point, Action::Pause)]), ..quick() };
    let mut world = World::with(stopped).await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    world.l1.approve(owner, Metis::whole(20_000)).await.unwrap();
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    until_stuck(&world, &operation.id, point).await;
    world.kill();
    world.restart(quick()).await;
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    assert_eq!(done.transactions.len(), 1);
    assert_eq!(world.keys.nonces_signed(), 1, "one nonce, one payload");
    let record =
        world.l1.record(world.l1.sequencer_of(owner).await.unwrap().unwrap()).await.unwrap().unwrap();
    assert_eq!(record.amount, Metis::whole(20_000));
    assert_eq!(world.l1.metis_of(owner).await.unwrap(), Metis::whole(180_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_nonce_and_signature_it_locks_once() {
    killed_at(Point::AfterNonce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_signature_and_store_it_locks_once() {
    killed_at(Point::AfterSignBeforeStore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_store_and_broadcast_it_locks_once() {
    killed_at(Point::AfterStoreBeforeBroadcast).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_broadcast_and_record_it_locks_once() {
    killed_at(Point::AfterBroadcastBeforeRecord).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_somebody_else_spends_is_reported_and_not_reissued() {
    let point = Point::AfterStoreBeforeBroadcast;
    let stopped = Config { failpoints: BTreeMap::from([(point, Action::Pause)]), ..quick() };
    let mut world = World::with(stopped).await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    world.l1.approve(owner, Metis::whole(20_000)).await.unwrap();
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    until_stuck(&world, &operation.id, point).await;
    world.kill();
    // The owner sends something else with the same nonce.
    world.l1.approve(owner, Metis::whole(1)).await.unwrap();
    world.l1.link.mine(5).await.unwrap();
    world.restart(quick()).await;
    let failed = world.until_failed(&operation.id).await;
    assert_eq!(failed.reason_code, "NONCE_FOREIGN");
    assert_eq!(failed.transactions[0].state, "FOREIGN");
    assert!(failed.reason.contains("another call to the same contracts"), "{}", failed.reason);
    assert_eq!(world.keys.nonces_signed(), 1);
    assert_eq!(world.l1.sequencer_of(owner).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_lock_once() {
    let mut world = World::start().await;
    world.second_replica(quick()).await;
    let sequencer = world.whitelisted("alpha").await;
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    assert_eq!(done.transactions.len(), 2, "approve and lock");
    assert_eq!(world.keys.nonces_signed(), 2);
    let history = world.transitions(&sequencer.id, true).await;
    assert_eq!(history.iter().filter(|one| one.to() == Phase::Locked).count(), 1);
}
