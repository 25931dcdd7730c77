//! The key-encryption key: where it comes from, and the check value by which a wrong one is known.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use region::LockGuard;
use runtime::config::{Exposed, Secret};
use zeroize::Zeroizing;

use super::aead::{self, NoRandomness, Unauthentic};

/// RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes. Once at each start.
pub const MEMORY_KIB: u32 = 64 * 1024;
/// See `MEMORY_KIB`.
pub const PASSES: u32 = 3;
/// See `MEMORY_KIB`.
pub const LANES: u32 = 4;
/// Bytes of salt for a passphrase.
pub const SALT_BYTES: usize = 16;

const CHECK_ASSOCIATED: &[u8] = b"metis.sequencer.keys.kek-check";
const CHECK_PLAIN: &[u8] = b"this is the right key";

/// Where the operator keeps the key-encryption key.
#[derive(Debug, Clone)]
pub enum Source {
    /// 32 bytes as hex or base64.
    Key(Secret),
    /// A passphrase for Argon2id.
    Passphrase(Secret),
}

/// How a key is made from a passphrase; stored beside the check value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// Random, for this installation only.
    pub salt: Vec<u8>,
    /// Memory.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

/// The key that wraps every data key. Its page does not go to swap where the platform allows it.
pub struct KeyEncryptionKey {
    // Dropped first: the bytes are wiped after their page is unlocked, still inside this process.
    _locked: Option<LockGuard>,
    bytes: Box<Zeroizing<[u8; 32]>>,
}

/// Why there is no key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("the key-encryption key cannot be read")]
    Unreadable(#[source] runtime::config::Error),
    #[error("the key-encryption key is not 32 bytes as hex or base64")]
    Malformed,
    #[error("the parameters of the passphrase derivation are out of range")]
    Derivation,
}

impl Derivation {
    /// Today's parameters with a fresh salt.
    pub fn fresh() -> Result<Self, NoRandomness> {
        let salt = aead::random::<SALT_BYTES>()?.to_vec();
        Ok(Self { salt, memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES })
    }
}

impl Source {
    /// Reads the key. Derivation takes most of a second: call this off the async threads.
    pub fn read(&self, derivation: Option<&Derivation>) -> Result<KeyEncryptionKey, Unusable> {
        match (self, derivation) {
            (Self::Key(secret), None) => {
                let text = secret.expose().map_err(Unusable::Unreadable)?;
                parse(&text).map(|bytes| KeyEncryptionKey::from_bytes(&bytes)).ok_or(Unusable::Malformed)
            }
            (Self::Passphrase(secret), Some(derivation)) => {
                derive(&secret.expose().map_err(Unusable::Unreadable)?, derivation)
            }
            // The installation was made with the other kind of source.
            (Self::Key(_), Some(_)) | (Self::Passphrase(_), None) => Err(Unusable::Derivation),
        }
    }

    /// Whether keys of this source are derived.
    pub fn is_passphrase(&self) -> bool {
        matches!(self, Self::Passphrase(_))
    }
}

impl KeyEncryptionKey {
    /// Takes the bytes into a place of its own.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let bytes = Box::new(Zeroizing::new(*bytes));
        let locked = region::lock(bytes.as_ptr(), bytes.len());
        if locked.is_err() {
            tracing::warn!("the key-encryption key cannot be locked in memory, raise RLIMIT_MEMLOCK");
        }
        Self { _locked: locked.ok(), bytes }
    }

    /// Encrypts under this key.
    pub fn seal(&self, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        aead::seal(&self.bytes, associated, plain)
    }

    /// Decrypts under this key.
    pub fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unauthentic> {
        aead::open(&self.bytes, associated, sealed)
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

fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let text = text.trim();
    let mut bytes = Zeroizing::new([0; 32]);
    if hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), bytes.as_mut_slice()).is_ok() {
        return Some(bytes);
    }
    let decoded = Zeroizing::new(STANDARD.decode(text).ok()?);
    bytes.copy_from_slice(decoded.get(..).filter(|decoded| decoded.len() == 32)?);
    Some(bytes)
}

fn derive(passphrase: &Exposed, derivation: &Derivation) -> Result<KeyEncryptionKey, Unusable> {
    let Derivation { salt, memory_kib, passes, lanes } = derivation;
    let parameters = Params::new(*memory_kib, *passes, *lanes, Some(32)).map_err(|_| Unusable::Derivation)?;
    let mut bytes = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(passphrase.as_bytes(), salt, bytes.as_mut_slice())
        .map_err(|_| Unusable::Derivation)?;
    Ok(KeyEncryptionKey::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_hex_or_base64_of_32_bytes() {
        let hex = "ab".repeat(32);
        let with_prefix = format!("0x{hex}");
        let base64 = STANDARD.encode([0xab; 32]);
        for text in [&hex, &with_prefix, &base64] {
            assert_eq!(parse(text).as_deref(), Some(&[0xab; 32]), "{text}");
        }
        for text in ["", "ab", &hex[2..], &format!("{hex}ab"), &STANDARD.encode([1; 31]), "zz"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_right_key_makes_the_check_value() {
        let right = KeyEncryptionKey::from_bytes(&[1; 32]);
        let value = right.check_value().unwrap();
        assert!(right.made(&value));
        assert!(!KeyEncryptionKey::from_bytes(&[2; 32]).made(&value));
        assert!(!right.made(b"short"));
    }

    #[test]
    fn the_same_passphrase_gives_the_same_key_only_with_the_same_salt() {
        let source = Source::Passphrase(Secret::new("correct horse".to_owned()));
        let cheap = |salt: u8| Derivation { salt: vec![salt; 16], memory_kib: 64, passes: 1, lanes: 1 };
        let value = source.read(Some(&cheap(1))).unwrap().check_value().unwrap();
        assert!(source.read(Some(&cheap(1))).unwrap().made(&value));
        assert!(!source.read(Some(&cheap(2))).unwrap().made(&value));
    }
}
