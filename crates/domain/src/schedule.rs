//! What is to be done again and again, or once when the chain allows it: from the facts to "do it", or "not now,
//! because".
//!
//! Works on chain time only. A look that was missed, however often, is made up for once.

use alloy_primitives::U256;

use crate::amount::{Eth, Metis};
use crate::ids::Timestamp;
use crate::operation::Operation;
use crate::preflight::Status;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// The longest time between two looks.
pub const DAYS_MAX: u32 = 365;
/// After something that may mend at any time, as an operation under way.
const AGAIN_SECS: u64 = 600;
/// Wei in one METIS.
const METIS_WEI: u64 = 1_000_000_000_000_000_000;

/// When a reward is worth what moving it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorthIt {
    /// Days between two looks: 1 to [`DAYS_MAX`].
    pub every_days: u32,
    /// The reward must be worth at least so many times the cost; 0 for always.
    pub times_cost: u32,
    /// What one METIS is worth in ETH, as the operator reckons. No contract knows a price.
    pub metis_price: Eth,
}

impl WorthIt {
    /// Whether the reward is worth its cost. A value beyond 256 bits is worth everything.
    fn holds(&self, reward: Metis, cost: Eth) -> bool {
        if self.times_cost == 0 {
            return true;
        }
        let worth = reward.0.checked_mul(self.metis_price.0).unwrap_or(U256::MAX) / U256::from(METIS_WEI);
        cost.0.checked_mul(U256::from(self.times_cost)).is_some_and(|least| worth >= least)
    }
}

/// What is to be done when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Bridge the reward to its recipient.
    Claim(WorthIt),
    /// Convert the reward into principal while all of it fits below the cap: the contract converts all or reverts (P 1.10).
    Compound(WorthIt),
    /// Return the principal when the exit delay is over.
    WithdrawFinal,
}

/// Why a rule is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleInvalid {
    /// Not 1 to [`DAYS_MAX`].
    #[error("every_days is 1 to {DAYS_MAX}")]
    Days,
    /// Without a price "times its cost" means nothing.
    #[error("times_cost needs metis_price_wei: what one METIS is worth in wei of ETH")]
    Price,
}

impl Rule {
    /// Whether it means something.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), RuleInvalid> {
        let Some(worth) = self.worth() else { return Ok(()) };
        if worth.every_days == 0 || worth.every_days > DAYS_MAX {
            return Err(RuleInvalid::Days);
        }
        if worth.times_cost > 0 && worth.metis_price.is_zero() {
            return Err(RuleInvalid::Price);
        }
        Ok(())
    }

    const fn worth(&self) -> Option<&WorthIt> {
        match self {
            Self::Claim(worth) | Self::Compound(worth) => Some(worth),
            Self::WithdrawFinal => None,
        }
    }

    /// The operation it asks for.
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Claim(_) => Operation::Claim { l2_gas: 0 },
            Self::Compound(_) => Operation::Increase { amount: Metis::ZERO, with_rewards: true },
            Self::WithdrawFinal => Operation::WithdrawFinal { l2_gas: 0 },
        }
    }

    /// One sentence for people.
    pub fn words(&self) -> String {
        let verb = match self {
            Self::Claim(_) => "claim",
            Self::Compound(_) => "compound up to the cap",
            Self::WithdrawFinal => return "withdraw the final amount when withdrawable".to_owned(),
        };
        let (days, times, price) = self
            .worth()
            .map_or((0, 0, Eth::ZERO), |worth| (worth.every_days, worth.times_cost, worth.metis_price));
        let every = if days == 1 { "every day".to_owned() } else { format!("every {days} days") };
        match times {
            0 => format!("{verb} {every}"),
            _ => format!(
                "{verb} {every} if the reward is worth {times} times its cost, one METIS being {price} ETH"
            ),
        }
    }

    fn period(&self) -> u64 {
        self.worth().map_or(DAY, |worth| u64::from(worth.every_days).max(1).saturating_mul(DAY))
    }
}

/// The look for which `now` is the time: the newest of `first`, `first` + period, … that is not in the future. However
/// many were missed, only that one is made up for.
pub fn slot(rule: &Rule, first: Timestamp, now: Timestamp) -> Timestamp {
    let periods = now.secs_since(first) / rule.period();
    first.plus(periods.saturating_mul(rule.period()))
}

