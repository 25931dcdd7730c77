//! How one record follows from the one before.

use sha2::{Digest, Sha256};

/// The end of a chain: the number of its last record and the hash of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the last record, 0 for an empty log.
    pub sequence: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Head {
    /// The head of an empty log.
    pub const START: Self = Self { sequence: 0, hash: [0; 32] };

    /// The head after a record with this body.
    #[must_use]
    pub fn after(&self, body: &[u8]) -> Self {
        Self { sequence: self.sequence + 1, hash: link(&self.hash, body) }
    }
}

/// The hash of a record: SHA-256 over the hash before and the bytes of the body.
pub fn link(previous: &[u8; 32], body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(previous).chain_update(body).finalize().into()
}
