//! Keeps our health checks true: the database answers, and every chain was reached at least once.
//!
//! A chain that goes away later does not take us out of service: reads go on, and say how old they are.

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::health::{Check, Health};
use runtime::report;
use runtime::shutdown::Shutdown;
use sea_orm::DatabaseConnection;

use crate::db::{Layer, checkpoint};
use crate::source::Source;

/// Until all is well somebody waits for it.
const LOOK_EVERY_STARTING: Duration = Duration::from_millis(200);
/// Later it is only a sign of life.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The checks of this service.
#[derive(Debug)]
pub struct Ready {
    db: DatabaseConnection,
    postgres: Check,
    /// Chains not reached yet, by name of their lease.
    unreached: BTreeMap<String, Check>,
}

impl Ready {
    /// Adds the checks, all failing until looked at.
    pub fn new(db: DatabaseConnection, health: &Health, sources: &[Source]) -> Self {
        let check = |source: &Source| (source.lease(), health.check(format!("indexer {}", source.lease())));
        Self {
            db,
            postgres: health.check("indexer postgres"),
            unreached: sources.iter().map(check).collect(),
        }
    }

    /// Looks until the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_draining() {
            self.look().await;
            let wait = if self.unreached.is_empty() { LOOK_EVERY } else { LOOK_EVERY_STARTING };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.draining() => {}
            }
        }
    }

    async fn look(&mut self) {
        let rows = match checkpoint::of_all(&self.db).await {
            Ok(rows) => rows,
            Err(error) => return self.postgres.fail(report(&error)),
        };
        self.postgres.ok();
        for row in rows {
            let name = Source::lease_of(Layer::of_column(row.layer), &row.network);
            if row.last_contact.is_some() {
                if let Some(check) = self.unreached.remove(&name) {
                    check.ok();
                }
            } else if let Some(check) = self.unreached.get(&name).filter(|_| !row.problem.is_empty()) {
                check.fail(row.problem);
            }
        }
    }
}
