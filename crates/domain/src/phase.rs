//! The life of one sequencer as a pure, total state machine.
//!
//! ```text
//!  REGISTERED <──> WHITELISTED ──> LOCKED ──> ACTIVE
//!                                     │          │
//!                                     └────┬─────┘
//!                                          v
//!                 WITHDRAWN <── WITHDRAWABLE <── EXITING
//! ```
//!
//! It is driven by chain events, chain time and facts of the consensus layer, never by our clock or by
//! what somebody intended. Storing, undoing and telling others belong to the lifecycle service.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::Timestamp;

/// Where a sequencer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Added by an operator; the owner is not whitelisted.
    Registered,
    /// The owner is whitelisted and nothing is locked.
    Whitelisted,
    /// Locked on L1, not yet known to the consensus layer.
    Locked,
    /// Known to the consensus layer.
    Active,
    /// Unlocked on L1, still inside the exit delay: earns nothing, produces no blocks.
    Exiting {
        /// `unlockClaimTime` of the contract.
        withdrawable_at: Timestamp,
    },
    /// The exit delay is over by chain time.
    Withdrawable,
    /// The principal was returned. Final; the owner may start a new life with a new signer.
    Withdrawn,
}

/// Something that may move a sequencer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    /// `SetWhitelist(owner, _)`.
    Whitelisted(bool),
    /// `Locked`.
    Locked,
    /// `UnlockInit`, by the owner or forced by the contract's owner.
    UnlockInit {
        /// `unlockClaimTime` of the event.
        withdrawable_at: Timestamp,
    },
    /// `Unlocked`.
    Unlocked,
    /// A block with this timestamp became the head.
    ChainTime(Timestamp),
    /// themis has the validator record (P 3.6), or the signer appears in an L2 epoch.
    ConsensusKnows,
}

/// What a fact does to a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// The next phase.
    Move(Phase),
    /// The contract cannot have done this in that phase: we missed something. The chain is right, so the
    /// caller follows to `to` and reports `why`.
    Contradiction {
        /// Where the chain says that the sequencer is; none if the fact is not about this life.
        to: Option<Phase>,
        /// What does not fit.
        why: &'static str,
    },
}

/// The machine: every phase has an answer to every fact.
pub fn step(phase: Phase, fact: Fact) -> Step {
    use Phase::{Active, Exiting, Locked, Registered, Whitelisted, Withdrawable, Withdrawn};
    match (phase, fact) {
        (Registered, Fact::Whitelisted(true)) => Step::Move(Whitelisted),
        (Whitelisted, Fact::Whitelisted(false)) => Step::Move(Registered),
        // De-whitelisting later is a flag: the position stays what it is (P 1.10).
        (_, Fact::Whitelisted(_)) => Step::Stay,

        (Whitelisted, Fact::Locked) => Step::Move(Locked),
        (Registered, Fact::Locked) => {
            Step::Contradiction { to: Some(Locked), why: "locked without being whitelisted" }
        }
        (Locked | Active | Exiting { .. } | Withdrawable, Fact::Locked) => {
            Step::Contradiction { to: None, why: "locked twice" }
        }
        (Withdrawn, Fact::Locked) => Step::Contradiction { to: None, why: "a new lock is a new life" },

        (Locked, Fact::ConsensusKnows) => Step::Move(Active),
        (_, Fact::ConsensusKnows) => Step::Stay,

        (Locked | Active, Fact::UnlockInit { withdrawable_at }) => Step::Move(Exiting { withdrawable_at }),
        (Registered | Whitelisted, Fact::UnlockInit { withdrawable_at }) => {
            Step::Contradiction { to: Some(Exiting { withdrawable_at }), why: "unlocked without a lock" }
        }
        (Exiting { .. } | Withdrawable | Withdrawn, Fact::UnlockInit { .. }) => {
            Step::Contradiction { to: None, why: "unlocked twice" }
        }

        // The contract itself proves that the time is over.
        (Exiting { .. } | Withdrawable, Fact::Unlocked) => Step::Move(Withdrawn),
        (Withdrawn, Fact::Unlocked) => Step::Contradiction { to: None, why: "withdrawn twice" },
        (Registered | Whitelisted | Locked | Active, Fact::Unlocked) => {
            Step::Contradiction { to: Some(Withdrawn), why: "withdrawn without an exit" }
        }

        (Exiting { withdrawable_at }, Fact::ChainTime(now)) if now >= withdrawable_at => {
            Step::Move(Withdrawable)
        }
        (_, Fact::ChainTime(_)) => Step::Stay,
    }
}

