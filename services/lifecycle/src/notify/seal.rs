//! Secrets of webhooks at rest: XChaCha20-Poly1305 under a key of the configuration, bound to their webhook and
//! generation, so that a dump of the database carries none that can be used, and none can be moved to another row.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use runtime::config::Secret as Reference;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::signature::Secret;
use crate::config::Webhooks;

/// Random nonces of this length never meet twice.
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;

/// Why a configured key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyUnusable {
    #[error("reading the secret")]
    Unreadable(#[source] runtime::config::Error),
    #[error("the key is not 64 hex digits")]
    Malformed,
}

/// No configured key opens a stored secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret cannot be opened with lifecycle.webhooks.secret_key")]
pub struct Unopened;

/// Seals under the first key; opens with any.
pub struct Sealer {
    keys: Vec<XChaCha20Poly1305>,
}

impl Sealer {
    /// With the keys of the configuration; none if there is none.
    pub fn open(config: &Webhooks) -> Result<Option<Self>, KeyUnusable> {
        let Some(newest) = &config.secret_key else { return Ok(None) };
        let all = std::iter::once(newest).chain(&config.secret_key_previous);
        let keys = all.map(cipher).collect::<Result<_, _>>()?;
        Ok(Some(Self { keys }))
    }

    /// The secret as it is kept: nonce and ciphertext.
    pub fn seal(&self, secret: &Secret, webhook: Uuid, generation: i32) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let context = context(webhook, generation);
        let payload = Payload { msg: secret.bytes(), aad: &context };
        let newest = self.keys.first().expect("a sealer has the key that it was opened with");
        let sealed = newest
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("a secret is far below the limit of the cipher");
        [nonce.as_slice(), &sealed].concat()
    }

    /// The secret that was sealed for this webhook and generation.
    pub fn unseal(&self, kept: &[u8], webhook: Uuid, generation: i32) -> Result<Secret, Unopened> {
        let (nonce, sealed) = kept.split_at_checked(NONCE_BYTES).ok_or(Unopened)?;
        let context = context(webhook, generation);
        self.keys
            .iter()
            .find_map(|key| {
                key.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: &context }).ok()
            })
            .map(Secret::of)
            .ok_or(Unopened)
    }
}

fn cipher(reference: &Reference) -> Result<XChaCha20Poly1305, KeyUnusable> {
    let text = reference.expose().map_err(KeyUnusable::Unreadable)?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(text.trim(), key.as_mut_slice()).map_err(|_| KeyUnusable::Malformed)?;
    XChaCha20Poly1305::new_from_slice(key.as_slice()).map_err(|_| KeyUnusable::Malformed)
}

fn context(webhook: Uuid, generation: i32) -> Vec<u8> {
    [b"lifecycle/webhook_secret/1/".as_slice(), webhook.as_bytes(), &generation.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(newest: &str, previous: &[&str]) -> Sealer {
        let key = |text: &str| Reference::new(text.to_owned());
        let config = Webhooks {
            secret_key: Some(key(newest)),
            secret_key_previous: previous.iter().map(|text| key(text)).collect(),
            ..Webhooks::default()
        };
        Sealer::open(&config).expect("usable keys").expect("there is one")
    }

    #[test]
    fn a_sealed_secret_opens_only_where_it_was_put_and_only_with_its_key() {
        let (one, two) = ("11".repeat(32), "22".repeat(32));
        let (secret, webhook) = (Secret::random(), Uuid::now_v7());
        let first = sealer(&one, &[]);
        let kept = first.seal(&secret, webhook, 1);
        assert_eq!(first.unseal(&kept, webhook, 1).map(|open| open.shown()), Ok(secret.shown()));
        let rotated = sealer(&two, &[&one]);
        assert_eq!(rotated.unseal(&kept, webhook, 1).map(|open| open.shown()), Ok(secret.shown()));
        for refused in [
            sealer(&two, &[]).unseal(&kept, webhook, 1),
            first.unseal(&kept, webhook, 2),
            first.unseal(&kept, Uuid::now_v7(), 1),
            first.unseal(&kept[..10], webhook, 1),
        ] {
            assert_eq!(refused.map(|open| open.shown()), Err(Unopened));
        }
        assert_ne!(kept, first.seal(&secret, webhook, 1), "nonces are fresh");
    }

    #[test]
    fn a_key_that_is_no_key_is_refused_at_start() {
        let config = Webhooks { secret_key: Some(Reference::new("short".to_owned())), ..Webhooks::default() };
        assert!(matches!(Sealer::open(&config), Err(KeyUnusable::Malformed)));
        assert!(matches!(Sealer::open(&Webhooks::default()), Ok(None)));
    }
}
