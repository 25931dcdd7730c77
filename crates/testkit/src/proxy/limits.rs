//! The words in which providers refuse log queries that are too large. Codes and texts are those
//! that the providers really send.

use serde_json::{Value, json};

/// How much may be asked of `eth_getLogs`, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Most blocks of a range.
    pub blocks_max: u64,
    /// Most logs of an answer.
    pub results_max: usize,
    /// In whose words more is refused.
    pub provider: Provider,
}

/// Whose words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Names a range that works.
    Infura,
    /// Names its limits and a range that works.
    Alchemy,
    /// Names the largest range.
    QuickNode,
    /// Names nothing.
    Ankr,
    /// Names the largest range.
    Erigon,
    /// Names the most results and a range that works.
    Reth,
    /// HTTP status 413, without JSON.
    Plain413,
    /// An answer that is too large, without saying for what.
    TooLarge,
}

/// What was too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Blocks,
    Results,
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    /// A JSON-RPC error object.
    Error(Value),
    /// HTTP status 413 for the whole request.
    ContentTooLarge,
    /// No error at all: this result, of which the node knows nothing.
    Instead(Value),
}

impl Refusal {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self::Error(json!({ "code": code, "message": message.into() }))
    }
}

impl LogLimits {
    /// The refusal of a query from `from`; `works_to` is the last block of a range that would do.
    pub(super) fn refusal(self, excess: Excess, from: u64, works_to: u64) -> Refusal {
        let Self { blocks_max, results_max, provider } = self;
        let works = format!("[{from:#x}, {works_to:#x}]");
        match (provider, excess) {
            (Provider::Infura, _) => {
                let message = format!(
                    "query returned more than {results_max} results. Try with this block range {works}."
                );
                let data = json!({ "from": format!("{from:#x}"), "limit": results_max, "to": format!("{works_to:#x}") });
                Refusal::Error(json!({ "code": -32005, "message": message, "data": data }))
            }
            (Provider::Alchemy, _) => Refusal::new(
                -32602,
                format!(
                    "Log response size exceeded. You can make eth_getLogs requests with up to a {} block range \
                     and no limit on the response size, or you can request any block range with a cap of {} logs \
                     in the response. Based on your parameters and the response size limit, this block range \
                     should work: {works}",
                    in_thousands(blocks_max),
                    in_thousands(results_max as u64),
                ),
            ),
            (Provider::QuickNode, Excess::Blocks) => {
                Refusal::new(-32614, format!("eth_getLogs is limited to a {} range", with_commas(blocks_max)))
            }
            (Provider::QuickNode | Provider::Erigon, Excess::Results) => {
                Refusal::new(-32005, "limit exceeded")
            }
            (Provider::Ankr, _) => Refusal::new(-32062, "Block range is too large"),
            (Provider::Erigon, Excess::Blocks) => {
                Refusal::new(-32000, format!("exceed maximum block range: {blocks_max}"))
            }
            (Provider::Reth, Excess::Blocks) => {
                Refusal::new(-32602, format!("query exceeds max block range {blocks_max}"))
            }
            (Provider::Reth, Excess::Results) => Refusal::new(
                -32602,
                format!("query exceeds max results {results_max}, retry with the range {from}-{works_to}"),
            ),
            (Provider::Plain413, _) => Refusal::ContentTooLarge,
            (Provider::TooLarge, _) => Refusal::new(-32003, "response too large"),
        }
    }
}

fn in_thousands(number: u64) -> String {
    if number > 0 && number.is_multiple_of(1_000) {
        format!("{}K", number / 1_000)
    } else {
        number.to_string()
    }
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_refuses_in_its_own_words() {
        let table = [
            (
                Provider::Infura,
                Excess::Results,
                -32005,
                "query returned more than 10000 results. Try with this block range [0x10, 0x1f].",
            ),
            (Provider::QuickNode, Excess::Blocks, -32614, "eth_getLogs is limited to a 2,000 range"),
            (Provider::QuickNode, Excess::Results, -32005, "limit exceeded"),
            (Provider::Ankr, Excess::Blocks, -32062, "Block range is too large"),
            (Provider::Erigon, Excess::Blocks, -32000, "exceed maximum block range: 2000"),
            (
                Provider::Reth,
                Excess::Results,
                -32602,
                "query exceeds max results 10000, retry with the range 16-31",
            ),
            (Provider::TooLarge, Excess::Results, -32003, "response too large"),
        ];
        for (provider, excess, code, message) in table {
            let limits = LogLimits { blocks_max: 2_000, results_max: 10_000, provider };
            let Refusal::Error(error) = limits.refusal(excess, 16, 31) else { panic!("{provider:?}") };
            assert_eq!((&error["code"], &error["message"]), (&json!(code), &json!(message)));
        }
        let alchemy = LogLimits { blocks_max: 2_000, results_max: 10_000, provider: Provider::Alchemy };
        let Refusal::Error(error) = alchemy.refusal(Excess::Results, 16, 31) else { panic!("an error") };
        let text = error["message"].as_str().unwrap();
        assert!(text.contains("up to a 2K block range") && text.ends_with("should work: [0x10, 0x1f]"));
        let plain = LogLimits { blocks_max: 1, results_max: 1, provider: Provider::Plain413 };
        assert_eq!(plain.refusal(Excess::Blocks, 0, 0), Refusal::ContentTooLarge);
    }
}
