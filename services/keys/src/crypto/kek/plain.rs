//! A key-encryption key that is given as it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runtime::config::Secret;
use zeroize::Zeroizing;

use super::{KeyEncryptionKey, Unusable};

/// Thirty-two bytes as hex or base64.
pub fn read(secret: &Secret) -> Result<KeyEncryptionKey, Unusable> {
    let text = secret.expose().map_err(Unusable::Unreadable)?;
    parse(&text).map(|bytes| KeyEncryptionKey::from_bytes(&bytes)).ok_or(Unusable::Malformed)
}

fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let text = text.trim();
    let mut bytes = Zeroizing::new([0; 32]);
    if hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), bytes.as_mut_slice()).is_ok() {
        return Some(bytes);
    }
    let decoded = Zeroizing::new(STANDARD.decode(text).ok()?);
    bytes.copy_from_slice(decoded.get(..).filter(|decoded| decoded.len() == 32)?);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_hex_or_base64_of_32_bytes() {
        let hex = "ab".repeat(32);
        let with_prefix = format!("0x{hex}");
        let base64 = STANDARD.encode([0xab; 32]);
        for text in [&hex, &with_prefix, &base64] {
            assert_eq!(parse(text).as_deref(), Some(&[0xab; 32]), "{text}");
        }
        for text in ["", "ab", &hex[2..], &format!("{hex}ab"), &STANDARD.encode([1; 31]), "zz"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
