//! Who spent a nonce of ours, when none of our signed forms did: found in its block and told apart. The same for nonces
//! that were spent while we had nothing in flight.

use std::fmt;

use alloy_primitives::Address;
use chain::rpc::{BlockId, Transaction, call};

use super::confirm::{Tip, settled};
use super::outcome::{Confirm, Entered};
use super::send::Lane;
use crate::db::operation::State;
use crate::db::{attempt, operation, transaction};
use crate::error::Error;
use crate::fleet::Chain;

/// How far back the spending transaction is looked for: a day of L1 blocks, within what nodes without an archive answer
/// of a nonce only near the head; where they do not, the nonce is foreign once it is settled.
const SEARCH_BLOCKS_MAX: u64 = 7_200;
/// Spenders looked for at one allocation: each costs a dozen questions, and a key that was used more often elsewhere is
/// reported all the same.
const STRANGERS_MAX: usize = 4;

/// What kind of transaction it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Exactly our call: a wallet with the same key sent it first. The effect is there, our transaction is not.
    SameCall,
    /// Nothing sent to oneself: a wallet cancelled it, or a cancel of ours that was never stored.
    Cancel,
    /// Another call to the contracts that we work with: most likely the owner's wallet.
    Wallet,
    /// Something else: somebody uses this key for other things.
    Other,
    /// Its block could not be found any more.
    Unknown,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::SameCall, Self::Cancel, Self::Wallet, Self::Other, Self::Unknown];

    /// For metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SameCall => "same_call",
            Self::Cancel => "cancel",
            Self::Wallet => "wallet",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameCall => "the very same call, sent by a wallet with this key",
            Self::Cancel => "a cancel: nothing, sent to the account itself",
            Self::Wallet => "another call to the same contracts, as a wallet of the owner makes it",
            Self::Other => "something else, sent by somebody who has this key",
            Self::Unknown => "a transaction that no endpoint could show",
        })
    }
}

/// What a transaction of `account` is that nobody asked us for: beside the call that was planned with its nonce, if any,
/// and the contracts that we work with.
pub fn kind_of(
    found: &Transaction,
    account: Address,
    planned: Option<&transaction::Row>,
    contracts: &[Address],
) -> Kind {
    let same = planned.is_some_and(|planned| {
        found.to == Some(planned.target.0)
            && found.value == planned.value.0
            && found.input.as_ref() == planned.data.as_slice()
    });
    match found.to {
        _ if same => Kind::SameCall,
        Some(to) if to == account && found.value.is_zero() && found.input.is_empty() => Kind::Cancel,
        Some(to) if contracts.contains(&to) || planned.is_some_and(|row| row.target.0 == to) => Kind::Wallet,
        _ => Kind::Other,
    }
}

/// The words about nonces below `to` that no row of ours has.
pub fn not_ours(from: i64, to: i64) -> String {
    match to.saturating_sub(1) {
        last if last <= from => format!("; nonce {from} was spent by somebody else"),
        last => format!("; nonces {from} to {last} were spent by somebody else"),
    }
}

/// The transaction that spent a nonce, with its block: found by halving the blocks in which the count went past it. None
/// where it is in none of the last blocks, or no endpoint remembers them.
pub async fn spender(
    chain: &Chain,
    account: Address,
    nonce: u64,
    head: u64,
) -> Result<Option<(u64, Transaction)>, Error> {
    let (mut before, mut after) = (head.saturating_sub(SEARCH_BLOCKS_MAX), head);
    let at = |block| call::nonce(account, BlockId::Number(block)).attempt();
    // A refusal here is a node that has forgotten.
    let known = |answer: Result<u64, _>| answer.ok();
    match known(chain.l1.ask(at(after)).await?) {
        Some(count) if count > nonce => {}
        _ => return Ok(None),
    }
    while after.saturating_sub(before) > 1 {
        let middle = before.midpoint(after);
        match known(chain.l1.ask(at(middle)).await?) {
            Some(count) if count > nonce => after = middle,
            // What is forgotten lies before what is known.
            _ => before = middle,
        }
    }
    let transactions = chain.l1.ask(call::transactions_of(after)).await?.unwrap_or_default();
    let spent = transactions.into_iter().find(|one| one.from == account && one.nonce == nonce);
    Ok(spent.map(|one| (after, one)))
}

impl Lane<'_> {
    /// Says who spent the nonces from `from` on, below `to`, that no row of ours has: somebody else has this key. Nothing
    /// waits for that.
    pub async fn tell_strangers(&self, row: &operation::Row, from: i64, to: i64) -> Result<(), Error> {
        let head = u64::try_from(self.head().await).unwrap_or_default();
        let mut told = Vec::new();
        for nonce in (from..to).filter_map(|nonce| u64::try_from(nonce).ok()).take(STRANGERS_MAX) {
            let found = spender(self.chain, self.account, nonce, head).await.ok().flatten();
            let found = found.map(|(_, found)| found);
            let contracts = self.chain.contracts();
            let kind =
                found.as_ref().map_or(Kind::Unknown, |one| kind_of(one, self.account, None, &contracts));
            let by = found.map_or_else(|| "a transaction".to_owned(), |found| found.hash.to_string());
            let words =
                format!("nonce {nonce} of {} was spent by {by}, which is not ours: {kind}", self.account);
            tracing::warn!(operation.id = %row.id, "{words}");
            self.fleet.metrics.foreign_nonce(&self.chain.name, kind.name());
            told.push(words);
        }
        self.enter(row.id, State::Signing, &told.join("; "), "").await
    }
}

