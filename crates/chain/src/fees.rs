//! EIP-1559 fees from what the last blocks took, within a ceiling, and more of it the longer something has waited.
//! Budgets belong to lifecycle; this says what is enough now.

use std::time::Duration;

use alloy_primitives::U256;

use crate::pool::Pool;
use crate::rpc::{FeeHistory, RpcError, call};

/// Blocks looked at: two minutes on L1, enough to pass over a single odd block.
const BLOCKS: u64 = 10;
/// Least a replacement must pay more, in thousandths: nodes want 10 %, the rest is for rounding.
const BUMP_PER_MILLE: u128 = 1_125;
/// Headroom over the base fee: it can rise by an eighth for each block, so this lasts for six.
const BASE_FEE_FACTOR: u128 = 2;

/// Fees of a transaction, wei for each unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// The most paid in all.
    pub max_fee_per_gas: u128,
    /// The most of it that the block's producer gets.
    pub max_priority_fee_per_gas: u128,
}

/// What an operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeePolicy {
    /// The most ever paid in all, wei for each unit of gas.
    pub max_fee_ceiling: u128,
    /// The least tip: pools refuse less.
    pub tip_min: u128,
    /// The highest tip: a single greedy block must not lead us.
    pub tip_max: u128,
    /// Which percentile of recent tips is enough for what has just been asked for, 0 to 100.
    pub percentile: u8,
    /// The same for what is urgent; not below `percentile`.
    pub urgent_percentile: u8,
}

/// How much something is in a hurry, from [`Urgency::CALM`] to [`Urgency::FULL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency(u16);

impl Urgency {
    /// Just asked for: the lower percentile.
    pub const CALM: Self = Self(0);
    /// Waited long enough, or hurried by hand: the upper percentile.
    pub const FULL: Self = Self(1_000);

    /// Grows evenly with the time waited and is full after `full_after`.
    #[must_use]
    pub fn after(waited: Duration, full_after: Duration) -> Self {
        let per_mille = waited.as_millis().saturating_mul(1_000).checked_div(full_after.as_millis());
        Self(per_mille.and_then(|part| u16::try_from(part).ok()).unwrap_or(1_000).min(1_000))
    }

    /// Grows evenly as a deadline nears, from `full_within` before it, and is full when it has come.
    #[must_use]
    pub fn before(left: Duration, full_within: Duration) -> Self {
        if left.is_zero() {
            return Self::FULL;
        }
        Self(Self::FULL.0.saturating_sub(Self::after(left, full_within).0))
    }

    /// Of something that has waited, and has a deadline or none: the more urgent of the two.
    #[must_use]
    pub fn of(waited: Duration, left: Option<Duration>, full_within: Duration) -> Self {
        let deadline = left.map_or(Self::CALM, |left| Self::before(left, full_within));
        Self::after(waited, full_within).max(deadline)
    }
}

/// Why there are no fees to offer. Nothing is wrong: wait, or raise the ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeesRefused {
    /// The market is above what the operator allows.
    #[error("{needed} wei per gas are needed, at most {ceiling} are allowed")]
    AboveCeiling {
        /// What would be enough.
        needed: u128,
        /// What is allowed.
        ceiling: u128,
    },
    /// The chain tells of no base fee, or of one that cannot be.
    #[error("the node tells no usable base fee")]
    NoBaseFee,
}

/// Asks a node for the fees of the last blocks, as [`suggest`] needs them.
///
/// # Errors
/// If no endpoint answers.
pub async fn history(pool: &Pool, policy: &FeePolicy) -> Result<FeeHistory, RpcError> {
    let calm = policy.percentile.min(100);
    // Nodes want them rising.
    let urgent = policy.urgent_percentile.clamp(calm, 100);
    pool.ask(call::fee_history(BLOCKS, &[calm, urgent])).await
}

