//! Who spent a nonce of ours, when none of our signed forms did: found in its block and told apart.

use std::fmt;

use alloy_primitives::Address;
use chain::rpc::{BlockId, Transaction, call};

use super::confirm::{Tip, settled};
use super::outcome::{Confirm, Entered};
use crate::db::operation::State;
use crate::db::{attempt, transaction};
use crate::error::Error;
use crate::fleet::Chain;

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

/// What a transaction with the nonce of a planned one is.
pub fn kind_of(found: &Transaction, planned: &transaction::Row, chain: &Chain) -> Kind {
    let to_self = found.to == Some(planned.account.0);
    let ours = [chain.locking_pool, chain.locking_info, chain.metis, planned.target.0];
    let same = found.to == Some(planned.target.0)
        && found.value == planned.value.0
        && found.input.as_ref() == planned.data.as_slice();
    match found.to {
        _ if same => Kind::SameCall,
        _ if to_self && found.value.is_zero() && found.input.is_empty() => Kind::Cancel,
        Some(target) if ours.contains(&target) => Kind::Wallet,
        _ => Kind::Other,
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
    /// until that is final.
    pub async fn foreign(&self, row: &transaction::Row, nonce: u64, tip: Tip) -> Result<(), Error> {
        // Told apart for people only: that it was not found, or its state is pruned, changes nothing.
        let found = self.spender(row.account.0, nonce, tip).await.ok().flatten().map(|(_, found)| found);
        let kind = found.as_ref().map_or(Kind::Unknown, |found| kind_of(found, row, self.chain));
        let by = found.map_or_else(|| "a transaction".to_owned(), |found| found.hash.to_string());
        let reason = format!(
            "nonce {nonce} of {} was spent by {by}, which is not ours: {kind}; ours with {} was never mined",
            row.account.0, row.step_name
        );
        tracing::error!(operation.id = %row.operation, "{reason}");
        self.fleet.metrics.foreign_nonce(&self.chain.name, kind.name());
        let entered = Entered { state: State::Failed, reason, code: api::reasons::NONCE_FOREIGN.name };
        self.store(row, settled(transaction::FOREIGN, false), Some(entered)).await
    }
}
