//! The files: what a cold machine gets, and what it gives back.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use domain::amount::Eth;
use serde::{Deserialize, Serialize};

use super::call::Contracts;

/// What a bundle begins with; another one is of another version.
pub const FORMAT: &str = "metis-sequencer-bundle/1";
/// What a signed one begins with.
pub const SIGNED_FORMAT: &str = "metis-sequencer-signed-bundle/1";

/// A prepared operation with everything that signing needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Bundle {
    /// [`FORMAT`].
    pub format: String,
    /// Id of the operation in lifecycle.
    pub operation: String,
    /// Name of the network.
    pub network: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Who must sign.
    pub sender: Address,
    /// Of which sequencer.
    pub sequencer: Subject,
    /// The operation in words.
    pub words: String,
    /// Unix time after which lifecycle does not take it any more.
    pub expires_at: i64,
    /// Where the calls go.
    pub contracts: Contracts,
    /// In order, with consecutive nonces.
    pub calls: Vec<Call>,
    /// Over all of the above: to be compared on both machines.
    pub digest: B256,
}

/// A sequencer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Subject {
    /// Its name in the register.
    pub name: String,
    /// Its id on chain; none before the lock.
    pub id: Option<U256>,
}

/// One transaction to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Call {
    /// `approve`, or the name of the operation.
    pub step: String,
    /// In words.
    pub words: String,
    /// Target.
    pub to: Address,
    /// ETH sent along, wei.
    pub value: Eth,
    /// Calldata.
    pub data: Bytes,
    /// Nonce of the sender.
    pub nonce: u64,
    /// Gas limit.
    pub gas_limit: u64,
    /// Ceiling of the total fee per gas, wei.
    pub max_fee_per_gas: Eth,
    /// Ceiling of the tip per gas, wei.
    pub max_priority_fee_per_gas: Eth,
}

/// What the cold machine gives back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Signed {
    /// [`SIGNED_FORMAT`].
    pub format: String,
    /// Id of the operation in lifecycle.
    pub operation: String,
    /// Of the bundle that was signed.
    pub digest: B256,
    /// Signed EIP-2718 bytes, in order.
    pub transactions: Vec<Bytes>,
}

impl Bundle {
    /// The same bundle with its digest.
    #[must_use]
    pub fn sealed(self) -> Self {
        Self { digest: self.computed_digest(), ..self }
    }

    /// The digest that this content has: keccak-256 of the format, a line end, and the compact JSON without a digest.
    #[must_use]
    pub fn computed_digest(&self) -> B256 {
        let bare = Self { digest: B256::ZERO, ..self.clone() };
        let json = serde_json::to_vec(&bare).expect("texts, numbers and lists always serialise");
        keccak256([FORMAT.as_bytes(), b"\n", &json].concat())
    }
}
