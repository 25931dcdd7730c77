//! Verdict and signature in one call: SignTransaction, and SignTransactions for many at once.
//!
//! Parsed and judged here, decided by the database with whatever else is asked just then (`crate::decisions`), and
//! only then is the key used. A crash after the decision loses nothing: the same request is decided as a repetition
//! and the same payload gets the same signature (`keyring`), so it gets the same bytes.

mod judge;
mod parse;
mod refuse;
mod spread;
pub mod transaction;
pub mod transactions;

use std::sync::Arc;
use std::time::Instant;

use alloy_consensus::transaction::SignableTransaction;
use api::keys::v1::{SignTransactionRequest, SignTransactionResponse};
use api::reasons::POLICY_CONFLICT;
use runtime::errors::Refusal;

use super::{clip, recorded};
use crate::audit::Entry;
use crate::backend::Payload;
use crate::db::decision::{Decided, Decision, Question};
use crate::db::key::Key;
use crate::error::{Declined, Failure};
use crate::floors;
use crate::keyring::{InForce, Keyring};
use judge::Judged;
use parse::Asked;

/// Times that the policy may change under one request.
const ATTEMPTS_MAX: u32 = 3;

/// A request on its way, and what it is recorded as.
#[derive(Clone)]
struct Draft {
    entry: Entry,
    /// A well-formed request and its key, or what is wrong with it.
    asked: Result<(Asked, Arc<Key>), Refusal>,
}

/// A draft with what the policy says of it, as it is put to the database.
struct Put {
    draft: Draft,
    policy: Arc<InForce>,
    /// `None` for bad input, which no policy was asked about.
    judged: Option<Judged>,
}

/// How one request ended.
type Answer = Result<SignTransactionResponse, Declined>;

/// Signs what may be signed, and gives an answer for each request, in their order.
async fn sign(
    keyring: &Arc<Keyring>,
    caller: &str,
    requests: Vec<SignTransactionRequest>,
) -> Result<Vec<Answer>, Declined> {
    let begun = Instant::now();
    let _place = keyring.decisions.place()?;
    let mut answers: Vec<Option<Answer>> = requests.iter().map(|_| None).collect();
    let mut open = Vec::with_capacity(requests.len());
    for (place, request) in requests.into_iter().enumerate() {
        match draft(keyring, caller, request).await {
            Ok(draft) => open.push((place, draft)),
            Err(declined) => fill(&mut answers, place, Err(declined)),
        }
    }
    for _ in 0..ATTEMPTS_MAX {
        let (released, stale) = attempt(keyring, open).await?;
        for (place, answer) in released {
            fill(&mut answers, place, answer);
        }
        open = stale;
        if open.is_empty() {
            break;
        }
        keyring.reload_policy().await?;
    }
    for (place, Draft { entry, asked: _ }) in open {
        let refusal = Refusal::new(&POLICY_CONFLICT, "the policy keeps changing");
        let refused = recorded(keyring, &entry, async { Err(refusal.into()) });
        fill(&mut answers, place, refused.await);
    }
    keyring.metrics.signed(begun.elapsed());
    Ok(answers.into_iter().map(|answer| answer.unwrap_or(Err(Failure::Undecided.into()))).collect())
}

fn fill(answers: &mut [Option<Answer>], place: usize, answer: Answer) {
    if let Some(open) = answers.get_mut(place) {
        *open = Some(answer);
    }
}

async fn draft(keyring: &Keyring, caller: &str, request: SignTransactionRequest) -> Result<Draft, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "SignTransaction",
        key_id: clip(&request.key_id),
        operation_id: clip(&request.operation_id),
        network: clip(&request.network),
        ..Entry::default()
    };
    let asked = match keyring.key(&request.key_id).await {
        Ok(key) => parse::transaction(request, key.address).map(|asked| (asked, key)),
        Err(Declined::Refused(refusal)) => Err(refusal),
        Err(declined) => return Err(declined),
    };
    Ok(Draft { entry, asked })
}

type Placed<T> = Vec<(usize, T)>;

