//! Signed heads: what the service says about its log to the world outside of its database.

use std::collections::BTreeSet;

use ed25519_dalek::{Signature, Signer};
use serde::{Deserialize, Serialize};

pub use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::chain::Head;

/// Ties a signature to this purpose, so that it means nothing anywhere else.
const DOMAIN: &[u8] = b"metis.sequencer.keys.audit-head.v1\0";
/// A head every minute for ten years; more is no file of heads.
const HEADS_MAX: usize = 6_000_000;

/// A head with the signature of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// What is signed.
    pub head: Head,
    /// When, in microseconds since 1970, by the clock of the database.
    pub time_micros: u64,
    /// By whom: an Ed25519 public key.
    pub public_key: [u8; 32],
    /// Ed25519 over domain, number, hash and time.
    pub signature: [u8; 64],
}

/// The lines of a file of heads, in the order in which they were published, all properly signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads(Vec<SignedHead>);

/// A file of heads that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the heads: {problem}")]
pub struct BadHead {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sequence: u64,
    hash: String,
    time_micros: u64,
    public_key: String,
    signature: String,
}

impl SignedHead {
    /// Signs a head.
    pub fn sign(head: Head, time_micros: u64, key: &SigningKey) -> Self {
        let signature = key.sign(&signed_bytes(&head, time_micros)).to_bytes();
        Self { head, time_micros, public_key: key.verifying_key().to_bytes(), signature }
    }

    /// Whether the key that it names made the signature.
    pub fn is_genuine(&self) -> bool {
        let Self { head, time_micros, public_key, signature } = self;
        VerifyingKey::from_bytes(public_key).is_ok_and(|key| {
            key.verify_strict(&signed_bytes(head, *time_micros), &Signature::from_bytes(signature)).is_ok()
        })
    }

    /// The line of a file or the body of a webhook, without newline.
    pub fn line(&self) -> String {
        let Self { head: Head { sequence, hash }, time_micros, public_key, signature } = self;
        let line = Line {
            sequence: *sequence,
            hash: hex::encode(hash),
            time_micros: *time_micros,
            public_key: hex::encode(public_key),
            signature: hex::encode(signature),
        };
        serde_json::to_string(&line).expect("structs of text and numbers always serialise")
    }

    /// Reads a line; the signature is not looked at.
    pub fn parse(text: &str) -> Option<Self> {
        let Line { sequence, hash: stated, time_micros, public_key: key, signature: signed } =
            serde_json::from_str(text).ok()?;
        let (mut hash, mut public_key, mut signature) = ([0; 32], [0; 32], [0; 64]);
        hex::decode_to_slice(stated, &mut hash).ok()?;
        hex::decode_to_slice(key, &mut public_key).ok()?;
        hex::decode_to_slice(signed, &mut signature).ok()?;
        Some(Self { head: Head { sequence, hash }, time_micros, public_key, signature })
    }
}

impl Heads {
    /// Reads a file of heads. Without keys, any key that signs properly is believed.
    ///
    /// # Errors
    /// The first line that is no head, is not properly signed, or is signed by another key.
    pub fn read(text: &str, keys: &[VerifyingKey]) -> Result<Self, BadHead> {
        let mut heads = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let bad = |problem| BadHead { line: at + 1, problem };
            let head = SignedHead::parse(line).ok_or_else(|| bad("it is no signed head"))?;
            if !head.is_genuine() {
                return Err(bad("its signature does not fit"));
            }
            if !keys.is_empty() && !keys.iter().any(|key| key.to_bytes() == head.public_key) {
                return Err(bad("it is signed by another key"));
            }
            if heads.len() >= HEADS_MAX {
                return Err(bad("there are too many"));
            }
            heads.push(head);
        }
        Ok(Self(heads))
    }

    /// In the order of publication.
    pub fn iter(&self) -> std::slice::Iter<'_, SignedHead> {
        self.0.iter()
    }

    /// The numbers that heads speak of.
    pub(crate) fn sequences(&self) -> BTreeSet<u64> {
        self.0.iter().map(|head| head.head.sequence).collect()
    }
}

/// A public key as it is published: 64 hex digits.
pub fn public_key(text: &str) -> Option<VerifyingKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes).ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

fn signed_bytes(head: &Head, time_micros: u64) -> Vec<u8> {
    [DOMAIN, &head.sequence.to_be_bytes(), &head.hash, &time_micros.to_be_bytes()].concat()
}
