//! What comes after a cursor: reverts, commits, heads and changes of nodes, read from the tables in one view.
//!
//! Consumers that stand at the same place share one look, so that hundreds at the head cost what one does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use api::indexer::v1 as wire;
use api::indexer::v1::stream_events_response::Message as Body;
use api::types::v1 as types;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::sync::OnceCell;

use super::networks::timestamp;
use super::{Error, Served, block, messages};
use crate::cursor::{Cursor, Position};
use crate::db::{self, Layer, block as blocks, checkpoint, column, height, log, node_event, reorg};
use crate::reconcile::follow::At;

/// Events of one message: about 200 kB, far below what clients take.
const PAGE_EVENTS: i64 = 500;
/// A block has no more events than its gas pays for, about 2,000 at most: it always fits one message.
const BLOCK_EVENTS_MAX: i64 = 10_000;
/// Changes of nodes told at once.
const PAGE_NODE_CHANGES: u32 = 100;
/// Looks that are kept for others: consumers at the head stand at one place, those that replay at few.
const LOOKS_KEPT: usize = 32;

/// What was last told of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    tip: checkpoint::Tip,
    safe: i64,
    finalized: i64,
    held: Option<i64>,
}

/// Where a consumer stands, and what it was told of the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The cursor.
    pub cursor: Cursor,
    told: [Option<Told>; 2],
}

/// What comes after a place.
#[derive(Debug)]
pub struct Sight {
    /// The messages in order.
    pub messages: Vec<wire::StreamEventsResponse>,
    /// The place after them.
    pub place: Place,
}

impl Place {
    /// At a cursor, told of nothing.
    pub fn at(cursor: Cursor) -> Self {
        Self { cursor, told: [None; 2] }
    }
}

type Cell = Arc<OnceCell<Arc<Sight>>>;

/// Looks of one network that several may share; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Looks(Arc<Mutex<VecDeque<(Place, u64, Cell)>>>);

impl Looks {
    /// What comes after a place, as of this version of the tables.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn after(
        &self,
        db: &DatabaseConnection,
        served: &Served,
        place: Place,
        version: u64,
    ) -> Result<Arc<Sight>, Error> {
        let cell = self.cell(place, version);
        cell.get_or_try_init(|| async { look(db, served, place).await.map(Arc::new) }).await.cloned()
    }

    fn cell(&self, place: Place, version: u64) -> Cell {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, cell)) = kept.iter().find(|(at, of, _)| (*at, *of) == (place, version)) {
            return cell.clone();
        }
        let cell = Cell::default();
        kept.push_front((place, version, cell.clone()));
        kept.truncate(LOOKS_KEPT);
        cell
    }
}

/// One look being made.
struct Looking<'a> {
    served: &'a Served,
    network: &'a str,
    sight: Sight,
}

async fn look(db: &DatabaseConnection, served: &Served, place: Place) -> Result<Sight, Error> {
    let view = db::snapshot(db).await?;
    let sight = Sight { messages: Vec::new(), place };
    let mut looking = Looking { served, network: &served.l1.network, sight };
    let held = reorg::unacknowledged(&view, looking.network).await?;
    for layer in [Layer::L1, Layer::L2] {
        if let Some(row) = checkpoint::of(&view, looking.network, layer).await? {
            looking.chain(&view, layer, &row, held).await?;
        }
    }
    looking.nodes(&view).await?;
    // Nothing was written; a commit ends the view without the noise of a rollback.
    view.commit().await.map_err(|source| store::Error::Transaction { step: "committing", source })?;
    Ok(looking.sight)
}

