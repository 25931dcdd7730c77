//! Where secrets live and who signs with them: one trait, a module for each kind.
//!
//! A backend only makes the two numbers of a signature. What they are worth is found out in one place
//! for all of them (`proof`): low s, the right parity, and the address of the key. Whether something may be signed
//! was decided before (`policy`, `db::decision`); that the same payload gets the same signature again is kept by
//! `keyring`.

#[cfg(feature = "aws-kms")]
pub mod aws_kms;
#[cfg(feature = "gcp-kms")]
pub mod crc32c;
pub mod der;
#[cfg(feature = "gcp-kms")]
pub mod gcp_kms;
mod guard;
#[cfg(any(feature = "gcp-kms", feature = "web3signer"))]
mod http;
mod local;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub mod proof;
mod registry;
pub mod settings;
#[cfg(feature = "web3signer")]
pub mod web3signer;

use std::fmt;
use std::time::Duration;

use alloy_consensus::TxEip1559;
use alloy_consensus::transaction::SignableTransaction;
use alloy_primitives::{Address, B256, keccak256};
use async_trait::async_trait;
use domain::pubkey::PublicKey;

pub use guard::Guarded;
pub use local::Local;
pub use proof::Numbers;
pub use registry::{Backends, OpenError};
pub use settings::Settings;

use crate::crypto::Envelope;
use crate::crypto::aead::{NoRandomness, Unauthentic};
use crate::db::key::{Key, Role};

/// The name of the backend that is always there; no other may have it.
pub const LOCAL: &str = "local";
/// The longest reference: an ARN or a resource name of Google has at most half of it.
pub const REFERENCE_BYTES_MAX: usize = 1024;

/// What is to be signed. A remote signer hashes for itself, so it gets the bytes and not the digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    preimage: Vec<u8>,
    digest: B256,
}

/// Where the secret of a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Here, encrypted.
    Local(Envelope),
    /// In the backend of this name, under the name that the backend has for it: an ARN, a PKCS#11 id, a
    /// resource name, an identifier of Web3Signer.
    Remote { backend: String, reference: String },
}

/// A key that a backend is to make.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Id of the key; also goes into the labels of the backend, so that an operator finds it there.
    pub key_id: &'a str,
    /// Name of the key, for people.
    pub name: &'a str,
    pub role: Role,
}

/// A key that a backend has.
#[derive(Debug, Clone)]
pub struct Held {
    pub public_key: PublicKey,
    pub place: Place,
}

/// Makes keys and signs with them. Calling `sign` twice is harmless: it is the same digest.
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug {
    /// What kind it is, as in the configuration.
    fn kind(&self) -> &'static str;

    /// Makes a new key, whose secret never leaves the backend in the clear.
    async fn generate(&self, wanted: &Wanted<'_>) -> Result<Held, Error>;

    /// A key that the backend has already.
    async fn find(&self, reference: &str) -> Result<Held, Error>;

    /// Signs. The answer is not proven yet: see `proof::signature`.
    async fn sign(&self, key: &Key, payload: &Payload) -> Result<Numbers, Error>;

    /// Whether the backend could sign now.
    async fn health(&self) -> Result<(), Error>;
}

/// What lies below an error of a backend. Never holds a secret: requests carry none.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a backend gave no answer, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the backend cannot be reached")]
    Away(#[source] Source),
    #[error("the backend did not answer within {0:?}")]
    Slow(Duration),
    #[error("the backend asks for fewer requests")]
    Throttled(#[source] Source),
    #[error("too many requests wait for the backend")]
    Busy,
    #[error("the backend has no key {0:?}")]
    UnknownKey(String),
    #[error("the backend refuses")]
    Refused(#[source] Source),
    #[error("a {kind} backend cannot {what}")]
    Unsupported { kind: &'static str, what: &'static str },
    #[error("the answer of the backend cannot be used")]
    Unusable(#[source] Unusable),
    #[error("opening the envelope")]
    Envelope(#[from] Unauthentic),
    #[error("the key-encryption key of generation {0} is not here")]
    Generation(i32),
    #[error("making a secret")]
    Randomness(#[from] NoRandomness),
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it is no DER signature of secp256k1")]
    Signature,
    #[error("it is no public key of secp256k1")]
    PublicKey,
    #[error("it does not recover to {0}")]
    Unfaithful(Address),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it is about key {0:?}")]
    OtherKey(String),
    #[error("it is longer than {0} bytes")]
    Long(usize),
    #[error("{0} is missing or malformed")]
    Field(&'static str),
    #[error("the key can leave the backend")]
    Extractable,
}

impl Error {
    /// Whether asking again later can help without anyone doing something.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Slow(_) | Self::Throttled(_) | Self::Busy)
    }

    /// For `map_err`: it cannot be reached, because of this.
    pub fn away(source: impl Into<Source>) -> Self {
        Self::Away(source.into())
    }
}

impl From<Unusable> for Error {
    fn from(unusable: Unusable) -> Self {
        Self::Unusable(unusable)
    }
}

impl Payload {
    /// Bytes whose keccak256 is signed.
    pub fn new(preimage: Vec<u8>) -> Self {
        let digest = keccak256(&preimage);
        Self { preimage, digest }
    }

    /// A transaction.
    pub fn transaction(transaction: &TxEip1559) -> Self {
        Self::new(transaction.encoded_for_signing())
    }

    /// A fresh challenge by which a backend proves that it can sign for a key. It begins with a letter, so it can
    /// be no transaction (EIP-2718: those that we sign begin with 2).
    pub fn challenge() -> Self {
        let text = format!("metis sequencer control plane: proof of possession {}", uuid::Uuid::new_v4());
        Self::new(text.into_bytes())
    }

    /// What is hashed.
    pub fn preimage(&self) -> &[u8] {
        &self.preimage
    }

    /// What is signed.
    pub fn digest(&self) -> &B256 {
        &self.digest
    }
}

// The bytes may be the message of a user; the digest says enough.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Place {
    /// The name of the backend.
    pub fn backend(&self) -> &str {
        match self {
            Self::Local(_) => LOCAL,
            Self::Remote { backend, .. } => backend,
        }
    }

    /// What the backend calls the key; `None` here.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Local(_) => None,
            Self::Remote { reference, .. } => Some(reference),
        }
    }

    /// The ciphertext; `None` where the secret cannot leave its backend.
    pub fn envelope(&self) -> Option<&Envelope> {
        match self {
            Self::Local(envelope) => Some(envelope),
            Self::Remote { .. } => None,
        }
    }
}

/// The reference of a key that must be with a remote backend.
#[cfg(any(feature = "pkcs11", feature = "aws-kms", feature = "gcp-kms", feature = "web3signer"))]
fn reference_of(key: &Key) -> Result<&str, Error> {
    key.place.reference().ok_or(Error::Unsupported { kind: "remote", what: "sign with a local key" })
}
