//! `priv_validator_key.json` of a themis node (P 3.2). The file says address and public key as well;
//! both are derived again and compared, since a field that lies would be believed by the node.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::pubkey::PublicKey;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::crypto::SecretKey;

/// The file has 400 bytes.
const BYTES_MAX: usize = 16 * 1024;

pub const PUB_KEY_TYPE: &str = "tendermint/PubKeySecp256k1";
pub const PRIV_KEY_TYPE: &str = "tendermint/PrivKeySecp256k1";

/// Why a file gives no key. What stands in it is never repeated: a secret may stand in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the text is no priv_validator_key.json")]
    Document,
    #[error("the type of a key is not {0}")]
    Type(&'static str),
    #[error("priv_key is no secret of secp256k1")]
    Secret,
    #[error("the address is not the one of the secret, which derives {derived}")]
    Address { derived: String },
    #[error("pub_key is not the public key of the secret, which derives address {derived}")]
    PublicKey { derived: String },
}

/// The file.
#[derive(Serialize, Deserialize)]
pub struct File {
    /// 40 hex digits, upper case, without prefix.
    pub address: String,
    pub pub_key: Typed,
    pub priv_key: Typed,
}

/// A value with its type, as amino writes it.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Typed {
    #[serde(rename = "type")]
    pub kind: String,
    pub value: String,
}

impl File {
    /// The file of a key.
    pub fn of(secret: &SecretKey) -> Self {
        let public = secret.public();
        Self {
            address: hex::encode_upper(public.address()),
            pub_key: Typed { kind: PUB_KEY_TYPE.to_owned(), value: public.tendermint_base64() },
            priv_key: Typed { kind: PRIV_KEY_TYPE.to_owned(), value: STANDARD.encode(secret.expose()) },
        }
    }
}

/// Reads the secret of a file that does not contradict itself.
pub fn read(json: &str) -> Result<SecretKey, Invalid> {
    if json.len() > BYTES_MAX {
        return Err(Invalid::Document);
    }
    let File { address, pub_key, priv_key } = serde_json::from_str(json).map_err(|_| Invalid::Document)?;
    if priv_key.kind != PRIV_KEY_TYPE {
        return Err(Invalid::Type(PRIV_KEY_TYPE));
    }
    if pub_key.kind != PUB_KEY_TYPE {
        return Err(Invalid::Type(PUB_KEY_TYPE));
    }
    let bytes = zeroize::Zeroizing::new(STANDARD.decode(&priv_key.value).map_err(|_| Invalid::Secret)?);
    let secret = SecretKey::from_slice(&bytes).map_err(|_| Invalid::Secret)?;
    let derived = secret.address().to_string();
    let stated = address.strip_prefix("0x").unwrap_or(&address);
    if !stated.eq_ignore_ascii_case(derived.trim_start_matches("0x")) {
        return Err(Invalid::Address { derived });
    }
    let claimed = STANDARD.decode(&pub_key.value).ok().and_then(|bytes| PublicKey::from_bytes(&bytes).ok());
    if claimed != Some(secret.public()) {
        return Err(Invalid::PublicKey { derived });
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(change: impl FnOnce(&mut File)) -> String {
        let mut file = File::of(&SecretKey::from_slice(&[7; 32]).unwrap());
        change(&mut file);
        serde_json::to_string(&file).unwrap()
    }

    #[test]
    fn a_file_that_we_write_can_be_read() {
        let read = read(&written(|_| {})).unwrap();
        assert_eq!(read.expose(), &[7; 32]);
        assert!(written(|_| {}).starts_with(r#"{"address":""#));
    }

    #[test]
    fn a_file_whose_address_or_public_key_lies_is_refused() {
        let other = SecretKey::from_slice(&[8; 32]).unwrap().public();
        let lying_address = written(|file| file.address = hex::encode_upper(other.address()));
        assert!(matches!(read(&lying_address), Err(Invalid::Address { .. })));
        let lying_key = written(|file| file.pub_key.value = other.tendermint_base64());
        assert!(matches!(read(&lying_key), Err(Invalid::PublicKey { .. })));
    }

    #[test]
    fn other_types_and_broken_secrets_are_refused() {
        let ed25519 = written(|file| file.priv_key.kind = "tendermint/PrivKeyEd25519".to_owned());
        assert!(matches!(read(&ed25519), Err(Invalid::Type(_))));
        let short = written(|file| file.priv_key.value = STANDARD.encode([7; 31]));
        assert!(matches!(read(&short), Err(Invalid::Secret)));
        assert!(matches!(read("{}"), Err(Invalid::Document)));
    }
}
