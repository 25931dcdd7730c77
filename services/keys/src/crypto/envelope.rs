//! How a secret lies in the database: under a data key of its own, and that under the
//! key-encryption key. Both are bound to whose they are, so that rows cannot be exchanged.

use super::aead::{self, NoRandomness, Unauthentic};
use super::{KeyEncryptionKey, SecretKey};

/// The form of envelopes made today.
pub const VERSION: i32 = 1;

/// What an envelope is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Belongs<'a> {
    /// Id of the key.
    pub key_id: &'a str,
    /// Role of the key, as in the database.
    pub role: &'a str,
}

/// A secret at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The form, part of the associated data.
    pub version: i32,
    /// Generation of the key-encryption key that wraps the data key. A hint where to look, no part of
    /// the associated data: rotation changes it and the wrapping, nothing else.
    pub generation: i32,
    /// The data key under the key-encryption key.
    pub wrapped_data_key: Vec<u8>,
    /// The secret under the data key.
    pub ciphertext: Vec<u8>,
}

/// Why a data key could not be wrapped anew.
#[derive(Debug, thiserror::Error)]
pub enum Rewrap {
    #[error("opening the old envelope")]
    Open(#[from] Unauthentic),
    #[error("making the new envelope")]
    Seal(#[from] NoRandomness),
}

impl Envelope {
    /// Encrypts `secret` for rest.
    pub fn seal(
        (generation, kek): (i32, &KeyEncryptionKey),
        to: Belongs<'_>,
        secret: &SecretKey,
    ) -> Result<Self, NoRandomness> {
        let data_key = aead::random_key()?;
        Ok(Self {
            version: VERSION,
            generation,
            wrapped_data_key: kek.seal(&associated("data-key", to, VERSION), data_key.as_slice())?,
            ciphertext: aead::seal(&data_key, &associated("secret", to, VERSION), secret.expose())?,
        })
    }

    /// Decrypts the secret for one use.
    pub fn open(&self, kek: &KeyEncryptionKey, to: Belongs<'_>) -> Result<SecretKey, Unauthentic> {
        let data_key = kek.open_key(&associated("data-key", to, self.version), &self.wrapped_data_key)?;
        let secret = aead::open_key(&data_key, &associated("secret", to, self.version), &self.ciphertext)?;
        SecretKey::from_pinned(secret).map_err(|_| Unauthentic)
    }

    /// The data key under another key-encryption key; the secret itself is not opened.
    pub fn rewrap(
        &self,
        from: &KeyEncryptionKey,
        to: Belongs<'_>,
        under: &KeyEncryptionKey,
    ) -> Result<Vec<u8>, Rewrap> {
        let associated = associated("data-key", to, self.version);
        let data_key = from.open_key(&associated, &self.wrapped_data_key)?;
        Ok(under.seal(&associated, data_key.as_slice())?)
    }
}

/// Each part with its length before it, so that no two bindings look the same.
fn associated(purpose: &str, to: Belongs<'_>, version: i32) -> Vec<u8> {
    let mut bytes = b"metis.sequencer.keys.envelope".to_vec();
    for part in [purpose.as_bytes(), to.key_id.as_bytes(), to.role.as_bytes(), &version.to_be_bytes()] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Belongs<'_> = Belongs { key_id: "a", role: "OWNER" };

    #[test]
    fn an_envelope_opens_only_for_its_own_key_role_version_and_kek() {
        let kek = KeyEncryptionKey::from_bytes(&[7; 32]);
        let secret = SecretKey::generate().unwrap();
        let envelope = Envelope::seal((1, &kek), OWNER, &secret).unwrap();
        assert_eq!(envelope.open(&kek, OWNER).unwrap().expose(), secret.expose());

        let other_kek = KeyEncryptionKey::from_bytes(&[8; 32]);
        assert_eq!(envelope.open(&other_kek, OWNER).unwrap_err(), Unauthentic);
        let other_key = Belongs { key_id: "b", ..OWNER };
        assert_eq!(envelope.open(&kek, other_key).unwrap_err(), Unauthentic);
        let other_role = Belongs { role: "SEQUENCER", ..OWNER };
        assert_eq!(envelope.open(&kek, other_role).unwrap_err(), Unauthentic);
        let other_version = Envelope { version: 2, ..envelope.clone() };
        assert_eq!(other_version.open(&kek, OWNER).unwrap_err(), Unauthentic);
    }

    #[test]
    fn no_byte_of_an_envelope_can_be_changed() {
        let kek = KeyEncryptionKey::from_bytes(&[7; 32]);
        let envelope = Envelope::seal((1, &kek), OWNER, &SecretKey::generate().unwrap()).unwrap();
        for at in 0..envelope.ciphertext.len() {
            let mut changed = envelope.clone();
            changed.ciphertext[at] ^= 1;
            assert_eq!(changed.open(&kek, OWNER).unwrap_err(), Unauthentic, "byte {at}");
        }
        for at in 0..envelope.wrapped_data_key.len() {
            let mut changed = envelope.clone();
            changed.wrapped_data_key[at] ^= 1;
            assert_eq!(changed.open(&kek, OWNER).unwrap_err(), Unauthentic, "byte {at}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let secret = SecretKey::from_slice(&[0xab; 32]).unwrap();
        let kek = KeyEncryptionKey::from_bytes(&[0xab; 32]);
        let printed = format!("{secret:?} {kek:?}").to_lowercase();
        assert!(!printed.contains("abab") && !printed.contains("171"), "{printed}");
    }

    #[test]
    fn a_rewrapped_envelope_opens_under_the_new_key_only_and_keeps_its_ciphertext() {
        let (old, new) = (KeyEncryptionKey::from_bytes(&[7; 32]), KeyEncryptionKey::from_bytes(&[8; 32]));
        let secret = SecretKey::generate().unwrap();
        let before = Envelope::seal((1, &old), OWNER, &secret).unwrap();
        let wrapped_data_key = before.rewrap(&old, OWNER, &new).unwrap();
        let after = Envelope { generation: 2, wrapped_data_key, ..before.clone() };
        assert_eq!(after.open(&new, OWNER).unwrap().expose(), secret.expose());
        assert_eq!(after.open(&old, OWNER).unwrap_err(), Unauthentic);
        let other = Belongs { key_id: "b", ..OWNER };
        assert!(matches!(before.rewrap(&old, other, &new), Err(Rewrap::Open(Unauthentic))));
    }
}