/// What a decision rests on, read at one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Time of that block.
    pub now: Timestamp,
    /// The look this is for.
    pub slot: Timestamp,
    /// `sequencers(id).status`; none before the lock.
    pub status: Option<Status>,
    /// Principal.
    pub principal: Metis,
    /// Unclaimed reward.
    pub reward: Metis,
    /// `maxLock()`.
    pub max_lock: Metis,
    /// When the exit delay is over, once it runs.
    pub unlock_claim_time: Timestamp,
    /// What the operation would cost now, the bridge's fee included.
    pub cost: Eth,
    /// The first check that does not hold, in words.
    pub hindrance: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Ask for the operation of the rule.
    Do {
        /// Why, in words.
        because: String,
    },
    /// Nothing.
    NotNow {
        /// Why, in words.
        because: String,
        /// When to look again.
        again: Timestamp,
        /// Whether this settles the look: else it is still to be made.
        settled: bool,
    },
    /// Nothing, ever again.
    Over {
        /// Why, in words.
        because: String,
    },
}

/// Decides one look.
pub fn decide(rule: &Rule, facts: &Facts) -> Decision {
    if facts.status == Some(Status::Unlocked) {
        return Decision::Over { because: "the principal has been withdrawn".to_owned() };
    }
    match rule {
        Rule::Claim(worth) => claim(rule, worth, facts),
        Rule::Compound(worth) => compound(rule, worth, facts),
        Rule::WithdrawFinal => withdraw(facts),
    }
}

fn claim(rule: &Rule, worth: &WorthIt, facts: &Facts) -> Decision {
    earning(rule, worth, facts)
        .unwrap_or_else(|| open(facts, format!("{} METIS are unclaimed", facts.reward)))
}

fn compound(rule: &Rule, worth: &WorthIt, facts: &Facts) -> Decision {
    if let Some(not) = earning(rule, worth, facts) {
        return not;
    }
    let total = facts.principal.checked_add(facts.reward).unwrap_or(Metis::MAX);
    if total > facts.max_lock {
        let because = format!(
            "{} METIS of reward do not fit below the cap: {} are locked, at most {} may be; claim them instead",
            facts.reward, facts.principal, facts.max_lock
        );
        return at_next_slot(rule, facts, because);
    }
    open(facts, format!("{} METIS of reward fit below the cap of {}", facts.reward, facts.max_lock))
}

/// Why rewards are left alone, if so.
fn earning(rule: &Rule, worth: &WorthIt, facts: &Facts) -> Option<Decision> {
    let because = match facts.status {
        None => "nothing is locked yet".to_owned(),
        Some(Status::Inactive) => "it is exiting: the reward leaves with the exit".to_owned(),
        _ if facts.reward.is_zero() => "there is no reward".to_owned(),
        _ if !worth.holds(facts.reward, facts.cost) => format!(
            "{} METIS of reward are not worth {} times the cost of {} ETH",
            facts.reward, worth.times_cost, facts.cost
        ),
        _ => return None,
    };
    Some(at_next_slot(rule, facts, because))
}

fn withdraw(facts: &Facts) -> Decision {
    match facts.status {
        Some(Status::Inactive) if facts.unlock_claim_time > facts.now => Decision::NotNow {
            because: format!("withdrawable from {} on", facts.unlock_claim_time),
            again: facts.unlock_claim_time,
            settled: true,
        },
        Some(Status::Inactive) => open(facts, "the exit delay is over".to_owned()),
        _ => Decision::NotNow {
            because: "no exit has begun".to_owned(),
            again: facts.now.plus(DAY),
            settled: true,
        },
    }
}

/// The rule wants it; a check may still stand in its way, and then the look is made again soon.
fn open(facts: &Facts, because: String) -> Decision {
    match &facts.hindrance {
        None => Decision::Do { because },
        Some(hindrance) => Decision::NotNow {
            because: format!("{because}, but {hindrance}"),
            again: facts.now.plus(AGAIN_SECS),
            settled: false,
        },
    }
}

fn at_next_slot(rule: &Rule, facts: &Facts, because: String) -> Decision {
    Decision::NotNow { because, again: after(rule, facts.slot), settled: true }
}

/// The look after the one for `slot`.
pub fn after(rule: &Rule, slot: Timestamp) -> Timestamp {
    slot.plus(rule.period())
}

#[cfg(test)]
mod tests;
