//! What a node's answer to a signed transaction means. Sending, storing and deciding what to do next
//! belong to lifecycle; this only understands, and never guesses that something is lost.

use std::time::Duration;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::rpc::{NodeError, RpcError};

/// The meaning of one answer. Ordered by how much it says of the transaction as a whole: when
/// endpoints disagree, the smallest counts (see [`SendVerdict::most_telling`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendVerdict {
    /// In this node's pool now.
    Accepted,
    /// In this node's pool, or in its chain, already.
    AlreadyKnown,
    /// The nonce is spent: by this transaction, by another of ours, or by someone else. Look.
    NonceTooLow,
    /// No answer came, or none that can be read: it may be in the pool. Watch, and send the same
    /// bytes again.
    Unknown,
    /// An earlier nonce is missing at this node: send the earlier ones again.
    NonceGap,
    /// Another transaction with this nonce is in the pool, and ours does not pay enough more.
    ReplacementUnderpriced,
    /// The fee is below what this node takes at all.
    Underpriced,
    /// The highest fee is below the base fee: wait or bump.
    BelowBaseFee,
    /// The account cannot pay for value and gas.
    InsufficientFunds,
    /// The pool has no room, at all or for this account: later, or elsewhere.
    PoolFull,
    /// This endpoint is tired of us: back off here, go on elsewhere.
    Tired,
    /// The gas limit is below what the calldata alone costs.
    IntrinsicGas,
    /// The gas limit is above the block's, or above the node's own limit.
    GasLimitTooHigh,
    /// The total fee is above the cap this node sets for senders.
    FeeCapExceeded,
    /// Signed for another chain.
    WrongChain,
    /// Not a transaction this node takes: type, encoding, signature or size.
    Invalid,
    /// Refused in words that we do not know: raise an alert, so that they get to be known.
    Refused,
}

/// What lifecycle does about an answer, without looking at its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Watch for the receipt.
    Watch,
    /// Watch, and send the same bytes again: never a new nonce.
    WatchAndResend,
    /// Look for each hash of ours, then at the latest count: a foreign spend is an alert.
    FindWhoSpentTheNonce,
    /// Send the earlier nonces again.
    ResendEarlier,
    /// Raise both fees, inside the ceiling.
    RaiseFees,
    /// Stop the lane until the account is funded.
    StopLane,
    /// Send the same bytes later or elsewhere.
    TryLater,
    /// Our error: fail the step and raise an alert.
    FailStep,
}

