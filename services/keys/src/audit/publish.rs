//! The loop that signs the end of the log and brings it outside.
//!
//! It takes no input: it looks at the end, at what was signed last and at the file, and brings these in line. Each
//! replica does so, with a file of its own; which of them signs a head does not matter. A crash between signing
//! and publishing is made good by the next look.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use trail::{SignedHead, SigningKey};

use super::head_file::{self, Unusable};
use super::signer;
use super::webhook::{NotTaken, Webhook};
use crate::config::Audit;
use crate::db;
use crate::error::Failure;
use crate::gate::Gate;
use crate::keyring::Keyring;

/// How soon a full batch of records is noticed; one cheap query.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the loop works with.
pub struct Publisher {
    gate: Arc<Gate>,
    /// Had once the installation is open.
    key: OnceCell<SigningKey>,
    file: Option<PathBuf>,
    webhook: Option<Arc<Webhook>>,
    every_records: u64,
    every: Duration,
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
    /// As it is configured. Nothing is published before the gate opens.
    pub fn new(gate: Arc<Gate>, config: Audit) -> Result<Self, NotTaken> {
        let Audit { head_file, webhook, every_records, every_secs } = config;
        Ok(Self {
            gate,
            key: OnceCell::new(),
            file: head_file,
            webhook: webhook.map(Webhook::new).transpose()?.map(Arc::new),
            every_records: every_records.max(1),
            every: Duration::from_secs(every_secs.max(1)),
        })
    }

    /// Runs until the shutdown, and publishes a last time then.
    pub async fn run(self, shutdown: Shutdown) {
        let mut stopped = std::pin::pin!(shutdown.stopped());
        // At the start whatever is not covered yet is: a restoration that was just found must not wait.
        let mut is_due = true;
        loop {
            // While sealed there is no key to sign with; what came until then is due when it opens.
            let is_open = self.look(is_due).await;
            tokio::select! {
                () = &mut stopped => break,
                () = tokio::time::sleep_until(Instant::now() + LOOK_EVERY) => is_due &= !is_open,
            }
        }
        self.look(true).await;
    }

    /// Looks once, if the gate is open, and says whether it is.
    async fn look(&self, is_due: bool) -> bool {
        let Ok(keyring) = self.gate.keyring() else { return false };
        match self.publish(keyring, is_due).await {
            Ok(uncovered) => keyring.metrics.uncovered(uncovered),
            // Signing goes on: the next look may heal it, and the warnings show for how long it does not.
            Err(error) => {
                tracing::warn!("the head of the audit log is not published: {}", runtime::report(&error));
            }
        }
        true
    }

    /// Signs a head if it is time, brings the file up to the newest signed one, and says how many records no
    /// signed head covers.
    async fn publish(&self, keyring: &Keyring, is_due: bool) -> Result<u64, Unpublished> {
        let db = &keyring.db;
        let key = self.key.get_or_try_init(|| signer::open_or_make(db, &keyring.ring)).await?;
        let now = db::head::now(db).await?;
        let mut newest = db::head::last(db).await?;
        let last = newest.as_ref().map_or((0, 0), |signed| (signed.head.sequence, signed.time_micros));
        let records = now.head.sequence.saturating_sub(last.0);
        let age = Duration::from_micros(now.time_micros.saturating_sub(last.1));
        if records > 0 && (is_due || records >= self.every_records || age >= self.every) {
            let signed = SignedHead::sign(now.head, now.time_micros, key);
            if db::head::insert(db, &signed).await? {
                self.call(&signed);
            }
            newest = db::head::last(db).await?;
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
