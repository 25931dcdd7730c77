//! Signs EIP-1559 transactions as a wallet does.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Bytes, Signature, TxKind, U256};
use api::types::v1::UnsignedTransaction;
use k256::SecretKey;
use k256::ecdsa::SigningKey;

/// The signed bytes of what was asked, with this nonce.
pub fn sign(secret: &SecretKey, unsigned: &UnsignedTransaction, nonce: u64) -> Bytes {
    let number = |text: &str| text.parse::<u128>().expect("a number in an unsigned transaction");
    let transaction = TxEip1559 {
        chain_id: unsigned.chain_id,
        nonce,
        gas_limit: unsigned.gas_limit,
        max_fee_per_gas: number(&unsigned.max_fee_per_gas_wei),
        max_priority_fee_per_gas: number(&unsigned.max_priority_fee_per_gas_wei),
        to: TxKind::Call(unsigned.to.parse().expect("an address")),
        value: unsigned.value_wei.parse::<U256>().expect("wei"),
        access_list: Default::default(),
        input: unsigned.data.parse().expect("calldata"),
    };
    let digest = transaction.signature_hash();
    let (signature, recovery) =
        SigningKey::from(secret).sign_prehash_recoverable(digest.as_slice()).expect("a digest is signable");
    let signature = Signature::from_signature_and_parity(signature, recovery.is_y_odd());
    TxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into()
}
