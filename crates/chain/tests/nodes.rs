//! Pools of endpoints, heads and broadcasts against real nodes.

use std::time::{Duration, Instant};

use alloy_primitives::{Bytes, U256};
use chain::broadcast::SendVerdict;
use chain::pool::{EndpointConfig, Identity, Pool, PoolError, PoolOptions, SendAnswer};
use chain::rpc::{BlockId, Header, RpcError, call};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use testkit::proxy::Faults;
use testkit::{Anvil, Proxy};
use tokio::sync::mpsc;

use crate::world::{CHAIN, anvil, pool_of};

/// Nothing listens on the discard port of a test machine.
const NOWHERE: &str = "http://127.0.0.1:9";
const DEADLINE: Duration = Duration::from_secs(10);

fn config(url: &str) -> EndpointConfig {
    url.parse().expect("a URL")
}

async fn pool(urls: &[&str]) -> Result<Pool, PoolError> {
    let endpoints = urls.iter().map(|url| config(url)).collect();
    Pool::connect(CHAIN, endpoints, PoolOptions::default()).await
}

async fn mine(anvil: &Anvil) {
    anvil.rpc("evm_mine", json!([])).await.expect("anvil mines");
}

async fn next(heads: &mut BoxStream<'static, Header>) -> Header {
    tokio::time::timeout(DEADLINE, heads.next()).await.expect("a head in time").expect("heads never end")
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_shut_out_and_a_dead_one_passed_over() {
    let (ours, foreign) = (anvil(CHAIN).await, anvil(5).await);
    let pool = pool(&[&foreign.url(), NOWHERE, &ours.url()]).await.expect("one endpoint is ours");

    assert_eq!(pool.ask(call::chain_id()).await.expect("ours answers"), CHAIN);

    let identities: Vec<Identity> = pool.status().iter().map(|one| one.identity).collect();
    assert_eq!(identities, [Identity::Other(5), Identity::Unproven, Identity::Ours]);
}

#[tokio::test]
async fn a_pool_of_another_chain_does_not_start() {
    let foreign = anvil(5).await;
    let refused = pool(&[&foreign.url()]).await.expect_err("another chain");
    assert!(matches!(refused, PoolError::WrongChain { expected: CHAIN, found: 5, .. }), "{refused:?}");
    assert!(matches!(pool(&[]).await, Err(PoolError::NoEndpoints { .. })));
}

#[tokio::test]
async fn an_endpoint_that_comes_up_later_is_proven_before_its_first_use() {
    let unreachable = pool(&[NOWHERE]).await.expect("it may come up");
    let error = unreachable.ask(call::chain_id()).await.expect_err("nothing listens");
    assert!(matches!(error, RpcError::Transport { .. }), "{error:?}");
}

#[tokio::test]
async fn heads_come_over_a_websocket_and_by_polling() {
    let anvil = anvil(CHAIN).await;
    let with_ws = |ws: &str| {
        let endpoint = EndpointConfig { ws: Some(ws.parse().expect("a URL")), ..config(&anvil.url()) };
        let options = PoolOptions { poll_every: Duration::from_millis(20), ..Default::default() };
        Pool::new(CHAIN, vec![endpoint], options).expect("a pool")
    };
    for ws in [anvil.ws_url().as_str(), "ws://127.0.0.1:9"] {
        let mut heads = with_ws(ws).heads();
        let first = next(&mut heads).await;
        mine(&anvil).await;
        let second = next(&mut heads).await;
        assert_eq!((second.number, second.parent_hash), (first.number + 1, first.hash), "{ws}");
    }
}

#[tokio::test]
async fn many_headers_come_in_one_answer_and_missing_ones_are_told() {
    let anvil = anvil(CHAIN).await;
    anvil.rpc("anvil_mine", json!(["0xfa"])).await.expect("anvil mines");
    let headers = pool_of(&anvil).await.ask(call::headers(0..=251)).await.expect("anvil answers");
    assert_eq!(headers.len(), 252);
    assert!(headers[..251].windows(2).all(|two| two[0].map(|h| h.hash) == two[1].map(|h| h.parent_hash)));
    assert_eq!(headers[251], None);
}

#[tokio::test]
async fn a_block_that_no_endpoint_has_is_an_answer_of_the_node() {
    let anvil = anvil(CHAIN).await;
    let pool = pool_of(&anvil).await;
    let balance = call::balance(alloy_primitives::Address::ZERO, BlockId::Number(1_000));
    let error = pool.ask(balance).await.expect_err("the chain is shorter");
    let kind = error.node().expect("the node said so").kind();
    assert_eq!(kind, chain::rpc::NodeErrorKind::UnknownBlock, "{error:?}");
    assert!(!pool.status()[0].rests, "the endpoint is healthy all the same");
}

/// A signed transfer from one of anvil's own accounts.
async fn signed(anvil: &Anvil, account: usize, change: Value) -> Bytes {
    let accounts = anvil.rpc("eth_accounts", json!([])).await.expect("anvil has accounts");
    let mut transaction = json!({
        "from": accounts[account], "to": accounts[1], "value": "0x1", "gas": "0x5208", "nonce": "0x0",
        "maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x3b9aca00", "type": "0x2", "chainId": CHAIN,
    });
    for (key, value) in change.as_object().expect("changes") {
        transaction[key] = value.clone();
    }
    let raw = anvil.rpc("eth_signTransaction", json!([transaction])).await.expect("anvil signs");
    serde_json::from_value(raw).expect("hex")
}

#[tokio::test]
async fn a_broadcast_waits_for_the_first_pool_that_takes_it_and_for_no_other() {
    const SLOW: Duration = Duration::from_secs(3);
    let anvil = anvil(CHAIN).await;
    anvil.rpc("evm_setAutomine", json!([false])).await.expect("anvil waits");
    let slow = Proxy::start(anvil.url()).await.expect("a proxy");
    let both = pool(&[&slow.url(), &anvil.url()]).await.expect("both are reachable");
    slow.set(Faults { delay: SLOW, ..Faults::default() });
    let (tell, mut told) = mpsc::unbounded_channel();
    let begun = Instant::now();
    let raw = signed(&anvil, 0, json!({})).await;
    let heard = move |answer: &SendAnswer| {
        tell.send((answer.endpoint.clone(), answer.verdict)).expect("we listen");
    };
    let answers = both.broadcast(&raw, heard).await;
    assert!(begun.elapsed() < SLOW, "it took {:?}", begun.elapsed());
    let verdicts: Vec<_> = answers.iter().map(|one| one.verdict).collect();
    assert_eq!(verdicts, [SendVerdict::Accepted]);
    // The slow one is asked all the same: its pool may be the one that is looked at.
    assert_eq!(told.recv().await.map(|(_, verdict)| verdict), Some(SendVerdict::Accepted));
    let (endpoint, verdict) = told.recv().await.expect("the other answer comes later");
    assert_eq!((endpoint, verdict), (slow.url(), SendVerdict::AlreadyKnown));
}

#[tokio::test]
async fn every_answer_to_a_broadcast_is_kept_and_understood() {
    let anvil = anvil(CHAIN).await;
    anvil.rpc("evm_setAutomine", json!([false])).await.expect("anvil waits");
    let both = pool(&[NOWHERE, &anvil.url()]).await.expect("one is reachable");
    let verdicts = async |raw: &Bytes| {
        let (tell, mut told) = mpsc::unbounded_channel();
        both.broadcast(raw, move |answer| tell.send(answer.verdict).expect("we listen")).await;
        let mut verdicts = vec![told.recv().await.expect("one"), told.recv().await.expect("the other")];
        verdicts.sort_by_key(|verdict| *verdict == SendVerdict::Unknown);
        verdicts
    };
    let first = signed(&anvil, 0, json!({})).await;
    let richer = |wei: u128| json!({ "value": format!("{:#x}", U256::from(wei)) });
    let table = [
        (first.clone(), SendVerdict::Accepted),
        (first.clone(), SendVerdict::AlreadyKnown),
        (signed(&anvil, 0, json!({ "value": "0x2" })).await, SendVerdict::ReplacementUnderpriced),
        (signed(&anvil, 1, richer(u128::MAX)).await, SendVerdict::InsufficientFunds),
        (signed(&anvil, 1, json!({ "gas": "0x5207" })).await, SendVerdict::IntrinsicGas),
        (Bytes::from_static(&[2, 0xc0]), SendVerdict::Invalid),
    ];
    for (place, (raw, expected)) in table.into_iter().enumerate() {
        let expected = [expected, SendVerdict::Unknown];
        assert_eq!(verdicts(&raw).await, expected, "row {place}");
    }
    mine(&anvil).await;
    let late = signed(&anvil, 0, json!({ "value": "0x3" })).await;
    assert_eq!(verdicts(&late).await[0], SendVerdict::NonceTooLow);
}
