//! Work on many items over the cores, in their order.

use std::thread::available_parallelism;

use futures::{StreamExt, stream};
use tokio::task::JoinSet;

use crate::error::Failure;

/// Fewer are done in the task at hand: a lone signature gains nothing from another task.
const ALONE_MAX: usize = 8;
/// Keys of a remote backend that are used at once by one of the tasks; a local key never waits.
const SIDE_BY_SIDE: usize = 16;

/// Does the work on each item; one task for each core where there are many.
pub async fn over_cores<T, U, F, Fut>(items: Vec<T>, work: F) -> Result<Vec<U>, Failure>
where
    T: Send + 'static,
    U: Send + 'static,
    F: Fn(T) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = U> + Send + 'static,
{
    if items.len() <= ALONE_MAX {
        return Ok(side_by_side(items, work).await);
    }
    let share = items.len().div_ceil(available_parallelism().map_or(1, usize::from));
    let mut items = items.into_iter();
    let mut tasks = JoinSet::new();
    let mut parts = Vec::new();
    while items.len() > 0 {
        let (number, part, work) = (parts.len(), items.by_ref().take(share).collect(), work.clone());
        parts.push(None);
        tasks.spawn(async move { (number, side_by_side(part, work).await) });
    }
    while let Some(ended) = tasks.join_next().await {
        let (number, done) = ended?;
        parts[number] = Some(done);
    }
    Ok(parts.into_iter().flatten().flatten().collect())
}

async fn side_by_side<T, U, Fut: Future<Output = U>>(items: Vec<T>, work: impl Fn(T) -> Fut) -> Vec<U> {
    stream::iter(items).map(work).buffered(SIDE_BY_SIDE).collect().await
}
