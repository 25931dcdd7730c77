//! A secp256k1 secret: made, proven, used, and wiped; never printed.

use std::fmt;

use alloy_primitives::{Address, B256, Signature, keccak256};
use domain::pubkey::PublicKey;
use k256::Scalar;
use k256::ecdsa::RecoveryId;
use k256::ecdsa::hazmat::SignPrimitive;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Pinned;
use super::aead::{self, NoRandomness};
use crate::backend::{Numbers, proof};

/// Draws needed to hit a scalar: one, but for a chance of 2^-128.
const DRAWS_MAX: usize = 8;

/// A secret scalar on a page of its own, wiped when dropped.
pub struct SecretKey(Pinned);

/// The bytes are not a secret of secp256k1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are not 32 bytes of a scalar of secp256k1")]
pub struct NotAScalar;

/// A signature that does not recover to the address of its key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not recover to {0}")]
pub struct Unfaithful(pub Address);

impl SecretKey {
    /// A new secret from the randomness of the operating system.
    pub fn generate() -> Result<Self, NoRandomness> {
        for _ in 0..DRAWS_MAX {
            if let Ok(secret) = Self::from_pinned(aead::random_key()?) {
                return Ok(secret);
            }
        }
        unreachable!("eight draws outside of the group order do not happen")
    }

    /// Takes exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, NotAScalar> {
        if bytes.len() != 32 {
            return Err(NotAScalar);
        }
        let mut pinned = Pinned::zeroed();
        pinned.copy_from_slice(bytes);
        Self::from_pinned(pinned)
    }

    /// Takes thirty-two bytes that are on their own page already.
    pub fn from_pinned(bytes: Pinned) -> Result<Self, NotAScalar> {
        k256::SecretKey::from_slice(bytes.as_slice()).map_err(|_| NotAScalar)?;
        Ok(Self(bytes))
    }

    /// The bytes, for encryption only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public point.
    pub fn public(&self) -> PublicKey {
        self.opened().public_key().into()
    }

    /// The L1 address.
    pub fn address(&self) -> Address {
        self.public().address()
    }

    /// Signs a digest (RFC 6979) without a look at the result: for who proves it afterwards.
    ///
    /// By the scalar alone: a `SigningKey` would derive the public point first, which costs as much as the signature.
    pub fn sign_unproven(&self, digest: &B256) -> Result<Numbers, k256::ecdsa::Error> {
        let scalar: Zeroizing<Scalar> = Zeroizing::new(*self.opened().to_nonzero_scalar());
        let (signature, recovery) = scalar.try_sign_prehashed_rfc6979::<Sha256>(&digest.0.into(), &[])?;
        let odd = recovery.map(RecoveryId::is_y_odd);
        Ok(odd.map_or_else(|| signature.into(), |odd| Numbers::with_parity(signature, odd)))
    }

    /// Signs a digest (RFC 6979, low s) and recovers the signer from the result.
    pub fn sign(&self, digest: &B256) -> Result<Signature, Unfaithful> {
        let address = self.address();
        let numbers = self.sign_unproven(digest).map_err(|_| Unfaithful(address))?;
        proof::signature(numbers, digest, address).map_err(|_| Unfaithful(address))
    }

    /// Proves that this secret can sign for its address.
    pub fn prove(&self) -> Result<(), Unfaithful> {
        self.sign(&keccak256(b"metis sequencer control plane: proof of possession")).map(drop)
    }

    /// Wiped when it is dropped.
    fn opened(&self) -> k256::SecretKey {
        k256::SecretKey::from_slice(self.0.as_slice()).expect("checked when the secret was taken in")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::SigningKey;

    use super::*;

    #[test]
    fn a_signature_is_byte_for_byte_that_of_k256_and_has_its_parity() {
        for number in 0..200_u32 {
            let bytes = keccak256(number.to_be_bytes());
            let (ours, theirs) = (
                SecretKey::from_slice(bytes.as_slice()).unwrap(),
                SigningKey::from_slice(bytes.as_slice()).unwrap(),
            );
            let digest = keccak256(number.to_le_bytes());
            let expected = theirs.sign_prehash_recoverable(digest.as_slice()).unwrap();
            assert_eq!(ours.sign(&digest).unwrap(), Signature::from(expected));
            assert_eq!(ours.address(), Address::from_public_key(theirs.verifying_key()));
        }
    }
}
