//! Reward rates, in integers until the last digit is printed.
//!
//! A year has 31,536,000 seconds, as the protocol's own formula has it. Rates are cut off at twelve
//! decimals and never rounded up.

use std::fmt;

use alloy_primitives::{U256, U512};

use super::narrow;
use crate::amount::Metis;
use crate::ids::Timestamp;

/// Seconds of a year in every formula of the protocol.
pub const YEAR_SECS: u64 = 31_536_000;

/// Seconds between L2 blocks in the protocol's own formula, unless configured.
pub const BLOCK_INTERVAL_SECS: u64 = 8;

/// Decimals of a rate.
const DECIMALS: usize = 12;

/// Parts that make one whole.
const WHOLE: u64 = 1_000_000_000_000;

/// Why there is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRate {
    /// The window ends before it has begun.
    #[error("the window is empty")]
    EmptyWindow,
    /// Nothing was locked, so nothing can have earned.
    #[error("nothing was locked in the window")]
    NothingLocked,
    /// Changes of the lock are not in the order of time.
    #[error("the changes of the lock are not in order")]
    Unordered,
    /// Blocks cannot take no time, nor longer than a year.
    #[error("a block takes between a second and a year")]
    Interval,
    /// The rate is beyond any meaning.
    #[error("the rate does not fit")]
    TooLarge,
}

/// A rate in parts of 10^-12, shown as a decimal fraction: "0.200000000000" is 20 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(U256);

impl Rate {
    /// What the protocol aims at: 20 % a year.
    pub const TARGET: Self = Self(U256::from_limbs([WHOLE / 5, 0, 0, 0]));

    /// The rate of so many parts of 10^-12.
    pub fn of_parts(parts: u64) -> Self {
        Self(U256::from(parts))
    }

    /// `numerator / denominator`, cut off.
    fn ratio(numerator: U512, denominator: U512) -> Result<Self, NoRate> {
        let parts = numerator.checked_mul(U512::from(WHOLE)).ok_or(NoRate::TooLarge)?;
        let parts = parts.checked_div(denominator).ok_or(NoRate::NothingLocked)?;
        narrow(parts).map(Self).ok_or(NoRate::TooLarge)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, parts) = self.0.div_rem(U256::from(WHOLE));
        f.pad_integral(true, "", &format!("{whole}.{:0>DECIMALS$}", parts.to_string()))
    }
}

/// A span of chain time; the end does not belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    from: Timestamp,
    to: Timestamp,
}

impl Window {
    /// From `from` until before `to`.
    ///
    /// # Errors
    /// [`NoRate::EmptyWindow`] unless `from` is earlier.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self, NoRate> {
        if from < to { Ok(Self { from, to }) } else { Err(NoRate::EmptyWindow) }
    }

    /// Its length, at least one second.
    pub fn secs(self) -> u64 {
        self.to.secs_since(self.from)
    }

    /// True if a block of this time lies in it.
    pub fn contains(self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }
}

/// From this moment on so much is locked, until the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockChange {
    /// Time of the block.
    pub at: Timestamp,
    /// The lock after the change; zero once the sequencer has exited.
    pub lock: Metis,
}

/// The lock of a window, integrated over its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockTime {
    window: Window,
    /// Below 2^320: 256 bits of wei times 64 bits of seconds.
    wei_secs: U512,
}

impl LockTime {
    /// Integrates over the window. Give every change since the first lock: those before the window
    /// tell what was locked when it began.
    ///
    /// # Errors
    /// [`NoRate::Unordered`] if a change is earlier than the one before it.
    pub fn over(window: Window, changes: &[LockChange]) -> Result<Self, NoRate> {
        let mut wei_secs = U512::ZERO;
        let mut since = window.from;
        let mut lock = Metis::ZERO;
        let mut last = Timestamp(0);
        for change in changes {
            if change.at < last {
                return Err(NoRate::Unordered);
            }
            last = change.at;
            let at = change.at.clamp(window.from, window.to);
            wei_secs += area(lock, since, at);
            (since, lock) = (at, change.lock);
        }
        wei_secs += area(lock, since, window.to);
        Ok(Self { window, wei_secs })
    }

    /// The lock on average, cut off to whole wei.
    pub fn average(self) -> Metis {
        let average = self.wei_secs / U512::from(self.window.secs());
        // An average of 256-bit numbers has 256 bits.
        Metis(narrow(average).unwrap_or(U256::MAX))
    }

