//! The section `[keys]` of the configuration.

use std::path::PathBuf;

use runtime::config::Secret;
use serde::{Deserialize, Serialize};

use crate::crypto::kek::Source;

/// Settings of the keys service.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The key-encryption key: 32 bytes as hex or base64. Without this or a passphrase the service is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek: Option<Secret>,
    /// A passphrase that the key-encryption key is derived from (Argon2id), instead of `kek`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek_passphrase: Option<Secret>,
    /// The policy that an installation begins with.
    pub policy_preset: Preset,
    /// How the end of the audit log is signed and brought outside.
    pub audit: Audit,
}

/// Settings of published heads. Without file and webhook they are signed all the same, and `seqctl audit head` gives
/// the last one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// File that heads are appended to, one for each replica; at start the database is compared with its last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_file: Option<PathBuf>,
    /// URL that heads are posted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Secret>,
    /// Records after which a head is signed.
    pub every_records: u64,
    /// Seconds after which a head is signed if there are new records.
    pub every_secs: u64,
}

impl Default for Audit {
    /// What a restored database may have forgotten unnoticed is bounded by these; a signature costs 50 µs.
    fn default() -> Self {
        Self { head_file: None, webhook: None, every_records: 1_000, every_secs: 60 }
    }
}

/// A shipped policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// What the nine operations need on the configured networks; kept in step with them until an
    /// operator sets a policy.
    #[default]
    Metis,
    /// Nothing is allowed until an operator sets a policy.
    None,
}

/// Both kinds of key-encryption key are configured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("set keys.kek or keys.kek_passphrase, not both")]
pub struct Ambiguous;

impl Config {
    /// Where the key-encryption key comes from.
    pub fn source(&self) -> Result<Option<Source>, Ambiguous> {
        match (self.kek.clone(), self.kek_passphrase.clone()) {
            (Some(_), Some(_)) => Err(Ambiguous),
            (Some(key), None) => Ok(Some(Source::Key(key))),
            (None, Some(passphrase)) => Ok(Some(Source::Passphrase(passphrase))),
            (None, None) => Ok(None),
        }
    }
}
