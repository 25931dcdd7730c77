//! Another key-encryption key, while signing goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use api::keys::v1::{
    GetAuditHeadRequest, GetAuditHeadResponse, Key, KeyRole, RotateKekRequest, RotateKekResponse,
};
use keys::Config;
use keys::config::Previous;
use keys::policy::call::approveCall;
use runtime::config::Secret;
use testkit::wait_until;

use crate::stand::{INFO, KEK, METIS, Stand, config, metis, refusal, request};

/// Another key than `KEK`.
const NEXT: &str = "feedbeefc0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0de0001";
/// More than one batch.
const KEYS: u32 = 300;
const SOON: Duration = Duration::from_secs(20);

fn next() -> Config {
    let previous = Previous { key: Some(Secret::new(KEK.to_owned())), ..Previous::default() };
    Config { kek: Some(Secret::new(NEXT.to_owned())), kek_previous: Some(previous), ..Config::default() }
}

async fn rotate(stand: &Stand, from_generation: u32) -> RotateKekResponse {
    let request = RotateKekRequest { from_generation, validate_only: false };
    stand.operator.clone().rotate_kek(request).await.unwrap().into_inner()
}

async fn status(stand: &Stand) -> RotateKekResponse {
    let request = RotateKekRequest { from_generation: 0, validate_only: true };
    stand.operator.clone().rotate_kek(request).await.unwrap().into_inner()
}

async fn make(stand: &Stand, count: u32) -> Vec<Key> {
    let mut keys = Vec::new();
    for number in 0..count {
        keys.push(stand.create(&format!("key-{number}"), KeyRole::Owner).await);
    }
    keys
}

async fn signs(stand: &Stand, key: &Key, nonce: u64) {
    let call = approveCall { spender: INFO, value: metis(1) };
    stand.sign(request(key, METIS, &call, nonce)).await.unwrap();
}

