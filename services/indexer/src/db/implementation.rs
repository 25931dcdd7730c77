//! Implementations behind the pool's proxy, by the block from which each stood there (P 1.11).

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Addr;
use store::rows::Rows;
use store::{Error, statement};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Height from which it stood there.
    pub number: i64,
    /// The implementation.
    pub address: Addr,
}

/// Implementations as rows, at most one for each block.
pub fn rows(network: &str, implementations: &[Row]) -> Rows {
    let mut rows = Rows::of("indexer.implementation (network, number, address)");
    for Row { number, address } in implementations {
        rows.row().text(network).bigint(*number).bytes(address.0);
    }
    rows
}

/// The one that stood there after block `number`.
///
/// # Errors
/// When the statement fails.
pub async fn as_of<C: ConnectionTrait>(db: &C, network: &str, number: i64) -> Result<Option<Row>, Error> {
    let sql = "SELECT number, address FROM indexer.implementation
                WHERE network = $1 AND number <= $2 ORDER BY number DESC LIMIT 1";
    Row::find_by_statement(statement(sql, [network.into(), number.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading the implementation of the pool"))
}
