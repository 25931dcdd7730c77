//! Whether the index is what the chain says: drift found and named, and mended; and what operators must have seen.

use api::indexer::v1 as wire;
use api::types::v1::Layer;
use runtime::errors::refusal_of;
use runtime::telemetry::{TelemetryConfig, metrics_text};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use store::statement;
use testkit::contracts::account;
use testkit::{wait_for, wait_until};
use tonic::Status;

use crate::world::{DEADLINE, NETWORK, Running, World};

/// Its own name, since all tests of this process share the metrics.
const DRIFTING: &str = "drifting";

fn reason(status: &Status) -> String {
    refusal_of(status).expect("a refusal of ours").reason
}

async fn reconcile(indexer: &Running, network: &str) -> Result<wire::ReconcileResponse, Status> {
    let request = wire::ReconcileRequest { network: network.to_owned() };
    Ok(indexer.indexer.clone().reconcile(request).await?.into_inner())
}

async fn standing(indexer: &Running, network: &str) -> Option<wire::GetReconciliationResponse> {
    let request = wire::GetReconciliationRequest { network: network.to_owned() };
    Some(indexer.indexer.clone().get_reconciliation(request).await.ok()?.into_inner())
}

async fn reorgs(indexer: &Running) -> Vec<wire::Reorg> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListReorgsRequest { network: NETWORK.to_owned(), page_size: 1, page_token };
        let page = indexer.indexer.clone().list_reorgs(request).await.expect("listed").into_inner();
        all.extend(page.reorgs);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

async fn resync(indexer: &Running, request: wire::ResyncRequest) -> Result<wire::ResyncResponse, Status> {
    let request = wire::ResyncRequest { network: NETWORK.to_owned(), ..request };
    Ok(indexer.indexer.clone().resync(request).await?.into_inner())
}

/// Adds to a column of the last version in a table.
async fn corrupt(db: &DatabaseConnection, table: &str, column: &str, by: i64) {
    let sql = format!(
        "UPDATE indexer.{table} SET {column} = {column} + $1
          WHERE number = (SELECT max(number) FROM indexer.{table})"
    );
    let done = db.execute_raw(statement(sql, [by.into()])).await.expect("the role may");
    assert_eq!(done.rows_affected(), 1, "{table}");
}

