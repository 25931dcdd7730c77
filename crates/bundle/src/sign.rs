//! Signing: only a whole bundle, only with the sender's key, every call of it.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Bytes, Signature, TxKind};
use domain::pubkey::PublicKey;
use k256::ecdsa::SigningKey;

use super::check::Refused;
use super::file::{Bundle, Call, SIGNED_FORMAT, Signed};

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The bundle is not what it says.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A fee does not fit a transaction.
    #[error("a fee is too large for a transaction")]
    Fee,
    /// The signature could not be made.
    #[error("signing")]
    Signature(#[source] k256::ecdsa::Error),
}

/// Checks the bundle once more and signs all its calls.
///
/// # Errors
/// [`SignError`]; then nothing was signed that leaves this function.
pub fn sign(bundle: &Bundle, key: &SigningKey, now: i64) -> Result<Signed, SignError> {
    bundle.check(now)?;
    let address = PublicKey::from(k256::PublicKey::from(key.verifying_key())).address();
    if address != bundle.sender {
        return Err(Refused::Key { key: address, sender: bundle.sender }.into());
    }
    let transactions =
        bundle.calls.iter().map(|call| signed(bundle.chain_id, call, key)).collect::<Result<_, _>>()?;
    Ok(Signed {
        format: SIGNED_FORMAT.to_owned(),
        operation: bundle.operation.clone(),
        digest: bundle.digest,
        transactions,
    })
}

fn signed(chain_id: u64, call: &Call, key: &SigningKey) -> Result<Bytes, SignError> {
    let transaction = TxEip1559 {
        chain_id,
        nonce: call.nonce,
        gas_limit: call.gas_limit,
        max_fee_per_gas: u128::try_from(call.max_fee_per_gas.0).map_err(|_| SignError::Fee)?,
        max_priority_fee_per_gas: u128::try_from(call.max_priority_fee_per_gas.0)
            .map_err(|_| SignError::Fee)?,
        to: TxKind::Call(call.to),
        value: call.value.0,
        access_list: Default::default(),
        input: call.data.clone(),
    };
    let digest = transaction.signature_hash();
    let (signature, recovery) =
        key.sign_prehash_recoverable(digest.as_slice()).map_err(SignError::Signature)?;
    let signature = Signature::from_signature_and_parity(signature, recovery.is_y_odd());
    Ok(TxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into())
}
