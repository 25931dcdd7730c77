//! Handing signed bytes to every endpoint, and what their answers together mean for an operation.

use alloy_primitives::Bytes;
use chain::broadcast::{Remedy, SendVerdict};
use chain::pool::SendAnswer;

use crate::db::operation::State;
use crate::fleet::{Chain, Fleet};

/// What the endpoints together said to a broadcast, up to the first that took it.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub verdict: SendVerdict,
    /// Each of them with its verdict, for people.
    pub answer: String,
}

/// Sends bytes to every endpoint; answers as soon as one has them in its pool. Nothing is decided here.
pub async fn hand_out(fleet: &Fleet, chain: &Chain, raw: &Bytes) -> Outcome {
    let (metrics, network) = (fleet.metrics.clone(), chain.name.clone());
    let heard = move |one: &SendAnswer| metrics.broadcast(&network, &format!("{:?}", one.verdict));
    let answers = chain.l1.broadcast(raw, heard).await;
    let verdict = SendVerdict::most_telling(answers.iter().map(|one| one.verdict));
    let answer: Vec<String> =
        answers.iter().map(|one| format!("{}: {:?}", one.endpoint, one.verdict)).collect();
    Outcome { verdict: verdict.unwrap_or(SendVerdict::Unknown), answer: answer.join(", ") }
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
            (State::Broadcast, format!("{step} waits for a transaction with a lower nonce"))
        }
        Remedy::RaiseFees => (State::Broadcast, format!("{step} pays too little and is replaced")),
        Remedy::StopLane => (State::Signing, format!("the account is short of ETH for {step}: fund it")),
        Remedy::TryLater => (State::Signing, format!("the endpoints take no transactions now: {answer}")),
        Remedy::FailStep => (State::Signing, format!("every endpoint refuses {step}: {answer}")),
    }
}
