//! The section `[keys]` of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use runtime::config::Secret;
use serde::{Deserialize, Serialize};

use crate::backend;
use crate::crypto::kek::{AgeConfig, AwsKmsConfig, Source, Sources, TransitConfig};

/// Settings of the keys service.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The key-encryption key: 32 bytes as hex or base64. Without this or one of the next four the service is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek: Option<Secret>,
    /// A passphrase that the key-encryption key is derived from (Argon2id).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek_passphrase: Option<Secret>,
    /// An age identity to which a random key-encryption key is stored encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek_age: Option<AgeConfig>,
    /// A transit engine (Vault, OpenBao) by which it is stored encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek_transit: Option<TransitConfig>,
    /// A key of AWS KMS by which it is stored encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek_aws_kms: Option<AwsKmsConfig>,
    /// What was configured above before a rotation, until no key is left under it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek_previous: Option<Previous>,
    /// Who may make secrets leave, even encrypted.
    pub rights: Rights,
    /// The policy that an installation begins with.
    pub policy_preset: Preset,
    /// How the end of the audit log is signed and brought outside.
    pub audit: Audit,
    /// Where keys other than local ones live, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub backends: BTreeMap<String, backend::Settings>,
}

/// The key-encryption key before a rotation: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Previous {
    /// As `keys.kek`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// As `keys.kek_passphrase`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
    /// As `keys.kek_age`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<AgeConfig>,
    /// As `keys.kek_transit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transit: Option<TransitConfig>,
    /// As `keys.kek_aws_kms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_kms: Option<AwsKmsConfig>,
}

/// Rights beyond those of the method table, by identity (`operator:alice`). Nobody has one unless named here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rights {
    /// May have the files of a node made (`ExportNodeKey`).
    pub export_node_key: Vec<String>,
    /// May have a key written as keystore v3 (`ExportKeystore`).
    pub export_keystore: Vec<String>,
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

/// More than one kind of key-encryption key is configured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("set one of {0}, not several")]
pub struct Ambiguous(&'static str);

impl Config {
    /// Where the key-encryption keys come from.
    pub fn sources(&self) -> Result<Sources, Ambiguous> {
        let Self { kek, kek_passphrase, kek_age, kek_transit, kek_aws_kms, kek_previous, .. } = self.clone();
        let current = Previous {
            key: kek,
            passphrase: kek_passphrase,
            age: kek_age,
            transit: kek_transit,
            aws_kms: kek_aws_kms,
        };
        let current = current
            .source("keys.kek, keys.kek_passphrase, keys.kek_age, keys.kek_transit and keys.kek_aws_kms")?;
        let previous = kek_previous.unwrap_or_default().source("the keys in keys.kek_previous")?;
        Ok(Sources { current, previous })
    }
}

impl Previous {
    fn source(self, names: &'static str) -> Result<Option<Source>, Ambiguous> {
        let Self { key, passphrase, age, transit, aws_kms } = self;
        let mut given = [
            key.map(Source::Key),
            passphrase.map(Source::Passphrase),
            age.map(Source::Age),
            transit.map(Source::Transit),
            aws_kms.map(Source::AwsKms),
        ]
        .into_iter()
        .flatten();
        match (given.next(), given.next()) {
            (source, None) => Ok(source),
            (_, Some(_)) => Err(Ambiguous(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_kind_of_key_encryption_key_is_taken() {
        let key = Some(Secret::file("/a"));
        let one = Config { kek: key.clone(), ..Config::default() };
        assert_eq!(one.sources().unwrap().current, Some(Source::Key(Secret::file("/a"))));
        assert_eq!(one.sources().unwrap().previous, None);
        let two = Config { kek_passphrase: Some(Secret::file("/b")), ..one.clone() };
        assert!(two.sources().is_err());
        let previous = Previous { key: key.clone(), passphrase: key, ..Previous::default() };
        assert!(Config { kek_previous: Some(previous), ..one }.sources().is_err());
        assert_eq!(Config::default().sources().unwrap().current, None);
    }
}
