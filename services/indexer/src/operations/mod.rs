//! What can be asked, one file for each subject: load in one view, convert, answer.

pub mod digest;
pub mod epochs;
pub mod events;
pub mod export;
pub mod look;
pub mod messages;
pub mod networks;
pub mod nodes;
pub mod reconcile;
pub mod records;
pub mod reorgs;
pub mod resync;
pub mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::reasons;
use api::types::v1 as types;
use chain::rpc::{BlockId, call};
use runtime::errors::{Refusal, database_away, internal};
use sea_orm::DatabaseConnection;
use tonic::Status;

use crate::db::{Layer, block as blocks, checkpoint, column, height};
use crate::fold::wire;
use crate::nodes::client::Client;
use crate::source::Source;
use crate::wake::Wake;
use look::Looks;

/// Time for an endpoint to name a block that is not kept here; without it the answer has the height only.
const NAMING: Duration = Duration::from_secs(2);

/// A network that is served.
#[derive(Debug, Clone)]
pub struct Served {
    /// Ethereum.
    pub l1: Source,
    /// Metis, where it is followed.
    pub l2: Option<Source>,
    /// `node_info.network` of its themis nodes, where known.
    pub themis_network: Option<String>,
    /// What consumers of its events share.
    pub looks: Looks,
}

impl Served {
    /// One of its chains, if it is followed.
    pub fn source(&self, layer: Layer) -> Option<&Source> {
        match layer {
            Layer::L1 => Some(&self.l1),
            Layer::L2 => self.l2.as_ref(),
        }
    }
}

impl Served {
    /// The chain of a request.
    ///
    /// # Errors
    /// When it is unspecified, unknown, or not followed.
    pub fn layer(&self, field: &str, layer: i32) -> Result<&Source, Refusal> {
        match types::Layer::try_from(layer) {
            Ok(types::Layer::L1) => Ok(&self.l1),
            Ok(types::Layer::L2) => self.l2.as_ref().ok_or_else(|| self.without_l2(field)),
            Ok(types::Layer::Unspecified) | Err(_) => {
                Err(api::convert::bad(&reasons::ENUM_UNSPECIFIED, field, "choose one of the two layers"))
            }
        }
    }

    /// The refusal of a field that is about L2, where that is not followed.
    pub fn without_l2(&self, field: &str) -> Refusal {
        let network = self.l1.network.as_str();
        Refusal::new(&reasons::LAYER_NOT_FOLLOWED, format!("L2 of {network} is not followed"))
            .field(field, "L2 is not followed")
            .meta("network", network)
    }
}

/// What operations work with.
#[derive(Debug, Clone)]
pub struct Context {
    /// The tables.
    pub db: DatabaseConnection,
    /// Networks by name.
    pub networks: Arc<BTreeMap<String, Served>>,
    /// Who tells of changes.
    pub wake: Wake,
    /// How nodes are asked.
    pub client: Client,
}

impl Context {
    /// The network of a request.
    ///
    /// # Errors
    /// When it is missing, malformed or not configured.
    pub fn network(&self, field: &str, name: &str) -> Result<&Served, Refusal> {
        let name = api::convert::network(field, name)?;
        self.networks.get(name.as_str()).ok_or_else(|| {
            Refusal::new(&reasons::NETWORK_NOT_FOUND, format!("the network {name} is not configured"))
                .field(field, "is not configured")
                .meta("network", name)
        })
    }
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rules say no.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// The database failed.
    #[error("reading the index")]
    Store(#[from] store::Error),
    /// A stored message does not decode.
    #[error("decoding a stored message")]
    Decode(#[from] prost::DecodeError),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal.status(),
            failure if store::is_away(&failure) => database_away(&failure),
            failure => internal(&failure),
        }
    }
}

/// A stored block on the wire.
pub fn block(tip: &checkpoint::Tip) -> types::BlockRef {
    let time = u64::try_from(tip.time.unix_timestamp()).unwrap_or(0);
    wire::block(height(tip.number), tip.hash.0, time)
}

/// The block an answer rests on, and how firm it is.
pub fn as_of(row: &checkpoint::Row) -> Option<types::AsOf> {
    let tip = row.tip()?;
    Some(types::AsOf {
        network: row.network.clone(),
        block: Some(block(&tip)),
        finality: finality(row, tip.number).into(),
    })
}

/// How firm a height is.
pub fn finality(row: &checkpoint::Row, number: i64) -> types::Finality {
    if number <= row.finalized {
        types::Finality::Finalized
    } else if number <= row.safe {
        types::Finality::Safe
    } else {
        types::Finality::Latest
    }
}

/// The checkpoint of a chain, for the answer that rests on it.
///
/// # Errors
/// When it cannot be read, or nothing is indexed yet.
pub async fn checkpoint_of<C: sea_orm::ConnectionTrait>(
    view: &C,
    network: &str,
    layer: Layer,
) -> Result<checkpoint::Row, Error> {
    let row = checkpoint::of(view, network, layer).await?.filter(|row| row.number.is_some());
    row.ok_or_else(|| {
        let what = format!("nothing of {network} {} is indexed yet", layer.name());
        Refusal::new(&reasons::INDEX_BEHIND, what).meta("network", network).into()
    })
}

/// The height an answer rests on: the one asked for, or for 0 the last indexed one.
///
/// # Errors
/// When it is not indexed, or never will be.
pub fn at_height(source: &Source, row: &checkpoint::Row, field: &str, asked: u64) -> Result<i64, Refusal> {
    let (start, indexed) = (source.start(), row.number.map_or(0, height));
    match asked {
        0 => Ok(column(indexed)),
        asked if asked > indexed => {
            let what = format!("block {asked} is not indexed yet, the last is {indexed}");
            Err(Refusal::new(&reasons::INDEX_BEHIND, what).meta("indexed", indexed))
        }
        asked if asked < start => {
            let why = format!("the first block indexed is {start}");
            Err(api::convert::bad(&reasons::BLOCK_BELOW_START, field, why).meta("start_block", start))
        }
        asked => Ok(column(asked)),
    }
}

/// The block of this height, for the answer that rests on it. Of final blocks without events the tables keep nothing:
/// an endpoint names them, or nobody does.
///
/// # Errors
/// When the tables cannot be read.
pub async fn as_of_height<C: sea_orm::ConnectionTrait>(
    view: &C,
    source: &Source,
    row: &checkpoint::Row,
    number: i64,
) -> Result<types::AsOf, Error> {
    let tip = row.tip().filter(|tip| tip.number == number);
    let stored = blocks::down_from(view, &source.network, source.layer, number, 1).await?;
    let stored = stored.into_iter().find(|stored| stored.number == number);
    let stored = stored.map(|row| checkpoint::Tip { number, hash: row.hash, time: row.time });
    let block = match tip.or(stored) {
        Some(known) => block(&known),
        None => {
            let header = call::header(BlockId::Number(height(number))).within(NAMING);
            match source.pool.ask(header).await {
                Ok(Some(header)) => wire::block(header.number, header.hash, header.timestamp),
                Ok(None) | Err(_) => types::BlockRef { number: height(number), ..Default::default() },
            }
        }
    };
    let finality = finality(row, number).into();
    Ok(types::AsOf { network: source.network.clone(), block: Some(block), finality })
}
