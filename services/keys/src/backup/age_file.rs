//! age with X25519 recipients: the only way in which a secret leaves.

use std::io::{Read, Write};

use age::x25519::{Identity, Recipient};
use api::convert::bad;
use api::reasons::{IDENTITY_MALFORMED, RECIPIENT_MALFORMED};
use runtime::errors::Refusal;
use zeroize::Zeroizing;

use crate::error::Failure;

/// Nobody names more; each costs a scalar multiplication and 100 bytes.
pub const RECIPIENTS_MAX: usize = 32;
/// What stands beside an archive in a request: identity, id and framing, some hundred bytes.
const BESIDE_BYTES: usize = 4096;
/// The largest archive that a request can bring back; decrypted text is never longer than its ciphertext.
pub const BYTES_MAX: usize = runtime::server::BULK_BYTES_MAX - BESIDE_BYTES;

/// The archive does not decrypt with this identity, or ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the archive does not decrypt with this identity, or is damaged")]
pub struct Damaged;

/// Reads a recipient.
pub fn recipient(field: &str, text: &str) -> Result<Recipient, Refusal> {
    text.trim()
        .parse()
        .map_err(|_| bad(&RECIPIENT_MALFORMED, field, "a recipient is age1 and 58 more characters"))
}

/// Reads an identity; what was sent is never repeated.
pub fn identity(field: &str, text: &str) -> Result<Identity, Refusal> {
    text.trim().parse().map_err(|_| {
        bad(&IDENTITY_MALFORMED, field, "an identity is AGE-SECRET-KEY-1 and 58 more characters")
    })
}

/// Encrypts `plain` so that each of the recipients alone can read it.
pub fn encrypt(recipients: &[Recipient], plain: &[u8]) -> Result<Vec<u8>, Failure> {
    let named = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(named).map_err(Failure::Recipients)?;
    let mut archive = Vec::new();
    let mut writer = encryptor.wrap_output(&mut archive).map_err(Failure::Encrypt)?;
    writer.write_all(plain).map_err(Failure::Encrypt)?;
    writer.finish().map_err(Failure::Encrypt)?;
    Ok(archive)
}

/// Decrypts a whole archive; age itself notices when the end is missing.
pub fn decrypt(identity: &Identity, archive: &[u8]) -> Result<Zeroizing<Vec<u8>>, Damaged> {
    let decryptor = age::Decryptor::new_buffered(archive).map_err(|_| Damaged)?;
    let mut reader =
        decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).map_err(|_| Damaged)?;
    // Reserved at once, so that no copy is left behind when the buffer grows.
    let mut plain = Zeroizing::new(Vec::with_capacity(archive.len()));
    reader.read_to_end(&mut plain).map_err(|_| Damaged)?;
    Ok(plain)
}
