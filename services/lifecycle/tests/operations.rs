//! Managed operations, from intake to confirmation.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::rotate_signer_parameters::NewSigner;
use api::lifecycle::v1::*;
use domain::amount::{Eth, Metis};
use lifecycle::{Action, Config, Point};
use runtime::errors::refusal_of;
use serde_json::{Value, json};
use testkit::{wait_for, wait_until};

use crate::lanes::BLOCKS_TO_FINAL;
use crate::world::{DEADLINE, World, address, lock, managed, owner_name, quick};

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_an_active_sequencer_does_what_it_says() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let (id, owner, signer) = (sequencer.id, address(&owner_name("alpha")), address("alpha"));

    let locked = world.done(&id, lock(20_000)).await;
    let steps: Vec<&str> = locked.transactions.iter().map(|one| one.step.as_str()).collect();
    assert_eq!(steps, ["approve", "lock"]);
    world.until_phase(&id, Phase::Locked).await;
    let seq_id = world.l1.sequencer_of(owner).await.unwrap().expect("locked");

    let more = IncreaseParameters { amount_wei: Metis::whole(5_000).wei_string(), with_rewards: false };
    world.done(&id, Parameters::Increase(more)).await;
    let recipient = address("recipient").to_string();
    world.done(&id, Parameters::SetRecipient(SetRecipientParameters { recipient: recipient.clone() })).await;
    world.l1.submit_batch(&[(signer, 1_000)]).await.unwrap();
    let claimed = world.done(&id, Parameters::Claim(ClaimParameters { l2_gas: 0 })).await;
    let fee = claimed.transactions[0].unsigned.as_ref().unwrap().value_wei.clone();
    assert_ne!(fee, "0", "the bridge is paid where a reward leaves");
    let part = WithdrawParameters { amount_wei: Metis::whole(5_000).wei_string() };
    world.done(&id, Parameters::Withdraw(part)).await;
    let record = world.l1.record(seq_id).await.unwrap().unwrap();
    assert_eq!((record.amount, record.reward), (Metis::whole(20_000), Metis::ZERO));

    world.l1.submit_batch(&[(signer, 1)]).await.unwrap();
    world.keys.add("beta", api::keys::v1::KeyRole::Sequencer);
    let rotation = RotateSignerParameters { new_signer: Some(NewSigner::KeyId("beta".to_owned())) };
    world.done(&id, Parameters::RotateSigner(rotation)).await;
    let rotated = world.sequencer(&id).await;
    assert_eq!(
        rotated.signer.unwrap(),
        Account { address: address("beta").to_string(), key_id: "beta".to_owned() }
    );

    world.l1.whitelist(address("heir"), true).await.unwrap();
    world.l1.fund(address("heir"), Metis::ZERO, Eth::whole(5)).await.unwrap();
    world.keys.add("heir", api::keys::v1::KeyRole::Owner);
    let handover = SetOwnerParameters { new_owner: address("heir").to_string() };
    world.done(&id, Parameters::SetOwner(handover)).await;
    assert_eq!(world.sequencer(&id).await.owner.unwrap().address, address("heir").to_string());
    let refused =
        world.client.create_operation(managed(&id, Parameters::Unlock(UnlockParameters { l2_gas: 0 })));
    let refused = refusal_of(&refused.await.unwrap_err()).unwrap();
    assert_eq!(refused.reason, "ACCOUNT_EXTERNAL", "nobody told us that the heir's key is ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_ends_with_the_principal_back_at_the_owner() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let (id, owner) = (sequencer.id, address(&owner_name("alpha")));
    let before = world.l1.metis_of(owner).await.unwrap();
    world.done(&id, lock(20_000)).await;
    let exit = world.done(&id, Parameters::Unlock(UnlockParameters { l2_gas: 0 })).await;
    assert_eq!(exit.transactions[0].unsigned.as_ref().unwrap().value_wei, "0", "no reward, no fee");
    world.until_phase(&id, Phase::Exiting).await;
    let early = managed(&id, Parameters::WithdrawFinal(WithdrawFinalParameters { l2_gas: 0 }));
    let refused = refusal_of(&world.client.create_operation(early).await.unwrap_err()).unwrap();
    assert_eq!(refused.reason, "EXIT_PERIOD_NOT_OVER");
    world.l1.link.advance_time(21 * 86_400 + 1).await.unwrap();
    world.until_phase(&id, Phase::Withdrawable).await;
    world.done(&id, Parameters::WithdrawFinal(WithdrawFinalParameters { l2_gas: 0 })).await;
    world.until_phase(&id, Phase::Withdrawn).await;
    assert_eq!(world.l1.metis_of(owner).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_has_one_effect_and_another_body_is_refused() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let request = managed(&sequencer.id, lock(20_000));
    // Twins at the same time.
    let (mut one, mut two) = (world.client.clone(), world.client.clone());
    let (first, second) =
        tokio::join!(one.create_operation(request.clone()), two.create_operation(request.clone()));
    let (first, second) = (first.unwrap().into_inner(), second.unwrap().into_inner());
    assert_eq!(first, second);
    let id = first.operation.as_ref().unwrap().id.clone();
    world.until_state(&id, OperationState::Confirmed).await;
    let late = world.client.create_operation(request.clone()).await.unwrap().into_inner();
    assert_eq!(late, first, "the answer of then, whatever happened since");
    let other = CreateOperationRequest { parameters: managed("", lock(30_000)).parameters, ..request };
    let refused = refusal_of(&world.client.create_operation(other).await.unwrap_err()).unwrap();
    assert_eq!(refused.reason, "IDEMPOTENCY_KEY_REUSED");
    let list = ListOperationsRequest { sequencer: sequencer.id, ..Default::default() };
    assert_eq!(world.client.list_operations(list).await.unwrap().into_inner().operations.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_keys_fails_the_operation_and_frees_its_nonce() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    world.keys.refuse(true);
    let refused = world.ask(&sequencer.id, lock(20_000)).await;
    let refused = world.until_failed(&refused.id).await;
    assert_eq!(refused.reason_code, "POLICY_DENIED");
    world.keys.refuse(false);
    let locked = world.done(&sequencer.id, lock(20_000)).await;
    let nonces: Vec<_> = locked.transactions.iter().map(|one| one.unsigned.as_ref().unwrap().nonce).collect();
    assert_eq!(nonces, [Some(0), Some(1)], "no gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_not_signed_can_be_cancelled() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let done = world.done(&sequencer.id, lock(20_000)).await;
    let late = CancelOperationRequest { id: done.id, reason: "changed my mind".to_owned() };
    let refused = refusal_of(&world.client.cancel_operation(late).await.unwrap_err()).unwrap();
    assert_eq!(refused.reason, "OPERATION_NOT_CANCELLABLE");
    let claim = Parameters::Unlock(UnlockParameters { l2_gas: 0 });
    let prepared =
        CreateOperationRequest { mode: OperationMode::Prepared.into(), ..managed(&sequencer.id, claim) };
    let prepared = world.client.create_operation(prepared).await.unwrap().into_inner().operation.unwrap();
    let cancel = CancelOperationRequest { id: prepared.id, reason: "changed my mind".to_owned() };
    for _ in 0..2 {
        let answer = world.client.cancel_operation(cancel.clone()).await.unwrap().into_inner();
        assert_eq!(answer.operation.unwrap().state(), OperationState::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_pools_lost_is_replaced_with_higher_fees() {
    let mut world = World::with(Config { replace_after_blocks: 2, ..quick() }).await;
    let sequencer = world.whitelisted("alpha").await;
    world.l1.approve(address(&owner_name("alpha")), Metis::whole(20_000)).await.unwrap();
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([false])).await.unwrap();
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    let first = wait_for("the lock is sent", DEADLINE, || async {
        let one = world.operation(&operation.id).await.transactions.first().cloned();
        one.filter(|one| one.state == "BROADCAST")
    })
    .await;
    let _: Value = world.l1.link.rpc("anvil_dropAllTransactions", json!([])).await.unwrap();
    world.l1.link.mine(3).await.unwrap();
    let second = wait_for("the lock is replaced", DEADLINE, || async {
        let one = world.operation(&operation.id).await.transactions.first().cloned();
        one.filter(|one| one.state == "BROADCAST" && one.hash != first.hash)
    })
    .await;
    let fee = |one: &Transaction| {
        one.unsigned.as_ref().unwrap().max_priority_fee_per_gas_wei.parse::<u128>().unwrap()
    };
    assert!(fee(&second) * 1_000 >= fee(&first) * 1_125);
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    assert_eq!(done.transactions.len(), 1);
    assert_eq!(world.keys.nonces_signed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_reverts_on_chain_fails_with_the_contracts_reason() {
    let point = Point::AfterStoreBeforeBroadcast;
    let mut world = World::with(Config { failpoints: [(point, Action::Pause)].into(), ..quick() }).await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    world.l1.approve(owner, Metis::whole(20_000)).await.unwrap();
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    wait_until("the lock is signed", DEADLINE, || async {
        world.operation(&operation.id).await.transactions.first().is_some_and(|one| one.state == "SIGNED")
    })
    .await;
    world.kill();
    world.l1.whitelist(owner, false).await.unwrap();
    world.restart(quick()).await;
    wait_until("the lock is mined", DEADLINE, || async {
        world.operation(&operation.id).await.state() == OperationState::Mined
    })
    .await;
    wait_until("the revert is settled", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        world.operation(&operation.id).await.reason.contains("fails when that block is final")
    })
    .await;
    world.l1.link.mine(BLOCKS_TO_FINAL).await.unwrap();
    let failed = world.until_failed(&operation.id).await;
    assert_eq!(
        (failed.reason_code.as_str(), failed.transactions[0].state.as_str()),
        ("NOT_WHITELISTED", "REVERTED")
    );
}
