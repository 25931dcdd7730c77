//! What may be wrong with a node, as a test says it. Nothing happens by itself: the default is a
//! node without faults.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

use super::limits::LogLimits;

/// How often something happens, in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chance(u32);

impl Chance {
    /// Not at all.
    pub const NEVER: Self = Self(0);
    /// Each time.
    pub const ALWAYS: Self = Self(1_000);

    /// So many times in a thousand.
    #[must_use]
    pub const fn per_mille(thousandths: u32) -> Self {
        Self(thousandths)
    }

    /// So many times in a hundred.
    #[must_use]
    pub const fn percent(hundredths: u32) -> Self {
        Self(hundredths.saturating_mul(10))
    }

    /// Takes one number whatever the chance, so that a higher one only adds to what happens.
    pub(super) fn draw(self, rng: &mut StdRng) -> bool {
        rng.random_range(0..1_000_u32) < self.0
    }
}

/// All that is wrong with the node behind a [`super::Proxy`].
///
/// What is left to chance depends on `seed`, on what is asked (methods and parameters) and on how
/// often the same was asked since [`super::Proxy::set`], but not on the order in which requests
/// arrive: the same questions meet the same fates, however many are in flight.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Another seed is another run of luck.
    pub seed: u64,
    /// Added to each HTTP request; requests do not wait for each other.
    pub delay: Duration,
    /// At most this much more delay.
    pub jitter: Duration,
    /// A much longer wait, now and then.
    pub stall: Option<Stall>,
    /// The connection is closed without an answer.
    pub drop: Chance,
    /// The connection is closed in the middle of the answer.
    pub cut: Chance,
    /// HTTP errors instead of an answer; each entry is drawn on its own, the first drawn counts.
    pub http_status: Vec<HttpStatus>,
    /// JSON-RPC errors instead of a result.
    pub node_error: Option<NodeError>,
    /// Transactions that are handed in are answered with their hash and kept back: they reach no pool.
    pub swallow: bool,
    /// Answers inside a batch come in another order than the questions.
    pub reorder: bool,
    /// Answers to `eth_getLogs` lack logs.
    pub truncate_logs: Option<TruncateLogs>,
    /// Answers are those of a node so many blocks behind, which announces no heads.
    pub stale: Option<u64>,
    /// Only every second HTTP request meets the `stale` node: two nodes behind one URL. Heads are
    /// announced by the other one.
    pub alternate_stale: bool,
    /// Methods that the node does not have (-32601).
    pub strip_methods: Vec<&'static str>,
    /// It does not know which blocks are `safe` and `finalized`: those names are refused.
    pub no_finality: bool,
    /// State more than so many blocks below the head is gone.
    pub no_archive: Option<u64>,
    /// Logs come without `blockTimestamp`, as from old nodes.
    pub strip_block_timestamp: bool,
    /// How much may be asked of `eth_getLogs`.
    pub log_limits: Option<LogLimits>,
    /// What the node says that is not true.
    pub lie: Option<Lie>,
    /// WebSockets stay open, but no new head is announced.
    pub ws_silent: bool,
    /// No WebSocket is opened (those that are stay).
    pub ws_refuse: bool,
}

/// A request that hangs and is answered in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// How often.
    pub chance: Chance,
    /// For how long, besides the delay.
    pub duration: Duration,
}

/// An HTTP error instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpStatus {
    /// How often.
    pub chance: Chance,
    /// As in 429, 500, 503.
    pub status: u16,
    /// Seconds of the `Retry-After` header, if there is to be one.
    pub retry_after_secs: Option<u64>,
}

/// A JSON-RPC error instead of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeError {
    /// How often, for each call of a batch.
    pub chance: Chance,
    /// The code.
    pub code: i64,
    /// The text.
    pub message: String,
    /// Of which methods; empty is all.
    pub methods: Vec<&'static str>,
}

/// Which answers to `eth_getLogs` lack logs, and which logs. An empty answer stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TruncateLogs {
    /// How often.
    pub chance: Chance,
    /// Which logs are missing.
    pub lost: Lost,
}

/// The logs that are missing from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The last so many.
    Last(usize),
    /// The last ones, at least one and perhaps all.
    Suffix,
    /// Any, at least one.
    Random,
    /// All with this first topic, written as the node does: `0x` and 64 lower digits.
    Kind(&'static str),
}

/// What a node says that is not true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It claims to serve another chain.
    WrongChainId(u64),
    /// Above this height it is on a fork of its own: each block has another hash, the same wherever
    /// it is named, and children name their parents by it. Blocks of the true chain are unknown to it.
    ForkAbove(u64),
    /// So many of the non-empty log answers have a bit flipped in the data of one log.
    AlterLogData(Chance),
    /// So many of the non-empty log answers have a log that never was.
    InventLog(Chance),
}
