//! What wallets do with a prepared operation besides signing it once: other forms of it, replacements, batches, reorgs.

use alloy_primitives::{Bytes, U256};
use api::lifecycle::v1::submit_transaction_request::Transaction as Submitted;
use api::lifecycle::v1::*;
use api::types::v1::UnsignedTransaction;
use bundle::Bundle;
use domain::amount::{Eth, Metis};
use k256::ecdsa::SigningKey;
use runtime::errors::refusal_of;
use serde_json::{Value, json};
use testkit::contracts::secret;
use testkit::wait_for;

use crate::fakes::wallet;
use crate::lanes::BLOCKS_TO_FINAL;
use crate::world::{DEADLINE, World, address, lock, managed, owner_name};

/// A sequencer whose owner has allowed the METIS already: the prepared lock is one call.
async fn approved(world: &mut World) -> (Operation, UnsignedTransaction, u64) {
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    world.l1.approve(owner, Metis::whole(20_000)).await.unwrap();
    world.l1.link.mine(3).await.unwrap();
    let operation = prepared(world, &sequencer.id).await;
    let call = operation.transactions[0].unsigned.clone().unwrap();
    let nonce: String = world.l1.link.rpc("eth_getTransactionCount", json!([owner, "latest"])).await.unwrap();
    (operation, call, u64::from_str_radix(nonce.trim_start_matches("0x"), 16).unwrap())
}

async fn prepared(world: &mut World, sequencer: &str) -> Operation {
    let request =
        CreateOperationRequest { mode: OperationMode::Prepared.into(), ..managed(sequencer, lock(20_000)) };
    world.client.create_operation(request).await.expect("prepared").into_inner().operation.unwrap()
}

async fn submit(world: &mut World, operation: &Operation, transaction: Submitted) -> Result<(), String> {
    let request =
        SubmitTransactionRequest { operation_id: operation.id.clone(), transaction: Some(transaction) };
    let answer = world.client.submit_transaction(request).await;
    answer.map(drop).map_err(|status| refusal_of(&status).unwrap().reason)
}

async fn send(world: &World, raw: &Bytes) -> String {
    world.l1.link.rpc("eth_sendRawTransaction", json!([raw])).await.unwrap()
}

/// The same call with twice the fees.
fn dearer(call: &UnsignedTransaction) -> UnsignedTransaction {
    let twice = |text: &str| (text.parse::<u128>().unwrap() * 2).to_string();
    UnsignedTransaction {
        max_fee_per_gas_wei: twice(&call.max_fee_per_gas_wei),
        max_priority_fee_per_gas_wei: twice(&call.max_priority_fee_per_gas_wei),
        ..call.clone()
    }
}

/// Reports one transaction, and has another with the same nonce mined instead.
async fn replaced_by(
    world: &mut World,
    change: impl FnOnce(UnsignedTransaction) -> UnsignedTransaction,
) -> (Operation, String) {
    let (operation, _, second) = replaced(world, change).await;
    (operation, second)
}

/// The same, with the bytes that were replaced.
async fn replaced(
    world: &mut World,
    change: impl FnOnce(UnsignedTransaction) -> UnsignedTransaction,
) -> (Operation, Bytes, String) {
    let (operation, call, nonce) = approved(world).await;
    let key = secret(&owner_name("alpha"));
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([false])).await.unwrap();
    let raw = wallet::sign(&key, &call, nonce);
    let first = send(world, &raw).await;
    submit(world, &operation, Submitted::TransactionHash(first)).await.expect("it is in the pool");
    let second = send(world, &wallet::sign(&key, &change(dearer(&call)), nonce)).await;
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([true])).await.unwrap();
    world.l1.link.mine(1).await.unwrap();
    (operation, raw, second)
}

/// Replaces the blocks from that of a transaction on.
async fn take_out(world: &World, hash: &str, instead: &[(Bytes, u64)]) {
    let receipt: Value = world.l1.link.rpc("eth_getTransactionReceipt", json!([hash])).await.unwrap();
    let block = receipt["blockNumber"].as_str().unwrap().trim_start_matches("0x");
    let block = u64::from_str_radix(block, 16).unwrap();
    let head = world.l1.link.head().await.unwrap().number;
    world.l1.link.reorg(head + 1 - block, instead).await.unwrap();
}

async fn until_confirmed(world: &World, id: &str) -> Operation {
    wait_for("it is confirmed", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        Some(world.operation(id).await).filter(|row| row.state() == OperationState::Confirmed)
    })
    .await
}

