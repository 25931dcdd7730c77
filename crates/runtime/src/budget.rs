//! The time that is left for the work in hand, kept beside the task so that every call it makes
//! passes on less than it was given.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

/// What a hop keeps for itself, so that a caller hears our answer before it gives up.
pub const HOP_SHAVE: Duration = Duration::from_millis(20);

/// The header of gRPC for the time a caller will wait.
pub(crate) const GRPC_TIMEOUT: &str = "grpc-timeout";

/// gRPC allows at most this many digits in a time-out.
const TIMEOUT_DIGITS_MAX: usize = 8;

tokio::task_local! {
    static UNTIL: Instant;
}

/// Runs `work` with `until` as the end of its budget; an outer budget that ends sooner wins.
///
/// The budget is told to the calls made by `work`; stopping `work` itself is for the caller.
pub async fn within<F: Future>(until: Instant, work: F) -> F::Output {
    let until = end().map_or(until, |outer| outer.min(until));
    UNTIL.scope(until, work).await
}

/// When the budget of this task ends; `None` outside of any request.
pub fn end() -> Option<Instant> {
    UNTIL.try_with(|until| *until).ok()
}

/// What is left of the budget of this task; `None` outside of any request.
pub fn remaining() -> Option<Duration> {
    end().map(|until| until.saturating_duration_since(Instant::now()))
}

/// Reads `grpc-timeout`; a malformed value counts as none, as in other implementations.
pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let unit = text.chars().last()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || digits.len() > TIMEOUT_DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 3600)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Writes a time-out for the header, rounded down so that a budget never grows on its way.
pub(crate) fn to_header(left: Duration) -> HeaderValue {
    const LARGEST: u128 = 99_999_999;
    let text = match (left.as_micros(), left.as_millis()) {
        (micros, _) if micros <= LARGEST => format!("{micros}u"),
        (_, millis) if millis <= LARGEST => format!("{millis}m"),
        _ => format!("{}S", u128::from(left.as_secs()).min(LARGEST)),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0u"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_survives_the_header_and_never_grows() {
        for left in [0, 1, 999, 1_999_999, 99_999_999, 100_000_001, 7_200_000_000] {
            let left = Duration::from_micros(left);
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, to_header(left));
            let read = of_headers(&headers).expect("what we write can be read");
            assert!(read <= left && left - read < Duration::from_millis(1), "{left:?} became {read:?}");
        }
    }

    #[test]
    fn a_malformed_timeout_counts_as_none() {
        for text in ["", "5", "S", "123456789S", "-1S", "1.5S", "5x", "5é"] {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_bytes(text.as_bytes()).expect("a header value"));
            assert_eq!(of_headers(&headers), None, "{text}");
        }
    }

    #[tokio::test]
    async fn an_inner_budget_cannot_outlive_the_outer_one() {
        let now = Instant::now();
        let near = now + Duration::from_secs(1);
        let far = now + Duration::from_secs(9);
        let inner = within(near, within(far, async { end() })).await;
        assert_eq!(inner, Some(near));
        assert_eq!(end(), None);
    }
}
