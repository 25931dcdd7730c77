//! Ranges of final blocks, fetched several at once and handed out in order.
//!
//! Memory is bounded: each range aims at answers of about 2 MB, and [`FLIGHTS`] of them are under way. A range that is
//! refused as too large is cut in place; those behind it are not touched.

use std::collections::VecDeque;
use std::time::Duration;

use chain::pool::EndpointId;
use tokio::task::JoinHandle;

use super::fetch::{self, FetchError, Fetched};
use super::range::Range;
use crate::source::Source;

/// Ranges under way at once: enough to hide 50 ms for each request, few enough for 80 MB in all.
const FLIGHTS: usize = 4;
/// A range much larger than any answered so far may be crowded: only one of them is tried at once.
const FLIGHTS_UNTRIED: usize = 1;
const UNTRIED_TIMES: u64 = 2;

/// Attempts for one range before the whole backfill begins again from its checkpoint.
const TRIES_MAX: u32 = 6;
/// Pauses between them; endpoints also rest on their own, in the pool.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A range on its way.
#[derive(Debug)]
struct Flight {
    from: u64,
    to: u64,
    task: JoinHandle<Result<(Fetched, EndpointId), FetchError>>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A range that was fetched.
#[derive(Debug)]
pub struct Landed {
    /// First block.
    pub from: u64,
    /// Last block.
    pub to: u64,
    /// What is in it.
    pub fetched: Fetched,
    /// Who gave it.
    pub endpoint: EndpointId,
}

/// Final blocks up to an end.
#[derive(Debug)]
pub struct Ranges {
    source: Source,
    next: u64,
    end: u64,
    size: Range,
    /// Endpoints that are asked last.
    avoid: Vec<EndpointId>,
    /// Blocks of the last range that was answered.
    tried: u64,
    flights: VecDeque<Flight>,
}

impl Ranges {
    /// From a block to another, both included, beginning with ranges of this size.
    pub fn new(source: &Source, (from, end): (u64, u64), size: Range) -> Self {
        let tried = if size == Range::default() { 0 } else { size.blocks() };
        let (source, avoid) = (source.clone(), Vec::new());
        Self { source, next: from, end, size, avoid, tried, flights: VecDeque::new() }
    }

    /// The same, preferably not from these endpoints.
    pub fn besides(self, avoid: &[EndpointId]) -> Self {
        Self { avoid: avoid.to_vec(), ..self }
    }

    /// The size that ranges have now.
    pub fn size(&self) -> Range {
        self.size
    }

    /// The next range in order; none after the last.
    ///
    /// # Errors
    /// [`FetchError`]; the range is then still the next.
    pub async fn next(&mut self) -> Result<Option<Landed>, FetchError> {
        loop {
            self.take_off();
            let Some(flight) = self.flights.front_mut() else { return Ok(None) };
            let (from, to) = (flight.from, flight.to);
            let landed = (&mut flight.task).await.unwrap_or(Err(FetchError::Interrupted));
            self.flights.pop_front();
            match landed {
                Ok((fetched, endpoint)) => {
                    self.tried = to - from + 1;
                    self.size.answered(self.tried, fetched.logs.len());
                    return Ok(Some(Landed { from, to, fetched, endpoint }));
                }
                Err(FetchError::Ask { source, .. }) if self.size.refused((from, to), &source) => {
                    let (network, blocks) = (&self.source.network, self.size.blocks());
                    tracing::info!(
                        network,
                        "a range was too large for the endpoint, asking for {blocks} blocks now"
                    );
                    self.cut(from, to);
                }
                Err(error) => {
                    self.again(from, to, &[]);
                    return Err(error);
                }
            }
        }
    }

    /// Has a range fetched again before all others, preferably not from these endpoints.
    pub fn again(&mut self, from: u64, to: u64, avoid: &[EndpointId]) {
        let flight = self.flight(from, to, avoid.to_vec());
        self.flights.push_front(flight);
    }

    fn take_off(&mut self) {
        let untried = self.size.blocks() > self.tried.saturating_mul(UNTRIED_TIMES);
        let most = if untried { FLIGHTS_UNTRIED } else { FLIGHTS };
        while self.flights.len() < most && self.next <= self.end {
            let (from, to) = (self.next, self.size.to(self.next, self.end));
            let flight = self.flight(from, to, Vec::new());
            self.flights.push_back(flight);
            self.next = to + 1;
        }
    }

    /// Replaces a range by smaller ones of the size that is right now. If these are many, everything behind the first
    /// few is asked for anew when its turn comes: it would be too large as well.
    fn cut(&mut self, from: u64, to: u64) {
        let mut pieces = Vec::new();
        let mut next = from;
        while next <= to && pieces.len() < FLIGHTS {
            let last = self.size.to(next, to);
            pieces.push((next, last));
            next = last + 1;
        }
        if next <= to {
            self.flights.clear();
            self.next = next;
        }
        for (from, to) in pieces.into_iter().rev() {
            self.again(from, to, &[]);
        }
    }

    fn flight(&self, from: u64, to: u64, mut avoid: Vec<EndpointId>) -> Flight {
        avoid.extend(&self.avoid);
        let source = self.source.clone();
        let task = tokio::spawn(async move { fetch_patiently(&source, (from, to), avoid).await });
        Flight { from, to, task }
    }
}

/// Asks again after failures that pass, so that one of them does not throw away the ranges behind it.
async fn fetch_patiently(
    source: &Source,
    (from, to): (u64, u64),
    mut avoid: Vec<EndpointId>,
) -> Result<(Fetched, EndpointId), FetchError> {
    let mut pause = PAUSE_MIN;
    for _ in 1..TRIES_MAX {
        match fetch::range(source, (from, to), &avoid).await {
            Err(FetchError::Ask { source, .. }) if source.log_refusal().is_none() => {}
            Err(FetchError::Disagreed { between: Some(endpoint), .. }) => avoid.push(endpoint),
            Err(FetchError::Missing { .. } | FetchError::Moved { .. }) => {}
            done => return done,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    fetch::range(source, (from, to), &avoid).await
}
