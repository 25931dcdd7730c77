//! How providers say that a log query asks for too much, and what they suggest instead.
//!
//! Each has words and codes of its own; the tests hold the real ones. The words come from outside, so only the
//! first of them are read and a hint is no more than a hint: the caller decides what to ask for next.

use super::error::{NodeErrorKind, RpcError};

/// The method whose refusals these are.
const LOGS: &str = "eth_getLogs";
/// Characters of a message that are read: the longest known one has less than 400.
const MESSAGE_MAX: usize = 1_000;

/// Why a log query was refused, by what can be done: ask for less, of the right thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRefusal {
    /// Too many blocks.
    Range {
        /// Blocks that one query may span.
        blocks_max: Option<u64>,
        /// First and last block of a query that would be answered.
        suggested: Option<(u64, u64)>,
    },
    /// Too many logs.
    Results {
        /// First and last block of a query that would be answered.
        suggested: Option<(u64, u64)>,
    },
    /// Too many bytes, for the endpoint or for us.
    Bytes,
    /// The answer takes too long.
    Slow,
}

#[derive(Clone, Copy)]
enum Limit {
    Range,
    Results,
    Bytes,
    Slow,
}

/// Texts in lower case, most telling first: Alchemy begins with the size and means the range.
const TEXTS: &[(&str, Limit)] = &[
    ("you can make eth_getlogs requests with up to", Limit::Range),
    ("query returned more than", Limit::Results),
    ("query exceeds max results", Limit::Results),
    ("query exceeds limit", Limit::Results),
    ("too many results", Limit::Results),
    ("too many logs", Limit::Results),
    ("result set too large", Limit::Results),
    ("response size exceeded", Limit::Bytes),
    ("response size should not greater than", Limit::Bytes),
    ("response exceed size limit", Limit::Bytes),
    ("response is too big", Limit::Bytes),
    ("response too large", Limit::Bytes),
    ("query timeout exceeded", Limit::Slow),
    ("block range", Limit::Range),
    ("blocks range", Limit::Range),
    ("range exceeds", Limit::Range),
    ("range too large", Limit::Range),
    ("range is too large", Limit::Range),
    ("range too wide", Limit::Range),
    ("range is too wide", Limit::Range),
    ("max range", Limit::Range),
    ("too many blocks", Limit::Range),
    ("number of requested blocks", Limit::Range),
    ("blocks distance", Limit::Range),
    ("ranges over", Limit::Range),
    ("is limited to", Limit::Range),
];

/// Texts by which a node gives up on a question, which for a log query means that it was too large.
const GIVEN_UP: &[&str] = &["request timed out", "query timed out", "context deadline exceeded"];

/// Words right before the number of blocks that one query may span.
const BEFORE_BLOCKS_MAX: &[&str] = &[
    "up to a ",
    "limited to a ",
    "limited to 0 - ",
    "limited to ",
    "maximum block range: ",
    "maximum block range of ",
    "max block range ",
    "max block range of ",
    "max range: ",
    "maximum is set to ",
    "requested blocks is ",
    "blocks distance: ",
    "ranges over ",
    "max is ",
    "limit: ",
];

/// Words right before a range written in decimal digits.
const BEFORE_DECIMAL_RANGE: &str = "retry with the range ";

