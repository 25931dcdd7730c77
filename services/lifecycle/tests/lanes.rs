//! What a lane pays, and what it does about nonces that are not mined: hurry, cancel, fill, wait.

use alloy_primitives::U256;
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::*;
use domain::amount::{Eth, Metis};
use lifecycle::{Action, Config, Fees, LabelBudget, Point};
use runtime::errors::refusal_of;
use serde_json::{Value, json};
use testkit::{wait_for, wait_until};

use crate::world::{DEADLINE, World, address, lock, owner_name, quick};

/// anvil calls a block final two epochs of 32 slots later.
pub const BLOCKS_TO_FINAL: u64 = 66;

pub async fn blocks_by_themselves(world: &World, yes: bool) {
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([yes])).await.unwrap();
}

pub async fn until_sent(world: &World, id: &str) -> Transaction {
    wait_for("it is sent", DEADLINE, || async {
        let one = world.operation(id).await.transactions.last().cloned();
        one.filter(|one| one.state == "BROADCAST")
    })
    .await
}

pub async fn until_waits(world: &World, id: &str, code: &str) -> Operation {
    wait_for(&format!("it waits with {code}"), DEADLINE, || async {
        Some(world.operation(id).await).filter(|operation| operation.reason_code == code)
    })
    .await
}

/// A lock whose approval is there already, sent and not mined.
pub async fn lock_in_the_pool(world: &mut World) -> (Operation, Transaction) {
    let sequencer = world.whitelisted("alpha").await;
    world.l1.approve(address(&owner_name("alpha")), Metis::whole(20_000)).await.unwrap();
    blocks_by_themselves(world, false).await;
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    let sent = until_sent(world, &operation.id).await;
    (operation, sent)
}

