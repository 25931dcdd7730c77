//! When to ask again: a few times with growing pauses, and not at all once a peer fails often,
//! because retries would then only add to its load (gRPC proposal A6).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Attempts for one call, the first included.
const ATTEMPTS_MAX: u32 = 4;

/// The first pause; each further one is twice as long, up to `PAUSE_MAX`.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Pauses vary by this part, so that clients do not come back together.
const PAUSE_JITTER: f64 = 0.2;

/// Ten tokens; a failure costs one, a success gives back a tenth. In tenths to stay with integers.
const TENTHS_MAX: u32 = 100;
const TENTHS_OF_FAILURE: u32 = 10;
const TENTHS_OF_SUCCESS: u32 = 1;

/// How much retrying a peer still bears; shared by all calls to it.
#[derive(Debug)]
pub(super) struct Budget {
    tenths: AtomicU32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tenths: AtomicU32::new(TENTHS_MAX) }
    }
}

impl Budget {
    pub fn succeeded(&self) {
        self.change(|tenths| (tenths + TENTHS_OF_SUCCESS).min(TENTHS_MAX));
    }

    pub fn failed(&self) {
        self.change(|tenths| tenths.saturating_sub(TENTHS_OF_FAILURE));
    }

    /// Retries stop while less than half is left.
    pub fn allows(&self) -> bool {
        self.tenths.load(Ordering::Relaxed) > TENTHS_MAX / 2
    }

    fn change(&self, step: impl Fn(u32) -> u32) {
        let _ = self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(step(now)));
    }
}

/// The attempts for one call.
#[derive(Debug, Default)]
pub(super) struct Tries {
    made: u32,
}

impl Tries {
    /// How long to wait before the next attempt, or `None` if there is none. A server that says when
    /// to come back is obeyed.
    pub fn next(&mut self, pushed_back: Option<Duration>) -> Option<Duration> {
        self.made += 1;
        if self.made >= ATTEMPTS_MAX {
            return None;
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << (self.made - 1)).min(PAUSE_MAX);
        let jitter = 1.0 + PAUSE_JITTER * (rand::random::<f64>() * 2.0 - 1.0);
        Some(pushed_back.unwrap_or_default().max(pause.mul_f64(jitter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_after_four_attempts() {
        let mut tries = Tries::default();
        for expected in [100.0, 200.0, 400.0] {
            let pause = tries.next(None).expect("another attempt").as_secs_f64() * 1000.0;
            assert!((pause / expected - 1.0).abs() <= PAUSE_JITTER + 1e-9, "{pause} for {expected}");
        }
        assert_eq!(tries.next(None), None);
    }

    #[test]
    fn a_server_that_pushes_back_is_obeyed() {
        let pause = Tries::default().next(Some(Duration::from_secs(3)));
        assert_eq!(pause, Some(Duration::from_secs(3)));
    }

    #[test]
    fn half_of_all_calls_failing_adds_at_most_a_fifth_more_calls() {
        let budget = Budget::default();
        let (mut calls, mut attempts) = (0_u32, 0_u32);
        for fails in [true, false].into_iter().cycle().take(1000) {
            calls += 1;
            attempts += 1;
            match fails {
                true => budget.failed(),
                false => budget.succeeded(),
            }
            if fails && budget.allows() {
                attempts += 1;
            }
        }
        assert!(attempts * 10 <= calls * 12, "{attempts} attempts for {calls} calls");
    }
}
