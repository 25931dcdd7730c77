//! One call for many sequencers: the plan, the canary, the limits. Kills in the middle: `faults/workflows.rs`.

use std::collections::BTreeMap;

use api::lifecycle::v1::fleet_service_client::FleetServiceClient;
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::*;
use domain::amount::{Eth, Metis};
use domain::network::Variant;
use lifecycle::{ApprovalRule, Approvals, Config};
use runtime::client::Peer;
use runtime::errors::refusal_of;
use serde_json::{Value, json};
use testkit::contracts::{self, node_key};
use testkit::{wait_for, wait_until};

use crate::world::{DEADLINE, NETWORK, World, address, lock, owner_name, quick, request_id};

fn labels() -> BTreeMap<String, String> {
    [("tier".to_owned(), "gold".to_owned())].into()
}

/// Locked sequencers with the label, and one that only has the label.
async fn fleet_of(world: &mut World, names: &[&str]) {
    for name in names.iter().chain(&["zulu"]) {
        let sequencer = world.whitelisted(name).await;
        let request = UpdateSequencerRequest {
            id: sequencer.id.clone(),
            etag: sequencer.etag,
            set_labels: true,
            labels: labels(),
            ..UpdateSequencerRequest::default()
        };
        world.client.update_sequencer(request).await.expect("it has the label");
        if *name != "zulu" {
            world.done(&sequencer.id, lock(20_000)).await;
        }
    }
    let rewards: Vec<_> = names.iter().map(|name| (address(name), 1_000)).collect();
    world.l1.submit_batch(&rewards).await.expect("rewards");
}

fn claims() -> FleetSpec {
    FleetSpec {
        network: NETWORK.to_owned(),
        labels: labels(),
        parameters: Some(OperationParameters {
            parameters: Some(Parameters::Claim(ClaimParameters { l2_gas: 0 })),
        }),
        canary: 1,
        in_flight_max: 2,
        ..FleetSpec::default()
    }
}

fn client(world: &World) -> FleetServiceClient<Peer> {
    FleetServiceClient::new(world.peer_as("operator/test"))
}

async fn plan(world: &World, spec: &FleetSpec) -> PlanFleetResponse {
    let request = PlanFleetRequest { spec: Some(spec.clone()) };
    client(world).plan_fleet(request).await.expect("a plan").into_inner()
}

async fn begin(world: &World, spec: &FleetSpec) -> FleetOperation {
    let plan_digest = plan(world, spec).await.digest;
    let request = CreateFleetRequest { request_id: request_id(), spec: Some(spec.clone()), plan_digest };
    client(world).create_fleet(request).await.expect("it begins").into_inner().fleet.unwrap()
}

async fn get(world: &World, id: &str) -> FleetOperation {
    let request = GetFleetRequest { id: id.to_owned() };
    client(world).get_fleet(request).await.expect("it is there").into_inner().fleet.unwrap()
}

async fn until(world: &World, id: &str, state: FleetState) -> FleetOperation {
    wait_for(&format!("the fleet is {}", state.as_str_name()), DEADLINE, || async {
        // Confirmations need blocks.
        world.l1.link.mine(1).await.expect("a block");
        Some(get(world, id).await).filter(|fleet| fleet.state() == state)
    })
    .await
}

async fn members(world: &World, id: &str) -> Vec<FleetMember> {
    let request = ListFleetMembersRequest { fleet: id.to_owned(), ..ListFleetMembersRequest::default() };
    client(world).list_fleet_members(request).await.expect("a page").into_inner().members
}

fn results(members: &[FleetMember]) -> Vec<(&str, &str)> {
    members.iter().map(|one| (one.name.as_str(), one.result.as_str())).collect()
}

