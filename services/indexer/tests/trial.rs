//! A chain with a crowd on it, indexers of it, each on a database of its own, and whether what their tables say is
//! what the chain says.

use alloy_primitives::hex;
use alloy_sol_types::SolEvent;
use chain::abi::{Erc20, LockingInfo};
use chain::config::{L1 as L1Config, Network};
use chain::pool::EndpointConfig;
use chain::rpc::{BlockId, Header, Log, LogFilter, call};
use domain::network::Variant;
use indexer::Config;
use indexer::db::{self, Layer, checkpoint};
use indexer::reconcile::drift;
use indexer::source::Source;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use store::statement;
use tempfile::TempDir;
use testkit::contracts::L1;
use testkit::crowd::{Crowd, Plan};
use testkit::{Pki, TestDb, wait_until};

use crate::world::{DEADLINE, NETWORK, Running, TRUST_DOMAIN, serve};

/// Seconds between two comparisons with the contracts: at once.
pub const COMPARED: u64 = 1;
/// Never again after the first, which finds no block yet.
pub const NEVER_COMPARED: u64 = 100_000;
/// Blocks whose logs are asked for in one request.
const BLOCKS_TOGETHER: usize = 64;

/// A chain, and what indexers of it need.
pub struct Stand {
    pub crowd: Crowd,
    pub pki: Pki,
    pub folder: TempDir,
}

/// The tables of one indexer.
pub struct Tables {
    pub db: TestDb,
    pub connection: DatabaseConnection,
}

/// A running indexer.
pub struct Trial {
    pub tables: Tables,
    pub running: Running,
}

impl Stand {
    /// A chain that lives on, with so many blocks of so many events.
    pub async fn set(seed: u64, blocks: u64, events_per_block: u64) -> Self {
        runtime::install_crypto_provider();
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let plan = Plan { blocks, events_per_block, every: 1, seed, living: true };
        let crowd = Crowd::make(plan).await.expect("a chain");
        let folder = TempDir::new().expect("a folder");
        let pki = Pki::new(folder.path(), TRUST_DOMAIN).expect("a CA");
        Self { crowd, pki, folder }
    }

    /// The chain as these endpoints show it.
    pub fn network(&self, endpoints: &[String]) -> Network {
        l1_network(&self.crowd.l1, endpoints)
    }

    pub fn honest(&self) -> Network {
        self.network(&[self.crowd.anvil.url()])
    }

    /// Starts an indexer on tables of its own.
    pub async fn trial(&self, network: Network, reconcile_secs: u64) -> Trial {
        Trial::start(&self.pki, network, reconcile_secs).await
    }

    pub async fn head(&self) -> Header {
        self.crowd.head().await.expect("anvil answers")
    }

    pub async fn finalized(&self) -> u64 {
        finalized(&self.crowd.l1).await
    }

    /// The tables have every log of the chain up to their tip, and nothing else; their state is that of the contracts.
    pub async fn is_exact(&self, tables: &Tables) {
        is_exact(&self.crowd.l1, tables).await;
    }
}

/// The L1 as these endpoints show it.
pub fn l1_network(l1: &L1, endpoints: &[String]) -> Network {
    let rpc = endpoints.iter().map(|url| url.parse::<EndpointConfig>().expect("a URL")).collect();
    Network {
        variant: Variant::Main,
        confirmations: Some(2),
        poll_ms: 50,
        l1: L1Config { rpc, ..l1.settings() },
        ..Network::default()
    }
}

pub async fn finalized(l1: &L1) -> u64 {
    let header = l1.link.ask("the last final block", call::header(BlockId::Finalized)).await;
    header.expect("anvil answers").expect("a block is final").number
}

/// See [`Stand::is_exact`].
pub async fn is_exact(l1: &L1, tables: &Tables) {
    let (number, hash) = tables.tip().await.expect("something is indexed");
    has_every_log(l1, tables, number, &hash).await;
    let network = l1_network(l1, &[l1.link.url().to_owned()]);
    let spec = network.spec(NETWORK).expect("complete");
    let pool = network.l1_pool(&spec).expect("a pool");
    let source = Source {
        network: NETWORK.to_owned(),
        layer: Layer::L1,
        declared: network.variant,
        spec,
        pool,
        care: Default::default(),
    };
    let view = db::snapshot(&tables.connection).await.expect("a view");
    let row = checkpoint::of(&view, NETWORK, Layer::L1).await.expect("read").expect("a checkpoint");
    let tip = row.tip().expect("something is indexed");
    let finding = drift::compare(view, &source, tip).await.expect("compared");
    assert_eq!(finding.differences, Vec::<String>::new());
}

