//! ExportNodeKey: the files of a node, encrypted to its host. Only keys of the role `sequencer` are
//! made to leave; the record is durable before the archive does. Each export has a fresh node_key.

use alloy_primitives::B256;
use api::keys::v1::{ExportNodeKeyRequest, ExportNodeKeyResponse};
use api::reasons::{KEY_NOT_ENABLED, KEY_ROLE_WRONG};
use runtime::errors::Refusal;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::{clip, recorded};
use crate::audit::Entry;
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
    request: ExportNodeKeyRequest,
) -> Result<ExportNodeKeyResponse, Declined> {
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
    let files = node::files(&keyring.secret_of(&key)?).map_err(Failure::from)?;
    let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
    let archive = age_file::encrypt(&[recipient], &tar::archive(&files, now))?;
    let digest = Some(B256::from_slice(&Sha256::digest(&archive)));
    db::audit::append(&keyring.db, Entry { digest, ..entry.clone() }.allowed()).await?;
    let files = files.iter().map(|file| file.path.to_owned()).collect();
    Ok(ExportNodeKeyResponse { archive: archive.into(), files })
}
