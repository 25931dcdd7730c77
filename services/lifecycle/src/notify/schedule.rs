//! What becomes of a delivery after an attempt. Pure.

use std::time::Duration;

/// Waits after the first, second, ... failed attempt: nearly a day in all, dense at first, because most outages are short.
const WAITS_SECS: [u64; 10] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800];
/// Twins part: a wait is longer by up to this part of it, in percent.
const JITTER_PERCENT: u32 = 10;
/// An endpoint may ask for no more rest than this.
const REST_MAX: Duration = Duration::from_secs(86_400);

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP answer with the rest that it asks for.
    Status { code: u16, retry_after: Option<Duration> },
    /// None, in words.
    Nothing(String),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It was taken.
    Delivered,
    /// The endpoint is gone for good (410): nothing more is sent there.
    Gone,
    /// Again after this; and nothing else to the endpoint before its `rest` is over.
    Again { after: Duration, rest: Option<Duration> },
    /// Tried for a day: people must look.
    Dead,
}

/// Judges the attempt that made `attempts` of them. `chance` is any number, for the jitter.
pub fn judge(answer: &Answer, attempts: usize, chance: u32) -> Next {
    let retry_after = match answer {
        Answer::Status { code: 200..=299, .. } => return Next::Delivered,
        Answer::Status { code: 410, .. } => return Next::Gone,
        // Only these two mean the endpoint and not the message.
        Answer::Status { code: 429 | 503, retry_after } => *retry_after,
        Answer::Status { .. } | Answer::Nothing(_) => None,
    };
    let rest = retry_after.map(|rest| rest.min(REST_MAX));
    match WAITS_SECS.get(attempts.saturating_sub(1)) {
        Some(secs) => {
            let wait = Duration::from_secs(*secs);
            let after = wait + wait * (chance % (JITTER_PERCENT + 1)) / 100;
            Next::Again { after: after.max(rest.unwrap_or_default()), rest }
        }
        None => Next::Dead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: Answer = Answer::Status { code: 500, retry_after: None };

    fn status(code: u16, secs: Option<u64>) -> Answer {
        Answer::Status { code, retry_after: secs.map(Duration::from_secs) }
    }

    #[test]
    fn an_endpoint_that_stays_down_is_tried_for_about_a_day_and_then_given_up() {
        for (chance, hours) in [(0, 23), (10, 26)] {
            let mut waited = Duration::ZERO;
            let mut attempts = 1;
            while let Next::Again { after, rest: None } = judge(&DOWN, attempts, chance) {
                waited += after;
                attempts += 1;
            }
            assert_eq!(judge(&DOWN, attempts, chance), Next::Dead);
            assert_eq!((attempts, waited.as_secs() / 3_600), (11, hours));
        }
    }

    #[test]
    fn what_the_endpoint_asks_for_is_kept_within_a_day() {
        let again = |after, rest| Next::Again {
            after: Duration::from_secs(after),
            rest: Some(Duration::from_secs(rest)),
        };
        assert_eq!(judge(&status(429, Some(60)), 1, 0), again(60, 60));
        assert_eq!(judge(&status(503, Some(1)), 1, 0), again(5, 1));
        assert_eq!(judge(&status(503, Some(10_000_000)), 1, 0), again(86_400, 86_400));
        let plain = judge(&status(500, Some(60)), 1, 0);
        assert_eq!(plain, Next::Again { after: Duration::from_secs(5), rest: None }, "only 429 and 503");
    }

    #[test]
    fn only_success_is_success() {
        for code in [200, 201, 204, 299] {
            assert_eq!(judge(&status(code, None), 1, 0), Next::Delivered);
        }
        for code in [100, 301, 302, 307, 400, 401, 404, 422, 500] {
            assert!(matches!(judge(&status(code, None), 1, 0), Next::Again { .. }), "{code}");
        }
        assert_eq!(judge(&status(410, None), 1, 0), Next::Gone);
    }
}
