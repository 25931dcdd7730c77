//! RotateKek: wraps the data keys under another key-encryption key. Secrets are not opened, and no
//! signature waits: until the end this process has the old key and the new one.
//!
//! Each call does a bounded part, batch by batch, each batch with its record in one transaction. A
//! call that is cut off leaves keys under both generations, which all open; the next call goes on.

use std::sync::Arc;

use api::convert::bad;
use api::keys::v1::{RotateKekRequest, RotateKekResponse};
use api::reasons::{KEK_UNCHANGED, KEK_UNUSABLE};
use runtime::errors::{Refusal, generic};

use super::recorded;
use crate::audit::{Entry, signer};
use crate::crypto::KeyEncryptionKey;
use crate::db;
use crate::db::kek::{Progress, Rewrapped, Row};
use crate::db::key::Key;
use crate::error::{Declined, Failure};
use crate::keyring::{Keyring, sealed};

/// Keys of one transaction: it holds their rows, and the audit log at its end, for some milliseconds.
const BATCH: u32 = 250;
/// Batches of one call, far within its deadline.
const BATCHES_MAX: usize = 20;

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: RotateKekRequest,
) -> Result<RotateKekResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "RotateKek",
        intent: format!("leave generation {} of the key-encryption key", request.from_generation),
        ..Entry::default()
    };
    recorded(keyring, &entry, rotate(keyring, &entry, request)).await
}

async fn rotate(
    keyring: &Keyring,
    entry: &Entry,
    request: RotateKekRequest,
) -> Result<RotateKekResponse, Declined> {
    let RotateKekRequest { from_generation, validate_only } = request;
    let newest = newest(keyring).await?;
    if validate_only {
        return answer(keyring, 0).await;
    }
    let from = i32::try_from(from_generation).unwrap_or(i32::MAX);
    if from < 1 || from > newest.generation {
        let why = format!("the newest generation is {}", newest.generation);
        return Err(bad(&generic::INVALID_ARGUMENT, "from_generation", why).into());
    }
    if from == newest.generation {
        begin(keyring, entry, &newest).await?;
    }
    learn(keyring).await?;
    // Before the last key is wrapped anew, after which the old key-encryption key may be taken away.
    signer::reseal(&keyring.db, &keyring.ring).await?;
    let mut rewrapped = 0;
    for _ in 0..BATCHES_MAX {
        let replaced = batch(keyring, entry).await?;
        rewrapped += replaced;
        if replaced == 0 {
            break;
        }
    }
    answer(keyring, rewrapped).await
}

/// Stores the next generation with its record. Nothing is wrapped by it yet.
async fn begin(keyring: &Keyring, entry: &Entry, newest: &Row) -> Result<(), Declined> {
    let unusable = |why: &dyn std::error::Error| {
        Refusal::new(&KEK_UNUSABLE, format!("the new key-encryption key: {}", runtime::report(why)))
    };
    let current = keyring.ring.sources().current.as_ref().ok_or(Failure::KekRowMissing)?;
    let unchanged = keyring.ring.is_current(newest).await.map_err(|why| unusable(&why))?;
    if unchanged && !current.has_more() {
        let why = format!("the configured key-encryption key is that of generation {}", newest.generation);
        return Err(Refusal::new(&KEK_UNCHANGED, why).meta("generation", newest.generation).into());
    }
    let (kek, protection) = current.make().await.map_err(|why| unusable(&why))?;
    let check_value = kek.check_value().map_err(Failure::from)?;
    let row = Row { generation: newest.generation + 1, protection, check_value };
    // What cannot be had again must not wrap anything.
    match current.open(&row.protection).await {
        Some(Ok(again)) if again.made(&row.check_value) => {}
        Some(Err(why)) => return Err(unusable(&why).into()),
        Some(Ok(_)) | None => return Err(Failure::GenerationMissing { generation: row.generation }.into()),
    }
    let row = &row;
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            db::kek::insert(&tx, row).await?;
            let stored = db::kek::newest(&tx).await?.ok_or(Failure::KekRowMissing)?;
            if stored.check_value != row.check_value {
                // Another replica was faster, and has the record; whether its key is ours, `learn` finds.
                return Ok(());
            }
            let kind = row.protection.kind();
            let intent = format!("begin generation {} of the key-encryption key ({kind})", row.generation);
            db::audit::append(&tx, Entry { intent, ..entry.clone() }.allowed()).await?;
            Ok::<_, Declined>(())
        })
    })
    .await
}

/// Wraps some of the keys that are behind; 0 when there are none.
async fn batch(keyring: &Keyring, entry: &Entry) -> Result<u64, Declined> {
    let (generation, kek) = keyring.newest_kek()?;
    let behind = db::key::behind(&keyring.db, generation, BATCH).await?;
    if behind.is_empty() {
        return Ok(0);
    }
    let rewrapped =
        behind.iter().map(|key| rewrap(keyring, key, &kek)).collect::<Result<Vec<Rewrapped>, _>>()?;
    let rewrapped = rewrapped.as_slice();
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            let replaced = db::kek::rewrap(&tx, generation, rewrapped).await?;
            let intent =
                format!("wrap {replaced} keys under generation {generation} of the key-encryption key");
            db::audit::append(&tx, Entry { intent, ..entry.clone() }.allowed()).await?;
            Ok::<_, Declined>(u64::try_from(replaced).unwrap_or_default())
        })
    })
    .await
}

fn rewrap(keyring: &Keyring, key: &Key, under: &Arc<KeyEncryptionKey>) -> Result<Rewrapped, Failure> {
    let column = "kek_generation";
    let envelope = key.place.envelope().ok_or_else(|| Failure::KeyRow { key_id: key.id.clone(), column })?;
    let generation = envelope.generation;
    let from = keyring.ring.of(generation).ok_or(Failure::GenerationMissing { generation })?;
    let wrapped = envelope
        .rewrap(&from, key.belongs(), under)
        .map_err(|source| Failure::Rewrap { key_id: key.id.clone(), source })?;
    Ok((key.id.clone(), envelope.wrapped_data_key.clone(), wrapped))
}

async fn learn(keyring: &Keyring) -> Result<(), Declined> {
    Ok(keyring.learn().await?.map_err(|missing| sealed(&runtime::report(&missing)))?)
}

async fn newest(keyring: &Keyring) -> Result<Row, Failure> {
    db::kek::newest(&keyring.db).await?.ok_or(Failure::KekRowMissing)
}

async fn answer(keyring: &Keyring, rewrapped: u64) -> Result<RotateKekResponse, Declined> {
    let source = newest(keyring).await?.protection.kind().to_owned();
    let Progress { generation, behind } = db::kek::progress(&keyring.db).await?;
    Ok(RotateKekResponse {
        generation: u32::try_from(generation).unwrap_or_default(),
        rewrapped,
        remaining: u64::try_from(behind).unwrap_or_default(),
        source,
    })
}