impl Phase {
    /// The stable name, as in proto, SQL and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registered => "REGISTERED",
            Self::Whitelisted => "WHITELISTED",
            Self::Locked => "LOCKED",
            Self::Active => "ACTIVE",
            Self::Exiting { .. } => "EXITING",
            Self::Withdrawable => "WITHDRAWABLE",
            Self::Withdrawn => "WITHDRAWN",
        }
    }

    /// The phase with this name; `withdrawable_at` is only looked at for EXITING and must be there.
    ///
    /// # Errors
    /// An unknown name, or EXITING without its time.
    pub fn from_parts(name: &str, withdrawable_at: Option<Timestamp>) -> Result<Self, UnknownPhase> {
        match (name, withdrawable_at) {
            ("EXITING", Some(withdrawable_at)) => Ok(Self::Exiting { withdrawable_at }),
            _ => name.parse(),
        }
    }

    /// Whether METIS of this sequencer stands in the contract.
    pub const fn holds_lock(self) -> bool {
        matches!(self, Self::Locked | Self::Active | Self::Exiting { .. } | Self::Withdrawable)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No phase has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a phase")]
pub struct UnknownPhase(pub String);

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "REGISTERED" => Ok(Self::Registered),
            "WHITELISTED" => Ok(Self::Whitelisted),
            "LOCKED" => Ok(Self::Locked),
            "ACTIVE" => Ok(Self::Active),
            "WITHDRAWABLE" => Ok(Self::Withdrawable),
            "WITHDRAWN" => Ok(Self::Withdrawn),
            other => Err(UnknownPhase(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: Timestamp = Timestamp(1_000);

    #[test]
    fn the_guides_road_leads_from_registered_to_withdrawn() {
        let road = [
            (Fact::Whitelisted(true), Phase::Whitelisted),
            (Fact::Locked, Phase::Locked),
            (Fact::ConsensusKnows, Phase::Active),
            (Fact::UnlockInit { withdrawable_at: T }, Phase::Exiting { withdrawable_at: T }),
            (Fact::ChainTime(T), Phase::Withdrawable),
            (Fact::Unlocked, Phase::Withdrawn),
        ];
        let mut phase = Phase::Registered;
        for (fact, expected) in road {
            assert_eq!(step(phase, fact), Step::Move(expected));
            phase = expected;
        }
    }

    #[test]
    fn one_second_before_the_claim_time_nothing_is_withdrawable() {
        let exiting = Phase::Exiting { withdrawable_at: T };
        assert_eq!(step(exiting, Fact::ChainTime(Timestamp(999))), Step::Stay);
        assert_eq!(step(exiting, Fact::ChainTime(Timestamp(1_000))), Step::Move(Phase::Withdrawable));
    }

    #[test]
    fn losing_the_whitelist_moves_only_who_has_nothing_locked() {
        assert_eq!(step(Phase::Whitelisted, Fact::Whitelisted(false)), Step::Move(Phase::Registered));
        for phase in
            [Phase::Locked, Phase::Active, Phase::Exiting { withdrawable_at: T }, Phase::Withdrawable]
        {
            assert_eq!(step(phase, Fact::Whitelisted(false)), Step::Stay);
        }
    }

    fn any_phase() -> impl Strategy<Value = Phase> {
        prop_oneof![
            Just(Phase::Registered),
            Just(Phase::Whitelisted),
            Just(Phase::Locked),
            Just(Phase::Active),
            (0u64..5_000).prop_map(|t| Phase::Exiting { withdrawable_at: Timestamp(t) }),
            Just(Phase::Withdrawable),
            Just(Phase::Withdrawn),
        ]
    }

    fn any_fact() -> impl Strategy<Value = Fact> {
        prop_oneof![
            any::<bool>().prop_map(Fact::Whitelisted),
            Just(Fact::Locked),
            (0u64..5_000).prop_map(|t| Fact::UnlockInit { withdrawable_at: Timestamp(t) }),
            Just(Fact::Unlocked),
            (0u64..5_000).prop_map(|t| Fact::ChainTime(Timestamp(t))),
            Just(Fact::ConsensusKnows),
        ]
    }

    proptest! {
        #[test]
        fn no_fact_leads_back_except_the_whitelist(phase in any_phase(), fact in any_fact()) {
            let rank = |phase: Phase| match phase {
                Phase::Registered => 0, Phase::Whitelisted => 1, Phase::Locked => 2, Phase::Active => 3,
                Phase::Exiting { .. } => 4, Phase::Withdrawable => 5, Phase::Withdrawn => 6,
            };
            if let Step::Move(next) = step(phase, fact) {
                prop_assert!(rank(next) > rank(phase) || fact == Fact::Whitelisted(false));
            }
        }

        #[test]
        fn a_move_is_not_made_twice_by_the_same_fact(phase in any_phase(), fact in any_fact()) {
            if let Step::Move(next) = step(phase, fact) {
                prop_assert!(!matches!(step(next, fact), Step::Move(_)));
            }
        }

        #[test]
        fn names_round_trip(phase in any_phase()) {
            let at = match phase { Phase::Exiting { withdrawable_at } => Some(withdrawable_at), _ => None };
            prop_assert_eq!(Phase::from_parts(phase.name(), at), Ok(phase));
        }
    }
}
