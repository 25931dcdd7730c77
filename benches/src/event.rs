//! How long a change on L1 takes to a subscriber on the gateway's WebSocket.
//!
//! The bound is a program that does nothing else: `newHeads` of the same node over WebSocket, and `eth_getLogs` of
//! each block. Both hear of the same events in the same run.

mod ears;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::lifecycle::v1::RegisterSequencerRequest;
use api::lifecycle::v1::register_sequencer_request::{Owner, Signer};
use dev::clients::{Clients, request_id};
use dev::stack::Access;
use serde_json::{Value, json};
use testkit::contracts::{L1, account, node_key};

use crate::report::{Figure, millis, quantile, rounded};
use crate::stack::Stack;
use ears::{Bare, Subscriber};

/// The median.
pub const TO_SUBSCRIBER: &str = "event.l1_to_subscriber_ms";
const TARGET: f64 = 500.0;
const EVENTS: usize = 30;
/// The first ones warm connections and caches, and are not counted.
const WARM_UP: usize = 3;
/// Events shall not fall into step with loops that look in a rhythm: a prime number of milliseconds, growing.
const STRIDE_MS: usize = 137;
const PAUSE_MS_MAX: usize = 500;
const WHAT: &str = "median time from the request to mine the block of a SetWhitelist transaction, in the pool already, \
                    to the arrival of the transition at a WebSocket subscriber of the gateway; the mining itself is in it";

/// The median over some events.
pub async fn to_subscriber() -> Result<Figure> {
    let mut stack = Stack::start(&["up", "--empty"])?;
    let access = Stack::access(&stack.until("healthy").await?)?;
    stack.until("ready").await?;
    let (mut ours, mut bare) = measured(&access).await?;
    let client: Value = access.l1.link.rpc("web3_clientVersion", json!([])).await?;
    stack.stop().await?;
    let (median, bound) = (quantile(&mut ours, 0.5), quantile(&mut bare, 0.5));
    let figure = Figure::new(median, "ms", TARGET, WHAT)
        .limit(bound, "the same for a bare subscriber of newHeads that asks eth_getLogs for each block")
        .peer("newHeads and eth_getLogs", bound)
        .with("events", json!(ours.len()))
        .with("l1", client);
    let spread = [("p90_ms", 0.9), ("max_ms", 1.0)];
    Ok(spread
        .iter()
        .fold(figure, |figure, (name, part)| figure.with(name, json!(rounded(quantile(&mut ours, *part))))))
}

/// Milliseconds until the event was known to the subscriber, and to the bare one.
async fn measured(access: &Access) -> Result<(Vec<f64>, Vec<f64>)> {
    let l1 = &access.l1;
    let owner = account("owner of the benchmark");
    register(access, "bench").await?;
    let mut subscriber = Subscriber::open(access).await?;
    let mut bare = Bare::open(l1).await?;
    // Blocks come when we ask for them, so that the moment is known.
    l1.link.rpc::<Value>("evm_setIntervalMining", json!([0])).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..EVENTS + WARM_UP {
        let pause = number * STRIDE_MS % PAUSE_MS_MAX;
        tokio::time::sleep(Duration::from_millis(pause.try_into()?)).await;
        let whitelisted = number % 2 == 0;
        send(l1, owner, whitelisted).await?;
        let begun = Instant::now();
        let (mined, heard, seen) = tokio::join!(
            l1.link.rpc::<Value>("evm_mine", json!([])),
            subscriber.until(if whitelisted { "WHITELISTED" } else { "REGISTERED" }),
            bare.until_event(),
        );
        mined?;
        if number >= WARM_UP {
            ours.push(millis(begun, heard?));
            theirs.push(millis(begun, seen?));
        }
    }
    Ok((ours, theirs))
}

/// A sequencer whose owner the events are about.
async fn register(access: &Access, name: &str) -> Result<()> {
    let request = RegisterSequencerRequest {
        request_id: request_id(),
        network: access.network.clone(),
        name: name.to_owned(),
        owner: Some(Owner::OwnerAddress(account("owner of the benchmark").to_string())),
        signer: Some(Signer::SignerPubkey(node_key(name).listing())),
        ..Default::default()
    };
    Clients::of(access)?.lifecycle.register_sequencer(request).await.context("registering")?;
    Ok(())
}

/// Puts a `setWhitelist` into the pool of the node.
async fn send(l1: &L1, owner: alloy_primitives::Address, yes: bool) -> Result<()> {
    let call = chain::abi::LockingPool::setWhitelistCall { addr: owner, yes };
    let data: alloy_primitives::Bytes = alloy_sol_types::SolCall::abi_encode(&call).into();
    l1.link.rpc::<Value>("anvil_impersonateAccount", json!([l1.deployer])).await?;
    let transaction = json!({ "from": l1.deployer, "to": l1.locking_pool, "data": data });
    l1.link.rpc::<Value>("eth_sendTransaction", json!([transaction])).await?;
    Ok(())
}
