//! Secrets in our own database, as envelopes under the key-encryption key.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Backend, Error, Held, LOCAL, Numbers, Payload, Place, Unusable, Wanted};
use crate::crypto::envelope::Belongs;
use crate::crypto::seal::FIRST;
use crate::crypto::{Envelope, Ring, SecretKey};
use crate::db::key::Key;

/// See the module.
#[derive(Debug)]
pub struct Local {
    ring: Arc<Ring>,
}

impl Local {
    /// Opens with these key-encryption keys, and seals with the newest of them.
    pub fn new(ring: Arc<Ring>) -> Self {
        Self { ring }
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
        let (generation, kek) = self.ring.newest().ok_or(Error::Generation(FIRST))?;
        let envelope = Envelope::seal((generation, &kek), belongs, &secret)?;
        // What cannot be opened again must not be stored.
        let public_key = envelope.open(&kek, belongs)?.public();
        Ok(Held { public_key, place: Place::Local(envelope) })
    }

    async fn find(&self, _reference: &str) -> Result<Held, Error> {
        Err(Error::Unsupported { kind: LOCAL, what: "find a key by reference: import it" })
    }

    async fn sign(&self, key: &Key, payload: &Payload) -> Result<Numbers, Error> {
        let elsewhere = Error::Unsupported { kind: LOCAL, what: "sign with a key of another backend" };
        let envelope = key.place.envelope().ok_or(elsewhere)?;
        let generation = envelope.generation;
        let kek = self.ring.of(generation).ok_or(Error::Generation(generation))?;
        let secret = envelope.open(&kek, key.belongs())?;
        Ok(secret.sign_unproven(payload.digest()).map_err(|_| Unusable::Unfaithful(key.address))?)
    }

    async fn health(&self) -> Result<(), Error> {
        Ok(())
    }
}