#[tokio::test]
async fn a_corrupted_row_is_found_and_named_by_the_loop_the_metric_and_on_demand() {
    let world = World::new().await;
    runtime::telemetry::init("indexer", &TelemetryConfig::default()).expect("metrics are collected");
    let id = world.busy("ida").await;
    world.l2.commit_epoch(account("first")).await.expect("committed");
    let indexer = world.start_with([(DRIFTING.to_owned(), world.network.clone())].into()).await;
    wait_until("both chains agree", DEADLINE, || async {
        reconcile(&indexer, DRIFTING).await.is_ok_and(|found| {
            found.drift == 0 && found.l2_block.is_some() && found.block.is_some_and(|block| block.number > 20)
        })
    })
    .await;

    let db = world.db.connect("indexer").await;
    let all = [("sequencer_record", "amount"), ("parameters", "max_lock"), ("epoch", "end_block")];
    for (table, column) in all {
        corrupt(&db, table, column, 1).await;
    }
    let head = world.l1.link.mine(1).await.expect("mined").number;
    let found = wait_for("the loop finds it", DEADLINE, || async {
        standing(&indexer, DRIFTING).await.filter(|found| found.drift > 0)
    })
    .await;
    let block = found.block.clone().expect("a comparison has a block");
    assert!(found.first_difference.starts_with(&format!("sequencers({id}).amount: indexed ")), "{found:?}");
    let verified = found.verified.clone().expect("it was verified before");
    assert!(verified.number <= block.number && block.number <= head, "what was verified is still told");
    // L2 has no new block, so the loop takes its time with it.
    let found = reconcile(&indexer, DRIFTING).await.expect("compared");
    let named: Vec<_> = found.differences.iter().filter_map(|found| found.split(": ").next()).collect();
    assert_eq!(named, [format!("sequencers({id}).amount").as_str(), "maxLock", "epochs(1).endBlock"]);
    wait_until("the metric tells", DEADLINE, || async {
        let metrics = metrics_text().expect("text");
        let of_ours = |name: &str, end: &str| {
            let ours = |line: &&str| line.starts_with(name) && line.contains(DRIFTING);
            metrics.lines().find(ours).is_some_and(|line| line.ends_with(end))
        };
        of_ours("indexer_drift_fields", " 3") && of_ours("indexer_drift_checked_seconds", "")
    })
    .await;

    for (table, column) in all {
        corrupt(&db, table, column, -1).await;
    }
    assert_eq!(reconcile(&indexer, DRIFTING).await.expect("compared").drift, 0);
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_comparison_on_demand_says_which_chain_is_away() {
    let world = World::new().await;
    let indexer = world.start().await;
    let early = reconcile(&indexer, "atlantis").await.expect_err("not configured");
    assert_eq!(reason(&early), "NETWORK_NOT_FOUND");
    indexer.caught_up(&world).await;
    indexer.stop().await.expect("it stops");
    let away = || vec!["http://127.0.0.1:9".parse().expect("a URL")];
    let mut without_l1 = world.network.clone();
    (without_l1.l1.rpc, without_l1.l1.ws) = (away(), None);
    let mut without_l2 = world.network.clone();
    without_l2.l2.rpc = away();
    for (network, expected) in [(without_l1, "L1_UNAVAILABLE"), (without_l2, "L2_UNAVAILABLE")] {
        let indexer = world.start_with([(NETWORK.to_owned(), network)].into()).await;
        let refused = wait_for("it serves", DEADLINE, || async {
            reconcile(&indexer, NETWORK).await.err().filter(|status| refusal_of(status).is_some())
        })
        .await;
        assert_eq!(reason(&refused), expected);
        indexer.stop().await.expect("it stops");
    }
}

#[tokio::test]
async fn an_older_comparison_never_replaces_a_newer_one() {
    use indexer::db::reconciliation::{Row, of, put};
    let world = World::new().await;
    let indexer = world.start().await;
    indexer.agrees(&world).await;
    indexer.stop().await.expect("it stops");
    let db = world.db.connect("indexer").await;
    let newer = of(&db, NETWORK).await.expect("read").expect("there");
    let older = Row {
        number: newer.number - 1,
        hash: Default::default(),
        time: newer.time,
        drift: 7,
        first_difference: "of long ago".to_owned(),
        compared_at: newer.compared_at,
    };
    put(&db, NETWORK, &older).await.expect("ignored");
    assert_eq!(of(&db, NETWORK).await.expect("read"), Some(newer.clone()));
    put(&db, NETWORK, &Row { number: newer.number, ..older }).await.expect("stored");
    let drifting = of(&db, NETWORK).await.expect("read").expect("there");
    assert_eq!((drifting.drift, drifting.verified_number), (7, newer.verified_number));
}

#[tokio::test]
async fn a_resync_mends_what_is_corrupted() {
    let world = World::new().await;
    world.busy("ida").await;
    let indexer = world.start().await;
    indexer.agrees(&world).await;
    let db = world.db.connect("indexer").await;
    corrupt(&db, "sequencer_record", "amount", 1).await;
    assert_eq!(reconcile(&indexer, NETWORK).await.expect("compared").drift, 1);

    let ask = wire::ResyncRequest { layer: Layer::L1.into(), from_block: 1, ..Default::default() };
    let checked = resync(&indexer, wire::ResyncRequest { validate_only: true, ..ask.clone() }).await;
    assert_eq!(checked.expect("valid").from_block, 1);
    assert_eq!(reorgs(&indexer).await, []);
    let asked = resync(&indexer, ask).await.expect("noted");
    wait_until("it is done", DEADLINE, || async {
        reorgs(&indexer)
            .await
            .iter()
            .any(|reorg| reorg.cause() == wire::ReorgCause::Resync && reorg.id > asked.after_reorg_id)
    })
    .await;
    indexer.caught_up(&world).await;
    assert_eq!(reconcile(&indexer, NETWORK).await.expect("compared").differences, Vec::<String>::new());
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_resync_of_what_is_not_there_is_refused() {
    let world = World::new().await;
    let mut network = world.network.clone();
    network.l1.start_block = Some(2);
    network.l2 = Default::default();
    let indexer = world.start_with([(NETWORK.to_owned(), network)].into()).await;
    wait_until("something is indexed", DEADLINE, || async {
        indexer.source(NETWORK, 0).await.is_some_and(|source| source.indexed.is_some())
    })
    .await;
    let cases = [
        ("INDEX_BEHIND", Layer::L1, 1_000_000),
        ("BLOCK_BELOW_START", Layer::L1, 1),
        ("ENUM_UNSPECIFIED", Layer::Unspecified, 0),
        ("LAYER_NOT_FOLLOWED", Layer::L2, 0),
    ];
    for (expected, layer, from_block) in cases {
        let ask = wire::ResyncRequest { layer: layer.into(), from_block, ..Default::default() };
        let refused = resync(&indexer, ask).await.expect_err(expected);
        assert_eq!(reason(&refused), expected);
    }
    assert_eq!(reorgs(&indexer).await, []);
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_reorganisation_below_finalized_waits_until_an_operator_has_seen_it() {
    let world = World::with_slots(1).await;
    let indexer = world.start().await;
    world.lock("ida", 20_000).await;
    world.lock("max", 30_000).await;
    indexer.agrees(&world).await;
    world.l1.link.reorg(5, &[]).await.expect("reorganised");
    indexer.agrees(&world).await;

    let alarming = |reorg: &wire::Reorg| reorg.below_finalized && reorg.acknowledged_by.is_empty();
    let found = reorgs(&indexer).await.into_iter().find(alarming).expect("it is listed");
    assert_eq!((found.layer(), found.cause()), (Layer::L1, wire::ReorgCause::Chain));
    let endpoints = indexer.source(NETWORK, 0).await.expect("served").endpoints;
    let healthy =
        |endpoint: &wire::EndpointHealth| endpoint.usable && endpoint.calls > 0 && endpoint.head > 0;
    assert!(endpoints.len() == 1 && endpoints.iter().all(healthy), "{endpoints:?}");
    let held = || async { indexer.source(NETWORK, 0).await.expect("served").unacknowledged_reorg_id };
    assert_eq!(held().await, found.id);

    let acknowledge = |id: u64| {
        let request = wire::AcknowledgeReorgRequest { network: NETWORK.to_owned(), id };
        let mut client = indexer.indexer.clone();
        async move { client.acknowledge_reorg(request).await.map(|answer| answer.into_inner().acknowledged) }
    };
    let unknown = acknowledge(found.id + 100).await.expect_err("there is none");
    assert_eq!(reason(&unknown), "REORG_NOT_FOUND");
    assert_eq!(held().await, found.id, "nothing was acknowledged");
    assert_eq!(acknowledge(found.id).await.expect("noted"), 1);
    assert_eq!(acknowledge(found.id).await.expect("nothing is left"), 0);
    assert_eq!(held().await, 0);
    let seen = reorgs(&indexer).await.into_iter().find(|reorg| reorg.id == found.id).expect("still listed");
    assert_eq!(seen.acknowledged_by, "operator:tester");
    assert!(seen.acknowledge_time.is_some());
    indexer.stop().await.expect("it stops");
}
