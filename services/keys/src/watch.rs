//! The one loop of this service: opens what is still sealed, learns of rotations that another replica
//! does, and tells health and metrics how the secrets are kept. It changes nothing in the database but
//! the first row of an empty installation, so it may run in every replica.

use std::sync::Arc;
use std::time::Duration;

use runtime::health::Check;
use runtime::shutdown::Shutdown;
use sea_orm::DatabaseConnection;

use crate::backend::Backends;
use crate::config::Rights;
use crate::crypto::Ring;
use crate::crypto::seal::{Seal, unseal};
use crate::db;
use crate::error::Failure;
use crate::gate::Gate;
use crate::keyring::Keyring;
use crate::metrics::{Metrics, Panel, Reading};

/// The start does not wait longer for a key-encryption key; it goes on sealed and tries again.
pub const START_WAIT: Duration = Duration::from_secs(15);
/// Between two looks while open: how late a replica may learn of a rotation by itself.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// First pause while sealed; doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause while sealed.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Keys with a series of their own, those longest without proof first; Prometheus carries no more gladly.
const KEYS_SHOWN_MAX: u32 = 1_000;

/// See the module.
#[derive(Debug)]
pub struct Watch {
    pub db: DatabaseConnection,
    pub gate: Arc<Gate>,
    /// Empty until it opens.
    pub ring: Arc<Ring>,
    pub backends: Backends,
    pub metrics: Metrics,
    pub check: Check,
    pub panel: Panel,
    pub rights: Rights,
    /// Whether the operating system locks our pages.
    pub memory_locked: bool,
}

impl Watch {
    /// Looks until the shutdown.
    pub async fn run(self, shutdown: Shutdown) {
        let mut retry = RETRY_FIRST;
        loop {
            let pause = if self.gate.keyring().is_ok() { LOOK_EVERY } else { retry };
            retry = (retry * 2).min(RETRY_MAX);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.stopped() => return,
            }
            self.look().await;
        }
    }

    /// Looks once.
    pub async fn look(&self) {
        let looked = match self.gate.keyring() {
            Ok(keyring) => self.learn(keyring).await,
            Err(_) => self.open().await,
        };
        let shown = match looked {
            Ok(()) => self.show().await,
            failed => failed,
        };
        if let Err(failure) = shown {
            // The database has a health check of its own; the next look is soon.
            tracing::debug!("looking after the key-encryption keys: {}", runtime::report(&failure));
        }
    }

    /// Opens the installation if its keys are there, or says why not.
    pub async fn open(&self) -> Result<(), Failure> {
        match unseal(&self.db, &self.ring).await? {
            Seal::Open => {
                let (ring, backends) = (Arc::clone(&self.ring), self.backends.clone());
                let (rights, metrics) = (self.rights.clone(), self.metrics.clone());
                self.gate.open(Keyring::open(self.db.clone(), ring, backends, rights, metrics).await?);
                self.check.ok();
                tracing::info!("unsealed");
            }
            Seal::Sealed(reason) => {
                self.gate.still_sealed(&reason);
                self.check.fail(format!("sealed: {reason}"));
            }
        }
        Ok(())
    }

    async fn learn(&self, keyring: &Keyring) -> Result<(), Failure> {
        match keyring.learn().await? {
            Ok(()) => self.check.ok(),
            // What was opened stays open; keys under that generation cannot be used here.
            Err(missing) => self.check.fail(format!("sealed: {}", runtime::report(&missing))),
        }
        Ok(())
    }

    async fn show(&self) -> Result<(), Failure> {
        let flag = |yes: bool| f64::from(u8::from(yes));
        let mut readings = vec![
            Reading::plain("keys_sealed", flag(self.gate.keyring().is_err())),
            Reading::plain("keys_memory_locked", flag(self.memory_locked)),
        ];
        if db::kek::newest(&self.db).await?.is_some() {
            let db::kek::Progress { generation, behind } = db::kek::progress(&self.db).await?;
            readings.push(Reading::plain("keys_kek_generation", f64::from(generation)));
            readings.push(Reading::plain("keys_kek_behind", count(behind)));
        }
        readings.push(Reading::plain(
            "keys_backup_never_proven",
            count(db::drill::never_proven(&self.db).await?),
        ));
        for age in db::drill::ages(&self.db, KEYS_SHOWN_MAX).await? {
            readings.push(Reading::of_key("keys_backup_age_days", &age.name, age.days));
        }
        self.panel.show(readings);
        Ok(())
    }
}

/// A number of keys as a gauge.
#[allow(clippy::cast_precision_loss, reason = "Prometheus knows only floats")]
fn count(number: i64) -> f64 {
    number as f64
}
