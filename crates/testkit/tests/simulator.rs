use std::time::Duration;

use alloy_primitives::{Address, U256};
use domain::amount::{Eth, Metis};
use serde_json::{Value, json};
use testkit::anvil::Options;
use testkit::contracts::{L1Options, L2_CHAIN_ID, L2Options, account, deploy_l1, deploy_l2, node_key};
use testkit::simulator::{Config, NodeMode, Simulator};
use testkit::{Anvil, wait_for, wait_until};

const SOON: Duration = Duration::from_secs(10);
const RPB: u64 = 761_000_000_000_000;

struct World {
    _chains: [Anvil; 2],
    network: Simulator,
}

async fn world() -> World {
    let l2_options =
        Options { chain_id: Some(L2_CHAIN_ID), hardfork: Some("berlin".to_owned()), ..Options::default() };
    let (l1, l2) = tokio::join!(Anvil::start(Options::default()), Anvil::start(l2_options));
    let chains = [l1.expect("L1"), l2.expect("L2")];
    let l1 = deploy_l1(&chains[0], L1Options::default()).await.expect("contracts of L1");
    let l2 = deploy_l2(&chains[1], L2Options::default()).await.expect("contracts of L2");
    let network = Simulator::start(Config::default(), l1, l2).await.expect("the network");
    World { _chains: chains, network }
}

impl World {
    /// Locks for a new owner; gives the signer.
    async fn lock(&self, name: &str) -> Address {
        let (owner, key) = (account(name), node_key(name));
        self.network.whitelist(owner, true).await.expect("whitelisted");
        self.network.fund(owner, Metis::whole(30_000), Eth::whole(1)).await.expect("funded");
        let recipient = account("somebody on L2");
        self.network.l1().lock(owner, &key, recipient, Metis::whole(20_000)).await.expect("locked");
        key.address()
    }

    async fn validator(&self, signer: Address, nonce: u64) {
        let what = format!("themis knows {signer} at nonce {nonce}");
        wait_until(&what, SOON, || async {
            let state = self.network.state();
            state.validators.iter().any(|known| known.signer == signer && known.nonce == nonce)
        })
        .await;
    }
}

async fn get(url: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    client.get(url).send().await.expect("an answer").json().await.expect("JSON")
}

async fn post(url: &str, body: Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    client.post(url).json(&body).send().await.expect("an answer").json().await.expect("JSON")
}

#[tokio::test]
async fn a_sequencer_joins_earns_and_leaves() {
    let world = world().await;
    let signer = node_key("alice").address();
    world.network.add_node(signer).await.expect("a node");
    world.lock("alice").await;
    world.validator(signer, 1).await;

    let batch = world.network.run_batch_for(signer).await.expect("a batch");
    assert!(batch.blocks_of(signer) > 0 && batch.end_epoch > batch.start_epoch);
    let l1 = world.network.l1();
    let id = l1.sequencer_of(account("alice")).await.expect("an answer").expect("a sequencer");
    let reward = l1.record(id).await.expect("an answer").expect("a record").reward;
    assert_eq!(reward, Metis(U256::from(batch.blocks_of(signer) * RPB)));

    l1.claim(account("alice"), id).await.expect("claimed");
    let recipient = account("somebody on L2");
    wait_until("the bridge credits the claim on L2", SOON, || async {
        world.network.l2().link.balance(recipient).await.is_ok_and(|wei| wei == reward.0)
    })
    .await;

    l1.unlock(account("alice"), id).await.expect("exiting");
    world.validator(signer, 2).await;
    world.network.advance(21 * 86_400).await.expect("time passes");
    l1.unlock_claim(account("alice"), id).await.expect("out");
    world.network.stop().await;
}

