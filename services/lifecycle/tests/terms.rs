//! Operations on terms: not before, not after, and with a recipient that is set first.

use alloy_primitives::Address;
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::rotate_signer_parameters::NewSigner;
use api::lifecycle::v1::*;
use domain::amount::Metis;
use lifecycle::{Action, Config, Point};
use prost_types::Timestamp;
use runtime::errors::refusal_of;
use serde_json::{Value, json};
use testkit::contracts::node_key;
use testkit::{wait_for, wait_until};
use time::OffsetDateTime;

use crate::world::{DEADLINE, World, address, lock, managed, owner_name, quick};

fn in_secs(secs: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: OffsetDateTime::now_utc().unix_timestamp() + secs, nanos: 0 })
}

fn on(terms: TermsAsked, request: CreateOperationRequest) -> CreateOperationRequest {
    CreateOperationRequest { terms: Some(terms), ..request }
}

async fn ask(world: &mut World, request: CreateOperationRequest) -> Operation {
    world.client.create_operation(request).await.expect("it is taken").into_inner().operation.unwrap()
}

async fn until(world: &World, id: &str, what: &str, is: impl Fn(&Operation) -> bool) -> Operation {
    wait_for(what, DEADLINE, || async { Some(world.operation(id).await).filter(&is) }).await
}

fn claim() -> Parameters {
    Parameters::Claim(ClaimParameters { l2_gas: 0 })
}

/// Registered, locked by somebody else's hand without a recipient, with a reward.
async fn without_recipient(config: Config) -> (World, String) {
    let mut world = World::with(config).await;
    let sequencer = world.register("alpha").await;
    let owner = address(&owner_name("alpha"));
    world.l1.whitelist(owner, true).await.unwrap();
    world.l1.lock(owner, &node_key("alpha"), Address::ZERO, Metis::whole(20_000)).await.unwrap();
    world.l1.submit_batch(&[(address("alpha"), 1_000)]).await.unwrap();
    world.until_phase(&sequencer.id, Phase::Locked).await;
    (world, sequencer.id)
}

