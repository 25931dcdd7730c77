//! From the request to the pools: how long an operation that may begin at once takes to be broadcast.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{
    CreateOperationRequest, OperationMode, OperationParameters, SetRecipientParameters,
};
use serde_json::json;
use sqlx::{PgConnection, Row};
use testkit::contracts::account;
use time::OffsetDateTime;
use uuid::Uuid;

use super::members::{self, Member};
use super::stage::{Lifecycle, Stage};
use super::world::world;
use crate::report::{Figure, quantile, rounded};

/// Each has an operation every five seconds, after the one before it is confirmed.
const ACCOUNTS: usize = 100;
const EACH_SECOND: u32 = 20;
const ASKED: usize = 600;
/// The promises.
const P50_MAX_MS: f64 = 50.0;
const P99_MAX_MS: f64 = 250.0;
const SETTLED_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// An even stream of operations over a hundred accounts.
pub async fn to_broadcast() -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let stage = Stage::start(world).await?;
    let members = members::locked(&stage, ACCOUNTS).await?;
    stage.with_the_clock().await?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / EACH_SECOND);
    let mut asking = Vec::with_capacity(ASKED);
    for number in 0..ASKED {
        ticks.tick().await;
        asking.push(tokio::spawn(ask(stage.lifecycle(), at_once(&members[number % ACCOUNTS]))));
    }
    let mut asked = BTreeMap::new();
    for one in asking {
        let (request, at) = one.await??;
        asked.insert(request, at);
    }
    let mut sql = stage.sql().await?;
    let entered = broadcast_times(&mut sql).await?;
    let mut times = Vec::with_capacity(ASKED);
    for (request, at) in &asked {
        let sent =
            entered.get(request).with_context(|| format!("{request} was not sent: {}", stage.said()))?;
        times.push((*sent - *at).as_seconds_f64() * 1_000.0);
    }
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    settle(&mut sql, ASKED).await?;
    world.drop_database(&stage.database).await?;
    Ok(Figure::new(
        p50,
        "ms",
        P50_MAX_MS,
        "p50 from the request over loopback gRPC with mutual TLS to the record that an endpoint took the transaction: \
         checked twice, nonce, verdict and signature of keys, signed form stored",
    )
    .with("p99_ms", json!(rounded(p99)))
    .with("p99_target_ms", json!(P99_MAX_MS))
    .with("operations", json!(ASKED))
    .with("each_second", json!(EACH_SECOND))
    .with("accounts", json!(ACCOUNTS)))
}

/// An operation that may begin at once.
pub fn at_once(member: &Member) -> CreateOperationRequest {
    let id = Uuid::now_v7();
    let recipient = account(&id.to_string()).to_string();
    let parameters = Parameters::SetRecipient(SetRecipientParameters { recipient });
    CreateOperationRequest {
        request_id: id.to_string(),
        sequencer: member.id.clone(),
        parameters: Some(OperationParameters { parameters: Some(parameters) }),
        mode: OperationMode::Managed.into(),
        ..Default::default()
    }
}

async fn ask(mut client: Lifecycle, request: CreateOperationRequest) -> Result<(Uuid, OffsetDateTime)> {
    let id = request.request_id.parse()?;
    let at = OffsetDateTime::now_utc();
    client.create_operation(request).await?;
    Ok((id, at))
}

async fn broadcast_times(sql: &mut PgConnection) -> Result<BTreeMap<Uuid, OffsetDateTime>> {
    let begun = Instant::now();
    loop {
        let rows = sqlx::query(
            "SELECT o.request_id, min(s.time) AS sent FROM lifecycle.operation o
               JOIN lifecycle.operation_step s ON s.operation = o.id AND s.state = 'BROADCAST' GROUP BY 1",
        );
        let rows = rows.fetch_all(&mut *sql).await?;
        if rows.len() >= ASKED || begun.elapsed() > SETTLED_MAX {
            let each = rows.iter().map(|row| anyhow::Ok((row.try_get("request_id")?, row.try_get("sent")?)));
            return each.collect();
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until so many are confirmed: none may end otherwise, and each has used one nonce.
///
/// # Errors
/// When one does not get there.
pub async fn settle(sql: &mut PgConnection, count: usize) -> Result<()> {
    let begun = Instant::now();
    loop {
        let row = sqlx::query(
            "SELECT count(*) FILTER (WHERE state = 'CONFIRMED') AS confirmed,
                    count(*) FILTER (WHERE state IN ('FAILED', 'CANCELLED', 'EXPIRED')) AS ended,
                    (SELECT count(*) FROM lifecycle.transaction) AS calls FROM lifecycle.operation",
        );
        let row = row.fetch_one(&mut *sql).await?;
        let (confirmed, ended): (i64, i64) = (row.try_get("confirmed")?, row.try_get("ended")?);
        ensure!(ended == 0, "{ended} operations ended without effect");
        if usize::try_from(confirmed)? == count {
            let calls: i64 = row.try_get("calls")?;
            ensure!(usize::try_from(calls)? == count, "{calls} transactions for {count} operations");
            return Ok(());
        }
        ensure!(begun.elapsed() < SETTLED_MAX, "{confirmed} of {count} are confirmed");
        tokio::time::sleep(LOOK).await;
    }
}
