//! What can be asked, one file for each subject: load in one view, convert, answer.

pub mod epochs;
pub mod events;
pub mod networks;
pub mod nodes;
pub mod records;
pub mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::reasons;
use api::types::v1 as types;
use runtime::errors::{Refusal, database_away, internal};
use sea_orm::DatabaseConnection;
use tonic::Status;

use crate::db::{Layer, checkpoint, height};
use crate::fold::wire;
use crate::source::Source;
use crate::wake::Wake;

/// A network that is served.
#[derive(Debug, Clone)]
pub struct Served {
    /// Ethereum.
    pub l1: Source,
    /// Metis, where it is followed.
    pub l2: Option<Source>,
    /// `node_info.network` of its themis nodes, where known.
    pub themis_network: Option<String>,
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
