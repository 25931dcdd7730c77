//! Writes folded history while the next is fetched and folded: several ranges in one transaction, because a commit takes
//! as long as thousands of rows.

use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;
use store::bulk::Bulk;
use store::lease::{self, Lease};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::advance::Added;
use super::commit::{self, CommitError};
use super::encode::Encoded;
use crate::db::{SCHEMA, checkpoint};
use crate::source::Source;

/// Rows of one transaction: written in a quarter of a second, and what a crash costs at most.
const LOGS_TOGETHER: u64 = 20_000;
/// Readers wait for what was written no longer than this.
const COMMIT_AFTER: Duration = Duration::from_millis(250);
/// Ranges that wait to be written: one, so that folding is ahead by no more than that.
const WAITING: usize = 1;

/// Rows being written in the background; the writing stops where it is if this is dropped.
#[derive(Debug)]
pub struct Writer {
    ranges: Option<mpsc::Sender<(Encoded, checkpoint::Seen)>>,
    commits: mpsc::UnboundedReceiver<(Added, checkpoint::Seen)>,
    task: JoinHandle<Result<(), CommitError>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writer {
    /// Ready to write under a lease.
    pub fn new(db: &DatabaseConnection, source: &Source, lease: Lease) -> Self {
        let (ranges, waiting) = mpsc::channel(WAITING);
        let (committed, commits) = mpsc::unbounded_channel();
        let writing = Writing { db: db.clone(), source: source.clone(), lease, waiting, committed };
        Self { ranges: Some(ranges), commits, task: tokio::spawn(writing.run()) }
    }

    /// Hands over the next range; `false` if the writing has failed, which [`Writer::finish`] explains.
    pub async fn write(&self, encoded: Encoded, seen: checkpoint::Seen) -> bool {
        match &self.ranges {
            Some(ranges) => ranges.send((encoded, seen)).await.is_ok(),
            None => false,
        }
    }

    /// What was committed since this was last asked, one transaction each.
    pub fn committed(&mut self) -> Option<(Added, checkpoint::Seen)> {
        self.commits.try_recv().ok()
    }

    /// Waits until everything is committed.
    ///
    /// # Errors
    /// [`CommitError`]; what was committed before stays. None if the task was interrupted.
    pub async fn finish(&mut self) -> Option<Result<(), CommitError>> {
        self.ranges = None;
        (&mut self.task).await.ok()
    }
}

struct Writing {
    db: DatabaseConnection,
    source: Source,
    lease: Lease,
    waiting: mpsc::Receiver<(Encoded, checkpoint::Seen)>,
    committed: mpsc::UnboundedSender<(Added, checkpoint::Seen)>,
}

/// The transaction under way.
struct Open {
    tx: Bulk,
    begun: Instant,
    reached: (Option<checkpoint::Tip>, i64),
    added: Added,
    seen: checkpoint::Seen,
}

impl Writing {
    async fn run(mut self) -> Result<(), CommitError> {
        let mut open: Option<Open> = None;
        loop {
            let left =
                open.as_ref().map_or(COMMIT_AFTER, |open| COMMIT_AFTER.saturating_sub(open.begun.elapsed()));
            match tokio::time::timeout(left, self.waiting.recv()).await {
                Ok(Some((encoded, seen))) => {
                    let mut under_way = match open.take() {
                        Some(under_way) => under_way,
                        None => Open::begin(&self.db, seen).await?,
                    };
                    under_way.add(encoded, seen).await?;
                    open = Some(under_way);
                }
                Ok(None) => return self.commit(open).await,
                Err(_) => {}
            }
            let full = |open: &Open| open.added.logs >= LOGS_TOGETHER || open.begun.elapsed() >= COMMIT_AFTER;
            if open.as_ref().is_some_and(full) {
                self.commit(open.take()).await?;
            }
        }
    }

    async fn commit(&self, open: Option<Open>) -> Result<(), CommitError> {
        let Some(Open { tx, begun: _, reached, added, seen }) = open else { return Ok(()) };
        // At the end, so that renewals of the lease wait only for the commit.
        lease::fence(&tx, SCHEMA, &self.source.lease(), self.lease.epoch).await?;
        commit::settle(tx, &self.source, reached, seen).await?;
        // Nobody listens any more if the backfill was given up.
        self.committed.send((added, seen)).ok();
        Ok(())
    }
}

impl Open {
    async fn begin(db: &DatabaseConnection, seen: checkpoint::Seen) -> Result<Self, CommitError> {
        let tx = Bulk::begin(db, commit::IDLE_MAX).await?;
        Ok(Self { tx, begun: Instant::now(), reached: (None, -1), added: Added::default(), seen })
    }

    async fn add(&mut self, encoded: Encoded, seen: checkpoint::Seen) -> Result<(), CommitError> {
        self.added.add(&encoded);
        self.seen = seen;
        self.reached = (encoded.tip, encoded.digested);
        Ok(commit::write(&self.tx, encoded).await?)
    }
}
