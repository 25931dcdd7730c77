//! The loop that signs the end of the log and brings it outside.
//!
//! It takes no input: it looks at the end, at what was signed last and at the file, and brings these in line. Each
//! replica does so, with a file of its own; which of them signs a head does not matter. A crash between signing
//! and publishing is made good by the next look.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use sea_orm::DatabaseConnection;
use tokio::time::Instant;
use trail::{SignedHead, SigningKey};

use super::head_file::{self, Unusable};
use super::webhook::Webhook;
use crate::db;
use crate::error::Failure;
use crate::metrics::Metrics;

/// How soon a full batch of records is noticed; one cheap query.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the loop works with.
pub struct Publisher {
    pub db: DatabaseConnection,
    pub key: SigningKey,
    pub file: Option<PathBuf>,
    pub webhook: Option<Arc<Webhook>>,
    pub every_records: u64,
    pub every: Duration,
    pub metrics: Metrics,
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum Unpublished {
    #[error("signing the head of the audit log")]
    Signing(#[from] Failure),
    #[error("publishing the head of the audit log")]
    File(#[from] Unusable),
    #[error("waiting for the head file")]
    Task(#[from] tokio::task::JoinError),
}

impl Publisher {
    /// Runs until the shutdown, and publishes a last time then.
    pub async fn run(self, shutdown: Shutdown) {
        let mut stopped = std::pin::pin!(shutdown.stopped());
        // At the start whatever is not covered yet is: a restoration that was just found must not wait.
        let mut is_due = true;
        loop {
            self.look(is_due).await;
            tokio::select! {
                () = &mut stopped => break,
                () = tokio::time::sleep_until(Instant::now() + LOOK_EVERY) => is_due = false,
            }
        }
        self.look(true).await;
    }

    async fn look(&self, is_due: bool) {
        match self.publish(is_due).await {
            Ok(uncovered) => self.metrics.uncovered(uncovered),
            // Signing goes on: the next look may heal it, and the warnings show for how long it does not.
            Err(error) => {
                tracing::warn!("the head of the audit log is not published: {}", runtime::report(&error));
            }
        }
    }

    /// Signs a head if it is time, brings the file up to the newest signed one, and says how many records no
    /// signed head covers.
    async fn publish(&self, is_due: bool) -> Result<u64, Unpublished> {
        let now = db::head::now(&self.db).await?;
        let mut newest = db::head::last(&self.db).await?;
        let last = newest.as_ref().map_or((0, 0), |signed| (signed.head.sequence, signed.time_micros));
        let records = now.head.sequence.saturating_sub(last.0);
        let age = Duration::from_micros(now.time_micros.saturating_sub(last.1));
        if records > 0 && (is_due || records >= self.every_records || age >= self.every) {
            let signed = SignedHead::sign(now.head, now.time_micros, &self.key);
            if db::head::insert(&self.db, &signed).await? {
                self.call(&signed);
            }
            newest = db::head::last(&self.db).await?;
        }
        let covered = newest.as_ref().map_or(0, |signed| signed.head.sequence);
        if let (Some(path), Some(newest)) = (self.file.clone(), newest) {
            tokio::task::spawn_blocking(move || match head_file::last(&path)? {
                Some(last) if last.head == newest.head => Ok(()),
                _ => head_file::append(&path, &newest),
            })
            .await??;
        }
        Ok(now.head.sequence.saturating_sub(covered))
    }

    /// Not awaited: a receiver that is slow must not keep heads from the file.
    fn call(&self, signed: &SignedHead) {
        let Some(webhook) = self.webhook.clone() else { return };
        let (signed, sequence) = (signed.clone(), signed.head.sequence);
        tokio::spawn(async move {
            if let Err(error) = webhook.post(&signed).await {
                tracing::warn!(
                    sequence,
                    "the webhook did not take the head of record {sequence}: {}",
                    runtime::report(&error)
                );
            }
        });
    }
}
