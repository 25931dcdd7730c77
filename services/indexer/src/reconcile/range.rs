//! How many blocks to ask for at once: as many as give answers of the best size, fewer when an endpoint refuses. Pure.

use chain::rpc::{LogRefusal, RpcError};

/// The first range: with 300 logs in each block, more than there has been, it is still a small answer.
const FIRST: u64 = 32;
/// Above it nothing is gained on sparse history, and an answer lost costs much.
const BLOCKS_MAX: u64 = 100_000;
/// Logs of one answer that are about 2 MB. Up to 10,000 are as fast, and take more memory.
const LOGS_AIM: u64 = 2_500;
/// A range is at most so many times the one before, so that a crowded stretch after an empty one is no shock.
const GROWTH_MAX: u64 = 4;
/// The same where the answer was next to empty: each step costs the time of a request, and an answer that is too
/// large after all is refused by the endpoint or by us, and cut.
const GROWTH_EMPTY_MAX: u64 = 16;
/// Answers after which a ceiling is lifted again by a quarter: providers change, and time-outs pass.
const CEILING_ANSWERS: u32 = 50;

/// The size of the next range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    blocks: u64,
    /// An endpoint refused more than this.
    ceiling: u64,
    answers_below_ceiling: u32,
}

impl Default for Range {
    fn default() -> Self {
        Self { blocks: FIRST, ceiling: BLOCKS_MAX, answers_below_ceiling: 0 }
    }
}

impl Range {
    /// Blocks to ask for.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The last block of the range that begins at `from`, not above `end`.
    pub fn to(&self, from: u64, end: u64) -> u64 {
        from.saturating_add(self.blocks - 1).min(end)
    }

    /// A range of so many blocks was answered with so many logs.
    pub fn answered(&mut self, blocks: u64, logs: usize) {
        let fitting = blocks.saturating_mul(LOGS_AIM) / (logs as u64).max(1);
        let empty = fitting / (GROWTH_MAX * GROWTH_EMPTY_MAX) >= blocks;
        let growth = if empty { GROWTH_EMPTY_MAX } else { GROWTH_MAX };
        self.blocks = fitting.clamp(1, blocks.saturating_mul(growth)).min(self.ceiling).max(1);
        if self.ceiling < BLOCKS_MAX {
            self.answers_below_ceiling += 1;
            if self.answers_below_ceiling >= CEILING_ANSWERS {
                self.answers_below_ceiling = 0;
                self.ceiling = (self.ceiling + self.ceiling / 4 + 1).min(BLOCKS_MAX);
            }
        }
    }

    /// The range `from..=to` was refused; `true` if a smaller one may succeed.
    pub fn refused(&mut self, (from, to): (u64, u64), error: &RpcError) -> bool {
        let asked = to - from + 1;
        let Some(refusal) = error.log_refusal() else { return false };
        if asked <= 1 {
            return false;
        }
        // An answer too large to be read says nothing of how much too large.
        let less = asked / if matches!(refusal, LogRefusal::Bytes) { 4 } else { 2 };
        let hinted = match refusal {
            LogRefusal::Range { blocks_max, suggested } => blocks_max.or_else(|| fitting(from, suggested)),
            LogRefusal::Results { suggested } => fitting(from, suggested),
            LogRefusal::Bytes | LogRefusal::Slow => None,
        };
        self.blocks = hinted.filter(|blocks| *blocks < asked).unwrap_or(less).max(1);
        // A limit of blocks stands for good; too many results say something about these blocks only.
        if matches!(refusal, LogRefusal::Range { .. }) {
            self.ceiling = self.blocks;
            self.answers_below_ceiling = 0;
        }
        true
    }
}

/// Blocks of a suggested range, if it begins where we asked.
fn fitting(from: u64, suggested: Option<(u64, u64)>) -> Option<u64> {
    let (first, last) = suggested?;
    (first == from && last >= first).then(|| last - first + 1)
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
    fn ranges_aim_at_answers_of_the_best_size() {
        let mut range = Range::default();
        assert_eq!(range.to(10, 1_000_000), 41);
        assert_eq!(range.to(10, 20), 20, "never beyond the end");
        range.answered(32, 200);
        assert_eq!(range.blocks, 128, "grows by no more than so much at once");
        range.answered(32, 10);
        assert_eq!(range.blocks, 512, "faster where there is next to nothing");
        range.answered(1_024, 2 * LOGS_AIM as usize);
        assert_eq!(range.blocks, 512);
        range.answered(512, LOGS_AIM as usize);
        assert_eq!(range.blocks, 512);
        (0..6).for_each(|_| range.answered(range.blocks, 0));
        assert_eq!(range.blocks, BLOCKS_MAX);
        range.answered(10, 1_000_000);
        assert_eq!(range.blocks, 1, "never nothing");
    }

    #[test]
    fn a_refused_range_becomes_what_the_provider_suggests_or_half() {
        let cases = [
            ("query returned more than 10000 results. Try with this block range [0x3e8, 0x44b].", 100),
            ("query returned more than 10000 results", 500),
            ("You can make eth_getLogs requests with up to a 2K block range", 500),
            ("eth_getLogs is limited to a 100 range", 100),
            ("block range too large", 500),
        ];
        for (message, blocks) in cases {
            let mut range = Range::default();
            assert!(range.refused((1_000, 1_999), &refusal(message)), "{message}");
            assert_eq!(range.blocks, blocks, "{message}");
        }
        let slow = RpcError::Timeout { endpoint: "test".to_owned(), after: Duration::from_secs(1) };
        let mut range = Range::default();
        assert!(range.refused((0, 9), &slow));
        assert_eq!(range.blocks, 5);
        assert!(!range.refused((7, 7), &slow), "one block cannot be made smaller");
    }

    #[test]
    fn a_limit_of_blocks_is_remembered_and_tried_again_much_later() {
        let mut range = Range::default();
        assert!(range.refused((0, 9_999), &refusal("eth_getLogs is limited to a 1,000 range")));
        (0..CEILING_ANSWERS - 1).for_each(|_| range.answered(1_000, 0));
        assert_eq!(range.blocks, 1_000);
        (0..2).for_each(|_| range.answered(1_000, 0));
        assert_eq!(range.blocks, 1_251);
    }

    #[test]
    fn other_errors_say_nothing_about_the_size() {
        let mut range = Range::default();
        assert!(!range.refused((0, 9), &refusal("rate limit exceeded")));
        let status = 429;
        let tired = RpcError::Status { endpoint: "test".to_owned(), status, retry_after: None };
        assert!(!range.refused((0, 9), &tired));
        assert_eq!(range, Range::default());
    }
}
