//! Operations that others must approve: bound to their content, by different identities, in time.

use api::lifecycle::v1::lifecycle_service_client::LifecycleServiceClient;
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::*;
use lifecycle::{ApprovalRule, Approvals, Config, Fees, LabelBudget};
use prost_types::Timestamp;
use runtime::errors::refusal_of;
use testkit::wait_for;
use time::OffsetDateTime;

use crate::world::{DEADLINE, World, address, lock, managed, quick};

const HOUR: i64 = 3_600;

/// Exits need two of alice, bob and whoever runs the tests.
fn guarded() -> Config {
    let rule = ApprovalRule {
        kinds: ["unlock".to_owned()].into(),
        needed: 2,
        approvers: ["alice", "bob", "test"].map(|name| format!("operator:{name}")).into(),
        ..ApprovalRule::default()
    };
    let approvals = Approvals { wait_secs: 7_200, valid_secs: 3_600, rules: vec![rule] };
    Config { approvals, ..quick() }
}

fn unlock() -> Parameters {
    Parameters::Unlock(UnlockParameters { l2_gas: 0 })
}

/// A locked sequencer whose exit waits for approvals.
async fn pending() -> (World, String, Operation) {
    let mut world = World::with(guarded()).await;
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(20_000)).await;
    let exit = world.ask(&sequencer.id, unlock()).await;
    (world, sequencer.id, exit)
}

async fn approve(world: &World, who: &str, id: &str, digest: &str) -> Result<Operation, String> {
    let request = ApproveOperationRequest {
        id: id.to_owned(),
        digest: digest.to_owned(),
        reason: "looked at".to_owned(),
    };
    let answer = world.operator(who).approve_operation(request).await;
    answer.map(|answer| answer.into_inner().operation.unwrap()).map_err(|no| refusal_of(&no).unwrap().reason)
}

fn digest(operation: &Operation) -> String {
    operation.terms.as_ref().unwrap().digest.clone()
}

