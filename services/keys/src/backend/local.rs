//! Secrets in our own database, as envelopes under the key-encryption key.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Backend, Error, Held, LOCAL, Numbers, Payload, Place, Unusable, Wanted};
use crate::crypto::envelope::Belongs;
use crate::crypto::{Envelope, KeyEncryptionKey, SecretKey};
use crate::db::key::Key;

/// See the module.
#[derive(Debug)]
pub struct Local {
    kek: Arc<KeyEncryptionKey>,
}

impl Local {
    /// Opens and seals with this key.
    pub fn new(kek: Arc<KeyEncryptionKey>) -> Self {
        Self { kek }
    }
}

#[async_trait]
impl Backend for Local {
    fn kind(&self) -> &'static str {
        LOCAL
    }

    async fn generate(&self, wanted: &Wanted<'_>) -> Result<Held, Error> {
        let secret = SecretKey::generate()?;
        let belongs = Belongs { key_id: wanted.key_id, role: wanted.role.as_str() };
        let envelope = Envelope::seal(&self.kek, belongs, &secret)?;
        // What cannot be opened again must not be stored.
        let public_key = envelope.open(&self.kek, belongs)?.public();
        Ok(Held { public_key, place: Place::Local(envelope) })
    }

    async fn find(&self, _reference: &str) -> Result<Held, Error> {
        Err(Error::Unsupported { kind: LOCAL, what: "find a key by reference: import it" })
    }

    async fn sign(&self, key: &Key, payload: &Payload) -> Result<Numbers, Error> {
        let elsewhere = Error::Unsupported { kind: LOCAL, what: "sign with a key of another backend" };
        let envelope = key.place.envelope().ok_or(elsewhere)?;
        let secret = envelope.open(&self.kek, key.belongs())?;
        Ok(secret.sign_unproven(payload.digest()).map_err(|_| Unusable::Unfaithful(key.address))?)
    }

    async fn health(&self) -> Result<(), Error> {
        Ok(())
    }
}