async fn head(stand: &Stand) -> GetAuditHeadResponse {
    stand.operator.clone().get_audit_head(GetAuditHeadRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn heads_of_the_log_are_signed_by_the_same_key_after_a_rotation() {
    let db = testkit::database().await;
    let first = Stand::start(&db).await;
    make(&first, 1).await;
    wait_until("a head is signed", SOON, || async { head(&first).await.signed.is_some() }).await;
    let signers = head(&first).await.public_keys;
    first.stop().await;
    let rotating = Stand::with(&db, next()).await;
    assert_eq!(rotate(&rotating, 1).await.remaining, 0);
    rotating.stop().await;
    let only_new = Config { kek: Some(Secret::new(NEXT.to_owned())), ..Config::default() };
    let after = Stand::with(&db, only_new).await;
    after.create("late", KeyRole::Owner).await;
    let records = head(&after).await.sequence;
    after.stop().await;
    let last = Stand::with(&db, next()).await;
    let at_the_end = head(&last).await;
    assert!(at_the_end.signed.unwrap().sequence >= records, "the one with the new key only has signed");
    assert_eq!(at_the_end.public_keys, signers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_wrapped_anew_while_two_replicas_sign_and_no_signature_fails() {
    let db = testkit::database().await;
    let first = Stand::start(&db).await;
    let keys = make(&first, KEYS).await;
    first.stop().await;
    let (rotating, beside) = (Stand::with(&db, next()).await, Arc::new(Stand::with(&db, next()).await));

    let (done, signed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let signing = {
        let (beside, keys) = (Arc::clone(&beside), keys.clone());
        let (done, signed) = (Arc::clone(&done), Arc::clone(&signed));
        tokio::spawn(async move {
            for round in 0.. {
                // Some are in the cache from the round before, with the envelope of before.
                for key in keys.iter().step_by(7) {
                    if done.load(Ordering::Relaxed) && round > 0 {
                        return;
                    }
                    signs(&beside, key, round).await;
                    signed.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    wait_until("signatures are made", SOON, || async { signed.load(Ordering::Relaxed) > 3 }).await;
    assert_eq!(status(&rotating).await.generation, 1, "a start begins no rotation");
    let answer = rotate(&rotating, 1).await;
    assert_eq!((answer.generation, answer.rewrapped, answer.remaining), (2, u64::from(KEYS), 0));
    let at_the_end = signed.load(Ordering::Relaxed);
    wait_until("signatures go on", SOON, || async { signed.load(Ordering::Relaxed) > at_the_end + 10 }).await;
    done.store(true, Ordering::Relaxed);
    signing.await.unwrap();

    // Repeating the request changes nothing, and what is made now is under the new key.
    let again = rotate(&rotating, 1).await;
    assert_eq!((again.generation, again.rewrapped, again.remaining), (2, 0, 0));
    let late = beside.create("late", KeyRole::Owner).await;
    assert_eq!(status(&rotating).await.remaining, 0);
    rotating.stop().await;

    let only_new = Config { kek: Some(Secret::new(NEXT.to_owned())), ..Config::default() };
    let after = Stand::with(&db, only_new).await;
    assert!(after.health.is_ready());
    for key in [&keys[0], &keys[KEYS as usize - 1], &late] {
        signs(&after, key, 1_000).await;
    }
    assert!(!Stand::with(&db, config()).await.health.is_ready(), "the old key opens nothing any more");
}

#[tokio::test]
async fn a_replica_that_runs_learns_of_a_rotation_from_replaced_files() {
    let db = testkit::database().await;
    let folder = tempfile::tempdir().unwrap();
    let (kek, previous) = (folder.path().join("kek"), folder.path().join("kek_previous"));
    let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
    write(&kek, KEK);
    let from_files = Config {
        kek: Some(Secret::file(&kek)),
        kek_previous: Some(Previous { key: Some(Secret::file(&previous)), ..Previous::default() }),
        ..Config::default()
    };
    let (one, other) = (Stand::with(&db, from_files.clone()).await, Stand::with(&db, from_files).await);
    let keys = make(&one, 3).await;
    signs(&other, &keys[0], 0).await;

    write(&previous, KEK);
    write(&kek, NEXT);
    assert_eq!(rotate(&one, 1).await.remaining, 0);

    // One that it had in memory, one that it reads now, and a new one.
    signs(&other, &keys[0], 1).await;
    signs(&other, &keys[1], 0).await;
    let made = other.create("made-after", KeyRole::Owner).await;
    signs(&one, &made, 0).await;
    assert_eq!(status(&other).await.remaining, 0);
}

#[tokio::test]
async fn a_rotation_to_nothing_new_or_to_a_key_that_cannot_be_had_changes_nothing() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let refused = |from_generation| {
        let mut client = stand.operator.clone();
        async move {
            let request = RotateKekRequest { from_generation, validate_only: false };
            refusal(&client.rotate_kek(request).await.unwrap_err())
        }
    };
    assert_eq!(refused(1).await.reason, "KEK_UNCHANGED");
    for from in [0, 2, u32::MAX] {
        let out_of_range = refused(from).await;
        let field = out_of_range.fields[0].0.clone();
        assert_eq!((out_of_range.reason.as_str(), field.as_str()), ("INVALID_ARGUMENT", "from_generation"));
    }
    stand.stop().await;

    let missing = Config { kek: Some(Secret::file("/does/not/exist")), ..next() };
    let half = Stand::with(&db, missing).await;
    assert!(
        !half.health.is_ready(),
        "the wanted source must be readable, or a typo shows only at the rotation"
    );
    half.stop().await;
    let again = Stand::start(&db).await;
    assert_eq!(status(&again).await.generation, 1);
    signs(&again, &key, 0).await;
}

#[tokio::test]
async fn a_passphrase_gives_a_new_generation_by_a_new_salt() {
    let db = testkit::database().await;
    let passphrase = Some(Secret::new("correct horse battery".to_owned()));
    let stand = Stand::with(&db, Config { kek_passphrase: passphrase, ..Config::default() }).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let answer = rotate(&stand, 1).await;
    assert_eq!((answer.generation, answer.remaining, answer.source.as_str()), (2, 0, "ARGON2ID"));
    signs(&stand, &key, 0).await;
    assert_eq!(rotate(&stand, 2).await.generation, 3);
    signs(&stand, &key, 1).await;
}
