//! Logs of canonical blocks as they came, with the few words by which they are found.

use std::collections::{BTreeSet, HashSet};

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
                      data, kind, sequencer_id, from_reward, first_of_sequencer, first_of_kind)",
    );
    let mut firsts = Firsts::default();
    for log in logs {
        let (of_sequencer, of_kind) = firsts.of(log);
        let mut row = rows.row();
        row.text(network).smallint(layer.column()).bigint(log.number).integer(log.log_index);
        row.integer(log.transaction_index).bytes(log.address);
        (0..4).for_each(|place| {
            row.maybe_bytes(log.topics.get(place));
        });
        row.bytes(log.data).text(log.kind).maybe_bigint(log.sequencer_id).maybe_numeric(log.from_reward);
        row.boolean(of_sequencer).boolean(of_kind);
    }
    rows
}

/// What occurred in the block at hand so far. Only the first log of each sequencer and of each kind in a block stands in
/// the indexes by which lists are made: an entry for every log was more than half of what a log cost.
#[derive(Default)]
struct Firsts {
    number: Option<i64>,
    sequencers: HashSet<i64>,
    kinds: HashSet<&'static str>,
}

impl Firsts {
    /// Whether it is the first of its sequencer, and of its kind; logs come in chain order.
    fn of(&mut self, log: &Row<'_>) -> (bool, bool) {
        if self.number != Some(log.number) {
            self.number = Some(log.number);
            self.sequencers.clear();
            self.kinds.clear();
        }
        let of_sequencer = log.sequencer_id.is_some_and(|id| self.sequencers.insert(id));
        (of_sequencer, log.kind != EVIDENCE && self.kinds.insert(log.kind))
    }
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
    let (sql, values) = page_statement(network, filter, after, rows_max);
    Stored::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("listing events"))
}

/// The statement of a page. Where the filter names a sequencer or kinds, the blocks with such logs are found in order by
/// the indexes of first logs, and then the logs of each block until the page is full.
pub fn page_statement(
    network: &str,
    filter: &Filter,
    after: (i16, i64, i32),
    rows_max: u32,
) -> (String, Vec<Value>) {
    let wanted = Wanted::of(network, filter, after);
    let Wanted { of_block, of_log, .. } = &wanted;
    let sql = match wanted.blocks(rows_max) {
        None => format!(
            "{STORED} WHERE {of_block} AND {of_log} ORDER BY l.layer, l.number, l.log_index LIMIT {rows_max}"
        ),
        Some(blocks) => format!(
            "SELECT s.* FROM (SELECT DISTINCT layer, number FROM ({blocks}) f ORDER BY layer, number) f
              CROSS JOIN LATERAL ({STORED} WHERE l.network = $1 AND l.layer = f.layer AND l.number = f.number
                                  AND {of_log} ORDER BY l.log_index LIMIT {rows_max}) s
              ORDER BY f.layer, f.number, s.log_index LIMIT {rows_max}"
        ),
    };
    (sql, wanted.values)
}

/// A filter and a place as conditions on a log `l` and its transaction `t`; `$1` is the network.
#[derive(Default)]
struct Wanted {
    values: Vec<Value>,
    /// What holds for a block, and so for each of its logs.
    of_block: String,
    /// What holds for a log.
    of_log: String,
    /// Parameters of what is named.
    sequencer: Option<String>,
    kinds: Vec<String>,
    transaction: Option<String>,
}

impl Wanted {
    fn of(network: &str, filter: &Filter, (layer_after, number_after, index_after): (i16, i64, i32)) -> Self {
        let Filter { layer, sequencer_id, kinds, from_number, to_number, transaction_hash } = filter;
        let mut it = Self::default();
        it.value(network);
        let place = [it.value(layer_after), it.value(number_after)].join(", ");
        let (index_after, from) = (it.value(index_after), it.value(*from_number));
        it.of_block = format!("l.network = $1 AND (l.layer, l.number) >= ({place}) AND l.number >= {from}");
        if let Some(layer) = layer {
            let layer = it.value(layer.column());
            it.of_block.push_str(&format!(" AND l.layer = {layer}"));
        }
        if let Some(to) = to_number {
            let to = it.value(*to);
            it.of_block.push_str(&format!(" AND l.number <= {to}"));
        }
        it.of_log =
            format!("(l.layer, l.number, l.log_index) > ({place}, {index_after}) AND l.kind <> 'Transfer'");
        it.sequencer = sequencer_id.map(|id| it.value(id));
        if let Some(id) = &it.sequencer {
            it.of_log.push_str(&format!(" AND l.sequencer_id = {id}"));
        }
        // Each once: there are no more than the contracts have.
        let kinds: BTreeSet<&String> = kinds.iter().collect();
        it.kinds = kinds.into_iter().map(|kind| it.value(kind.as_str())).collect();
        if !it.kinds.is_empty() {
            it.of_log.push_str(&format!(" AND l.kind IN ({})", it.kinds.join(", ")));
        }
        it.transaction = transaction_hash.map(|hash| it.value(hash));
        if let Some(hash) = &it.transaction {
            it.of_log.push_str(&format!(" AND t.network = $1 AND t.hash = {hash}"));
        }
        it
    }

    /// The parameter that has this value.
    fn value(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// Selects the blocks to be looked into; none where that saves nothing.
    fn blocks(&self, rows_max: u32) -> Option<String> {
        // There are few logs of a transaction, and they are found by its hash.
        if self.transaction.is_some() {
            return None;
        }
        // One block more than rows: the first may have no more of them after the place.
        let limit = format!(" LIMIT {}", u64::from(rows_max) + 1);
        if let Some(id) = &self.sequencer {
            // Which of its blocks have such a kind is seen in the blocks only.
            let limit = if self.kinds.is_empty() { limit.as_str() } else { "" };
            return Some(self.firsts(&format!("l.sequencer_id = {id} AND l.first_of_sequencer"), limit));
        }
        let of_kind = |kind: &String| self.firsts(&format!("l.kind = {kind} AND l.first_of_kind"), &limit);
        let of_kinds: Vec<String> = self.kinds.iter().map(of_kind).collect();
        (!of_kinds.is_empty()).then(|| of_kinds.join(" UNION ALL "))
    }

    fn firsts(&self, first: &str, limit: &str) -> String {
        format!(
            "(SELECT DISTINCT l.layer, l.number FROM indexer.log l WHERE {} AND {first}
               ORDER BY l.layer, l.number{limit})",
            self.of_block
        )
    }
}
