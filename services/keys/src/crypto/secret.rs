//! A secp256k1 secret: made, proven, used, and wiped; never printed.

use std::fmt;

use alloy_primitives::{Address, B256, Signature, keccak256};
use domain::pubkey::PublicKey;
use k256::ecdsa::SigningKey;

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
        SigningKey::from_slice(bytes.as_slice()).map_err(|_| NotAScalar)?;
        Ok(Self(bytes))
    }

    /// The bytes, for encryption only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public point.
    pub fn public(&self) -> PublicKey {
        k256::PublicKey::from(self.signing_key().verifying_key()).into()
    }

    /// The L1 address.
    pub fn address(&self) -> Address {
        self.public().address()
    }

    /// Signs a digest (RFC 6979) without a look at the result: for who proves it afterwards.
    pub fn sign_unproven(&self, digest: &B256) -> Result<Numbers, k256::ecdsa::Error> {
        let (signature, _) = self.signing_key().sign_prehash_recoverable(digest.as_slice())?;
        Ok(signature.into())
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

    fn signing_key(&self) -> SigningKey {
        SigningKey::from_slice(self.0.as_slice()).expect("checked when the secret was taken in")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(<redacted>)")
    }
}