/// Texts of anvil, geth, reth, erigon, nethermind and besu in lower case, most telling first:
/// several messages contain another one's words.
const TEXTS: &[(&str, SendVerdict)] = &[
    // geth, reth, erigon; anvil; besu; nethermind; old parity; erigon again
    ("already known", SendVerdict::AlreadyKnown),
    ("already imported", SendVerdict::AlreadyKnown),
    ("known transaction", SendVerdict::AlreadyKnown),
    ("alreadyknown", SendVerdict::AlreadyKnown),
    ("same hash was already imported", SendVerdict::AlreadyKnown),
    ("already_exists", SendVerdict::AlreadyKnown),
    ("existing tx with same hash", SendVerdict::AlreadyKnown),
    // before "underpriced" and "too low", which they contain
    ("replacement transaction underpriced", SendVerdict::ReplacementUnderpriced),
    ("could not replace existing", SendVerdict::ReplacementUnderpriced),
    ("replacementnotallowed", SendVerdict::ReplacementUnderpriced),
    ("replacement fee too low", SendVerdict::ReplacementUnderpriced),
    ("lower than the base fee", SendVerdict::BelowBaseFee),
    ("less than block base fee", SendVerdict::BelowBaseFee),
    ("below current base fee", SendVerdict::BelowBaseFee),
    ("maxfeepergas too low", SendVerdict::BelowBaseFee),
    ("miner premium is negative", SendVerdict::BelowBaseFee),
    ("intrinsic gas", SendVerdict::IntrinsicGas),
    ("intrinsicgas", SendVerdict::IntrinsicGas),
    ("insufficient gas for floor data gas", SendVerdict::IntrinsicGas),
    ("gas floor", SendVerdict::IntrinsicGas),
    ("nonce too low", SendVerdict::NonceTooLow),
    ("oldnonce", SendVerdict::NonceTooLow),
    ("nonce below sender account nonce", SendVerdict::NonceTooLow),
    ("nonce is too low", SendVerdict::NonceTooLow),
    ("nonce too high", SendVerdict::NonceGap),
    ("noncegap", SendVerdict::NonceGap),
    ("noncetoofarinfuture", SendVerdict::NonceGap),
    ("nonce too far in future", SendVerdict::NonceGap),
    ("invalid transaction with a lower nonce", SendVerdict::NonceGap),
    ("nonce is too distant", SendVerdict::NonceGap),
    ("gapped-nonce", SendVerdict::NonceGap),
    ("gapped nonce", SendVerdict::NonceGap),
    ("nonce gap", SendVerdict::NonceGap),
    ("insufficient funds", SendVerdict::InsufficientFunds),
    ("insufficientfunds", SendVerdict::InsufficientFunds),
    ("insufficient balance", SendVerdict::InsufficientFunds),
    ("exceeds account balance", SendVerdict::InsufficientFunds),
    ("exceeds transaction sender account balance", SendVerdict::InsufficientFunds),
    ("txpool is full", SendVerdict::PoolFull),
    ("sub-pool is full", SendVerdict::PoolFull),
    ("pool is full", SendVerdict::PoolFull),
    ("account limit exceeded", SendVerdict::PoolFull),
    ("in-flight transaction limit", SendVerdict::PoolFull),
    ("max number of pending transactions", SendVerdict::PoolFull),
    ("future transaction tries to replace pending", SendVerdict::PoolFull),
    ("address already reserved", SendVerdict::PoolFull),
    ("conflictingtype", SendVerdict::PoolFull),
    ("transaction type conflict", SendVerdict::PoolFull),
    ("authority has pending transaction", SendVerdict::PoolFull),
    ("feetoolowtocompete", SendVerdict::PoolFull),
    ("spammer", SendVerdict::PoolFull),
    ("exceeds the configured cap", SendVerdict::FeeCapExceeded),
    ("fee cap exceeded", SendVerdict::FeeCapExceeded),
    ("exceeds block gas limit", SendVerdict::GasLimitTooHigh),
    ("gaslimitexceeded", SendVerdict::GasLimitTooHigh),
    ("gas limit reached", SendVerdict::GasLimitTooHigh),
    ("gas limit too high", SendVerdict::GasLimitTooHigh),
    ("gas limit is too high", SendVerdict::GasLimitTooHigh),
    ("gas too high", SendVerdict::GasLimitTooHigh),
    ("greater than the cap", SendVerdict::GasLimitTooHigh),
    ("underpriced", SendVerdict::Underpriced),
    ("fee too low", SendVerdict::Underpriced),
    ("feetoolow", SendVerdict::Underpriced),
    ("below configured minimum", SendVerdict::Underpriced),
    ("gas price too low", SendVerdict::Underpriced),
    ("chain id", SendVerdict::WrongChain),
    ("chainid", SendVerdict::WrongChain),
    ("signed for another chain", SendVerdict::WrongChain),
    ("invalid sender", SendVerdict::Invalid),
    ("failed to recover sender", SendVerdict::Invalid),
    ("transaction invalid", SendVerdict::Invalid),
    ("invalid signature", SendVerdict::Invalid),
    ("oversized data", SendVerdict::Invalid),
    ("maxtxsizeexceeded", SendVerdict::Invalid),
    ("type not supported", SendVerdict::Invalid),
    ("invalid transaction type", SendVerdict::Invalid),
    ("unsupported transaction type", SendVerdict::Invalid),
    ("transaction too large", SendVerdict::Invalid),
    ("not activated yet", SendVerdict::Invalid),
    ("notsupportedtxtype", SendVerdict::Invalid),
    ("rlp", SendVerdict::Invalid),
    ("failed to decode", SendVerdict::Invalid),
    ("max priority fee per gas higher than max fee", SendVerdict::Invalid),
    ("priority fee per gas exceeds max fee", SendVerdict::Invalid),
    ("rate limit", SendVerdict::Tired),
    ("too many requests", SendVerdict::Tired),
    ("sync is still in progress", SendVerdict::Tired),
    ("node is syncing", SendVerdict::Tired),
];

