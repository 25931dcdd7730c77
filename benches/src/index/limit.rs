//! The limit L: the same logs and headers, fetched by the same client and written raw, with nothing decoded, checked
//! or derived. No indexer of these chains can be faster on this machine.

use std::time::Instant;

use alloy_primitives::B256;
use anyhow::{Context, Result, ensure};
use chain::pool::{Pool, PoolOptions};
use chain::rpc::{EndpointUrl, Header, Log, LogFilter, call};
use futures::{StreamExt, TryStreamExt, stream};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection};
use testkit::contracts::L1;

use super::oracle::Summary;
use super::world::World;

/// Rows in one answer, about: with 20 events in each block that are 160 blocks. Of 100 to 500 blocks 250 were measured to
/// be the best, but the client takes no more than 4 MB, 6,000 rows.
const ROWS: u64 = 4_000;
/// The same where nearly all blocks are empty.
const SPARSE_RANGE: u64 = 5_000;
/// Questions in flight; more do not help on two cores.
const FETCHERS: usize = 2;
const HEADERS_AT_ONCE: usize = 100;
const TABLES: &str = "
    CREATE TABLE limit_log (network text NOT NULL, layer smallint NOT NULL, number bigint NOT NULL,
        log_index integer NOT NULL, block_hash bytea NOT NULL, transaction_hash bytea NOT NULL,
        transaction_index integer NOT NULL, address bytea NOT NULL, topic0 bytea, topic1 bytea, topic2 bytea,
        topic3 bytea, data bytea NOT NULL, PRIMARY KEY (network, layer, number, log_index));
    CREATE TABLE limit_block (number bigint PRIMARY KEY, hash bytea NOT NULL, parent bytea NOT NULL,
        time bigint NOT NULL);
    CREATE TABLE limit_checkpoint (number bigint NOT NULL);
    INSERT INTO limit_checkpoint VALUES (0)";
const LOG_COLUMNS: i16 = 13;
const BLOCK_COLUMNS: i16 = 4;
const NETWORK: &[u8] = b"bench";

/// Seconds that the probe needs for the chain.
///
/// # Errors
/// When it does not end with as many rows as the chain has.
pub async fn measure(world: &World, l1: &L1, rpc: &str, truth: &Summary, sparse: bool) -> Result<f64> {
    let database = world.database().await?;
    let mut connection = over_socket(&database.url).await?;
    connection.execute(TABLES).await?;
    let begun = Instant::now();
    // So few that even full blocks fit: a chain whose events stand in few of its blocks is not thin there.
    let dense = (ROWS / truth.fullest.max(1)).max(1);
    let rows = copy(&mut connection, l1, rpc, if sparse { SPARSE_RANGE } else { dense }).await?;
    let secs = begun.elapsed().as_secs_f64();
    connection.close().await?;
    ensure!(rows == truth.rows, "the probe found {rows} rows, the chain has {}", truth.rows);
    world.drop_database(database).await?;
    Ok(secs)
}

/// Over the server's socket in the file system: over TCP the driver would wait 40 ms for an acknowledgement at the end
/// of each COPY, and the limit would be none.
async fn over_socket(url: &str) -> Result<PgConnection> {
    let options: PgConnectOptions = url.parse()?;
    let mut connection = PgConnection::connect_with(&options).await?;
    let folder: String =
        sqlx::query_scalar("SHOW unix_socket_directories").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(PgConnection::connect_with(&options.socket(folder)).await?)
}

