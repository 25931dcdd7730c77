//! An opened installation: the database, the key-encryption key, and what is kept in memory of both.
//!
//! Cached keys are used for what never changes (role, labels, address, envelope); state is read by
//! the database in each decision. The cached policy carries its version, which the decision checks.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use alloy_primitives::Address;
use api::reasons::KEY_NOT_FOUND;
use runtime::errors::Refusal;
use sea_orm::{ConnectionTrait, DatabaseConnection};

use crate::crypto::{KeyEncryptionKey, SecretKey};
use crate::db;
use crate::db::key::Key;
use crate::error::{Declined, Failure};
use crate::metrics::Metrics;
use crate::policy::{Call, Policy};

/// About 10 MB; beyond that the cache starts again.
const CACHED_MAX: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct Keyring {
    pub db: DatabaseConnection,
    pub kek: KeyEncryptionKey,
    pub metrics: Metrics,
    policy: RwLock<Arc<InForce>>,
    keys: RwLock<HashMap<String, Arc<Key>>>,
    /// Keys that calls have named as signers.
    signers: RwLock<HashMap<Address, Arc<Key>>>,
}

/// A policy with its version.
#[derive(Debug)]
pub struct InForce {
    pub version: i64,
    pub policy: Policy,
}

impl Keyring {
    /// Opens the installation with the policy that is stored.
    pub async fn open(db: DatabaseConnection, kek: KeyEncryptionKey) -> Result<Self, Failure> {
        let policy = RwLock::new(Arc::new(in_force(&db).await?));
        Ok(Self {
            db,
            kek,
            metrics: Metrics::new(),
            policy,
            keys: RwLock::default(),
            signers: RwLock::default(),
        })
    }

    /// The policy as last read.
    pub fn policy(&self) -> Arc<InForce> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the policy again.
    pub async fn reload_policy(&self) -> Result<(), Failure> {
        let fresh = Arc::new(in_force(&self.db).await?);
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// A key by id, from memory if possible.
    pub async fn key(&self, id: &str) -> Result<Arc<Key>, Declined> {
        let cached = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(key) = cached {
            return Ok(key);
        }
        let key = Arc::new(db::key::of_id(&self.db, id).await?.ok_or_else(|| not_found("id"))?);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= CACHED_MAX {
            keys.clear();
        }
        keys.insert(id.to_owned(), Arc::clone(&key));
        Ok(key)
    }

    /// The key of this installation whose public key a call names, if the policy asks for it. A key that comes later
    /// is found then: only those that are there are kept in memory.
    pub async fn signer_key(&self, policy: &Policy, call: &Call) -> Result<Option<Arc<Key>>, Failure> {
        let Some(address) = call.signer().filter(|_| policy.asks_signer_keys()) else { return Ok(None) };
        let cached = self.signers.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
        if cached.is_some() {
            return Ok(cached);
        }
        let Some(key) = db::key::of_address(&self.db, address).await?.map(Arc::new) else { return Ok(None) };
        let mut signers = self.signers.write().unwrap_or_else(PoisonError::into_inner);
        if signers.len() >= CACHED_MAX {
            signers.clear();
        }
        signers.insert(address, Arc::clone(&key));
        Ok(Some(key))
    }

    /// The secret of a key, for one use.
    pub fn secret_of(&self, key: &Key) -> Result<SecretKey, Failure> {
        key.envelope
            .open(&self.kek, key.belongs())
            .map_err(|source| Failure::Envelope { key_id: key.id.clone(), source })
    }
}

/// No key fits this field.
pub fn not_found(field: &str) -> Refusal {
    Refusal::new(&KEY_NOT_FOUND, "there is no such key").field(field, "no key has this value")
}

/// The policy that is stored.
pub async fn in_force<C: ConnectionTrait>(db: &C) -> Result<InForce, Failure> {
    parsed(&db::policy::in_force(db).await?.ok_or(Failure::PolicyMissing)?)
}

/// A stored policy. Documents of earlier formats still parse.
pub fn parsed(row: &db::policy::Row) -> Result<InForce, Failure> {
    let policy = Policy::parse(&row.toml).map_err(|invalid| Failure::PolicyUnreadable {
        version: row.version,
        problem: invalid.to_string(),
    })?;
    Ok(InForce { version: row.version, policy })
}