impl Confirm<'_> {
    /// Whether a nonce is spent at a height. A node that has forgotten the state there says nothing, and is an error.
    pub async fn is_spent(&self, account: Address, nonce: u64, height: u64) -> Result<bool, Error> {
        Ok(self.chain.l1.ask(call::nonce(account, BlockId::Number(height))).await? > nonce)
    }

    /// A nonce that was foreign: for good once that is final, and ours again where a reorganisation took the other
    /// transaction out. Ours may still be mined then: it was signed, and somebody may have kept it.
    pub async fn still_foreign(
        &self,
        row: &transaction::Row,
        attempts: &[attempt::Row],
        nonce: u64,
        tip: Tip,
    ) -> Result<(), Error> {
        let account = row.account.0;
        if !self.is_spent(account, nonce, tip.head).await? {
            let reason = format!("a reorganisation took the foreign transaction with nonce {nonce} out");
            return self.send_again(row, attempts, tip, &reason).await;
        }
        let finalized = self.chain.l1.ask(call::nonce(account, BlockId::Number(tip.finalized)).attempt());
        // A node that no longer has that state forgets only what is older than final.
        if finalized.await?.map_or(true, |count| count > nonce) {
            return self.store(row, settled(transaction::FOREIGN, true), None).await;
        }
        Ok(())
    }

    /// Ends the operation of a nonce that a transaction of somebody else has spent, deep enough in the chain; followed
    /// until that is final. One that has ended before says what it said.
    pub async fn foreign(
        &self,
        row: &transaction::Row,
        nonce: u64,
        tip: Tip,
        has_ended: bool,
    ) -> Result<(), Error> {
        // Told apart for people only: that it was not found, or its state is pruned, changes nothing.
        let account = row.account.0;
        let found =
            spender(self.chain, account, nonce, tip.head).await.ok().flatten().map(|(_, found)| found);
        let contracts = self.chain.contracts();
        let kind = found.as_ref().map_or(Kind::Unknown, |one| kind_of(one, account, Some(row), &contracts));
        let by = found.map_or_else(|| "a transaction".to_owned(), |found| found.hash.to_string());
        let reason = format!(
            "nonce {nonce} of {} was spent by {by}, which is not ours: {kind}; ours with {} was never mined",
            row.account.0, row.step_name
        );
        tracing::error!(operation.id = %row.operation, "{reason}");
        self.fleet.metrics.foreign_nonce(&self.chain.name, kind.name());
        let entered = Entered { state: State::Failed, reason, code: api::reasons::NONCE_FOREIGN.name };
        let entered = Some(entered).filter(|_| !has_ended);
        self.store(row, settled(transaction::FOREIGN, false), entered).await
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, Bytes, U256};

    use super::*;
    use crate::reconcile::receipt::tests::row;

    const ACCOUNT: Address = Address::repeat_byte(1);
    const POOL: Address = Address::repeat_byte(2);
    const TOKEN: Address = Address::repeat_byte(3);
    const STRANGER: Address = Address::repeat_byte(4);

    fn found(to: Option<Address>, value: u64, input: &'static [u8]) -> Transaction {
        Transaction {
            hash: B256::ZERO,
            from: ACCOUNT,
            to,
            input: Bytes::from_static(input),
            value: U256::from(value),
            nonce: 7,
            block_number: Some(1),
            block_hash: Some(B256::ZERO),
        }
    }

    #[test]
    fn what_spent_a_nonce_is_told_apart() {
        let planned = transaction::Row {
            account: store::column::Addr(ACCOUNT),
            target: store::column::Addr(POOL),
            value: store::column::Wei(U256::from(5)),
            data: b"claim".to_vec(),
            ..row()
        };
        let table = [
            ("the same call", found(Some(POOL), 5, b"claim"), Kind::SameCall, Kind::Wallet),
            ("with another value", found(Some(POOL), 6, b"claim"), Kind::Wallet, Kind::Wallet),
            ("with other data", found(Some(POOL), 5, b"lock"), Kind::Wallet, Kind::Wallet),
            ("another contract of ours", found(Some(TOKEN), 0, b"approve"), Kind::Wallet, Kind::Wallet),
            ("nothing to oneself", found(Some(ACCOUNT), 0, b""), Kind::Cancel, Kind::Cancel),
            ("ETH to oneself", found(Some(ACCOUNT), 1, b""), Kind::Other, Kind::Other),
            ("data to oneself", found(Some(ACCOUNT), 0, b"x"), Kind::Other, Kind::Other),
            ("a payment", found(Some(STRANGER), 1, b""), Kind::Other, Kind::Other),
            ("a contract creation", found(None, 0, b"code"), Kind::Other, Kind::Other),
        ];
        for (what, found, beside_ours, alone) in table {
            let contracts = [POOL, TOKEN];
            assert_eq!(kind_of(&found, ACCOUNT, Some(&planned), &contracts), beside_ours, "{what}");
            assert_eq!(kind_of(&found, ACCOUNT, None, &contracts), alone, "{what}, with nothing in flight");
        }
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len(), "each is counted by itself");
    }

    #[test]
    fn nonces_of_others_are_told_in_words() {
        assert_eq!(not_ours(3, 4), "; nonce 3 was spent by somebody else");
        assert_eq!(not_ours(3, 6), "; nonces 3 to 5 were spent by somebody else");
    }
}
