//! An opened installation: the database, the key-encryption keys, and what is kept in memory of both.
//!
//! Cached keys are used for what never changes (role, labels, address, envelope); state is read by
//! the database in each decision. The cached policy carries its version, which the decision checks.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use alloy_primitives::{Address, Signature};
use api::reasons::{KEY_NOT_EXPORTABLE, KEY_NOT_FOUND, SEALED};
use runtime::errors::Refusal;
use sea_orm::{ConnectionTrait, DatabaseConnection};

use crate::backend::{self, Backend, Backends, Payload, proof};
use crate::config::Rights;
use crate::crypto::ring::Missing;
use crate::crypto::{KeyEncryptionKey, Ring, SecretKey};
use crate::db;
use crate::db::key::Key;
use crate::decisions::Decisions;
use crate::error::{Declined, Failure};
use crate::metrics::Metrics;
use crate::policy::{Call, Policy};

/// About 10 MB; beyond that the cache starts again.
const CACHED_MAX: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct Keyring {
    pub db: DatabaseConnection,
    pub ring: Arc<Ring>,
    pub rights: Rights,
    pub backends: Backends,
    pub metrics: Metrics,
    pub decisions: Decisions,
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
    pub async fn open(
        db: DatabaseConnection,
        ring: Arc<Ring>,
        backends: Backends,
        rights: Rights,
        metrics: Metrics,
    ) -> Result<Self, Failure> {
        let policy = RwLock::new(Arc::new(in_force(&db).await?));
        let decisions = Decisions::start(db.clone(), metrics.clone());
        Ok(Self {
            db,
            ring,
            rights,
            backends,
            metrics,
            decisions,
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
        let key = Arc::new(db::key::of_id(&self.db, id).await?.ok_or_else(|| not_found("key_id"))?);
        if key.place.envelope().is_some_and(|envelope| self.ring.of(envelope.generation).is_none()) {
            // Somebody else has begun a rotation since we last looked.
            self.learn().await?.map_err(|missing| sealed(&runtime::report(&missing)))?;
        }
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

    /// Signs what was decided, wherever the secret is, and proves the signature. The same payload gets the same
    /// signature again: local keys sign so, and of the others the first signature is kept.
    pub async fn sign(&self, key: &Key, payload: &Payload) -> Result<Signature, Failure> {
        let remote = key.place.reference().is_some();
        let failed = |source| no_signature(key, source);
        let proven = |numbers| {
            proof::signature(numbers, payload.digest(), key.address)
                .map_err(|unusable| failed(unusable.into()))
        };
        if remote && let Some(kept) = db::signature::of(&self.db, &key.id, payload.digest()).await? {
            return proven(kept);
        }
        let numbers = self.backend_of(key)?.sign(key, payload).await.map_err(failed)?;
        let signature = proven(numbers)?;
        if !remote {
            return Ok(signature);
        }
        proven(db::signature::keep(&self.db, &key.id, payload.digest(), numbers).await?)
    }

    /// Lets the backend of a key sign a fresh challenge: the proof that it holds the key now.
    pub async fn prove(&self, key: &Key) -> Result<(), Failure> {
        let challenge = Payload::challenge();
        let failed = |source| no_signature(key, source);
        let numbers = self.backend_of(key)?.sign(key, &challenge).await.map_err(failed)?;
        proof::signature(numbers, challenge.digest(), key.address)
            .map_err(|unusable| failed(unusable.into()))?;
        Ok(())
    }

    /// The secret of a key, for one export.
    pub fn secret_of(&self, key: &Key) -> Result<SecretKey, Declined> {
        let envelope = key.place.envelope().ok_or_else(|| not_exportable(key))?;
        let generation = envelope.generation;
        let kek = self.ring.of(generation).ok_or(Failure::GenerationMissing { generation })?;
        let opened = envelope.open(&kek, key.belongs());
        Ok(opened.map_err(|source| Failure::Envelope { key_id: key.id.clone(), source })?)
    }

    /// The generation and key under which a new secret is stored.
    pub fn newest_kek(&self) -> Result<(i32, Arc<KeyEncryptionKey>), Failure> {
        self.ring.newest().ok_or(Failure::KekRowMissing)
    }

    /// Takes in the key-encryption keys that came since the last look, for example of a rotation that
    /// another replica does. Where one cannot be had, keys that need it are sealed here.
    pub async fn learn(&self) -> Result<Result<(), Missing>, Failure> {
        for row in db::kek::needed(&self.db).await? {
            if let Err(missing) = self.ring.learn(&row).await {
                return Ok(Err(missing));
            }
        }
        Ok(Ok(()))
    }

    fn backend_of(&self, key: &Key) -> Result<&Arc<dyn Backend>, Failure> {
        let name = key.place.backend();
        self.backends.named(name).ok_or_else(|| Failure::BackendMissing { backend: name.to_owned() })
    }
}

/// What a backend says of a key, as the failure of its use.
fn no_signature(key: &Key, source: backend::Error) -> Failure {
    match source {
        backend::Error::Generation(generation) => Failure::GenerationMissing { generation },
        source => Failure::Backend { key_id: key.id.clone(), source },
    }
}

/// The secret is where it cannot be read.
fn not_exportable(key: &Key) -> Refusal {
    let backend = key.place.backend();
    Refusal::new(
        &KEY_NOT_EXPORTABLE,
        format!("the secret of {} cannot leave the backend {backend}", key.name),
    )
    .meta("key_id", &key.id)
    .meta("backend", backend)
}

/// Keys cannot be used, for this reason.
pub fn sealed(reason: &str) -> Refusal {
    Refusal::new(&SEALED, format!("sealed: {reason}"))
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