impl SendVerdict {
    /// The meaning of an answer as it came.
    #[must_use]
    pub fn of(answer: &Result<B256, RpcError>) -> Self {
        match answer {
            Ok(_) => Self::Accepted,
            Err(RpcError::Node { source, .. }) => Self::of_refusal(source),
            Err(RpcError::Status { status: 429, .. } | RpcError::Budget { .. }) => Self::Tired,
            Err(RpcError::WrongChain { .. } | RpcError::Fork { .. } | RpcError::NoEndpoint { .. }) => {
                Self::WrongChain
            }
            Err(
                RpcError::Transport { .. }
                | RpcError::Timeout { .. }
                | RpcError::Status { .. }
                | RpcError::TooLarge { .. }
                | RpcError::Malformed { .. },
            ) => Self::Unknown,
        }
    }

    /// The meaning of a node's refusal: by its words, because nodes share codes but not their use.
    #[must_use]
    pub fn of_refusal(refused: &NodeError) -> Self {
        let message = refused.message.to_ascii_lowercase();
        let found = TEXTS.iter().find(|(text, _)| message.contains(text));
        // A node that failed inside may have done so after taking the transaction.
        let unknown = if refused.code == -32603 { Self::Unknown } else { Self::Refused };
        found.map_or(unknown, |(_, verdict)| *verdict)
    }

    /// The stable name, as stored and counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AlreadyKnown => "already_known",
            Self::NonceTooLow => "nonce_too_low",
            Self::Unknown => "unknown",
            Self::NonceGap => "nonce_gap",
            Self::ReplacementUnderpriced => "replacement_underpriced",
            Self::Underpriced => "underpriced",
            Self::BelowBaseFee => "below_base_fee",
            Self::InsufficientFunds => "insufficient_funds",
            Self::PoolFull => "pool_full",
            Self::Tired => "tired",
            Self::IntrinsicGas => "intrinsic_gas",
            Self::GasLimitTooHigh => "gas_limit_too_high",
            Self::FeeCapExceeded => "fee_cap_exceeded",
            Self::WrongChain => "wrong_chain",
            Self::Invalid => "invalid",
            Self::Refused => "refused",
        }
    }

    /// The one that counts when endpoints disagree: that it is in some pool, before that its nonce
    /// is spent, before that it may be in some pool, before any refusal. None for no answers.
    #[must_use]
    pub fn most_telling(verdicts: impl IntoIterator<Item = Self>) -> Option<Self> {
        verdicts.into_iter().min()
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Accepted | Self::AlreadyKnown => Remedy::Watch,
            // Words that no one knows prove nothing: the signed bytes may still be mined one day.
            Self::Unknown | Self::Refused => Remedy::WatchAndResend,
            Self::NonceTooLow => Remedy::FindWhoSpentTheNonce,
            Self::NonceGap => Remedy::ResendEarlier,
            Self::ReplacementUnderpriced | Self::Underpriced | Self::BelowBaseFee => Remedy::RaiseFees,
            Self::InsufficientFunds => Remedy::StopLane,
            Self::PoolFull | Self::Tired => Remedy::TryLater,
            Self::IntrinsicGas
            | Self::GasLimitTooHigh
            | Self::FeeCapExceeded
            | Self::WrongChain
            | Self::Invalid => Remedy::FailStep,
        }
    }
}

/// How long the endpoint asked us to stay away with this answer, if it did.
#[must_use]
pub fn retry_after(answer: &Result<B256, RpcError>) -> Option<Duration> {
    answer.as_ref().err().and_then(RpcError::retry_after)
}

#[cfg(test)]
mod tests {
    use super::SendVerdict::*;
    use super::*;

    fn verdict(code: i64, message: &str) -> SendVerdict {
        SendVerdict::of_refusal(&NodeError { code, message: message.to_owned(), data: None })
    }

