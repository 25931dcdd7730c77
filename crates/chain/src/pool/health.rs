//! How an endpoint is doing, and which to ask first. Pure: `now` is an argument.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

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

/// What is known of the chain behind an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Not asked yet, or not since the connection was last lost.
    Unproven,
    /// It serves our chain.
    Ours,
    /// It serves another chain, and is shut out.
    Other(u64),
}

/// The running record of one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Health {
    pub identity: Identity,
    pub latency: Option<Duration>,
    pub failure_rate: f64,
    pub failures_in_a_row: u32,
    pub rests_until: Option<Instant>,
    pub head: Option<u64>,
}

/// Order in which endpoints are asked: smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
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
            failures_in_a_row: 0,
            rests_until: None,
            head: None,
        }
    }

    pub fn answered(&mut self, took: Duration, head: Option<u64>) {
        self.latency = Some(match self.latency {
            Some(before) => before.mul_f64(1.0 - NEWEST) + took.mul_f64(NEWEST),
            None => took,
        });
        self.failure_rate *= 1.0 - NEWEST;
        self.failures_in_a_row = 0;
        self.rests_until = None;
        self.head = head.or(self.head);
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
            return;
        }
        if matches!(error, RpcError::Transport { .. }) {
            // Something else may answer under this address when it is back.
            self.identity = Identity::Unproven;
        }
        self.failure_rate = self.failure_rate * (1.0 - NEWEST) + NEWEST;
        let doubled = REST_MIN.saturating_mul(1 << self.failures_in_a_row.min(16)).min(REST_MAX);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.rests_until = Some(now + error.retry_after().unwrap_or(doubled).min(REST_MAX));
    }

    /// The place in the order; none for an endpoint that is shut out.
    pub fn rank(&self, now: Instant, best_head: Option<u64>) -> Option<Rank> {
        if matches!(self.identity, Identity::Other(_)) {
            return None;
        }
        let until = self.rests_until.filter(|until| *until > now);
        let lag = best_head.zip(self.head).map_or(0, |(best, own)| best.saturating_sub(own));
        let latency_ms = self.latency.unwrap_or_default().as_secs_f64() * 1_000.0;
        let cost_ms = (latency_ms + self.failure_rate * FAILURE_COST_MS) as u64;
        Some(Rank { rests: until.is_some(), lags: lag > LAG_MAX, until, cost_ms })
    }
}

/// The places of those that may be asked, best first.
pub(super) fn order(all: &[Health], now: Instant) -> Vec<usize> {
    let best_head =
        all.iter().filter(|health| health.identity == Identity::Ours).filter_map(|h| h.head).max();
    let mut ranked: Vec<(Rank, usize)> = all
        .iter()
        .enumerate()
        .filter_map(|(place, health)| Some((health.rank(now, best_head)?, place)))
        .collect();
    ranked.sort_by_key(|(rank, place)| (*rank, Reverse(all[*place].head), *place));
    ranked.into_iter().map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy(latency_ms: u64, head: u64) -> Health {
        let mut health = Health::new();
        health.identity = Identity::Ours;
        health.answered(Duration::from_millis(latency_ms), Some(head));
        health
    }

    fn timeout() -> RpcError {
        RpcError::Timeout { endpoint: "test".to_owned(), after: Duration::from_secs(1) }
    }

    #[test]
    fn the_fastest_goes_first_and_a_lagging_one_last() {
        let all = [healthy(50, 100), healthy(1, 90), healthy(20, 100)];
        assert_eq!(order(&all, Instant::now()), [2, 0, 1]);
    }

    #[test]
    fn an_endpoint_of_another_chain_is_never_asked() {
        let mut foreign = healthy(1, 100);
        foreign.identity = Identity::Other(5);
        assert_eq!(order(&[foreign, healthy(50, 100)], Instant::now()), [1]);
    }

    #[test]
    fn a_foreign_head_does_not_make_ours_lag() {
        let mut foreign = healthy(1, 1_000_000);
        foreign.identity = Identity::Other(5);
        let now = Instant::now();
        assert!(!healthy(1, 100).rank(now, Some(100)).unwrap().lags);
        assert_eq!(order(&[foreign, healthy(1, 100), healthy(2, 100)], now), [1, 2]);
    }

    #[test]
    fn a_failing_endpoint_rests_longer_each_time_and_is_back_with_its_first_answer() {
        let now = Instant::now();
        let mut health = healthy(1, 100);
        health.failed(&timeout(), now);
        assert_eq!(health.rests_until, Some(now + REST_MIN));
        health.failed(&timeout(), now);
        assert_eq!(health.rests_until, Some(now + REST_MIN * 2));
        (0..40).for_each(|_| health.failed(&timeout(), now));
        assert_eq!(health.rests_until, Some(now + REST_MAX));
        health.answered(Duration::from_millis(1), None);
        assert_eq!(health.rests_until, None);
    }

    #[test]
    fn a_tired_endpoint_rests_for_as_long_as_it_asks() {
        let now = Instant::now();
        let mut health = healthy(1, 100);
        let retry_after = Some(Duration::from_secs(7));
        health.failed(&RpcError::Status { endpoint: "test".to_owned(), status: 429, retry_after }, now);
        assert_eq!(health.rests_until, Some(now + Duration::from_secs(7)));
        assert_eq!(order(&[health, healthy(900, 100)], now), [1, 0]);
    }
}
