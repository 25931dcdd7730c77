//! The one way to follow a network: from any cursor on, reverts first, then commits, then heads, without end.
//!
//! A consumer holds nothing here but its place: what comes next is read when it is asked for, so that a slow
//! consumer costs nothing and a restart of ours is invisible to it.

use std::collections::VecDeque;
use std::sync::Arc;

use api::indexer::v1 as wire;
use futures::Stream;
use futures::stream::try_unfold;
use runtime::shutdown::Shutdown;
use tokio::sync::watch;

use super::look::{Looks, Place};
use super::{Context, Error, Served};
use crate::cursor::Cursor;
use crate::metrics::Metrics;

/// One consumer.
struct Consumer {
    context: Context,
    network: String,
    looks: Looks,
    place: Place,
    waiting: VecDeque<wire::StreamEventsResponse>,
    wake: watch::Receiver<u64>,
    shutdown: Shutdown,
    _open: Open,
}

/// Counts a stream while it lives.
struct Open(Metrics, String);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams(&self.1, -1);
    }
}

/// The messages after the cursor of the request. They end with the shutdown only.
///
/// # Errors
/// When the network or the cursor is wrong.
pub fn open(
    context: &Context,
    request: &wire::StreamEventsRequest,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<impl Stream<Item = Result<wire::StreamEventsResponse, Error>> + Send + use<>, Error> {
    let served: &Served = context.network("network", &request.network)?;
    let network = served.l1.network.clone();
    let cursor = Cursor::decode(&network, &request.after_cursor)
        .map_err(|malformed| api::convert::bad(&api::reasons::CURSOR_MALFORMED, "after_cursor", malformed))?;
    let wake = context
        .wake
        .listen(&network)
        .ok_or_else(|| api::convert::bad(&api::reasons::NETWORK_NOT_FOUND, "network", "is not configured"))?;
    metrics.streams(&network, 1);
    let consumer = Consumer {
        looks: served.looks.clone(),
        context: context.clone(),
        place: Place::at(cursor),
        waiting: VecDeque::new(),
        wake,
        shutdown: shutdown.clone(),
        _open: Open(metrics.clone(), network.clone()),
        network,
    };
    Ok(try_unfold(consumer, |mut consumer| async move {
        Ok(consumer.next().await?.map(|message| (message, consumer)))
    }))
}

impl Consumer {
    /// The next message; none after the shutdown.
    async fn next(&mut self) -> Result<Option<wire::StreamEventsResponse>, Error> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(Some(message));
            }
            if self.shutdown.is_stopped() {
                return Ok(None);
            }
            // Marked before looking: what changes while we look wakes us again.
            let version = *self.wake.borrow_and_update();
            self.look(version).await?;
            if self.waiting.is_empty() {
                tokio::select! {
                    // The sender lives as long as the service; if it is gone, so are we soon.
                    _ = self.wake.changed() => {}
                    () = self.shutdown.stopped() => return Ok(None),
                }
            }
        }
    }

    async fn look(&mut self, version: u64) -> Result<(), Error> {
        let served = self.context.network("network", &self.network)?;
        let sight = self.looks.after(&self.context.db, served, self.place, version).await?;
        self.place = sight.place;
        match Arc::try_unwrap(sight) {
            Ok(sight) => self.waiting.extend(sight.messages),
            Err(shared) => self.waiting.extend(shared.messages.iter().cloned()),
        }
        Ok(())
    }
}
