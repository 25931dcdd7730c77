//! A node that misbehaves: a JSON-RPC proxy, HTTP and WebSocket on one port, in front of a real one.
//!
//! Anvil never limits, lags, lies or fails; providers do. [`Faults`] says what is wrong, at any
//! time; [`Counts`] says what was asked and which faults had an effect. Answers that no fault
//! touches are passed on as they come, unread, so that a proxy may stand in front of a chain that is
//! measured.

mod exchange;
mod fate;
mod faults;
mod limits;
mod rewrite;
mod serve;
mod socket;
mod upstream;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{SeedableRng, rngs::StdRng};
use tokio::{net::TcpListener, sync::watch};

pub use faults::{Chance, Faults, HttpStatus, Lie, Lost, NodeError, Stall, TruncateLogs};
pub use limits::{LogLimits, Provider};

use crate::Error;
use fate::Asked;
use upstream::Upstream;

/// Different questions whose askings are counted; beyond it, fates begin anew.
const QUESTIONS_MAX: usize = 1_000_000;

/// What was asked and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// HTTP requests, without those that open a WebSocket.
    pub http: u64,
    /// WebSockets that were asked for.
    pub sockets: u64,
    /// JSON-RPC calls, of HTTP and WebSockets; a batch has many.
    pub calls: u64,
    /// The calls by their method.
    pub by_method: BTreeMap<String, u64>,
    /// How often each fault had an effect, by the name of its field in [`Faults`] or its variant of [`Lie`].
    pub faults: BTreeMap<&'static str, u64>,
    /// Logs that `truncate_logs` took out, in all.
    pub logs_dropped: u64,
}

/// A proxy in front of one node; it stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    // Each change closes all connections; its end closes them and the port.
    cut: watch::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    state: Mutex<State>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct State {
    faults: Arc<Faults>,
    /// How often each question was asked, by its hash.
    asked: HashMap<u64, u64>,
    /// Whether the next request meets the node that is behind, where there are two.
    lags_next: bool,
}

impl Proxy {
    /// Starts a proxy without faults on a free port.
    ///
    /// # Errors
    /// When the text is no `http` URL, or there is no port.
    pub async fn start(upstream_http_url: impl AsRef<str>) -> Result<Self, Error> {
        let upstream = Upstream::new(upstream_http_url.as_ref())?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(Error::Port)?;
        let address = listener.local_addr().map_err(Error::Port)?;
        let shared = Arc::new(Shared { upstream, state: Mutex::default(), counts: Mutex::default() });
        let (cut, cuts) = watch::channel(());
        tokio::spawn(serve::accept(listener, shared.clone(), cuts));
        Ok(Self { shared, address, cut })
    }

    /// HTTP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// WebSocket endpoint.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// From now on these faults and no others. Requests that are being answered keep theirs.
    pub fn set(&self, faults: Faults) {
        *self.shared.state() = State { faults: Arc::new(faults), ..State::default() };
    }

    /// What was asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts().clone()
    }

    /// Counts from 0 again.
    pub fn reset_counts(&self) {
        *self.shared.counts() = Counts::default();
    }

    /// Closes all connections, with the requests on them and the WebSockets. New ones are accepted.
    pub fn cut_connections(&self) {
        self.cut.send_replace(());
    }
}

/// What one request meets.
struct Luck {
    faults: Arc<Faults>,
    rng: StdRng,
    /// How many blocks the node is behind for it.
    lag: Option<u64>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self, fault: &'static str, times: u64) {
        *self.counts().faults.entry(fault).or_default() += times;
    }

    fn count_calls(&self, asked: &[Asked<'_>]) {
        let mut counts = self.counts();
        counts.calls += asked.len() as u64;
        for one in asked {
            match counts.by_method.get_mut(one.method.as_ref()) {
                Some(count) => *count += 1,
                None => drop(counts.by_method.insert(one.method.to_string(), 1)),
            }
        }
    }

    fn faults(&self) -> Arc<Faults> {
        self.state().faults.clone()
    }

    /// The luck of an HTTP request.
    fn luck(&self, asked: &[Asked<'_>]) -> Luck {
        let mut state = self.state();
        state.lags_next = !state.lags_next;
        let lags = state.lags_next || !state.faults.alternate_stale;
        state.luck(asked, lags)
    }

    /// The luck of a message on a WebSocket: the node that announces heads is not the one behind.
    fn socket_luck(&self, asked: &[Asked<'_>]) -> Luck {
        let mut state = self.state();
        let lags = !state.faults.alternate_stale;
        state.luck(asked, lags)
    }
}

impl State {
    fn luck(&mut self, asked: &[Asked<'_>], lags: bool) -> Luck {
        let mut question = DefaultHasher::new();
        self.faults.seed.hash(&mut question);
        for one in asked {
            one.method.hash(&mut question);
            one.params.map(|params| params.get()).hash(&mut question);
        }
        if self.asked.len() >= QUESTIONS_MAX {
            self.asked.clear();
        }
        let times = self.asked.entry(question.finish()).or_default();
        *times += 1;
        times.hash(&mut question);
        let rng = StdRng::seed_from_u64(question.finish());
        Luck { faults: self.faults.clone(), rng, lag: self.faults.stale.filter(|_| lags) }
    }
}
