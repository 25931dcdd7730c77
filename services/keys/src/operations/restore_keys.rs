//! RestoreKeys: takes the keys of an archive in, all or none, its frozen labels, and its policy where nobody has set one.
//! Keys that are here already, by address, are left as they are; so twice is harmless, with or without
//! the same `request_id`. The record names the end of the audit log that the archive was made with.
//!
//! What the restored keys signed after the archive was made is not known here, so their accounts are unproven until an operator
//! confirms a floor (`floors`); the accounts that were here before sign on.

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
use crate::db::key::{Key, State};
use crate::db::restoration::FromArchive;
use crate::error::{Declined, Failure};
use crate::keyring::{Keyring, sealed};
use crate::policy::{Policy, preset};

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
    let contents = verify_backup::contents(&opened);
    keyring.learn().await?.map_err(|missing| sealed(&runtime::report(&missing)))?;
    let brought = brought(keyring, opened)?;
    // The end of the chain that goes on here, in the record that is the first of this installation to count.
    let head = format!("the audit log before ended at record {} with {}", brought.sequence, brought.hash);
    let empty = RestoreKeysResponse { contents: Some(contents), ..RestoreKeysResponse::default() };
    if validate_only {
        let answer = sort(&keyring.db, &brought.keys, empty).await?;
        let intent = format!("restore {} keys (validate only); {head}", answer.restored.len());
        db::audit::append(&keyring.db, Entry { intent, ..entry.clone() }.allowed()).await?;
        return Ok(answer);
    }
    let (once, brought, empty, head) = (&once, &brought, &empty, &head);
    let answer = store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            if let Some(before) = once.begin(&tx).await? {
                return Ok(before);
            }
            let mut answer = empty.clone();
            let said = take_in(&tx, entry, brought, &mut answer).await?;
            once.finish(&tx, &answer).await?;
            let intent = format!("{said}; {head}");
            db::audit::append(&tx, Entry { intent, ..entry.clone() }.allowed()).await?;
            Ok::<_, Declined>(answer)
        })
    })
    .await?;
    keyring.reload_policy().await?;
    Ok(answer)
}

/// What an archive brings, ready to be stored.
struct Brought {
    keys: Vec<Key>,
    policies: Vec<archive::Policy>,
    frozen_labels: Vec<archive::FrozenLabel>,
    nonces: Vec<archive::Nonce>,
    /// Of the networks of the policy in force and of that which may come in force now.
    chain_ids: Vec<i64>,
    made_at: OffsetDateTime,
    /// End of the log of the other installation.
    sequence: i64,
    hash: B256,
}

fn brought(keyring: &Keyring, opened: Opened) -> Result<Brought, Failure> {
    let Opened { keys, policies, policy_version: _, created_at: made_at, nonces, frozen_labels, .. } = opened;
    let mut chain_ids = keyring.policy().policy.chain_ids();
    if let Some(restored) = policies.last().and_then(|policy| Policy::parse(&policy.toml).ok()) {
        chain_ids.extend(restored.chain_ids());
    }
    chain_ids.sort_unstable();
    chain_ids.dedup();
    let keys = keys.into_iter().map(|proven| prepare(keyring, proven)).collect::<Result<_, _>>()?;
    let (sequence, hash) = (opened.audit_sequence, opened.audit_hash);
    Ok(Brought { keys, policies, frozen_labels, nonces, chain_ids, made_at, sequence, hash })
}

/// Stores all of it and says in the answer, and in words, what became of it.
async fn take_in<C: ConnectionTrait>(
    tx: &C,
    entry: &Entry,
    brought: &Brought,
    answer: &mut RestoreKeysResponse,
) -> Result<String, Declined> {
    let Brought { keys, policies, frozen_labels, nonces, chain_ids, made_at, sequence, hash } = brought;
    let archive = entry.digest.unwrap_or_default();
    let frozen = restore_freezes(tx, frozen_labels).await?;
    let mut accounts = Vec::new();
    for key in keys {
        match db::key::of_address(tx, key.address).await? {
            Some(present) => answer.already_present.push(wire::key(&present)),
            None => {
                let stored = admit::store(tx, &frozen.applied_to(key)).await?;
                accounts.push(stored.address);
                answer.restored.push(wire::key(&stored));
            }
        }
    }
    let policy = restore_policies(tx, policies).await?;
    answer.restored_policy_version = u64::try_from(policy.unwrap_or_default()).unwrap_or_default();
    let drill = Done {
        kind: Kind::Restore,
        caller: &entry.caller,
        archive: Hash(archive),
        archive_made_at: *made_at,
        proven: answer.restored.iter().map(|key| key.id.clone()).collect(),
        missing: 0,
    };
    db::drill::insert(tx, drill).await?;
    if !accounts.is_empty() {
        let (accounts, sequence, hash) = (&accounts, *sequence, *hash);
        let from = FromArchive { archive, sequence, hash, accounts, chain_ids, nonces };
        db::restoration::insert_from_archive(tx, from).await?;
    }
    let policy = policy.map_or("policy left as it is".to_owned(), |v| format!("policy {v} in force"));
    Ok(format!(
        "restored {} of {} keys, their nonces to be proven, {} labels frozen, {policy}",
        answer.restored.len(),
        keys.len(),
        frozen.labels
    ))
}

/// What became of the frozen labels of an archive.
struct Freezes<'a> {
    /// How many are frozen here now that were not before.
    labels: usize,
    /// Those that are not frozen here: restored keys that have one are frozen by themselves.
    of_keys: Vec<&'a archive::FrozenLabel>,
}

impl Freezes<'_> {
    fn applied_to(&self, key: &Key) -> Key {
        let has = |label: &&archive::FrozenLabel| key.labels.get(&label.name) == Some(&label.value);
        let state = if self.of_keys.iter().any(has) { State::Frozen } else { key.state };
        Key { state, ..key.clone() }
    }
}

/// Freezes the labels of an archive in an empty installation. Where there are keys, a label may have been thawed since, and the
/// keys that are here are not those of the archive: only what is restored is frozen.
async fn restore_freezes<'a, C: ConnectionTrait>(
    tx: &C,
    archived: &'a [archive::FrozenLabel],
) -> Result<Freezes<'a>, Failure> {
    let is_empty = db::key::page(tx, None, None, 1).await?.is_empty();
    let mut freezes = Freezes { labels: 0, of_keys: Vec::new() };
    for label in archived {
        let archive::FrozenLabel { name, value, reason, frozen_by, frozen_at: _ } = label;
        if !is_empty {
            freezes.of_keys.push(label);
        } else if db::frozen_label::freeze(tx, (name, value), reason, frozen_by).await?.is_some() {
            freezes.labels += 1;
        }
    }
    Ok(freezes)
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
async fn sort<C: ConnectionTrait>(
    db: &C,
    keys: &[Key],
    mut answer: RestoreKeysResponse,
) -> Result<RestoreKeysResponse, Declined> {
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
