//! The document inside a backup: JSON, versioned, readable by `age -d` and eyes when all else is lost.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crypto::SecretKey;
use crate::db::key::{Key, Labels, Role, State};

/// Names the kind of document to whoever finds it.
pub const FORMAT: &str = "metis-sequencer-keys-backup";
/// The version that is written. Version 1 had no policies, no states of keys and no nonces, version 2 no frozen labels;
/// both are still read.
pub const VERSION: u32 = 3;
const VERSION_MIN: u32 = 1;
/// Text of policies in one archive: the version in force always, older ones while they fit.
pub const POLICIES_BYTES_MAX: usize = 128 * 1024;

/// A backup.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub format: String,
    pub version: u32,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Policy in force.
    pub policy_version: i64,
    /// Versions of the policy, oldest first.
    #[serde(default)]
    pub policies: Vec<Policy>,
    /// End of the audit log. A restored installation names it in its own log, and a log that is said to
    /// be the same must not end before it.
    pub audit_sequence: i64,
    pub audit_hash: String,
    /// The highest nonce for which anything was signed, by chain and account: below it, a new
    /// installation cannot know what it must not sign.
    #[serde(default)]
    pub nonces: Vec<Nonce>,
    /// Labels that were frozen, in the whole installation.
    #[serde(default)]
    pub frozen_labels: Vec<FrozenLabel>,
    pub keys: Vec<Entry>,
}

/// A label whose keys sign nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrozenLabel {
    pub name: String,
    pub value: String,
    pub reason: String,
    pub frozen_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub frozen_at: OffsetDateTime,
}

/// One version of the policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub version: i64,
    pub toml: String,
    pub set_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub set_at: OffsetDateTime,
}

/// The end of what was signed for an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nonce {
    pub chain_id: i64,
    #[serde(with = "domain::address::text")]
    pub account: Address,
    pub nonce: i64,
}

/// One key of a backup.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub labels: Labels,
    /// What was set for the key itself: what was frozen stays frozen. Up to version 2, FROZEN where a label was.
    #[serde(default)]
    pub state: State,
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
    pub state: State,
    pub secret: SecretKey,
}

/// A backup that was shown to be whole.
#[derive(Debug)]
pub struct Opened {
    pub keys: Vec<Proven>,
    pub created_at: OffsetDateTime,
    /// 0 where none are held.
    pub policy_version: i64,
    /// Oldest first; the last is the one that was in force.
    pub policies: Vec<Policy>,
    pub audit_sequence: i64,
    pub audit_hash: B256,
    /// By chain and account, the highest nonce that was signed.
    pub nonces: Vec<Nonce>,
    pub frozen_labels: Vec<FrozenLabel>,
}

/// Why a decrypted document is no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the document in the archive is no backup")]
    Document,
    #[error("the archive has version {0}, this service reads {VERSION_MIN} to {VERSION}")]
    Version(u64),
    #[error("policy {0} of the archive does not parse, or its versions are out of order")]
    Policy(i64),
    #[error("the end of the audit log in the archive is no hash")]
    Audit,
    #[error("the secret of key {0} is no secret of secp256k1")]
    Secret(String),
    #[error("the secret of key {key} derives {derived}, the archive says {stated}")]
    Address { key: String, stated: Address, derived: Address },
    #[error("key {0} stands twice")]
    Twice(String),
    #[error("the id or name of key {0} is not of the form that this service gives")]
    Name(String),
    #[error("the labels of key {0}, or those that were frozen, are not of the form that this service gives")]
    Label(String),
    #[error("the nonces signed for {0} make no sense, or stand twice")]
    Nonce(Address),
}

impl Entry {
    /// The entry of a key; `state` is what was set for the key itself.
    pub fn of(key: &Key, state: State, secret: &SecretKey) -> Self {
        let Key { id, name, role, labels, address, created_at, .. } = key.clone();
        let secret = Hex(hex::encode(secret.expose()));
        Self { id, name, role, labels, state, address, created_at, secret }
    }
}

impl Document {
    /// The bytes to encrypt.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        super::secret_json(self)
    }
}

/// Reads a backup, derives every address again and parses every policy.
pub fn prove(bytes: &[u8]) -> Result<Opened, Invalid> {
    // What a later version adds must not look like damage.
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: u64,
    }
    let Head { format, version } = serde_json::from_slice(bytes).map_err(|_| Invalid::Document)?;
    if format != FORMAT {
        return Err(Invalid::Document);
    }
    if !(u64::from(VERSION_MIN)..=u64::from(VERSION)).contains(&version) {
        return Err(Invalid::Version(version));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|_| Invalid::Document)?;
    are_unique(&document.keys)?;
    are_policies(&document.policies)?;
    are_nonces(&document.nonces)?;
    let Document { created_at, policies, audit_sequence, audit_hash, nonces, frozen_labels, keys, .. } =
        document;
    let texts = |label: &FrozenLabel| {
        [label.name.clone(), label.value.clone(), label.reason.clone(), label.frozen_by.clone()]
    };
    if let Some(label) = frozen_labels
        .iter()
        .find(|label| label.name.is_empty() || !texts(label).iter().all(|text| is_text(text)))
    {
        return Err(Invalid::Label(label.name.clone()));
    }
    Ok(Opened {
        keys: keys.into_iter().map(proven).collect::<Result<_, _>>()?,
        created_at,
        policy_version: policies.last().map_or(0, |policy| policy.version),
        policies,
        audit_sequence,
        audit_hash: audit_hash.parse().map_err(|_| Invalid::Audit)?,
        nonces,
        frozen_labels,
    })
}

/// The database stores no other text.
fn is_text(text: &str) -> bool {
    !text.contains('\0')
}

fn are_nonces(nonces: &[Nonce]) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for Nonce { chain_id, account, nonce } in nonces {
        // The floor above it must be a number as well.
        if *chain_id <= 0 || !(0..i64::MAX).contains(nonce) || !seen.insert((*chain_id, *account)) {
            return Err(Invalid::Nonce(*account));
        }
    }
    Ok(())
}

fn are_policies(policies: &[Policy]) -> Result<(), Invalid> {
    let mut before = 0;
    for Policy { version, toml, .. } in policies {
        if *version <= before || crate::policy::Policy::parse(toml).is_err() {
            return Err(Invalid::Policy(*version));
        }
        before = *version;
    }
    Ok(())
}

fn are_unique(keys: &[Entry]) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for Entry { id, name, address, .. } in keys {
        let new = [id.clone(), format!("name {name}"), address.to_string()]
            .into_iter()
            .all(|what| seen.insert(what));
        if !new {
            return Err(Invalid::Twice(id.clone()));
        }
    }
    Ok(())
}

fn proven(entry: Entry) -> Result<Proven, Invalid> {
    let Entry { id, name, role, labels, state, address: stated, created_at: _, secret } = entry;
    if uuid::Uuid::parse_str(&id).is_err() || api::convert::name("name", &name).is_err() {
        return Err(Invalid::Name(id));
    }
    if !labels.iter().all(|(label, value)| !label.is_empty() && is_text(label) && is_text(value)) {
        return Err(Invalid::Label(id));
    }
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(secret.0.as_bytes(), bytes.as_mut_slice())
        .map_err(|_| Invalid::Secret(id.clone()))?;
    let secret = SecretKey::from_slice(bytes.as_slice()).map_err(|_| Invalid::Secret(id.clone()))?;
    let derived = secret.address();
    if derived != stated {
        return Err(Invalid::Address { key: id, stated, derived });
    }
    Ok(Proven { id, name, role, labels, state, secret })
}
