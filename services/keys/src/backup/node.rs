//! The files of a node (P 3.2): its validator key, a fresh network key, a fresh state, and the
//! variables of l2geth.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use serde_json::json;
use zeroize::Zeroizing;

use super::tar::File;
use crate::crypto::SecretKey;
use crate::crypto::aead::{self, NoRandomness};
use crate::import::priv_validator;

/// Nothing signed yet. Two nodes with one key would sign twice: the operator starts only one.
const FRESH_STATE: &str = "{\"height\":\"0\",\"round\":\"0\",\"step\":0}\n";

/// The files, by their path in the home directory of themis; the variables stand beside.
pub fn files(secret: &SecretKey) -> Result<Vec<File>, NoRandomness> {
    let validator = serde_json::to_vec_pretty(&priv_validator::File::of(secret))
        .expect("a file of plain text always serialises");
    let network = SigningKey::from_bytes(&*aead::random::<32>()?);
    let node_key = json!({
        "priv_key": { "type": "tendermint/PrivKeyEd25519", "value": STANDARD.encode(network.to_keypair_bytes()) }
    });
    let environment = Zeroizing::new(format!(
        "SEQ_ADDRESS={}\nSEQ_PRIV=0x{}\n",
        secret.address(),
        Zeroizing::new(hex::encode(secret.expose())).as_str()
    ));
    let file = |path, content: Vec<u8>| File { path, content: Zeroizing::new(content) };
    Ok(vec![
        file("config/priv_validator_key.json", validator),
        file("config/node_key.json", node_key.to_string().into_bytes()),
        file("data/priv_validator_state.json", FRESH_STATE.as_bytes().to_vec()),
        file("l2geth.env", environment.as_bytes().to_vec()),
    ])
}
