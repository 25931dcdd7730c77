//! A draft against what was really asked: the last requests to sign are judged again, by the policy in force and by
//! the draft, each with windows of its own that begin with the first of these requests.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::{Address, U256};
use time::{Duration, OffsetDateTime};

use super::document::{Policy, Windows};
use super::evaluate::{Allowance, Denial};
use super::judgement::{Asker, NoCall, Transaction};
use crate::db::key::Key;

/// The length of the windows.
const WINDOW: Duration = Duration::hours(24);

/// A request of the audit log.
#[derive(Debug, Clone)]
pub struct Past {
    pub sequence: u64,
    pub time: OffsetDateTime,
    pub caller: String,
    pub key: Arc<Key>,
    pub nonce: u64,
    pub transaction: Transaction,
    /// The key here whose public key the call names.
    pub signer_key: Option<Arc<Key>>,
    pub words: String,
}

/// What a policy says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Allowed { rule: String, approvals: u32 },
    Refused(Denial),
}

/// A request that is treated otherwise.
#[derive(Debug, Clone)]
pub struct Change {
    pub past: Past,
    pub before: Said,
    pub after: Said,
}

/// What the draft would change.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub examined: u32,
    pub newly_allowed: u32,
    pub newly_refused: u32,
    pub other_approvals: u32,
    /// The first of those.
    pub changes: Vec<Change>,
}

/// Judges `pasts`, oldest first, by both policies.
pub fn run(before: &Policy, after: &Policy, pasts: Vec<Past>, changes_max: usize) -> Report {
    let mut report = Report::default();
    let (mut old, mut new) = (Ledger::default(), Ledger::default());
    for past in pasts {
        let (was, would) = (old.judge(before, &past), new.judge(after, &past));
        report.examined += 1;
        match (&was, &would) {
            (Said::Refused(_), Said::Allowed { .. }) => report.newly_allowed += 1,
            (Said::Allowed { .. }, Said::Refused(_)) => report.newly_refused += 1,
            (Said::Allowed { approvals: was, .. }, Said::Allowed { approvals: would, .. })
                if was != would =>
            {
                report.other_approvals += 1;
            }
            _ => continue,
        }
        if report.changes.len() < changes_max {
            report.changes.push(Change { past, before: was, after: would });
        }
    }
    report
}

/// What was charged under one policy.
#[derive(Debug, Default)]
struct Ledger {
    spent: HashMap<(u64, Address), Spent>,
    /// ETH charged for a nonce so far: a replacement is charged for what it adds.
    nonces: HashMap<(u64, Address, u64), U256>,
}

#[derive(Debug, Default)]
struct Spent {
    charges: VecDeque<(OffsetDateTime, U256, U256)>,
    metis: U256,
    eth: U256,
}

impl Ledger {
    fn judge(&mut self, policy: &Policy, past: &Past) -> Said {
        let Past { time, caller, key, nonce, transaction, signer_key, .. } = past;
        let asker = Asker { caller, key, now: *time };
        let (call, first, others) = match transaction.judge(asker, signer_key.as_deref(), policy) {
            Ok(ways) => ways,
            Err(NoCall::Denied(denial)) => return Said::Refused(denial),
            Err(NoCall::Unknown(unknown)) => {
                let (bound, value) = ("a known call in canonical encoding".to_owned(), unknown.to_string());
                return Said::Refused(Denial { rule: None, field: "data", bound, value });
            }
        };
        let held = self.nonces.get(&(transaction.chain_id, key.address, *nonce)).copied();
        let metis = if held.is_some() { U256::ZERO } else { call.metis_out() };
        let eth_max = transaction.eth_max();
        let eth = eth_max.saturating_sub(held.unwrap_or_default());
        let spent = self.spent.entry((transaction.chain_id, key.address)).or_default();
        spent.forget_before(*time - WINDOW);
        let mut full = None;
        for Allowance { rule, windows, approvals } in std::iter::once(first).chain(others) {
            match spent.room(windows, metis, eth) {
                Ok(()) => {
                    spent.charge(*time, metis, eth);
                    let charged = eth_max.max(held.unwrap_or_default());
                    self.nonces.insert((transaction.chain_id, key.address, *nonce), charged);
                    return Said::Allowed { rule, approvals };
                }
                Err(denial) => {
                    full.get_or_insert(Denial { rule: Some(rule), ..denial });
                }
            }
        }
        Said::Refused(full.expect("there is a first way, and it had no room"))
    }
}

impl Spent {
    fn forget_before(&mut self, time: OffsetDateTime) {
        while let Some((_, metis, eth)) = self.charges.pop_front_if(|(charged, ..)| *charged <= time) {
            self.metis = self.metis.saturating_sub(metis);
            self.eth = self.eth.saturating_sub(eth);
        }
    }

    fn charge(&mut self, time: OffsetDateTime, metis: U256, eth: U256) {
        self.charges.push_back((time, metis, eth));
        self.metis = self.metis.saturating_add(metis);
        self.eth = self.eth.saturating_add(eth);
    }

    /// What is charged nothing needs no room, as in the database.
    fn room(&self, windows: Windows, metis: U256, eth: U256) -> Result<(), Denial> {
        let sums = [
            ("metis_24h_wei", windows.metis_24h_max, self.metis, metis),
            ("eth_24h_wei", windows.eth_24h_max, self.eth, eth),
        ];
        for (field, bound, used, more) in sums {
            let sum = used.saturating_add(more);
            if let Some(bound) = bound
                && !more.is_zero()
                && sum > bound
            {
                return Err(Denial { rule: None, field, bound: bound.to_string(), value: sum.to_string() });
            }
        }
        Ok(())
    }
}
