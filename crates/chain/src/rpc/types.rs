//! What nodes answer, cut down to what we use. Unknown fields are ignored: l2geth, geth and anvil
//! each add their own.

use std::fmt;
use std::ops::Deref;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::hex;

/// Which block a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockId {
    /// The newest block the node knows.
    Latest,
    /// The newest block the node calls safe.
    Safe,
    /// The newest block the node calls final.
    Finalized,
    /// The block being built: for nonces only.
    Pending,
    /// The block with this number on the node's canonical chain.
    Number(u64),
    /// Exactly this block, and only while it is canonical.
    Hash(B256),
}

impl BlockId {
    /// The parameter of calls that take a number or a tag, EIP-1898 for a hash.
    pub(crate) fn parameter(self) -> Value {
        match self {
            Self::Latest => json!("latest"),
            Self::Safe => json!("safe"),
            Self::Finalized => json!("finalized"),
            Self::Pending => json!("pending"),
            Self::Number(number) => json!(quantity(number)),
            Self::Hash(hash) => json!({ "blockHash": hash, "requireCanonical": true }),
        }
    }
}

/// A number as JSON-RPC writes it.
pub(crate) fn quantity(number: u64) -> String {
    format!("{number:#x}")
}

/// A u64 that travels as a hex quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Quantity(#[serde(deserialize_with = "hex::number")] pub u64);

/// The parts of a block header that place it on its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Height.
    #[serde(deserialize_with = "hex::number")]
    pub number: u64,
    /// Hash.
    #[serde(deserialize_with = "hex::word")]
    pub hash: B256,
    /// Hash of the block before.
    #[serde(deserialize_with = "hex::word")]
    pub parent_hash: B256,
    /// Seconds since 1970.
    #[serde(deserialize_with = "hex::number")]
    pub timestamp: u64,
    /// Base fee; none on chains before EIP-1559, such as L2.
    #[serde(default)]
    pub base_fee_per_gas: Option<U256>,
}

/// One log, mined: pending logs do not parse.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// The contract that emitted it.
    #[serde(deserialize_with = "hex::address")]
    pub address: Address,
    /// Topics, the first of which names the event.
    pub topics: Topics,
    /// What is not indexed.
    #[serde(deserialize_with = "hex::bytes")]
    pub data: Bytes,
    /// Height of its block.
    #[serde(deserialize_with = "hex::number")]
    pub block_number: u64,
    /// Hash of its block.
    #[serde(deserialize_with = "hex::word")]
    pub block_hash: B256,
    /// Its transaction.
    #[serde(deserialize_with = "hex::word")]
    pub transaction_hash: B256,
    /// Place of the transaction in the block.
    #[serde(deserialize_with = "hex::number")]
    pub transaction_index: u64,
    /// Place of the log in the block.
    #[serde(deserialize_with = "hex::number")]
    pub log_index: u64,
    /// Time of its block, from nodes that say so.
    #[serde(default, deserialize_with = "hex::number_option")]
    pub block_timestamp: Option<u64>,
    /// Set by nodes that announce a log's removal by a reorg.
    #[serde(default)]
    pub removed: bool,
}

/// The topics of a log, kept inside it: a log needs no memory of its own for them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Topics {
    words: [B256; TOPICS_MAX],
    count: usize,
}

/// Topics a log can have: there is no LOG5.
const TOPICS_MAX: usize = 4;

/// More topics than a log can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log has at most {TOPICS_MAX} topics")]
pub struct TooManyTopics;

impl Topics {
    pub(super) fn push(&mut self, topic: B256) -> Result<(), TooManyTopics> {
        *self.words.get_mut(self.count).ok_or(TooManyTopics)? = topic;
        self.count += 1;
        Ok(())
    }
}

impl Deref for Topics {
    type Target = [B256];

    fn deref(&self) -> &[B256] {
        &self.words[..self.count]
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl TryFrom<&[B256]> for Topics {
    type Error = TooManyTopics;

    fn try_from(words: &[B256]) -> Result<Self, TooManyTopics> {
        let mut topics = Self::default();
        words.iter().try_for_each(|word| topics.push(*word)).map(|()| topics)
    }
}

/// Which logs are asked for. No address or topic means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Contracts, any of these.
    pub addresses: Vec<Address>,
    /// For each topic position the values of which any will do; an empty list is a wildcard.
    pub topics: Vec<Vec<B256>>,
}

impl LogFilter {
    /// The filter as an object; the caller adds the blocks.
    pub(crate) fn parameter(&self) -> Value {
        let topics: Vec<Value> =
            self.topics.iter().map(|any| if any.is_empty() { Value::Null } else { json!(any) }).collect();
        json!({ "address": self.addresses, "topics": topics })
    }
}

/// A transaction, as far as we look into it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// Hash.
    pub hash: B256,
    /// Sender.
    pub from: Address,
    /// Target; none for a contract creation.
    pub to: Option<Address>,
    /// Calldata.
    pub input: Bytes,
    /// Native value.
    pub value: U256,
    /// Nonce of the sender.
    #[serde(deserialize_with = "hex::number")]
    pub nonce: u64,
    /// Height of its block, once mined.
    #[serde(default, deserialize_with = "hex::number_option")]
    pub block_number: Option<u64>,
    /// Hash of its block, once mined.
    #[serde(default)]
    pub block_hash: Option<B256>,
}

