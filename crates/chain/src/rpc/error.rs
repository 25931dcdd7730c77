//! What can go wrong between a question and its answer, by what can be done about it.

use std::time::Duration;

use alloy_primitives::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::refusal;

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The request did not reach the node or the answer did not come back: nothing is known.
    #[error("talking to {endpoint}")]
    Transport {
        /// Name of the endpoint.
        endpoint: String,
        /// The cause, without the URL, which may hold a key.
        #[source]
        source: reqwest::Error,
    },
    /// No answer in time: nothing is known.
    #[error("{endpoint} gave no answer within {after:?}")]
    Timeout {
        /// Name of the endpoint.
        endpoint: String,
        /// How long we waited.
        after: Duration,
    },
    /// The endpoint answered with an HTTP error.
    #[error("{endpoint} answered with HTTP status {status}")]
    Status {
        /// Name of the endpoint.
        endpoint: String,
        /// The HTTP status; 429 means that the endpoint is tired of us.
        status: u16,
        /// How long the endpoint asks us to stay away.
        retry_after: Option<Duration>,
    },
    /// The node understood the question and refused it.
    #[error("{endpoint} refused {method}")]
    Node {
        /// Name of the endpoint.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// What the node said.
        #[source]
        source: NodeError,
    },
    /// The answer is not what the protocol says.
    #[error("{endpoint} gave a malformed answer to {method}: {why}")]
    Malformed {
        /// Name of the endpoint.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The answer is larger than we take.
    #[error("{endpoint} answered {method} with more than {bytes_max} bytes")]
    TooLarge {
        /// Name of the endpoint.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// What we take.
        bytes_max: usize,
    },
    /// The configured budget of the endpoint is spent for longer than the question may wait.
    #[error("the budget of {endpoint} is spent for another {wait:?}")]
    Budget {
        /// Name of the endpoint.
        endpoint: String,
        /// Time until the next request.
        wait: Duration,
    },
    /// The endpoint is on a fork of its own and is shut out.
    #[error("{endpoint} is on a fork of its own from block {number} or before")]
    Fork {
        /// Name of the endpoint.
        endpoint: String,
        /// A block that it has another of.
        number: u64,
    },
    /// The endpoint serves another chain and is shut out.
    #[error("{endpoint} serves chain {found} instead of {expected}")]
    WrongChain {
        /// Name of the endpoint.
        endpoint: String,
        /// The chain we want.
        expected: u64,
        /// The chain it serves.
        found: u64,
    },
    /// No endpoint can be asked: all are shut out, for another chain or a fork.
    #[error("no endpoint of chain {chain_id} can be asked")]
    NoEndpoint {
        /// The chain.
        chain_id: u64,
    },
}