async fn until_expired(world: &World, id: &str) -> Operation {
    wait_for("it expired", DEADLINE, || async {
        Some(world.operation(id).await).filter(|one| one.state() == OperationState::Expired)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_others_must_approve_exactly_what_waits() {
    let (mut world, sequencer, exit) = pending().await;
    assert_eq!(exit.state(), OperationState::PendingApproval);
    let (id, read) = (exit.id.clone(), digest(&exit));
    let waits = &exit.terms.as_ref().unwrap().waits;
    assert!(waits.contains("0 of 2 approvals") && waits.contains("expires at"), "{waits}");

    assert_eq!(approve(&world, "test", &id, &read).await.unwrap_err(), "APPROVAL_NOT_ALLOWED", "own request");
    assert_eq!(approve(&world, "mallory", &id, &read).await.unwrap_err(), "APPROVAL_NOT_ALLOWED");
    let other = format!("0x{}", "ab".repeat(32));
    assert_eq!(approve(&world, "alice", &id, &other).await.unwrap_err(), "APPROVAL_DIGEST_MISMATCH");
    for _ in 0..2 {
        let once = approve(&world, "alice", &id, &read).await.unwrap();
        assert_eq!(once.state(), OperationState::PendingApproval, "one person is one approval");
        assert_eq!(once.terms.unwrap().approvals.len(), 1);
    }
    // What waits for people keeps nothing else out.
    let recipient = address("recipient").to_string();
    world.done(&sequencer, Parameters::SetRecipient(SetRecipientParameters { recipient })).await;
    // The gateway speaks for its API keys and names none of them.
    let named =
        ApproveOperationRequest { id: id.clone(), digest: read.clone(), reason: "for bob".to_owned() };
    let mut gateway = LifecycleServiceClient::new(world.peer_as("gateway"));
    let refused = gateway.approve_operation(named).await.unwrap_err();
    assert_eq!(refusal_of(&refused).unwrap().reason, "PERMISSION_DENIED");
    assert_eq!(world.operation(&id).await.terms.unwrap().approvals.len(), 1);
    approve(&world, "bob", &id, &read).await.unwrap();
    let done = world.until_state(&id, OperationState::Confirmed).await;
    let states: Vec<_> = done.steps.iter().map(|step| step.state()).collect();
    assert_eq!(states[0], OperationState::PendingApproval);
    approve(&world, "bob", &id, &read).await.expect("saying it again is no error");
    assert_eq!(approve(&world, "mallory", &id, &read).await.unwrap_err(), "APPROVAL_NOT_AWAITED");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_no_ends_it() {
    let (world, _, exit) = pending().await;
    let request = RejectOperationRequest { id: exit.id.clone(), reason: "not this month".to_owned() };
    let answer = world.operator("bob").reject_operation(request).await.unwrap().into_inner();
    let ended = answer.operation.unwrap();
    assert_eq!(
        (ended.state(), ended.reason_code.as_str()),
        (OperationState::Cancelled, "OPERATION_REJECTED")
    );
    assert!(
        ended.reason.contains("operator:bob") && ended.reason.contains("not this month"),
        "{}",
        ended.reason
    );
    assert_eq!(approve(&world, "alice", &exit.id, &digest(&exit)).await.unwrap_err(), "APPROVAL_NOT_AWAITED");
    assert!(ended.transactions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_lapses_and_what_waits_too_long_expires() {
    let (world, _, exit) = pending().await;
    let read = digest(&exit);
    approve(&world, "alice", &exit.id, &read).await.unwrap();
    world.clock().advance(HOUR + 1);
    let late = approve(&world, "bob", &exit.id, &read).await.unwrap();
    assert_eq!(late.state(), OperationState::PendingApproval, "alice's has lapsed");
    world.clock().advance(HOUR);
    let expired = until_expired(&world, &exit.id).await;
    assert_eq!(expired.reason_code, "OPERATION_EXPIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_after_its_approval_waits_again() {
    let (mut world, _, exit) = pending().await;
    let read = digest(&exit);
    approve(&world, "alice", &exit.id, &read).await.unwrap();
    world.kill();
    // Somebody with the database's password makes it exit to another place.
    let sql = "UPDATE lifecycle.operation SET recipient_if_unset = decode(repeat('ab', 20), 'hex')";
    world.sql(sql).await;
    world.restart(guarded()).await;
    let refused = approve(&world, "bob", &exit.id, &read).await.unwrap_err();
    assert_eq!(refused, "APPROVAL_DIGEST_MISMATCH");
    let now = digest(&world.operation(&exit.id).await);
    let still = approve(&world, "bob", &exit.id, &now).await.unwrap();
    assert_eq!(still.state(), OperationState::PendingApproval, "alice approved something else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_a_rule_matches_is_not_taken_off_by_an_operator() {
    let rule = ApprovalRule {
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
        needed: 1,
        ..ApprovalRule::default()
    };
    let approvals = Approvals { rules: vec![rule], ..Approvals::default() };
    let budget = LabelBudget { label: "team".to_owned(), value: "a".to_owned(), per_day_wei: u64::MAX };
    let fees = Fees { budgets: vec![budget], ..Fees::default() };
    let mut world = World::with(Config { approvals, fees, ..quick() }).await;
    let sequencer = world.whitelisted("alpha").await;
    let label = async |world: &World, pairs: &[(&str, &str)]| {
        let now = world.sequencer(&sequencer.id).await;
        let labels = pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        let request = UpdateSequencerRequest {
            id: sequencer.id.clone(),
            etag: now.etag,
            labels,
            set_labels: true,
            ..Default::default()
        };
        let answer = world.client.clone().update_sequencer(request).await;
        answer.map(|_| ()).map_err(|no| refusal_of(&no).unwrap())
    };
    label(&world, &[("tier", "silver"), ("team", "b")]).await.unwrap();
    label(&world, &[("tier", "gold"), ("team", "a"), ("site", "x")]).await.expect("more guarded than before");
    for fewer in [&[("team", "a")][..], &[("tier", "silver"), ("team", "a")], &[("tier", "gold")], &[]] {
        let refused = label(&world, fewer).await.unwrap_err();
        assert_eq!(refused.reason, "LABEL_GUARDED");
    }
    label(&world, &[("tier", "gold"), ("team", "a"), ("site", "y")]).await.expect("nothing names the site");
    let lock = world.ask(&sequencer.id, lock(20_000)).await;
    assert_eq!(lock.state(), OperationState::PendingApproval);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_rule_names_needs_approvals() {
    let mut world = World::with(guarded()).await;
    let sequencer = world.whitelisted("alpha").await;
    let locked = world.done(&sequencer.id, lock(20_000)).await;
    assert!(locked.terms.unwrap().requirements.is_empty());
    let prepared =
        CreateOperationRequest { mode: OperationMode::Prepared.into(), ..managed(&sequencer.id, unlock()) };
    let prepared = world.client.create_operation(prepared).await.unwrap().into_inner().operation.unwrap();
    assert_eq!(prepared.state(), OperationState::Queued, "a wallet's owner needs nobody's leave");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_approvals_can_be_cancelled() {
    let (mut world, sequencer, exit) = pending().await;
    approve(&world, "alice", &exit.id, &digest(&exit)).await.unwrap();
    let cancel = CancelOperationRequest { id: exit.id.clone(), reason: "no longer".to_owned() };
    for _ in 0..2 {
        let answer = world.client.cancel_operation(cancel.clone()).await.unwrap().into_inner();
        assert_eq!(answer.operation.unwrap().state(), OperationState::Cancelled);
    }
    assert_eq!(approve(&world, "bob", &exit.id, &digest(&exit)).await.unwrap_err(), "APPROVAL_NOT_AWAITED");
    assert!(world.operation(&exit.id).await.transactions.is_empty());
    assert_eq!(world.sequencer(&sequencer).await.phase(), Phase::Locked);
}

/// Locks need alice or bob.
fn guarded_lock() -> Config {
    let rule = ApprovalRule { kinds: ["lock".to_owned()].into(), needed: 1, ..ApprovalRule::default() };
    Config { approvals: Approvals { rules: vec![rule], ..Approvals::default() }, ..quick() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_of_the_recipient_that_was_read_and_not_of_another_one_in_the_register() {
    let mut world = World::with(guarded_lock()).await;
    let sequencer = world.whitelisted("alpha").await;
    let asked = world.ask(&sequencer.id, lock(20_000)).await;
    assert_eq!(asked.state(), OperationState::PendingApproval);
    // Somebody with the database's password has the default recipient changed.
    world.sql("UPDATE lifecycle.sequencer SET wanted_recipient = decode(repeat('ab', 20), 'hex')").await;
    approve(&world, "alice", &asked.id, &digest(&asked)).await.unwrap();
    let failed = world.until_failed(&asked.id).await;
    assert_eq!(failed.reason_code, "APPROVAL_DIGEST_MISMATCH");
    assert!(failed.reason.to_lowercase().contains("abababab"), "{}", failed.reason);
    assert!(failed.transactions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_of_the_account_that_sends() {
    let (world, _, exit) = pending().await;
    let read = digest(&exit);
    world.sql("UPDATE lifecycle.operation SET account = decode(repeat('ab', 20), 'hex')").await;
    assert_eq!(approve(&world, "alice", &exit.id, &read).await.unwrap_err(), "APPROVAL_DIGEST_MISMATCH");
}

#[tokio::test(flavor = "multi_thread")]
async fn approvals_of_an_earlier_digest_are_asked_for_again_however_late() {
    let mut world = World::with(guarded()).await;
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(20_000)).await;
    let seconds = OffsetDateTime::now_utc().unix_timestamp() + 10 * HOUR;
    let later = TermsAsked { not_before: Some(Timestamp { seconds, nanos: 0 }), ..TermsAsked::default() };
    let request = CreateOperationRequest { terms: Some(later), ..managed(&sequencer.id, unlock()) };
    let exit = world.client.create_operation(request).await.unwrap().into_inner().operation.unwrap();
    for who in ["alice", "bob"] {
        approve(&world, who, &exit.id, &digest(&exit)).await.unwrap();
    }
    assert_eq!(world.operation(&exit.id).await.state(), OperationState::Scheduled);
    // As a version wrote them that knew another digest.
    world.sql("UPDATE lifecycle.approval SET digest = decode(repeat('ab', 32), 'hex')").await;
    world.clock().advance(10 * HOUR + 1);
    let again = wait_for("it waits for people again", DEADLINE, || async {
        Some(world.operation(&exit.id).await).filter(|one| one.state() == OperationState::PendingApproval)
    })
    .await;
    assert!(
        again.reason.contains("0 of 2 approvals") && again.reason.contains("exactly"),
        "{}",
        again.reason
    );
    // They have as long as at first, although the first time is long over.
    world.clock().advance(HOUR);
    for who in ["alice", "bob"] {
        approve(&world, who, &exit.id, &digest(&again)).await.unwrap();
    }
    world.until_state(&exit.id, OperationState::Confirmed).await;
}
