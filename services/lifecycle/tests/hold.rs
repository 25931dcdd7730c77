//! After a reorganisation below `finalized` nothing is signed or sent until an operator has acknowledged it.

use api::lifecycle::v1::submit_transaction_request::Transaction as Submitted;
use api::lifecycle::v1::*;
use api::types::v1::{Check, Verdict};
use domain::amount::{Eth, Metis};
use lifecycle::{Action, Config, Point};
use sea_orm::{ConnectionTrait, Statement};
use testkit::contracts::secret;
use testkit::{wait_for, wait_until};

use crate::fakes::wallet;
use crate::world::{DEADLINE, World, address, lock, managed, owner_name, quick};

const REASON: &str = "NETWORK_HELD";
/// Id of the reorganisation at the indexer.
const ID: u64 = 7;
/// anvil calls a block final two epochs of 32 slots later.
const BLOCKS_TO_FINAL: u64 = 65;

/// The check as a preflight of a lock shows it, once it does.
async fn until_check(world: &World, sequencer: &str) -> Check {
    wait_for("the preflight warns", DEADLINE, || async {
        let request = PreflightOperationRequest {
            sequencer: sequencer.to_owned(),
            parameters: managed(sequencer, lock(20_000)).parameters,
        };
        let answer = world.client.clone().preflight_operation(request).await.ok()?.into_inner();
        answer.checks.into_iter().find(|check| check.name == REASON)
    })
    .await
}

async fn until_held(world: &World, id: &str) -> Operation {
    wait_for("the operation is held", DEADLINE, || async {
        Some(world.operation(id).await).filter(|operation| operation.reason_code == REASON)
    })
    .await
}

