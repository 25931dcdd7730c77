//! What nodes answer, cut down to what we use. Unknown fields are ignored: l2geth, geth and anvil
//! each add their own.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

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

/// Hex quantities in structs: nodes give `0x1f`, and some numbers as plain JSON numbers.
mod hex_u64 {
    use super::*;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(u64),
        Text(String),
    }

    fn read<E: serde::de::Error>(form: Form) -> Result<u64, E> {
        match form {
            Form::Number(number) => Ok(number),
            Form::Text(text) => {
                let digits = text.strip_prefix("0x").ok_or_else(|| E::custom("a quantity starts with 0x"))?;
                u64::from_str_radix(digits, 16).map_err(E::custom)
            }
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        read(Form::deserialize(deserializer)?)
    }

    pub mod option {
        use super::*;

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
            Option::<Form>::deserialize(deserializer)?.map(read).transpose()
        }
    }
}

/// A u64 that travels as a hex quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Quantity(#[serde(deserialize_with = "hex_u64::deserialize")] pub u64);

/// The parts of a block header that place it on its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Height.
    #[serde(deserialize_with = "hex_u64::deserialize")]
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Hash of the block before.
    pub parent_hash: B256,
    /// Seconds since 1970.
    #[serde(deserialize_with = "hex_u64::deserialize")]
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
    pub address: Address,
    /// Topics, the first of which names the event.
    pub topics: Vec<B256>,
    /// What is not indexed.
    pub data: Bytes,
    /// Height of its block.
    #[serde(deserialize_with = "hex_u64::deserialize")]
    pub block_number: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// Its transaction.
    pub transaction_hash: B256,
    /// Place of the transaction in the block.
    #[serde(deserialize_with = "hex_u64::deserialize")]
    pub transaction_index: u64,
    /// Place of the log in the block.
    #[serde(deserialize_with = "hex_u64::deserialize")]
    pub log_index: u64,
    /// Time of its block, from nodes that say so.
    #[serde(default, deserialize_with = "hex_u64::option::deserialize")]
    pub block_timestamp: Option<u64>,
    /// Set by nodes that announce a log's removal by a reorg.
    #[serde(default)]
    pub removed: bool,
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
    #[serde(deserialize_with = "hex_u64::deserialize")]
    pub nonce: u64,
    /// Height of its block, once mined.
    #[serde(default, deserialize_with = "hex_u64::option::deserialize")]
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
    #[serde(deserialize_with = "hex_u64::deserialize")]
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
    #[serde(deserialize_with = "hex_u64::deserialize")]
    pub status: u64,
    /// Gas used.
    #[serde(deserialize_with = "hex_u64::deserialize")]
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

/// Fees of the last blocks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeeHistory {
    /// Height of the first block told of.
    #[serde(deserialize_with = "hex_u64::deserialize")]
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
    /// Why the call failed; none if it did not.
    #[serde(default)]
    pub error: Option<String>,
    /// Calls made inside.
    #[serde(default)]
    pub calls: Vec<CallFrame>,
}

impl CallFrame {
    /// The plain calls to `target` that took effect, in order: a call inside a failed one did not,
    /// and the delegate call of a proxy to its implementation is not counted a second time.
    #[must_use]
    pub fn effective_calls_to(&self, target: Address) -> Vec<&CallFrame> {
        let mut found = Vec::new();
        let mut waiting = vec![self];
        while let Some(frame) = waiting.pop() {
            if frame.error.is_some() {
                continue;
            }
            if frame.kind == "CALL" && frame.to == Some(target) {
                found.push(frame);
            }
            waiting.extend(frame.calls.iter().rev());
        }
        found
    }
}
