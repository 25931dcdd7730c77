//! Prepared mode: a wallet signs, we check what it made and follow it.

use alloy_primitives::Bytes;
use api::lifecycle::v1::submit_transaction_request::Transaction as Submitted;
use api::lifecycle::v1::*;
use api::types::v1::UnsignedTransaction;
use lifecycle::Config;
use runtime::errors::refusal_of;
use serde_json::json;
use testkit::contracts::secret;

use crate::fakes::wallet;
use crate::world::{World, lock, managed, owner_name, quick};

async fn prepared(world: &mut World, sequencer: &str) -> Operation {
    let request =
        CreateOperationRequest { mode: OperationMode::Prepared.into(), ..managed(sequencer, lock(20_000)) };
    world.client.create_operation(request).await.expect("prepared").into_inner().operation.unwrap()
}

fn raw(operation: &Operation, bytes: Bytes) -> SubmitTransactionRequest {
    SubmitTransactionRequest {
        operation_id: operation.id.clone(),
        transaction: Some(Submitted::RawTransaction(bytes.to_vec().into())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_signs_both_calls_and_the_lock_is_confirmed() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let operation = prepared(&mut world, &sequencer.id).await;
    let calls: Vec<_> = operation.transactions.iter().map(|one| one.unsigned.clone().unwrap()).collect();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.nonce.is_none()));
    let key = secret(&owner_name("alpha"));
    for (nonce, call) in (0..).zip(&calls) {
        let signed = wallet::sign(&key, call, nonce);
        for _ in 0..2 {
            world.client.submit_transaction(raw(&operation, signed.clone())).await.expect("taken, and again");
        }
    }
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    assert_eq!(done.transactions[1].step, "lock");
    assert_eq!(world.keys.nonces_signed(), 0, "our keys were not asked");
    world.until_phase(&sequencer.id, Phase::Locked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_not_the_prepared_one_is_refused_and_changes_nothing() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let operation = prepared(&mut world, &sequencer.id).await;
    let call = operation.transactions[0].unsigned.clone().unwrap();
    let key = secret(&owner_name("alpha"));
    let other = |change: fn(&mut UnsignedTransaction)| {
        let mut changed = call.clone();
        change(&mut changed);
        wallet::sign(&key, &changed, 0)
    };
    let cases: [(Bytes, &str); 6] = [
        (other(|call| call.to = call.from.clone()), "TRANSACTION_MISMATCH"),
        (other(|call| call.value_wei = "1".to_owned()), "TRANSACTION_MISMATCH"),
        (other(|call| call.data.push_str("00")), "TRANSACTION_MISMATCH"),
        (other(|call| call.chain_id += 1), "TRANSACTION_MISMATCH"),
        (wallet::sign(&secret("thief"), &call, 0), "TRANSACTION_MISMATCH"),
        (Bytes::from_static(b"junk"), "TRANSACTION_MALFORMED"),
    ];
    for (bytes, reason) in cases {
        let status = world.client.submit_transaction(raw(&operation, bytes)).await.unwrap_err();
        assert_eq!(refusal_of(&status).unwrap().reason, reason);
    }
    assert_eq!(world.operation(&operation.id).await, operation, "nothing changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_sends_itself_tells_only_the_hash() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let operation = prepared(&mut world, &sequencer.id).await;
    let key = secret(&owner_name("alpha"));
    for (nonce, call) in (0..).zip(&operation.transactions) {
        let signed = wallet::sign(&key, call.unsigned.as_ref().unwrap(), nonce);
        let hash: String = world.l1.link.rpc("eth_sendRawTransaction", json!([signed])).await.unwrap();
        let request = SubmitTransactionRequest {
            operation_id: operation.id.clone(),
            transaction: Some(Submitted::TransactionHash(hash)),
        };
        world.client.submit_transaction(request).await.expect("known on chain");
    }
    world.until_state(&operation.id, OperationState::Confirmed).await;
    let unknown = SubmitTransactionRequest {
        operation_id: operation.id,
        transaction: Some(Submitted::TransactionHash(format!("0x{}", "ab".repeat(32)))),
    };
    let status = world.client.submit_transaction(unknown).await.unwrap_err();
    assert_eq!(refusal_of(&status).unwrap().reason, "TRANSACTION_NOT_SEEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_is_late_finds_the_operation_expired() {
    let mut world = World::with(Config { prepared_expiry_secs: 1, ..quick() }).await;
    let sequencer = world.whitelisted("alpha").await;
    let operation = prepared(&mut world, &sequencer.id).await;
    world.until_state(&operation.id, OperationState::Expired).await;
    let call = operation.transactions[0].unsigned.clone().unwrap();
    let signed = wallet::sign(&secret(&owner_name("alpha")), &call, 0);
    let status = world.client.submit_transaction(raw(&operation, signed)).await.unwrap_err();
    assert_eq!(refusal_of(&status).unwrap().reason, "OPERATION_EXPIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_mined_in_time_is_taken_also_when_it_is_told_too_late() {
    let mut world = World::with(Config { prepared_expiry_secs: 1, ..quick() }).await;
    let sequencer = world.whitelisted("alpha").await;
    let operation = prepared(&mut world, &sequencer.id).await;
    let key = secret(&owner_name("alpha"));
    let mut told = Vec::new();
    for (nonce, call) in (0..).zip(&operation.transactions) {
        let signed = wallet::sign(&key, call.unsigned.as_ref().unwrap(), nonce);
        let hash: String = world.l1.link.rpc("eth_sendRawTransaction", json!([signed])).await.unwrap();
        told.push(hash);
    }
    let expired = world.until_state(&operation.id, OperationState::Expired).await;
    assert!(expired.transactions.iter().all(|one| one.state == "DROPPED"));
    for hash in told {
        let request = SubmitTransactionRequest {
            operation_id: operation.id.clone(),
            transaction: Some(Submitted::TransactionHash(hash)),
        };
        world.client.submit_transaction(request).await.expect("it was done");
    }
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    assert_eq!(done.transactions.len(), 2);
    world.until_phase(&sequencer.id, Phase::Locked).await;
}
