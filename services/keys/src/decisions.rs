//! Where questions wait to be decided: many in one statement and one commit, whoever asked them.
//!
//! All decisions of all replicas stand in one chain, so they cannot be committed side by side. Instead, those that
//! came while the last commit ran are committed together. The queue is bounded, and so are the callers that may wait in
//! it: whoever finds it full is told so at once, and operators find places of the server free.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::errors::{Refusal, generic};
use runtime::server::CALLS_MAX;
use sea_orm::DatabaseConnection;
use store::group_commit::{self, Batches, Limits};
use store::standing::Standing;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::db::decision::{Decided, Question, decide};
use crate::db::message;
use crate::error::{Declined, Failure};
use crate::metrics::Metrics;

/// Requests of one batch, of a caller or of one commit. Measured: beyond it the time of a commit is spread so thin
/// already that more gain nothing, and a lone caller would wait behind it for longer than for a commit.
pub const BATCH_MAX: usize = 256;
/// Four batches, about 100 ms of work: whoever comes then is answered sooner by asking again.
const QUEUE_MAX: usize = 4 * BATCH_MAX;
/// A quarter of the server's places stays free for operators and readers, however many want to sign.
const SIGNING_CALLS_MAX: usize = CALLS_MAX / 4 * 3;
/// About the time in which a full queue is decided.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug)]
pub struct Decisions {
    batches: Batches<Waiting, Decided, Failure>,
    calls: Arc<Semaphore>,
    /// Held while a message is decided. In the database they would wait for each other too, each with a connection of the
    /// pool, and readers would find none.
    message: Mutex<()>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    question: Question,
}

/// A place among the calls that sign; free again when dropped.
#[derive(Debug)]
pub struct Place(#[allow(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);

impl Decisions {
    /// Starts the task that decides.
    pub fn start(db: DatabaseConnection, metrics: Metrics) -> Self {
        let standing = Arc::new(Standing::new(db));
        let told = metrics.clone();
        let limits = Limits { items: BATCH_MAX, queue: QUEUE_MAX };
        let batches = Batches::start_with(limits, move |waiting: Arc<Vec<Waiting>>| {
            let (standing, metrics) = (Arc::clone(&standing), told.clone());
            async move {
                let begun = Instant::now();
                for Waiting { since, question: _ } in waiting.iter() {
                    metrics.waited(begun.duration_since(*since));
                }
                let questions: Vec<&Question> = waiting.iter().map(|one| &one.question).collect();
                let decided = decide(&standing, &questions).await;
                metrics.committed(questions.len(), begun.elapsed());
                decided
            }
        });
        metrics.watch_queue(batches.depth());
        let calls = Arc::new(Semaphore::new(SIGNING_CALLS_MAX));
        Self { batches, calls, message: Mutex::const_new(()) }
    }

    /// A place for one call, asked for before anything else is done for it.
    pub fn place(&self) -> Result<Place, Declined> {
        Arc::clone(&self.calls).try_acquire_owned().map(Place).map_err(|_| full())
    }

    /// Decides about all of them; each has an answer of its own. Whoever stops waiting before a question is taken up
    /// takes it back. If there is no room for all, nothing is decided.
    pub async fn decide(&self, questions: Vec<Question>) -> Result<Vec<Result<Decided, Failure>>, Declined> {
        let since = Instant::now();
        let waiting = questions.into_iter().map(|question| Waiting { since, question }).collect();
        let answers = self.batches.submit_all(waiting).await.map_err(declined)?;
        Ok(answers.into_iter().map(|answer| answer.map_err(failure)).collect())
    }

    /// Decides about a message, one after the other.
    pub async fn decide_message(
        &self,
        db: &DatabaseConnection,
        question: message::Question<'_>,
    ) -> Result<message::Decision, Failure> {
        let _turn = self.message.lock().await;
        message::decide(db, question).await
    }
}

fn full() -> Declined {
    let text = "as many calls wait for a signature as may";
    Declined::Shed(Refusal::new(&generic::OVERLOADED, text).retry_after(RETRY_AFTER))
}

fn declined(error: group_commit::Error<Failure>) -> Declined {
    match error {
        group_commit::Error::Full => full(),
        error => Declined::Failed(failure(error)),
    }
}

fn failure(error: group_commit::Error<Failure>) -> Failure {
    match error {
        group_commit::Error::Batch(source) => Failure::Batch(source),
        // Only one without a place is told so.
        group_commit::Error::Full | group_commit::Error::Gone => Failure::Undecided,
    }
}
