//! `dev up`: the whole system, until Ctrl-C.

use std::env;
use std::pin::{Pin, pin};

use anyhow::Result;
use runtime::shutdown::wait_for_signal;
use serde_json::json;

use crate::announce::{Announce, State};
use crate::clients::Clients;
use crate::fleet::{self, Member};
use crate::stack::{Options, Services, World};

const NOTICE: &str = "
  +------------------------------------------------------------------------+
  |  NOT FOR PRODUCTION: keys, passwords and certificates of this stack    |
  |  lie in files, its chains are private and its METIS is worth nothing.  |
  +------------------------------------------------------------------------+";

/// Starts everything, tells how to reach it, and stops it when asked to or when a service breaks.
///
/// # Errors
/// When something does not start, breaks, or does not stop in order.
pub async fn run(options: &Options, seeded: bool, announce: &Announce) -> Result<()> {
    announce.people(NOTICE);
    let mut asked = pin!(wait_for_signal());
    // Biased, so that the handlers are there before the first process is.
    let mut world = tokio::select! {
        biased;
        _ = &mut asked => return Ok(()),
        world = World::start(options, announce) => world?,
    };
    let served = serve(&mut world, seeded, announce, asked).await;
    announce.state(State::Stopping);
    let stopped = world.stop().await;
    served.and(stopped)?;
    announce.state(State::Stopped);
    Ok(())
}

async fn serve(
    world: &mut World,
    seeded: bool,
    announce: &Announce,
    mut asked: Pin<&mut impl Future<Output = &'static str>>,
) -> Result<()> {
    let services = tokio::select! {
        biased;
        _ = &mut asked => return Ok(()),
        services = Services::start(world, announce) => services?,
    };
    let work = async {
        show(world, seeded, announce).await?;
        std::future::pending::<Result<()>>().await
    };
    let ended = tokio::select! {
        biased;
        _ = asked => Ok(()),
        // Why it broke is told by the stop.
        () = services.broken() => Ok(()),
        failed = work => failed,
    };
    ended.and(services.stop().await)
}

async fn show(world: &World, seeded: bool, announce: &Announce) -> Result<()> {
    announce.state_with(State::Healthy, json!({ "stack": world.stack_file() }));
    let clients = Clients::of(world.access())?;
    if seeded && world.is_fresh() {
        announce.state(State::Seeding);
        fleet::seed(&clients, world.simulator()).await?;
    }
    let members = fleet::members(&clients).await?;
    let access = world.access();
    let details = json!({
        "gateway": access.gateway,
        "admin": access.admin,
        "l1": access.l1.link.url(),
        "l2": access.l2.link.url(),
        "simulator": access.simulator,
        "api_key": access.api_key,
        "trust_dir": access.trust_dir,
        "stack": world.stack_file(),
        "seqctl": access.seqctl_config,
        "fleet": members,
    });
    announce.state_with(State::Ready, details);
    announce.people(&summary(world, &members));
    Ok(())
}

fn summary(world: &World, members: &[Member]) -> String {
    let access = world.access();
    let mut lines = vec![
        String::new(),
        format!("  JSON-RPC       {}", access.gateway),
        format!("  health         {}/readyz   metrics {}/metrics", access.admin, access.admin),
        format!("  L1, L2         {}   {}", access.l1.link.url(), access.l2.link.url()),
        format!("  network        {}   (governance, batches, nodes, time)", access.simulator),
        format!("  API key        {}", access.api_key.as_deref().unwrap_or("none")),
        format!("  certificates   {}", access.trust_dir.display()),
        format!("  all of this    {}", world.stack_file().display()),
        String::new(),
    ];
    let shown =
        |member: &Member| format!("  {:<8} {:<12} {}", member.name, member.phase, member.flags.join(" "));
    lines.extend(members.iter().map(shown));
    lines.extend([
        String::new(),
        format!("  next:  {} --config {} status", seqctl(), access.seqctl_config.display()),
        "  Ctrl-C stops everything.".to_owned(),
    ]);
    lines.join("\n")
}

/// The operator's tool as it can be called here.
fn seqctl() -> String {
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("seqctl")));
    match beside.filter(|path| path.is_file()) {
        Some(path) => path.display().to_string(),
        None => "cargo run --quiet --package seqctl --".to_owned(),
    }
}
