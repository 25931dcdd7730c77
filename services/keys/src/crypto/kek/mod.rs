//! The key-encryption key: thirty-two bytes in memory, whatever keeps them for us between two starts
//! (`source`), and the check value by which a wrong one is known.

mod age_identity;
#[cfg(feature = "aws-kms")]
mod aws_kms;
mod passphrase;
mod plain;
pub mod source;
mod transit;

use std::fmt;

use zeroize::Zeroizing;

pub use age_identity::AgeConfig;
pub use passphrase::Derivation;
pub use source::{AwsKmsConfig, Protection, Source, Sources, Unusable};
pub use transit::TransitConfig;

use super::Pinned;
use super::aead::{self, NoRandomness, Unauthentic};

const CHECK_ASSOCIATED: &[u8] = b"metis.sequencer.keys.kek-check";
const CHECK_PLAIN: &[u8] = b"this is the right key";

/// The key that wraps every data key, on a page of its own.
pub struct KeyEncryptionKey(Pinned);

impl KeyEncryptionKey {
    /// Takes the bytes into a place of its own.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Pinned::of(bytes))
    }

    /// Takes exactly thirty-two bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_bytes(bytes.try_into().ok()?))
    }

    /// A random key.
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self(aead::random_key()?))
    }

    /// The bytes, to be wrapped by what keeps them.
    fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Encrypts under this key.
    pub fn seal(&self, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        aead::seal(&self.0, associated, plain)
    }

    /// Decrypts under this key.
    pub fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unauthentic> {
        aead::open(&self.0, associated, sealed)
    }

    /// Decrypts a key under this key.
    pub fn open_key(&self, associated: &[u8], sealed: &[u8]) -> Result<Pinned, Unauthentic> {
        aead::open_key(&self.0, associated, sealed)
    }

    /// A value that only this key can check.
    pub fn check_value(&self) -> Result<Vec<u8>, NoRandomness> {
        self.seal(CHECK_ASSOCIATED, CHECK_PLAIN)
    }

    /// Whether this key made the check value.
    pub fn made(&self, check_value: &[u8]) -> bool {
        self.open(CHECK_ASSOCIATED, check_value).is_ok_and(|plain| plain.as_slice() == CHECK_PLAIN)
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_makes_the_check_value() {
        let right = KeyEncryptionKey::from_bytes(&[1; 32]);
        let value = right.check_value().unwrap();
        assert!(right.made(&value));
        assert!(!KeyEncryptionKey::from_bytes(&[2; 32]).made(&value));
        assert!(!right.made(b"short"));
    }
}
