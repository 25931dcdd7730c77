//! The ways to ask a pool: one after the other, two in a race, or all at once.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, join_all, select};
use tokio::time::timeout;
use tracing::debug;

use super::health::Admission;
use super::{EndpointId, Pool};
use crate::rpc::{Ask, RpcError};

/// Endpoints tried for one question: with more, the caller waits longer than its question is worth.
const TRIES_MAX: usize = 3;
/// After so many times its usual time an endpoint is taken to be slow, and a second one is asked as well.
const HEDGE_FACTOR: u32 = 3;
/// Hedging sooner would double the load for the sake of ordinary variance.
const HEDGE_MIN: Duration = Duration::from_millis(50);
/// A head that is later than this is late by any measure.
const HEDGE_MAX: Duration = Duration::from_secs(1);

impl Pool {
    /// Asks the endpoint that is doing best, and on its failure the next ones.
    ///
    /// # Errors
    /// The node's refusal, or the most telling failure if no endpoint gave an answer.
    pub async fn ask<A: Ask>(&self, ask: A) -> Result<A::Answer, RpcError> {
        Ok(self.in_turn(&self.order(), &ask).await?.0)
    }

    /// As [`Pool::ask`], and tells which endpoint gave the answer.
    ///
    /// # Errors
    /// As [`Pool::ask`].
    pub async fn ask_told<A: Ask>(&self, ask: A) -> Result<(A::Answer, EndpointId), RpcError> {
        self.in_turn(&self.order(), &ask).await
    }

    /// As [`Pool::ask_told`], but the endpoints named are asked last: for a second opinion on their answers.
    ///
    /// # Errors
    /// As [`Pool::ask`].
    pub async fn ask_besides<A: Ask>(
        &self,
        last: &[EndpointId],
        ask: A,
    ) -> Result<(A::Answer, EndpointId), RpcError> {
        let mut order = self.order();
        order.sort_by_key(|place| last.contains(&EndpointId(*place)));
        self.in_turn(&order, &ask).await
    }

    /// Asks every endpoint that is not shut out, all at once. The best comes first.
    pub async fn ask_each<A: Ask>(&self, ask: A) -> Vec<(EndpointId, Result<A::Answer, RpcError>)> {
        let one = |place: usize| {
            let (ask, member) = (&ask, &self.0.members[place]);
            async move {
                let probe = member.admit(false) == Admission::Probe;
                (EndpointId(place), member.ask(ask, &self.0, probe).await)
            }
        };
        let all: Vec<_> = self.order().into_iter().map(one).collect();
        join_all(all).await
    }

    /// As [`Pool::ask`], but when the best endpoint takes longer than it should, the next ones are asked as well and
    /// the first good answer wins. For small questions whose answer is wanted at once, such as the head.
    ///
    /// # Errors
    /// As [`Pool::ask`].
    pub async fn ask_hedged<A: Ask>(&self, ask: A) -> Result<A::Answer, RpcError> {
        let order = self.order();
        let Some((best, rest)) = order.split_first().filter(|(_, rest)| !rest.is_empty()) else {
            return Ok(self.in_turn(&order, &ask).await?.0);
        };
        let best = &self.0.members[*best];
        let patience = best.health().latency.map_or(HEDGE_MAX, |usual| usual * HEDGE_FACTOR);
        let patience = patience.clamp(HEDGE_MIN, HEDGE_MAX);
        let mut first = pin!(self.in_turn(&order[..1], &ask));
        match timeout(patience, first.as_mut()).await {
            Ok(Ok((answer, _))) => return Ok(answer),
            Ok(Err(error)) if !error.is_endpoints_fault() => return Err(error),
            Ok(Err(_)) => return Ok(self.in_turn(rest, &ask).await?.0),
            Err(_) => debug!(endpoint = best.endpoint.name(), "it is slow, asking another one as well"),
        }
        let second = pin!(self.in_turn(rest, &ask));
        let won = match select(first, second).await {
            Either::Left((Ok(won), _)) => won,
            Either::Left((Err(_), second)) => second.await?,
            Either::Right((Ok(won), _)) => {
                best.health().overtaken(patience);
                won
            }
            Either::Right((Err(_), first)) => first.await?,
        };
        Ok(won.0)
    }

    async fn in_turn<A: Ask>(&self, order: &[usize], ask: &A) -> Result<(A::Answer, EndpointId), RpcError> {
        let mut failure = RpcError::NoEndpoint { chain_id: self.0.chain_id };
        let mut waiting: VecDeque<(usize, bool)> = order.iter().map(|place| (*place, true)).collect();
        let mut tries = 0;
        while let Some((place, may_yield)) = waiting.pop_front() {
            let member = &self.0.members[place];
            let admission = member.admit(may_yield && !waiting.is_empty());
            if admission == Admission::Yield {
                waiting.push_back((place, false));
                continue;
            }
            let error = match member.ask(ask, &self.0, admission == Admission::Probe).await {
                Ok(answer) => return Ok((answer, EndpointId(place))),
                Err(error) => error,
            };
            if !error.is_endpoints_fault() {
                return Err(error);
            }
            debug!(error = &error as &dyn std::error::Error, "an endpoint failed, asking the next");
            if tries == 0 || telling(&error) > telling(&failure) {
                failure = error;
            }
            tries += 1;
            if tries == TRIES_MAX {
                break;
            }
        }
        Err(failure)
    }
}

/// "I do not have that block" tells the caller more than "ask for less", and that more than "I cannot be reached".
fn telling(error: &RpcError) -> u8 {
    match error {
        error if error.node().is_some() => 2,
        error if error.log_refusal().is_some() => 1,
        _ => 0,
    }
}