    /// The yearly rate of what accrued in the window, without compounding.
    ///
    /// # Errors
    /// [`NoRate::NothingLocked`], or [`NoRate::TooLarge`] for a dust lock with a huge reward.
    pub fn simple_rate(self, accrued: Metis) -> Result<Rate, NoRate> {
        // accrued / (wei_secs / secs) * year / secs: the seconds of the window cancel.
        self.earned_per(accrued, YEAR_SECS)
    }

    /// What accrued in the window against the average lock, not scaled to a year.
    ///
    /// # Errors
    /// As [`LockTime::simple_rate`].
    pub fn return_on_lock(self, accrued: Metis) -> Result<Rate, NoRate> {
        self.earned_per(accrued, self.window.secs())
    }

    fn earned_per(self, accrued: Metis, secs: u64) -> Result<Rate, NoRate> {
        // 256 bits of wei, 64 of seconds and 40 of scale: it fits.
        Rate::ratio(U512::from(accrued.0) * U512::from(secs), self.wei_secs)
    }
}

/// The yearly rate of the whole network: reward per block, times the blocks of a year, for the total
/// locked (P 1.13).
///
/// # Errors
/// [`NoRate::Interval`] or [`NoRate::NothingLocked`].
pub fn network(reward_per_block: Metis, total_locked: Metis, interval_secs: u64) -> Result<Rate, NoRate> {
    let yearly = U512::from(reward_per_block.0) * U512::from(blocks_per_year(interval_secs)?);
    Rate::ratio(yearly, U512::from(total_locked.0))
}

/// The reward per block that would give this yearly rate: the inverse of [`network`], cut off to
/// whole wei as the protocol's own script does.
///
/// # Errors
/// [`NoRate::Interval`], or [`NoRate::TooLarge`] if it does not fit.
pub fn reward_per_block(rate: Rate, total_locked: Metis, interval_secs: u64) -> Result<Metis, NoRate> {
    let yearly = U512::from(total_locked.0) * U512::from(rate.0) / U512::from(WHOLE);
    let reward = yearly / U512::from(blocks_per_year(interval_secs)?);
    narrow(reward).map(Metis).ok_or(NoRate::TooLarge)
}

fn blocks_per_year(interval_secs: u64) -> Result<u64, NoRate> {
    match YEAR_SECS.checked_div(interval_secs) {
        Some(blocks) if blocks > 0 => Ok(blocks),
        _ => Err(NoRate::Interval),
    }
}

