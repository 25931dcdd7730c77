//! Nonces below ours that nothing is mined with: lost by the pools, or spent by somebody else.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::submit_transaction_request::Transaction as Submitted;
use api::lifecycle::v1::*;
use domain::amount::Metis;
use domain::network::Variant;
use lifecycle::Config;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use testkit::Proxy;
use testkit::contracts::secret;

use crate::fakes::strict::Strict;
use crate::fakes::wallet;
use crate::lanes::{blocks_by_themselves, until_sent};
use crate::world::{World, address, lock, managed, owner_name, quick, several_looks};

/// A gap is repaired within so many blocks.
const REPAIRED_WITHIN: u64 = 3;

fn withdraw(units: u64) -> Parameters {
    Parameters::Withdraw(WithdrawParameters { amount_wei: Metis::whole(units).wei_string() })
}

/// Makes blocks, and lets the service look after each, until this call of the operation is in one; says how many it took.
async fn blocks_until_mined(world: &World, endpoint: &Proxy, id: &str, step: &str) -> u64 {
    for blocks in 0..=REPAIRED_WITHIN + 3 {
        several_looks(endpoint).await;
        let operation = world.operation(id).await;
        if operation.transactions.iter().any(|one| one.step == step && one.block.is_some()) {
            return blocks;
        }
        world.l1.link.mine(1).await.unwrap();
    }
    u64::MAX
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pools_lose_below_another_is_mined_within_three_blocks() {
    let (mut world, pools) = World::behind(quick(), 1).await;
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(25_000)).await;
    world.next_batch("alpha").await;
    let recipient = SetRecipientParameters { recipient: address("elsewhere").to_string() };
    let request = CreateOperationRequest {
        mode: OperationMode::Prepared.into(),
        ..managed(&sequencer.id, Parameters::SetRecipient(recipient))
    };
    let upper = world.client.create_operation(request).await.unwrap().into_inner().operation.unwrap();
    blocks_by_themselves(&world, false).await;
    let lower = world.ask(&sequencer.id, withdraw(1_000)).await;
    let sent = until_sent(&world, &lower.id).await;
    let nonce = sent.unsigned.as_ref().unwrap().nonce.unwrap();
    let call = upper.transactions[0].unsigned.as_ref().unwrap();
    let raw = wallet::sign(&secret(&owner_name("alpha")), call, nonce + 1);
    let submit = SubmitTransactionRequest {
        operation_id: upper.id.clone(),
        transaction: Some(Submitted::RawTransaction(raw.to_vec().into())),
    };
    world.client.submit_transaction(submit).await.unwrap();
    let _: Value = world.l1.link.rpc("anvil_dropTransaction", json!([sent.hash])).await.unwrap();
    let blocks = blocks_until_mined(&world, &pools[0], &lower.id, "withdraw").await;
    assert!(blocks <= REPAIRED_WITHIN, "{blocks} blocks");
    let lower = world.until_state(&lower.id, OperationState::Confirmed).await;
    assert_eq!(lower.transactions[0].hash, sent.hash, "the same bytes");
    assert!(lower.steps.iter().any(|step| step.reason.contains("no endpoint knew withdraw any more")));
    world.until_state(&upper.id, OperationState::Confirmed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_node_misses_an_earlier_nonce_that_is_sent_again_at_once() {
    let mut world = World::without_service(Variant::Main).await;
    let strict = Strict::start(world.l1.link.clone()).await;
    world.endpoints = vec![strict.url()];
    world.restart(Config { replace_after_blocks: 1_000, ..quick() }).await;
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(25_000)).await;
    world.next_batch("alpha").await;
    let recipient = SetRecipientParameters { recipient: address("elsewhere").to_string() };
    let request = CreateOperationRequest {
        mode: OperationMode::Prepared.into(),
        ..managed(&sequencer.id, Parameters::SetRecipient(recipient))
    };
    let lower = world.client.create_operation(request).await.unwrap().into_inner().operation.unwrap();
    blocks_by_themselves(&world, false).await;
    let raw =
        wallet::sign(&secret(&owner_name("alpha")), lower.transactions[0].unsigned.as_ref().unwrap(), 2);
    let submit = SubmitTransactionRequest {
        operation_id: lower.id.clone(),
        transaction: Some(Submitted::RawTransaction(raw.to_vec().into())),
    };
    world.client.submit_transaction(submit).await.unwrap();
    let lower = until_sent(&world, &lower.id).await;
    let head = world.l1.link.head().await.unwrap().number;
    let _: Value = world.l1.link.rpc("anvil_dropTransaction", json!([lower.hash])).await.unwrap();
    let upper = world.ask(&sequencer.id, withdraw(1_000)).await;
    // Taken only with the one below it, and without waiting for a block.
    let sent = until_sent(&world, &upper.id).await;
    assert_eq!(sent.unsigned.unwrap().nonce, Some(3));
    assert_eq!(world.l1.link.head().await.unwrap().number, head);
    for hash in [&lower.hash, &sent.hash] {
        let known: Value = world.l1.link.rpc("eth_getTransactionByHash", json!([hash])).await.unwrap();
        assert!(!known.is_null(), "{hash} is in the pool");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_that_vanished_below_ours_are_found_and_filled_within_three_blocks() {
    let (mut world, pools) = World::behind(quick(), 1).await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    // As after a reorganisation that took two transactions of somebody else out for ever.
    let sql = "INSERT INTO lifecycle.lane (chain_id, account, next_nonce) VALUES ($1, $2, 2)";
    let chain_id = i64::try_from(world.l1.chain_id).unwrap();
    let values = [chain_id.into(), owner.to_vec().into()];
    let statement = Statement::from_sql_and_values(sea_orm::DbBackend::Postgres, sql, values);
    world.db.admin().await.execute_raw(statement).await.unwrap();
    blocks_by_themselves(&world, false).await;
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    until_sent(&world, &operation.id).await;
    let blocks = blocks_until_mined(&world, &pools[0], &operation.id, "approve").await;
    assert!(blocks <= REPAIRED_WITHIN, "{blocks} blocks");
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    let steps: Vec<&str> = done.transactions.iter().map(|one| one.step.as_str()).collect();
    assert_eq!(steps, ["approve", "fill_nonce", "fill_nonce", "lock"]);
    assert_eq!(world.keys.nonces_signed(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_spent_while_nothing_was_in_flight_is_told_and_stops_nothing() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    // What came before our first nonce is no concern of ours.
    world.l1.approve(owner, Metis::whole(1)).await.unwrap();
    let locked = world.done(&sequencer.id, lock(25_000)).await;
    world.next_batch("alpha").await;
    assert!(locked.steps.iter().all(|step| !step.reason.contains("somebody else")), "{:?}", locked.steps);
    for _ in 0..2 {
        world.l1.approve(owner, Metis::whole(1)).await.unwrap();
    }
    let done = world.done(&sequencer.id, withdraw(1_000)).await;
    assert_eq!(done.transactions[0].unsigned.as_ref().unwrap().nonce, Some(5), "the nonce goes on");
    let told = |words: &str| done.steps.iter().any(|step| step.reason.contains(words));
    assert!(told("nonces 3 to 4 were spent by somebody else"), "{:?}", done.steps);
    assert!(told("which is not ours: another call to the same contracts"), "{:?}", done.steps);
    world.next_batch("alpha").await;
    let again = world.done(&sequencer.id, withdraw(1_000)).await;
    assert!(again.steps.iter().all(|step| !step.reason.contains("somebody else")), "told once");
}
