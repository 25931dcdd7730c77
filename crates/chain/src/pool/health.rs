//! How an endpoint is doing, and which to ask first. Pure: `now` is an argument.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use alloy_primitives::B256;

use crate::rpc::{NodeErrorKind, RpcError};

/// Weight of the newest observation in the moving averages: ten answers tell more than one.
const NEWEST: f64 = 0.1;
/// Rest after a first failure; it doubles with each further one.
const REST_MIN: Duration = Duration::from_millis(250);
/// Longest rest: a node that came back is used again after at most this.
const REST_MAX: Duration = Duration::from_secs(30);
/// Blocks an endpoint may be behind the best one: heads reach honest nodes at different moments.
const LAG_MAX: u64 = 3;
/// What an endpoint that always fails costs in the ranking, in milliseconds of latency.
const FAILURE_COST_MS: f64 = 5_000.0;
/// Longest rest on the endpoint's own demand: some name the end of the day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// What was heard of a head is forgotten after this: the chain goes on while an endpoint is not asked.
const HEAD_FRESH: Duration = Duration::from_secs(10);
/// Time for which an endpoint that gave an incomplete or contradictory answer goes after all others.
const DISTRUST: Duration = Duration::from_secs(300);
/// Time in which one question finds out whether an endpoint is back, before another may try.
pub(super) const PROBE: Duration = Duration::from_secs(2);

/// What is known of the chain behind an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Not asked yet, or not since the connection was last lost.
    Unproven,
    /// It serves our chain.
    Ours,
    /// It serves another chain, and is shut out.
    Other(u64),
    /// It serves a fork of our chain, and is shut out until it has our block again.
    Fork {
        /// The block by which it is told.
        number: u64,
    },
}

impl Identity {
    /// Whether the endpoint serves something else than our chain.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::Other(_) | Self::Fork { .. })
    }
}

/// A block by which a chain is told from its forks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

/// The running record of one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Health {
    pub identity: Identity,
    pub latency: Option<Duration>,
    pub failure_rate: f64,
    pub failures: u64,
    pub head: Option<u64>,
    pub distrusts: u64,
    failures_in_a_row: u32,
    /// Stays after its time has come, until the endpoint has answered: in between it is on trial.
    rests_until: Option<Instant>,
    probed_until: Option<Instant>,
    head_at: Option<Instant>,
    distrusted_until: Option<Instant>,
    /// The block to be proven before the endpoint is used again, and when that is tried.
    fork: Option<(At, Instant)>,
}

/// Whether questions are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Circuit {
    Closed,
    Open(Instant),
    /// The rest is over and no one has asked since.
    HalfOpen,
    /// One question is finding out.
    Probed(Instant),
}

/// How a question is let through to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// At once.
    Go,
    /// It is the one that finds out whether the endpoint is back.
    Probe,
    /// Another one is finding out: ask elsewhere first.
    Yield,
}

/// Order in which endpoints are asked: smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    distrusted: bool,
    rests: bool,
    lags: bool,
    /// Of two that rest, the one that rests longer goes last.
    until: Option<Instant>,
    cost_ms: u64,
}

impl Health {
    pub fn new() -> Self {
        Self {
            identity: Identity::Unproven,
            latency: None,
            failure_rate: 0.0,
            failures: 0,
            head: None,
            distrusts: 0,
            failures_in_a_row: 0,
            rests_until: None,
            probed_until: None,
            head_at: None,
            distrusted_until: None,
            fork: None,
        }
    }

    /// Records an answer; `took` is only given for small reads, because others take as long as they are large.
    pub fn answered(&mut self, took: Option<Duration>, head: Option<u64>, now: Instant) {
        if let Some(took) = took {
            self.took(took);
        }
        self.failure_rate *= 1.0 - NEWEST;
        self.failures_in_a_row = 0;
        self.rests_until = None;
        self.probed_until = None;
        if let Some(head) = head {
            self.saw(head, now);
        }
    }

