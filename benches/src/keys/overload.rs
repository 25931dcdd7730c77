//! More than can be decided: how soon the next caller is told, and how soon health answers meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runtime::errors::refusal_of;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::limit;
use super::world::world;
use crate::report::{Figure, millis, quantile, rounded};

/// More than there are places.
const CALLERS: usize = 250;
const REFUSALS: usize = 500;
const TARGET_MS: f64 = 5.0;
/// Within this all callers have arrived.
const ARRIVE_MAX: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// The end of the chain is held by somebody else, so that nothing is decided and all places fill up.
pub async fn refusal() -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let mut client = world.client("lifecycle")?;
    client.sign_transaction(world.request(0)).await?;
    let mut holder = PgConnection::connect(&world.url).await?;
    holder.execute("BEGIN; SELECT 1 FROM keys.audit_head FOR UPDATE").await?;
    let mut waiting = Vec::new();
    for number in 0..CALLERS {
        let (mut client, request) = (client.clone(), world.request(number));
        waiting.push(tokio::spawn(async move { client.sign_transaction(request).await }));
    }
    let begun = Instant::now();
    let is_full = |status: &tonic::Status| status.code() == Code::ResourceExhausted;
    while waiting.iter().filter(|call| call.is_finished()).count() == 0 {
        ensure!(begun.elapsed() < ARRIVE_MAX, "it never gets full");
        tokio::time::sleep(LOOK).await;
    }
    let mut other = world.client("lifecycle")?;
    let mut health = HealthClient::new(world.peer("operator:bench")?);
    let (mut times, mut health_times) = (Vec::new(), Vec::new());
    for _ in 0..REFUSALS {
        let asked = Instant::now();
        let status = other.sign_transaction(world.request(0)).await.err().context("it is full")?;
        times.push(millis(asked, Instant::now()));
        ensure!(is_full(&status), "refused for another reason: {status}");
        ensure!(refusal_of(&status).is_some_and(|refused| refused.retry_after.is_some()), "no time to retry");
        let asked = Instant::now();
        health.check(HealthCheckRequest::default()).await?;
        health_times.push(millis(asked, Instant::now()));
    }
    holder.execute("ROLLBACK").await?;
    let (mut signed, mut refused) = (0, 0);
    for call in waiting {
        match call.await? {
            Ok(_) => signed += 1,
            Err(status) if is_full(&status) => refused += 1,
            Err(status) => return Err(status).context("neither signed nor refused"),
        }
    }
    limit::chain_is_whole(world).await?;
    // The first of a connection makes it.
    let [times, health_times] = [&mut times, &mut health_times].map(|times| &mut times[1..]);
    let (p50, p99) = (quantile_of(times, 0.5), quantile_of(times, 0.99));
    Ok(Figure::new(
        p99,
        "ms",
        TARGET_MS,
        "p99 from the request to RESOURCE_EXHAUSTED with RetryInfo, all places taken",
    )
    .with("p50_ms", json!(rounded(p50)))
    .with("health_p99_ms", json!(rounded(quantile_of(health_times, 0.99))))
    .with("held_up_then_signed", json!(signed))
    .with("refused_at_once", json!(refused)))
}

fn quantile_of(times: &[f64], part: f64) -> f64 {
    quantile(&mut times.to_vec(), part)
}
