//! `keys.decide_batch`: policy version, key state, conflict guard, approvals, windows and audit records of many
//! requests in one statement, durable before any key is touched.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, U256};
use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult};
use store::column::{Addr, Hash, Wei};
use store::rows::Rows;
use store::standing::Standing;
use store::statement;

use crate::error::Failure;

const FUNCTION: &str = "keys.decide_batch (question, way, ways, round, account_no, key_id, caller, policy_version, \
    chain_id, account, nonce, digest, signing_hash, max_fee, priority_fee, gas_limit, intent, \
    metis, metis_24h_max, eth, eth_24h_max, approvals, intent_digest, fields, refused, allowed)";

/// What is to be decided.
#[derive(Debug, Clone)]
pub struct Question {
    pub caller: String,
    /// The audit record without its verdict.
    pub fields: Vec<u8>,
    /// What is said so far, as the encoded last fields of the record.
    pub judged: Judged,
    /// What may be signed; without it, nothing can be allowed.
    pub payload: Option<Box<Payload>>,
}

/// What policy or parser say, encoded for the record.
#[derive(Debug, Clone)]
pub enum Judged {
    /// Yes, in the first of these ways (one at least) that the database finds nothing against.
    Allowed(Vec<Way>),
    /// No; the record of it is all that is wanted.
    Refused(Vec<u8>),
}

/// One way of being allowed.
#[derive(Debug, Clone)]
pub struct Way {
    /// The last fields of the record.
    pub verdict: Vec<u8>,
    pub metis_24h_max: Option<U256>,
    pub eth_24h_max: Option<U256>,
    /// Other identities than the caller that must have approved the intent.
    pub approvals: u32,
}

/// A payload that a policy was asked about.
#[derive(Debug, Clone)]
pub struct Payload {
    pub key_id: String,
    pub policy_version: i64,
    pub chain_id: i64,
    pub account: Address,
    pub nonce: i64,
    /// Over target, value and calldata.
    pub digest: B256,
    pub signing_hash: B256,
    pub max_fee: U256,
    pub priority_fee: U256,
    pub gas_limit: i64,
    /// NEW, REPLACE or CANCEL.
    pub intent: &'static str,
    /// METIS charged to the account's 24 hours by a first form.
    pub metis: U256,
    /// The most ETH that the payload can move; charged for what it adds to the forms before.
    pub eth: U256,
    /// What approvals are bound to.
    pub intent_digest: B256,
}

/// What was decided, and in which way of those asked for, counted from 0.
#[derive(Debug, PartialEq, Eq)]
pub struct Decided {
    pub decision: Decision,
    pub way: usize,
}

/// What was decided. Only `Stale` left no record.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Sign. A payload released before is released again, and gives the same signature.
    Sign { audit_sequence: u64 },
    /// It was refused already; now that is recorded.
    Refused,
    /// The key is disabled or frozen.
    NotEnabled,
    /// The database was restored, and the nonce is not above what was confirmed since, if anything was.
    Unproven { floor: Option<u64> },
    /// Another payload holds the nonce; `None`: nothing does, so there is nothing to replace.
    Conflict { held: Option<Held> },
    /// Too few have approved.
    Approvals { given: U256 },
    /// Too much METIS in 24 hours.
    MetisWindow { used: U256 },
    /// Too much ETH in 24 hours.
    EthWindow { used: U256 },
    /// The policy has another version by now: evaluate again.
    Stale,
}

/// What holds a nonce.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    pub digest: B256,
    pub max_fee: U256,
    pub priority_fee: U256,
}

#[derive(FromQueryResult)]
struct Row {
    question: i32,
    way: i32,
    outcome: String,
    audit_sequence: Option<i64>,
    used: Option<Wei>,
    held_digest: Option<Hash>,
    held_max_fee: Option<Wei>,
    held_priority_fee: Option<Wei>,
}

/// Decides about all of them, in one round trip and one durable commit: an answer for each, in their order.
/// Questions about one nonce are decided in their order, each with what the earlier ones left.
pub async fn decide(standing: &Standing, questions: &[&Question]) -> Result<Vec<Decided>, Failure> {
    let rows = standing.call(&rows(questions)).await?;
    let mut decisions: Vec<Option<Decided>> = questions.iter().map(|_| None).collect();
    for row in rows {
        let (place, decided) = decided_of(&row)?;
        *decisions.get_mut(place).ok_or_else(unreadable)? = Some(decided);
    }
    decisions.into_iter().map(|decided| decided.ok_or_else(unreadable)).collect()
}

fn rows(questions: &[&Question]) -> Rows {
    let mut rows = Rows::of(FUNCTION);
    let mut order = Order::default();
    for (number, question) in (1..).zip(questions) {
        match &question.judged {
            Judged::Refused(refused) => {
                add(&mut rows, Place { number, way: 1, ways: 1 }, question, Err(refused), &mut order);
            }
            Judged::Allowed(allowed) => {
                let ways = i32::try_from(allowed.len()).expect("a policy gives few ways");
                for (way, one) in (1..).zip(allowed) {
                    add(&mut rows, Place { number, way, ways }, question, Ok(one), &mut order);
                }
            }
        }
    }
    rows
}

/// Which of the ways of which question a row is, counted from 1.
struct Place {
    number: i32,
    way: i32,
    ways: i32,
}

