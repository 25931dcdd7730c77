//! Schedules on a real chain: by its time, and once for what was missed. Kills in the middle: `faults/workflows.rs`.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::schedule_rule::Rule;
use api::lifecycle::v1::schedule_service_client::ScheduleServiceClient;
use api::lifecycle::v1::*;
use lifecycle::{ApprovalRule, Approvals, Config};
use runtime::client::Peer;
use runtime::errors::refusal_of;
use testkit::wait_for;

use crate::world::{DEADLINE, World, address, lock, quick, request_id};

const DAY: u64 = 86_400;

fn client(world: &World) -> ScheduleServiceClient<Peer> {
    ScheduleServiceClient::new(world.peer_as("operator/test"))
}

fn claim_daily(times_cost: u32, metis_price_wei: &str) -> Rule {
    let worth_it = Some(WorthIt { every_days: 1, times_cost, metis_price_wei: metis_price_wei.to_owned() });
    Rule::ClaimEvery(ClaimEvery { worth_it })
}

async fn add(world: &World, sequencer: &str, rule: Rule) -> Schedule {
    let request = CreateScheduleRequest {
        request_id: request_id(),
        sequencer: sequencer.to_owned(),
        rule: Some(ScheduleRule { rule: Some(rule) }),
        first_look: None,
    };
    let first = client(world).create_schedule(request.clone()).await.expect("it is added").into_inner();
    let twin = client(world).create_schedule(request).await.expect("the same again").into_inner();
    assert_eq!(first, twin);
    first.schedule.unwrap()
}

async fn get(world: &World, id: &str) -> Schedule {
    let request = GetScheduleRequest { id: id.to_owned() };
    client(world).get_schedule(request).await.expect("it is there").into_inner().schedule.unwrap()
}

async fn runs(world: &World, id: &str) -> Vec<ScheduleRun> {
    let request = ListScheduleRunsRequest { schedule: id.to_owned(), ..ListScheduleRunsRequest::default() };
    client(world).list_schedule_runs(request).await.expect("a page").into_inner().runs
}

/// Newest first, once there are so many.
async fn until_runs(world: &World, id: &str, count: usize) -> Vec<ScheduleRun> {
    wait_for(&format!("there are {count} runs"), DEADLINE, || async {
        world.l1.link.mine(1).await.expect("a block");
        Some(runs(world, id).await).filter(|runs| runs.len() == count)
    })
    .await
}

async fn locked(world: &mut World) -> String {
    let sequencer = world.whitelisted("alpha").await;
    world.done(&sequencer.id, lock(20_000)).await;
    sequencer.id
}

async fn reward(world: &World) {
    world.l1.submit_batch(&[(address("alpha"), 1_000)]).await.expect("a reward");
}

