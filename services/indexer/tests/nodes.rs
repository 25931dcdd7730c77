//! Nodes that answer as themis, the bridge, l2geth and dtl do.

use api::indexer::v1 as wire;
use api::types::v1::Verdict;
use indexer::db::node_event;
use sea_orm::DatabaseConnection;
use store::column::Addr;
use testkit::contracts::node_key;
use testkit::simulator::{Config, Endpoints, NodeMode, Simulator};
use testkit::{wait_for, wait_until};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::world::{DEADLINE, NETWORK, Running, World};

/// Waits until a probe finds what is looked for, and gives the node as it was then.
pub async fn probed(indexer: &Running, what: &str, found: impl Fn(&wire::Node) -> bool) -> wire::Node {
    let signer = node_key("ida").address().to_string();
    wait_for(what, DEADLINE, || async {
        let signer = wire::SignerOnNetwork { network: NETWORK.to_owned(), signer: signer.clone() };
        let selector = Some(wire::get_node_request::Selector::Signer(signer));
        let answer = indexer.nodes.clone().get_node(wire::GetNodeRequest { selector }).await.ok()?;
        answer.into_inner().node.filter(|node| node.probe_time.is_some() && found(node))
    })
    .await
}

fn failing(node: &wire::Node) -> Vec<&str> {
    let fails = node.checks.iter().filter(|check| check.verdict() == Verdict::Fail);
    fails.map(|check| check.name.as_str()).collect()
}

pub fn check(node: &wire::Node, name: &str) -> Option<Verdict> {
    node.checks.iter().find(|check| check.name == name).map(|check| check.verdict())
}

pub async fn simulator(world: &World) -> Simulator {
    Simulator::start(Config::default(), world.l1.clone(), world.l2.clone()).await.expect("it starts")
}

/// A node of ida's on the simulator, registered.
pub async fn register(simulator: &Simulator, indexer: &Running, name: &str) {
    let signer = node_key("ida").address();
    let Endpoints { themis_rpc, themis_rest, bridge, l2geth, dtl } =
        simulator.add_node(signer).await.expect("a node");
    let request = wire::RegisterNodeRequest {
        request_id: "0193a5b2-7e1c-7d4f-9a3b-2c1d0e9f8a7b".to_owned(),
        network: NETWORK.to_owned(),
        name: name.to_owned(),
        signer: signer.to_string(),
        endpoints: Some(wire::NodeEndpoints { themis_rpc, themis_rest, bridge, l2geth, dtl }),
        validate_only: false,
    };
    indexer.nodes.clone().register_node(request).await.expect("registered");
}

/// Waits until the changes told so far end with these, in this order, others between them.
async fn told(db: &DatabaseConnection, wanted: &[(&str, &str, &str)]) {
    wait_until("the changes are told", DEADLINE, || async {
        let rows = node_event::after(db, NETWORK, 0, 1_000).await.expect("read");
        let mut changes =
            rows.iter().map(|row| (row.subject.as_str(), row.before.as_str(), row.after.as_str()));
        wanted.iter().all(|one| changes.any(|change| change == *one))
    })
    .await;
}

#[tokio::test]
async fn a_node_says_when_its_sequencer_may_lock() {
    let world = World::new().await;
    let simulator = simulator(&world).await;
    let signer = node_key("ida").address();
    let mut network = world.network.clone();
    network.themis_network = Some(Config::default().themis_network);
    let indexer = world.start_with([(NETWORK.to_owned(), network)].into()).await;
    register(&simulator, &indexer, "ida-1").await;

    let node = probed(&indexer, "the node is ready", |node| node.ready_to_lock).await;
    assert_eq!(failing(&node), Vec::<&str>::new());
    assert!(!node.validator_known && node.validator_problem.is_empty(), "nothing is locked yet");
    assert_eq!(check(&node, "VALIDATOR_NONCE"), None, "before a lock nobody asks for it");
    assert_eq!(check(&node, "LOCK_RECOGNISED"), None);

    simulator.set_node(signer, NodeMode::CatchingUp).await.expect("it lags");
    let node = probed(&indexer, "the node is seen to lag", |node| !node.ready_to_lock).await;
    assert!(failing(&node).contains(&"THEMIS_SYNCED"), "{:?}", node.checks);
    simulator.set_node(signer, NodeMode::Down).await.expect("it falls silent");
    let down = |node: &wire::Node| node.processes.iter().all(|process| !process.reachable);
    let node = probed(&indexer, "the node is seen to be down", down).await;
    let silent = |process: &wire::ProcessProbe| process.height.or(process.lag).is_none();
    assert!(node.processes.iter().all(silent), "what is unknown is not zero");
    assert_ne!(node.validator_problem, "", "unknown is not none");

    simulator.set_node(signer, NodeMode::Synced).await.expect("it comes back");
    world.lock("ida", 20_000).await;
    let node = probed(&indexer, "the lock is recognised", |node| {
        let names = ["LOCK_RECOGNISED", "VALIDATOR_NONCE", "VALIDATOR_POWER", "VALIDATOR_CURRENT"];
        names.iter().all(|name| check(node, name) == Some(Verdict::Pass))
    })
    .await;
    assert_eq!((node.validator_nonce, node.validator_power), (1, 20_000));
    assert_eq!(node.bridge_scan_seconds_max, Some(0), "it has read as far as the lock");
    indexer.stop().await.expect("it stops");
    simulator.stop().await;
}