impl RpcError {
    /// Why a log query was refused, if the remedy is to ask for less. To be asked only of errors of questions
    /// that hold a log query. Another endpoint may still answer: see [`RpcError::is_endpoints_fault`].
    #[must_use]
    pub fn log_refusal(&self) -> Option<LogRefusal> {
        match self {
            Self::Timeout { .. } | Self::Status { status: 408 | 504, .. } => Some(LogRefusal::Slow),
            Self::Status { status: 413, .. } => Some(LogRefusal::Bytes),
            Self::TooLarge { method: LOGS, .. } => Some(LogRefusal::Bytes),
            Self::Node { method: LOGS, source, .. } => match source.kind() {
                NodeErrorKind::TooMuch => in_message(&source.message).or(Some(LogRefusal::Bytes)),
                // Also said when questions come too often, but that is mostly said with status 429.
                NodeErrorKind::RateLimited if source.code == -32005 && !source.names_rate() => {
                    Some(LogRefusal::Results { suggested: None })
                }
                NodeErrorKind::Other | NodeErrorKind::Internal => {
                    let message = start_of(&source.message);
                    GIVEN_UP.iter().any(|text| message.contains(text)).then_some(LogRefusal::Slow)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// The refusal in a message, if it is one.
pub(super) fn in_message(message: &str) -> Option<LogRefusal> {
    let message = start_of(message);
    let (_, limit) = TEXTS.iter().find(|(text, _)| message.contains(text))?;
    let suggested = hex_range(&message).or_else(|| decimal_range(&message));
    Some(match limit {
        Limit::Range => LogRefusal::Range { blocks_max: blocks_max(&message), suggested },
        Limit::Results => LogRefusal::Results { suggested },
        // A range that would work is worth more than the reason.
        Limit::Bytes | Limit::Slow if suggested.is_some() => {
            LogRefusal::Range { blocks_max: None, suggested }
        }
        Limit::Bytes => LogRefusal::Bytes,
        Limit::Slow => LogRefusal::Slow,
    })
}

fn start_of(message: &str) -> String {
    message.chars().take(MESSAGE_MAX).collect::<String>().to_ascii_lowercase()
}

fn blocks_max(message: &str) -> Option<u64> {
    let after = |before: &&str| message.split_once(*before).and_then(|(_, rest)| amount(rest));
    BEFORE_BLOCKS_MAX.iter().find_map(after).filter(|blocks| *blocks > 0)
}

/// The number at the start of a text, written as 2048, 10,000 or 2k.
fn amount(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(text.len());
    let number: u64 = text[..end].replace(',', "").parse().ok()?;
    if text[end..].starts_with('k') { number.checked_mul(1_000) } else { Some(number) }
}

/// `[0x1, 0x2]`.
fn hex_range(message: &str) -> Option<(u64, u64)> {
    let (_, rest) = message.split_once("[0x")?;
    let (inside, _) = rest.split_once(']')?;
    let (from, to) = inside.split_once(',')?;
    let number = |text: &str| u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok();
    ordered(number(from)?, number(to)?)
}

/// `retry with the range 1-2`.
fn decimal_range(message: &str) -> Option<(u64, u64)> {
    let (_, rest) = message.split_once(BEFORE_DECIMAL_RANGE)?;
    let (from, to) = rest.split_once('-')?;
    ordered(amount(from)?, amount(to)?)
}

fn ordered(from: u64, to: u64) -> Option<(u64, u64)> {
    (from <= to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rpc::NodeError;

    const ALCHEMY: &str = "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range \
        and no limit on the response size, or you can request any block range with a cap of 10K logs in the response. \
        Based on your parameters and the response size limit, this block range should work: [0x0, 0x79bcb3]";
    const ALCHEMY_FREE: &str = "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range. \
        Based on your parameters, this block range should work: [0x1180fca, 0x1180fd3]. Upgrade to PAYG for expanded block range.";
    const ALCHEMY_SLOW: &str = "Query timeout exceeded. Consider reducing your block range. Based on your parameters and \
        the response size limit, this block range should work: [0x5223c98, 0x5223e80]";

    fn endpoint() -> String {
        "test".to_owned()
    }

    fn node(method: &'static str, code: i64, message: &str) -> RpcError {
        let source = NodeError { code, message: message.to_owned(), data: None };
        RpcError::Node { endpoint: endpoint(), method, source }
    }

    fn status(status: u16) -> RpcError {
        RpcError::Status { endpoint: endpoint(), status, retry_after: Some(Duration::from_secs(1)) }
    }

    fn range(blocks_max: u64) -> Option<LogRefusal> {
        Some(LogRefusal::Range { blocks_max: Some(blocks_max), suggested: None })
    }

    fn suggested(blocks_max: Option<u64>, from: u64, to: u64) -> Option<LogRefusal> {
        Some(LogRefusal::Range { blocks_max, suggested: Some((from, to)) })
    }

    #[test]
    fn the_refusals_of_every_known_provider_are_understood_with_their_hints() {
        use LogRefusal::{Bytes, Range, Results, Slow};
        let wide = Some(Range { blocks_max: None, suggested: None });
        let infura =
            "query returned more than 10000 results. Try with this block range [0x13E3AC0, 0x13E3AFF].";
        let reth = "query exceeds max results 20000, retry with the range 50784086-50785570";
        let avalanche = "requested too many blocks from 0 to 5000000, maximum is set to 2048";
        let many = Some(Results { suggested: None });
        let table: &[(&str, i64, &str, Option<LogRefusal>)] = &[
            ("infura", -32005, infura, Some(Results { suggested: Some((0x13e_3ac0, 0x13e_3aff)) })),
            ("infura, bare", -32005, "query returned more than 10000 results", many),
            ("alchemy", -32602, ALCHEMY, suggested(Some(2_000), 0, 0x79_bcb3)),
            ("alchemy, free", -32600, ALCHEMY_FREE, suggested(Some(10), 0x118_0fca, 0x118_0fd3)),
            ("alchemy, slow", -32000, ALCHEMY_SLOW, suggested(None, 0x522_3c98, 0x522_3e80)),
            (
                "alchemy, slow and bare",
                -32000,
                "Query timeout exceeded. Consider reducing your block range.",
                Some(Slow),
            ),
            ("alchemy, size only", -32602, "Log response size exceeded.", Some(Bytes)),
            ("quicknode", -32614, "eth_getLogs is limited to a 10,000 range", range(10_000)),
            ("quicknode, trial", -32615, "eth_getLogs is limited to a 5 range", range(5)),
            ("ankr", -32600, "block range is too wide", wide),
            ("ankr, premium", -32602, "block range is too large", wide),
            (
                "blockpi",
                -32602,
                "eth_getLogs is limited to 1024 block range. Please check the parameters",
                range(1_024),
            ),
            ("1rpc", -32001, "eth_getLogs is limited to 0 - 1000 blocks range", range(1_000)),
            ("bsc, erigon", -32000, "exceed maximum block range: 5000", range(5_000)),
            ("reth, range", -32602, "query exceeds max block range 100000", range(100_000)),
            ("reth, results", -32602, reth, Some(Results { suggested: Some((50_784_086, 50_785_570)) })),
            ("avalanche, blast", -32000, avalanche, range(2_048)),
            ("cosmos chains, nodies", -32000, "maximum [from, to] blocks distance: 3000", range(3_000)),
            ("drpc", 35, "ranges over 10000 blocks are not supported on freetier", range(10_000)),
            (
                "cloudflare",
                -32047,
                "Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: 800",
                range(800),
            ),
            ("thirdweb", -32602, "Maximum allowed number of requested blocks is 3500", range(3_500)),
            ("merkle", -32600, "eth_getLogs range is too large, max is 10k blocks", range(10_000)),
            ("base", -32602, "block range too large", wide),
            ("base, bytes", -32020, "backend response too large", Some(Bytes)),
            ("arc", -32012, "requested range too large", wide),
            ("chainstack", -32600, "Block range limit exceeded. See more details at the documentation", wide),
            ("arbitrum", -32000, "logs matched by query exceeds limit of 10000", many),
            ("besu", -32005, "Requested range exceeds maximum RPC range limit", wide),
            ("soneium", -32008, "Response is too big", Some(Bytes)),
            ("any, by code", -32005, "limit exceeded", many),
            ("geth, slow", -32002, "request timed out", Some(Slow)),
            ("op, slow", -32603, "context deadline exceeded", Some(Slow)),
            ("infura, rate", -32005, "daily request count exceeded, request rate limited", None),
            ("infura, second rate", -32005, "project ID request rate exceeded", None),
            ("alchemy, rate", 429, "Your app has exceeded its compute units per second capacity", None),
            ("wrong parameters", -32000, "invalid block range params", None),
            ("ahead of its head", -32000, "block range extends beyond current head block", None),
            ("geth, unknown block", -32000, "unknown block", None),
            ("a backwards range is no hint", -32005, "query returned more than 10 results [0x2, 0x1]", many),
        ];
        for (provider, code, message, expected) in table {
            assert_eq!(node(LOGS, *code, message).log_refusal(), *expected, "{provider}");
            assert_eq!(node("eth_call", *code, message).log_refusal(), None, "{provider}");
        }
    }

    #[test]
    fn statuses_sizes_and_silence_say_it_as_well() {
        let after = Duration::from_secs(30);
        assert_eq!(status(413).log_refusal(), Some(LogRefusal::Bytes));
        assert_eq!(status(504).log_refusal(), Some(LogRefusal::Slow));
        assert_eq!(RpcError::Timeout { endpoint: endpoint(), after }.log_refusal(), Some(LogRefusal::Slow));
        let large = |method| RpcError::TooLarge { endpoint: endpoint(), method, bytes_max: 1 };
        assert_eq!(large(LOGS).log_refusal(), Some(LogRefusal::Bytes));
        assert_eq!(large("eth_call").log_refusal(), None);
        assert_eq!(status(429).log_refusal(), None, "a tired endpoint rests, and the same is asked later");
        assert_eq!(status(500).log_refusal(), None);
    }

    #[test]
    fn only_the_start_of_a_message_is_read() {
        let long = format!("{}query returned more than 10000 results", "x".repeat(MESSAGE_MAX));
        assert_eq!(node(LOGS, -32000, &long).log_refusal(), None);
    }
}
