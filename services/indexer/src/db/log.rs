//! Logs of canonical blocks as they came, with the few words by which they are found.

use alloy_primitives::{Address, B256, U256};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use store::column::{Addr, Hash, Wei};
use store::rows::Rows;
use store::{Error, statement};
use time::OffsetDateTime;

use super::Layer;

/// Kind of the METIS transfers that are kept as evidence for other logs, and never listed.
pub const EVIDENCE: &str = "Transfer";

/// One log on its way into the table; it borrows from the answer that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<'a> {
    /// Height of its block.
    pub number: i64,
    /// Place in the block.
    pub log_index: i32,
    /// Place of the transaction in the block.
    pub transaction_index: i32,
    /// Emitting contract.
    pub address: Address,
    /// Topics, at most four.
    pub topics: &'a [B256],
    /// What is not indexed.
    pub data: &'a [u8],
    /// Contract event name.
    pub kind: &'static str,
    /// Sequencer it is about.
    pub sequencer_id: Option<i64>,
    /// Of a Relocked: the part that came from unclaimed reward.
    pub from_reward: Option<U256>,
}

/// One log as it is read, with its block and transaction.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Stored {
    /// Which chain.
    pub layer: i16,
    /// Height.
    pub number: i64,
    /// Place in the block.
    pub log_index: i32,
    /// Place of the transaction in the block.
    pub transaction_index: i32,
    /// Emitting contract.
    pub address: Addr,
    /// First topic, which names the event.
    pub topic0: Option<Hash>,
    /// Second topic.
    pub topic1: Option<Hash>,
    /// Third topic.
    pub topic2: Option<Hash>,
    /// Fourth topic.
    pub topic3: Option<Hash>,
    /// What is not indexed.
    pub data: Vec<u8>,
    /// Contract event name.
    pub kind: String,
    /// Of a Relocked: the part that came from unclaimed reward.
    pub from_reward: Option<Wei>,
    /// Its block.
    pub block_hash: Hash,
    /// Time of its block.
    pub block_time: OffsetDateTime,
    /// Its transaction.
    pub transaction_hash: Hash,
    /// Sender of the transaction, where known.
    pub sender: Option<Addr>,
}

impl Stored {
    /// The topics in their order.
    pub fn topics(&self) -> Vec<B256> {
        let topics = [self.topic0, self.topic1, self.topic2, self.topic3];
        topics.into_iter().map_while(|topic| topic.map(|topic| topic.0)).collect()
    }
}

/// Which events a list wants; `None` and empty mean any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Chain.
    pub layer: Option<Layer>,
    /// Sequencer.
    pub sequencer_id: Option<i64>,
    /// Contract event names.
    pub kinds: Vec<String>,
    /// First height.
    pub from_number: i64,
    /// Last height.
    pub to_number: Option<i64>,
    /// Transaction.
    pub transaction_hash: Option<Hash>,
}

const STORED: &str =
    "SELECT l.layer, l.number, l.log_index, l.transaction_index, l.address, l.topic0, l.topic1, l.topic2,
        l.topic3, l.data, l.kind, l.from_reward, b.hash AS block_hash, b.time AS block_time,
        t.hash AS transaction_hash, t.sender
   FROM indexer.log l
   JOIN indexer.block b ON b.network = l.network AND b.layer = l.layer AND b.number = l.number
   JOIN indexer.transaction t ON t.network = l.network AND t.layer = l.layer AND t.number = l.number
        AND t.transaction_index = l.transaction_index";

/// Logs as rows.
pub fn rows(network: &str, layer: Layer, logs: &[Row<'_>]) -> Rows {
    let mut rows = Rows::of(
        "indexer.log (network, layer, number, log_index, transaction_index, address, topic0, topic1, topic2, topic3,
                      data, kind, sequencer_id, from_reward)",
    );
    for log in logs {
        let mut row = rows.row();
        row.text(network).smallint(layer.column()).bigint(log.number).integer(log.log_index);
        row.integer(log.transaction_index).bytes(log.address);
        (0..4).for_each(|place| {
            row.maybe_bytes(log.topics.get(place));
        });
        row.bytes(log.data).text(log.kind).maybe_bigint(log.sequencer_id).maybe_numeric(log.from_reward);
    }
    rows
}

