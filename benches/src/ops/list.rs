//! Lists over ten thousand sequencers with a year of history.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::lifecycle::v1::{
    ListOperationsRequest, ListSequencersRequest, ListTransitionsRequest, OperationState, Phase,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use super::stage::{Lifecycle, NETWORK, Stage};
use super::world::world;
use crate::report::{Figure, millis, quantile, rounded};

const SEQUENCERS: usize = 10_000;
/// Of each sequencer: a claim every 13 days, each with five steps and one transaction, and its states. Together 2,020,000 rows.
const OPERATIONS: usize = 28;
const STEPS: usize = 5;
const TRANSITIONS: usize = 6;
const ROWS_MIN: i64 = 2_000_000;
/// The promise.
const P99_MAX_MS: f64 = 50.0;
const ROUNDS: usize = 40;
const WARM_UP: usize = 3;
/// As dashboards ask.
const PAGE: i32 = 50;
/// Every tenth stands out by its label.
const GOLD: usize = 10;
/// So many regions.
const REGIONS: usize = 20;

/// The rows that a year leaves behind, without the triggers that tell of news.
const FILL: [&str; 8] = [
    "SET session_replication_role = replica",
    "INSERT INTO lifecycle.sequencer (id, network, name, managed, owner, signer, labels)
     SELECT pg_temp.id(1, n), '{network}', 'seq-' || lpad(n::text, 5, '0'), n % 4 <> 0, pg_temp.address(1, n),
            pg_temp.address(2, n), jsonb_build_object('region', 'r' || n % {regions}, 'tier',
            CASE WHEN n % {gold} = 0 THEN 'gold' ELSE 'basic' END)
       FROM generate_series(1, {sequencers}) n",
    "INSERT INTO lifecycle.position (sequencer, network, phase, seq_id, owner, signer, recipient, locked, nonce,
                                     withdrawable_at, signers)
     SELECT pg_temp.id(1, n), '{network}',
            CASE WHEN n % 100 = 1 THEN 'EXITING' WHEN n % 100 = 2 THEN 'WITHDRAWN' WHEN n % 50 = 3 THEN 'LOCKED' ELSE 'ACTIVE' END,
            n, pg_temp.address(1, n), pg_temp.address(2, n), pg_temp.address(1, n), 20000e18, 7, now() + interval '9 days',
            ARRAY[encode(pg_temp.address(2, n), 'hex')]
       FROM generate_series(1, {sequencers}) n",
    "INSERT INTO lifecycle.account_key (address, key_id)
     SELECT pg_temp.address(layer, n), 'key-' || layer || '-' || n FROM generate_series(1, {sequencers}) n, generate_series(1, 2) layer",
    "INSERT INTO lifecycle.transition (position, sequencer, network, from_phase, to_phase, cause, block_number, block_hash, block_time)
     SELECT (m - 1) * {sequencers} + n, pg_temp.id(1, n), '{network}', CASE WHEN m > 1 THEN 'LOCKED' END, 'ACTIVE', 'themis has the record',
            m * 1000 + n, decode(repeat('ab', 32), 'hex'), now() - interval '1 year' + m * interval '1 day'
       FROM generate_series(1, {transitions}) m, generate_series(1, {sequencers}) n",
    "INSERT INTO lifecycle.operation (id, request_id, network, sequencer, kind, parameters, mode, state, words, caller,
                                      chain_id, account, key_id, create_time, update_time)
     SELECT pg_temp.id(2, (m - 1) * {sequencers} + n), pg_temp.id(3, (m - 1) * {sequencers} + n), '{network}', pg_temp.id(1, n), 'claim', '\\x',
            'MANAGED', CASE WHEN m % 12 = 0 THEN 'FAILED' ELSE 'CONFIRMED' END, 'claim', 'operator:bench', 31337, pg_temp.address(1, n),
            'key-1-' || n, now() - interval '1 year' + m * interval '13 days', now()
       FROM generate_series(1, {operations}) m, generate_series(1, {sequencers}) n",
    "INSERT INTO lifecycle.operation_step (operation, state, reason)
     SELECT pg_temp.id(2, (m - 1) * {sequencers} + n), (ARRAY['QUEUED', 'SIGNING', 'BROADCAST', 'MINED', 'CONFIRMED'])[s], 'as it goes'
       FROM generate_series(1, {operations}) m, generate_series(1, {sequencers}) n, generate_series(1, {steps}) s",
    "INSERT INTO lifecycle.transaction (id, operation, step, step_name, chain_id, account, nonce, target, value, data, gas_limit,
                                        max_fee, max_priority, words, state, hash, receipt_block, receipt_hash, receipt_time,
                                        receipt_status, finalized)
     SELECT pg_temp.id(4, (m - 1) * {sequencers} + n), pg_temp.id(2, (m - 1) * {sequencers} + n), 0, 'claim', 31337,
            pg_temp.address(1, n), m, pg_temp.address(9, 1), 0, decode(repeat('cd', 68), 'hex'), 900000, 2000000000, 1000000000,
            'claim', 'CONFIRMED', decode(repeat('ab', 32), 'hex'), m * 1000, decode(repeat('ab', 32), 'hex'), now(), 1, true
       FROM generate_series(1, {operations}) m, generate_series(1, {sequencers}) n",
];
/// Names for what the rows are made of.
const NAMES: &str = "
    CREATE FUNCTION pg_temp.id(kind bigint, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
      $$ SELECT ('0190000' || kind || '-' || lpad(to_hex(n >> 16), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
    CREATE FUNCTION pg_temp.address(kind bigint, n bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS
      $$ SELECT decode(lpad(to_hex(kind), 8, '0') || lpad(to_hex(n), 32, '0'), 'hex') $$";
const COUNT: &str =
    "SELECT (SELECT count(*) FROM lifecycle.transition) + (SELECT count(*) FROM lifecycle.operation)
     + (SELECT count(*) FROM lifecycle.operation_step) + (SELECT count(*) FROM lifecycle.transaction)";

/// Every list that there is, with every filter, one after the other.
pub async fn ten_thousand() -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let stage = Stage::start(world).await?;
    let rows = fill(&stage).await?;
    let mut client = stage.lifecycle();
    let mut all = Vec::new();
    let mut kinds = serde_json::Map::new();
    for (name, question) in questions() {
        for _ in 0..WARM_UP {
            question.ask(&mut client, 0).await?;
        }
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let begun = Instant::now();
            question.ask(&mut client, round).await?;
            times.push(millis(begun, Instant::now()));
        }
        kinds.insert(format!("{name}_p99_ms"), json!(rounded(quantile(&mut times, 0.99))));
        all.extend(times);
    }
    let (p50, p99) = (quantile(&mut all, 0.5), quantile(&mut all, 0.99));
    let walked = walk(&mut client).await?;
    world.drop_database(&stage.database).await?;
    Ok(Figure::new(
        p99,
        "ms",
        P99_MAX_MS,
        "p99 of a page of 50 from the request over loopback gRPC with mutual TLS to the answer, over lists and filters in turn",
    )
    .with("p50_ms", json!(rounded(p50)))
    .with("questions", json!(all.len()))
    .with("of", json!(kinds))
    .with("sequencers", json!(SEQUENCERS))
    .with("rows_of_history", json!(rows))
    .with("walk_of_all_pages_s", json!(rounded(walked.as_secs_f64()))))
}

async fn fill(stage: &Stage) -> Result<i64> {
    let mut sql = stage.sql().await?;
    sql.execute(NAMES).await?;
    for statement in FILL {
        let filled = [
            ("{network}", NETWORK.to_owned()),
            ("{sequencers}", SEQUENCERS.to_string()),
            ("{operations}", OPERATIONS.to_string()),
            ("{steps}", STEPS.to_string()),
            ("{transitions}", TRANSITIONS.to_string()),
            ("{gold}", GOLD.to_string()),
            ("{regions}", REGIONS.to_string()),
        ];
        let text =
            filled.into_iter().fold(statement.to_owned(), |text, (name, value)| text.replace(name, &value));
        sql.execute(AssertSqlSafe(text)).await?;
    }
    let rows = rows(&mut sql).await?;
    ensure!(rows >= ROWS_MIN, "only {rows} rows");
    // What autovacuum does within minutes.
    sql.execute("VACUUM ANALYZE").await?;
    sql.execute("CHECKPOINT").await?;
    sql.close().await?;
    Ok(rows)
}

async fn rows(sql: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query(COUNT).fetch_one(sql).await?.try_get(0)?)
}

enum Question {
    Sequencers(ListSequencersRequest),
    /// Of a sequencer that is another one each time.
    Transitions,
    Operations(ListOperationsRequest),
    /// Of a sequencer that is another one each time.
    OperationsOfOne,
}

fn questions() -> Vec<(&'static str, Question)> {
    let sequencers =
        || ListSequencersRequest { network: NETWORK.to_owned(), page_size: PAGE, ..Default::default() };
    let operations =
        || ListOperationsRequest { network: NETWORK.to_owned(), page_size: PAGE, ..Default::default() };
    let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into_iter().collect();
    vec![
        ("all", Question::Sequencers(sequencers())),
        ("managed", Question::Sequencers(ListSequencersRequest { managed_only: true, ..sequencers() })),
        (
            "label",
            Question::Sequencers(ListSequencersRequest { labels: label("tier", "gold"), ..sequencers() }),
        ),
        (
            "phase",
            Question::Sequencers(ListSequencersRequest { phase: Phase::Active.into(), ..sequencers() }),
        ),
        (
            "rare_phase",
            Question::Sequencers(ListSequencersRequest { phase: Phase::Exiting.into(), ..sequencers() }),
        ),
        (
            "phase_and_label",
            Question::Sequencers(ListSequencersRequest {
                phase: Phase::Exiting.into(),
                labels: label("region", "r1"),
                ..sequencers()
            }),
        ),
        (
            "empty_phase",
            Question::Sequencers(ListSequencersRequest { phase: Phase::Registered.into(), ..sequencers() }),
        ),
        ("transitions", Question::Transitions),
        ("operations", Question::Operations(operations())),
        (
            "operations_in_state",
            Question::Operations(ListOperationsRequest {
                state: OperationState::Failed.into(),
                ..operations()
            }),
        ),
        (
            "operations_in_rare_state",
            Question::Operations(ListOperationsRequest {
                state: OperationState::Queued.into(),
                ..operations()
            }),
        ),
        ("operations_of_one", Question::OperationsOfOne),
    ]
}

impl Question {
    async fn ask(&self, client: &mut Lifecycle, round: usize) -> Result<()> {
        let sequencer = || format!("01900001-0000-7000-8000-{:012x}", 1 + round * 7 % SEQUENCERS);
        match self {
            Self::Sequencers(request) => drop(client.list_sequencers(request.clone()).await?),
            Self::Operations(request) => drop(client.list_operations(request.clone()).await?),
            Self::Transitions => {
                let request =
                    ListTransitionsRequest { sequencer: sequencer(), page_size: PAGE, ..Default::default() };
                let found = client.list_transitions(request).await?.into_inner().transitions;
                ensure!(found.len() == TRANSITIONS, "{} transitions", found.len());
            }
            Self::OperationsOfOne => {
                let request =
                    ListOperationsRequest { sequencer: sequencer(), page_size: PAGE, ..Default::default() };
                let found = client.list_operations(request).await?.into_inner().operations;
                ensure!(found.len() == OPERATIONS, "{} operations", found.len());
            }
        }
        Ok(())
    }
}

/// All pages of all sequencers, each of which must be there once.
async fn walk(client: &mut Lifecycle) -> Result<Duration> {
    let begun = Instant::now();
    let (mut names, mut page_token) = (std::collections::BTreeSet::new(), String::new());
    loop {
        let request = ListSequencersRequest {
            network: NETWORK.to_owned(),
            page_size: 500,
            page_token,
            ..Default::default()
        };
        let page = client.list_sequencers(request).await?.into_inner();
        names.extend(page.sequencers.into_iter().map(|sequencer| sequencer.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    ensure!(names.len() == SEQUENCERS, "{} sequencers", names.len());
    Ok(begun.elapsed())
}