/// Judges, decides and releases. What was judged by a policy that is no more in force comes back.
async fn attempt(
    keyring: &Arc<Keyring>,
    open: Placed<Draft>,
) -> Result<(Placed<Answer>, Placed<Draft>), Declined> {
    let (policy, own) = (keyring.policy(), Arc::clone(keyring));
    let judging = move |(place, draft)| {
        let (policy, keyring) = (Arc::clone(&policy), Arc::clone(&own));
        async move { (place, put(&keyring, policy, draft).await) }
    };
    let judged = spread::over_cores(open, judging).await?;
    let mut puts = Vec::with_capacity(judged.len());
    let mut questions = Vec::with_capacity(judged.len());
    let mut failed: Placed<Answer> = Vec::new();
    for (place, judged) in judged {
        match judged {
            Ok((put, question)) => {
                puts.push((place, put));
                questions.push(question);
            }
            Err(failure) => failed.push((place, Err(failure.into()))),
        }
    }
    let decisions = keyring.decisions.decide(questions).await?;
    let mut stale = Vec::new();
    let mut decided = Vec::with_capacity(puts.len());
    for ((place, put), decision) in puts.into_iter().zip(decisions) {
        match decision {
            Ok(Decided { decision: Decision::Stale, .. }) => stale.push((place, put.draft)),
            decision => decided.push((place, put, decision)),
        }
    }
    let own = Arc::clone(keyring);
    let releasing = move |(place, put, decision)| {
        let keyring = Arc::clone(&own);
        async move { (place, release(&keyring, put, decision).await) }
    };
    let released = spread::over_cores(decided, releasing).await?;
    Ok((failed.into_iter().chain(released).collect(), stale))
}

/// What the policy says, and the question to the database.
async fn put(keyring: &Keyring, policy: Arc<InForce>, draft: Draft) -> Result<(Put, Question), Failure> {
    let (judged, question) = match &draft.asked {
        Ok((asked, key)) => {
            let judged = judge::judge(keyring, &policy, key, &draft.entry.caller, asked).await?;
            let question = judge::question(&policy, key, &draft.entry, asked, &judged);
            (Some(judged), question)
        }
        Err(refusal) => (None, judge::bad_input(&draft.entry, refusal)),
    };
    Ok((Put { draft, policy, judged }, question))
}

/// Lets the backend sign, if that was decided.
async fn release(keyring: &Keyring, put: Put, decided: Result<Decided, Failure>) -> Answer {
    let decided = decided?;
    let Put { draft, policy, judged } = put;
    let (asked, key) = draft.asked.map_err(Declined::Recorded)?;
    let judged = judged.ok_or(Failure::Undecided)?;
    let network = &asked.judged_as.network;
    let known_network = if policy.policy.contracts.contains_key(network) { network } else { "unknown" };
    let outcome = match decided.decision {
        Decision::Unproven { floor } => {
            let nonce = asked.transaction.nonce;
            Err(floors::refusal(&keyring.db, key.address, nonce, floor).await?)
        }
        _ => refuse::unless_allowed(decided, &judged, &asked),
    };
    let (audit_sequence, rule) = match outcome {
        Ok(allowed) => allowed,
        Err(refusal) => {
            keyring.metrics.decided(known_network, &judged.function, refusal.reason.name);
            return Err(Declined::Recorded(refusal));
        }
    };
    keyring.metrics.decided(known_network, &judged.function, "OK");
    let begun = Instant::now();
    let signature = keyring.sign(&key, &Payload::transaction(&asked.transaction)).await?;
    keyring.metrics.key_used(begun.elapsed());
    let signed = asked.transaction.into_signed(signature);
    let mut raw_transaction = Vec::with_capacity(signed.eip2718_encoded_length());
    signed.eip2718_encode(&mut raw_transaction);
    Ok(SignTransactionResponse {
        raw_transaction: raw_transaction.into(),
        transaction_hash: signed.hash().to_string(),
        intent_words: judged.words,
        rule: format!("{rule}, policy {}", policy.version),
        audit_sequence,
    })
}
