//! Nodes that answer as themis, the bridge, l2geth and dtl do.

use api::indexer::v1 as wire;
use api::types::v1::Verdict;
use testkit::contracts::node_key;
use testkit::simulator::{Config, NodeMode, Simulator};
use testkit::wait_for;

use crate::world::{DEADLINE, NETWORK, Running, World};

/// Waits until a probe finds what is looked for, and gives the node as it was then.
async fn probed(indexer: &Running, what: &str, found: impl Fn(&wire::Node) -> bool) -> wire::Node {
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

#[tokio::test]
async fn a_node_says_when_its_sequencer_may_lock() {
    let world = World::new().await;
    let simulator =
        Simulator::start(Config::default(), world.l1.clone(), world.l2.clone()).await.expect("it starts");
    let signer = node_key("ida").address();
    let endpoints = simulator.add_node(signer).await.expect("a node");
    let mut network = world.network.clone();
    network.themis_network = Some(Config::default().themis_network);
    let indexer = world.start_with([(NETWORK.to_owned(), network)].into()).await;
    let request = wire::RegisterNodeRequest {
        request_id: "0193a5b2-7e1c-7d4f-9a3b-2c1d0e9f8a7b".to_owned(),
        network: NETWORK.to_owned(),
        name: "ida-1".to_owned(),
        signer: signer.to_string(),
        endpoints: Some(wire::NodeEndpoints {
            themis_rpc: endpoints.themis_rpc,
            themis_rest: endpoints.themis_rest,
            bridge: endpoints.bridge,
            l2geth: endpoints.l2geth,
            dtl: endpoints.dtl,
        }),
        validate_only: false,
    };
    indexer.nodes.clone().register_node(request).await.expect("registered");

    let node = probed(&indexer, "the node is ready", |node| node.ready_to_lock).await;
    assert_eq!(failing(&node), Vec::<&str>::new());
    assert!(!node.validator_known, "nothing is locked yet");

    simulator.set_node(signer, NodeMode::CatchingUp).await.expect("it lags");
    let node = probed(&indexer, "the node is seen to lag", |node| !node.ready_to_lock).await;
    assert!(failing(&node).contains(&"THEMIS_SYNCED"), "{:?}", node.checks);
    simulator.set_node(signer, NodeMode::Down).await.expect("it falls silent");
    let down = |node: &wire::Node| node.processes.iter().all(|process| !process.reachable);
    probed(&indexer, "the node is seen to be down", down).await;

    simulator.set_node(signer, NodeMode::Synced).await.expect("it comes back");
    world.lock("ida", 20_000).await;
    let node = probed(&indexer, "consensus knows the validator", |node| node.validator_known).await;
    assert_eq!((node.validator_nonce, node.validator_power), (1, 20_000));
    indexer.stop().await.expect("it stops");
    simulator.stop().await;
}