/// Asks the chain block by block, each by its hash.
pub async fn has_every_log(l1: &L1, tables: &Tables, number: u64, hash: &str) {
    let heights: Vec<u64> = (l1.start_block..=number).collect();
    let mut on_chain = Vec::new();
    let mut last = String::new();
    for heights in heights.chunks(BLOCKS_TOGETHER) {
        let headers = call::headers(heights.iter().copied());
        let headers = l1.link.ask("headers", headers).await.expect("anvil answers");
        let hashes: Vec<_> = headers.into_iter().map(|header| header.expect("it is there").hash).collect();
        last = hex::encode(hashes.last().expect("a block"));
        let filter =
            LogFilter { addresses: vec![l1.locking_pool, l1.locking_info, l1.metis], topics: vec![] };
        let logs: Vec<_> = hashes.iter().map(|hash| call::logs_of_block(*hash, &filter)).collect();
        for of_block in l1.link.ask("logs", logs).await.expect("anvil answers") {
            on_chain.extend(of_block.iter().filter(|log| is_ours(l1, log, &of_block)).map(line));
        }
    }
    assert_eq!(last, hash, "the tip is a block of the chain");
    on_chain.sort();
    same_lines(&tables.logs().await, &on_chain);
}

/// Whether a log belongs into the index: METIS only where it came into the escrow and explains what happened.
fn is_ours(l1: &L1, log: &Log, of_block: &[Log]) -> bool {
    use LockingInfo::{BatchSubmitReward, Locked, Relocked};
    if log.address != l1.metis {
        return true;
    }
    let topics: Vec<_> = log.topics.iter().copied().collect();
    let explained = [Locked::SIGNATURE_HASH, Relocked::SIGNATURE_HASH, BatchSubmitReward::SIGNATURE_HASH];
    topics.first() == Some(&Erc20::Transfer::SIGNATURE_HASH)
        && topics.get(2) == Some(&l1.locking_info.into_word())
        && of_block.iter().any(|other| {
            other.transaction_hash == log.transaction_hash
                && other.topics.first().is_some_and(|topic| explained.contains(topic))
        })
}

/// As [`LOGS`] writes it.
fn line(log: &Log) -> String {
    let mut words = vec![
        log.block_number.to_string(),
        hex::encode(log.block_hash),
        log.transaction_index.to_string(),
        hex::encode(log.transaction_hash),
        log.log_index.to_string(),
        hex::encode(log.address),
    ];
    words.extend(log.topics.iter().map(hex::encode));
    words.push(hex::encode(&log.data));
    words.join(" ")
}

/// Names the first line that differs; whole tables would fill the screen.
pub fn same_lines(ours: &[String], theirs: &[String]) {
    let first = ours.iter().zip(theirs).find(|(our, their)| our != their);
    assert_eq!(first, None, "the first row that differs");
    assert_eq!(ours.len(), theirs.len(), "rows");
}

const LOGS: &str = "
    SELECT concat_ws(' ', l.number, encode(b.hash, 'hex'), l.transaction_index, encode(t.hash, 'hex'), l.log_index,
                     encode(l.address, 'hex'), encode(l.topic0, 'hex'), encode(l.topic1, 'hex'),
                     encode(l.topic2, 'hex'), encode(l.topic3, 'hex'), encode(l.data, 'hex')) AS line
      FROM indexer.log l
      LEFT JOIN indexer.block b USING (network, layer, number)
      LEFT JOIN indexer.transaction t USING (network, layer, number, transaction_index)
     WHERE l.network = 'devnet' AND l.layer = 1";

