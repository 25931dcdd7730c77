//! The one way to follow a network: from any cursor on, reverts first, then commits, then heads, without end.
//!
//! A consumer holds nothing here but its position: each message is read from the tables when it is asked for, in
//! one view, so that a slow consumer costs nothing and a restart of ours is invisible to it.

use std::collections::VecDeque;
use std::time::Duration;

use api::indexer::v1 as wire;
use api::indexer::v1::stream_events_response::Message as Body;
use api::types::v1 as types;
use futures::Stream;
use futures::stream::try_unfold;
use prost::Message;
use runtime::shutdown::Shutdown;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::sync::watch;

use super::{Context, Error, block};
use crate::cursor::Cursor;
use crate::db::{self, Layer, block as blocks, checkpoint, column, height, log, reorg};
use crate::metrics::Metrics;
use crate::reconcile::follow::At;

/// Events of one message: about 200 kB, far below what clients take.
const PAGE_EVENTS: i64 = 500;

/// A block has no more events than its gas pays for, about 2,000 at most: it always fits one message.
const BLOCK_EVENTS_MAX: i64 = 10_000;

/// Wake-ups may be lost, as between replicas; this is the longest that a message is late then.
const LOOK_EVERY: Duration = Duration::from_millis(1_000);

/// What was last told of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    tip: checkpoint::Tip,
    safe: i64,
    finalized: i64,
}

