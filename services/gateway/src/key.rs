//! API keys as text: `msk_<id>_<secret>`, where the id finds the row and the secret of 256 random bits is
//! kept nowhere but with its owner.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Begins every key, so that scanners for leaked secrets find them.
const PREFIX: &str = "msk_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// What is kept of a secret.
#[derive(Debug, Clone, Copy)]
pub struct Hash(pub [u8; 32]);

/// A key as a caller shows it.
pub struct Presented {
    /// Finds the row.
    pub id: String,
    secret: [u8; SECRET_BYTES],
}

/// A new key: its text is shown once.
pub struct Minted {
    /// Finds the row.
    pub id: String,
    /// What is kept.
    pub hash: Hash,
    /// What the owner gets.
    pub text: String,
}

/// Makes a key.
pub fn mint() -> Minted {
    let id = hex::encode(rand::random::<[u8; ID_BYTES]>());
    let secret: [u8; SECRET_BYTES] = rand::random();
    let text = format!("{PREFIX}{id}_{}", hex::encode(secret));
    Minted { id, hash: hash(&secret), text }
}

/// Reads a key; `None` for anything that we never gave out.
pub fn parse(text: &str) -> Option<Presented> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let lower_hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if id.len() != 2 * ID_BYTES || !lower_hex(id) || !lower_hex(secret) {
        return None;
    }
    let secret = hex::decode(secret).ok()?.try_into().ok()?;
    Some(Presented { id: id.to_owned(), secret })
}

impl Presented {
    /// Whether this is the secret behind the hash, in a time that does not depend on how wrong it is.
    pub fn matches(&self, kept: &Hash) -> bool {
        hash(&self.secret).0.ct_eq(&kept.0).into()
    }
}

fn hash(secret: &[u8; SECRET_BYTES]) -> Hash {
    Hash(Sha256::digest(secret).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_matches_its_hash_and_no_other() {
        let (one, other) = (mint(), mint());
        let presented = parse(&one.text).expect("our own form");
        assert_eq!(presented.id, one.id);
        assert!(presented.matches(&one.hash) && !presented.matches(&other.hash));
    }

    #[test]
    fn text_that_we_never_gave_out_is_no_key() {
        let good = mint().text;
        for text in [
            "",
            "msk_",
            "msk__",
            &good[1..],
            &good[..good.len() - 2],
            &good.to_uppercase(),
            &format!("{good}00"),
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
