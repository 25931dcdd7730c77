//! Where the service may be sent by whoever registers a node, and where not.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::indexer::v1 as wire;
use chain::outbound::{Forbidden, Lookup, Policy};
use indexer::db::node;

use indexer::nodes::client::{self, Client};
use indexer::nodes::probe;
use runtime::errors::refusal_of;
use store::column::Addr;
use testkit::contracts::account;
use uuid::Uuid;

use crate::world::{NETWORK, World};

fn policy(allow: &[&str]) -> Policy {
    Policy::new(client::SETTING, allow.iter().map(|net| net.parse().expect("a network")).collect())
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Answers the first question with the first address, and all later ones with the second.
fn rebinding(first: &str, later: &str) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (first, later, count) = (address(first), address(later), asked.clone());
    let lookup: Lookup = Arc::new(move |_| {
        let answer = if count.fetch_add(1, Ordering::SeqCst) == 0 { first } else { later };
        Box::pin(async move { Ok(vec![answer]) })
    });
    (lookup, asked)
}

fn row(url: &str) -> node::Row {
    node::Row {
        id: Uuid::nil(),
        network: NETWORK.to_owned(),
        name: "one".to_owned(),
        signer: Addr(account("signer")),
        themis_rpc: url.to_owned(),
        themis_rest: url.to_owned(),
        bridge: url.to_owned(),
        l2geth: url.to_owned(),
        dtl: url.to_owned(),
        probed_at: None,
        report: None,
        settled: None,
    }
}

/// Listens without ever blocking.
fn listener(address: &str) -> TcpListener {
    let listener = TcpListener::bind(address).expect("a port");
    listener.set_nonblocking(true).expect("it can be set");
    listener
}

fn was_reached(listener: &TcpListener) -> bool {
    listener.accept().is_ok()
}

#[tokio::test]
async fn an_address_is_found_out_however_it_is_written() {
    runtime::install_crypto_provider();
    let client = Client::new(policy(&[])).expect("a client");
    let loopback = Err(Forbidden::NotAllowed("a loopback", client::SETTING));
    let cases = [
        ("http://127.0.0.1:8545", loopback),
        ("http://2130706433:8545", loopback),
        ("http://0x7f000001", loopback),
        ("http://0177.0.0.1", loopback),
        ("http://127.1", loopback),
        ("http://0x7f.0.0.1.", loopback),
        ("http://\u{ff11}27.0.0.1", loopback),
        ("http://[::1]:8545", loopback),
        ("http://[::ffff:127.0.0.1]", loopback),
        ("http://[::ffff:7f00:1]", loopback),
        ("http://localhost:8545", loopback),
        ("http://0", Err(Forbidden::Never("an unspecified"))),
        ("http://2852039166/latest/meta-data", Err(Forbidden::Never("a link-local"))),
        ("http://0251.0376.0251.0376", Err(Forbidden::Never("a link-local"))),
        ("http://[::ffff:169.254.169.254]", Err(Forbidden::Never("a link-local"))),
        ("http://[fe80::1]", Err(Forbidden::Never("a link-local"))),
        ("http://8.8.8.8", Ok(())),
        ("http://[2606:4700::1111]:8545", Ok(())),
    ];
    for (url, expected) in cases {
        let kept = indexer::nodes::url::check(url).expect("well-formed");
        assert_eq!(client.admits(&kept).await, expected, "{url}");
    }
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_after_registration_is_not_followed() {
    runtime::install_crypto_provider();
    let good = listener("127.0.0.1:0");
    let port = good.local_addr().expect("an address").port();
    let inner = listener(&format!("127.0.0.2:{port}"));
    let (lookup, asked) = rebinding("127.0.0.1", "127.0.0.2");
    let client = Client::with_lookup(policy(&["127.0.0.1/32"]), lookup).expect("a client");
    let url = format!("http://node.example:{port}");
    assert_eq!(client.admits(&url).await, Ok(()), "at registration all is well");

    let facts = probe::facts(&client, &row(&url), None).await;
    let why = "its name leads to a loopback address, which indexer.nodes.allow does not hold";
    assert_eq!(facts.dtl, Err(why.to_owned()));
    assert_eq!(facts.bridge.expect_err("it must not be reached"), why);
    assert!(asked.load(Ordering::SeqCst) > 1, "the name is looked up again");
    assert!(!was_reached(&inner) && !was_reached(&good), "nobody was connected to");
}

#[tokio::test]
async fn an_address_that_is_no_longer_allowed_is_not_connected_to() {
    runtime::install_crypto_provider();
    let server = listener("127.0.0.1:0");
    let url = format!("http://{}", server.local_addr().expect("an address"));
    let client = Client::new(policy(&[])).expect("a client");
    let facts = probe::facts(&client, &row(&url), None).await;
    let why = "leads to a loopback address, which indexer.nodes.allow does not hold";
    assert_eq!(facts.l2geth.expect_err("it must not be reached"), why);
    assert!(!was_reached(&server));
}

#[tokio::test]
async fn a_node_where_none_may_be_is_refused_at_registration() {
    let world = World::new().await;
    let indexer = world.start().await;
    for url in ["http://169.254.169.254/latest", "http://10.0.0.1:8545", "http://[fd00:ec2::254]"] {
        let allowed = || "http://127.0.0.1:9".to_owned();
        let endpoints = wire::NodeEndpoints {
            themis_rpc: allowed(),
            themis_rest: allowed(),
            bridge: allowed(),
            l2geth: url.to_owned(),
            dtl: allowed(),
        };
        let request = wire::RegisterNodeRequest {
            request_id: Uuid::now_v7().to_string(),
            network: NETWORK.to_owned(),
            name: "one".to_owned(),
            signer: account("signer").to_string(),
            endpoints: Some(endpoints),
            validate_only: false,
        };
        let refused = indexer.nodes.clone().register_node(request).await.expect_err(url);
        let refusal = refusal_of(&refused).expect("a refusal of ours");
        assert_eq!(refusal.reason, "NODE_URL_FORBIDDEN", "{url}");
        assert_eq!(refusal.fields[0].0, "endpoints.l2geth");
        assert!(!refused.message().contains("169.254"), "{}", refused.message());
    }
    let nodes = indexer.nodes.clone().list_nodes(wire::ListNodesRequest::default()).await.expect("listed");
    assert_eq!(nodes.into_inner().nodes, []);
    indexer.stop().await.expect("it stops");
}
