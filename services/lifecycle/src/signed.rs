//! Signed transactions, read strictly: only EIP-1559, and who signed it comes from the signature.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, U256};
use chain::rpc::Transaction;

use crate::db::transaction;

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub hash: B256,
    pub sender: Address,
    pub chain_id: u64,
    pub nonce: u64,
    pub target: Address,
    pub value: U256,
    pub data: Bytes,
    pub gas_limit: u64,
    pub max_fee: u128,
    pub max_priority: u128,
}

/// Why bytes are no transaction that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not an EIP-2718 envelope, or something follows it.
    #[error("the bytes are not one signed transaction")]
    Envelope,
    /// Legacy, access list, blob and authorisation transactions are not taken.
    #[error("only EIP-1559 transactions are taken")]
    Type,
    /// The signature recovers to nobody.
    #[error("the signature is not valid")]
    Signature,
    /// A contract creation has no target.
    #[error("contract creations are not taken")]
    Creation,
    /// Access lists are not in anything we prepare.
    #[error("the transaction has an access list")]
    AccessList,
}

impl Signed {
    /// Of what a node tells: without the fees, which then nobody asks for.
    pub fn of_chain(found: Transaction, chain_id: u64) -> Self {
        let Transaction { hash, from, to, input, value, nonce, block_number: _, block_hash: _ } = found;
        Self {
            hash,
            sender: from,
            chain_id,
            nonce,
            // A creation has no target, and so is no call that we prepared.
            target: to.unwrap_or_default(),
            value,
            data: input,
            gas_limit: 0,
            max_fee: 0,
            max_priority: 0,
        }
    }
}

/// Reads the bytes of a signed transaction.
pub fn decode(raw: &[u8]) -> Result<Signed, Malformed> {
    let envelope = TxEnvelope::decode_2718_exact(raw).map_err(|_| Malformed::Envelope)?;
    let signed = envelope.as_eip1559().ok_or(Malformed::Type)?;
    let sender = signed.recover_signer().map_err(|_| Malformed::Signature)?;
    let inner = signed.tx();
    if !inner.access_list.0.is_empty() {
        return Err(Malformed::AccessList);
    }
    Ok(Signed {
        hash: *signed.hash(),
        sender,
        chain_id: inner.chain_id,
        nonce: inner.nonce,
        target: inner.to().ok_or(Malformed::Creation)?,
        value: inner.value,
        data: inner.input.clone(),
        gas_limit: inner.gas_limit,
        max_fee: inner.max_fee_per_gas,
        max_priority: inner.max_priority_fee_per_gas,
    })
}

/// The first field in which a transaction is not the planned call: sender, chain, target, value or data.
pub fn difference(signed: &Signed, planned: &transaction::Row) -> Option<&'static str> {
    let chain_id = i64::try_from(signed.chain_id).unwrap_or(i64::MAX);
    let fields = [
        ("sender", signed.sender == planned.account.0),
        ("chain id", chain_id == planned.chain_id),
        ("target", signed.target == planned.target.0),
        ("value", signed.value == planned.value.0),
        ("data", signed.data.as_ref() == planned.data.as_slice()),
    ];
    fields.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}
