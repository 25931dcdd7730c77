//! At the head of a living chain: how soon a block is in the index and with a subscriber, and how soon after a
//! reorganisation the index is the chain again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::indexer::v1::StreamEventsRequest;
use api::indexer::v1::indexer_service_client::IndexerServiceClient;
use api::indexer::v1::stream_events_response::Message;
use runtime::client::channel;
use serde_json::{Value, json};
use testkit::contracts::L1;
use testkit::crowd::{Crowd, Plan};
use tokio::sync::Mutex;

use super::oracle;
use super::run::{Eye, Indexer};
use super::world::{Configured, Database, NETWORK, World, world};
use crate::report::{Figure, millis, quantile, rounded};
use crate::socket::Socket;

/// Blocks that are waited for one by one.
const BLOCKS: u64 = 60;
/// The first ones warm connections and caches, and are not counted.
const WARM_UP: u64 = 3;
const EVENTS_PER_BLOCK: u64 = 20;
/// Longer than the deepest reorganisation.
const HISTORY: u64 = 1_100;
const DEPTHS: u64 = 20;
const DEEP: u64 = 1_000;
const DEADLINE: Duration = Duration::from_secs(120);
/// Blocks do not come in step with loops that look in a rhythm: a prime number of milliseconds, growing.
const STRIDE_MS: u64 = 37;
const PAUSE_MS_MAX: u64 = 250;

/// When a block was first seen somewhere.
type Seen = Arc<Lock<BTreeMap<u64, Instant>>>;

/// An indexer at the head of a chain of its own.
struct Live {
    crowd: Crowd,
    database: Database,
    configured: Configured,
    indexer: Indexer,
    eye: Eye,
}

impl Live {
    async fn start(world: &mut World) -> Result<Self> {
        let plan = Plan::dense(HISTORY * EVENTS_PER_BLOCK, EVENTS_PER_BLOCK).living();
        let crowd = world.own_chain(plan).await?;
        let database = world.database().await?;
        let url = crowd.l1.link.url().to_owned();
        let ws = crowd.anvil.ws_url();
        let configured = world.configure(&crowd.l1, &[url], Some(&ws), &database)?;
        let mut eye = Eye::open(&database, DEADLINE).await?;
        let mut indexer = Indexer::start(&configured)?;
        eye.at(&mut indexer, crowd.head().await?.number).await?;
        Ok(Self { crowd, database, configured, indexer, eye })
    }

    /// Compares every row and takes all down.
    async fn end(self, world: &World) -> Result<()> {
        let Self { crowd, database, configured: _, indexer, eye } = self;
        let truth = oracle::of_chain(&crowd.l1).await?;
        oracle::same(&truth, &oracle::of_index(&database.url, &crowd.l1).await?)
            .context("comparing the index")?;
        indexer.kill().await?;
        drop(eye);
        world.drop_database(database).await
    }

    /// When the index is at the head of the chain.
    async fn at_head(&mut self) -> Result<Instant> {
        let head = self.crowd.head().await?;
        self.eye.at_hash(&mut self.indexer, head.hash.as_slice()).await
    }
}

/// Milliseconds of each block.
#[derive(Debug, Clone)]
struct Latencies {
    to_row: Vec<f64>,
    to_subscriber: Vec<f64>,
}

/// From the announcement of a block to its rows.
pub async fn head() -> Result<Figure> {
    let Latencies { to_row: mut all, .. } = latencies().await?;
    let what = "median time from the announcement of a block with 20 events on a WebSocket of the node, heard by us, \
                to its rows being visible to a reader who looks every 2 ms; target of p99 is 100 ms";
    let figure = Figure::new(quantile(&mut all, 0.5), "ms", 25.0, what);
    Ok(spread(figure, &mut all))
}

/// From the commit to a subscriber.
pub async fn stream() -> Result<Figure> {
    let Latencies { to_subscriber: mut all, .. } = latencies().await?;
    let what = "99 of 100 times from the rows of a block being visible to a reader who looks every 2 ms, to the commit \
                having been received by a gRPC subscriber; 0 where the subscriber was first";
    let figure = Figure::new(quantile(&mut all, 0.99), "ms", 20.0, what);
    Ok(spread(figure, &mut all))
}

