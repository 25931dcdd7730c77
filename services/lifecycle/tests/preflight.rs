//! What nobody but us would refuse: nodes, backups and other operations. And endpoints that cannot simulate everything.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::*;
use api::types::v1::{Check, Verdict};
use domain::amount::Metis;
use domain::network::Variant;
use futures::future::join_all;
use runtime::errors::refusal_of;
use serde_json::{Value, json};
use testkit::Proxy;
use testkit::proxy::Faults;

use crate::world::{World, address, lock, managed, quick};

async fn look(world: &World, sequencer: &str, parameters: Parameters) -> PreflightOperationResponse {
    let request = PreflightOperationRequest {
        sequencer: sequencer.to_owned(),
        parameters: Some(OperationParameters { parameters: Some(parameters) }),
    };
    world.client.clone().preflight_operation(request).await.expect("an answer").into_inner()
}

fn check(answer: &PreflightOperationResponse, name: &str) -> Check {
    answer.checks.iter().find(|check| check.name == name).expect("the check is made").clone()
}

/// A lock in spite of its node.
fn lock_because(why: &str) -> Parameters {
    Parameters::Lock(LockParameters {
        amount_wei: Metis::whole(20_000).wei_string(),
        override_node_reason: why.to_owned(),
        ..Default::default()
    })
}

/// Changes what the neighbours say.
type Change = fn(&World);

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_refused_for_what_nodes_and_keys_say_unless_its_node_is_overridden() {
    let mut world = World::start().await;
    let id = world.whitelisted("alpha").await.id;
    let ready: Change = |world| world.indexer.node(address("alpha"), true, false);
    let behind: Change = |world| world.indexer.node(address("alpha"), false, false);
    let none: Change = |world| world.indexer.no_node(address("alpha"));
    let unproven: Change = |world| world.keys.backup_proven("alpha", false);
    let nothing = "";
    let cases = [
        (ready, nothing, "NODE_READY", Verdict::Pass, nothing),
        (behind, nothing, "NODE_READY", Verdict::Fail, "NODE_NOT_READY"),
        (behind, "the probe is broken", "NODE_READY", Verdict::Warn, nothing),
        (none, nothing, "NODE_READY", Verdict::Fail, "NODE_NOT_READY"),
        (none, "it comes tomorrow", "NODE_READY", Verdict::Warn, nothing),
        (unproven, nothing, "BACKUP_PROVEN", Verdict::Fail, "BACKUP_UNPROVEN"),
        (unproven, "of the node only", "BACKUP_PROVEN", Verdict::Fail, "BACKUP_UNPROVEN"),
    ];
    for (change, why, name, verdict, reason) in cases {
        ready(&world);
        world.keys.backup_proven("alpha", true);
        change(&world);
        let cell = format!("{name} with `{why}`");
        let answer = look(&world, &id, lock_because(why)).await;
        let made = check(&answer, name);
        assert_eq!((made.verdict(), answer.ok), (verdict, reason.is_empty()), "{cell}: {}", made.message);
        if verdict == Verdict::Warn {
            assert!(made.message.contains(why), "{cell}: {}", made.message);
        }
        let asked = CreateOperationRequest { validate_only: true, ..managed(&id, lock_because(why)) };
        let answer = world.client.create_operation(asked).await;
        let refused = answer.err().map(|status| refusal_of(&status).expect("typed").reason);
        assert_eq!(refused.unwrap_or_default(), reason, "{cell}: intake says the same");
    }
    ready(&world);
    world.keys.backup_proven("alpha", true);
    world.indexer.node(address("alpha"), false, false);
    world.done(&id, lock_because("the probe is broken")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_asks_for_one_sequencer_one_is_taken() {
    let mut world = World::start().await;
    let id = world.whitelisted("alpha").await.id;
    let _: Value = world.l1.link.rpc("evm_setAutomine", json!([false])).await.unwrap();
    let asks = (0..8).map(|_| {
        let (mut client, request) = (world.client.clone(), managed(&id, lock(20_000)));
        async move { client.create_operation(request).await }
    });
    let (taken, refused): (Vec<_>, Vec<_>) = join_all(asks).await.into_iter().partition(Result::is_ok);
    assert_eq!((taken.len(), refused.len()), (1, 7));
    let refusals: Vec<_> = refused.iter().map(|no| refusal_of(no.as_ref().unwrap_err()).unwrap()).collect();
    for refusal in &refusals {
        assert_eq!(refusal.reason, "OPERATION_IN_FLIGHT");
    }
    // Those that passed the check at the same time are told by the index; who comes later, by the check.
    assert!(refusals.iter().any(|one| !one.metadata.contains_key("check")), "{refusals:?}");
    let late = world.client.create_operation(managed(&id, lock(20_000))).await.unwrap_err();
    assert_eq!(refusal_of(&late).unwrap().metadata["check"], "NOTHING_OPEN");
    let answer = look(&world, &id, lock(20_000)).await;
    assert_eq!(check(&answer, "NOTHING_OPEN").verdict(), Verdict::Fail);
    let list = ListOperationsRequest { sequencer: id, ..Default::default() };
    assert_eq!(world.client.list_operations(list).await.unwrap().into_inner().operations.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wallet_may_send_is_a_warning_and_keeps_nobody_out() {
    let mut world = World::start().await;
    let id = world.whitelisted("alpha").await.id;
    assert_eq!(check(&look(&world, &id, lock(20_000)).await, "NOTHING_OPEN").verdict(), Verdict::Pass);
    let prepared =
        CreateOperationRequest { mode: OperationMode::Prepared.into(), ..managed(&id, lock(20_000)) };
    let prepared = world.client.create_operation(prepared).await.unwrap().into_inner().operation.unwrap();
    let answer = look(&world, &id, lock(20_000)).await;
    let open = check(&answer, "NOTHING_OPEN");
    assert_eq!((open.verdict(), answer.ok), (Verdict::Warn, true));
    assert!(open.message.contains(&prepared.id), "{}", open.message);
    world.done(&id, lock(20_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_simulates_no_two_calls_still_serves() {
    let mut world = World::without_service(Variant::Main).await;
    let proxy = Proxy::start(world.anvil.url()).await.unwrap();
    proxy.set(Faults { strip_methods: vec!["eth_simulateV1"], ..Faults::default() });
    world.endpoints = vec![proxy.url()];
    world.restart(quick()).await;
    let id = world.whitelisted("alpha").await.id;
    let answer = look(&world, &id, lock(20_000)).await;
    let simulation = check(&answer, "SIMULATION");
    assert_eq!((simulation.verdict(), answer.ok), (Verdict::Warn, true), "{}", simulation.message);
    assert!(simulation.message.contains("cannot simulate the next one"), "{}", simulation.message);
    let done = world.done(&id, lock(20_000)).await;
    let steps: Vec<&str> = done.transactions.iter().map(|one| one.step.as_str()).collect();
    assert_eq!(steps, ["approve", "lock"]);
    assert!(proxy.counts().faults["strip_methods"] > 0, "it was asked");
}
