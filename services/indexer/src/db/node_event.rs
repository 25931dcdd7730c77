//! Changes of nodes, in the order in which they were committed.
//!
//! Ids ascend with commits, because one holder of a lease writes them, one transaction after another.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Addr;
use store::{Error, statement};
use time::OffsetDateTime;
use uuid::Uuid;

/// A change of a node.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Ascends.
    pub id: i64,
    /// Network.
    pub network: String,
    /// The node, which may be gone by now.
    pub node_id: Uuid,
    /// Its name.
    pub name: String,
    /// Its signer.
    pub signer: Addr,
    /// The name of a check, PROCESS_REACHABLE, READY_TO_LOCK or VALIDATOR.
    pub subject: String,
    /// Before; empty at the first probe.
    pub before: String,
    /// Since then.
    pub after: String,
    /// One sentence for people.
    pub message: String,
    /// When it was found.
    pub at: OffsetDateTime,
}

/// Adds changes in their order; their ids are given by the table.
///
/// # Errors
/// When the statement fails.
pub async fn insert<C: ConnectionTrait>(tx: &C, rows: &[Row]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO indexer.node_event
                   (network, node_id, name, signer, subject, before, after, message, at)
               SELECT network, node_id, name, signer, subject, before, after, message, at
                 FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[],
                             $8::text[], $9::timestamptz[]) WITH ORDINALITY
                   AS new(network, node_id, name, signer, subject, before, after, message, at, place)
                ORDER BY place";
    let texts = |of: fn(&Row) -> &String| rows.iter().map(|row| of(row).clone()).collect::<Vec<_>>();
    let values = [
        texts(|row| &row.network).into(),
        rows.iter().map(|row| row.node_id).collect::<Vec<_>>().into(),
        texts(|row| &row.name).into(),
        rows.iter().map(|row| row.signer).collect::<Vec<_>>().into(),
        texts(|row| &row.subject).into(),
        texts(|row| &row.before).into(),
        texts(|row| &row.after).into(),
        texts(|row| &row.message).into(),
        rows.iter().map(|row| row.at).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing changes of nodes"))?;
    Ok(())
}

/// The changes on a network after one, oldest first.
///
/// # Errors
/// When the statement fails.
pub async fn after<C: ConnectionTrait>(
    db: &C,
    network: &str,
    id: i64,
    rows_max: u32,
) -> Result<Vec<Row>, Error> {
    let sql = "SELECT id, network, node_id, name, signer, subject, before, after, message, at
                 FROM indexer.node_event WHERE network = $1 AND id > $2 ORDER BY id LIMIT $3";
    let values = [network.into(), id.into(), i64::from(rows_max).into()];
    Row::find_by_statement(statement(sql, values))
        .all(db)
        .await
        .map_err(Error::at("reading changes of nodes"))
}

#[derive(FromQueryResult)]
struct Last {
    id: i64,
}

/// The last change on a network; 0 before the first.
///
/// # Errors
/// When the statement fails.
pub async fn last_id<C: ConnectionTrait>(db: &C, network: &str) -> Result<i64, Error> {
    let sql = "SELECT id FROM indexer.node_event WHERE network = $1 ORDER BY id DESC LIMIT 1";
    let last = Last::find_by_statement(statement(sql, [network.into()])).one(db).await;
    Ok(last.map_err(Error::at("reading the last change of a node"))?.map_or(0, |last| last.id))
}

/// Removes at most so many changes that are older than a time; how many there were.
///
/// # Errors
/// When the statement fails.
pub async fn prune<C: ConnectionTrait>(tx: &C, before: OffsetDateTime, rows_max: u32) -> Result<u64, Error> {
    let sql = "DELETE FROM indexer.node_event WHERE id IN
                   (SELECT id FROM indexer.node_event WHERE at < $1 ORDER BY at LIMIT $2)";
    let values = [before.into(), i64::from(rows_max).into()];
    let done =
        tx.execute_raw(statement(sql, values)).await.map_err(Error::at("removing old changes of nodes"))?;
    Ok(done.rows_affected())
}
