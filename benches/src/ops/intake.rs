//! Intake: how many operations are taken in within a second, each checked against the chain and stored durably.
//!
//! An owner has one sequencer and a sequencer one operation in flight, so that many at once can only be such as begin
//! later: they are checked, simulated and stored as all others, and no lane takes part in the figure.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{
    CreateOperationRequest, OperationMode, OperationParameters, OperationState, SetRecipientParameters,
    TermsAsked,
};
use api::types::v1::Verdict;
use prost_types::Timestamp;
use serde_json::json;
use sqlx::Row;
use testkit::contracts::account;
use time::OffsetDateTime;
use uuid::Uuid;

use super::members::{self, Member};
use super::stage::{Lifecycle, Stage};
use super::world::world;
use crate::report::{Figure, millis, quantile, rounded};

const ACCOUNTS: usize = 100;
/// As many at a time are asked by 100 users, or by one with pipelining.
const CLIENTS: usize = 100;
/// Connections that they share.
const CONNECTIONS: usize = 4;
const WARM_UP: Duration = Duration::from_secs(2);
const LASTING: Duration = Duration::from_secs(8);
/// The promises.
const RATE_OF_100: f64 = 700.0;
const RATE_OF_ONE: f64 = 1_000.0;
const P99_MAX_MS: f64 = 100.0;
const AN_HOUR: i64 = 3_600;

/// Over a hundred accounts.
pub async fn hundred_accounts() -> Result<Figure> {
    intake(ACCOUNTS, RATE_OF_100).await
}

/// On one.
pub async fn one_account() -> Result<Figure> {
    intake(1, RATE_OF_ONE).await
}

async fn intake(accounts: usize, target: f64) -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let stage = Stage::start(world).await?;
    let members = members::locked(&stage, accounts).await?;
    stage.with_the_clock().await?;
    let connections: Vec<Lifecycle> = (0..CONNECTIONS).map(|_| stage.lifecycle()).collect();
    let run = async |lasting| {
        let begun = Instant::now();
        let clients = (0..CLIENTS).map(|number| {
            let client = connections[number % CONNECTIONS].clone();
            asking(client, &members, number, begun, lasting)
        });
        let done = futures::future::try_join_all(clients).await?;
        anyhow::Ok((done, begun.elapsed()))
    };
    let (warm, _) = run(WARM_UP).await?;
    let (done, elapsed) = run(LASTING).await?;
    let mut times: Vec<f64> = done.into_iter().flatten().collect();
    let taken = times.len();
    let kept = kept(&stage).await?;
    let asked = taken + warm.iter().map(Vec::len).sum::<usize>();
    ensure!(usize::try_from(kept)? == asked, "{asked} were taken in, {kept} are stored");
    world.drop_database(&stage.database).await?;
    Ok(Figure::new(
        taken as f64 / elapsed.as_secs_f64(),
        "operations/s",
        target,
        "managed operations that begin in an hour, each with a recipient of its own, from the request over loopback gRPC \
         with mutual TLS to the answer: checked and simulated at the head, stored durably",
    )
    .with("accounts", json!(accounts))
    .with("clients", json!(CLIENTS))
    .with("p50_ms", json!(rounded(quantile(&mut times, 0.5))))
    .with("p99_ms", json!(rounded(quantile(&mut times, 0.99))))
    .with("p99_target_ms", json!(P99_MAX_MS))
    .with("stored", json!(kept)))
}

/// One client after another operation each time, and how long each took.
async fn asking(
    mut client: Lifecycle,
    members: &[Member],
    number: usize,
    begun: Instant,
    lasting: Duration,
) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    while begun.elapsed() < lasting {
        let member = &members[(number + times.len()) % members.len()];
        let request = later(member);
        let asked = Instant::now();
        let answer = client.create_operation(request).await?.into_inner();
        times.push(millis(asked, Instant::now()));
        let operation = answer.operation.context("an operation")?;
        ensure!(operation.state() == OperationState::Scheduled, "{}", operation.reason);
        let failing = answer.checks.iter().find(|check| check.verdict() != Verdict::Pass);
        ensure!(failing.is_none(), "{failing:?}");
        ensure!(answer.checks.iter().any(|check| check.name == "SIMULATION"), "nothing was simulated");
    }
    Ok(times)
}

/// An operation that begins in an hour.
fn later(member: &Member) -> CreateOperationRequest {
    let id = Uuid::now_v7();
    let recipient = account(&id.to_string()).to_string();
    let parameters = Parameters::SetRecipient(SetRecipientParameters { recipient });
    let seconds = OffsetDateTime::now_utc().unix_timestamp() + AN_HOUR;
    CreateOperationRequest {
        request_id: id.to_string(),
        sequencer: member.id.clone(),
        parameters: Some(OperationParameters { parameters: Some(parameters) }),
        mode: OperationMode::Managed.into(),
        terms: Some(TermsAsked { not_before: Some(Timestamp { seconds, nanos: 0 }), ..Default::default() }),
        ..Default::default()
    }
}

async fn kept(stage: &Stage) -> Result<i64> {
    let mut sql = stage.sql().await?;
    let row = sqlx::query(
        "SELECT count(DISTINCT (o.id, o.request_id)) FROM lifecycle.operation o
           JOIN lifecycle.request r ON r.request_id = o.request_id::text
           JOIN lifecycle.operation_step s ON s.operation = o.id AND s.state = o.state",
    );
    Ok(row.fetch_one(&mut sql).await?.try_get(0)?)
}