#[tokio::test]
async fn a_lock_is_inert_until_its_node_is_up() {
    let world = world().await;
    let signer = node_key("bob").address();
    let endpoints = world.network.add_node(signer).await.expect("a node");
    world.network.set_node(signer, NodeMode::CatchingUp).await.expect("it lags");
    world.lock("bob").await;
    let status = get(&format!("{}/status", endpoints.themis_rpc)).await;
    assert_eq!(status["result"]["sync_info"]["catching_up"], json!(true));
    let unknown = get(&format!("{}/staking/signer/{signer}", endpoints.themis_rest)).await;
    assert!(unknown["error"].is_string(), "{unknown}");

    world.network.set_node(signer, NodeMode::Synced).await.expect("it is well");
    world.validator(signer, 1).await;
    let found = get(&format!("{}/staking/validator/1", endpoints.themis_rest)).await;
    assert_eq!(found["result"]["power"], json!(20_000));
    assert_eq!(found["result"]["signer"], json!(format!("{signer:#x}")));
    let current = get(&format!("{}/staking/validator-status/{signer}", endpoints.themis_rest)).await;
    assert_eq!(current["result"]["result"], json!(true));
    let rollup = json!({ "jsonrpc": "2.0", "id": 1, "method": "rollup_getInfo", "params": [] });
    assert_eq!(post(&endpoints.l2geth, rollup).await["result"]["syncing"], json!(false));
    assert!(get(&format!("{}/highest/l1", endpoints.dtl)).await["blockNumber"].is_u64());
    world.network.stop().await;
}

#[tokio::test]
async fn the_blocks_of_a_dead_node_go_to_another() {
    let world = world().await;
    let signers = [node_key("carol").address(), node_key("dave").address()];
    for (signer, name) in signers.into_iter().zip(["carol", "dave"]) {
        world.network.add_node(signer).await.expect("a node");
        world.lock(name).await;
        world.validator(signer, 1).await;
    }
    world.network.produce_epochs(3).await.expect("epochs");
    let l2 = world.network.l2();
    let dead = l2.current_epoch().await.expect("an epoch").signer;
    assert!(signers.contains(&dead));
    let endpoints = world.network.add_node(dead).await.expect("it has a node");
    world.network.set_node(dead, NodeMode::Down).await.expect("it dies");
    reqwest::get(format!("{}/status", endpoints.themis_rpc)).await.expect_err("nobody listens");
    // Its turn may only be queued.
    world.network.produce_epochs(1).await.expect("an epoch");
    let producer = wait_for("a re-span", SOON, || async {
        let epoch = l2.current_epoch().await.ok()?;
        (epoch.signer != dead).then_some(epoch.signer)
    });
    assert!(signers.contains(&producer.await));
    world.network.set_node(dead, NodeMode::Synced).await.expect("it is back on its port");
    assert!(get(&format!("{}/status", endpoints.themis_rpc)).await["result"].is_object());
    world.network.stop().await;
}

#[tokio::test]
async fn a_reorg_takes_a_validator_away() {
    let world = world().await;
    let signer = node_key("erin").address();
    world.network.add_node(signer).await.expect("a node");
    world.lock("erin").await;
    world.validator(signer, 1).await;
    world.network.l1().link.reorg(2, &[]).await.expect("another chain");
    wait_until("the validator is gone", SOON, || async { world.network.state().validators.is_empty() }).await;
    world.network.stop().await;
}

#[tokio::test]
async fn another_process_can_steer_it() {
    let world = world().await;
    let control = world.network.control_url();
    let owner = account("frank");
    post(&format!("{control}/whitelist"), json!({ "owner": owner })).await;
    let funds = json!({ "account": owner, "metis_wei": "5", "eth_wei": "7" });
    post(&format!("{control}/fund"), funds).await;
    assert_eq!(world.network.l1().metis_of(owner).await.expect("an answer"), Metis::wei(5));
    let node = post(&format!("{control}/node"), json!({ "signer": owner, "mode": "down" })).await;
    assert!(node["endpoints"]["dtl"].is_string(), "{node}");
    let refused = post(&format!("{control}/batch"), json!({})).await;
    assert!(refused["error"].is_string(), "nobody can be paid: {refused}");
    let before = world.network.l1().link.head().await.expect("a head").timestamp;
    let after = post(&format!("{control}/time"), json!({ "seconds": 86_400 })).await;
    assert!(after["l1_timestamp"].as_u64().is_some_and(|after| after >= before + 86_400), "{after}");
    let state = get(&format!("{control}/state")).await;
    assert_eq!(state["nodes"][0]["mode"], json!("down"));
    world.network.stop().await;
}
