//! The files of a node (P 3.2): its validator key, its network key, a fresh state, and the variables
//! of l2geth.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::tar::File;
use crate::crypto::SecretKey;
use crate::crypto::aead::{self, NoRandomness};
use crate::import::priv_validator::{self, Typed};

/// Nothing signed yet. Two nodes with one key would sign twice: the operator starts only one.
const FRESH_STATE: &str = "{\"height\":\"0\",\"round\":\"0\",\"step\":0}\n";
const NODE_KEY_TYPE: &str = "tendermint/PrivKeyEd25519";
/// The file has 150 bytes.
const NODE_KEY_BYTES_MAX: usize = 4 * 1024;
/// Of the hash of the public key, in a node id.
const ID_BYTES: usize = 20;

/// The key by which other nodes know this one; worth no METIS.
pub struct NodeKey(SigningKey);

/// The text is no node_key.json. What stands in it is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is no node_key.json of an ed25519 key whose public half is its own")]
pub struct Malformed;

impl NodeKey {
    /// A new one.
    pub fn fresh() -> Result<Self, NoRandomness> {
        Ok(Self(SigningKey::from_bytes(&*aead::random::<32>()?)))
    }

    /// Takes over the one of an existing node.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        struct Document {
            priv_key: Typed,
        }
        if text.len() > NODE_KEY_BYTES_MAX {
            return Err(Malformed);
        }
        let Document { priv_key } = serde_json::from_str(text).map_err(|_| Malformed)?;
        if priv_key.kind != NODE_KEY_TYPE {
            return Err(Malformed);
        }
        let bytes = Zeroizing::new(STANDARD.decode(&priv_key.value).map_err(|_| Malformed)?);
        let pair: &[u8; 64] = bytes.as_slice().try_into().map_err(|_| Malformed)?;
        SigningKey::from_keypair_bytes(pair).map(Self).map_err(|_| Malformed)
    }

    /// The id of the node: the beginning of SHA-256 over the public key, hex.
    pub fn id(&self) -> String {
        hex::encode(&Sha256::digest(self.0.verifying_key().as_bytes())[..ID_BYTES])
    }

    fn to_json(&self) -> Zeroizing<String> {
        let pair = Zeroizing::new(self.0.to_keypair_bytes());
        let value = Zeroizing::new(STANDARD.encode(pair.as_slice()));
        Zeroizing::new(json!({ "priv_key": { "type": NODE_KEY_TYPE, "value": value.as_str() } }).to_string())
    }
}

/// The files, by their path in the home directory of themis; the variables stand beside.
pub fn files(secret: &SecretKey, node_key: &NodeKey) -> Vec<File> {
    let validator = super::secret_json(&priv_validator::File::of(secret));
    let (address, digits) = (secret.address().to_string(), Zeroizing::new(hex::encode(secret.expose())));
    // Joined at once: a text that grows leaves copies behind too.
    let environment = ["SEQ_ADDRESS=", &address, "\nSEQ_PRIV=0x", &digits, "\n"].concat();
    let environment = Zeroizing::new(environment);
    let file = |path, content: &[u8]| File { path, content: Zeroizing::new(content.to_vec()) };
    vec![
        file("config/priv_validator_key.json", &validator),
        file("config/node_key.json", node_key.to_json().as_bytes()),
        file("data/priv_validator_state.json", FRESH_STATE.as_bytes()),
        file("l2geth.env", environment.as_bytes()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_key_that_is_given_keeps_its_id_and_one_that_lies_is_refused() {
        let fresh = NodeKey::fresh().unwrap();
        let text = fresh.to_json();
        assert_eq!(NodeKey::read(&text).unwrap().id(), fresh.id());
        assert_eq!(fresh.id().len(), 40);

        let mut pair = fresh.0.to_keypair_bytes();
        pair[40] ^= 1;
        let lying = json!({ "priv_key": { "type": NODE_KEY_TYPE, "value": STANDARD.encode(pair) } });
        let secp = json!({ "priv_key": { "type": "tendermint/PrivKeySecp256k1", "value": STANDARD.encode([7; 64]) } });
        for text in [lying.to_string(), secp.to_string(), "{}".to_owned(), " ".repeat(5_000)] {
            assert_eq!(NodeKey::read(&text).err(), Some(Malformed));
        }
    }
}
