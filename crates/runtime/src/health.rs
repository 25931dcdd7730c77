//! Whether this process can do its work: named checks that the parts of a service keep up to date.
//!
//! `/readyz` and `grpc.health.v1` both read from here. Liveness does not: a dependency that is away
//! is no reason to restart us.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

/// What a check says until its owner has looked for the first time.
const STARTING: &str = "not checked yet";

/// The health of one process or service; clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    checks: BTreeMap<String, Result<(), String>>,
    /// Checks that readiness does not wait for.
    partial: BTreeSet<String>,
    draining: bool,
}

/// The handle by which a part of the service reports.
#[derive(Debug, Clone)]
pub struct Check {
    name: String,
    state: Arc<watch::Sender<State>>,
}

/// All checks at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// No check fails but partial ones, and the process is not draining.
    pub ready: bool,
    /// The process is about to stop.
    pub draining: bool,
    /// Each check, with the reason if it fails.
    pub checks: BTreeMap<String, Result<(), String>>,
    /// Names of the checks that readiness does not wait for.
    pub partial: BTreeSet<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// A health without checks, which is ready.
    pub fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// Adds a check; it fails until its owner says otherwise.
    pub fn check(&self, name: impl Into<String>) -> Check {
        let name = name.into();
        self.state.send_modify(|state| {
            state.checks.entry(name.clone()).or_insert_with(|| Err(STARTING.to_owned()));
        });
        Check { name, state: Arc::clone(&self.state) }
    }

    /// Adds a check of something that only a part of the work needs: its failure is shown, and the rest goes on, so it
    /// takes nothing out of service.
    pub fn partial_check(&self, name: impl Into<String>) -> Check {
        let name = name.into();
        self.state.send_modify(|state| {
            state.partial.insert(name.clone());
        });
        self.check(name)
    }

    /// Whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        self.state.borrow().is_ready()
    }

    /// Takes this process out of service for good.
    pub fn drain(&self) {
        self.state.send_if_modified(|state| !std::mem::replace(&mut state.draining, true));
    }

    /// All checks at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.borrow().clone();
        let ready = state.is_ready();
        let State { checks, partial, draining } = state;
        Snapshot { ready, draining, checks, partial }
    }

    /// Follows readiness: the current value first, then each change of anything.
    pub fn watch(&self) -> Watch {
        Watch { state: self.state.subscribe() }
    }
}

/// Readiness as it changes.
#[derive(Debug)]
pub struct Watch {
    state: watch::Receiver<State>,
}

impl Watch {
    /// Readiness now.
    pub fn is_ready(&mut self) -> bool {
        self.state.borrow_and_update().is_ready()
    }

    /// Waits until something has changed since the last look; never returns once the health is gone.
    pub async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Check {
    /// The dependency works.
    pub fn ok(&self) {
        self.set(Ok(()));
    }

    /// The dependency does not work; the reason is shown at `/readyz`, so it names no secret.
    pub fn fail(&self, reason: impl Into<String>) {
        self.set(Err(reason.into()));
    }

    fn set(&self, now: Result<(), String>) {
        self.state.send_if_modified(|state| {
            let before = state.checks.insert(self.name.clone(), now.clone());
            let changed = before.as_ref() != Some(&now);
            match (&before, &now) {
                (Some(Err(_)), Ok(())) => tracing::info!("health check {} passes", self.name),
                (Some(Ok(())), Err(reason)) => tracing::warn!("health check {} fails: {reason}", self.name),
                _ => {}
            }
            changed
        });
    }
}

impl State {
    fn is_ready(&self) -> bool {
        !self.draining
            && self.checks.iter().all(|(name, result)| result.is_ok() || self.partial.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_check_is_shown_and_readiness_does_not_wait_for_it() {
        let health = Health::new();
        let hsm = health.partial_check("hsm");
        assert!(health.is_ready());
        hsm.fail("away");
        let Snapshot { ready, draining: _, checks, partial } = health.snapshot();
        assert!(ready && partial.contains("hsm"));
        assert_eq!(checks["hsm"], Err("away".to_owned()));
        health.check("postgres").fail("away");
        assert!(!health.is_ready());
    }

    #[test]
    fn readiness_waits_for_every_check() {
        let health = Health::new();
        assert!(health.is_ready());
        let postgres = health.check("postgres");
        let chain = health.check("chain");
        assert!(!health.is_ready(), "a check that never ran does not count as passed");
        postgres.ok();
        chain.ok();
        assert!(health.is_ready());
        chain.fail("the last block is 90 s old");
        assert!(!health.is_ready());
        assert_eq!(health.snapshot().checks["chain"], Err("the last block is 90 s old".to_owned()));
    }

    #[test]
    fn draining_is_not_ready_whatever_the_checks_say() {
        let health = Health::new();
        health.check("postgres").ok();
        health.drain();
        assert!(!health.is_ready());
        assert!(health.snapshot().draining);
    }
}
