//! ExportNodeKey: the files of a node, encrypted to its host. Only keys of the role `sequencer` are
//! made to leave, only at the wish of whom `keys.rights` names; the record is durable before the archive
//! does. The node key is fresh unless one is given.

use alloy_primitives::B256;
use api::convert::bad;
use api::keys::v1::{ExportNodeKeyRequest, ExportNodeKeyResponse};
use api::reasons::{KEY_NOT_ENABLED, KEY_ROLE_WRONG, NODE_KEY_MALFORMED};
use runtime::errors::Refusal;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{clip, may_export, recorded};
use crate::audit::Entry;
use crate::backup::node::NodeKey;
use crate::backup::{age_file, node, tar};
use crate::db;
use crate::db::key::{Role, State};
use crate::error::{Declined, Failure};
use crate::keyring::{Keyring, not_found};

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: ExportNodeKeyRequest,
) -> Result<ExportNodeKeyResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "ExportNodeKey",
        key_id: clip(&request.id),
        intent: format!("export the files of a node for {}", clip(&request.recipient)),
        ..Entry::default()
    };
    recorded(keyring, &entry, export(keyring, &entry, request)).await
}

async fn export(
    keyring: &Keyring,
    entry: &Entry,
    mut request: ExportNodeKeyRequest,
) -> Result<ExportNodeKeyResponse, Declined> {
    may_export(&keyring.rights.export_node_key, &entry.caller)?;
    let given = Zeroizing::new(std::mem::take(&mut request.node_key_json));
    let node_key = match given.as_str() {
        "" => NodeKey::fresh().map_err(Failure::from)?,
        json => NodeKey::read(json).map_err(|why| bad(&NODE_KEY_MALFORMED, "node_key_json", why))?,
    };
    let recipient = age_file::recipient("recipient", &request.recipient)?;
    let key = db::key::of_id(&keyring.db, &request.id).await?.ok_or_else(|| not_found("id"))?;
    if key.role != Role::Sequencer {
        let refusal = Refusal::new(&KEY_ROLE_WRONG, "only a sequencer key is exported to a node");
        return Err(refusal.field("id", "has the role OWNER").meta("role", key.role.as_str()).into());
    }
    if key.state != State::Enabled {
        let refusal = Refusal::new(&KEY_NOT_ENABLED, format!("the key is {}", key.state.as_str()));
        return Err(refusal.meta("state", key.state.as_str()).into());
    }
    let files = node::files(&keyring.secret_of(&key)?, &node_key);
    let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
    let archive = age_file::encrypt(&[recipient], &tar::archive(&files, now))?;
    let digest = Some(B256::from_slice(&Sha256::digest(&archive)));
    let node_id = node_key.id();
    let intent = format!("{} as node {node_id}", entry.intent);
    db::audit::append(&keyring.db, Entry { digest, intent, ..entry.clone() }.allowed()).await?;
    let files = files.iter().map(|file| file.path.to_owned()).collect();
    Ok(ExportNodeKeyResponse { archive: archive.into(), files, node_id })
}
