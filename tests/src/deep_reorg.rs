//! L1 is reorganised below its final block while a lock is under way: the index follows, an alarm is raised, and nothing
//! is sent until the operator has acknowledged it with `seqctl`.

use anyhow::{Context, Result};
use api::indexer::v1::{GetWhitelistEntryRequest, ListEventsRequest, ListNetworksRequest, SourceProgress};
use api::lifecycle::v1::{OperationState, Phase, PreflightOperationRequest};
use api::types::v1::{Layer, Verdict};
use dev::announce::{Announce, Audience};
use dev::clients::Clients;
use dev::stack::{NETWORK, Options, Services, World};
use domain::amount::Metis;
use serde_json::{Value, json};
use testkit::contracts::{L1, account};
use testkit::{wait_for, wait_until};

use crate::cli::Seqctl;
use crate::stage::{Candidate, SEEN_MAX, ask, candidate, lock, operation, sent_by, until_seen, until_state};

const LOCK: u64 = 20_000;
const REASON: &str = "NETWORK_HELD";
/// anvil calls a block final two epochs of 32 slots later.
const BLOCKS_TO_FINAL: u64 = 70;
/// More than after which a transaction is replaced.
const BLOCKS_HELD: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn below_the_final_block_nothing_is_sent_until_somebody_acknowledges() -> Result<()> {
    let announce = Announce::to(Audience::Nobody);
    let mut world = World::start(&Options::to_travel(), &announce).await?;
    let services = Services::start(&mut world, &announce).await?;
    let clients = Clients::of(world.access())?;
    let seqctl = Seqctl::of(&world)?;
    let l1 = world.simulator().l1();
    let mut ours = candidate(&world, &clients, "alpha").await?;
    let before = seqctl.done("chain state").await?;

    let vanishing = whitelisted_and_final(&clients, l1).await?;
    let asked = sent_and_lost(&clients, l1, &ours).await?;
    let depth = l1.link.head().await?.number + 1 - vanishing;
    l1.link.reorg(depth, &[]).await?;
    let id = alarmed(&clients).await;
    as_on_the_chain(&clients, l1, vanishing).await?;
    nothing_is_sent(&clients, l1, &ours, &asked, id).await?;

    let listed = seqctl.done("chain reorgs").await?;
    let newest = &listed["reorgs"][0];
    assert_eq!((&newest["id"], &newest["belowFinalized"]), (&json!(id.to_string()), &json!(true)));
    assert_eq!((&newest["cause"], &newest["acknowledgedBy"]), (&json!("REORG_CAUSE_CHAIN"), &json!("")));
    seqctl.refused("chain acknowledge", 2, "--yes").await?;
    assert_eq!(seqctl.done("chain acknowledge --yes").await?["acknowledged"], 1);
    assert_eq!(seqctl.done("chain acknowledge --yes").await?["acknowledged"], 0);
    l1.link.rpc::<Value>("evm_setIntervalMining", json!([1])).await?;
    until_state(&clients, &asked, OperationState::Confirmed).await;
    until_seen(&mut ours.operator, "alpha is active", |seen| {
        seen.phase() == Phase::Active && seen.locked_wei == Metis::whole(LOCK).wei_string()
    })
    .await;
    told_by_seqctl(&seqctl, l1, &ours, &before).await?;

    services.stop().await?;
    world.stop().await
}

/// A rival is whitelisted in a block that becomes final, as the indexer sees it; gives the block.
async fn whitelisted_and_final(clients: &Clients, l1: &L1) -> Result<u64> {
    l1.link.rpc::<Value>("evm_setIntervalMining", json!([0])).await?;
    let block = l1.whitelist(account("rival"), true).await?.block_number;
    l1.link.mine(BLOCKS_TO_FINAL).await?;
    let head = l1.link.head().await?.number;
    wait_until("the block is indexed and final", SEEN_MAX, || async {
        let Some(source) = source(clients).await else { return false };
        source.finalized >= block && source.indexed.is_some_and(|indexed| indexed.number == head)
    })
    .await;
    assert!(is_whitelisted(clients).await?);
    Ok(block)
}

/// Asks for a lock whose approval is lost by the pools.
async fn sent_and_lost(clients: &Clients, l1: &L1, ours: &Candidate) -> Result<String> {
    let asked = ask(clients, lock(&ours.id, LOCK)).await?;
    wait_until("the approval is sent", SEEN_MAX, || async {
        let operation = operation(clients, &asked.id).await;
        operation.is_some_and(|operation| operation.state() == OperationState::Broadcast)
    })
    .await;
    l1.link.rpc::<Value>("anvil_dropAllTransactions", json!([])).await?;
    Ok(asked.id)
}

async fn alarmed(clients: &Clients) -> u64 {
    wait_for("the alarm", SEEN_MAX, || async {
        Some(source(clients).await?.unacknowledged_reorg_id).filter(|id| *id != 0)
    })
    .await
}