async fn rewards(world: &World, names: &[&str]) -> Vec<Metis> {
    let mut left = Vec::new();
    for name in names {
        let owner = address(&crate::world::owner_name(name));
        let id = world.l1.sequencer_of(owner).await.unwrap().expect("locked");
        left.push(world.l1.record(id).await.unwrap().unwrap().reward);
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_claims_after_its_canary_with_a_result_for_each() {
    let names = ["alpha", "beta", "gamma"];
    let mut world = World::start().await;
    fleet_of(&mut world, &names).await;
    let planned = plan(&world, &claims()).await;
    assert_eq!((planned.included, planned.members.len()), (3, 4));
    let zulu = planned.members.iter().find(|one| one.name == "zulu").unwrap();
    assert_eq!((zulu.included, zulu.reason_code.as_str()), (false, "SEQUENCER_NOT_LOCKED"));
    let wei = |text: &str| text.parse::<u128>().unwrap();
    assert!(0 < wei(&planned.fee_wei) && wei(&planned.fee_wei) <= wei(&planned.fee_max_wei));
    assert_eq!(planned, plan(&world, &claims()).await, "planning changes nothing");

    let request = CreateFleetRequest {
        request_id: request_id(),
        spec: Some(claims()),
        plan_digest: planned.digest.clone(),
    };
    let first = client(&world).create_fleet(request.clone()).await.unwrap().into_inner().fleet.unwrap();
    let twin = client(&world).create_fleet(request).await.unwrap().into_inner().fleet.unwrap();
    assert_eq!(first.id, twin.id);
    let done = until(&world, &first.id, FleetState::Done).await;
    assert_eq!((done.confirmed, done.failed, done.skipped, done.open), (3, 0, 1, 0));
    let spent = wei(&done.spent_wei);
    assert!(0 < spent && spent < wei(&planned.fee_max_wei), "{spent}");
    assert_eq!(rewards(&world, &names).await, [Metis::ZERO; 3]);

    let members = members(&world, &first.id).await;
    let confirmed = names.map(|name| (name, "CONFIRMED"));
    assert_eq!(results(&members[..3]), confirmed);
    assert_eq!(results(&members[3..]), [("zulu", "SKIPPED")]);
    let canary = world.operation(&members[0].operation).await;
    let proven = canary.steps.last().unwrap().time.unwrap();
    for other in &members[1..3] {
        let other = world.operation(&other.operation).await;
        let begun = other.create_time.unwrap();
        assert!((proven.seconds, proven.nanos) <= (begun.seconds, begun.nanos), "the canary goes first");
        assert_eq!(other.terms.unwrap().origin, format!("fleet/{}", first.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_leaves_the_rest_alone() {
    let names = ["alpha", "beta"];
    let mut world = World::start().await;
    fleet_of(&mut world, &names).await;
    world.keys.refuse(true);
    let fleet = begin(&world, &claims()).await;
    let failed = until(&world, &fleet.id, FleetState::Failed).await;
    assert_eq!(failed.reason_code, "FLEET_CANARY_FAILED");
    assert!(failed.reason.contains("alpha"), "{}", failed.reason);
    let members = members(&world, &fleet.id).await;
    assert_eq!(results(&members[..2]), [("alpha", "FAILED"), ("beta", "NOT_BEGUN")]);
    assert!(rewards(&world, &names).await.iter().all(|left| !left.is_zero()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_budget_stops_it_before_it_is_exceeded() {
    let mut world = World::start().await;
    fleet_of(&mut world, &["alpha", "beta"]).await;
    let planned = plan(&world, &claims()).await;
    let most = planned.members[1].fee_max_wei.parse::<u128>().unwrap();
    let tight = FleetSpec { fee_budget_wei: most.to_string(), ..claims() };
    assert!(!plan(&world, &tight).await.within_budget);
    let fleet = begin(&world, &tight).await;
    let paused = until(&world, &fleet.id, FleetState::Paused).await;
    assert_eq!((paused.reason_code.as_str(), paused.confirmed), ("FLEET_BUDGET", 1));
    assert!(paused.spent_wei.parse::<u128>().unwrap() <= most);
    let resume = ResumeFleetRequest { id: fleet.id.clone(), fee_budget_wei: (2 * most).to_string() };
    client(&world).resume_fleet(resume).await.unwrap();
    assert_eq!(until(&world, &fleet.id, FleetState::Done).await.confirmed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_passes_between_two_members_and_a_pause_holds_the_next_back() {
    let mut world = World::start().await;
    fleet_of(&mut world, &["alpha", "beta", "gamma"]).await;
    let slow = FleetSpec { interval_secs: 3_600, canary: 0, ..claims() };
    let fleet = begin(&world, &slow).await;
    let waits = wait_for("it keeps the interval", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        Some(get(&world, &fleet.id).await).filter(|one| one.confirmed == 1)
    })
    .await;
    assert!(waits.reason.contains("between two members"), "{}", waits.reason);
    let pause = PauseFleetRequest { id: fleet.id.clone(), reason: "lunch".to_owned() };
    client(&world).pause_fleet(pause.clone()).await.unwrap();
    world.clock().advance(3_601);
    let paused =
        client(&world).pause_fleet(pause).await.expect("again is no error").into_inner().fleet.unwrap();
    assert_eq!((paused.state(), paused.open, paused.confirmed), (FleetState::Paused, 0, 1));
    let resume = ResumeFleetRequest { id: fleet.id.clone(), ..ResumeFleetRequest::default() };
    client(&world).resume_fleet(resume).await.unwrap();
    wait_for("the second is done", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        Some(get(&world, &fleet.id).await).filter(|one| one.confirmed == 2)
    })
    .await;
    let cancel = CancelFleetRequest { id: fleet.id.clone(), reason: "enough".to_owned() };
    client(&world).cancel_fleet(cancel).await.unwrap();
    let members = members(&world, &fleet.id).await;
    assert_eq!(
        results(&members[..3]),
        [("alpha", "CONFIRMED"), ("beta", "CONFIRMED"), ("gamma", "NOT_BEGUN")]
    );
    let late = ResumeFleetRequest { id: fleet.id, ..ResumeFleetRequest::default() };
    let refused = client(&world).resume_fleet(late).await.unwrap_err();
    assert_eq!(refusal_of(&refused).unwrap().reason, "FLEET_STATE_WRONG");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_another_one_by_now_begins_nothing() {
    let mut world = World::start().await;
    fleet_of(&mut world, &["alpha", "beta"]).await;
    let read = plan(&world, &claims()).await;
    let owner = address(&crate::world::owner_name("alpha"));
    let id = world.l1.sequencer_of(owner).await.unwrap().unwrap();
    world.l1.claim(owner, id).await.unwrap();
    let request =
        CreateFleetRequest { request_id: request_id(), spec: Some(claims()), plan_digest: read.digest };
    let refused = client(&world).create_fleet(request).await.unwrap_err();
    assert_eq!(refusal_of(&refused).unwrap().reason, "FLEET_PLAN_CHANGED");
    let nobody = FleetSpec { labels: [("tier".to_owned(), "lead".to_owned())].into(), ..claims() };
    let plan_digest = plan(&world, &nobody).await.digest;
    let request = CreateFleetRequest { request_id: request_id(), spec: Some(nobody), plan_digest };
    let refused = client(&world).create_fleet(request).await.unwrap_err();
    assert_eq!(refusal_of(&refused).unwrap().reason, "FLEET_EMPTY");
    for spec in [
        FleetSpec { labels: BTreeMap::new(), ..claims() },
        FleetSpec { in_flight_max: 101, ..claims() },
        FleetSpec { parameters: Some(OperationParameters { parameters: None }), ..claims() },
    ] {
        let refused = client(&world).plan_fleet(PlanFleetRequest { spec: Some(spec) }).await.unwrap_err();
        assert_eq!(refusal_of(&refused).unwrap().reason, "FLEET_SPEC_INVALID");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_approved_as_a_whole() {
    let rule = ApprovalRule { kinds: ["claim".to_owned()].into(), needed: 1, ..ApprovalRule::default() };
    let approvals = Approvals { rules: vec![rule], ..Approvals::default() };
    let mut world = World::with(Config { approvals, ..quick() }).await;
    fleet_of(&mut world, &["alpha", "beta"]).await;
    let fleet = begin(&world, &claims()).await;
    assert_eq!(fleet.state(), FleetState::PendingApproval);
    let own =
        ApproveFleetRequest { id: fleet.id.clone(), digest: fleet.digest.clone(), reason: String::new() };
    let refused = client(&world).approve_fleet(own.clone()).await.unwrap_err();
    assert_eq!(refusal_of(&refused).unwrap().reason, "APPROVAL_NOT_ALLOWED");
    FleetServiceClient::new(world.peer_as("operator/alice")).approve_fleet(own).await.unwrap();
    let done = until(&world, &fleet.id, FleetState::Done).await;
    assert_eq!((done.confirmed, done.approvals.len()), (2, 1));
}

fn of(parameters: Parameters) -> FleetSpec {
    let parameters = Some(OperationParameters { parameters: Some(parameters) });
    FleetSpec { parameters, canary: 0, ..claims() }
}

fn exits() -> FleetSpec {
    of(Parameters::Unlock(UnlockParameters { l2_gas: 0 }))
}

/// Sequencers of somebody else: the BFT rule counts them.
async fn strangers(world: &World, names: &[&str]) {
    for name in names {
        let owner = address(&owner_name(name));
        world.l1.fund(owner, Metis::whole(20_000), Eth::whole(1)).await.unwrap();
        world.l1.whitelist(owner, true).await.unwrap();
        world.l1.lock(owner, &node_key(name), owner, Metis::whole(20_000)).await.unwrap();
    }
}

async fn leaves(world: &World, name: &str) {
    let owner = address(&owner_name(name));
    let id = world.l1.sequencer_of(owner).await.unwrap().expect("locked");
    world.l1.unlock(owner, id).await.expect("it leaves");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_exits_than_the_bft_rule_allows_are_left_out_of_the_plan() {
    let mut world = World::without_service(Variant::Mainnet).await;
    world.l1.upgrade(contracts::Variant::Mainnet).await.expect("the contract has the rule");
    world.restart(quick()).await;
    fleet_of(&mut world, &["alpha", "beta", "gamma"]).await;
    let planned = plan(&world, &exits()).await;
    let why: Vec<_> = planned.members.iter().map(|one| one.reason_code.as_str()).collect();
    assert_eq!(why, ["", "EXIT_RESTRICTED", "EXIT_RESTRICTED", "SEQUENCER_NOT_LOCKED"]);
    let words = &planned.members[1].words;
    assert!(words.contains("lets 1 of 3 active exit"), "{words}");
    let fleet = begin(&world, &exits()).await;
    let done = until(&world, &fleet.id, FleetState::Done).await;
    assert_eq!((done.confirmed, done.skipped), (1, 3));
    let again = plan(&world, &exits()).await;
    assert_eq!(again.included, 0, "two are active and one is exiting: nobody may leave now");
}

#[tokio::test(flavor = "multi_thread")]
async fn exits_are_paced_by_the_rule_of_the_contract_that_stands_there_now() {
    let mut world = World::start().await;
    fleet_of(&mut world, &["alpha", "beta"]).await;
    strangers(&world, &["one", "two", "three", "four"]).await;
    // Since the start of the service, which was told of a contract without the rule.
    world.l1.upgrade(contracts::Variant::Mainnet).await.expect("upgraded");
    let slow = FleetSpec { interval_secs: 3_600, ..exits() };
    let fleet = begin(&world, &slow).await;
    wait_until("the first has left", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        get(&world, &fleet.id).await.confirmed == 1
    })
    .await;
    leaves(&world, "one").await;
    world.clock().advance(3_601);
    let waits = wait_for("the second waits for the rule", DEADLINE, || async {
        world.l1.link.mine(1).await.unwrap();
        Some(get(&world, &fleet.id).await.reason).filter(|reason| !reason.contains("between two members"))
    })
    .await;
    assert!(waits.contains("BFT rule lets one more exit"), "{waits}");
    assert!(members(&world, &fleet.id).await[1].operation.is_empty(), "it is not even asked for");
    strangers(&world, &["five", "six", "seven"]).await;
    assert_eq!(until(&world, &fleet.id, FleetState::Done).await.confirmed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_increases_with_as_many_under_way_as_may_be() {
    let names = ["alpha", "beta", "gamma"];
    let mut world = World::start().await;
    fleet_of(&mut world, &names).await;
    let more = IncreaseParameters { amount_wei: Metis::whole(1_000).wei_string(), with_rewards: false };
    let spec = FleetSpec { in_flight_max: 2, ..of(Parameters::Increase(more)) };
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([false])).await.unwrap();
    let fleet = begin(&world, &spec).await;
    let full = wait_for("two are under way", DEADLINE, || async {
        Some(get(&world, &fleet.id).await)
            .filter(|one| one.reason.contains("as many are under way as may be"))
    })
    .await;
    assert_eq!((full.open, full.confirmed), (2, 0));
    let begun = members(&world, &fleet.id).await.iter().filter(|one| !one.operation.is_empty()).count();
    assert_eq!(begun, 2, "nobody beyond the bound");
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([true])).await.unwrap();
    assert_eq!(until(&world, &fleet.id, FleetState::Done).await.confirmed, 3);
    for name in names {
        let id = world.l1.sequencer_of(address(&owner_name(name))).await.unwrap().unwrap();
        assert_eq!(world.l1.record(id).await.unwrap().unwrap().amount, Metis::whole(21_000), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_sets_the_recipient_of_those_that_have_none() {
    let mut world = World::start().await;
    fleet_of(&mut world, &["alpha"]).await;
    let sequencer = world.whitelisted("beta").await;
    let request = UpdateSequencerRequest {
        id: sequencer.id.clone(),
        etag: sequencer.etag,
        set_labels: true,
        labels: labels(),
        ..UpdateSequencerRequest::default()
    };
    world.client.update_sequencer(request).await.expect("it has the label");
    let owner = address(&owner_name("beta"));
    let nowhere = alloy_primitives::Address::ZERO;
    world.l1.lock(owner, &node_key("beta"), nowhere, Metis::whole(20_000)).await.unwrap();
    world.until_phase(&sequencer.id, Phase::Locked).await;
    world.l1.submit_batch(&[(address("alpha"), 100), (address("beta"), 100)]).await.unwrap();

    let left_out = plan(&world, &claims()).await;
    let beta = left_out.members.iter().find(|one| one.name == "beta").unwrap();
    assert_eq!(beta.reason_code, "NO_REWARD_RECIPIENT");
    let spec = FleetSpec { recipient_if_unset: address("recipient").to_string(), ..claims() };
    let fleet = begin(&world, &spec).await;
    assert_eq!(until(&world, &fleet.id, FleetState::Done).await.confirmed, 2);
    let mut steps = Vec::new();
    for member in members(&world, &fleet.id).await.iter().filter(|one| !one.operation.is_empty()) {
        let done = world.operation(&member.operation).await;
        steps.push(done.transactions.into_iter().map(|one| one.step).collect::<Vec<_>>());
    }
    assert_eq!(steps, [vec!["claim"], vec!["recipient", "claim"]], "one that is set is never replaced");
    let recipient = |name: &str| {
        let (l1, owner) = (world.l1.clone(), address(&owner_name(name)));
        async move {
            let id = l1.sequencer_of(owner).await.unwrap().unwrap();
            l1.record(id).await.unwrap().unwrap().reward_recipient
        }
    };
    assert_eq!(recipient("beta").await, Some(address("recipient")));
    assert_eq!(recipient("alpha").await, Some(address(&owner_name("alpha"))));
}