/// The rounds of a batch: within one, no row must see what another writes.
#[derive(Default)]
struct Order<'a> {
    nonces: HashMap<(i64, Address, i64), i32>,
    /// Intents whose approvals are used.
    intents: HashMap<&'a B256, i32>,
    accounts: HashMap<(i64, Address), i32>,
}

impl<'a> Order<'a> {
    /// The round of a row, and the number of its account.
    fn next(&mut self, payload: &'a Payload, approved: bool) -> (i32, i32) {
        let Payload { chain_id, account, nonce, intent_digest, .. } = payload;
        let of_nonce = self.nonces.entry((*chain_id, *account, *nonce)).or_default();
        let mut round = *of_nonce + 1;
        if approved {
            let of_intent = self.intents.entry(intent_digest).or_default();
            round = round.max(*of_intent + 1);
            *of_intent = round;
        }
        *of_nonce = round;
        let next = i32::try_from(self.accounts.len() + 1).expect("a batch is small");
        (round, *self.accounts.entry((*chain_id, *account)).or_insert(next))
    }
}

fn add<'a>(
    rows: &mut Rows,
    place: Place,
    question: &'a Question,
    judged: Result<&Way, &Vec<u8>>,
    order: &mut Order<'a>,
) {
    let Question { caller, fields, judged: _, payload } = question;
    let payload = payload.as_deref();
    let allowed = judged.ok();
    let approvals = allowed.map(|way| way.approvals).unwrap_or_default();
    let (round, account_no) = payload.map_or((1, 1), |payload| order.next(payload, approvals > 0));
    let mut row = rows.row();
    row.integer(place.number).integer(place.way).integer(place.ways);
    row.integer(round).integer(account_no);
    row.text(payload.map(|p| p.key_id.as_str()).unwrap_or_default()).text(caller);
    row.maybe_bigint(payload.map(|p| p.policy_version));
    row.maybe_bigint(payload.map(|p| p.chain_id)).maybe_bytes(payload.map(|p| p.account));
    row.maybe_bigint(payload.map(|p| p.nonce)).maybe_bytes(payload.map(|p| p.digest));
    row.maybe_bytes(payload.map(|p| p.signing_hash));
    row.maybe_numeric(payload.map(|p| p.max_fee)).maybe_numeric(payload.map(|p| p.priority_fee));
    row.maybe_bigint(payload.map(|p| p.gas_limit));
    row.text(payload.map(|p| p.intent).unwrap_or_default());
    row.maybe_numeric(payload.map(|p| p.metis)).maybe_numeric(allowed.and_then(|way| way.metis_24h_max));
    row.maybe_numeric(payload.map(|p| p.eth)).maybe_numeric(allowed.and_then(|way| way.eth_24h_max));
    // More than can be counted are never there.
    row.integer(i32::try_from(approvals).unwrap_or(i32::MAX));
    row.maybe_bytes(payload.map(|p| p.intent_digest)).bytes(fields);
    row.maybe_bytes(judged.err()).maybe_bytes(allowed.map(|way| &way.verdict));
}

fn unreadable() -> Failure {
    Failure::Store(store::Error::Row { what: "a decision" })
}

/// The place of the question, counted from 0, and what was decided.
fn decided_of(row: &QueryResult) -> Result<(usize, Decided), Failure> {
    let row = Row::from_query_result(row, "").map_err(Failure::at("reading a decision"))?;
    let Row { question, way, outcome, audit_sequence, used, held_digest, held_max_fee, held_priority_fee } =
        row;
    let wei = |amount: Option<Wei>| amount.map(|Wei(amount)| amount).unwrap_or_default();
    let decision = match outcome.as_str() {
        "ALLOWED" | "REPEATED" => Decision::Sign {
            audit_sequence: audit_sequence
                .and_then(|sequence| u64::try_from(sequence).ok())
                .ok_or_else(unreadable)?,
        },
        "REFUSED" => Decision::Refused,
        "NOT_ENABLED" => Decision::NotEnabled,
        "UNPROVEN" => Decision::Unproven { floor: used.and_then(|Wei(floor)| u64::try_from(floor).ok()) },
        "CONFLICT" => Decision::Conflict {
            held: held_digest.map(|digest| Held {
                digest: digest.into(),
                max_fee: wei(held_max_fee),
                priority_fee: wei(held_priority_fee),
            }),
        },
        "APPROVALS" => Decision::Approvals { given: wei(used) },
        "METIS_WINDOW" => Decision::MetisWindow { used: wei(used) },
        "ETH_WINDOW" => Decision::EthWindow { used: wei(used) },
        "STALE" => Decision::Stale,
        _ => return Err(Failure::UnknownOutcome(outcome)),
    };
    let from_0 = |number: i32| usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
    let (place, way) = from_0(question).zip(from_0(way)).ok_or_else(unreadable)?;
    Ok((place, Decided { decision, way }))
}

/// The end of what was signed for an account.
#[derive(Debug, Clone, FromQueryResult)]
pub struct LastNonce {
    pub chain_id: i64,
    pub account: Addr,
    pub nonce: i64,
}

/// The highest guarded nonce of each account.
pub async fn last_nonces<C: ConnectionTrait>(db: &C) -> Result<Vec<LastNonce>, Failure> {
    let sql = "SELECT chain_id, account, max(nonce) AS nonce FROM keys.nonce_guard
                GROUP BY chain_id, account ORDER BY chain_id, account";
    LastNonce::find_by_statement(statement(sql, []))
        .all(db)
        .await
        .map_err(Failure::at("reading the last nonces"))
}