async fn sent(world: &World, name: &str) -> u64 {
    let owner = address(&owner_name(name));
    let params = serde_json::json!([owner, "pending"]);
    let count: alloy_primitives::U64 =
        world.l1.link.rpc("eth_getTransactionCount", params).await.expect("a count");
    count.to()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_while_a_network_is_held_waits_for_the_acknowledgement() {
    let mut world = World::start().await;
    let (alpha, beta) = (world.whitelisted("alpha").await, world.whitelisted("beta").await);
    world.indexer.alarm(ID);
    let check = until_check(&world, &alpha.id).await;
    assert_eq!((check.verdict(), check.reason.as_str()), (Verdict::Warn, REASON));
    assert_eq!(check.facts.get("reorg_id"), Some(&ID.to_string()));
    assert!(check.message.contains("seqctl chain acknowledge"), "{}", check.message);

    let asked = world.ask(&alpha.id, lock(20_000)).await;
    assert_eq!(asked.state(), OperationState::Queued);
    let held = until_held(&world, &asked.id).await;
    assert_eq!((held.state(), held.transactions.len()), (OperationState::Queued, 0));
    assert!(held.reason.contains("reorganisation 7"), "{}", held.reason);

    // Stored: with nothing told about it after a restart, it still holds.
    world.indexer.keep_heads_back(true);
    world.restart(quick()).await;
    world.l1.link.mine(3).await.unwrap();
    let late = world.ask(&beta.id, lock(20_000)).await;
    until_held(&world, &late.id).await;
    assert_eq!(world.keys.nonces_signed(), 0);
    assert_eq!((sent(&world, "alpha").await, sent(&world, "beta").await), (0, 0));

    world.indexer.alarm(0);
    world.indexer.keep_heads_back(false);
    for id in [asked.id, late.id] {
        let done = world.until_state(&id, OperationState::Confirmed).await;
        assert_eq!(done.reason_code, "");
    }
    let request = PreflightOperationRequest {
        sequencer: alpha.id.clone(),
        parameters: managed(&alpha.id, lock(20_000)).parameters,
    };
    let checks = world.client.preflight_operation(request).await.unwrap().into_inner().checks;
    assert!(checks.iter().all(|check| check.name != REASON), "{checks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_lock_that_a_deep_reorganisation_took_is_sent_again_only_after_the_acknowledgement() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    world.l1.fund(owner, Metis::ZERO, Eth::whole(1)).await.unwrap();
    world.l1.approve(owner, Metis::whole(20_000)).await.unwrap();
    world.l1.link.mine(3).await.unwrap();
    let locked = world.done(&sequencer.id, lock(20_000)).await;
    let mined_at = locked.transactions[0].block.as_ref().unwrap().number;
    world.l1.link.mine(BLOCKS_TO_FINAL).await.unwrap();
    until_nothing_is_followed(&world).await;

    // The revert alone begins the hold: no head says so.
    world.indexer.keep_heads_back(true);
    world.indexer.alarm(ID);
    let head = world.l1.link.head().await.unwrap().number;
    world.l1.link.reorg(head - mined_at + 1, &[]).await.unwrap();
    let held = until_held(&world, &locked.id).await;
    assert_eq!(held.state(), OperationState::Broadcast);
    assert!(held.steps.iter().any(|step| step.reason.contains("a reorganisation took lock")), "{held:?}");
    world.until_phase(&sequencer.id, Phase::Whitelisted).await;
    world.indexer.keep_heads_back(false);
    wait_until("the id is told", DEADLINE, || async {
        world.operation(&locked.id).await.reason.contains("reorganisation 7")
    })
    .await;
    let before = sent(&world, "alpha").await;
    // More than after which a transaction is replaced.
    world.l1.link.mine(5).await.unwrap();
    until_check(&world, &sequencer.id).await;
    assert_eq!((before, sent(&world, "alpha").await), (1, 1), "the approval of before and nothing else");
    assert_eq!(world.l1.sequencer_of(owner).await.unwrap(), None);

    world.indexer.alarm(0);
    let again = world.until_state(&locked.id, OperationState::Confirmed).await;
    assert_eq!(again.transactions[0].hash, locked.transactions[0].hash, "the same bytes");
    assert_eq!(world.keys.nonces_signed(), 1);
    world.until_phase(&sequencer.id, Phase::Locked).await;
}

/// Waits until every transaction is in a final block.
async fn until_nothing_is_followed(world: &World) {
    let db = world.db.admin().await;
    wait_until("nothing is followed", DEADLINE, || async {
        let sql = "SELECT 1 FROM lifecycle.transaction WHERE NOT finalized LIMIT 1";
        let statement = Statement::from_string(db.get_database_backend(), sql);
        db.query_one_raw(statement).await.is_ok_and(|row| row.is_none())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wallet_signed_while_a_network_is_held_is_kept_and_sent_afterwards() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    world.l1.approve(owner, Metis::whole(20_000)).await.unwrap();
    let request = CreateOperationRequest {
        mode: OperationMode::Prepared.into(),
        ..managed(&sequencer.id, lock(20_000))
    };
    let prepared = world.client.create_operation(request).await.unwrap().into_inner().operation.unwrap();
    world.indexer.alarm(ID);
    until_check(&world, &sequencer.id).await;
    let call = prepared.transactions[0].unsigned.as_ref().unwrap();
    let raw = wallet::sign(&secret(&owner_name("alpha")), call, 1);
    let submit = SubmitTransactionRequest {
        operation_id: prepared.id.clone(),
        transaction: Some(Submitted::RawTransaction(raw.to_vec().into())),
    };
    for _ in 0..2 {
        let answer = world.client.submit_transaction(submit.clone()).await.unwrap().into_inner();
        let kept = answer.operation.unwrap();
        assert_eq!(kept.reason_code, REASON, "{}", kept.reason);
        assert_eq!(kept.transactions[0].state, "SIGNED");
    }
    world.l1.link.mine(5).await.unwrap();
    // The confirm loop has looked and says so itself.
    wait_until("it still waits", DEADLINE, || async {
        world.operation(&prepared.id).await.reason.contains("in no block")
    })
    .await;
    assert_eq!(sent(&world, "alpha").await, 1, "the approval");
    world.indexer.alarm(0);
    world.until_state(&prepared.id, OperationState::Confirmed).await;
    world.until_phase(&sequencer.id, Phase::Locked).await;
}

/// Stopped in the middle of a lock, held, killed, and started again.
async fn held_at(point: Point, state: &str, signed: usize) {
    let stopped = Config { failpoints: [(point, Action::Pause)].into(), ..quick() };
    let mut world = World::with(stopped).await;
    let sequencer = world.whitelisted("alpha").await;
    world.l1.approve(address(&owner_name("alpha")), Metis::whole(20_000)).await.unwrap();
    let asked = world.ask(&sequencer.id, lock(20_000)).await;
    wait_until("the send stands still", DEADLINE, || async {
        world.operation(&asked.id).await.transactions.first().is_some_and(|one| one.state == state)
    })
    .await;
    world.indexer.alarm(ID);
    until_check(&world, &sequencer.id).await;
    world.restart(quick()).await;
    let held = until_held(&world, &asked.id).await;
    assert_eq!((held.state(), held.transactions[0].state.as_str()), (OperationState::Signing, state));
    world.l1.link.mine(5).await.unwrap();
    until_check(&world, &sequencer.id).await;
    assert_eq!(world.keys.nonces_signed(), signed);
    assert_eq!(sent(&world, "alpha").await, 1, "the approval of before and nothing else");
    world.indexer.alarm(0);
    world.until_state(&asked.id, OperationState::Confirmed).await;
    assert_eq!(world.keys.nonces_signed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_signature_and_held_it_is_signed_after_the_acknowledgement() {
    held_at(Point::AfterNonce, "PLANNED", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_broadcast_and_held_it_is_sent_after_the_acknowledgement() {
    held_at(Point::AfterStoreBeforeBroadcast, "SIGNED", 1).await;
}