    /// Records a head that came by itself.
    pub fn saw(&mut self, head: u64, now: Instant) {
        (self.head, self.head_at) = (Some(head), Some(now));
    }

    /// Records that no answer came within a time, of a question that is no longer waited for.
    pub fn overtaken(&mut self, after: Duration) {
        if self.latency.is_none_or(|latency| latency < after) {
            self.took(after);
        }
    }

    fn took(&mut self, took: Duration) {
        let mean = |before: Duration| before.mul_f64(1.0 - NEWEST) + took.mul_f64(NEWEST);
        self.latency = Some(self.latency.map_or(took, mean));
    }

    /// Records a failure, unless it says nothing about the endpoint's health.
    pub fn failed(&mut self, error: &RpcError, now: Instant) {
        let lacks_something = error.node().is_some_and(|node| {
            matches!(
                node.kind(),
                NodeErrorKind::UnknownBlock
                    | NodeErrorKind::StateUnavailable
                    | NodeErrorKind::MethodUnavailable
            )
        });
        if !error.is_endpoints_fault() || lacks_something {
            // A refusal is an answer too.
            return self.answered(None, None, now);
        }
        if matches!(error, RpcError::Budget { .. }) {
            return;
        }
        if matches!(error, RpcError::Transport { .. }) && self.identity == Identity::Ours {
            // Something else may answer under this address when it is back.
            self.identity = Identity::Unproven;
        }
        self.failures += 1;
        self.failure_rate = self.failure_rate * (1.0 - NEWEST) + NEWEST;
        let asked = error.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX);
        // Questions that were on their way together fail together: that is one failure.
        let rest = if self.rests(now) { Duration::ZERO } else { self.next_rest() };
        self.rests_until = self.rests_until.max(Some(now + rest.max(asked)));
        self.probed_until = None;
    }

    fn next_rest(&mut self) -> Duration {
        let rest = REST_MIN.saturating_mul(1 << self.failures_in_a_row.min(16)).min(REST_MAX);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        rest
    }

    /// Puts the endpoint after all others for a while.
    pub fn distrust(&mut self, now: Instant) {
        self.distrusts += 1;
        self.distrusted_until = Some(now + DISTRUST);
    }

    pub fn is_distrusted(&self, now: Instant) -> bool {
        self.distrusted_until.is_some_and(|until| until > now)
    }

    /// Shuts the endpoint out until it has this block, which it is not asked for before.
    pub fn shut_out(&mut self, at: At, until: Instant) {
        self.identity = Identity::Fork { number: at.number };
        self.fork = Some((at, until));
        self.probed_until = None;
    }

    /// The block by which a shut-out endpoint can prove that it is back.
    pub fn fork(&self) -> Option<At> {
        self.fork.map(|(at, _)| at)
    }

    /// Records that the endpoint serves our chain, and has this block where it was shut out for another.
    pub fn proven(&mut self, has: Option<At>) {
        if self.fork() == has {
            self.fork = None;
            self.identity = Identity::Ours;
        }
    }

    pub fn rests(&self, now: Instant) -> bool {
        matches!(self.circuit(now), Circuit::Open(_))
    }

    /// Lets a question through: after a rest only one, as long as the others can go elsewhere.
    pub fn admit(&mut self, elsewhere: bool, now: Instant) -> Admission {
        match self.circuit(now) {
            Circuit::HalfOpen => {
                self.probed_until = Some(now + PROBE);
                Admission::Probe
            }
            Circuit::Probed(_) if elsewhere => Admission::Yield,
            Circuit::Probed(_) | Circuit::Open(_) | Circuit::Closed => Admission::Go,
        }
    }

    fn circuit(&self, now: Instant) -> Circuit {
        match self.rests_until.max(self.fork.map(|(_, until)| until)) {
            None => Circuit::Closed,
            Some(until) if until > now => Circuit::Open(until),
            Some(_) => match self.probed_until {
                Some(until) if until > now => Circuit::Probed(until),
                _ => Circuit::HalfOpen,
            },
        }
    }

    /// The place in the order, where the endpoint's budget asks for a `wait`; none for one that is shut out.
    pub fn rank(&self, wait: Duration, now: Instant, best_head: Option<u64>) -> Option<Rank> {
        let circuit = self.circuit(now);
        let shut = match self.identity {
            Identity::Other(_) => true,
            Identity::Fork { .. } => matches!(circuit, Circuit::Open(_)),
            Identity::Unproven | Identity::Ours => false,
        };
        if shut {
            return None;
        }
        let until = match circuit {
            Circuit::Open(until) | Circuit::Probed(until) => Some(until),
            Circuit::Closed | Circuit::HalfOpen => None,
        };
        // On trial, past failures do not count: it would never be tried.
        let failure_rate = if circuit == Circuit::HalfOpen { 0.0 } else { self.failure_rate };
        let latency_ms = (self.latency.unwrap_or_default() + wait).as_secs_f64() * 1_000.0;
        let cost_ms = (latency_ms + failure_rate * FAILURE_COST_MS) as u64;
        let lag = best_head.zip(self.fresh_head(now)).map_or(0, |(best, own)| best.saturating_sub(own));
        let distrusted = self.is_distrusted(now);
        Some(Rank { distrusted, rests: until.is_some(), lags: lag > LAG_MAX, until, cost_ms })
    }

    fn fresh_head(&self, now: Instant) -> Option<u64> {
        self.head_at.filter(|at| now.saturating_duration_since(*at) <= HEAD_FRESH).and(self.head)
    }
}

