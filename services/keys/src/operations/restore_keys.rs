//! RestoreKeys: takes the keys of an archive in, all or none. Keys that are here already, by address,
//! are left as they are; so twice is harmless, with or without the same `request_id`.

use alloy_primitives::B256;
use api::keys::v1::{RestoreKeysRequest, RestoreKeysResponse};
use sea_orm::ConnectionTrait;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::admit::{self, Newcomer};
use super::once::Once;
use super::{recorded, verify_backup, wire};
use crate::audit::Entry;
use crate::backup::age_file;
use crate::backup::archive::Proven;
use crate::db;
use crate::db::key::Key;
use crate::error::{Declined, Failure};
use crate::keyring::Keyring;

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
    let proven = verify_backup::open(age_file::identity("identity", &identity)?, archive.to_vec()).await?;
    let keys = proven.into_iter().map(|proven| prepare(keyring, proven)).collect::<Result<Vec<_>, _>>()?;
    if validate_only {
        let answer = sort(&keyring.db, &keys).await?;
        let intent = format!("restore {} keys (validate only)", answer.restored.len());
        db::audit::append(&keyring.db, Entry { intent, ..entry.clone() }.allowed()).await?;
        return Ok(answer);
    }
    let (once, keys) = (&once, &keys);
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            if let Some(before) = once.begin(&tx).await? {
                return Ok(before);
            }
            let mut answer = RestoreKeysResponse::default();
            for key in keys {
                match db::key::of_address(&tx, key.address).await? {
                    Some(present) => answer.already_present.push(wire::key(&present)),
                    None => answer.restored.push(wire::key(&admit::store(&tx, key).await?)),
                }
            }
            once.finish(&tx, &answer).await?;
            let intent = format!("restored {} of {} keys", answer.restored.len(), keys.len());
            db::audit::append(&tx, Entry { intent, ..entry.clone() }.allowed()).await?;
            Ok(answer)
        })
    })
    .await
}

fn prepare(keyring: &Keyring, proven: Proven) -> Result<Key, Failure> {
    let Proven { id, name, role, labels, secret } = proven;
    // That it is being restored is the proof that it can be.
    let backup_proven_at = Some(OffsetDateTime::now_utc());
    admit::prepare(keyring, Newcomer { id, name, role, labels, backup_proven_at }, &secret)
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
