//! Handing signed bytes to every endpoint, and what their answers together mean for an operation.

use std::time::{Duration, Instant};

use alloy_primitives::Bytes;
use chain::broadcast::{Remedy, SendVerdict};
use chain::pool::SendAnswer;
use chain::rpc::RpcError;

use crate::db::operation::State;
use crate::fleet::{Chain, Fleet};

/// Characters of a node's own words that are kept: enough for what all known nodes say.
const WORDS_MAX: usize = 160;

/// What the endpoints together said to a broadcast, up to the first that took it.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub verdict: SendVerdict,
    /// Each of them with its verdict, for people.
    pub answer: String,
    /// Every endpoint has refused the transaction itself, for what it is: none of them will ever take it.
    pub is_hopeless: bool,
}

/// Sends bytes to every endpoint; answers as soon as one has them in its pool. Nothing is decided here: that it may be done
/// was decided in a transaction that proved the lease and that the network is not held, and `decided` is from before it.
/// None, and nothing is sent, for whoever was stopped since for as long as a lease lives: another may hold it by now.
pub async fn hand_out(fleet: &Fleet, chain: &Chain, raw: &Bytes, decided: Instant) -> Option<Outcome> {
    if !still_stands(decided.elapsed(), Duration::from_millis(fleet.config.lease_ttl_ms)) {
        return None;
    }
    let (metrics, network) = (fleet.metrics.clone(), chain.name.clone());
    let heard = move |one: &SendAnswer| metrics.broadcast(&network, &format!("{:?}", one.verdict));
    let answers = chain.l1.broadcast(raw, heard).await;
    Some(Outcome {
        verdict: SendVerdict::most_telling(answers.iter().map(|one| one.verdict))
            .unwrap_or(SendVerdict::Unknown),
        answer: answers.iter().map(shown).collect::<Vec<_>>().join(", "),
        is_hopeless: !answers.is_empty() && answers.iter().all(is_our_error),
    })
}

/// Whether what was decided so long ago may still be done.
fn still_stands(ago: Duration, lease: Duration) -> bool {
    ago < lease
}

/// A node's own words are told where nothing else explains its verdict.
fn shown(one: &SendAnswer) -> String {
    let SendAnswer { endpoint, answer, verdict } = one;
    match answer {
        Err(RpcError::Node { source, .. })
            if verdict.remedy() == Remedy::FailStep || *verdict == SendVerdict::Refused =>
        {
            let words: String = source.message.chars().take(WORDS_MAX).collect();
            format!("{endpoint}: {verdict:?} ({words})")
        }
        _ => format!("{endpoint}: {verdict:?}"),
    }
}

/// Whether a node has refused the transaction for what it is. That an endpoint serves another chain, as we found out
/// ourselves, says nothing about it.
fn is_our_error(one: &SendAnswer) -> bool {
    one.verdict.remedy() == Remedy::FailStep && matches!(one.answer, Err(RpcError::Node { .. }))
}

/// Where an operation stands after a broadcast. The bytes may be in a pool unless every node refused them.
pub fn after_broadcast(verdict: SendVerdict, step: &str, nonce: i64, answer: &str) -> (State, String) {
    match verdict.remedy() {
        Remedy::Watch => (State::Broadcast, format!("{step} is sent with nonce {nonce}")),
        Remedy::WatchAndResend => (State::Broadcast, format!("{step} may be sent: no endpoint answered")),
        Remedy::FindWhoSpentTheNonce => {
            (State::Broadcast, format!("nonce {nonce} is spent: looking for the transaction that did it"))
        }
        Remedy::ResendEarlier => {
            (State::Signing, format!("{step} waits for lower nonces than {nonce}, which are sent again"))
        }
        Remedy::RaiseFees => (State::Broadcast, format!("{step} pays too little and is replaced")),
        Remedy::StopLane => (State::Signing, format!("the account is short of ETH for {step}: fund it")),
        Remedy::TryLater => (State::Signing, format!("the endpoints take no transactions now: {answer}")),
        Remedy::FailStep => (State::Signing, format!("the endpoints refuse {step}: {answer}")),
    }
}

#[cfg(test)]
mod tests {
    use chain::rpc::NodeError;

    use super::*;

    #[test]
    fn what_was_decided_before_a_lease_could_end_is_not_done() {
        let lease = Duration::from_millis(1_000);
        for (ago, stands) in [(0, true), (999, true), (1_000, false), (30_000, false)] {
            assert_eq!(still_stands(Duration::from_millis(ago), lease), stands, "{ago} ms ago");
        }
    }

    fn said(message: &str) -> SendAnswer {
        let endpoint = "one".to_owned();
        let source = NodeError { code: -32_000, message: message.to_owned(), data: None };
        let answer =
            Err(RpcError::Node { endpoint: endpoint.clone(), method: "eth_sendRawTransaction", source });
        SendAnswer { endpoint, verdict: SendVerdict::of(&answer), answer }
    }

    #[test]
    fn only_a_nodes_own_refusal_of_what_it_is_makes_a_transaction_hopeless() {
        for (message, is) in [
            ("exceeds block gas limit", true),
            ("invalid chain id for signer", true),
            ("tx fee (2.00 ether) exceeds the configured cap", true),
            ("already known", false),
            ("insufficient funds for gas * price + value", false),
            ("words that nobody knows", false),
        ] {
            assert_eq!(is_our_error(&said(message)), is, "{message}");
        }
        let answer = Err(RpcError::NoEndpoint { chain_id: 1 });
        let elsewhere = SendAnswer { endpoint: "two".to_owned(), verdict: SendVerdict::of(&answer), answer };
        assert_eq!(elsewhere.verdict.remedy(), Remedy::FailStep);
        assert!(!is_our_error(&elsewhere), "an endpoint of another chain says nothing about the transaction");
    }
}