async fn set(world: &World, one: &Schedule, state: ScheduleState) -> Schedule {
    let request =
        UpdateScheduleRequest { id: one.id.clone(), etag: one.etag.clone(), rule: None, state: state.into() };
    client(world).update_schedule(request).await.expect("it is changed").into_inner().schedule.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_is_claimed_by_chain_time_and_missed_looks_are_made_up_for_once() {
    let mut world = World::start().await;
    let id = locked(&mut world).await;
    reward(&world).await;
    let one = add(&world, &id, claim_daily(0, "")).await;
    let first = until_runs(&world, &one.id, 1).await;
    assert_eq!(first[0].decision, "DONE");
    let done = world.until_state(&first[0].operation, OperationState::Confirmed).await;
    assert_eq!(done.terms.unwrap().origin, format!("schedule/{}", one.id));

    world.l1.link.advance_time(DAY).await.unwrap();
    let second = until_runs(&world, &one.id, 2).await;
    assert_eq!((second[0].decision.as_str(), second[0].reason.as_str()), ("NOT_NOW", "there is no reward"));

    let paused = set(&world, &one, ScheduleState::Paused).await;
    reward(&world).await;
    world.l1.link.advance_time(5 * DAY).await.unwrap();
    world.l1.link.mine(3).await.unwrap();
    let resumed = set(&world, &paused, ScheduleState::Active).await;
    let third = until_runs(&world, &one.id, 3).await;
    world.until_state(&third[0].operation, OperationState::Confirmed).await;
    world.l1.link.advance_time(DAY).await.unwrap();
    let fourth = until_runs(&world, &one.id, 4).await;
    assert_eq!(fourth[0].decision, "NOT_NOW", "five days were missed, one look made up for them");
    assert_eq!(get(&world, &one.id).await.last_decision, "there is no reward");
    assert_eq!(get(&world, &one.id).await.etag, resumed.etag, "looks are no changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_that_is_not_worth_its_cost_is_left() {
    let mut world = World::start().await;
    let id = locked(&mut world).await;
    reward(&world).await;
    let one = add(&world, &id, claim_daily(1_000, "1")).await;
    let run = until_runs(&world, &one.id, 1).await;
    assert_eq!(run[0].decision, "NOT_NOW");
    assert!(run[0].reason.contains("not worth 1000 times the cost"), "{}", run[0].reason);
    assert!(run[0].operation.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_principal_is_withdrawn_when_the_chain_allows_it() {
    let mut world = World::start().await;
    let id = locked(&mut world).await;
    world.done(&id, Parameters::Unlock(UnlockParameters { l2_gas: 0 })).await;
    let one = add(&world, &id, Rule::WithdrawWhenAllowed(WithdrawWhenAllowed {})).await;
    let early = until_runs(&world, &one.id, 1).await;
    assert_eq!(early[0].decision, "NOT_NOW");
    let waits = get(&world, &one.id).await;
    let record = world.sequencer(&id).await.withdrawable_time.unwrap();
    assert_eq!(waits.next_look.unwrap().seconds, record.seconds, "it looks when it may, not before");
    world.l1.link.advance_time(21 * DAY + 1).await.unwrap();
    let done = until_runs(&world, &one.id, 2).await;
    assert_eq!(done[0].decision, "DONE");
    world.until_state(&done[0].operation, OperationState::Confirmed).await;
    world.l1.link.advance_time(2 * DAY).await.unwrap();
    let over = until_runs(&world, &one.id, 3).await;
    assert_eq!(over[0].decision, "OVER");
    assert_eq!(get(&world, &one.id).await.state(), ScheduleState::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_is_compounded_into_the_principal() {
    let mut world = World::start().await;
    let id = locked(&mut world).await;
    reward(&world).await;
    let worth_it = Some(WorthIt { every_days: 1, ..WorthIt::default() });
    let one = add(&world, &id, Rule::CompoundEvery(CompoundEvery { worth_it })).await;
    let run = until_runs(&world, &one.id, 1).await;
    assert_eq!(run[0].decision, "DONE", "{}", run[0].reason);
    world.until_state(&run[0].operation, OperationState::Confirmed).await;
    let owner = address(&crate::world::owner_name("alpha"));
    let seq_id = world.l1.sequencer_of(owner).await.unwrap().unwrap();
    let record = world.l1.record(seq_id).await.unwrap().unwrap();
    assert!(record.reward.is_zero() && record.amount > domain::amount::Metis::whole(20_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_changed_by_etag_and_removed_for_good() {
    let mut world = World::start().await;
    let id = locked(&mut world).await;
    for bad in [claim_daily(3, ""), Rule::ClaimEvery(ClaimEvery { worth_it: Some(WorthIt::default()) })] {
        let request = CreateScheduleRequest {
            request_id: request_id(),
            sequencer: id.clone(),
            rule: Some(ScheduleRule { rule: Some(bad) }),
            first_look: None,
        };
        let refused = client(&world).create_schedule(request).await.unwrap_err();
        assert_eq!(refusal_of(&refused).unwrap().reason, "SCHEDULE_RULE_INVALID");
    }
    let one = add(&world, &id, claim_daily(0, "")).await;
    set(&world, &one, ScheduleState::Paused).await;
    let stale = UpdateScheduleRequest {
        id: one.id.clone(),
        etag: one.etag.clone(),
        ..UpdateScheduleRequest::default()
    };
    let refused = client(&world).update_schedule(stale).await.unwrap_err();
    assert_eq!(refusal_of(&refused).unwrap().reason, "ETAG_MISMATCH");
    for _ in 0..2 {
        let request = DeleteScheduleRequest { id: one.id.clone() };
        client(&world).delete_schedule(request).await.expect("again is no error");
    }
    let refused = client(&world).get_schedule(GetScheduleRequest { id: one.id }).await.unwrap_err();
    assert_eq!(refusal_of(&refused).unwrap().reason, "SCHEDULE_NOT_FOUND");
    let list = ListSchedulesRequest { sequencer: id, ..ListSchedulesRequest::default() };
    assert!(client(&world).list_schedules(list).await.unwrap().into_inner().schedules.is_empty());
}

/// Claims need one of two.
fn guarded() -> Config {
    let rule = ApprovalRule {
        kinds: ["claim".to_owned()].into(),
        needed: 1,
        approvers: ["operator:alice", "operator:test"].map(str::to_owned).into(),
        ..ApprovalRule::default()
    };
    Config { approvals: Approvals { rules: vec![rule], ..Approvals::default() }, ..quick() }
}

async fn approve(world: &World, who: &str, id: &str) -> Result<(), String> {
    let digest = world.operation(id).await.terms.unwrap().digest;
    let request = ApproveOperationRequest { id: id.to_owned(), digest, reason: String::new() };
    let answer = world.operator(who).approve_operation(request).await;
    answer.map(drop).map_err(|no| refusal_of(&no).unwrap().reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_asks_for_nothing_while_what_it_asked_for_waits_for_approval() {
    let mut world = World::with(guarded()).await;
    let id = locked(&mut world).await;
    reward(&world).await;
    let one = add(&world, &id, claim_daily(0, "")).await;
    let first = until_runs(&world, &one.id, 1).await.remove(0);
    assert_eq!(world.operation(&first.operation).await.state(), OperationState::PendingApproval);

    world.l1.link.advance_time(DAY).await.unwrap();
    let waits = wait_for("the second look finds the first one's operation", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        Some(get(&world, &one.id).await.last_decision).filter(|said| said.contains(&first.operation))
    })
    .await;
    assert!(waits.contains("PENDING_APPROVAL") && waits.contains("0 of 1 approvals"), "{waits}");
    assert_eq!(runs(&world, &one.id).await.len(), 1, "the look is still to be made");
    let list = ListOperationsRequest {
        sequencer: id.clone(),
        state: OperationState::PendingApproval.into(),
        ..Default::default()
    };
    let pending = world.client.list_operations(list).await.unwrap().into_inner().operations;
    assert_eq!(pending.len(), 1, "no second claim of the same reward");

    approve(&world, "alice", &first.operation).await.unwrap();
    world.until_state(&first.operation, OperationState::Confirmed).await;
    // Ten minutes after the look that found it.
    world.l1.link.advance_time(601).await.unwrap();
    let second = until_runs(&world, &one.id, 2).await;
    assert_eq!(second[0].reason, "there is no reward");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_a_rule_or_wakes_it_cannot_approve_what_comes_of_it() {
    let mut world = World::with(guarded()).await;
    let id = locked(&mut world).await;
    reward(&world).await;
    // Asks for what never is worth it, and nobody's approval.
    let one = add(&world, &id, claim_daily(1_000, "1")).await;
    assert_eq!(one.caller, "operator:test");
    let mut alice = ScheduleServiceClient::new(world.peer_as("operator/alice"));
    let update = |one: &Schedule, rule: Option<Rule>, state: ScheduleState| UpdateScheduleRequest {
        id: one.id.clone(),
        etag: one.etag.clone(),
        rule: rule.map(|rule| ScheduleRule { rule: Some(rule) }),
        state: state.into(),
    };
    let unspecified = ScheduleState::Unspecified;
    let changed = alice.update_schedule(update(&one, Some(claim_daily(0, "")), unspecified)).await;
    let changed = changed.unwrap().into_inner().schedule.unwrap();
    assert_eq!(changed.caller, "operator:alice");
    world.l1.link.advance_time(DAY).await.unwrap();
    let run = wait_for("a claim is asked for", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        runs(&world, &one.id).await.into_iter().find(|run| !run.operation.is_empty())
    })
    .await;
    assert_eq!(approve(&world, "alice", &run.operation).await.unwrap_err(), "APPROVAL_NOT_ALLOWED");

    let paused = alice.update_schedule(update(&changed, None, ScheduleState::Paused)).await;
    let paused = paused.unwrap().into_inner().schedule.unwrap();
    assert_eq!(set(&world, &paused, ScheduleState::Active).await.caller, "operator:test");
    approve(&world, "test", &run.operation).await.expect("it was alice who asked for this one");
    world.until_state(&run.operation, OperationState::Confirmed).await;
}