#[tokio::test]
async fn what_changes_of_a_node_is_told_in_order_and_kept_for_thirty_days() {
    let world = World::new().await;
    let simulator = simulator(&world).await;
    let db = world.db.connect("indexer").await;
    let old = |days: i64| node_event::Row {
        id: 0,
        network: "elsewhere".to_owned(),
        node_id: Uuid::nil(),
        name: "old".to_owned(),
        signer: Addr::default(),
        subject: "READY_TO_LOCK".to_owned(),
        before: "YES".to_owned(),
        after: "NO".to_owned(),
        message: format!("{days} days ago"),
        at: OffsetDateTime::now_utc() - Duration::days(days),
    };
    node_event::insert(&db, &[old(31), old(29)]).await.expect("stored");
    let indexer = world.start().await;
    let signer = node_key("ida").address();
    register(&simulator, &indexer, "ida-1").await;
    told(&db, &[("PROCESS_REACHABLE", "", "themis up"), ("VALIDATOR", "", "NONE")]).await;
    world.lock("ida", 20_000).await;
    told(&db, &[("VALIDATOR", "NONE", "nonce 1 power 20000")]).await;

    // A killed indexer knows afterwards what was settled before.
    indexer.kill().await;
    simulator.set_node(signer, NodeMode::Down).await.expect("it falls silent");
    let indexer = world.start().await;
    let away =
        [("PROCESS_REACHABLE", "themis up", "themis down"), ("VALIDATOR", "nonce 1 power 20000", "UNKNOWN")];
    told(&db, &away).await;
    simulator.set_node(signer, NodeMode::Synced).await.expect("it comes back");
    told(&db, &[away[0], ("PROCESS_REACHABLE", "themis down", "themis up")]).await;

    let all = node_event::after(&db, NETWORK, 0, 1_000).await.expect("read");
    assert!(all.is_sorted_by(|a, b| a.id < b.id && a.at <= b.at));
    let some = node_event::after(&db, NETWORK, all[0].id, 2).await.expect("read");
    assert_eq!(some, all[1..3]);
    assert!(all.iter().all(|row| row.name == "ida-1" && row.signer.0 == signer && row.network == NETWORK));
    let first =
        |subject: &str| all.iter().filter(|row| row.subject == subject && row.before.is_empty()).count();
    assert_eq!(first("VALIDATOR"), 1, "a restart tells nothing twice");
    let last = node_event::last_id(&db, NETWORK).await.expect("read");
    assert!(all.last().is_some_and(|row| row.id <= last));
    assert_eq!(node_event::last_id(&db, "nowhere").await.expect("read"), 0);
    let kept = node_event::after(&db, "elsewhere", 0, 10).await.expect("read");
    assert_eq!(kept.iter().map(|row| row.message.as_str()).collect::<Vec<_>>(), ["29 days ago"]);
    indexer.stop().await.expect("it stops");
    simulator.stop().await;
}

#[tokio::test]
async fn a_lost_turn_is_shown_at_the_node_that_lost_it() {
    let world = World::new().await;
    let simulator = simulator(&world).await;
    let indexer = world.start().await;
    let signer = node_key("ida").address();
    register(&simulator, &indexer, "ida-1").await;
    world.lock("ida", 20_000).await;
    let known = |node: &wire::Node| node.validator_known && check(node, "TURN_KEPT") == Some(Verdict::Pass);
    let node = probed(&indexer, "consensus knows the validator", known).await;
    assert_eq!(node.missed_turn_block, None);
    simulator.produce_epochs(2).await.expect("it is her turn");
    simulator.set_node(signer, NodeMode::Down).await.expect("it falls silent");
    let lost = |node: &wire::Node| check(node, "TURN_KEPT") == Some(Verdict::Warn);
    let node = probed(&indexer, "the turn is lost", lost).await;
    assert!(node.missed_turn_block.is_some() && node.missed_turn_time.is_some());
    indexer.stop().await.expect("it stops");
    simulator.stop().await;
}