/// Fees that were enough lately, with headroom for the base fee as far as the ceiling allows it. The tip lies between
/// the two percentiles of the policy, as urgent as this is.
///
/// # Errors
/// If the ceiling is below the base fee with the least tip.
pub fn suggest(history: &FeeHistory, policy: &FeePolicy, urgency: Urgency) -> Result<Fees, FeesRefused> {
    let base = history.base_fee_per_gas.last().and_then(as_u128).ok_or(FeesRefused::NoBaseFee)?;
    let calm = median_tip(history, 0);
    let more = median_tip(history, 1).saturating_sub(calm).saturating_mul(u128::from(urgency.0)) / 1_000;
    let tip = calm.saturating_add(more).clamp(policy.tip_min, policy.tip_max.max(policy.tip_min));
    let needed = base.saturating_add(policy.tip_min);
    if needed > policy.max_fee_ceiling {
        return Err(FeesRefused::AboveCeiling { needed, ceiling: policy.max_fee_ceiling });
    }
    let wanted = base.saturating_mul(BASE_FEE_FACTOR).saturating_add(tip);
    let max_fee_per_gas = wanted.min(policy.max_fee_ceiling);
    Ok(Fees { max_fee_per_gas, max_priority_fee_per_gas: tip.min(max_fee_per_gas) })
}

/// Fees for a replacement: what is enough now, but on both fees at least an eighth more than before,
/// because nodes keep the old one otherwise.
///
/// # Errors
/// If that is above the ceiling: then the old one stands.
pub fn replacement(before: Fees, now: Fees, policy: &FeePolicy) -> Result<Fees, FeesRefused> {
    let bumped = Fees {
        max_fee_per_gas: bump(before.max_fee_per_gas).max(now.max_fee_per_gas),
        max_priority_fee_per_gas: bump(before.max_priority_fee_per_gas).max(now.max_priority_fee_per_gas),
    };
    if bumped.max_fee_per_gas > policy.max_fee_ceiling {
        let needed = bump(before.max_fee_per_gas);
        if needed > policy.max_fee_ceiling {
            return Err(FeesRefused::AboveCeiling { needed, ceiling: policy.max_fee_ceiling });
        }
    }
    let max_fee_per_gas = bumped.max_fee_per_gas.min(policy.max_fee_ceiling);
    Ok(Fees {
        max_fee_per_gas,
        max_priority_fee_per_gas: bumped.max_priority_fee_per_gas.min(max_fee_per_gas),
    })
}

fn bump(fee: u128) -> u128 {
    fee.saturating_mul(BUMP_PER_MILLE).div_ceil(1_000).max(fee.saturating_add(1))
}

/// The middle of the tips told for this percentile, so that empty and odd blocks do not count.
fn median_tip(history: &FeeHistory, percentile: usize) -> u128 {
    let told = history.reward.as_deref().unwrap_or_default();
    let mut tips: Vec<u128> =
        told.iter().filter_map(|block| block.get(percentile)).filter_map(as_u128).collect();
    tips.sort_unstable();
    tips.get(tips.len() / 2).copied().unwrap_or(0)
}

