//! Where a key-encryption key comes from, and what must be stored so that it can be had again.

use runtime::config::Secret;
use serde::{Deserialize, Serialize};

use super::{AgeConfig, Derivation, KeyEncryptionKey, TransitConfig};
use super::{age_identity, passphrase, plain, transit};
use crate::crypto::aead::NoRandomness;

/// What an operator configures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// 32 bytes as hex or base64.
    Key(Secret),
    /// A passphrase for Argon2id.
    Passphrase(Secret),
    /// An age identity.
    Age(AgeConfig),
    /// A transit engine.
    Transit(TransitConfig),
    /// A symmetric key of AWS KMS.
    AwsKms(AwsKmsConfig),
}

/// A symmetric key of AWS KMS; credentials that are not given come from where the AWS tools look for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsKmsConfig {
    /// Key id, ARN or `alias/...`.
    pub key: String,
    /// Region; without it, as the AWS tools find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Another endpoint than Amazon's, for example of a private network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Access key id, with `secret_access_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Secret access key, with `access_key_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
}

/// The key that is wanted, and the one before while keys are still under it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `keys.kek…`
    pub current: Option<Source>,
    /// `keys.kek_previous`
    pub previous: Option<Source>,
}

/// What is stored of a generation beside its check value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Nothing: the operator has the key itself.
    Key,
    /// How it is derived.
    Passphrase(Derivation),
    /// The key, encrypted to an age identity.
    Age(Vec<u8>),
    /// The key, encrypted by a transit engine.
    Transit(Vec<u8>),
    /// The key, encrypted by AWS KMS.
    AwsKms(Vec<u8>),
}

/// Why there is no key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("the key-encryption key cannot be read")]
    Unreadable(#[source] runtime::config::Error),
    #[error("the key-encryption key is not 32 bytes as hex or base64")]
    Malformed,
    #[error("the parameters of the passphrase derivation are out of range")]
    Derivation,
    #[error("the identity is not a line that begins with AGE-SECRET-KEY-1")]
    AgeIdentity,
    #[error("the key-encryption key cannot be encrypted to the age identity")]
    AgeWrap,
    #[error("asking the transit engine")]
    Transit(#[from] transit::Error),
    #[error("asking AWS KMS to {step}")]
    AwsKms {
        step: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[cfg(feature = "aws-kms")]
    #[error("the settings of AWS KMS")]
    AwsSettings(#[from] crate::aws::Unfit),
    #[error("this build has no support for AWS KMS: build it with the feature aws-kms")]
    NoAwsKms,
    #[error("what was stored of the key-encryption key was not made by this source")]
    Foreign,
    #[error("making a key-encryption key")]
    Randomness(#[from] NoRandomness),
}

impl Protection {
    /// The kind in the database.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Key => "KEY",
            Self::Passphrase(_) => "ARGON2ID",
            Self::Age(_) => "AGE",
            Self::Transit(_) => "TRANSIT",
            Self::AwsKms(_) => "AWS_KMS",
        }
    }
}

impl Source {
    /// A key for a new generation, and what is to be stored of it. The operator's own key and a
    /// passphrase are taken as they are; the other sources keep a random key.
    pub async fn make(&self) -> Result<(KeyEncryptionKey, Protection), Unusable> {
        match self {
            Self::Key(secret) => Ok((plain::read(secret)?, Protection::Key)),
            Self::Passphrase(secret) => {
                let derivation = Derivation::fresh()?;
                Ok((passphrase::derive(secret, &derivation).await?, Protection::Passphrase(derivation)))
            }
            Self::Age(config) => {
                let kek = KeyEncryptionKey::generate()?;
                let wrapped = age_identity::wrap(config, &kek)?;
                Ok((kek, Protection::Age(wrapped)))
            }
            Self::Transit(config) => {
                let kek = KeyEncryptionKey::generate()?;
                let wrapped = transit::wrap(config, &kek).await?;
                Ok((kek, Protection::Transit(wrapped)))
            }
            Self::AwsKms(config) => {
                let kek = KeyEncryptionKey::generate()?;
                let wrapped = aws_wrap(config, &kek).await?;
                Ok((kek, Protection::AwsKms(wrapped)))
            }
        }
    }

    /// The key of a generation; `None` if it was made by another kind of source. Whether it is the
    /// right one, the check value says.
    pub async fn open(&self, protection: &Protection) -> Option<Result<KeyEncryptionKey, Unusable>> {
        Some(match (self, protection) {
            (Self::Key(secret), Protection::Key) => plain::read(secret),
            (Self::Passphrase(secret), Protection::Passphrase(derivation)) => {
                passphrase::derive(secret, derivation).await
            }
            (Self::Age(config), Protection::Age(wrapped)) => age_identity::unwrap(config, wrapped),
            (Self::Transit(config), Protection::Transit(wrapped)) => transit::unwrap(config, wrapped).await,
            (Self::AwsKms(config), Protection::AwsKms(wrapped)) => aws_unwrap(config, wrapped).await,
            _ => return None,
        })
    }

    /// Whether another generation may come from this source as it is configured. The operator's own
    /// key is what it is.
    pub fn has_more(&self) -> bool {
        !matches!(self, Self::Key(_))
    }
}

#[cfg(feature = "aws-kms")]
use super::aws_kms::{unwrap as aws_unwrap, wrap as aws_wrap};

#[cfg(not(feature = "aws-kms"))]
async fn aws_wrap(_: &AwsKmsConfig, _: &KeyEncryptionKey) -> Result<Vec<u8>, Unusable> {
    Err(Unusable::NoAwsKms)
}

#[cfg(not(feature = "aws-kms"))]
async fn aws_unwrap(_: &AwsKmsConfig, _: &[u8]) -> Result<KeyEncryptionKey, Unusable> {
    Err(Unusable::NoAwsKms)
}