pub fn tip(one: &Transaction) -> u128 {
    one.unsigned.as_ref().unwrap().max_priority_fee_per_gas_wei.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn speeding_up_replaces_at_once_and_not_after_blocks() {
    let mut world = World::with(Config { replace_after_blocks: 1_000, ..quick() }).await;
    let (operation, first) = lock_in_the_pool(&mut world).await;
    let request = SpeedUpOperationRequest { id: operation.id.clone() };
    world.client.speed_up_operation(request.clone()).await.unwrap();
    let second = wait_for("it is replaced", DEADLINE, || async {
        let one = world.operation(&operation.id).await.transactions[0].clone();
        Some(one).filter(|one| one.state == "BROADCAST" && one.hash != first.hash)
    })
    .await;
    assert!(tip(&second) * 1_000 >= tip(&first) * 1_125, "what nodes demand of a replacement");
    blocks_by_themselves(&world, true).await;
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    assert_eq!((done.transactions[0].hash.as_str(), done.transactions.len()), (second.hash.as_str(), 1));
    assert_ne!(done.transactions[0].paid_wei, "");
    let refused = refusal_of(&world.client.speed_up_operation(request).await.unwrap_err()).unwrap();
    assert_eq!(refused.reason, "NOTHING_IN_FLIGHT");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_what_is_sent_spends_its_nonce_on_nothing() {
    let mut world = World::start().await;
    let (operation, first) = lock_in_the_pool(&mut world).await;
    let request = CancelOperationRequest { id: operation.id.clone(), reason: "the wrong amount".to_owned() };
    for _ in 0..2 {
        let answer = world.client.cancel_operation(request.clone()).await.unwrap().into_inner();
        assert_ne!(answer.operation.unwrap().state(), OperationState::Cancelled, "nothing is mined yet");
    }
    wait_until("the cancel is sent", DEADLINE, || async {
        let one = world.operation(&operation.id).await.transactions[0].clone();
        one.state == "BROADCAST" && one.hash != first.hash
    })
    .await;
    blocks_by_themselves(&world, true).await;
    let done = world.until_state(&operation.id, OperationState::Cancelled).await;
    let one = &done.transactions[0];
    assert_eq!((one.state.as_str(), one.mined_form.as_str()), ("CANCELLED", "CANCEL"));
    assert!(done.reason.contains("the wrong amount") && done.reason.contains("was mined"), "{}", done.reason);
    let owner = address(&owner_name("alpha"));
    assert_eq!(world.l1.sequencer_of(owner).await.unwrap(), None);
    assert_eq!(world.keys.nonces_signed(), 1, "the same nonce");
    // The next operation is not held up.
    world.done(&done.sequencer, lock(20_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_mined_before_its_cancel_says_so() {
    let mut world = World::with(Config { replace_after_blocks: 1_000, ..quick() }).await;
    let (operation, first) = lock_in_the_pool(&mut world).await;
    world.keys.refuse(true);
    let request = CancelOperationRequest { id: operation.id.clone(), reason: "too late".to_owned() };
    world.client.cancel_operation(request).await.unwrap();
    blocks_by_themselves(&world, true).await;
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    let one = &done.transactions[0];
    assert_eq!((one.mined_form.as_str(), one.hash.as_str()), ("CALL", first.hash.as_str()));
    assert_eq!(one.cancel_reason, "too late");
    assert!(done.reason.contains("before its cancel"), "{}", done.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_was_taken_and_never_signed_is_spent_on_nothing() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    // Keys has signed something else for this nonce: ours is refused, and must not be handed out again.
    world.keys.reserve(world.l1.chain_id, owner, 0);
    let refused = world.ask(&sequencer.id, lock(20_000)).await;
    let refused = world.until_failed(&refused.id).await;
    assert_eq!(refused.reason_code, "NONCE_CONFLICT");
    let filled = wait_for("the nonce is spent", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        Some(world.operation(&refused.id).await).filter(|one| one.transactions[0].state == "CANCELLED")
    })
    .await;
    assert_eq!((filled.state(), filled.reason_code.as_str()), (OperationState::Failed, "NONCE_CONFLICT"));
    let locked = world.done(&sequencer.id, lock(20_000)).await;
    let nonces: Vec<_> = locked.transactions.iter().map(|one| one.unsigned.as_ref().unwrap().nonce).collect();
    assert_eq!(nonces, [Some(1), Some(2)], "never handed out again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_fee_budget_waits_with_its_numbers_and_signs_nothing() {
    let labelled = LabelBudget { label: "team".to_owned(), value: "a".to_owned(), per_day_wei: 1 };
    for fees in [
        Fees { budget_per_day_wei: Some(1), ..Fees::default() },
        Fees { budgets: vec![labelled], ..Fees::default() },
    ] {
        let mut world = World::with(Config { fees, ..quick() }).await;
        let sequencer = world.whitelisted("alpha").await;
        let labels = [("team".to_owned(), "a".to_owned())].into();
        let update = UpdateSequencerRequest {
            id: sequencer.id.clone(),
            etag: sequencer.etag.clone(),
            labels,
            set_labels: true,
            ..Default::default()
        };
        world.client.update_sequencer(update).await.unwrap();
        let operation = world.ask(&sequencer.id, lock(20_000)).await;
        let waits = until_waits(&world, &operation.id, "FEE_BUDGET_SPENT").await;
        assert_eq!((waits.state(), waits.transactions.len()), (OperationState::Queued, 0));
        assert!(waits.reason.contains("0.000000000000000001 ETH"), "{}", waits.reason);
        assert_eq!(world.keys.nonces_signed(), 0);
        world.restart(quick()).await;
        world.until_state(&operation.id, OperationState::Confirmed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_for_one_of_two_lanes_lets_one_go_and_binds_no_other_label() {
    let mut world = World::start().await;
    let mut sequencers = Vec::new();
    for (name, team) in [("alpha", "a"), ("beta", "a"), ("gamma", "b")] {
        let sequencer = world.whitelisted(name).await;
        world.l1.approve(address(&owner_name(name)), Metis::whole(20_000)).await.unwrap();
        let update = UpdateSequencerRequest {
            id: sequencer.id.clone(),
            etag: sequencer.etag.clone(),
            labels: [("team".to_owned(), team.to_owned())].into(),
            set_labels: true,
            ..Default::default()
        };
        world.client.update_sequencer(update).await.unwrap();
        sequencers.push(sequencer.id);
    }
    // What one lock costs at most now; nothing is mined, so all of it stays reserved.
    blocks_by_themselves(&world, false).await;
    let probe = world.ask(&sequencers[2], lock(20_000)).await;
    let probe = until_sent(&world, &probe.id).await.unsigned.unwrap();
    let cost = u128::from(probe.gas_limit) * probe.max_fee_per_gas_wei.parse::<u128>().unwrap();
    let per_day_wei = u64::try_from(cost * 3 / 2).unwrap();
    let budgets = vec![LabelBudget { label: "team".to_owned(), value: "a".to_owned(), per_day_wei }];
    // Two lanes at once, which see each other's reservations or spend the same wei.
    world.restart(Config { fees: Fees { budgets, ..Fees::default() }, ..quick() }).await;
    let (alpha, beta) =
        (world.ask(&sequencers[0], lock(20_000)).await, world.ask(&sequencers[1], lock(20_000)).await);
    let (sent, waits) = wait_for("one is sent and one waits", DEADLINE, || async {
        let (alpha, beta) = (world.operation(&alpha.id).await, world.operation(&beta.id).await);
        match (alpha.state(), beta.state()) {
            (OperationState::Broadcast, OperationState::Queued) => Some((alpha, beta)),
            (OperationState::Queued, OperationState::Broadcast) => Some((beta, alpha)),
            _ => None,
        }
        .filter(|(_, waits)| waits.reason_code == "FEE_BUDGET_SPENT")
    })
    .await;
    assert_eq!((sent.transactions.len(), waits.transactions.len()), (1, 0));
    assert!(waits.reason.contains("team=a"), "{}", waits.reason);
    // A replacement counts as well: an eighth more is within it, and the next ones are not.
    let request = SpeedUpOperationRequest { id: sent.id.clone() };
    for _ in 0..6 {
        world.client.speed_up_operation(request.clone()).await.unwrap();
        wait_until("it is no longer hurried", DEADLINE, || async {
            let now = world.operation(&sent.id).await;
            now.reason_code == "FEE_BUDGET_SPENT" || !now.reason.contains("hurried")
        })
        .await;
    }
    until_waits(&world, &sent.id, "FEE_BUDGET_SPENT").await;
    let dearest = world.operation(&sent.id).await.transactions[0].unsigned.clone().unwrap();
    let reserved = u128::from(dearest.gas_limit) * dearest.max_fee_per_gas_wei.parse::<u128>().unwrap();
    assert!(reserved <= u128::from(per_day_wei), "{reserved} of {per_day_wei}");
    blocks_by_themselves(&world, true).await;
    for id in [&sent.id, &waits.id] {
        world.until_state(id, OperationState::Confirmed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_fee_ceiling_and_without_eth_operations_wait_and_go_on_by_themselves() {
    let fees = Fees { max_fee_per_gas_wei: 1, ..Fees::default() };
    let mut world = World::with(Config { fees, ..quick() }).await;
    let sequencer = world.whitelisted("alpha").await;
    let owner = address(&owner_name("alpha"));
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    let waits = until_waits(&world, &operation.id, "FEE_ABOVE_CEILING").await;
    assert_eq!((waits.state(), waits.transactions.len()), (OperationState::Queued, 0));
    world.l1.link.set_balance(owner, U256::ONE).await.unwrap();
    world.restart(quick()).await;
    let waits = until_waits(&world, &operation.id, "ETH_TOO_LOW").await;
    assert_eq!((waits.state(), waits.transactions.len()), (OperationState::Queued, 0));
    assert!(waits.reason.contains("goes on by itself"), "{}", waits.reason);
    world.l1.fund(owner, Metis::ZERO, Eth::whole(1)).await.unwrap();
    world.until_state(&operation.id, OperationState::Confirmed).await;
}

/// Locked, with a recipient, and an operation whose transaction is signed, stored and not sent when the service dies.
async fn stopped_before_broadcast(parameters: Parameters, reward: bool) -> (World, Operation) {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(20_000)).await;
    if reward {
        world.l1.submit_batch(&[(address("alpha"), 1_000)]).await.unwrap();
    }
    let failpoints = [(Point::AfterStoreBeforeBroadcast, Action::Pause)].into();
    world.restart(Config { failpoints, ..quick() }).await;
    let operation = world.ask(&sequencer.id, parameters).await;
    wait_until("it is signed", DEADLINE, || async {
        world.operation(&operation.id).await.transactions.first().is_some_and(|one| one.state == "SIGNED")
    })
    .await;
    world.kill();
    (world, operation)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_that_appears_after_the_quote_is_quoted_again_once_the_revert_is_final() {
    let unlock = Parameters::Unlock(UnlockParameters { l2_gas: 0 });
    let (mut world, operation) = stopped_before_broadcast(unlock, false).await;
    world.l1.submit_batch(&[(address("alpha"), 1_000)]).await.unwrap();
    world.restart(quick()).await;
    wait_until("the revert is told", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        world.operation(&operation.id).await.reason.contains("with a new quote")
    })
    .await;
    assert_eq!(world.operation(&operation.id).await.transactions.len(), 1, "not before the block is final");
    world.l1.link.mine(BLOCKS_TO_FINAL).await.unwrap();
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    let told: Vec<_> = done.transactions.iter().map(|one| one.state.as_str()).collect();
    assert_eq!(told, ["REVERTED", "CONFIRMED"]);
    assert_ne!(done.transactions[1].unsigned.as_ref().unwrap().value_wei, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_new_quote_can_be_cancelled_by_hand() {
    let unlock = Parameters::Unlock(UnlockParameters { l2_gas: 0 });
    let (mut world, operation) = stopped_before_broadcast(unlock, false).await;
    world.l1.submit_batch(&[(address("alpha"), 1_000)]).await.unwrap();
    world.restart(quick()).await;
    wait_until("the revert is told", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        world.operation(&operation.id).await.reason.contains("with a new quote")
    })
    .await;
    let request = CancelOperationRequest { id: operation.id.clone(), reason: "not now".to_owned() };
    let answer = world.client.cancel_operation(request).await.unwrap().into_inner().operation.unwrap();
    assert_eq!(answer.state(), OperationState::Mined, "a reorganisation could still bring the call back");
    world.l1.link.mine(BLOCKS_TO_FINAL).await.unwrap();
    let done = world.until_state(&operation.id, OperationState::Cancelled).await;
    assert_eq!((done.transactions.len(), done.transactions[0].state.as_str()), (1, "REVERTED"));
    assert!(done.reason.contains("not now"), "{}", done.reason);
}

/// A lock that was stopped when its approval was mined, and what happened then.
async fn between_approval_and_lock() -> (World, Operation) {
    let failpoints = [(Point::BetweenSteps, Action::Pause)].into();
    let mut world = World::with(Config { failpoints, ..quick() }).await;
    let sequencer = world.whitelisted("alpha").await;
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    wait_until("the approval is mined", DEADLINE, || async {
        world.operation(&operation.id).await.state() == OperationState::Mined
    })
    .await;
    world.kill();
    (world, operation)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_between_the_steps_is_waited_out() {
    let (mut world, operation) = between_approval_and_lock().await;
    world.l1.set_pause(true).await.unwrap();
    world.restart(quick()).await;
    let waits = until_waits(&world, &operation.id, "POOL_PAUSED").await;
    assert_eq!((waits.state(), waits.transactions.len()), (OperationState::Queued, 1));
    assert!(waits.reason.contains("goes on by itself"), "{}", waits.reason);
    world.l1.set_pause(false).await.unwrap();
    world.until_state(&operation.id, OperationState::Confirmed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metis_that_left_between_the_steps_are_waited_for() {
    let (mut world, operation) = between_approval_and_lock().await;
    let owner = address(&owner_name("alpha"));
    let away = chain::abi::Erc20::transferCall { to: address("elsewhere"), value: Metis::whole(190_000).0 };
    world.l1.link.act(testkit::contracts::Action::call(owner, world.l1.metis, &away)).await.unwrap();
    world.restart(quick()).await;
    let waits = until_waits(&world, &operation.id, "BALANCE_TOO_LOW").await;
    assert_eq!((waits.state(), waits.transactions.len()), (OperationState::Queued, 1));
    world.l1.fund(owner, Metis::whole(190_000), Eth::ZERO).await.unwrap();
    world.until_state(&operation.id, OperationState::Confirmed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eth_for_a_reward_that_has_left_is_never_sent() {
    let claim = Parameters::Claim(ClaimParameters { l2_gas: 0 });
    let (mut world, operation) = stopped_before_broadcast(claim, true).await;
    let owner = address(&owner_name("alpha"));
    let id = world.l1.sequencer_of(owner).await.unwrap().unwrap();
    world.l1.force_unlock(id).await.unwrap();
    world.restart(quick()).await;
    let done = world.until_state(&operation.id, OperationState::Cancelled).await;
    assert_eq!(done.transactions[0].mined_form, "CANCEL");
    assert!(done.reason.contains("would be lost"), "{}", done.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_pending_at_a_restart_is_taken_up_again_and_nothing_is_doubled() {
    let mut world = World::start().await;
    let mut asked = Vec::new();
    for number in 0..8 {
        let name = format!("s{number}");
        let sequencer = world.whitelisted(&name).await;
        world.l1.approve(address(&owner_name(&name)), Metis::whole(20_000)).await.unwrap();
        asked.push((name, sequencer.id));
    }
    blocks_by_themselves(&world, false).await;
    let mut operations = Vec::new();
    for (_, id) in &asked {
        operations.push(world.ask(id, lock(20_000)).await.id);
    }
    // Some are sent, some are not: whatever the moment finds.
    until_sent(&world, &operations[0]).await;
    world.kill();
    let _: Value = world.l1.link.rpc("anvil_dropAllTransactions", json!([])).await.unwrap();
    world.restart(quick()).await;
    blocks_by_themselves(&world, true).await;
    for id in &operations {
        let done = world.until_state(id, OperationState::Confirmed).await;
        assert_eq!(done.transactions.len(), 1);
    }
    assert_eq!(world.keys.nonces_signed(), asked.len());
    for (name, _) in &asked {
        let left = world.l1.metis_of(address(&owner_name(name))).await.unwrap();
        assert_eq!(left, Metis::whole(180_000), "{name} locked once");
    }
}