/// The index has the new chain, and nothing of the old one.
async fn as_on_the_chain(clients: &Clients, l1: &L1, vanished: u64) -> Result<()> {
    let head = l1.link.head().await?;
    wait_until("the new chain is indexed", SEEN_MAX, || async {
        let indexed = source(clients).await.and_then(|source| source.indexed);
        indexed.is_some_and(|indexed| indexed.hash == head.hash.to_string())
    })
    .await;
    assert!(!is_whitelisted(clients).await?, "that was on the old chain");
    let events = ListEventsRequest {
        network: NETWORK.to_owned(),
        layer: Layer::L1.into(),
        from_block: vanished,
        ..Default::default()
    };
    assert_eq!(clients.indexer.clone().list_events(events).await?.into_inner().events, []);
    Ok(())
}

/// Nothing of the owner reaches a node, over more blocks than a replacement waits for.
async fn nothing_is_sent(clients: &Clients, l1: &L1, ours: &Candidate, asked: &str, id: u64) -> Result<()> {
    for _ in 0..BLOCKS_HELD {
        l1.link.mine(1).await?;
    }
    let held = wait_for("the operation says that it is held", SEEN_MAX, || async {
        operation(clients, asked).await.filter(|operation| operation.reason_code == REASON)
    })
    .await;
    assert!(held.reason.contains(&format!("reorganisation {id}")), "{}", held.reason);
    let request =
        PreflightOperationRequest { sequencer: ours.id.clone(), parameters: lock(&ours.id, LOCK).parameters };
    let checks = clients.lifecycle.clone().preflight_operation(request).await?.into_inner().checks;
    let check = checks.iter().find(|check| check.name == REASON).context("the check")?;
    assert_eq!(check.verdict(), Verdict::Warn);
    for _ in 0..BLOCKS_HELD {
        let head = l1.link.mine(1).await?.number;
        wait_until("the block is applied", SEEN_MAX, || async {
            let indexed = source(clients).await.and_then(|source| source.indexed);
            indexed.is_some_and(|indexed| indexed.number >= head)
        })
        .await;
        let pool: Value = l1.link.rpc("txpool_status", json!([])).await?;
        assert_eq!((&pool["pending"], &pool["queued"]), (&json!("0x0"), &json!("0x0")));
    }
    assert_eq!(sent_by(l1, ours.accounts.owner).await?, 0);
    Ok(())
}

/// The other verbs of `seqctl chain`, on a chain with a past.
async fn told_by_seqctl(seqctl: &Seqctl, l1: &L1, ours: &Candidate, before: &Value) -> Result<()> {
    let networks = seqctl.done("chain networks").await?;
    let sources = networks["networks"][0]["sources"].as_array().context("the chains")?;
    assert!(sources.iter().all(|source| source["unacknowledgedReorgId"] == "0"), "{sources:?}");
    assert_eq!(seqctl.done("chain reconcile").await?["drift"], "0");

    let state = seqctl.done("chain state").await?;
    let record = &state["records"][0];
    let id = l1.sequencer_of(ours.accounts.owner).await?.context("the owner has a sequencer")?;
    assert_eq!(record["sequencerId"], id.to_string());
    assert_eq!(record["amountWei"], Metis::whole(LOCK).wei_string());
    let at = before["header"]["l1"]["block"]["number"].as_str().context("the block of the first look")?;
    let l2_at = before["header"]["l2"]["block"]["number"].as_str().context("its L2 block")?;
    let then = seqctl.done(&format!("chain state --at {at} --l2-at {l2_at}")).await?;
    for field in ["parameters", "whitelist", "records", "batches", "epochs"] {
        assert_eq!(then[field], before[field], "{field} as of block {at}");
    }

    let summary = seqctl.text("chain state").await?;
    assert!(
        summary.contains(&ours.accounts.owner.to_string()) && summary.contains("reward batches"),
        "{summary}"
    );
    let shown = seqctl.text("chain reorgs").await?;
    assert!(shown.contains("acknowledged by operator"), "{shown}");
    assert!(seqctl.text("chain networks").await?.contains("following"));

    let producer = seqctl.done("chain producer").await?;
    assert!(!producer["epoch"]["signer"].as_str().unwrap_or_default().is_empty(), "{producer}");
    assert!(seqctl.done("chain missed-turns").await?["turns"].is_array());
    let digest = seqctl.done("chain digest").await?["digest"].as_str().unwrap_or_default().to_owned();
    assert_eq!(digest.len(), 66, "{digest}");
    assert_ne!(
        digest.trim_start_matches("0x0"),
        "0".repeat(63),
        "there are final events: the contracts were set up"
    );

    seqctl.refused("chain resync --from 0", 2, "--yes").await?;
    seqctl.done("chain resync --from 0 --layer l1 --wait --timeout 60 --yes").await?;
    assert_eq!(seqctl.done("chain state").await?["records"][0]["sequencerId"], id.to_string());
    Ok(())
}

/// L1 as the indexer sees it.
async fn source(clients: &Clients) -> Option<SourceProgress> {
    let networks = clients.indexer.clone().list_networks(ListNetworksRequest {}).await.ok()?.into_inner();
    let network = networks.networks.into_iter().find(|network| network.name == NETWORK)?;
    network.sources.into_iter().find(|source| source.layer() == Layer::L1)
}

async fn is_whitelisted(clients: &Clients) -> Result<bool> {
    let request =
        GetWhitelistEntryRequest { network: NETWORK.to_owned(), owner: account("rival").to_string() };
    Ok(clients.indexer.clone().get_whitelist_entry(request).await?.into_inner().whitelisted)
}
