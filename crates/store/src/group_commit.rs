//! Many callers, one commit: what a hot account or an audit chain needs to be fast.
//!
//! One task takes all that has queued up while the last commit ran, commits it at once, and
//! gives every caller its own result. A lone caller waits for nobody. How a batch becomes one
//! transaction is the owner's closure.

use std::{future::Future, sync::Arc};

use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};
use tracing::{Instrument, Span, info_span};

use crate::transaction::is_bad_value;

/// Beyond this a batch gains little (measured) and its transaction holds its locks longer.
pub const ITEMS_MAX: usize = 100;
/// Ten batches: about a tenth of a second of work. Whoever comes then is better refused.
pub const QUEUE_MAX: usize = 1_000;

/// How much is taken at once, and how much may wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most items of one batch.
    pub items: usize,
    /// Most items that wait.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { items: ITEMS_MAX, queue: QUEUE_MAX }
    }
}

/// Why an item has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error<E: std::error::Error + 'static> {
    /// Too many are waiting: try again in a moment. Nothing was done.
    #[error("the queue is full")]
    Full,
    /// The committing task has ended; the effect may or may not be there.
    #[error("the committing task is gone")]
    Gone,
    /// The batch that the item was part of failed.
    #[error("committing a batch")]
    Batch(#[source] Arc<E>),
}

/// Where callers hand in their items. Clones share one queue and one task.
#[derive(Debug)]
pub struct Batches<I, T, E> {
    queue: mpsc::Sender<Entry<I, T, E>>,
    _task: Arc<StopOnDrop>,
}

impl<I, T, E> Clone for Batches<I, T, E> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), _task: Arc::clone(&self._task) }
    }
}

#[derive(Debug)]
struct Entry<I, T, E> {
    item: I,
    result: oneshot::Sender<Result<T, Arc<E>>>,
    span: Span,
}

#[derive(Debug)]
struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<I, T, E> Batches<I, T, E>
where
    I: Send + Sync + 'static,
    T: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    /// Starts the task. `commit` writes all items in **one transaction** and returns one result for
    /// each, in their order; if it fails, none of them may have had an effect.
    ///
    /// A batch that the database refuses because of its values is committed again item by item,
    /// so that one bad item harms only its own caller.
    pub fn start<F, Fut>(commit: F) -> Self
    where
        F: Fn(Arc<Vec<I>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<T>, E>> + Send + 'static,
    {
        Self::start_with(Limits::default(), commit)
    }

    /// The same with limits of one's own.
    pub fn start_with<F, Fut>(limits: Limits, commit: F) -> Self
    where
        F: Fn(Arc<Vec<I>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<T>, E>> + Send + 'static,
    {
        let (queue, entries) = mpsc::channel(limits.queue);
        let task = tokio::spawn(run(entries, limits.items, commit));
        Self { queue, _task: Arc::new(StopOnDrop(task.abort_handle())) }
    }

    /// Hands in one item and waits for its result. Whoever stops waiting while the item is in the queue takes it back;
    /// once it is in a batch, it has its effect all the same.
    ///
    /// # Errors
    /// [`Error::Full`] is a refusal; after [`Error::Gone`] the caller must look what happened.
    pub async fn submit(&self, item: I) -> Result<T, Error<E>> {
        let place = self.queue.try_reserve().map_err(refused)?;
        let (entry, answer) = Entry::of(item);
        place.send(entry);
        wait_for(answer).await
    }

    /// Hands in several items, all of them or none, side by side: they share batches. Gives a result for each.
    ///
    /// # Errors
    /// As [`Batches::submit`], where it concerns all.
    pub async fn submit_all(&self, items: Vec<I>) -> Result<Vec<Result<T, Error<E>>>, Error<E>> {
        let places = self.queue.try_reserve_many(items.len()).map_err(refused)?;
        let mut answers = Vec::with_capacity(items.len());
        for (place, item) in places.zip(items) {
            let (entry, answer) = Entry::of(item);
            place.send(entry);
            answers.push(answer);
        }
        let mut results = Vec::with_capacity(answers.len());
        for answer in answers {
            results.push(wait_for(answer).await);
        }
        Ok(results)
    }

    /// How many are waiting now, for a gauge; it does not keep the task alive.
    pub fn depth(&self) -> impl Fn() -> usize + Send + Sync + use<I, T, E> {
        let queue = self.queue.downgrade();
        move || queue.upgrade().map_or(0, |queue| queue.max_capacity().saturating_sub(queue.capacity()))
    }
}

type Answer<T, E> = oneshot::Receiver<Result<T, Arc<E>>>;

impl<I, T, E> Entry<I, T, E> {
    fn of(item: I) -> (Self, Answer<T, E>) {
        let (result, answer) = oneshot::channel();
        (Self { item, result, span: Span::current() }, answer)
    }
}

fn refused<E: std::error::Error + 'static>(error: mpsc::error::TrySendError<()>) -> Error<E> {
    match error {
        mpsc::error::TrySendError::Full(()) => Error::Full,
        mpsc::error::TrySendError::Closed(()) => Error::Gone,
    }
}

async fn wait_for<T, E: std::error::Error + 'static>(answer: Answer<T, E>) -> Result<T, Error<E>> {
    answer.await.map_err(|_| Error::Gone)?.map_err(Error::Batch)
}

async fn run<I, T, E, F, Fut>(mut entries: mpsc::Receiver<Entry<I, T, E>>, items_max: usize, commit: F)
where
    F: Fn(Arc<Vec<I>>) -> Fut,
    Fut: Future<Output = Result<Vec<T>, E>>,
    E: std::error::Error + 'static,
{
    let mut batch = Vec::with_capacity(items_max);
    while entries.recv_many(&mut batch, items_max).await > 0 {
        // Nobody waits for these any more: their time is over, and nothing has been done yet.
        batch.retain(|entry| !entry.result.is_closed());
        if batch.is_empty() {
            continue;
        }
        let span = info_span!("sql.group_commit", items = batch.len());
        let (mut items, mut callers) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for Entry { item, result, span: caller } in batch.drain(..) {
            span.follows_from(caller.id());
            items.push(item);
            callers.push(result);
        }
        settle(Arc::new(items), callers, &commit).instrument(span).await;
    }
}

async fn settle<I, T, E, F, Fut>(
    items: Arc<Vec<I>>,
    callers: Vec<oneshot::Sender<Result<T, Arc<E>>>>,
    commit: &F,
) where
    F: Fn(Arc<Vec<I>>) -> Fut,
    Fut: Future<Output = Result<Vec<T>, E>>,
    E: std::error::Error + 'static,
{
    match commit(Arc::clone(&items)).await {
        // A caller that has gone away has its effect all the same; there is nobody to tell.
        Ok(results) => {
            debug_assert_eq!(results.len(), callers.len(), "commit returns one result for each item");
            for (caller, result) in callers.into_iter().zip(results) {
                let _ = caller.send(Ok(result));
            }
        }
        Err(error) if callers.len() > 1 && is_bad_value(&error) => {
            let items = Arc::into_inner(items).unwrap_or_default();
            for (caller, item) in callers.into_iter().zip(items) {
                Box::pin(settle(Arc::new(vec![item]), vec![caller], commit)).await;
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for caller in callers {
                let _ = caller.send(Err(Arc::clone(&error)));
            }
        }
    }
}