impl Looking<'_> {
    /// What comes next of one chain.
    async fn chain<C: ConnectionTrait>(
        &mut self,
        view: &C,
        layer: Layer,
        row: &checkpoint::Row,
        held: Option<i64>,
    ) -> Result<(), Error> {
        let since = reorg::since(view, self.network, layer, self.sight.place.cursor.of(layer).reorg).await?;
        if let Some((to, below_finalized)) = self.revert(view, layer, row, &since).await? {
            let reference = to.as_ref().map_or_else(|| before(row), block);
            let layer_column = layer.wire().into();
            let body = wire::Revert { layer: layer_column, to: Some(reference), below_finalized };
            self.put(layer, Position { at: to.as_ref().map(at), reorg: since.last }, Body::Revert(body));
            self.sight.place.told[index(layer)] = None;
        }
        let Some(tip) = row.tip() else { return Ok(()) };
        if let Some((blocks, reached)) = self.commit(view, layer, &tip).await? {
            let position = Position { at: Some(reached), reorg: since.last };
            self.put(layer, position, Body::Commit(wire::Commit { layer: layer.wire().into(), blocks }));
            if reached.number < height(tip.number) {
                return Ok(());
            }
        }
        self.head(layer, row, Told { tip, safe: row.safe, finalized: row.finalized, held }, since.last);
        Ok(())
    }

    /// How far back the consumer must go, if it must: none is before the first block.
    async fn revert<C: ConnectionTrait>(
        &self,
        view: &C,
        layer: Layer,
        row: &checkpoint::Row,
        since: &reorg::Since,
    ) -> Result<Option<(Option<checkpoint::Tip>, bool)>, Error> {
        let Position { at: stands, reorg } = self.sight.place.cursor.of(layer);
        let Some(stands) = stands else { return Ok(None) };
        let lowest = since.lowest.filter(|lowest| *lowest < column(stands.number));
        if let Some(lowest) = lowest {
            let found = blocks::down_from(view, self.network, layer, lowest, 1).await?;
            let tip = found.first().map(|row| checkpoint::Tip {
                number: row.number,
                hash: row.hash,
                time: row.time,
            });
            return Ok(Some((tip, since.below_finalized)));
        }
        let there = blocks::down_from(view, self.network, layer, column(stands.number), 1).await?;
        let there = there.first().filter(|row| height(row.number) == stands.number);
        // These tables were made anew since: all of it is told again.
        let anew = reorg > since.last
            || row.number.is_none_or(|number| number < column(stands.number))
            || there.is_some_and(|row| row.hash.0 != stands.hash);
        Ok(anew.then_some((None, false)))
    }

    /// The next blocks with events, up to a page; none if no event is left.
    async fn commit<C: ConnectionTrait>(
        &self,
        view: &C,
        layer: Layer,
        tip: &checkpoint::Tip,
    ) -> Result<Option<(Vec<wire::CommittedBlock>, At)>, Error> {
        let above = self.sight.place.cursor.of(layer).at.map_or(-1, |at| column(at.number));
        let mut rows = log::between(view, self.network, layer, (above, tip.number), PAGE_EVENTS).await?;
        let full = rows.len() as i64 == PAGE_EVENTS;
        if let (true, Some(last)) = (full, rows.last().map(|row| row.number)) {
            // The last block of a full page may be cut: leave it to the next, or take it whole.
            if rows.first().is_some_and(|first| first.number < last) {
                rows.retain(|row| row.number < last);
            } else {
                let whole = (last - 1, last);
                rows = log::between(view, self.network, layer, whole, BLOCK_EVENTS_MAX).await?;
            }
        }
        let Some(last) = rows.last() else { return Ok(None) };
        let reached = At { number: height(last.number), hash: last.block_hash.0 };
        let mut committed = by_block(messages::of(view, self.served, &rows).await?);
        if full {
            return Ok(Some((committed, reached)));
        }
        if reached.number < height(tip.number) {
            committed.push(wire::CommittedBlock { block: Some(block(tip)), events: Vec::new() });
        }
        Ok(Some((committed, at(tip))))
    }

    /// Where the chain is, if that was not told yet.
    fn head(&mut self, layer: Layer, row: &checkpoint::Row, now: Told, reorg: i64) {
        let told = &mut self.sight.place.told[index(layer)];
        if *told == Some(now) {
            return;
        }
        *told = Some(now);
        let head = wire::Head {
            layer: layer.wire().into(),
            latest: Some(block(&now.tip)),
            safe: height(row.safe),
            finalized: height(row.finalized),
            unacknowledged_reorg_id: now.held.map_or(0, height),
        };
        self.put(layer, Position { at: Some(at(&now.tip)), reorg }, Body::Head(head));
    }

    /// Changes of nodes.
    async fn nodes<C: ConnectionTrait>(&mut self, view: &C) -> Result<(), Error> {
        let after = self.sight.place.cursor.node_change;
        for row in node_event::after(view, self.network, after, PAGE_NODE_CHANGES).await? {
            self.sight.place.cursor.node_change = row.id;
            let change = wire::NodeChange {
                id: height(row.id),
                node_id: row.node_id.to_string(),
                name: row.name,
                signer: crate::fold::wire::address(row.signer.0),
                subject: row.subject,
                before: row.before,
                after: row.after,
                message: row.message,
                time: Some(timestamp(row.at)),
            };
            self.send(Body::NodeChange(change));
        }
        Ok(())
    }

    fn put(&mut self, layer: Layer, position: Position, body: Body) {
        self.sight.place.cursor.set(layer, position);
        self.send(body);
    }

    fn send(&mut self, body: Body) {
        let cursor = self.sight.place.cursor.encode(self.network);
        self.sight.messages.push(wire::StreamEventsResponse { cursor, message: Some(body) });
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

fn by_block(events: Vec<wire::ChainEvent>) -> Vec<wire::CommittedBlock> {
    let mut committed: Vec<wire::CommittedBlock> = Vec::new();
    for event in events {
        let block = event.at.as_ref().and_then(|at| at.block.clone());
        match committed.last_mut().filter(|last| last.block == block) {
            Some(last) => last.events.push(event),
            None => committed.push(wire::CommittedBlock { block, events: vec![event] }),
        }
    }
    committed
}
