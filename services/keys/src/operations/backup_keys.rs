//! BackupKeys: an age archive of the chosen keys. Nothing is stored but the record, which is durable
//! before the archive leaves; asking twice makes two archives.

use alloy_primitives::B256;
use api::convert::bad;
use api::keys::v1::{BackupKeysRequest, BackupKeysResponse};
use api::reasons::{FIELD_REQUIRED, KEY_NOT_FOUND};
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
use crate::keyring::{Keyring, not_found, sealed};

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
    let BackupKeysRequest { key_ids, recipients, labels } = request;
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
    // Keys under a generation that came since the last look can be opened as well.
    keyring.learn().await?.map_err(|missing| sealed(&runtime::report(&missing)))?;
    let mut keys =
        if key_ids.is_empty() { all(&keyring.db).await? } else { chosen(&keyring.db, &key_ids).await? };
    keys.retain(|key| labels.iter().all(|(label, value)| key.labels.get(label) == Some(value)));
    if keys.is_empty() && !labels.is_empty() {
        return Err(bad(&KEY_NOT_FOUND, "labels", "no key has all of these").into());
    }
    // A key that was named and cannot leave is refused; of all, those that can are taken and the others are told.
    let (keys, stay): (Vec<Key>, Vec<Key>) =
        keys.into_iter().partition(|key| !key_ids.is_empty() || key.place.envelope().is_some());
    let document = document(keyring, &keys).await?;
    let archive = age_file::encrypt(&parsed, &document.to_bytes())?;
    if archive.len() > age_file::BYTES_MAX {
        // An archive that cannot be sent back could never be proven.
        let refusal =
            Refusal::new(&generic::RESPONSE_TOO_LARGE, "the archive would be too large to be verified");
        return Err(refusal
            .field("labels", "choose fewer keys, by label or id, and make several archives")
            .meta("bytes", archive.len())
            .meta("bytes_max", age_file::BYTES_MAX)
            .into());
    }
    let digest = B256::from_slice(&Sha256::digest(&archive));
    let intent = format!("back up {} keys for {}", keys.len(), recipients.join(", "));
    let entry = Entry { intent, digest: Some(digest), ..entry.clone() };
    db::audit::append(&keyring.db, entry.allowed()).await?;
    let key_ids = keys.into_iter().map(|key| key.id).collect();
    let not_exportable_key_ids = stay.into_iter().map(|key| key.id).collect();
    let sha256 = hex::encode(digest);
    Ok(BackupKeysResponse { archive: archive.into(), key_ids, sha256, not_exportable_key_ids })
}

async fn document(keyring: &Keyring, keys: &[Key]) -> Result<Document, Declined> {
    // Nonces are read after the head, so that all that was signed up to it is known.
    let head = db::audit::head(&keyring.db).await?;
    let own_states = db::key::own_states(&keyring.db).await?;
    let policies = db::policy::newest(&keyring.db, archive::POLICIES_BYTES_MAX).await?;
    Ok(Document {
        format: archive::FORMAT.to_owned(),
        version: archive::VERSION,
        created_at: OffsetDateTime::now_utc(),
        policy_version: policies.last().map_or(0, |policy| policy.version),
        policies: policies.into_iter().map(policy).collect(),
        audit_sequence: head.sequence,
        audit_hash: hex::encode(head.hash.0),
        nonces: db::decision::last_nonces(&keyring.db).await?.into_iter().map(nonce).collect(),
        frozen_labels: db::frozen_label::all(&keyring.db).await?.into_iter().map(frozen).collect(),
        keys: keys
            .iter()
            .map(|key| {
                let state = own_states.get(&key.id).copied().unwrap_or(key.state);
                Ok(archive::Entry::of(key, state, &keyring.secret_of(key)?))
            })
            .collect::<Result<_, Declined>>()?,
    })
}

fn policy(row: db::policy::Row) -> archive::Policy {
    let db::policy::Row { version, toml, set_by, set_at } = row;
    archive::Policy { version, toml, set_by, set_at }
}

fn nonce(row: db::decision::LastNonce) -> archive::Nonce {
    let db::decision::LastNonce { chain_id, account, nonce } = row;
    archive::Nonce { chain_id, account: account.into(), nonce }
}

fn frozen(row: db::frozen_label::Row) -> archive::FrozenLabel {
    let db::frozen_label::Row { name, value, reason, frozen_by, frozen_at } = row;
    archive::FrozenLabel { name, value, reason, frozen_by, frozen_at }
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
