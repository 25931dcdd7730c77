//! An opened installation: the database, the key-encryption key, and what is kept in memory of both.
//!
//! Cached keys are used for what never changes (role, labels, address, envelope); state is read by
//! the database in each decision. The cached policy carries its version, which the decision checks.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use api::reasons::KEY_NOT_FOUND;
use runtime::errors::Refusal;
use sea_orm::{ConnectionTrait, DatabaseConnection};

use crate::crypto::{KeyEncryptionKey, SecretKey};
use crate::db;
use crate::db::key::Key;
use crate::error::{Declined, Failure};
use crate::floors::Floors;
use crate::metrics::Metrics;
use crate::policy::Policy;

/// About 10 MB; beyond that the cache starts again.
const CACHED_MAX: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct Keyring {
    pub db: DatabaseConnection,
    pub kek: KeyEncryptionKey,
    pub metrics: Metrics,
    /// Whether the conflict guard can be believed.
    pub floors: Floors,
    policy: RwLock<Arc<InForce>>,
    keys: RwLock<HashMap<String, Arc<Key>>>,
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
        let floors = Floors::load(&db).await?;
        Ok(Self { db, kek, metrics: Metrics::new(), floors, policy, keys: RwLock::default() })
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
        let key = Arc::new(db::key::of_id(&self.db, id).await?.ok_or_else(|| not_found("key_id"))?);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= CACHED_MAX {
            keys.clear();
        }
        keys.insert(id.to_owned(), Arc::clone(&key));
        Ok(key)
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

async fn in_force<C: ConnectionTrait>(db: &C) -> Result<InForce, Failure> {
    let row = db::policy::in_force(db).await?.ok_or(Failure::PolicyMissing)?;
    let policy = Policy::parse(&row.toml).map_err(|invalid| Failure::PolicyUnreadable {
        version: row.version,
        problem: invalid.to_string(),
    })?;
    Ok(InForce { version: row.version, policy })
}
