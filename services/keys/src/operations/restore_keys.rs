//! RestoreKeys: takes the keys of an archive in, all or none, and its policy where nobody has set one.
//! Keys that are here already, by address, are left as they are; so twice is harmless, with or without
//! the same `request_id`. The record names the end of the audit log that the archive was made with.

use alloy_primitives::B256;
use api::keys::v1::{RestoreKeysRequest, RestoreKeysResponse};
use api::reasons::POLICY_CONFLICT;
use runtime::errors::Refusal;
use sea_orm::ConnectionTrait;
use sha2::{Digest, Sha256};
use store::column::Hash;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::admit::{self, Newcomer};
use super::once::Once;
use super::{recorded, verify_backup, wire};
use crate::audit::Entry;
use crate::backup::age_file;
use crate::backup::archive::{self, Opened, Proven};
use crate::db;
use crate::db::drill::{Done, Kind};
use crate::db::key::Key;
use crate::error::{Declined, Failure};
use crate::keyring::{Keyring, sealed};
use crate::policy::preset;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: RestoreKeysRequest,
) -> Result<RestoreKeysResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "RestoreKeys",
        intent: "restore keys".to_owned(),
        digest: Some(B256::from_slice(&Sha256::digest(&request.archive))),
        ..Entry::default()
    };
    recorded(keyring, &entry, restore(keyring, &entry, request)).await
}

async fn restore(
    keyring: &Keyring,
    entry: &Entry,
    mut request: RestoreKeysRequest,
) -> Result<RestoreKeysResponse, Declined> {
    let request_id = std::mem::take(&mut request.request_id);
    let identity = Zeroizing::new(std::mem::take(&mut request.identity));
    let once = Once::new(&request_id, entry.action, &entry.caller, &request)?;
    let RestoreKeysRequest { archive, validate_only, .. } = request;
    let opened = verify_backup::open(age_file::identity("identity", &identity)?, archive.to_vec()).await?;
    let contents = &verify_backup::contents(&opened);
    keyring.learn().await?.map_err(|missing| sealed(&runtime::report(&missing)))?;
    let Opened { keys, policies, created_at, audit_sequence, audit_hash, .. } = opened;
    let keys = keys.into_iter().map(|proven| prepare(keyring, proven)).collect::<Result<Vec<_>, _>>()?;
    // The end of the chain that goes on here, in the record that is the first of this installation to count.
    let head = format!("the audit log before ended at record {audit_sequence} with {audit_hash}");
    if validate_only {
        let answer =
            RestoreKeysResponse { contents: Some(contents.clone()), ..sort(&keyring.db, &keys).await? };
        let intent = format!("restore {} keys (validate only); {head}", answer.restored.len());
        db::audit::append(&keyring.db, Entry { intent, ..entry.clone() }.allowed()).await?;
        return Ok(answer);
    }
    let (once, keys, policies, head) = (&once, &keys, &policies, &head);
    let answer = store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            if let Some(before) = once.begin(&tx).await? {
                return Ok(before);
            }
            let mut answer =
                RestoreKeysResponse { contents: Some(contents.clone()), ..RestoreKeysResponse::default() };
            for key in keys {
                match db::key::of_address(&tx, key.address).await? {
                    Some(present) => answer.already_present.push(wire::key(&present)),
                    None => answer.restored.push(wire::key(&admit::store(&tx, key).await?)),
                }
            }
            let policy = restore_policies(&tx, policies).await?;
            answer.restored_policy_version = u64::try_from(policy.unwrap_or_default()).unwrap_or_default();
            let drill = Done {
                kind: Kind::Restore,
                caller: &entry.caller,
                archive: Hash(entry.digest.unwrap_or_default()),
                archive_made_at: created_at,
                proven: answer.restored.iter().map(|key| key.id.clone()).collect(),
                missing: 0,
            };
            db::drill::insert(&tx, drill).await?;
            once.finish(&tx, &answer).await?;
            let policy = policy.map_or("policy left as it is".to_owned(), |v| format!("policy {v} in force"));
            let intent =
                format!("restored {} of {} keys, {policy}; {head}", answer.restored.len(), keys.len());
            db::audit::append(&tx, Entry { intent, ..entry.clone() }.allowed()).await?;
            Ok::<_, Declined>(answer)
        })
    })
    .await?;
    keyring.reload_policy().await?;
    Ok(answer)
}

/// Brings the policies of an archive in force, if nobody has set one here: versions beyond our own
/// newest under their own numbers; if ours went further, the archive's last as our next. Gives the
/// version in force if it changed.
async fn restore_policies<C: ConnectionTrait>(
    tx: &C,
    policies: &[archive::Policy],
) -> Result<Option<i64>, Declined> {
    let here = db::policy::in_force(tx).await?.ok_or(Failure::PolicyMissing)?;
    let Some(last) = policies.last() else { return Ok(None) };
    // The preset follows the configuration of this installation, not of the one before.
    if here.set_by != preset::AUTHOR || last.set_by == preset::AUTHOR {
        return Ok(None);
    }
    let mut wanted: Vec<_> =
        policies.iter().filter(|policy| policy.version > here.version).cloned().collect();
    if wanted.is_empty() {
        wanted.push(archive::Policy { version: here.version + 1, ..last.clone() });
    }
    let mut in_force = here.version;
    for archive::Policy { version, toml, set_by, set_at } in wanted {
        in_force = version;
        if !db::policy::insert_as_it_was(tx, &db::policy::Row { version, toml, set_by, set_at }).await? {
            return Err(Refusal::new(&POLICY_CONFLICT, "the policy was changed meanwhile").into());
        }
    }
    Ok(Some(in_force))
}

fn prepare(keyring: &Keyring, proven: Proven) -> Result<Key, Failure> {
    let Proven { id, name, role, labels, state, secret } = proven;
    // That it is being restored is the proof that it can be.
    let backup_proven_at = Some(OffsetDateTime::now_utc());
    admit::prepare(keyring, Newcomer { id, name, role, labels, state, backup_proven_at }, &secret)
}

/// What a restore would do.
async fn sort<C: ConnectionTrait>(db: &C, keys: &[Key]) -> Result<RestoreKeysResponse, Declined> {
    let mut answer = RestoreKeysResponse::default();
    for key in keys {
        match db::key::of_address(db, key.address).await? {
            Some(present) => answer.already_present.push(wire::key(&present)),
            None => {
                admit::is_new(db, &key.name, None).await?;
                answer.restored.push(wire::key(key));
            }
        }
    }
    Ok(answer)
}