/// What became of a mined transaction.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Hash of the transaction.
    pub transaction_hash: B256,
    /// Height of its block.
    #[serde(deserialize_with = "hex::number")]
    pub block_number: u64,
    /// Hash of its block: a receipt counts only while this is canonical.
    pub block_hash: B256,
    /// Sender.
    pub from: Address,
    /// Target; none for a contract creation.
    pub to: Option<Address>,
    /// The created contract, if one was.
    #[serde(default)]
    pub contract_address: Option<Address>,
    /// 1 for success, 0 for a revert.
    #[serde(deserialize_with = "hex::number")]
    pub status: u64,
    /// Gas used.
    #[serde(deserialize_with = "hex::number")]
    pub gas_used: u64,
    /// Price paid for each unit of gas; old nodes do not say.
    #[serde(default)]
    pub effective_gas_price: Option<U256>,
    /// Logs emitted.
    pub logs: Vec<Log>,
}

impl Receipt {
    /// Whether the transaction did what it says, rather than revert.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status == 1
    }
}

/// A call to simulate or to estimate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRequest {
    /// The sender the call is made as; none is the zero address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// The contract.
    pub to: Address,
    /// Native value.
    #[serde(skip_serializing_if = "U256::is_zero")]
    pub value: U256,
    /// Calldata; `data` rather than `input`, because l2geth knows no other name.
    #[serde(rename = "data")]
    pub input: Bytes,
    /// Gas limit; none is the node's.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "gas_quantity")]
    pub gas: Option<u64>,
}

fn gas_quantity<S: Serializer>(gas: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    gas.map(quantity).serialize(serializer)
}

/// What became of one call of a simulation of several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulated {
    /// 1 for success, 0 for a revert.
    #[serde(deserialize_with = "hex::number")]
    pub status: u64,
    /// Gas used.
    #[serde(deserialize_with = "hex::number")]
    pub gas_used: u64,
    /// What the call returned; some nodes put the data of a revert here.
    #[serde(default)]
    pub return_data: Bytes,
    /// Why it failed, from nodes that say so here.
    #[serde(default)]
    pub error: Option<super::NodeError>,
}

impl Simulated {
    /// The data of the revert; none if the call succeeded.
    #[must_use]
    pub fn revert_data(&self) -> Option<Bytes> {
        if self.status == 1 {
            return None;
        }
        let told = self.error.as_ref().and_then(super::NodeError::revert_data);
        Some(told.filter(|data| !data.is_empty()).unwrap_or_else(|| self.return_data.clone()))
    }
}

/// A block of simulated calls.
#[derive(Debug, Deserialize)]
pub(super) struct SimulatedBlock {
    pub calls: Vec<Simulated>,
}

/// Fees of the last blocks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeeHistory {
    /// Height of the first block told of.
    #[serde(deserialize_with = "hex::number")]
    pub oldest_block: u64,
    /// Base fee of each block, and of the one after them.
    pub base_fee_per_gas: Vec<U256>,
    /// For each block the tips at the percentiles asked for; absent for an empty range.
    #[serde(default)]
    pub reward: Option<Vec<Vec<U256>>>,
}

/// A call inside a transaction, from `callTracer`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallFrame {
    /// CALL, DELEGATECALL, STATICCALL, CREATE and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Caller.
    pub from: Address,
    /// Callee; none for a failed creation.
    #[serde(default)]
    pub to: Option<Address>,
    /// Calldata.
    pub input: Bytes,
    /// Native value; none where the node leaves out a zero, and for delegate and static calls.
    #[serde(default)]
    pub value: Option<U256>,
    /// Why the call failed; none if it did not.
    #[serde(default)]
    pub error: Option<String>,
    /// Calls made inside.
    #[serde(default)]
    pub calls: Vec<CallFrame>,
}

impl CallFrame {
    /// The plain calls of `caller` that took effect, in the order in which they were made.
    #[must_use]
    pub fn effective_calls_of(&self, caller: Address) -> Vec<&CallFrame> {
        self.effective(|frame| frame.from == caller)
    }

    /// The plain calls to `target` that took effect, in order: a call inside a failed one did not,
    /// and the delegate call of a proxy to its implementation is not counted a second time.
    #[must_use]
    pub fn effective_calls_to(&self, target: Address) -> Vec<&CallFrame> {
        self.effective(|frame| frame.to == Some(target))
    }

    fn effective(&self, wanted: impl Fn(&CallFrame) -> bool) -> Vec<&CallFrame> {
        let mut found = Vec::new();
        let mut waiting = vec![self];
        while let Some(frame) = waiting.pop() {
            if frame.error.is_some() {
                continue;
            }
            if frame.kind == "CALL" && wanted(frame) {
                found.push(frame);
            }
            waiting.extend(frame.calls.iter().rev());
        }
        found
    }
}
