//! A sequencer's reward account: what was accrued is unclaimed, claimed, compounded or paid at exit.
//!
//! The identity cannot be broken, because only four of the five sums are held and `unclaimed` is
//! what remains. It is compared with `sequencers(id).reward` at the same block, where it must agree
//! to the wei.

use crate::amount::Metis;

/// Something that happened to a sequencer's reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A batch credited it.
    Accrued(Metis),
    /// Bridged to the recipient by a claim.
    Claimed(Metis),
    /// Turned into principal by a relock.
    Compounded(Metis),
    /// Bridged to the recipient by an unlock or by its final claim.
    PaidAtExit(Metis),
}

impl Entry {
    /// The entry of a `ClaimRewards`; `at_exit` if its transaction has `UnlockInit` or `Unlocked` of
    /// the same sequencer.
    pub fn of_claim(amount: Metis, at_exit: bool) -> Self {
        if at_exit { Self::PaidAtExit(amount) } else { Self::Claimed(amount) }
    }
}

/// Why an entry cannot be: an event was missed, seen twice, or taken back without having been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unbalanced {
    /// More went out than was ever credited.
    #[error("more reward went out than was credited")]
    Overdrawn,
    /// An entry is taken back that was never made.
    #[error("an entry is taken back that was never made")]
    NeverMade,
    /// A sum does not fit in 256 bits.
    #[error("a sum of rewards does not fit in 256 bits")]
    Overflow,
}

/// The sums of one sequencer. `accrued = unclaimed + claimed + compounded + paid_at_exit`, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    accrued: Metis,
    claimed: Metis,
    compounded: Metis,
    paid_at_exit: Metis,
}

impl Account {
    /// The account with these sums, as they were stored.
    ///
    /// # Errors
    /// [`Unbalanced`] if more went out than came in.
    pub fn restore(
        accrued: Metis,
        claimed: Metis,
        compounded: Metis,
        paid_at_exit: Metis,
    ) -> Result<Self, Unbalanced> {
        Self { accrued, claimed, compounded, paid_at_exit }.balanced()
    }

    /// The account after this entry.
    ///
    /// # Errors
    /// [`Unbalanced`] if the entry takes out more than there is; the account is as before.
    pub fn with(self, entry: Entry) -> Result<Self, Unbalanced> {
        self.moved(entry, |sum, amount| sum.checked_add(amount).ok_or(Unbalanced::Overflow))
    }

    /// The account as it was before this entry, which a reorg took back. Take them back newest first.
    ///
    /// # Errors
    /// [`Unbalanced`] if there was no such entry, or a later one still rests on it.
    pub fn without(self, entry: Entry) -> Result<Self, Unbalanced> {
        self.moved(entry, |sum, amount| sum.checked_sub(amount).ok_or(Unbalanced::NeverMade))
    }

    /// Everything ever credited.
    pub fn accrued(&self) -> Metis {
        self.accrued
    }

    /// Bridged by claims.
    pub fn claimed(&self) -> Metis {
        self.claimed
    }

    /// Turned into principal.
    pub fn compounded(&self) -> Metis {
        self.compounded
    }

    /// Bridged by exits.
    pub fn paid_at_exit(&self) -> Metis {
        self.paid_at_exit
    }

    /// What remains: `sequencers(id).reward` at the same block.
    pub fn unclaimed(&self) -> Metis {
        // Every constructor went through `balanced`.
        self.accrued.saturating_sub(self.paid_out().unwrap_or(Metis::MAX))
    }

    /// How far the contract's own number is from ours; anything but zero is an alarm.
    pub fn drift(&self, on_chain: Metis) -> Metis {
        self.unclaimed().abs_diff(on_chain)
    }

    fn paid_out(&self) -> Option<Metis> {
        Metis::checked_sum([self.claimed, self.compounded, self.paid_at_exit])
    }

    fn balanced(self) -> Result<Self, Unbalanced> {
        let out = self.paid_out().ok_or(Unbalanced::Overflow)?;
        if out <= self.accrued { Ok(self) } else { Err(Unbalanced::Overdrawn) }
    }

    fn moved(
        mut self,
        entry: Entry,
        step: impl Fn(Metis, Metis) -> Result<Metis, Unbalanced>,
    ) -> Result<Self, Unbalanced> {
        let (sum, amount) = match entry {
            Entry::Accrued(amount) => (&mut self.accrued, amount),
            Entry::Claimed(amount) => (&mut self.claimed, amount),
            Entry::Compounded(amount) => (&mut self.compounded, amount),
            Entry::PaidAtExit(amount) => (&mut self.paid_at_exit, amount),
        };
        *sum = step(*sum, amount)?;
        self.balanced()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_life_of_rewards_adds_up() {
        let life = [
            Entry::Accrued(Metis::wei(100)),
            Entry::of_claim(Metis::wei(40), false),
            Entry::Accrued(Metis::wei(10)),
            Entry::Compounded(Metis::wei(50)),
            Entry::Accrued(Metis::wei(5)),
            Entry::of_claim(Metis::wei(25), true),
            // An exit without reward still says so.
            Entry::of_claim(Metis::ZERO, true),
        ];
        let end = life.iter().try_fold(Account::default(), |account, entry| account.with(*entry));
        let end = end.expect("each step is covered");
        let sums = [end.accrued(), end.unclaimed(), end.claimed(), end.compounded(), end.paid_at_exit()];
        assert_eq!(sums, [115, 0, 40, 50, 25].map(Metis::wei));
        assert_eq!(end.drift(Metis::wei(3)), Metis::wei(3));
        assert_eq!(
            Account::restore(end.accrued(), end.claimed(), end.compounded(), end.paid_at_exit()),
            Ok(end)
        );
    }

    #[test]
    fn what_was_never_credited_cannot_go_out() {
        let account = Account::default().with(Entry::Accrued(Metis::wei(10))).expect("a credit");
        assert_eq!(account.with(Entry::Claimed(Metis::wei(11))), Err(Unbalanced::Overdrawn));
        assert_eq!(account.with(Entry::Accrued(Metis::MAX)), Err(Unbalanced::Overflow));
        assert_eq!(account.without(Entry::Claimed(Metis::wei(1))), Err(Unbalanced::NeverMade));
        let claimed = account.with(Entry::Claimed(Metis::wei(10))).expect("covered");
        assert_eq!(claimed.without(Entry::Accrued(Metis::wei(10))), Err(Unbalanced::Overdrawn));
        assert_eq!(
            Account::restore(Metis::wei(1), Metis::wei(1), Metis::wei(1), Metis::ZERO),
            Err(Unbalanced::Overdrawn)
        );
    }

    fn entries() -> impl Strategy<Value = Entry> {
        (0..4_u8, 0..1_000_u64).prop_map(|(kind, amount)| match (kind, Metis::wei(amount)) {
            (0, amount) => Entry::Accrued(amount),
            (1, amount) => Entry::Claimed(amount),
            (2, amount) => Entry::Compounded(amount),
            (_, amount) => Entry::PaidAtExit(amount),
        })
    }

    proptest! {
        #[test]
        fn the_identity_holds_and_every_entry_can_be_taken_back(
            entries in proptest::collection::vec(entries(), 0..50),
        ) {
            let mut account = Account::default();
            for entry in entries {
                let Ok(after) = account.with(entry) else { continue };
                let parts = [after.unclaimed(), after.claimed(), after.compounded(), after.paid_at_exit()];
                prop_assert_eq!(Metis::checked_sum(parts), Some(after.accrued()));
                prop_assert_eq!(after.without(entry), Ok(account));
                account = after;
            }
        }
    }
}
