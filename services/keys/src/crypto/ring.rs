//! The key-encryption keys that this process holds, by generation: one in the quiet, two while keys
//! are wrapped anew, so that no signature has to wait for a rotation.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::KeyEncryptionKey;
use super::kek::{Sources, Unusable};
use crate::db::kek::Row;

/// See the module.
#[derive(Debug)]
pub struct Ring {
    sources: Sources,
    keys: RwLock<BTreeMap<i32, Arc<KeyEncryptionKey>>>,
}

/// Why a generation cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// None of the configured sources can have made it.
    #[error("the key-encryption key of generation {generation} ({kind}) is not configured")]
    Kind { generation: i32, kind: &'static str },
    /// A source gave a key, and it is another one.
    #[error(
        "the key-encryption key is not the one this installation was made with (generation {generation}, {kind})"
    )]
    Wrong { generation: i32, kind: &'static str },
    /// A source gave nothing.
    #[error("the key-encryption key of generation {generation} ({kind}) cannot be had")]
    Unusable {
        generation: i32,
        kind: &'static str,
        #[source]
        source: Unusable,
    },
}

impl Ring {
    /// Without any key yet.
    pub fn new(sources: Sources) -> Self {
        Self { sources, keys: RwLock::default() }
    }

    /// What the operator configured.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The key of a generation.
    pub fn of(&self, generation: i32) -> Option<Arc<KeyEncryptionKey>> {
        self.read().get(&generation).cloned()
    }

    /// The newest generation and its key, under which new secrets are stored.
    pub fn newest(&self) -> Option<(i32, Arc<KeyEncryptionKey>)> {
        self.read().last_key_value().map(|(generation, key)| (*generation, Arc::clone(key)))
    }

    /// All of them, the newest first.
    pub fn all(&self) -> Vec<Arc<KeyEncryptionKey>> {
        self.read().values().rev().cloned().collect()
    }

    /// Takes a key in that was just made.
    pub fn add(&self, generation: i32, key: KeyEncryptionKey) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(generation, Arc::new(key));
    }

    /// Makes sure that the key of this generation is here. The sources are read anew, so a file that
    /// was replaced is seen.
    pub async fn learn(&self, row: &Row) -> Result<(), Missing> {
        let (generation, kind) = (row.generation, row.protection.kind());
        if self.of(generation).is_some() {
            return Ok(());
        }
        let mut missing = Missing::Kind { generation, kind };
        for source in [&self.sources.current, &self.sources.previous].into_iter().flatten() {
            match source.open(&row.protection).await {
                None => {}
                Some(Ok(key)) if key.made(&row.check_value) => {
                    self.add(generation, key);
                    return Ok(());
                }
                Some(Ok(_) | Err(Unusable::Foreign)) => missing = Missing::Wrong { generation, kind },
                // That a source could not be asked says more than that the other had another key.
                Some(Err(source)) => return Err(Missing::Unusable { generation, kind, source }),
            }
        }
        Err(missing)
    }

    /// Whether the wanted source, as it reads now, is the one of this generation.
    pub async fn is_current(&self, row: &Row) -> Result<bool, Unusable> {
        let Some(current) = &self.sources.current else { return Ok(false) };
        match current.open(&row.protection).await {
            None | Some(Err(Unusable::Foreign)) => Ok(false),
            Some(Ok(key)) => Ok(key.made(&row.check_value)),
            Some(Err(unusable)) => Err(unusable),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<i32, Arc<KeyEncryptionKey>>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}