    const ANVIL: &[(i64, &str, SendVerdict)] = &[
        (-32003, "transaction already imported", AlreadyKnown),
        (-32003, "nonce too low", NonceTooLow),
        (-32003, "nonce too high", NonceGap),
        (-32003, "replacement transaction underpriced", ReplacementUnderpriced),
        (-32003, "Insufficient funds for gas * price + value", InsufficientFunds),
        (-32003, "max fee per gas less than block base fee", BelowBaseFee),
        (-32003, "intrinsic gas too low", IntrinsicGas),
        (-32003, "intrinsic gas too high", IntrinsicGas),
        (-32003, "invalid chain id for signer", WrongChain),
        (-32003, "Incompatible EIP-155 transaction, signed for another chain", WrongChain),
        (-32602, "Failed to decode transaction", Invalid),
    ];

    const GETH_RETH: &[(i64, &str, SendVerdict)] = &[
        (-32000, "already known", AlreadyKnown),
        (-32000, "nonce too low: next nonce 5, tx nonce 3", NonceTooLow),
        (-32000, "nonce too high", NonceGap),
        (-32000, "gapped-nonce tx from delegated accounts", NonceGap),
        (
            -32000,
            "replacement transaction underpriced: new tx gas fee cap 1 <= 2 queued",
            ReplacementUnderpriced,
        ),
        (-32000, "transaction underpriced: tip needed 1, tip permitted 0", Underpriced),
        (
            -32000,
            "max fee per gas less than block base fee: address 0x0, maxFeePerGas: 1, baseFee: 7",
            BelowBaseFee,
        ),
        (
            -32000,
            "insufficient funds for gas * price + value: balance 0, tx cost 1, overshot 1",
            InsufficientFunds,
        ),
        (-32000, "intrinsic gas too low: gas 20000, minimum needed 21000", IntrinsicGas),
        (-32000, "insufficient gas for floor data gas cost: gas 1, minimum needed 2", IntrinsicGas),
        (-32000, "exceeds block gas limit", GasLimitTooHigh),
        (-32000, "transaction gas limit too high (cap: 16777216, tx: 20000000)", GasLimitTooHigh),
        (-32000, "invalid chain id for signer: have 1 want 31337", WrongChain),
        (-32000, "tx fee (2.00 ether) exceeds the configured cap (1.00 ether)", FeeCapExceeded),
        (-32000, "txpool is full", PoolFull),
        (-32000, "account limit exceeded", PoolFull),
        (-32000, "invalid sender", Invalid),
        (-32000, "oversized data: transaction size 1, limit 0", Invalid),
        (-32000, "transaction type not supported", Invalid),
        (-32000, "rlp: value size exceeds available input length", Invalid),
        (-32000, "address already reserved", PoolFull),
    ];

    const ERIGON: &[(i64, &str, SendVerdict)] = &[
        (-32000, "INTERNAL_ERROR: existing tx with same hash", AlreadyKnown),
        (-32000, "ALREADY_EXISTS: already known", AlreadyKnown),
        (-32000, "INTERNAL_ERROR: nonce too low", NonceTooLow),
        (-32000, "INTERNAL_ERROR: insufficient funds", InsufficientFunds),
        (-32000, "IntrinsicGas", IntrinsicGas),
        (-32000, "RLPTooLong", Invalid),
        (-32000, "could not replace existing tx", ReplacementUnderpriced),
        (-32000, "underpriced", Underpriced),
        (-32000, "fee too low", Underpriced),
        (-32000, "pending sub-pool is full", PoolFull),
    ];

