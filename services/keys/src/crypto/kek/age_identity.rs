//! A random key-encryption key, stored encrypted to an age identity that the operator keeps.

use age::x25519::Identity;
use runtime::config::Secret;
use serde::{Deserialize, Serialize};

use super::{KeyEncryptionKey, Unusable};
use crate::backup::age_file;

/// Begins the line of an identity; files of `age-keygen` have comments around it.
const IDENTITY_START: &str = "AGE-SECRET-KEY-1";

/// Where the identity is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgeConfig {
    /// An X25519 identity ("AGE-SECRET-KEY-1..."), as `age-keygen` writes it.
    pub identity: Secret,
}

/// Encrypts the key to the identity's own recipient.
pub fn wrap(config: &AgeConfig, kek: &KeyEncryptionKey) -> Result<Vec<u8>, Unusable> {
    let recipient = identity(config)?.to_public();
    age_file::encrypt(&[recipient], kek.expose()).map_err(|_| Unusable::AgeWrap)
}

/// Decrypts what `wrap` made.
pub fn unwrap(config: &AgeConfig, wrapped: &[u8]) -> Result<KeyEncryptionKey, Unusable> {
    let plain = age_file::decrypt(&identity(config)?, wrapped).map_err(|_| Unusable::Foreign)?;
    KeyEncryptionKey::from_slice(&plain).ok_or(Unusable::Foreign)
}

fn identity(config: &AgeConfig) -> Result<Identity, Unusable> {
    let text = config.identity.expose().map_err(Unusable::Unreadable)?;
    let mut lines = text.lines().map(str::trim).filter(|line| line.starts_with(IDENTITY_START));
    lines.next().and_then(|line| line.parse().ok()).ok_or(Unusable::AgeIdentity)
}