fn as_u128(fee: &U256) -> Option<u128> {
    (*fee).try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GWEI: u128 = 1_000_000_000;
    const POLICY: FeePolicy = FeePolicy {
        max_fee_ceiling: 100 * GWEI,
        tip_min: GWEI / 10,
        tip_max: 5 * GWEI,
        percentile: 50,
        urgent_percentile: 90,
    };

    fn history(base: u128, tips: &[u128]) -> FeeHistory {
        let reward = Some(tips.iter().map(|tip| vec![U256::from(*tip)]).collect());
        FeeHistory { oldest_block: 1, base_fee_per_gas: vec![U256::ZERO, U256::from(base)], reward }
    }

    fn fees(max_fee_per_gas: u128, max_priority_fee_per_gas: u128) -> Fees {
        Fees { max_fee_per_gas, max_priority_fee_per_gas }
    }

    #[test]
    fn fees_follow_the_market_and_stay_in_their_bounds() {
        let table = [
            // base, tips, expected
            (10 * GWEI, vec![2 * GWEI, 2 * GWEI, 50 * GWEI], Ok(fees(22 * GWEI, 2 * GWEI))),
            (10 * GWEI, vec![], Ok(fees(20 * GWEI + GWEI / 10, GWEI / 10))),
            (10 * GWEI, vec![80 * GWEI], Ok(fees(25 * GWEI, 5 * GWEI))),
            (60 * GWEI, vec![2 * GWEI], Ok(fees(100 * GWEI, 2 * GWEI))),
            (0, vec![0], Ok(fees(GWEI / 10, GWEI / 10))),
            (
                100 * GWEI,
                vec![GWEI],
                Err(FeesRefused::AboveCeiling { needed: 100 * GWEI + GWEI / 10, ceiling: 100 * GWEI }),
            ),
        ];
        for (base, tips, expected) in table {
            assert_eq!(
                suggest(&history(base, &tips), &POLICY, Urgency::CALM),
                expected,
                "base {base}, tips {tips:?}"
            );
        }
        let silent = FeeHistory { oldest_block: 1, base_fee_per_gas: vec![], reward: None };
        assert_eq!(suggest(&silent, &POLICY, Urgency::CALM), Err(FeesRefused::NoBaseFee));
    }

    #[test]
    fn the_tip_grows_with_the_time_waited_and_stays_under_its_ceiling() {
        let blocks = vec![vec![U256::from(GWEI), U256::from(3 * GWEI)]; 3];
        let told = FeeHistory {
            oldest_block: 1,
            base_fee_per_gas: vec![U256::from(10 * GWEI)],
            reward: Some(blocks),
        };
        let waited = |secs| Urgency::after(Duration::from_secs(secs), Duration::from_secs(300));
        let table = [(0, GWEI), (150, 2 * GWEI), (300, 3 * GWEI), (9_000, 3 * GWEI)];
        for (secs, tip) in table {
            let fees = suggest(&told, &POLICY, waited(secs)).map(|fees| fees.max_priority_fee_per_gas);
            assert_eq!(fees, Ok(tip), "after {secs} s");
        }
        assert_eq!(Urgency::after(Duration::ZERO, Duration::ZERO), Urgency::FULL);
        let capped = FeePolicy { tip_max: 2 * GWEI, ..POLICY };
        let fees = suggest(&told, &capped, Urgency::FULL).map(|fees| fees.max_priority_fee_per_gas);
        assert_eq!(fees, Ok(2 * GWEI));
    }

    #[test]
    fn what_must_be_done_by_a_deadline_gets_more_urgent_as_it_nears() {
        let of = |waited, left: Option<u64>| {
            let secs = Duration::from_secs;
            Urgency::of(secs(waited), left.map(secs), secs(300))
        };
        let table = [
            // waited, left, thousandths
            (0, None, 0),
            (0, Some(3_600), 0),
            (0, Some(300), 0),
            (0, Some(150), 500),
            (0, Some(3), 990),
            (0, Some(0), 1_000),
            (150, Some(3_600), 500),
            (30, Some(150), 500),
            (270, Some(150), 900),
            (9_000, Some(3_600), 1_000),
        ];
        for (waited, left, expected) in table {
            assert_eq!(of(waited, left), Urgency(expected), "waited {waited}, left {left:?}");
        }
        assert_eq!(Urgency::before(Duration::ZERO, Duration::ZERO), Urgency::FULL);
        assert_eq!(Urgency::before(Duration::from_secs(1), Duration::ZERO), Urgency::CALM, "not yet");
    }

    #[test]
    fn a_replacement_raises_both_fees_by_an_eighth_or_to_the_market() {
        let before = fees(20 * GWEI, 2 * GWEI);
        assert_eq!(
            replacement(before, fees(10 * GWEI, GWEI), &POLICY),
            Ok(fees(22_500_000_000, 2_250_000_000))
        );
        assert_eq!(replacement(before, fees(40 * GWEI, 4 * GWEI), &POLICY), Ok(fees(40 * GWEI, 4 * GWEI)));
    }

    #[test]
    fn a_replacement_goes_up_to_the_ceiling_and_not_above() {
        let near = fees(80 * GWEI, 2 * GWEI);
        assert_eq!(
            replacement(near, fees(200 * GWEI, 2 * GWEI), &POLICY),
            Ok(fees(100 * GWEI, 2_250_000_000))
        );
        let at = fees(95 * GWEI, 2 * GWEI);
        assert!(matches!(replacement(at, at, &POLICY), Err(FeesRefused::AboveCeiling { .. })));
    }
}
