//! The ledger follows the event stream: each message and its cursor in one transaction.

mod entries;

use std::time::Duration;

use alloy_primitives::B256;
use api::indexer::v1::stream_events_response::Message;
use api::indexer::v1::{Commit, Head, Revert, StreamEventsRequest, StreamEventsResponse};
use api::types::v1::{BlockRef, Layer};
use domain::ids::{Height, Timestamp};
use runtime::shutdown::Shutdown;
use sea_orm::DatabaseConnection;
use store::lease::{self, Claim, FenceError, Lease};
use store::{Transaction, in_transaction};
use tracing::{info, warn};

use crate::db::{self, Block, position::Position};
use crate::{Indexer, metrics};

/// How long another replica waits before it takes over from one that is gone.
const LEASE_TTL: Duration = Duration::from_secs(10);

/// Pause after the stream or the database broke.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Follows one network. Assumes the cursor in `stream_position`; leaves behind the ledger at that cursor.
/// Twice is harmless: a second follower has no lease, and a message is applied with its cursor or not at all.
pub struct Loop {
    /// Network.
    pub network: String,
    /// Our schema.
    pub database: DatabaseConnection,
    /// The indexer.
    pub indexer: Indexer,
    /// When to end.
    pub shutdown: Shutdown,
}

/// Why following stopped for now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another replica took over.
    #[error("applying under the lease")]
    Fenced(#[from] FenceError),
    /// The database did not do it.
    #[error("storing the ledger")]
    Store(#[from] store::Error),
    /// The indexer broke off or refused.
    #[error("reading the event stream")]
    Stream(#[from] tonic::Status),
    /// The indexer sent something that no chain has.
    #[error("the stream carries {0}, which cannot be")]
    Nonsense(&'static str),
}

impl Loop {
    /// Runs until the drain begins.
    pub async fn run(self) {
        let claim = Claim {
            schema: "rewards",
            name: format!("follow:{}", self.network),
            holder: store::Holder::new("rewards"),
            ttl: LEASE_TTL,
        };
        let work = async {
            loop {
                match lease::while_held(&self.database, &claim, |lease| self.follow(&claim, lease)).await {
                    Ok(Some(Err(error))) => warn!(network = %self.network, "{}", runtime::report(&error)),
                    Ok(_) => {}
                    Err(error) => warn!(network = %self.network, "{}", runtime::report(&error)),
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        };
        tokio::select! {
            () = self.shutdown.draining() => {}
            () = work => {}
        }
    }

    /// Applies the stream from the stored cursor on until something breaks.
    async fn follow(&self, claim: &Claim, lease: Lease) -> Result<(), Error> {
        let position = db::position::of_network(&self.database, &self.network).await?;
        let after_cursor = position.as_ref().map(|at| at.cursor.clone()).unwrap_or_default();
        info!(network = %self.network, "the ledger follows from {:?}", position.as_ref().map(|at| at.block.number));
        let request = StreamEventsRequest { network: self.network.clone(), after_cursor };
        let mut stream = self.indexer.clone().stream_events(request).await?.into_inner();
        let mut position = position;
        while let Some(message) = stream.message().await? {
            let next = advance(&self.network, position.as_ref(), &message)?;
            self.apply(claim, lease, &message, &next).await?;
            metrics::at_height(&self.network, next.block.number.0);
            position = Some(next);
        }
        Ok(())
    }

    async fn apply(
        &self,
        claim: &Claim,
        lease: Lease,
        message: &StreamEventsResponse,
        next: &Position,
    ) -> Result<(), Error> {
        let network = self.network.as_str();
        in_transaction(&self.database, |tx| {
            Box::pin(async move {
                lease::fence(&tx, claim.schema, &claim.name, lease.epoch).await?;
                effect(&tx, network, message).await?;
                db::position::store(&tx, next).await?;
                Ok(())
            })
        })
        .await
    }
}

async fn effect(
    tx: &Transaction<'_, '_>,
    network: &str,
    message: &StreamEventsResponse,
) -> Result<(), Error> {
    match &message.message {
        Some(Message::Commit(commit)) if commit.layer() == Layer::L1 => {
            for committed in &commit.blocks {
                let block = block(committed.block.as_ref())?;
                for row in entries::of_block(block, &committed.events)? {
                    row.insert(tx, network).await?;
                }
            }
            Ok(())
        }
        Some(Message::Revert(revert)) if revert.layer() == Layer::L1 => {
            let to = block(revert.to.as_ref())?;
            Ok(db::entry::remove_above(tx, network, to.number).await?)
        }
        _ => Ok(()),
    }
}

/// Where the ledger stands after a message: L1 moves it, L2 only moves the cursor.
fn advance(
    network: &str,
    before: Option<&Position>,
    message: &StreamEventsResponse,
) -> Result<Position, Error> {
    let origin = Block { number: Height(0), hash: B256::ZERO, time: Timestamp(0) };
    let mut next = before.cloned().unwrap_or(Position {
        network: network.to_owned(),
        cursor: String::new(),
        block: origin,
        safe: Height(0),
        finalized: Height(0),
    });
    next.cursor.clone_from(&message.cursor);
    match &message.message {
        Some(Message::Commit(commit @ Commit { blocks, .. })) if commit.layer() == Layer::L1 => {
            if let Some(last) = blocks.last() {
                next.block = block(last.block.as_ref())?;
            }
        }
        Some(Message::Revert(revert @ Revert { to, .. })) if revert.layer() == Layer::L1 => {
            next.block = block(to.as_ref())?;
        }
        Some(Message::Head(head @ Head { latest, safe, finalized, .. })) if head.layer() == Layer::L1 => {
            next.block = block(latest.as_ref())?;
            next.safe = Height(*safe);
            next.finalized = Height(*finalized);
        }
        _ => {}
    }
    Ok(next)
}

fn block(wire: Option<&BlockRef>) -> Result<Block, Error> {
    let wire = wire.ok_or(Error::Nonsense("no block"))?;
    let time = wire.time.as_ref().ok_or(Error::Nonsense("a block without time"))?;
    Ok(Block {
        number: Height(wire.number),
        hash: wire.hash.parse().map_err(|_| Error::Nonsense("a malformed hash"))?,
        time: Timestamp(u64::try_from(time.seconds).map_err(|_| Error::Nonsense("a time before 1970"))?),
    })
}
