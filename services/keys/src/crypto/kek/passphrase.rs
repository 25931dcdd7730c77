//! A key-encryption key that is derived from a passphrase with Argon2id.

use argon2::{Algorithm, Argon2, Params, Version};
use runtime::config::Secret;
use zeroize::Zeroizing;

use super::{KeyEncryptionKey, Unusable};
use crate::crypto::aead::{self, NoRandomness};

/// RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes. Once at each start.
const MEMORY_KIB: u32 = 64 * 1024;
/// See `MEMORY_KIB`.
const PASSES: u32 = 3;
/// See `MEMORY_KIB`.
const LANES: u32 = 4;
/// As RFC 9106 recommends.
const SALT_BYTES: usize = 16;

/// How a key is made from a passphrase; stored beside the check value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// Random, for this generation only.
    pub salt: Vec<u8>,
    /// Memory.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Derivation {
    /// Today's parameters with a fresh salt.
    pub fn fresh() -> Result<Self, NoRandomness> {
        let salt = aead::random::<SALT_BYTES>()?.to_vec();
        Ok(Self { salt, memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES })
    }
}

/// Derives the key; takes most of a second, off the async threads.
pub async fn derive(secret: &Secret, derivation: &Derivation) -> Result<KeyEncryptionKey, Unusable> {
    let passphrase = secret.expose().map_err(Unusable::Unreadable)?;
    let Derivation { salt, memory_kib, passes, lanes } = derivation.clone();
    let derived = tokio::task::spawn_blocking(move || {
        let parameters = Params::new(memory_kib, passes, lanes, Some(32)).ok()?;
        let mut bytes = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into(passphrase.as_bytes(), &salt, bytes.as_mut_slice())
            .ok()?;
        Some(KeyEncryptionKey::from_bytes(&bytes))
    });
    derived.await.ok().flatten().ok_or(Unusable::Derivation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_passphrase_gives_the_same_key_only_with_the_same_salt() {
        let secret = Secret::new("correct horse".to_owned());
        let cheap = |salt: u8| Derivation { salt: vec![salt; 16], memory_kib: 64, passes: 1, lanes: 1 };
        let value = derive(&secret, &cheap(1)).await.unwrap().check_value().unwrap();
        assert!(derive(&secret, &cheap(1)).await.unwrap().made(&value));
        assert!(!derive(&secret, &cheap(2)).await.unwrap().made(&value));
    }
}
