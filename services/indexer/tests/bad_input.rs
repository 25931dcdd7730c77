//! What is asked wrongly, and chains that are not as configured.

use alloy_primitives::Address;
use api::indexer::v1 as wire;
use runtime::errors::refusal_of;
use testkit::contracts::account;
use testkit::{wait_for, wait_until};
use tonic::{Code, Status};

use crate::world::{DEADLINE, NETWORK, Running, World};

fn reason(status: &Status) -> (String, Vec<String>) {
    let refusal = refusal_of(status).expect("a refusal of ours");
    (refusal.reason, refusal.fields.into_iter().map(|(field, _)| field).collect())
}

fn node(name: &str) -> wire::RegisterNodeRequest {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    wire::RegisterNodeRequest {
        request_id: "0193a5b2-7e1c-7d4f-9a3b-2c1d0e9f8a7b".to_owned(),
        network: NETWORK.to_owned(),
        name: name.to_owned(),
        signer: account("signer").to_string(),
        endpoints: Some(wire::NodeEndpoints {
            themis_rpc: url(9),
            themis_rest: url(9),
            bridge: url(9),
            l2geth: url(9),
            dtl: url(9),
        }),
        validate_only: false,
    }
}

async fn register(indexer: &Running, request: wire::RegisterNodeRequest) -> Result<wire::Node, Status> {
    let answer = indexer.nodes.clone().register_node(request).await?;
    Ok(answer.into_inner().node.expect("an answer has a node"))
}

#[tokio::test]
async fn bad_input_is_named_and_changes_nothing() {
    let world = World::new().await;
    let indexer = world.start().await;
    indexer.caught_up(&world).await;
    let mut wrong_checksum = account("signer").to_string();
    wrong_checksum.replace_range(2..42, &swap_case(&wrong_checksum[2..]));
    type Change = Box<dyn Fn(&mut wire::RegisterNodeRequest)>;
    let endpoint = |text: &'static str| -> Change {
        Box::new(move |request| request.endpoints.iter_mut().for_each(|all| all.l2geth = text.to_owned()))
    };
    let cases: Vec<(&str, &str, Change)> = vec![
        ("NETWORK_NOT_FOUND", "network", Box::new(|request| request.network = "atlantis".to_owned())),
        ("FIELD_REQUIRED", "network", Box::new(|request| request.network.clear())),
        ("NAME_MALFORMED", "name", Box::new(|request| request.name = "No Name".to_owned())),
        ("ADDRESS_CHECKSUM", "signer", Box::new(move |request| request.signer.clone_from(&wrong_checksum))),
        ("ADDRESS_ZERO", "signer", Box::new(|request| request.signer = Address::ZERO.to_string())),
        ("REQUEST_ID_MALFORMED", "request_id", Box::new(|request| request.request_id = "7".to_owned())),
        ("FIELD_REQUIRED", "endpoints", Box::new(|request| request.endpoints = None)),
        ("FIELD_REQUIRED", "endpoints.l2geth", endpoint("")),
        ("ENDPOINT_MALFORMED", "endpoints.l2geth", endpoint("file:///etc/passwd")),
        ("ENDPOINT_MALFORMED", "endpoints.l2geth", endpoint("http://user:secret@node")),
    ];
    for (expected, field, change) in cases {
        let mut request = node("one");
        change(&mut request);
        let refused = register(&indexer, request).await.expect_err(expected);
        assert_eq!(reason(&refused), (expected.to_owned(), vec![field.to_owned()]));
    }
    let request =
        wire::StreamEventsRequest { network: NETWORK.to_owned(), after_cursor: "yesterday".to_owned() };
    let refused = indexer.indexer.clone().stream_events(request).await.expect_err("no cursor");
    assert_eq!(reason(&refused).0, "CURSOR_MALFORMED");
    let nodes = indexer.nodes.clone().list_nodes(wire::ListNodesRequest::default()).await.expect("listed");
    assert_eq!(nodes.into_inner().nodes, []);
    indexer.stop().await.expect("it stops");
}

fn swap_case(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect()
}

#[tokio::test]
async fn a_node_is_registered_once_and_probed() {
    let world = World::new().await;
    let indexer = world.start().await;
    indexer.caught_up(&world).await;
    let validated =
        register(&indexer, wire::RegisterNodeRequest { validate_only: true, ..node("one") }).await;
    assert_eq!(validated.expect("valid").name, "one");

    let first = register(&indexer, node("one")).await.expect("registered");
    let again = register(&indexer, node("one")).await.expect("the same answer");
    assert_eq!(first, again);
    let reused = register(&indexer, node("two")).await.expect_err("the id is taken");
    assert_eq!(reason(&reused).0, "IDEMPOTENCY_KEY_REUSED");
    let fresh = "0193a5b2-7e1c-7d4f-9a3b-2c1d0e9f8a7c".to_owned();
    let taken = register(&indexer, wire::RegisterNodeRequest { request_id: fresh, ..node("one") }).await;
    assert_eq!(reason(&taken.expect_err("the name is taken")).0, "NAME_TAKEN");

    let probed = wait_for("the node is probed", DEADLINE, || async {
        let selector = Some(wire::get_node_request::Selector::Id(first.id.clone()));
        let found =
            indexer.nodes.clone().get_node(wire::GetNodeRequest { selector }).await.ok()?.into_inner().node?;
        found.probe_time.is_some().then_some(found)
    })
    .await;
    assert!(!probed.ready_to_lock, "nobody listens there");
    assert_eq!(probed.processes.len(), 4);
    assert!(probed.processes.iter().all(|process| !process.reachable && !process.problem.is_empty()));

    let request = wire::DeleteNodeRequest { id: first.id.clone() };
    indexer.nodes.clone().delete_node(request.clone()).await.expect("deleted");
    let gone = indexer.nodes.clone().delete_node(request).await.expect_err("it is gone");
    assert_eq!(gone.code(), Code::NotFound);
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn contracts_that_are_not_as_configured_are_fatal() {
    let world = World::new().await;
    let mut network = world.network.clone();
    network.l1.locking_info = Some(account("nobody"));
    let indexer = world.start_with([(NETWORK.to_owned(), network)].into()).await;
    let ended = indexer.ended().await.expect_err("it must not follow them");
    let chain = runtime::report(&ended);
    assert!(chain.contains("not as configured") && chain.contains(NETWORK), "{chain}");
}

#[tokio::test]
async fn a_chain_that_is_away_is_reported_and_waited_for() {
    let world = World::new().await;
    let mut network = world.network.clone();
    network.l1.rpc = vec!["http://127.0.0.1:9".parse().expect("a URL")];
    network.l1.ws = None;
    let indexer = world.start_with([(NETWORK.to_owned(), network)].into()).await;
    wait_until("it says why nothing moves", DEADLINE, || async {
        indexer.source(NETWORK, 0).await.is_some_and(|source| source.problem.contains("127.0.0.1:9"))
    })
    .await;
    assert!(!indexer.health.is_ready());
    let request = wire::GetChainParametersRequest { network: NETWORK.to_owned(), at_block: 0 };
    let behind = indexer.indexer.clone().get_chain_parameters(request).await.expect_err("nothing is known");
    assert_eq!(reason(&behind).0, "INDEX_BEHIND");
    indexer.stop().await.expect("it stops");
}