impl RpcError {
    /// What the node said, if it was the node that refused.
    #[must_use]
    pub fn node(&self) -> Option<&NodeError> {
        match self {
            Self::Node { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether another endpoint, or the same one later, may answer the same question.
    #[must_use]
    pub fn is_endpoints_fault(&self) -> bool {
        match self {
            Self::Transport { .. }
            | Self::Timeout { .. }
            | Self::Malformed { .. }
            | Self::Budget { .. }
            | Self::Fork { .. }
            | Self::WrongChain { .. } => true,
            // A query for too much is asked for in parts, rather than of everyone.
            Self::Status { status, .. } => *status != 413,
            Self::TooLarge { method, .. } => *method != "eth_getLogs",
            Self::Node { source, .. } => matches!(
                source.kind(),
                NodeErrorKind::RateLimited
                    | NodeErrorKind::UnknownBlock
                    | NodeErrorKind::StateUnavailable
                    | NodeErrorKind::MethodUnavailable
                    | NodeErrorKind::Internal
            ),
            Self::NoEndpoint { .. } => false,
        }
    }

    /// How long the endpoint asked us to stay away, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A JSON-RPC error object.
#[derive(Debug, Clone, PartialEq, Deserialize, thiserror::Error)]
#[error("error {code}: {message}")]
pub struct NodeError {
    /// The code; nodes disagree about them.
    pub code: i64,
    /// The text; nodes disagree about it as well.
    #[serde(default)]
    pub message: String,
    /// Whatever came with it, for a revert its data.
    #[serde(default)]
    pub data: Option<Value>,
}

/// What a node error means, whatever node said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeErrorKind {
    /// The call ran and was reverted; see [`NodeError::revert_data`].
    Reverted,
    /// The range or the result of a log query is too large: ask for less.
    TooMuch,
    /// Too many requests.
    RateLimited,
    /// The node does not have this block (yet, or any more).
    UnknownBlock,
    /// The node has the block but not its state: it is no archive node.
    StateUnavailable,
    /// The node does not offer this method.
    MethodUnavailable,
    /// The request itself is wrong.
    InvalidRequest,
    /// The node failed inside.
    Internal,
    /// Anything else.
    Other,
}

/// Texts that tell the meaning of an error before those of [`refusal`], most telling first. Codes come after:
/// providers use -32005 for "too much" and for "too often" alike, besu -32001 and -32004 for transactions, and
/// everyone -32000 for everything.
const FIRST_TEXTS: &[(&str, NodeErrorKind)] = &[
    ("execution reverted", NodeErrorKind::Reverted),
    ("vm execution error", NodeErrorKind::Reverted),
    ("transaction reverted", NodeErrorKind::Reverted),
    ("invalid block range", NodeErrorKind::InvalidRequest),
    ("beyond current head", NodeErrorKind::UnknownBlock),
];

/// Texts that tell the meaning of an error where those of [`refusal`] are not in it.
const TEXTS: &[(&str, NodeErrorKind)] = &[
    ("exceeds max batch size", NodeErrorKind::TooMuch),
    ("rate limit", NodeErrorKind::RateLimited),
    ("rate-limit", NodeErrorKind::RateLimited),
    ("too many requests", NodeErrorKind::RateLimited),
    ("request count exceeded", NodeErrorKind::RateLimited),
    ("request rate exceeded", NodeErrorKind::RateLimited),
    ("compute units per second", NodeErrorKind::RateLimited),
    ("exceeded its throughput", NodeErrorKind::RateLimited),
    ("missing trie node", NodeErrorKind::StateUnavailable),
    ("state is not available", NodeErrorKind::StateUnavailable),
    ("state not available", NodeErrorKind::StateUnavailable),
    ("state unavailable", NodeErrorKind::StateUnavailable),
    ("historical state", NodeErrorKind::StateUnavailable),
    ("state already pruned", NodeErrorKind::StateUnavailable),
    ("required historical", NodeErrorKind::StateUnavailable),
    ("archive", NodeErrorKind::StateUnavailable),
    ("world state unavailable", NodeErrorKind::StateUnavailable),
    ("header not found", NodeErrorKind::UnknownBlock),
    ("header for hash not found", NodeErrorKind::UnknownBlock),
    ("block not found", NodeErrorKind::UnknownBlock),
    ("unknown block", NodeErrorKind::UnknownBlock),
    ("resource not found", NodeErrorKind::UnknownBlock),
    ("could not find block", NodeErrorKind::UnknownBlock),
    ("block is out of range", NodeErrorKind::UnknownBlock),
    ("after last accepted block", NodeErrorKind::UnknownBlock),
    ("blockoutofrange", NodeErrorKind::UnknownBlock),
    ("is not currently canonical", NodeErrorKind::UnknownBlock),
    ("method not found", NodeErrorKind::MethodUnavailable),
    ("does not exist/is not available", NodeErrorKind::MethodUnavailable),
    ("unsupported method", NodeErrorKind::MethodUnavailable),
    ("method not supported", NodeErrorKind::MethodUnavailable),
];

impl NodeError {
    /// What the error means.
    #[must_use]
    pub fn kind(&self) -> NodeErrorKind {
        // Geth's code for a revert. anvil's message is junk for custom errors, so the code goes first.
        if self.code == 3 {
            return NodeErrorKind::Reverted;
        }
        let message = self.message.to_ascii_lowercase();
        if is_pruned(&message) {
            return NodeErrorKind::StateUnavailable;
        }
        let found = |texts: &[(&str, NodeErrorKind)]| {
            texts.iter().find(|(text, _)| message.contains(text)).map(|(_, kind)| *kind)
        };
        let too_much = || refusal::in_message(&message).map(|_| NodeErrorKind::TooMuch);
        if let Some(kind) = found(FIRST_TEXTS).or_else(too_much).or_else(|| found(TEXTS)) {
            return kind;
        }
        match self.code {
            429 | -32005 => NodeErrorKind::RateLimited,
            -32601 => NodeErrorKind::MethodUnavailable,
            -32600 | -32602 | -32700 => NodeErrorKind::InvalidRequest,
            -32603 => NodeErrorKind::Internal,
            _ => NodeErrorKind::Other,
        }
    }

    /// Whether the words, rather than the code, say that questions come too often.
    pub(super) fn names_rate(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        TEXTS.iter().any(|(text, kind)| *kind == NodeErrorKind::RateLimited && message.contains(text))
    }

    /// The bytes a reverted call returned: `None` if this is no revert, empty if it gave no reason.
    #[must_use]
    pub fn revert_data(&self) -> Option<Bytes> {
        let found = self.data.as_ref().and_then(hex_in);
        match self.kind() {
            NodeErrorKind::Reverted => Some(found.unwrap_or_default()),
            // Some nodes put the data under a code and message of their own.
            NodeErrorKind::Other | NodeErrorKind::Internal => found.filter(|data| data.len() >= 4),
            _ => None,
        }
    }
}

/// anvil says of a block whose state it has dropped that it is out of range, although it is below its own head.
fn is_pruned(message: &str) -> bool {
    let numbers =
        message.split_once("block height is ").and_then(|(_, rest)| rest.split_once(" but requested was "));
    let height = |text: &str| text.trim().parse::<u64>().ok();
    let asked = numbers.and_then(|(head, asked)| Some((height(head)?, height(asked)?)));
    asked.is_some_and(|(head, asked)| asked <= head)
}

/// The revert bytes inside an error's `data`: geth, anvil and besu give a hex string, nethermind and
/// old parity put `Reverted ` before it, hardhat and some gateways wrap it in an object.
fn hex_in(value: &Value) -> Option<Bytes> {
    match value {
        Value::String(text) => text.trim_start_matches("Reverted ").trim().parse().ok(),
        Value::Object(fields) => {
            ["data", "result", "output"].iter().find_map(|key| fields.get(*key)).and_then(hex_in)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::NodeErrorKind::*;
    use super::*;

    #[test]
    fn errors_of_nodes_and_providers_are_told_apart() {
        let table = [
            (3, "execution reverted", Reverted),
            (-32015, "VM execution error.", Reverted),
            (
                -32005,
                "query returned more than 10000 results. Try with this block range [0x1, 0x2].",
                TooMuch,
            ),
            (-32602, "Log response size exceeded. You can make eth_getLogs requests with up to 2K", TooMuch),
            (-32000, "exceed maximum block range: 5000", TooMuch),
            (-32600, "block range is too wide", TooMuch),
            (-32614, "eth_getLogs is limited to a 10,000 range", TooMuch),
            (-32000, "query timeout exceeded", TooMuch),
            (-32005, "Requested range exceeds maximum RPC range limit", TooMuch),
            (-32005, "Number of requests exceeds max batch size", TooMuch),
            (-32004, "Upfront cost exceeds account balance", Other),
            (-32000, "invalid block range params", InvalidRequest),
            (-32000, "block range extends beyond current head block", UnknownBlock),
            (-32005, "daily request count exceeded, request rate limited", RateLimited),
            (-32005, "limit exceeded", RateLimited),
            (429, "Your app has exceeded its compute units per second capacity", RateLimited),
            (-32000, "header not found", UnknownBlock),
            (-32001, "resource not found", UnknownBlock),
            (-32000, "BlockOutOfRangeError: block height is 1 but requested was 2", UnknownBlock),
            (-32602, "BlockOutOfRangeError: block height is 5378 but requested was 679", StateUnavailable),
            (-32000, "hash 0x00 is not currently canonical", UnknownBlock),
            (-32000, "missing trie node 00 (path 01)", StateUnavailable),
            (-32000, "required historical state unavailable (reexec=128)", StateUnavailable),
            (-32601, "the method debug_traceTransaction does not exist/is not available", MethodUnavailable),
            (-32602, "invalid argument 0", InvalidRequest),
            (-32603, "internal error", Internal),
            (-32000, "words that no node has said so far", Other),
        ];
        for (code, message, expected) in table {
            let error = NodeError { code, message: message.to_owned(), data: None };
            assert_eq!(error.kind(), expected, "{message}");
        }
    }
}