/// Everything that must not depend on how the index came about: not the ends of ranges, nor headers without logs.
const ROWS: &str = "
    SELECT 'log ' || l::text AS line FROM indexer.log l WHERE network = 'devnet' AND layer = 1
    UNION ALL SELECT 'transaction ' || t::text FROM indexer.transaction t WHERE network = 'devnet' AND layer = 1
    UNION ALL SELECT concat_ws(' ', 'block', b.number, b.hash, b.time, b.digest) FROM indexer.block b
               WHERE network = 'devnet' AND layer = 1
                 AND EXISTS (SELECT FROM indexer.log l WHERE l.network = 'devnet' AND l.layer = 1 AND l.number = b.number)
    UNION ALL SELECT 'record ' || r::text FROM indexer.sequencer_record r WHERE network = 'devnet'
    UNION ALL SELECT 'signer ' || s::text FROM indexer.signer s WHERE network = 'devnet'
    UNION ALL SELECT 'whitelist ' || w::text FROM indexer.whitelist w WHERE network = 'devnet'
    UNION ALL SELECT 'parameters ' || p::text FROM indexer.parameters p WHERE network = 'devnet'
    UNION ALL SELECT 'batch ' || b::text FROM indexer.batch b WHERE network = 'devnet'
    UNION ALL SELECT 'credit ' || c::text FROM indexer.credit c WHERE network = 'devnet'
    UNION ALL SELECT 'implementation ' || i::text FROM indexer.implementation i WHERE network = 'devnet'
    UNION ALL SELECT concat_ws(' ', 'checkpoint', number, hash, digested) FROM indexer.checkpoint
               WHERE network = 'devnet' AND layer = 1";

impl Tables {
    pub async fn new() -> Self {
        let db = testkit::database().await;
        let connection = store::connect(&db.admin_url, 2).await.expect("it can be looked at");
        Self { db, connection }
    }

    async fn lines(&self, sql: &str) -> Vec<String> {
        let sql = format!("SELECT line FROM ({sql}) x ORDER BY line COLLATE \"C\"");
        let rows = self.connection.query_all_raw(statement(sql, [])).await.expect("the tables can be read");
        rows.iter().map(|row| row.try_get("", "line").expect("a line")).collect()
    }

    /// One value of one row; none if it is null or there is no row.
    pub async fn one<T: sea_orm::TryGetable>(&self, sql: &str) -> Option<T> {
        let row = self.connection.query_one_raw(statement(sql, [])).await.expect("the tables can be read")?;
        row.try_get_by_index::<Option<T>>(0).expect("a value of this type")
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.one(sql).await.unwrap_or(0)
    }

    /// Every log with its place, sorted.
    pub async fn logs(&self) -> Vec<String> {
        self.lines(LOGS).await
    }

    /// All rows that an index of the same chain must have as well.
    pub async fn rows(&self) -> Vec<String> {
        self.lines(ROWS).await
    }

    /// A hash of [`Tables::rows`].
    pub async fn fingerprint(&self) -> String {
        let sql = format!("SELECT md5(string_agg(line, ' ' ORDER BY line COLLATE \"C\")) FROM ({ROWS}) x");
        self.one(&sql).await.unwrap_or_default()
    }

    /// The last block and how far digests stand.
    pub async fn place(&self) -> String {
        let sql = "SELECT concat_ws(' ', number, hash, digested) FROM indexer.checkpoint
                    WHERE network = 'devnet' AND layer = 1";
        self.one(sql).await.unwrap_or_default()
    }

    /// Height and hash of the last block.
    pub async fn tip(&self) -> Option<(u64, String)> {
        let row = checkpoint::of(&self.connection, NETWORK, Layer::L1).await.expect("read")?;
        row.tip().map(|tip| (db::height(tip.number), hex::encode(tip.hash.0)))
    }

    /// Everything is indexed, digests included.
    pub async fn settled(&self, l1: &L1) {
        wait_until("the index stands at the head", DEADLINE, || async {
            let head = l1.link.head().await.expect("anvil answers");
            let final_number = finalized(l1).await;
            let row = checkpoint::of(&self.connection, NETWORK, Layer::L1).await.expect("read");
            row.is_some_and(|row| {
                row.digested == db::column(final_number) && row.hash.is_some_and(|hash| hash.0 == head.hash)
            })
        })
        .await;
    }

    /// Reorganisations noted with this cause.
    pub async fn reorgs(&self, cause: db::reorg::Cause) -> i64 {
        self.number(&format!("SELECT count(*) FROM indexer.reorg WHERE cause = {}", cause as i16)).await
    }
}

impl Trial {
    pub async fn start(pki: &Pki, network: Network, reconcile_secs: u64) -> Self {
        let tables = Tables::new().await;
        let config = Config { reconcile_secs, ..Config::default() };
        let running = serve(config, [(NETWORK.to_owned(), network)].into(), &tables.db, pki).await;
        Self { tables, running }
    }

    /// Why nothing moves, as the API says it.
    pub async fn problem(&self) -> String {
        self.running.source(NETWORK, 0).await.map(|source| source.problem).unwrap_or_default()
    }
}