/// One consumer.
struct Consumer {
    db: DatabaseConnection,
    network: String,
    cursor: Cursor,
    told: [Option<Told>; 2],
    waiting: VecDeque<wire::StreamEventsResponse>,
    wake: watch::Receiver<()>,
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
    let network = context.network("network", &request.network)?.l1.network.clone();
    let cursor = Cursor::decode(&network, &request.after_cursor)
        .map_err(|malformed| api::convert::bad(&api::reasons::CURSOR_MALFORMED, "after_cursor", malformed))?;
    let wake = context
        .wake
        .listen(&network)
        .ok_or_else(|| api::convert::bad(&api::reasons::NETWORK_NOT_FOUND, "network", "is not configured"))?;
    metrics.streams(&network, 1);
    let consumer = Consumer {
        db: context.db.clone(),
        cursor,
        told: [None, None],
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
            self.wake.mark_unchanged();
            self.look().await?;
            if self.waiting.is_empty() {
                let late = LOOK_EVERY.mul_f64(rand::random_range(0.8..1.2));
                tokio::select! {
                    // The sender lives as long as the service; if it is gone, so are we soon.
                    _ = self.wake.changed() => {}
                    () = tokio::time::sleep(late) => {}
                    () = self.shutdown.stopped() => return Ok(None),
                }
            }
        }
    }

    /// Reads what comes next of each chain, in one view.
    async fn look(&mut self) -> Result<(), Error> {
        let view = db::snapshot(&self.db).await?;
        for layer in [Layer::L1, Layer::L2] {
            let Some(row) = checkpoint::of(&view, &self.network, layer).await? else { continue };
            if let Some(to) = self.revert(&view, layer, &row).await? {
                self.put(layer, to.as_ref().map(at), |_| {
                    let to = to.as_ref().map_or_else(|| before(&row), block);
                    Body::Revert(wire::Revert { layer: layer.wire().into(), to: Some(to) })
                });
                self.told[index(layer)] = None;
            }
            let Some(tip) = row.tip() else { continue };
            if let Some((blocks, reached)) = self.commit(&view, layer, &tip).await? {
                self.put(layer, Some(reached), |_| {
                    Body::Commit(wire::Commit { layer: layer.wire().into(), blocks })
                });
                if reached.number < height(tip.number) {
                    continue;
                }
            }
            self.head(layer, &row, tip);
        }
        // Nothing was written; a commit ends the view without the noise of a rollback.
        view.commit().await.map_err(|source| store::Error::Transaction { step: "committing", source })?;
        Ok(())
    }

    /// How far back the consumer must go: `Some(None)` is before the first block.
    async fn revert<C: ConnectionTrait>(
        &self,
        view: &C,
        layer: Layer,
        row: &checkpoint::Row,
    ) -> Result<Option<Option<checkpoint::Tip>>, Error> {
        let Some(stands) = self.cursor.of(layer) else { return Ok(None) };
        if row.hash.is_some_and(|hash| hash.0 == stands.hash) {
            return Ok(None);
        }
        let to = match blocks::with_hash(view, &self.network, layer, stands.hash.into()).await? {
            Some(blocks::Row { orphaned_by: None, .. }) => return Ok(None),
            Some(blocks::Row { orphaned_by: Some(reorg), .. }) => {
                reorg::lowest_since(view, &self.network, layer, reorg).await?
            }
            // These tables were made anew since: all of it is told again.
            None => None,
        };
        let Some(to) = to else { return Ok(Some(None)) };
        let found = blocks::canonical_down_from(view, &self.network, layer, to, 1).await?;
        Ok(Some(found.first().map(|row| checkpoint::Tip {
            number: row.number,
            hash: row.hash,
            time: row.time,
        })))
    }

    /// The next blocks with events, up to a page; none if no event is left.
    async fn commit<C: ConnectionTrait>(
        &self,
        view: &C,
        layer: Layer,
        tip: &checkpoint::Tip,
    ) -> Result<Option<(Vec<wire::CommittedBlock>, At)>, Error> {
        let above = self.cursor.of(layer).map_or(-1, |at| column(at.number));
        let mut rows = log::between(view, &self.network, layer, (above, tip.number), PAGE_EVENTS).await?;
        let full = rows.len() as i64 == PAGE_EVENTS;
        if let (true, Some(last)) = (full, rows.last().map(|row| row.number)) {
            // The last block of a full page may be cut: leave it to the next, or take it whole.
            if rows.first().is_some_and(|first| first.number < last) {
                rows.retain(|row| row.number < last);
            } else {
                let whole = (last - 1, last);
                rows = log::between(view, &self.network, layer, whole, BLOCK_EVENTS_MAX).await?;
            }
        }
        let mut committed = by_block(&rows)?;
        let Some(last) = committed.last().and_then(|block| block.block.clone()) else { return Ok(None) };
        if full {
            let hash = last.hash.parse().map_err(|_| store::Error::Row { what: "an event" })?;
            return Ok(Some((committed, At { number: last.number, hash })));
        }
        if last.number < height(tip.number) {
            committed.push(wire::CommittedBlock { block: Some(block(tip)), events: Vec::new() });
        }
        Ok(Some((committed, at(tip))))
    }

    /// Where the chain is, if that was not told yet.
    fn head(&mut self, layer: Layer, row: &checkpoint::Row, tip: checkpoint::Tip) {
        let now = Told { tip, safe: row.safe, finalized: row.finalized };
        if self.told[index(layer)] == Some(now) {
            return;
        }
        self.told[index(layer)] = Some(now);
        self.put(layer, Some(at(&tip)), |_| {
            Body::Head(wire::Head {
                layer: layer.wire().into(),
                latest: Some(block(&tip)),
                safe: height(row.safe),
                finalized: height(row.finalized),
            })
        });
    }

    fn put(&mut self, layer: Layer, reached: Option<At>, body: impl FnOnce(&Self) -> Body) {
        let message = body(self);
        self.cursor.set(layer, reached);
        let cursor = self.cursor.encode(&self.network);
        self.waiting.push_back(wire::StreamEventsResponse { cursor, message: Some(message) });
    }
}

fn index(layer: Layer) -> usize {
    match layer {
        Layer::L1 => 0,
        Layer::L2 => 1,
    }
}

fn at(tip: &checkpoint::Tip) -> At {
    At { number: height(tip.number), hash: tip.hash.0 }
}

/// The block before the first, for a revert of everything.
fn before(row: &checkpoint::Row) -> types::BlockRef {
    crate::fold::wire::block(height(row.start_block - 1), Default::default(), 0)
}

fn by_block(rows: &[log::Sent]) -> Result<Vec<wire::CommittedBlock>, Error> {
    let mut committed: Vec<wire::CommittedBlock> = Vec::new();
    for row in rows {
        let event = wire::ChainEvent::decode(row.event.as_slice())?;
        let block = event.at.as_ref().and_then(|at| at.block.clone());
        match committed.last_mut().filter(|last| last.block == block) {
            Some(last) => last.events.push(event),
            None => committed.push(wire::CommittedBlock { block, events: vec![event] }),
        }
    }
    Ok(committed)
}