async fn copy(connection: &mut PgConnection, l1: &L1, rpc: &str, range: u64) -> Result<u64> {
    let url: EndpointUrl = rpc.parse().context("the URL of the chain")?;
    let pool = Pool::new(l1.chain_id, vec![url.into()], PoolOptions::default())?;
    let head = l1.link.head().await?.number;
    let ranges = (l1.start_block..=head).step_by(range as usize);
    let questions: Vec<_> =
        ranges.map(|from| fetch(pool.clone(), filters(l1), from, head.min(from + range - 1))).collect();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(FETCHERS);
    // Of its own, so that the next answer is read while the last is written.
    let fetching = tokio::spawn(async move {
        let mut answers = stream::iter(questions)
            .map(|question| async { tokio::spawn(question).await.context("a fetcher")? })
            .buffered(FETCHERS);
        while let Some(answer) = answers.try_next().await? {
            if sender.send(answer).await.is_err() {
                break;
            }
        }
        anyhow::Ok(())
    });
    let mut rows = 0;
    while let Some(Copied { to, logs, blocks, count }) = receiver.recv().await {
        let mut transaction = connection.begin().await?;
        for (table, bytes) in [("limit_log", logs), ("limit_block", blocks)] {
            let statement = format!("COPY {table} FROM STDIN (FORMAT binary)");
            let mut copying = transaction.copy_in_raw(&statement).await?;
            copying.send(bytes).await?;
            copying.finish().await?;
        }
        let checkpoint = sqlx::query("UPDATE limit_checkpoint SET number = $1").bind(i64::try_from(to)?);
        checkpoint.execute(&mut *transaction).await?;
        transaction.commit().await?;
        rows += count;
    }
    fetching.await??;
    Ok(rows)
}

/// Everything of our contracts, and the METIS that came into the escrow.
fn filters(l1: &L1) -> Vec<LogFilter> {
    let transfer = alloy_primitives::keccak256("Transfer(address,address,uint256)");
    vec![
        LogFilter { addresses: vec![l1.locking_pool, l1.locking_info], topics: vec![] },
        LogFilter {
            addresses: vec![l1.metis],
            topics: vec![vec![transfer], vec![], vec![l1.locking_info.into_word()]],
        },
    ]
}

/// A range, as the server takes it.
struct Copied {
    to: u64,
    logs: Vec<u8>,
    blocks: Vec<u8>,
    count: u64,
}

async fn fetch(pool: Pool, filters: Vec<LogFilter>, from: u64, to: u64) -> Result<Copied> {
    let question: Vec<_> = filters.iter().map(|filter| call::logs_of_range(from, to, filter)).collect();
    let logs: Vec<Log> = pool.ask(question).await?.into_iter().flatten().collect();
    let mut heights: Vec<u64> = logs.iter().map(|log| log.block_number).collect();
    heights.sort_unstable();
    heights.dedup();
    let mut blocks = Rows::new(BLOCK_COLUMNS);
    for some in heights.chunks(HEADERS_AT_ONCE) {
        for header in pool.ask(call::headers(some.iter().copied())).await? {
            blocks.add_header(&header.context("a block that has logs")?);
        }
    }
    let mut rows = Rows::new(LOG_COLUMNS);
    for log in &logs {
        rows.add_log(log)?;
    }
    Ok(Copied { to, logs: rows.end(), blocks: blocks.end(), count: logs.len() as u64 })
}

/// PostgreSQL's binary COPY.
struct Rows {
    bytes: Vec<u8>,
    columns: i16,
}

impl Rows {
    fn new(columns: i16) -> Self {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        // No flags, no extension.
        bytes.extend([0; 8]);
        Self { bytes, columns }
    }

    fn row(&mut self) {
        self.bytes.extend(self.columns.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        // No value of a chain is as large as two gigabytes.
        self.bytes.extend((bytes.len() as i32).to_be_bytes());
        self.bytes.extend(bytes);
    }

    fn topic(&mut self, topic: Option<&B256>) {
        match topic {
            Some(topic) => self.field(topic.as_slice()),
            None => self.bytes.extend((-1i32).to_be_bytes()),
        }
    }

    fn add_log(&mut self, log: &Log) -> Result<()> {
        self.row();
        self.field(NETWORK);
        self.field(&1i16.to_be_bytes());
        self.field(&i64::try_from(log.block_number)?.to_be_bytes());
        self.field(&i32::try_from(log.log_index)?.to_be_bytes());
        self.field(log.block_hash.as_slice());
        self.field(log.transaction_hash.as_slice());
        self.field(&i32::try_from(log.transaction_index)?.to_be_bytes());
        self.field(log.address.as_slice());
        for place in 0..4 {
            self.topic(log.topics.get(place));
        }
        self.field(&log.data);
        Ok(())
    }

    fn add_header(&mut self, header: &Header) {
        self.row();
        self.field(&(header.number as i64).to_be_bytes());
        self.field(header.hash.as_slice());
        self.field(header.parent_hash.as_slice());
        self.field(&(header.timestamp as i64).to_be_bytes());
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.extend((-1i16).to_be_bytes());
        self.bytes
    }
}