/// Height and place of the logs of some blocks, the first and the last included, whose first topic is one of these.
///
/// # Errors
/// When the statement fails.
pub async fn places<C: ConnectionTrait>(
    db: &C,
    (network, layer): (&str, Layer),
    (from, to): (i64, i64),
    topics: &[B256],
) -> Result<Vec<(i64, i32)>, Error> {
    #[derive(FromQueryResult)]
    struct Place {
        number: i64,
        log_index: i32,
    }
    let sql = "SELECT number, log_index FROM indexer.log
                WHERE network = $1 AND layer = $2 AND number BETWEEN $3 AND $4 AND topic0 = ANY($5)";
    let topics: Vec<Vec<u8>> = topics.iter().map(|topic| topic.to_vec()).collect();
    let values: [Value; 5] = [network.into(), layer.column().into(), from.into(), to.into(), topics.into()];
    let found = Place::find_by_statement(statement(sql, values)).all(db).await;
    let found = found.map_err(Error::at("looking for logs by topic"))?;
    Ok(found.into_iter().map(|Place { number, log_index }| (number, log_index)).collect())
}

/// Events above one height up to another, in chain order.
///
/// # Errors
/// When the statement fails.
pub async fn between<C: ConnectionTrait>(
    db: &C,
    network: &str,
    layer: Layer,
    (above, to): (i64, i64),
    rows_max: i64,
) -> Result<Vec<Stored>, Error> {
    let sql = format!(
        "{STORED} WHERE l.network = $1 AND l.layer = $2 AND l.number > $3 AND l.number <= $4 AND l.kind <> 'Transfer'
          ORDER BY l.number, l.log_index LIMIT $5"
    );
    let values = [network.into(), layer.column().into(), above.into(), to.into(), rows_max.into()];
    Stored::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("reading events"))
}

/// Everything that was logged above one height up to another, evidence too, in chain order.
///
/// # Errors
/// When the statement fails.
pub async fn all_between<C: ConnectionTrait>(
    db: &C,
    network: &str,
    layer: Layer,
    (above, to): (i64, i64),
) -> Result<Vec<Stored>, Error> {
    let sql = format!(
        "{STORED} WHERE l.network = $1 AND l.layer = $2 AND l.number > $3 AND l.number <= $4
          ORDER BY l.number, l.log_index"
    );
    let values = [network.into(), layer.column().into(), above.into(), to.into()];
    Stored::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("reading logs"))
}

/// Events that a filter lets through, after a place, by chain and then in chain order.
///
/// # Errors
/// When the statement fails.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    network: &str,
    filter: &Filter,
    after: (i16, i64, i32),
    rows_max: u32,
) -> Result<Vec<Stored>, Error> {
    let Filter { layer, sequencer_id, kinds, from_number, to_number, transaction_hash } = filter;
    let (layer_after, number_after, index_after) = after;
    let mut sql = format!(
        "{STORED} WHERE l.network = $1 AND (l.layer, l.number, l.log_index) > ($2, $3, $4) AND l.number >= $5
            AND l.kind <> 'Transfer'"
    );
    let mut values: Vec<Value> = vec![
        network.into(),
        layer_after.into(),
        number_after.into(),
        index_after.into(),
        (*from_number).into(),
    ];
    let mut also = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(&format!(" AND {}", condition.replace('?', &format!("${}", values.len()))));
    };
    if let Some(layer) = layer {
        also("l.layer = ?", layer.column().into());
    }
    if let Some(id) = sequencer_id {
        also("l.sequencer_id = ?", (*id).into());
    }
    if !kinds.is_empty() {
        also("l.kind = ANY(?)", kinds.clone().into());
    }
    if let Some(to) = to_number {
        also("l.number <= ?", (*to).into());
    }
    if let Some(hash) = transaction_hash {
        also("t.hash = ?", (*hash).into());
        also("t.network = ?", network.into());
    }
    sql.push_str(&format!(" ORDER BY l.layer, l.number, l.log_index LIMIT {rows_max}"));
    Stored::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("listing events"))
}
