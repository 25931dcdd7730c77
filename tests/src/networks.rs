//! Two networks in one process: each shows its own chain and nothing of the other.

use std::fs;

use alloy_primitives::Address;
use anyhow::{Context, Result};
use chain::config::{L1 as L1Config, L2 as L2Config, Network};
use domain::amount::{Eth, Metis};
use serde_json::{Value, json};
use testkit::anvil::Options;
use testkit::contracts::{L1, L1Options, L2, L2Options, account, deploy_l1, deploy_l2, node_key};
use testkit::{Anvil, wait_until};

use crate::jsonrpc::JsonRpc;
use crate::stage::{SEEN_MAX, Stage};

const FIRST: &str = dev::stack::NETWORK;
const SECOND: &str = "othernet";
/// The same signer and the same owner are on both networks.
const SIGNER: &str = "signer on both networks";
/// Another than the first network's, or a signature would hold on both.
const SECOND_CHAIN_IDS: [u64; 2] = [31_339, 31_340];

#[tokio::test(flavor = "multi_thread")]
async fn a_second_network_shows_nothing_of_the_first() -> Result<()> {
    let stage = Stage::set().await?;
    let chain_id = |id| Options { chain_id: Some(id), accounts: Some(1), ..Options::default() };
    let berlin = Options { hardfork: Some("berlin".to_owned()), ..chain_id(SECOND_CHAIN_IDS[1]) };
    let anvils = [Anvil::start(chain_id(SECOND_CHAIN_IDS[0])).await?, Anvil::start(berlin).await?];
    let options = L1Options { l2_chain_id: SECOND_CHAIN_IDS[1], ..L1Options::default() };
    let second = deploy_l1(&anvils[0], options).await?;
    let second_l2 = deploy_l2(&anvils[1], L2Options::default()).await?;
    let first = stage.world.simulator().l1().clone();

    let mut config = stage.world.config().clone();
    let of_first = config.networks.get(FIRST).context("the first network")?;
    let of_second = network(of_first, &anvils, &second, &second_l2)?;
    config.networks.insert(SECOND.to_owned(), of_second);
    let file = stage.path("two-networks.toml");
    fs::write(&file, toml::to_string_pretty(&config)?)?;
    let seqd = stage.seqd_of(&file, &[]).await?;
    let (frontend, _) = stage.frontend().await?;

    locks(&first, 20_000).await?;
    let here = Shown::of(&frontend, FIRST, &first).await?;
    assert_eq!((here.locks, here.sequencers, here.locked.clone()), (1, 1, whole(20_000)));
    let there = Shown::of(&frontend, SECOND, &second).await?;
    assert_eq!(there, Shown::default(), "nothing has happened on the second network");

    // The same owner and signer, the same id, other facts.
    locks(&second, 30_000).await?;
    second.submit_batch(&[(node_key(SIGNER).address(), 5)]).await?;
    until_rewarded(&frontend, SECOND).await;
    let there = Shown::of(&frontend, SECOND, &second).await?;
    assert_eq!((there.locks, there.sequencers, there.locked.clone()), (1, 1, whole(30_000)));
    assert_ne!(there.unclaimed, "0x0");
    assert_eq!(Shown::of(&frontend, FIRST, &first).await?, here, "nothing has changed on the first network");
    drop((seqd, anvils));
    stage.strike().await
}

/// The rhythm of the first, the chains of the second.
fn network(first: &Network, anvils: &[Anvil; 2], l1: &L1, l2: &L2) -> Result<Network> {
    let [on_l1, on_l2] = anvils;
    Ok(Network {
        l1: L1Config { rpc: vec![on_l1.url().parse()?], ws: Some(on_l1.ws_url().parse()?), ..l1.settings() },
        l2: L2Config { rpc: vec![on_l2.url().parse()?], ws: Some(on_l2.ws_url().parse()?), ..l2.settings() },
        ..first.clone()
    })
}

async fn locks(l1: &L1, metis: u64) -> Result<()> {
    let owner = owner();
    l1.fund(owner, Metis::whole(metis), Eth::whole(1)).await?;
    l1.whitelist(owner, true).await?;
    l1.lock(owner, &node_key(SIGNER), owner, Metis::whole(metis)).await?;
    Ok(())
}

fn owner() -> Address {
    account("owner on both networks")
}

fn whole(metis: u64) -> String {
    Metis::whole(metis).hex_quantity()
}

/// What the gateway shows of one network.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    locks: usize,
    sequencers: usize,
    transitions: usize,
    balances: usize,
    locked: String,
    unclaimed: String,
}

impl Shown {
    /// Once the network is shown as it is now on its chain.
    async fn of(frontend: &JsonRpc, network: &str, l1: &L1) -> Result<Self> {
        until_level(frontend, network, l1).await?;
        let ask = async |method: &str, mut params: Value| {
            params["network"] = json!(network);
            frontend.call(method, params).await
        };
        let events = ask("chain_events", json!({ "kinds": ["Locked"] })).await?;
        let listed = ask("sequencer_list", json!({})).await?;
        let balances = ask("rewards_balances", json!({})).await?;
        let mut shown = Self {
            locks: events["events"].as_array().map_or(0, Vec::len),
            sequencers: listed["sequencers"].as_array().map_or(0, Vec::len),
            balances: balances["balances"].as_array().map_or(0, Vec::len),
            ..Self::default()
        };
        let by_owner = json!({ "network": network, "owner": owner().to_string() });
        match frontend.ask("sequencer_get", by_owner).await? {
            Err(refused) => assert_eq!(refused.reason(), "SEQUENCER_NOT_FOUND"),
            Ok(found) => {
                let sequencer = &found["sequencer"];
                text(&sequencer["lockedWei"]).clone_into(&mut shown.locked);
                let history = json!({ "sequencer": sequencer["id"] });
                let history = frontend.call("sequencer_history", history).await?;
                shown.transitions = history["transitions"].as_array().map_or(0, Vec::len);
                text(&balances["balances"][0]["unclaimedWei"]).clone_into(&mut shown.unclaimed);
            }
        }
        Ok(shown)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Waits until lifecycle and rewards stand at the head of the chain.
async fn until_level(frontend: &JsonRpc, network: &str, l1: &L1) -> Result<()> {
    let head = l1.link.head().await?.number;
    let stand = |value: &Value| {
        let digits = text(&value["asOf"]["block"]).trim_start_matches("0x").to_owned();
        u64::from_str_radix(&digits, 16).unwrap_or_default()
    };
    for method in ["sequencer_list", "rewards_balances"] {
        wait_until(&format!("{method} shows all of {network}"), SEEN_MAX, || async {
            let answer = frontend.call(method, json!({ "network": network })).await;
            answer.is_ok_and(|answer| stand(&answer) >= head)
        })
        .await;
    }
    Ok(())
}

async fn until_rewarded(frontend: &JsonRpc, network: &str) {
    let params = json!({ "network": network });
    wait_until("the reward is shown", SEEN_MAX, || async {
        let Ok(answer) = frontend.call("rewards_balances", params.clone()).await else { return false };
        !matches!(text(&answer["balances"][0]["unclaimedWei"]), "" | "0x0")
    })
    .await;
}
