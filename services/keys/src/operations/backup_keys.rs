//! BackupKeys: an age archive of the chosen keys. Nothing is stored but the record, which is durable
//! before the archive leaves; asking twice makes two archives.

use alloy_primitives::B256;
use api::convert::bad;
use api::keys::v1::{BackupKeysRequest, BackupKeysResponse};
use api::reasons::FIELD_REQUIRED;
use runtime::errors::{Refusal, generic};
use sea_orm::ConnectionTrait;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::recorded;
use crate::audit::Entry;
use crate::backup::age_file;
use crate::backup::archive::{self, Document};
use crate::db;
use crate::db::key::Key;
use crate::error::Declined;
use crate::keyring::{Keyring, not_found};

/// Keys of one page while all are read.
const PAGE: u32 = 500;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: BackupKeysRequest,
) -> Result<BackupKeysResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "BackupKeys",
        intent: format!("back up keys for {} recipients", request.recipients.len()),
        ..Entry::default()
    };
    recorded(keyring, &entry, backup(keyring, &entry, request)).await
}

async fn backup(
    keyring: &Keyring,
    entry: &Entry,
    request: BackupKeysRequest,
) -> Result<BackupKeysResponse, Declined> {
    let BackupKeysRequest { key_ids, recipients } = request;
    if recipients.is_empty() {
        return Err(bad(&FIELD_REQUIRED, "recipients", "name at least one").into());
    }
    if recipients.len() > age_file::RECIPIENTS_MAX {
        let most = format!("at most {}", age_file::RECIPIENTS_MAX);
        return Err(bad(&generic::INVALID_ARGUMENT, "recipients", most).into());
    }
    let parsed = recipients
        .iter()
        .enumerate()
        .map(|(at, text)| age_file::recipient(&format!("recipients[{at}]"), text))
        .collect::<Result<Vec<_>, _>>()?;
    // A key that was named and cannot leave is refused; of all, those that can are taken and the others are told.
    let (keys, stay) = if key_ids.is_empty() {
        all(&keyring.db).await?.into_iter().partition(|key| key.place.envelope().is_some())
    } else {
        (chosen(&keyring.db, &key_ids).await?, Vec::new())
    };
    let policy = keyring.policy();
    let head = db::audit::head(&keyring.db).await?;
    let document = Document {
        format: archive::FORMAT.to_owned(),
        version: archive::VERSION,
        created_at: OffsetDateTime::now_utc(),
        policy_version: policy.version,
        audit_sequence: head.sequence,
        audit_hash: hex::encode(head.hash.0),
        keys: keys
            .iter()
            .map(|key| Ok(archive::Entry::of(key, &keyring.secret_of(key)?)))
            .collect::<Result<_, Declined>>()?,
    };
    let archive = age_file::encrypt(&parsed, &document.to_bytes())?;
    if archive.len() > age_file::BYTES_MAX {
        // An archive that cannot be sent back could never be proven.
        let refusal =
            Refusal::new(&generic::RESPONSE_TOO_LARGE, "the archive would be too large to be verified");
        return Err(refusal
            .field("key_ids", "choose fewer keys")
            .meta("bytes_max", age_file::BYTES_MAX)
            .into());
    }
    let digest = B256::from_slice(&Sha256::digest(&archive));
    let intent = format!("back up {} keys for {}", keys.len(), recipients.join(", "));
    let entry = Entry { intent, digest: Some(digest), ..entry.clone() };
    db::audit::append(&keyring.db, entry.allowed()).await?;
    let key_ids = keys.into_iter().map(|key| key.id).collect();
    let not_exportable_key_ids = stay.into_iter().map(|key: Key| key.id).collect();
    let sha256 = hex::encode(digest);
    Ok(BackupKeysResponse { archive: archive.into(), key_ids, sha256, not_exportable_key_ids })
}

/// Every key of the installation.
pub async fn all<C: ConnectionTrait>(db: &C) -> Result<Vec<Key>, Declined> {
    let mut keys: Vec<Key> = Vec::new();
    loop {
        let after = keys.last().map(|key| (key.created_at, key.id.clone()));
        let page = db::key::page(db, None, after, PAGE).await?;
        if page.is_empty() {
            return Ok(keys);
        }
        keys.extend(page);
    }
}

async fn chosen<C: ConnectionTrait>(db: &C, ids: &[String]) -> Result<Vec<Key>, Declined> {
    let mut keys = Vec::with_capacity(ids.len());
    for (at, id) in ids.iter().enumerate() {
        if ids[..at].contains(id) {
            continue;
        }
        keys.push(db::key::of_id(db, id).await?.ok_or_else(|| not_found(&format!("key_ids[{at}]")))?);
    }
    Ok(keys)
}
