//! What must be in the index, found the slow way, and whether it is.
//!
//! The chain is read block by block, each by its number, with nothing shared with the indexer: no client, no types,
//! no filter of topics. The index is read row by row. Both become one digest over everything that a log has.

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use testkit::contracts::L1;

use super::world::NETWORK;

/// Blocks asked for in one request.
const AT_ONCE: u64 = 200;
/// `Transfer(address,address,uint256)`.
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// The raw rows of the index, in chain order: block hash, index, transaction, address, four topics, data. The only
/// place here that knows the indexer's tables. A row without its block or transaction is no row of the chain: its
/// hash is missing, which fails the comparison.
const ROWS: &str = "
    SELECT b.hash, l.log_index, t.hash, l.address, l.topic0, l.topic1, l.topic2, l.topic3, l.data
      FROM indexer.log l
      LEFT JOIN indexer.block b ON b.network = l.network AND b.layer = l.layer AND b.number = l.number
      LEFT JOIN indexer.transaction t ON t.network = l.network AND t.layer = l.layer AND t.number = l.number
           AND t.transaction_index = l.transaction_index
     WHERE l.network = $1 AND l.layer = 1
     ORDER BY l.number, l.log_index";

/// What a chain or an index has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Logs of the pool and its escrow.
    pub events: u64,
    /// These, and the METIS transfers into the escrow.
    pub rows: u64,
    /// Rows of the fullest block.
    pub fullest: u64,
    digest: [u8; 32],
}

/// One log, as bytes.
struct Entry<'a> {
    block: &'a [u8],
    index: u32,
    transaction: &'a [u8],
    address: &'a [u8],
    topics: [Option<&'a [u8]>; 4],
    data: &'a [u8],
}

struct Sum {
    metis: Vec<u8>,
    events: u64,
    rows: u64,
    fullest: u64,
    /// The block at hand, and its rows so far.
    block: Vec<u8>,
    here: u64,
    hasher: Sha256,
}

impl Sum {
    fn new(l1: &L1) -> Self {
        let metis = l1.metis.to_vec();
        Self { metis, events: 0, rows: 0, fullest: 0, block: Vec::new(), here: 0, hasher: Sha256::new() }
    }

    fn add(&mut self, entry: &Entry<'_>) {
        let Entry { block, index, transaction, address, topics, data } = entry;
        self.rows += 1;
        if self.block != *block {
            self.block = block.to_vec();
            self.here = 0;
        }
        self.here += 1;
        self.fullest = self.fullest.max(self.here);
        self.events += u64::from(*address != self.metis.as_slice());
        self.hasher.update(block);
        self.hasher.update(index.to_be_bytes());
        self.hasher.update(transaction);
        self.hasher.update(address);
        for topic in topics {
            self.hasher.update([u8::from(topic.is_some())]);
            self.hasher.update(topic.unwrap_or_default());
        }
        self.hasher.update((data.len() as u64).to_be_bytes());
        self.hasher.update(data);
    }

    fn done(self) -> Summary {
        let Self { events, rows, fullest, .. } = self;
        Summary { events, rows, fullest, digest: self.hasher.finalize().into() }
    }
}

/// What the chain has.
///
/// # Errors
/// When the node does not answer as expected.
pub async fn of_chain(l1: &L1) -> Result<Summary> {
    let head = l1.link.head().await?.number;
    up_to(l1, head).await
}

/// What it has up to a block.
///
/// # Errors
/// When the node does not answer as expected.
pub async fn up_to(l1: &L1, head: u64) -> Result<Summary> {
    let mut sum = Sum::new(l1);
    let mut from = l1.start_block;
    while from <= head {
        let to = head.min(from + AT_ONCE - 1);
        let call = |height: u64| {
            let at = format!("{height:#x}");
            let filter = json!([{ "fromBlock": at, "toBlock": at,
                "address": [l1.locking_pool, l1.locking_info, l1.metis] }]);
            json!({ "jsonrpc": "2.0", "id": height, "method": "eth_getLogs", "params": filter })
        };
        let batch: Value = (from..=to).map(call).collect();
        let mut answers = l1.link.forward(&batch).await?;
        let answers = answers.as_array_mut().context("the answer of a batch")?;
        answers.sort_by_key(|answer| answer["id"].as_u64());
        ensure!(answers.len() as u64 == to - from + 1, "an answer is missing");
        for answer in answers.iter() {
            let logs = answer["result"].as_array().with_context(|| format!("logs, not {answer}"))?;
            for log in logs {
                add_json(&mut sum, log, l1)?;
            }
        }
        from = to + 1;
    }
    Ok(sum.done())
}

fn add_json(sum: &mut Sum, log: &Value, l1: &L1) -> Result<()> {
    let bytes = |value: &Value| -> Result<Vec<u8>> {
        let text = value.as_str().and_then(|text| text.strip_prefix("0x")).context("a text with 0x")?;
        hex::decode(text).context("hex digits")
    };
    let topics: Vec<Vec<u8>> =
        log["topics"].as_array().context("topics")?.iter().map(bytes).collect::<Result<_>>()?;
    let address = bytes(&log["address"])?;
    if address == l1.metis.as_slice() {
        let into_escrow = topics.get(2).is_some_and(|to| to.ends_with(l1.locking_info.as_slice()));
        if log["topics"][0] != TRANSFER || !into_escrow {
            return Ok(());
        }
    }
    let index = log["logIndex"].as_str().and_then(|text| text.strip_prefix("0x")).context("an index")?;
    sum.add(&Entry {
        block: &bytes(&log["blockHash"])?,
        index: u32::from_str_radix(index, 16)?,
        transaction: &bytes(&log["transactionHash"])?,
        address: &address,
        topics: [0, 1, 2, 3].map(|place| topics.get(place).map(Vec::as_slice)),
        data: &bytes(&log["data"])?,
    });
    Ok(())
}

/// What the index has.
///
/// # Errors
/// When the database does not answer.
pub async fn of_index(database_url: &str, l1: &L1) -> Result<Summary> {
    let mut connection = PgConnection::connect(database_url).await?;
    // Before the server has looked at rows that came in a few seconds, it joins them as if there were none.
    connection.execute("ANALYZE indexer.log, indexer.block, indexer.transaction").await?;
    let mut sum = Sum::new(l1);
    {
        let mut rows = sqlx::query(AssertSqlSafe(ROWS)).bind(NETWORK).fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            let topic = |place: usize| row.try_get::<Option<&[u8]>, _>(place);
            sum.add(&Entry {
                block: row.try_get(0)?,
                index: u32::try_from(row.try_get::<i32, _>(1)?)?,
                transaction: row.try_get(2)?,
                address: row.try_get(3)?,
                topics: [topic(4)?, topic(5)?, topic(6)?, topic(7)?],
                data: row.try_get(8)?,
            });
        }
    }
    connection.close().await?;
    Ok(sum.done())
}

/// A figure of an index that is not exact is worth nothing.
///
/// # Errors
/// When a row is missing, too much or other.
pub fn same(chain: &Summary, index: &Summary) -> Result<()> {
    ensure!(
        chain.rows == index.rows && chain.events == index.events,
        "the chain has {} events in {} rows, the index {} in {}",
        chain.events,
        chain.rows,
        index.events,
        index.rows
    );
    ensure!(chain.digest == index.digest, "{} rows, but another digest", chain.rows);
    Ok(())
}