async fn until_ended(world: &World, id: &str) -> Operation {
    wait_for("the operation ended", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        let row = world.operation(id).await;
        let ended = [OperationState::Confirmed, OperationState::Failed, OperationState::Cancelled];
        Some(row).filter(|row| ended.contains(&row.state()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_speeds_up_is_followed_to_the_end() {
    let mut world = World::start().await;
    let (operation, second) = replaced_by(&mut world, |call| call).await;
    let done = until_ended(&world, &operation.id).await;
    assert_eq!((done.state(), &done.transactions[0].hash), (OperationState::Confirmed, &second));
    assert!(done.steps.iter().any(|step| step.reason.contains("which does the same")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_cancels_ends_the_operation_and_says_so() {
    let mut world = World::start().await;
    let cancel = |call: UnsignedTransaction| UnsignedTransaction {
        to: call.from.clone(),
        data: "0x".to_owned(),
        ..call
    };
    let (operation, second) = replaced_by(&mut world, cancel).await;
    let done = until_ended(&world, &operation.id).await;
    assert_eq!((done.state(), done.reason_code.as_str()), (OperationState::Cancelled, "WALLET_CANCELLED"));
    assert!(done.reason.contains(&second), "{}", done.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_does_something_else_fails_the_operation_with_what_it_did() {
    let mut world = World::start().await;
    let other = |call: UnsignedTransaction| UnsignedTransaction {
        to: address("stranger").to_string(),
        data: "0x".to_owned(),
        value_wei: "1".to_owned(),
        ..call
    };
    let (operation, second) = replaced_by(&mut world, other).await;
    let done = until_ended(&world, &operation.id).await;
    assert_eq!((done.state(), done.reason_code.as_str()), (OperationState::Failed, "WALLET_REPLACED"));
    assert!(done.reason.contains(&second) && done.reason.contains(&address("stranger").to_string()));
}

/// Something else than what was prepared.
fn payment(call: UnsignedTransaction) -> UnsignedTransaction {
    UnsignedTransaction {
        to: address("stranger").to_string(),
        data: "0x".to_owned(),
        value_wei: "1".to_owned(),
        ..call
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wallet_did_instead_is_followed_until_it_is_final() {
    let mut world = World::start().await;
    // What was before is deeper than what is taken back.
    world.l1.link.mine(BLOCKS_TO_FINAL).await.unwrap();
    let (operation, first, second) = replaced(&mut world, payment).await;
    let ended = until_ended(&world, &operation.id).await;
    assert_eq!(ended.reason_code, "WALLET_REPLACED");
    take_out(&world, &second, &[(first, 0)]).await;
    let done = until_confirmed(&world, &operation.id).await;
    assert_eq!(done.transactions[0].mined_form, "CALL", "it has its effect, and says so");
    world.until_phase(&operation.sequencer, Phase::Locked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_is_open_again_waits_for_the_wallet_and_nobody_else() {
    let mut world = World::start().await;
    world.l1.link.mine(BLOCKS_TO_FINAL).await.unwrap();
    let (operation, first, second) = replaced(&mut world, payment).await;
    until_ended(&world, &operation.id).await;
    take_out(&world, &second, &[]).await;
    let open = wait_for("it is open again", DEADLINE, || async {
        Some(world.operation(&operation.id).await).filter(|row| row.state() == OperationState::Broadcast)
    })
    .await;
    assert!(open.reason.contains("only the wallet has its bytes"), "{}", open.reason);
    assert!(open.steps.iter().all(|step| !step.reason.contains("sent again")), "nobody could");
    send(&world, &first).await;
    until_confirmed(&world, &operation.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_whose_transaction_a_reorganisation_takes_out_waits_for_the_wallet() {
    let mut world = World::start().await;
    world.l1.link.mine(BLOCKS_TO_FINAL).await.unwrap();
    let (operation, call, nonce) = approved(&mut world).await;
    let raw = wallet::sign(&secret(&owner_name("alpha")), &call, nonce);
    let hash = send(&world, &raw).await;
    submit(&mut world, &operation, Submitted::TransactionHash(hash.clone())).await.expect("taken");
    until_ended(&world, &operation.id).await;
    take_out(&world, &hash, &[]).await;
    let open = wait_for("it is open again", DEADLINE, || async {
        Some(world.operation(&operation.id).await).filter(|row| row.state() == OperationState::Broadcast)
    })
    .await;
    assert!(open.reason.contains("only the wallet has its bytes"), "{}", open.reason);
    send(&world, &raw).await;
    until_confirmed(&world, &operation.id).await;
}

/// Reported by its hash, and lost by every pool for long.
async fn unseen(world: &mut World) -> (Operation, Bytes, UnsignedTransaction, u64) {
    let (operation, call, nonce) = approved(world).await;
    let raw = wallet::sign(&secret(&owner_name("alpha")), &call, nonce);
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([false])).await.unwrap();
    let hash = send(world, &raw).await;
    submit(world, &operation, Submitted::TransactionHash(hash)).await.expect("it is in the pool");
    let request = CancelOperationRequest { id: operation.id.clone(), reason: "too early".to_owned() };
    let status = world.client.cancel_operation(request).await.unwrap_err();
    assert_eq!(refusal_of(&status).unwrap().reason, "OPERATION_NOT_CANCELLABLE", "an endpoint has it");
    let _: Value = world.l1.link.rpc("anvil_dropAllTransactions", json!([])).await.unwrap();
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([true])).await.unwrap();
    world.l1.link.mine(30).await.unwrap();
    let lost = wait_for("it says so", DEADLINE, || async {
        Some(world.operation(&operation.id).await).filter(|row| row.reason_code == "TRANSACTION_NOT_SEEN")
    })
    .await;
    assert_eq!(lost.state(), OperationState::Broadcast);
    assert!(lost.reason.contains("could still be mined until nonce"), "{}", lost.reason);
    let request = CancelOperationRequest { id: operation.id.clone(), reason: "forgotten".to_owned() };
    let answer = world.client.cancel_operation(request).await.unwrap().into_inner().operation.unwrap();
    assert_eq!(answer.state(), OperationState::Cancelled);
    assert!(answer.reason.contains("forgotten; ") && answer.reason.contains("could still be mined"));
    (operation, raw, call, nonce)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_endpoint_knows_for_long_can_be_cancelled_and_tells_if_it_is_mined_after_all() {
    let mut world = World::start().await;
    let (operation, raw, _, _) = unseen(&mut world).await;
    send(&world, &raw).await;
    until_confirmed(&world, &operation.id).await;
    world.until_phase(&operation.sequencer, Phase::Locked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_by_hand_stays_so_when_its_nonce_is_spent_on_something_else() {
    let mut world = World::start().await;
    let (operation, _, call, nonce) = unseen(&mut world).await;
    send(&world, &wallet::sign(&secret(&owner_name("alpha")), &payment(call), nonce)).await;
    let spent = wait_for("its nonce is spent", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        let row = world.operation(&operation.id).await;
        Some(row).filter(|row| row.transactions[0].state == "FOREIGN")
    })
    .await;
    assert_eq!(spent.state(), OperationState::Cancelled);
    assert!(spent.reason.contains("forgotten"), "{}", spent.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_of_another_amount_or_sender_is_refused_and_changes_nothing() {
    let mut world = World::start().await;
    let (operation, call, nonce) = approved(&mut world).await;
    let amount = |units: u64| format!("{:064x}", Metis::whole(units).0);
    let other =
        UnsignedTransaction { data: call.data.replace(&amount(20_000), &amount(20_001)), ..call.clone() };
    world.l1.fund(address("thief"), Metis::ZERO, Eth::whole(1)).await.unwrap();
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([false])).await.unwrap();
    let hashes = [
        send(&world, &wallet::sign(&secret(&owner_name("alpha")), &other, nonce)).await,
        send(&world, &wallet::sign(&secret("thief"), &call, 0)).await,
    ];
    let before = world.operation(&operation.id).await;
    for hash in hashes {
        let told = submit(&mut world, &operation, Submitted::TransactionHash(hash)).await;
        assert_eq!(told, Err("TRANSACTION_MISMATCH".to_owned()));
    }
    assert_eq!(world.operation(&operation.id).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallets_transaction_survives_a_reorganisation() {
    let mut world = World::start().await;
    let (operation, call, nonce) = approved(&mut world).await;
    let raw = wallet::sign(&secret(&owner_name("alpha")), &call, nonce);
    submit(&mut world, &operation, Submitted::RawTransaction(raw.to_vec().into())).await.expect("taken");
    let done = until_ended(&world, &operation.id).await;
    let mined_at = done.transactions[0].block.as_ref().unwrap().number;
    let head = world.l1.link.head().await.unwrap().number;
    world.l1.link.reorg(head - mined_at + 1, &[]).await.unwrap();
    let again = wait_for("it is confirmed again", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        let row = world.operation(&operation.id).await;
        let noticed = row.steps.iter().any(|step| step.reason.contains("reorganisation"));
        Some(row).filter(|row| noticed && row.state() == OperationState::Confirmed)
    })
    .await;
    assert_eq!(again.transactions[0].hash, done.transactions[0].hash);
    assert_eq!(submit(&mut world, &operation, Submitted::RawTransaction(raw.to_vec().into())).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_is_refused_in_words() {
    let mut world = World::start().await;
    let (operation, call, nonce) = approved(&mut world).await;
    let more = U256::from(30_000) * U256::from(10).pow(U256::from(18));
    let amount = format!("{:064x}", U256::from(20_000) * U256::from(10).pow(U256::from(18)));
    let changed = UnsignedTransaction { data: call.data.replace(&amount, &format!("{more:064x}")), ..call };
    let raw = wallet::sign(&secret(&owner_name("alpha")), &changed, nonce);
    let request = SubmitTransactionRequest {
        operation_id: operation.id.clone(),
        transaction: Some(Submitted::RawTransaction(raw.to_vec().into())),
    };
    let status = world.client.submit_transaction(request).await.unwrap_err();
    let refusal = refusal_of(&status).unwrap();
    assert_eq!(refusal.reason, "TRANSACTION_MISMATCH");
    assert!(refusal.fields[0].1.contains("it would lock 30000 METIS"), "{:?}", refusal.fields);
}

async fn exported(world: &mut World, id: &str, form: PreparedForm) -> ExportPreparedOperationResponse {
    let request = ExportPreparedOperationRequest { id: id.to_owned(), form: form.into() };
    world.client.export_prepared_operation(request).await.expect("written").into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_machine_signs_a_bundle_and_the_lock_is_confirmed() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let operation = prepared(&mut world, &sequencer.id).await;
    let document = exported(&mut world, &operation.id, PreparedForm::OfflineBundle).await;
    let bundle: Bundle = serde_json::from_str(&document.json).unwrap();
    assert_eq!((document.digest, document.call_words.len()), (bundle.digest.to_string(), 2));
    let key = SigningKey::from(&secret(&owner_name("alpha")));
    let signed = bundle::sign(&bundle, &key, bundle.expires_at - 1).expect("signed without a network");
    for raw in &signed.transactions {
        submit(&mut world, &operation, Submitted::RawTransaction(raw.to_vec().into())).await.expect("taken");
    }
    let done = until_ended(&world, &operation.id).await;
    assert_eq!(done.state(), OperationState::Confirmed);
    world.until_phase(&sequencer.id, Phase::Locked).await;
    let request =
        ExportPreparedOperationRequest { id: operation.id.clone(), form: PreparedForm::OfflineBundle.into() };
    let status = world.client.export_prepared_operation(request).await.unwrap_err();
    assert_eq!(refusal_of(&status).unwrap().reason, "OPERATION_FINISHED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_that_does_all_calls_in_one_transaction_of_its_executor_is_followed() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let operation = prepared(&mut world, &sequencer.id).await;
    let calls = exported(&mut world, &operation.id, PreparedForm::WalletCalls).await;
    let calls: Value = serde_json::from_str(&calls.json).unwrap();
    assert_eq!((&calls["version"], &calls["atomicRequired"]), (&json!("2.0.0"), &json!(false)));
    let safe = exported(&mut world, &operation.id, PreparedForm::SafeBatch).await;
    let safe: Value = serde_json::from_str(&safe.json).unwrap();
    assert_eq!(safe["transactions"][1]["contractMethod"]["name"], "lockWithRewardRecipient");
    // The owner becomes a contract that does what it is told.
    let owner = address(&owner_name("alpha"));
    let code = "0x60005b368110600a57005b80358060601c9060401c63ffffffff1680836018016000376000600082600060008\
                65af160375760006000fd5b90500160180160025600";
    let _: Value = world.l1.link.rpc("anvil_setCode", json!([owner, code])).await.unwrap();
    let entry = |call: &Value| {
        let data: Bytes = call["data"].as_str().unwrap().parse().unwrap();
        let to: alloy_primitives::Address = call["to"].as_str().unwrap().parse().unwrap();
        [to.as_slice(), &u32::try_from(data.len()).unwrap().to_be_bytes(), &data].concat()
    };
    let both: Vec<u8> = calls["calls"].as_array().unwrap().iter().flat_map(entry).collect();
    let executor = "executor";
    world.l1.fund(address(executor), Metis::ZERO, Eth::whole(1)).await.unwrap();
    let mut envelope = operation.transactions[0].unsigned.clone().unwrap();
    envelope.to = owner.to_string();
    envelope.gas_limit = 2_000_000;
    let only_one = entry(&calls["calls"][0]);
    for (nonce, (data, expected)) in
        (0..).zip([(only_one, Err("TRANSACTION_MISMATCH".to_owned())), (both, Ok(()))])
    {
        envelope.data = Bytes::from(data).to_string();
        let raw = wallet::sign(&testkit::contracts::secret(executor), &envelope, nonce);
        let hash = send(&world, &raw).await;
        for _ in 0..2 {
            let told = submit(&mut world, &operation, Submitted::TransactionHash(hash.clone())).await;
            assert_eq!(told, expected);
        }
    }
    let done = until_ended(&world, &operation.id).await;
    assert_eq!(done.state(), OperationState::Confirmed, "{}", done.reason);
    assert!(done.steps.iter().any(|step| step.reason.contains("approve and lock")));
    world.until_phase(&sequencer.id, Phase::Locked).await;
}