    const NETHERMIND: &[(i64, &str, SendVerdict)] = &[
        (-32010, "AlreadyKnown", AlreadyKnown),
        (-32010, "OldNonce, Current nonce: 5, nonce of rejected tx: 3.", NonceTooLow),
        (-32010, "NonceGap, Future nonce. Expected nonce: 5", NonceGap),
        (-32010, "NonceTooFarInFuture", NonceGap),
        (-32010, "ReplacementNotAllowed", ReplacementUnderpriced),
        (-32010, "InsufficientFunds, Account balance: 0, cumulative cost: 1", InsufficientFunds),
        (-32010, "FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 1, BaseFee: 7", BelowBaseFee),
        (-32010, "FeeTooLow", Underpriced),
        (-32010, "FeeTooLowToCompete", PoolFull),
        (-32010, "GasLimitExceeded, Gas limit: 1, gas limit of rejected tx: 2", GasLimitTooHigh),
        (-32010, "Invalid, InvalidTxChainId", WrongChain),
        (-32010, "NotSupportedTxType", Invalid),
        (-32010, "nonce too far in future", NonceGap),
        (-32010, "gas limit reached", GasLimitTooHigh),
        (-32010, "transaction invalid", Invalid),
        (-32010, "pending transaction type conflict", PoolFull),
        (-32010, "unsupported transaction type", Invalid),
        (-32010, "node is syncing", Tired),
    ];

    const BESU: &[(i64, &str, SendVerdict)] = &[
        (-32000, "Known transaction", AlreadyKnown),
        (-32001, "Nonce too low", NonceTooLow),
        (-32006, "Nonce too high", NonceGap),
        (-32000, "Transaction nonce is too distant from current sender nonce", NonceGap),
        (-32000, "An invalid transaction with a lower nonce exists", NonceGap),
        (-32000, "Max priority fee per gas exceeds max fee per gas", Invalid),
        (-32602, "Invalid transaction type", Invalid),
        (-32000, "Replacement transaction underpriced", ReplacementUnderpriced),
        (-32009, "Gas price below configured minimum gas price", Underpriced),
        (-32009, "Gas price below current base fee", BelowBaseFee),
        (-32004, "Upfront cost exceeds account balance", InsufficientFunds),
        (-32003, "Intrinsic gas exceeds gas limit", IntrinsicGas),
        (-32005, "Transaction gas limit exceeds block gas limit", GasLimitTooHigh),
        (-32000, "Wrong chainId", WrongChain),
        (-32000, "Transaction fee cap exceeded", FeeCapExceeded),
        (-32002, "Invalid signature", Invalid),
        (-32008, "Initial sync is still in progress", Tired),
    ];

    const GATEWAYS: &[(i64, &str, SendVerdict)] = &[
        (-32005, "daily request count exceeded, request rate limited", Tired),
        (-32000, "a sentence no node has said so far", Refused),
        (-32603, "Internal error", Unknown),
    ];

    #[test]
    fn the_words_of_each_node_are_understood() {
        for (code, message, expected) in [ANVIL, GETH_RETH, ERIGON, NETHERMIND, BESU, GATEWAYS].concat() {
            assert_eq!(verdict(code, message), expected, "{message}");
        }
    }

    #[test]
    fn silence_is_never_taken_for_a_refusal() {
        let endpoint = || "test".to_owned();
        let status = |status| RpcError::Status { endpoint: endpoint(), status, retry_after: None };
        assert_eq!(SendVerdict::of(&Err(status(503))), Unknown);
        assert_eq!(SendVerdict::of(&Err(status(429))), Tired);
        let timeout = RpcError::Timeout { endpoint: endpoint(), after: Duration::from_secs(1) };
        assert_eq!(SendVerdict::of(&Err(timeout)), Unknown);
        let method = "eth_sendRawTransaction";
        let malformed = RpcError::Malformed { endpoint: endpoint(), method, why: "html".to_owned() };
        assert_eq!(SendVerdict::of(&Err(malformed)), Unknown);
    }

    #[test]
    fn one_pool_that_has_it_outweighs_every_refusal() {
        assert_eq!(SendVerdict::most_telling([InsufficientFunds, AlreadyKnown, Unknown]), Some(AlreadyKnown));
        assert_eq!(SendVerdict::most_telling([ReplacementUnderpriced, NonceTooLow]), Some(NonceTooLow));
        assert_eq!(SendVerdict::most_telling([Underpriced, Unknown]), Some(Unknown));
        assert_eq!(SendVerdict::most_telling([]), None);
    }
}