fn area(lock: Metis, from: Timestamp, to: Timestamp) -> U512 {
    U512::from(lock.0) * U512::from(to.secs_since(from))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(from: u64, to: u64) -> Window {
        Window::new(Timestamp(from), Timestamp(to)).expect("not empty")
    }

    fn change(at: u64, lock: u64) -> LockChange {
        LockChange { at: Timestamp(at), lock: Metis::whole(lock) }
    }

    #[test]
    fn a_year_at_the_target_gives_the_target() {
        let lock = LockTime::over(window(0, YEAR_SECS), &[change(0, 20_000)]).expect("in order");
        assert_eq!(lock.simple_rate(Metis::whole(4_000)), Ok(Rate::TARGET));
        assert_eq!(lock.return_on_lock(Metis::whole(4_000)), Ok(Rate::TARGET));
        assert_eq!(Rate::TARGET.to_string(), "0.200000000000");
    }

    #[test]
    fn the_lock_counts_for_as_long_as_it_was_held() {
        let all = [change(0, 20_000), change(150, 40_000), change(150, 60_000), change(300, 0)];
        let table: [(u64, u64, &[LockChange], u64); 7] = [
            (100, 200, &all[..1], 20_000),
            (100, 200, &all[..2], 30_000),
            // Of two changes in one block the last holds.
            (100, 200, &all, 40_000),
            (250, 350, &all, 30_000),
            // A change at the end of the window is outside.
            (50, 150, &all, 20_000),
            (300, 400, &all, 0),
            (100, 200, &[], 0),
        ];
        for (from, to, changes, average) in table {
            let lock = LockTime::over(window(from, to), changes).expect("in order");
            assert_eq!(lock.average(), Metis::whole(average), "{from}..{to}");
        }
    }

    #[test]
    fn a_short_window_is_scaled_to_a_year_and_cut_off() {
        let lock = LockTime::over(window(0, 86_400), &[change(0, 30_000)]).expect("in order");
        let accrued = Metis::whole(7);
        // 7 / 30000 * 365 = 0.0851666...
        assert_eq!(lock.simple_rate(accrued).map(|rate| rate.to_string()), Ok("0.085166666666".to_owned()));
        assert_eq!(
            lock.return_on_lock(accrued).map(|rate| rate.to_string()),
            Ok("0.000233333333".to_owned())
        );
    }

    #[test]
    fn no_lock_no_window_no_order_no_rate() {
        assert_eq!(Window::new(Timestamp(5), Timestamp(5)), Err(NoRate::EmptyWindow));
        assert_eq!(Window::new(Timestamp(6), Timestamp(5)), Err(NoRate::EmptyWindow));
        let none = LockTime::over(window(0, 10), &[change(20, 20_000)]).expect("in order");
        assert_eq!(none.simple_rate(Metis::ZERO), Err(NoRate::NothingLocked));
        let unordered = LockTime::over(window(0, 10), &[change(5, 1), change(4, 2)]);
        assert_eq!(unordered, Err(NoRate::Unordered));
        let dust = LockTime::over(window(0, 1), &[LockChange { at: Timestamp(0), lock: Metis::wei(1) }]);
        assert_eq!(dust.expect("in order").simple_rate(Metis::MAX), Err(NoRate::TooLarge));
    }

    #[test]
    fn the_network_formula_is_the_protocols_own() {
        // 3,942,000 blocks a year; 0.000761 METIS a block is the initial value.
        let rpb = Metis::parse("0.000761").expect("a number");
        let rate = network(rpb, Metis::whole(60_000), BLOCK_INTERVAL_SECS).expect("a rate");
        assert_eq!(rate.to_string(), "0.049997700000");
        let target =
            reward_per_block(Rate::TARGET, Metis::whole(60_000), BLOCK_INTERVAL_SECS).expect("it fits");
        assert_eq!(target.to_string(), "0.0030441400304414");
        assert_eq!(network(rpb, Metis::ZERO, 8), Err(NoRate::NothingLocked));
        assert_eq!(network(rpb, Metis::whole(1), 0), Err(NoRate::Interval));
        assert_eq!(network(rpb, Metis::whole(1), YEAR_SECS + 1), Err(NoRate::Interval));
        assert_eq!(reward_per_block(Rate(U256::MAX), Metis::MAX, 8), Err(NoRate::TooLarge));
    }

    proptest! {
        #[test]
        fn the_inverse_never_exceeds_the_rate_it_was_asked_for(
            parts in 1..WHOLE, locked in 1..u64::MAX, interval in 1..=3_600_u64,
        ) {
            let (rate, total) = (Rate::of_parts(parts), Metis::whole(locked));
            let rpb = reward_per_block(rate, total, interval).expect("it fits");
            let found = network(rpb, total, interval).expect("a rate");
            // One wei a block and one part are all that cutting off can cost.
            let above = network(rpb.checked_add(Metis::wei(1)).expect("small"), total, interval).expect("a rate");
            prop_assert!(found <= rate && rate <= above);
        }

        #[test]
        fn integration_is_additive(
            cuts in proptest::collection::vec((0..1_000_u64, any::<u64>()), 0..10), middle in 1..999_u64,
        ) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let changes: Vec<_> = cuts.iter().map(|(at, lock)| change(*at, *lock)).collect();
            let over = |from, to| LockTime::over(window(from, to), &changes).expect("in order").wei_secs;
            prop_assert_eq!(over(0, middle) + over(middle, 1_000), over(0, 1_000));
        }

        #[test]
        fn no_numbers_make_it_panic(
            limbs in any::<[u64; 4]>(), accrued in any::<[u64; 4]>(), at in any::<u64>(), to in 1..=u64::MAX,
        ) {
            let lock = Metis(U256::from_limbs(limbs));
            let changes = [LockChange { at: Timestamp(at), lock }];
            let time = LockTime::over(window(0, to), &changes).expect("one is in order");
            let accrued = Metis(U256::from_limbs(accrued));
            let _ = (time.simple_rate(accrued), time.return_on_lock(accrued), network(accrued, lock, at));
            prop_assert!(time.average() <= lock);
        }
    }
}