fn spread(figure: Figure, all: &mut [f64]) -> Figure {
    let figure = figure.with("blocks", json!(all.len())).with("rows_equal_chain", json!(true));
    [("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("max_ms", 1.0)]
        .into_iter()
        .fold(figure, |figure, (name, part)| figure.with(name, json!(rounded(quantile(all, part)))))
}

async fn latencies() -> Result<Latencies> {
    static KNOWN: Mutex<Option<Latencies>> = Mutex::const_new(None);
    let mut known = KNOWN.lock().await;
    if let Some(known) = known.as_ref() {
        return Ok(known.clone());
    }
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let mut live = Live::start(world).await?;
    let announced = listen(&live.crowd.l1).await?;
    let received = subscribe(world, &live.configured).await?;
    let mut found = Latencies { to_row: Vec::new(), to_subscriber: Vec::new() };
    for turn in 0..BLOCKS + WARM_UP {
        tokio::time::sleep(Duration::from_millis(turn * STRIDE_MS % PAUSE_MS_MAX)).await;
        let number = live.crowd.head().await?.number + 1;
        let (acted, visible) =
            tokio::join!(live.crowd.act(EVENTS_PER_BLOCK), live.eye.at(&mut live.indexer, number));
        acted?;
        let visible = visible?;
        let announced = when(&announced, number).await?;
        let received = when(&received, number).await?;
        if turn >= WARM_UP {
            found.to_row.push(millis(announced, visible));
            found.to_subscriber.push(millis(visible, received));
        }
    }
    live.end(world).await?;
    *known = Some(found.clone());
    Ok(found)
}

/// When the block was seen; it may take a moment.
async fn when(seen: &Seen, number: u64) -> Result<Instant> {
    let found = || seen.lock().unwrap_or_else(PoisonError::into_inner).get(&number).copied();
    let wait = async {
        loop {
            match found() {
                Some(instant) => return instant,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.with_context(|| format!("block {number} was never heard of"))
}

fn note(seen: &Seen, number: u64, now: Instant) {
    seen.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert(now);
}

/// Hears the node announce its blocks.
async fn listen(l1: &L1) -> Result<Seen> {
    let url = l1.link.url().replacen("http", "ws", 1);
    let mut socket = Socket::open(&url, "eth_subscribe", json!(["newHeads"])).await?;
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok(message) = socket.next().await {
            let now = Instant::now();
            let number =
                message["params"]["result"]["number"].as_str().and_then(|text| text.strip_prefix("0x"));
            if let Some(number) = number.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
                note(&noted, number, now);
            }
        }
    });
    Ok(seen)
}

/// Follows the event stream from its beginning.
async fn subscribe(world: &World, configured: &Configured) -> Result<Seen> {
    let peer = channel(configured.address.as_str(), "indexer", world.operator()?);
    let mut client = IndexerServiceClient::new(peer.with_methods(api::methods::grpc()));
    let request = StreamEventsRequest { network: NETWORK.to_owned(), after_cursor: String::new() };
    let mut stream = client.stream_events(request).await.context("subscribing")?.into_inner();
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok(Some(response)) = stream.message().await {
            let now = Instant::now();
            let Some(Message::Commit(commit)) = response.message else { continue };
            for block in commit.blocks {
                note(&noted, block.block.unwrap_or_default().number, now);
            }
        }
    });
    Ok(seen)
}

/// Reorganisations of depth 1 to 20.
pub async fn reorg_20() -> Result<Figure> {
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let mut live = Live::start(world).await?;
    let mut all = Vec::new();
    for depth in 1..=DEPTHS {
        all.push(reorganise(&mut live, depth).await? * 1_000.0);
        // What is taken back next must have events again.
        for _ in 0..depth {
            live.crowd.act(EVENTS_PER_BLOCK).await?;
        }
        live.at_head().await?;
    }
    live.end(world).await?;
    let what = "largest time over depths 1 to 20 from the answer of anvil_reorg, whose blocks are announced by then, to \
                a checkpoint with the hash of the new head";
    let figure = Figure::new(quantile(&mut all, 1.0), "ms", 150.0, what);
    Ok(spread(figure, &mut all))
}

/// One of depth 1,000, far below `finalized`.
pub async fn reorg_1000() -> Result<Figure> {
    let mut world = world().await?;
    let world = world.as_mut().context("the world stands")?;
    let mut live = Live::start(world).await?;
    let begun = Instant::now();
    let after = reorganise(&mut live, DEEP).await?;
    let secs = begun.elapsed().as_secs_f64();
    live.end(world).await?;
    let what = "from asking the node to replace 1,000 blocks, below `finalized`, to a checkpoint with the hash of the \
                new head, without a restart; most of it is the node's own work, blocks are followed while it mines them";
    Ok(Figure::new(secs, "s", 30.0, what)
        .with("after_the_node_s", json!(rounded(after)))
        .with("rows_equal_chain", json!(true)))
}

/// Seconds until the index is the chain again.
async fn reorganise(live: &mut Live, depth: u64) -> Result<f64> {
    live.crowd.l1.link.rpc::<Value>("anvil_reorg", json!([depth, []])).await?;
    let done = Instant::now();
    let consistent = live.at_head().await?;
    Ok(consistent.duration_since(done).as_secs_f64())
}
