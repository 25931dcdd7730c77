//! One file per verb: load, let `domain` decide, answer. Nothing here writes.

pub mod balance;
pub mod entries;
mod pending;
pub mod rate;
pub mod reconciliation;
pub mod summary;

use api::convert;
use api::reasons::{INDEX_BEHIND, NETWORK_NOT_FOUND};
use api::types::v1::{AsOf, BlockRef, Finality};
use domain::ids::Height;
use runtime::errors::{Refusal, database_away, internal};
use tonic::Status;

use crate::db::{self, position::Position};
use crate::rpc::Rewards;

/// Where the ledger of a network stands.
async fn position(rewards: &Rewards, network: &str) -> Result<Position, Status> {
    let network = convert::network("network", network)?;
    let position = db::position::of_network(&rewards.database, network.as_str())
        .await
        .map_err(|error| failed(&error))?;
    position.ok_or_else(|| {
        Refusal::new(&NETWORK_NOT_FOUND, format!("there is no ledger of network {network}"))
            .field("network", "not configured here, or nothing indexed yet")
            .into()
    })
}

/// The answer when a query has failed.
fn failed(error: &store::Error) -> Status {
    if store::is_away(error) {
        return database_away(error);
    }
    internal(error)
}

/// The height that a request asks for; 0 is where the ledger stands.
fn height(position: &Position, at_block: u64) -> Result<Height, Refusal> {
    match at_block {
        0 => Ok(position.block.number),
        asked if asked <= position.block.number.0 => Ok(Height(asked)),
        asked => {
            Err(Refusal::new(&INDEX_BEHIND, format!("the ledger stands at block {}", position.block.number))
                .field("at_block", format!("{asked} is above it"))
                .meta("block", position.block.number))
        }
    }
}

/// The block of an answer: of an older height only the number is told, its finality is that of the height.
fn as_of(position: &Position, at: Height) -> AsOf {
    let finality = if at <= position.finalized {
        Finality::Finalized
    } else if at <= position.safe {
        Finality::Safe
    } else {
        Finality::Latest
    };
    let block = if at == position.block.number {
        BlockRef {
            number: at.0,
            hash: position.block.hash.to_string(),
            time: Some(convert::wire_time(position.block.time)),
        }
    } else {
        BlockRef { number: at.0, hash: String::new(), time: None }
    };
    AsOf { network: position.network.clone(), block: Some(block), finality: finality.into() }
}
