//! `dev demo`: the guide's journey on a fresh stack, with the time of each step.

use std::pin::pin;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use runtime::shutdown::wait_for_signal;
use serde_json::json;

use crate::announce::{Announce, State};
use crate::clients::Clients;
use crate::journey::{self, Managed, Step};
use crate::stack::{Options, Services, World};

const NAME: &str = "willow";

/// Plays the journey; everything is stopped at the end.
///
/// # Errors
/// With the first step that failed.
pub async fn run(announce: &Announce) -> Result<()> {
    let start = Instant::now();
    let options = Options::to_travel();
    let mut asked = pin!(wait_for_signal());
    // Biased, so that the handlers are there before the first process is.
    let mut world = tokio::select! {
        biased;
        signal = &mut asked => bail!("{signal}"),
        world = World::start(&options, announce) => world?,
    };
    let played = tokio::select! {
        biased;
        signal = asked => Err(anyhow!("{signal}")),
        played = on(&mut world, announce) => played,
    };
    announce.state(State::Stopping);
    let stopped = world.stop().await;
    let steps = played?;
    stopped?;
    let secs = start.elapsed().as_secs_f64();
    announce.people(&format!("\n  {steps} steps in {secs:.1} s, every wei as the contracts have it"));
    announce.programs(&json!({ "demo": "done", "steps": steps, "total_s": secs }));
    Ok(())
}

async fn on(world: &mut World, announce: &Announce) -> Result<usize> {
    let services = Services::start(world, announce).await?;
    announce.state_with(State::Healthy, json!({ "stack": world.stack_file() }));
    let mut operator = Managed::new(Clients::of(world.access())?, NAME);
    announce.people("");
    let told = |step: &Step| {
        announce.people(&format!("  {:<36} {:>5.1} s  {}", step.name, step.took.as_secs_f64(), step.outcome));
        let took_ms = step.took.as_millis();
        announce.programs(&json!({ "step": step.name, "took_ms": took_ms, "outcome": step.outcome }));
    };
    let played = tokio::select! {
        played = journey::play(&mut operator, world.simulator(), told) => played.map_err(anyhow::Error::from),
        () = services.broken() => Err(anyhow!("a service broke")),
    };
    let stopped = services.stop().await;
    let steps = played?.len();
    stopped?;
    Ok(steps)
}
