//! The five services in this process, over real gRPC with mTLS on loopback.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use runtime::shutdown::Shutdown;
use seqd::Role;
use seqd::process::{self, Running};

use super::World;
use crate::announce::{Announce, State};
use crate::wait::until;

/// Measured: well below 10 s; a machine under load needs longer.
const HEALTHY_MAX: Duration = Duration::from_secs(60);
/// A stack is started anew long before.
const KEY_TTL: Duration = Duration::from_secs(30 * 86_400);
/// Loops and streams end within moments of the signal; what does not is abandoned.
const STOP_MAX: Duration = Duration::from_secs(15);

/// The running services.
pub struct Services {
    running: Running,
    shutdown: Shutdown,
}

impl Services {
    /// Starts all five and waits until they are healthy; gives the world an API key.
    ///
    /// # Errors
    /// When one cannot start or does not get healthy.
    pub async fn start(world: &mut World, announce: &Announce) -> Result<Self> {
        announce.state(State::StartingServices);
        world.begin()?;
        let shutdown = Shutdown::new();
        let started = process::start(world.config().clone(), &Role::ALL, shutdown.clone()).await;
        let running = started.context("starting the services")?;
        let health = running.health.clone();
        let services = Self { running, shutdown };
        let healthy = until("all services are healthy", HEALTHY_MAX, || async {
            let snapshot = health.snapshot();
            let failing =
                snapshot.checks.iter().find_map(|(name, check)| Some((name, check.as_ref().err()?)));
            match (snapshot.ready, failing) {
                (true, _) => Ok(()),
                (false, Some((name, why))) => bail!("{name}: {why}"),
                (false, None) => bail!("nothing says why"),
            }
        })
        .await;
        let key = match healthy {
            Ok(()) => api_key(world).await,
            Err(error) => Err(error),
        };
        match key {
            Ok(key) => world.publish(Some(key))?,
            Err(error) => {
                services.stop().await?;
                return Err(error);
            }
        }
        Ok(services)
    }

    /// Completes when a service has broken.
    pub async fn broken(&self) {
        self.shutdown.stopped().await;
    }

    /// Stops all five, in a bounded time.
    ///
    /// # Errors
    /// When one broke before, or did not stop in time.
    pub async fn stop(self) -> Result<()> {
        let Self { running, shutdown } = self;
        // Nobody balances load here, so there is no one to wait for between the two phases.
        shutdown.drain();
        shutdown.stop();
        let ended = tokio::time::timeout(STOP_MAX, running.ended(&shutdown)).await;
        ended.context("the services did not stop in time")?.context("running the services")
    }
}

/// A key with every scope that a frontend and an operator's script need.
async fn api_key(world: &World) -> Result<String> {
    let url = world.config().database.urls.get(Role::Gateway.name()).context("the gateway has a database")?;
    let database = store::connect(&url.expose()?, 1).await.context("connecting as the gateway")?;
    gateway::mint_key(&database, "dev", &["read", "prepare", "operate"], KEY_TTL)
        .await
        .context("making an API key")
}
