//! Logs of canonical blocks, raw and decoded.

use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use store::column::{Addr, Hash};
use store::{Error, statement};

use super::Layer;

/// One log with what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Height of its block.
    pub number: i64,
    /// Place in the block.
    pub log_index: i32,
    /// Its block.
    pub block_hash: Hash,
    /// Its transaction.
    pub transaction_hash: Hash,
    /// Place of the transaction in the block.
    pub transaction_index: i32,
    /// Sender of the transaction.
    pub transaction_from: Option<Addr>,
    /// Emitting contract.
    pub address: Addr,
    /// Topics, at most four.
    pub topics: Vec<Hash>,
    /// What is not indexed.
    pub data: Vec<u8>,
    /// Contract event name.
    pub kind: String,
    /// Sequencer it is about.
    pub sequencer_id: Option<i64>,
    /// Owner or signer it is about.
    pub account: Option<Addr>,
    /// The `ChainEvent` message as it is sent; none for evidence.
    pub event: Option<Vec<u8>>,
}

/// One event as it is sent, with its place.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Sent {
    /// Which chain.
    pub layer: i16,
    /// Height.
    pub number: i64,
    /// Place in the block.
    pub log_index: i32,
    /// The `ChainEvent` message.
    pub event: Vec<u8>,
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

fn bytes(value: Option<impl AsRef<[u8]>>) -> Vec<u8> {
    // Arrays are bound without nulls: an empty value stands for none and becomes one in the statement.
    value.map(|value| value.as_ref().to_vec()).unwrap_or_default()
}

/// Adds logs in bulk.
///
/// # Errors
/// When the statement fails, as for a log that is there already: the blocks were not unwound.
pub async fn insert<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    layer: Layer,
    rows: &[Row],
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO indexer.log (network, layer, number, log_index, block_hash, transaction_hash,
                   transaction_index, transaction_from, address, topic0, topic1, topic2, topic3, data, kind,
                   sequencer_id, account, event)
               SELECT $1, $2, number, log_index, block_hash, transaction_hash, transaction_index,
                      nullif(transaction_from, ''), address, nullif(topic0, ''), nullif(topic1, ''),
                      nullif(topic2, ''), nullif(topic3, ''), data, kind, nullif(sequencer_id, 0),
                      nullif(account, ''), nullif(event, '')
                 FROM unnest($3::bigint[], $4::int[], $5::bytea[], $6::bytea[], $7::int[], $8::bytea[],
                             $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[],
                             $14::bytea[], $15::text[], $16::bigint[], $17::bytea[], $18::bytea[])
                   AS t (number, log_index, block_hash, transaction_hash, transaction_index,
                         transaction_from, address, topic0, topic1, topic2, topic3, data, kind,
                         sequencer_id, account, event)";
    fn all<T>(rows: &[Row], of: impl Fn(&Row) -> T) -> Value
    where
        Vec<T>: Into<Value>,
    {
        rows.iter().map(of).collect::<Vec<T>>().into()
    }
    let topic = |place: usize| all(rows, move |row| bytes(row.topics.get(place).map(|topic| topic.0)));
    let values = [
        network.into(),
        layer.column().into(),
        all(rows, |row| row.number),
        all(rows, |row| row.log_index),
        all(rows, |row| row.block_hash),
        all(rows, |row| row.transaction_hash),
        all(rows, |row| row.transaction_index),
        all(rows, |row| bytes(row.transaction_from.map(|from| from.0))),
        all(rows, |row| row.address),
        topic(0),
        topic(1),
        topic(2),
        topic(3),
        all(rows, |row| row.data.clone()),
        all(rows, |row| row.kind.clone()),
        all(rows, |row| row.sequencer_id.unwrap_or_default()),
        all(rows, |row| bytes(row.account.map(|account| account.0))),
        all(rows, |row| row.event.clone().unwrap_or_default()),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing logs"))?;
    Ok(())
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
) -> Result<Vec<Sent>, Error> {
    let sql = "SELECT layer, number, log_index, event FROM indexer.log
                WHERE network = $1 AND layer = $2 AND number > $3 AND number <= $4 AND event IS NOT NULL
                ORDER BY number, log_index LIMIT $5";
    let values = [network.into(), layer.column().into(), above.into(), to.into(), rows_max.into()];
    Sent::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("reading events"))
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
) -> Result<Vec<Sent>, Error> {
    let Filter { layer, sequencer_id, kinds, from_number, to_number, transaction_hash } = filter;
    let (layer_after, number_after, index_after) = after;
    let mut sql = "SELECT layer, number, log_index, event FROM indexer.log
                    WHERE network = $1 AND (layer, number, log_index) > ($2, $3, $4) AND number >= $5
                      AND event IS NOT NULL"
        .to_owned();
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
        also("layer = ?", layer.column().into());
    }
    if let Some(id) = sequencer_id {
        also("sequencer_id = ?", (*id).into());
    }
    if !kinds.is_empty() {
        also("kind = ANY(?)", kinds.clone().into());
    }
    if let Some(to) = to_number {
        also("number <= ?", (*to).into());
    }
    if let Some(hash) = transaction_hash {
        also("transaction_hash = ?", (*hash).into());
    }
    sql.push_str(&format!(" ORDER BY layer, number, log_index LIMIT {rows_max}"));
    Sent::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("listing events"))
}