/// The places of those that may be asked, best first. Each comes with the wait that its budget asks for.
pub(super) fn order(all: &[(Health, Duration)], now: Instant) -> Vec<usize> {
    let ours = all.iter().filter(|(health, _)| health.identity == Identity::Ours);
    let best_head = ours.filter_map(|(health, _)| health.head).max();
    let mut ranked: Vec<(Rank, usize)> = all
        .iter()
        .enumerate()
        .filter_map(|(place, (health, wait))| Some((health.rank(*wait, now, best_head)?, place)))
        .collect();
    ranked.sort_by_key(|(rank, place)| (*rank, Reverse(all[*place].0.head), *place));
    ranked.into_iter().map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy(latency_ms: u64, head: u64) -> Health {
        let mut health = Health::new();
        health.proven(None);
        health.answered(Some(Duration::from_millis(latency_ms)), Some(head), Instant::now());
        health
    }

    fn timeout() -> RpcError {
        RpcError::Timeout { endpoint: "test".to_owned(), after: Duration::from_secs(1) }
    }

    fn order_of<const N: usize>(all: [&Health; N], now: Instant) -> Vec<usize> {
        order(&all.map(|health| (health.clone(), Duration::ZERO)), now)
    }

    #[test]
    fn the_fastest_goes_first_and_a_lagging_one_last() {
        let all = [&healthy(50, 100), &healthy(1, 90), &healthy(20, 100)];
        assert_eq!(order_of(all, Instant::now()), [2, 0, 1]);
        let later = Instant::now() + HEAD_FRESH * 2;
        assert_eq!(order_of(all, later), [1, 2, 0], "what was heard long ago is no lag");
    }

    #[test]
    fn an_endpoint_without_tokens_goes_after_one_that_answers_before_it_has_some() {
        let all = [(healthy(1, 100), Duration::from_millis(100)), (healthy(50, 100), Duration::ZERO)];
        assert_eq!(order(&all, Instant::now()), [1, 0]);
    }

    #[test]
    fn an_endpoint_of_another_chain_is_never_asked_and_its_head_makes_no_one_lag() {
        let mut foreign = healthy(1, 1_000_000);
        foreign.identity = Identity::Other(5);
        assert_eq!(order_of([&foreign, &healthy(1, 100), &healthy(2, 100)], Instant::now()), [1, 2]);
    }

    #[test]
    fn a_failing_endpoint_rests_longer_each_time_and_is_back_with_its_first_answer() {
        let mut now = Instant::now();
        let mut health = healthy(1, 100);
        for rest in [REST_MIN, REST_MIN * 2, REST_MIN * 4] {
            health.failed(&timeout(), now);
            health.failed(&timeout(), now);
            assert_eq!(health.rests_until, Some(now + rest), "two failures at once are one");
            now += rest;
        }
        for _ in 0..20 {
            health.failed(&timeout(), now);
            now += REST_MAX;
        }
        assert_eq!((health.rests_until, health.failures), (Some(now), 26));
        health.answered(Some(Duration::from_millis(1)), None, now);
        assert_eq!(health.circuit(now), Circuit::Closed);
    }

    #[test]
    fn a_tired_endpoint_rests_for_as_long_as_it_asks() {
        let now = Instant::now();
        let mut health = healthy(1, 100);
        let retry_after = Some(Duration::from_secs(70));
        health.failed(&RpcError::Status { endpoint: "test".to_owned(), status: 429, retry_after }, now);
        health.failed(&timeout(), now);
        assert_eq!(health.rests_until, Some(now + Duration::from_secs(70)));
        assert_eq!(order_of([&health, &healthy(900, 100)], now), [1, 0]);
    }

    #[test]
    fn after_a_rest_exactly_one_question_finds_out_and_the_others_go_elsewhere() {
        let now = Instant::now();
        let mut health = healthy(1, 100);
        health.failed(&timeout(), now);
        let other = healthy(20, 100);
        assert_eq!(order_of([&health, &other], now), [1, 0]);
        let then = now + REST_MIN;
        assert_eq!(order_of([&health, &other], then), [0, 1], "its failure is not held against it now");
        assert_eq!(health.admit(true, then), Admission::Probe);
        assert_eq!(order_of([&health, &other], then), [1, 0]);
        assert_eq!(health.admit(true, then), Admission::Yield);
        assert_eq!(health.admit(false, then), Admission::Go, "with nowhere else to go, it is asked");
        assert_eq!(
            health.clone().admit(true, then + PROBE),
            Admission::Probe,
            "a lost probe blocks no one for long"
        );
        health.answered(None, None, then);
        assert_eq!(health.admit(true, then), Admission::Go);
    }

    #[test]
    fn a_distrusted_endpoint_goes_after_all_others_for_a_while() {
        let now = Instant::now();
        let (mut liar, mut resting) = (healthy(1, 100), healthy(1, 100));
        liar.distrust(now);
        resting.failed(&timeout(), now);
        assert_eq!(order_of([&liar, &resting], now), [1, 0]);
        assert_eq!(order_of([&liar, &healthy(9, 100)], now + DISTRUST), [0, 1]);
        assert_eq!(liar.distrusts, 1);
    }

    #[test]
    fn an_endpoint_on_a_fork_is_not_asked_until_it_may_prove_itself() {
        let now = Instant::now();
        let at = At { number: 7, hash: B256::repeat_byte(7) };
        let mut forked = healthy(1, 100);
        let then = now + Duration::from_secs(600);
        forked.shut_out(at, then);
        forked.answered(None, None, now);
        assert_eq!(order_of([&forked], now), [0; 0]);
        assert_eq!(order_of([&forked], then), [0]);
        assert_eq!(forked.admit(true, then), Admission::Probe);
        forked.proven(None);
        assert_eq!(forked.identity, Identity::Fork { number: 7 }, "the right chain id proves nothing");
        forked.proven(Some(at));
        assert_eq!((forked.identity, forked.circuit(then)), (Identity::Ours, Circuit::Closed));
    }

    #[test]
    fn a_question_that_was_overtaken_tells_that_the_endpoint_is_slow() {
        let mut health = healthy(10, 100);
        health.overtaken(Duration::from_millis(1));
        assert_eq!(health.latency, Some(Duration::from_millis(10)));
        health.overtaken(Duration::from_millis(110));
        assert_eq!(health.latency, Some(Duration::from_millis(20)));
    }
}
