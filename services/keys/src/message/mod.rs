//! Messages that a key may sign: texts (EIP-191, version 0x45) and typed data (EIP-712, version 0x01).
//!
//! There is no way to hand in a digest. What a key signs here is always keccak-256 of a [`Preimage`], and each of
//! them begins with 0x19. No transaction does: a legacy transaction is an RLP list, whose first byte is 0xc0 or
//! more, and a typed one (EIP-2718) begins with its type, which for 0x19 is not given out and never can be, because
//! EIP-191 keeps that byte. So a signed message is a valid transaction only if keccak-256 collides. The second byte
//! keeps texts (0x45) and typed data (0x01) apart in the same way.

pub mod typed;

use alloy_primitives::{B256, keccak256};

/// A page of text; beyond that nobody reads what is signed.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;
/// EIP-191.
const FIRST: u8 = 0x19;

/// The bytes whose hash is signed; they begin with 0x19 however they came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preimage(Vec<u8>);

/// Why a text is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoText {
    #[error("the text is empty")]
    Empty,
    #[error("the text has more than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    #[error("the text has control characters, so that it may read otherwise than it is")]
    Control,
    #[error("the text could be taken for a digest: a signature of it may approve what it stands for")]
    Digest,
}

impl Preimage {
    /// A text, as `personal_sign` has it: the prefix with the length in bytes, then the text.
    pub fn of_text(text: &str) -> Result<Self, NoText> {
        if text.is_empty() {
            return Err(NoText::Empty);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(NoText::TooLong);
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(NoText::Control);
        }
        // Safe and others take an EIP-191 signature over 32 bytes, or over their hex, as approval of a hash.
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if text.len() == 32 || (digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(NoText::Digest);
        }
        let mut bytes = vec![FIRST];
        bytes.extend_from_slice(b"Ethereum Signed Message:\n");
        bytes.extend_from_slice(text.len().to_string().as_bytes());
        bytes.extend_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// Typed data: version, domain, message.
    fn of_typed(domain_separator: B256, struct_hash: B256) -> Self {
        let mut bytes = vec![FIRST, 0x01];
        bytes.extend_from_slice(domain_separator.as_slice());
        bytes.extend_from_slice(struct_hash.as_slice());
        Self(bytes)
    }

    /// What is hashed.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the key signs.
    pub fn signing_hash(&self) -> B256 {
        keccak256(&self.0)
    }
}
