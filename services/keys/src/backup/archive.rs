//! The document inside a backup: JSON, versioned, readable by `age -d` and eyes when all else is lost.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crypto::SecretKey;
use crate::db::key::{Key, Labels, Role};

/// Names the kind of document to whoever finds it.
pub const FORMAT: &str = "metis-sequencer-keys-backup";
/// The one version there is.
pub const VERSION: u32 = 1;

/// A backup.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub format: String,
    pub version: u32,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Policy in force, for reference.
    pub policy_version: i64,
    /// End of the audit log, for reference: a restored log must not end before it.
    pub audit_sequence: i64,
    pub audit_hash: String,
    pub keys: Vec<Entry>,
}

/// One key of a backup.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub labels: Labels,
    #[serde(with = "domain::address::text")]
    pub address: Address,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// 32 bytes, hex.
    pub secret: Hex,
}

/// Hex of a secret, wiped when dropped.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Hex(String);

/// A key of a backup whose secret was shown to derive its address.
#[derive(Debug)]
pub struct Proven {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub labels: Labels,
    pub secret: SecretKey,
}

/// Why a decrypted document is no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the document in the archive is no backup of version {VERSION}")]
    Document,
    #[error("the secret of key {0} is no secret of secp256k1")]
    Secret(String),
    #[error("the secret of key {key} derives {derived}, the archive says {stated}")]
    Address { key: String, stated: Address, derived: Address },
    #[error("key {0} stands twice")]
    Twice(String),
    #[error("the id or name of key {0} is not of the form that this service gives")]
    Name(String),
}

impl Entry {
    /// The entry of a key.
    pub fn of(key: &Key, secret: &SecretKey) -> Self {
        let Key { id, name, role, labels, address, created_at, .. } = key.clone();
        Self { id, name, role, labels, address, created_at, secret: Hex(hex::encode(secret.expose())) }
    }
}

impl Document {
    /// The bytes to encrypt.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(
            serde_json::to_vec_pretty(self).expect("a document of text and numbers always serialises"),
        )
    }
}

/// Reads a backup and derives every address again.
pub fn prove(bytes: &[u8]) -> Result<Vec<Proven>, Invalid> {
    let document: Document = serde_json::from_slice(bytes).map_err(|_| Invalid::Document)?;
    if document.format != FORMAT || document.version != VERSION {
        return Err(Invalid::Document);
    }
    let mut seen = BTreeSet::new();
    for Entry { id, name, address, .. } in &document.keys {
        let new = [id.clone(), format!("name {name}"), address.to_string()]
            .into_iter()
            .all(|what| seen.insert(what));
        if !new {
            return Err(Invalid::Twice(id.clone()));
        }
    }
    document.keys.into_iter().map(proven).collect()
}

fn proven(entry: Entry) -> Result<Proven, Invalid> {
    let Entry { id, name, role, labels, address: stated, created_at: _, secret } = entry;
    if uuid::Uuid::parse_str(&id).is_err() || api::convert::name("name", &name).is_err() {
        return Err(Invalid::Name(id));
    }
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(secret.0.as_bytes(), bytes.as_mut_slice())
        .map_err(|_| Invalid::Secret(id.clone()))?;
    let secret = SecretKey::from_slice(bytes.as_slice()).map_err(|_| Invalid::Secret(id.clone()))?;
    let derived = secret.address();
    if derived != stated {
        return Err(Invalid::Address { key: id, stated, derived });
    }
    Ok(Proven { id, name, role, labels, secret })
}