fn to_recipient() -> TermsAsked {
    TermsAsked { recipient_if_unset: address("recipient").to_string(), ..TermsAsked::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_later_waits_for_its_time_and_keeps_nothing_out() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let later = TermsAsked { not_before: in_secs(3_600), ..TermsAsked::default() };
    let exit = on(later, managed(&sequencer.id, Parameters::Unlock(UnlockParameters { l2_gas: 0 })));
    let exit = ask(&mut world, exit).await;
    assert_eq!(exit.state(), OperationState::Scheduled, "nothing is locked yet: its checks are for later");
    assert!(exit.terms.unwrap().waits.contains("begins at"));
    world.done(&sequencer.id, lock(20_000)).await;
    assert_eq!(world.operation(&exit.id).await.state(), OperationState::Scheduled);
    world.clock().advance(3_601);
    world.until_state(&exit.id, OperationState::Confirmed).await;
    world.until_phase(&sequencer.id, Phase::Exiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chain_is_not_ready_for_waits_for_its_blocks() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(20_000)).await;
    world.l1.set_exit_delay(3_600).await.unwrap();
    world.done(&sequencer.id, Parameters::Unlock(UnlockParameters { l2_gas: 0 })).await;
    world.until_phase(&sequencer.id, Phase::Exiting).await;
    let withdrawable = TermsAsked { not_before: in_secs(3_600), ..TermsAsked::default() };
    let last = Parameters::WithdrawFinal(WithdrawFinalParameters { l2_gas: 0 });
    let last = ask(&mut world, on(withdrawable, managed(&sequencer.id, last))).await;
    world.clock().advance(3_601);
    let waits =
        until(&world, &last.id, "it waits for a block", |one| one.reason_code == "EXIT_PERIOD_NOT_OVER");
    let waits = waits.await;
    assert_eq!(waits.state(), OperationState::Queued);
    assert!(waits.terms.unwrap().waits.contains("the first block after the exit delay"));
    world.l1.link.advance_time(3_601).await.unwrap();
    world.until_state(&last.id, OperationState::Confirmed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_owner_or_signer_would_have_to_send_is_not_sent_by_the_one_before() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(20_000)).await;
    let signed = world.keys.nonces_signed();
    let in_an_hour = || TermsAsked { not_before: in_secs(3_600), ..TermsAsked::default() };
    let exit = managed(&sequencer.id, Parameters::Unlock(UnlockParameters { l2_gas: 0 }));
    let exit = ask(&mut world, on(in_an_hour(), exit)).await;
    let signer = Some(NewSigner::Pubkey(node_key("third").listing()));
    let rotation = Parameters::RotateSigner(RotateSignerParameters { new_signer: signer });
    let rotation = ask(&mut world, on(in_an_hour(), managed(&sequencer.id, rotation))).await;
    let (owner, buyer) = (address(&owner_name("alpha")), address("buyer"));
    let id = world.l1.sequencer_of(owner).await.unwrap().unwrap();
    world.l1.set_signer_throttle(0).await.unwrap();
    world.l1.update_signer(address("alpha"), id, &node_key("second")).await.unwrap();
    world.l1.whitelist(buyer, true).await.unwrap();
    world.l1.set_owner(owner, id, buyer).await.unwrap();
    wait_until("the new owner is known", DEADLINE, || async {
        world.sequencer(&sequencer.id).await.owner.is_some_and(|one| one.address == buyer.to_string())
    })
    .await;
    world.clock().advance(3_601);
    for (operation, code) in [(exit, "NOT_SEQUENCER_OWNER"), (rotation, "NOT_SEQUENCER_SIGNER")] {
        let ended = world.until_state(&operation.id, OperationState::Failed).await;
        assert_eq!(ended.reason_code, code);
    }
    assert_eq!(world.keys.nonces_signed(), signed, "nothing was signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_has_come_waits_for_the_operation_before_it() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(20_000)).await;
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([false])).await.unwrap();
    let more = IncreaseParameters { amount_wei: Metis::whole(1).wei_string(), with_rewards: false };
    let first = world.ask(&sequencer.id, Parameters::Increase(more)).await;
    let later = TermsAsked { not_before: in_secs(60), ..TermsAsked::default() };
    let second = on(later, managed(&sequencer.id, Parameters::Unlock(UnlockParameters { l2_gas: 0 })));
    let second = ask(&mut world, second).await;
    world.clock().advance(61);
    let waits =
        until(&world, &second.id, "it waits for the other", |one| one.reason_code == "OPERATION_IN_FLIGHT")
            .await;
    assert_eq!(waits.state(), OperationState::Scheduled);
    assert!(waits.reason.contains(&first.id), "{}", waits.reason);
    world.until_state(&first.id, OperationState::Confirmed).await;
    world.until_state(&second.id, OperationState::Confirmed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_begun_by_its_deadline_expires() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let terms = TermsAsked { not_before: in_secs(60), deadline: in_secs(120), ..TermsAsked::default() };
    let scheduled = ask(&mut world, on(terms, managed(&sequencer.id, lock(20_000)))).await;
    // Held networks send nothing, so this one waits in its lane.
    world.indexer.alarm(7);
    wait_until("the network is held", DEADLINE, || async {
        let request = PreflightOperationRequest {
            sequencer: sequencer.id.clone(),
            parameters: managed(&sequencer.id, lock(20_000)).parameters,
        };
        let answer = world.client.clone().preflight_operation(request).await;
        answer.is_ok_and(|answer| answer.into_inner().checks.iter().any(|check| check.name == "NETWORK_HELD"))
    })
    .await;
    let terms = TermsAsked { deadline: in_secs(30), ..TermsAsked::default() };
    let queued = ask(&mut world, on(terms, managed(&sequencer.id, lock(20_000)))).await;
    world.clock().advance(121);
    for id in [&scheduled.id, &queued.id] {
        let expired = until(&world, id, "it expired", |one| one.state() == OperationState::Expired).await;
        assert_eq!(expired.reason_code, "OPERATION_EXPIRED");
        assert!(expired.reason.contains("nothing of it was sent"), "{}", expired.reason);
    }
    assert_eq!(world.keys.nonces_signed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_pools_at_its_deadline_is_followed_to_its_end() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    world.l1.approve(address(&owner_name("alpha")), Metis::whole(20_000)).await.unwrap();
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([false])).await.unwrap();
    let terms = TermsAsked { deadline: in_secs(600), ..TermsAsked::default() };
    let sent = ask(&mut world, on(terms, managed(&sequencer.id, lock(20_000)))).await;
    until(&world, &sent.id, "it is sent", |one| one.state() == OperationState::Broadcast).await;
    world.clock().advance(601);
    // The agenda has looked since: what only now becomes late ends with the same look.
    let terms = TermsAsked { not_before: in_secs(602), deadline: in_secs(603), ..TermsAsked::default() };
    let probe = ask(&mut world, on(terms, managed(&sequencer.id, lock(20_000)))).await;
    world.clock().advance(3);
    until(&world, &probe.id, "the agenda looked", |one| one.state() == OperationState::Expired).await;
    assert_eq!(world.operation(&sent.id).await.state(), OperationState::Broadcast);
    world.until_state(&sent.id, OperationState::Confirmed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_is_set_first_where_the_caller_asks_for_it() {
    let (mut world, id) = without_recipient(quick()).await;
    let refused = world.client.create_operation(managed(&id, claim())).await.unwrap_err();
    assert_eq!(refusal_of(&refused).unwrap().reason, "NO_REWARD_RECIPIENT");
    let asked = ask(&mut world, on(to_recipient(), managed(&id, claim()))).await;
    let done = world.until_state(&asked.id, OperationState::Confirmed).await;
    let steps: Vec<&str> = done.transactions.iter().map(|one| one.step.as_str()).collect();
    assert_eq!(steps, ["recipient", "claim"]);
    let seq_id = world.l1.sequencer_of(address(&owner_name("alpha"))).await.unwrap().unwrap();
    let record = world.l1.record(seq_id).await.unwrap().unwrap();
    assert_eq!(record.reward, Metis::ZERO);
    assert_eq!(record.reward_recipient, Some(address("recipient")));

    world.l1.submit_batch(&[(address("alpha"), 10)]).await.unwrap();
    let other = TermsAsked { recipient_if_unset: address("thief").to_string(), ..TermsAsked::default() };
    let again = ask(&mut world, on(other, managed(&id, claim()))).await;
    let again = world.until_state(&again.id, OperationState::Confirmed).await;
    assert_eq!(again.transactions.len(), 1, "one that is set is never replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_recipient_and_claim_both_are_done_once() {
    let stopped = Config { failpoints: [(Point::BetweenSteps, Action::Pause)].into(), ..quick() };
    let (mut world, id) = without_recipient(stopped).await;
    let asked = ask(&mut world, on(to_recipient(), managed(&id, claim()))).await;
    until(&world, &asked.id, "the recipient is set", |one| one.state() == OperationState::Mined).await;
    world.restart(quick()).await;
    let done = world.until_state(&asked.id, OperationState::Confirmed).await;
    assert_eq!(done.transactions.len(), 2);
    assert_eq!(world.keys.nonces_signed(), 2, "one nonce and one payload for each step");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_approval_and_lock_a_late_deadline_leaves_only_the_allowance() {
    let stopped = Config { failpoints: [(Point::BetweenSteps, Action::Pause)].into(), ..quick() };
    let mut world = World::with(stopped).await;
    let sequencer = world.whitelisted("alpha").await;
    let terms = TermsAsked { deadline: in_secs(600), ..TermsAsked::default() };
    let asked = ask(&mut world, on(terms, managed(&sequencer.id, lock(20_000)))).await;
    until(&world, &asked.id, "the approval is mined", |one| one.state() == OperationState::Mined).await;
    world.clock().advance(601);
    let expired = until(&world, &asked.id, "it expired", |one| one.state() == OperationState::Expired).await;
    assert!(expired.reason.contains("only approve was done"), "{}", expired.reason);
    world.restart(quick()).await;
    let locked = world.done(&sequencer.id, lock(20_000)).await;
    assert_eq!(locked.transactions.len(), 1, "the allowance stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_cannot_be_kept_are_refused_with_their_field() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let cases = [
        (TermsAsked { deadline: in_secs(-1), ..TermsAsked::default() }, "terms.deadline"),
        (TermsAsked { not_before: in_secs(400 * 86_400), ..TermsAsked::default() }, "terms.not_before"),
        (to_recipient(), "terms.recipient_if_unset"),
    ];
    for (terms, field) in cases {
        let request = on(terms, managed(&sequencer.id, lock(20_000)));
        let refused = refusal_of(&world.client.create_operation(request).await.unwrap_err()).unwrap();
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), ("TERMS_INVALID", field));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_time_can_be_cancelled() {
    let mut world = World::start().await;
    let sequencer = world.whitelisted("alpha").await;
    let later = TermsAsked { not_before: in_secs(3_600), ..TermsAsked::default() };
    let asked = ask(&mut world, on(later, managed(&sequencer.id, lock(20_000)))).await;
    assert_eq!(asked.state(), OperationState::Scheduled);
    let cancel = CancelOperationRequest { id: asked.id.clone(), reason: "not this year".to_owned() };
    for _ in 0..2 {
        let answer = world.client.cancel_operation(cancel.clone()).await.unwrap().into_inner();
        let cancelled = answer.operation.unwrap();
        assert_eq!(
            (cancelled.state(), cancelled.reason.as_str()),
            (OperationState::Cancelled, "not this year")
        );
    }
    world.clock().advance(3_601);
    // A later one is admitted and done: the agenda has looked.
    let next = TermsAsked { not_before: in_secs(3_700), ..TermsAsked::default() };
    let next = ask(&mut world, on(next, managed(&sequencer.id, lock(20_000)))).await;
    assert_eq!(next.state(), OperationState::Scheduled);
    world.clock().advance(200);
    world.until_state(&next.id, OperationState::Confirmed).await;
    let still = world.operation(&asked.id).await;
    assert_eq!((still.state(), still.transactions.len()), (OperationState::Cancelled, 0));
}
