//! How many blocks to ask for at once: more while answers are small, fewer when an endpoint refuses. Pure.

use chain::rpc::{NodeErrorKind, RpcError};

/// Every provider takes so many.
const FIRST: u64 = 2_000;
/// Above it nothing is gained on sparse history, and an answer lost costs much.
const BLOCKS_MAX: u64 = 100_000;
/// Logs of one answer that are about 2 MB: best measured between 2,000 and 10,000.
const LOGS_AIM: usize = 4_000;

/// The size of the next range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    blocks: u64,
    /// The endpoint refused more than this.
    ceiling: u64,
}

impl Default for Range {
    fn default() -> Self {
        Self { blocks: FIRST, ceiling: BLOCKS_MAX }
    }
}

impl Range {
    /// The last block of the range that begins at `from`, not above `end`.
    pub fn to(&self, from: u64, end: u64) -> u64 {
        from.saturating_add(self.blocks - 1).min(end)
    }

    /// A range was answered with so many logs.
    pub fn answered(&mut self, logs: usize) {
        if logs > LOGS_AIM * 2 {
            self.blocks = (self.blocks / 2).max(1);
        } else if logs < LOGS_AIM / 2 {
            self.blocks = (self.blocks * 2).min(self.ceiling);
        }
    }

    /// A range failed; `true` if a smaller one may succeed.
    pub fn refused(&mut self, error: &RpcError) -> bool {
        let too_much = match error {
            RpcError::Timeout { .. } | RpcError::Malformed { .. } => true,
            RpcError::Status { status, .. } => *status == 413,
            other => other.node().is_some_and(|node| node.kind() == NodeErrorKind::TooMuch),
        };
        if too_much && self.blocks > 1 {
            self.blocks = (self.blocks / 2).max(1);
            self.ceiling = self.blocks;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chain::rpc::NodeError;

    use super::*;

    fn refusal(message: &str) -> RpcError {
        let source = NodeError { code: -32005, message: message.to_owned(), data: None };
        RpcError::Node { endpoint: "test".to_owned(), method: "eth_getLogs", source }
    }

    #[test]
    fn ranges_grow_while_answers_are_small_and_shrink_when_they_are_large() {
        let mut range = Range::default();
        assert_eq!(range.to(10, 1_000_000), 2_009);
        assert_eq!(range.to(10, 20), 20, "never beyond the end");
        range.answered(0);
        assert_eq!(range.blocks, 4_000);
        range.answered(LOGS_AIM);
        assert_eq!(range.blocks, 4_000);
        range.answered(LOGS_AIM * 3);
        assert_eq!(range.blocks, 2_000);
        (0..20).for_each(|_| range.answered(0));
        assert_eq!(range.blocks, BLOCKS_MAX);
    }

    #[test]
    fn a_refused_range_is_halved_and_not_asked_again() {
        for error in [
            refusal("query returned more than 10000 results"),
            refusal("block range too large"),
            RpcError::Timeout { endpoint: "test".to_owned(), after: Duration::from_secs(1) },
            RpcError::Status { endpoint: "test".to_owned(), status: 413, retry_after: None },
        ] {
            let mut range = Range::default();
            assert!(range.refused(&error), "{error}");
            range.answered(0);
            assert_eq!(range.blocks, 1_000, "{error}");
        }
    }

    #[test]
    fn other_errors_say_nothing_about_the_size() {
        let mut range = Range::default();
        assert!(!range.refused(&refusal("rate limit exceeded")));
        assert!(!range.refused(&RpcError::Status {
            endpoint: "test".to_owned(),
            status: 429,
            retry_after: None
        }));
        assert_eq!(range, Range::default());
    }
}
