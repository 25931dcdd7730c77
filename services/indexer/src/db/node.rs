//! Nodes of operators and the last probe of each.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Addr;
use store::{Error, statement};
use time::OffsetDateTime;
use uuid::Uuid;

/// A node with its last probe.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Id.
    pub id: Uuid,
    /// Network.
    pub network: String,
    /// Name, unique on the network.
    pub name: String,
    /// Signer whose node it is.
    pub signer: Addr,
    /// Tendermint RPC.
    pub themis_rpc: String,
    /// themis REST.
    pub themis_rest: String,
    /// Bridge.
    pub bridge: String,
    /// l2geth.
    pub l2geth: String,
    /// L1 data transport.
    pub dtl: String,
    /// When it was probed last.
    pub probed_at: Option<OffsetDateTime>,
    /// What the probe found, as the probed half of the `Node` message.
    pub report: Option<Vec<u8>>,
    /// What was taken for true by it, as `nodes::settled` writes it.
    pub settled: Option<serde_json::Value>,
}

/// What a probe leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// When it was.
    pub probed_at: OffsetDateTime,
    /// The sequencer may lock.
    pub ready_to_lock: bool,
    /// The probed half of the `Node` message.
    pub report: Vec<u8>,
    /// What is taken for true.
    pub settled: serde_json::Value,
}

const SELECT: &str =
    "SELECT n.id, n.network, n.name, n.signer, n.themis_rpc, n.themis_rest, n.bridge, n.l2geth, n.dtl,
                             p.probed_at, p.report, p.settled
                        FROM indexer.node n LEFT JOIN indexer.node_probe p ON p.node_id = n.id";

/// Adds a node; `false` if the network has one of this name.
///
/// # Errors
/// When the statement fails.
pub async fn insert<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<bool, Error> {
    let Row {
        id,
        network,
        name,
        signer,
        themis_rpc,
        themis_rest,
        bridge,
        l2geth,
        dtl,
        probed_at: _,
        report: _,
        settled: _,
    } = row.clone();
    let sql =
        "INSERT INTO indexer.node (id, network, name, signer, themis_rpc, themis_rest, bridge, l2geth, dtl)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (network, name) DO NOTHING";
    let values = [
        id.into(),
        network.into(),
        name.into(),
        signer.into(),
        themis_rpc.into(),
        themis_rest.into(),
        bridge.into(),
        l2geth.into(),
        dtl.into(),
    ];
    let done = tx.execute_raw(statement(sql, values)).await.map_err(Error::at("adding a node"))?;
    Ok(done.rows_affected() == 1)
}

/// Takes a node out; `false` if there is none.
///
/// # Errors
/// When the statement fails.
pub async fn delete<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<bool, Error> {
    let sql = "DELETE FROM indexer.node WHERE id = $1";
    let done = tx.execute_raw(statement(sql, [id.into()])).await.map_err(Error::at("removing a node"))?;
    Ok(done.rows_affected() == 1)
}

/// Whether the network has a node of this name.
///
/// # Errors
/// When the statement fails.
pub async fn is_named<C: ConnectionTrait>(db: &C, network: &str, name: &str) -> Result<bool, Error> {
    let sql = format!("{SELECT} WHERE n.network = $1 AND n.name = $2");
    let row = Row::find_by_statement(statement(sql, [network.into(), name.into()])).one(db).await;
    Ok(row.map_err(Error::at("looking for a node"))?.is_some())
}

/// One node.
///
/// # Errors
/// When the statement fails.
pub async fn with_id<C: ConnectionTrait>(db: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("{SELECT} WHERE n.id = $1");
    Row::find_by_statement(statement(sql, [id.into()])).one(db).await.map_err(Error::at("reading a node"))
}

/// The newest node of a signer.
///
/// # Errors
/// When the statement fails.
pub async fn of_signer<C: ConnectionTrait>(
    db: &C,
    network: &str,
    signer: Addr,
) -> Result<Option<Row>, Error> {
    let sql = format!("{SELECT} WHERE n.network = $1 AND n.signer = $2 ORDER BY n.created_at DESC LIMIT 1");
    Row::find_by_statement(statement(sql, [network.into(), signer.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading the node of a signer"))
}

/// Nodes after a place, by network and name; of one network if named.
///
/// # Errors
/// When the statement fails.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    network: Option<&str>,
    after: (&str, &str),
    rows_max: u32,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "{SELECT} WHERE ($1::text IS NULL OR n.network = $1) AND (n.network, n.name) > ($2, $3)
          ORDER BY n.network, n.name LIMIT $4"
    );
    let values = [network.into(), after.0.into(), after.1.into(), i64::from(rows_max).into()];
    Row::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("listing nodes"))
}

/// Keeps what a probe found and what is taken for true by it; `false` if the node was removed meanwhile.
///
/// # Errors
/// When the statement fails.
pub async fn put_probe<C: ConnectionTrait>(tx: &C, id: Uuid, probe: &Probe) -> Result<bool, Error> {
    let Probe { probed_at, ready_to_lock, report, settled } = probe.clone();
    let sql = "INSERT INTO indexer.node_probe (node_id, probed_at, ready_to_lock, report, settled)
               SELECT id, $2, $3, $4, $5 FROM indexer.node WHERE id = $1
               ON CONFLICT (node_id) DO UPDATE SET probed_at = excluded.probed_at,
                   ready_to_lock = excluded.ready_to_lock, report = excluded.report, settled = excluded.settled";
    let values = [id.into(), probed_at.into(), ready_to_lock.into(), report.into(), settled.into()];
    let done = tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing a probe"))?;
    Ok(done.rows_affected() == 1)
}
