//! What keys from an archive may sign, what becomes of freezes and rules, and archives of any size.

use std::collections::BTreeMap;

use age::x25519::Identity;
use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use api::keys::v1::approve_intent_request::Intent;
use api::keys::v1::{
    ConfirmNonceFloorRequest, FreezeLabelRequest, GetAuditHeadRequest, Key, KeyRole, KeyState, Label,
    ListDrillsRequest, ListFrozenLabelsRequest, ThawLabelRequest, TransactionIntent,
};
use keys::backup::{age_file, archive};
use keys::crypto::SecretKey;
use keys::db::key::{Role, State};
use keys::policy::call::{approveCall, withdrawCall};
use runtime::server::{BULK_BYTES_MAX, REQUEST_BYTES_MAX};
use time::OffsetDateTime;
use tonic::Code;

use crate::approvals::approve;
use crate::restores::{around, backup, keys, labelled, records, restore, verify};
use crate::stand::{INFO, METIS, NETWORK, POOL, Stand, address_of, metis, refusal, request, rule, set_rules};

async fn signs(stand: &Stand, key: &Key, nonce: u64) -> Result<(), String> {
    let asked = request(key, METIS, &approveCall { spender: INFO, value: metis(1) }, nonce);
    stand.sign(asked).await.map(drop).map_err(|refused| refused.reason)
}

fn refused(reason: &str) -> Result<(), String> {
    Err(reason.to_owned())
}

async fn confirm(stand: &Stand, key: &Key, nonce: u64) -> u64 {
    let floor = ConfirmNonceFloorRequest {
        key_id: key.id.clone(),
        network: NETWORK.to_owned(),
        nonce: Some(nonce),
        reason: "newest block says so".to_owned(),
        validate_only: false,
    };
    stand.operator.clone().confirm_nonce_floor(floor).await.unwrap().into_inner().nonce
}

/// Names of the keys that wait for a floor.
async fn waiting(stand: &Stand) -> Vec<String> {
    let head = stand.operator.clone().get_audit_head(GetAuditHeadRequest {}).await.unwrap().into_inner();
    head.doubt.map(|doubt| doubt.waiting.into_iter().map(|one| one.key_name).collect()).unwrap_or_default()
}

fn site(value: &str) -> Option<Label> {
    Some(Label { name: "site".to_owned(), value: value.to_owned() })
}

async fn freeze(stand: &Stand, value: &str) {
    let freeze = FreezeLabelRequest { label: site(value), reason: "incident 7".to_owned() };
    stand.operator.clone().freeze_label(freeze).await.unwrap();
}

async fn thaw(stand: &Stand, value: &str) {
    let thaw = ThawLabelRequest { label: site(value), reason: "it is over".to_owned() };
    stand.operator.clone().thaw_label(thaw).await.unwrap();
}

async fn frozen_labels(stand: &Stand) -> Vec<(String, String)> {
    let list = stand.operator.clone().list_frozen_labels(ListFrozenLabelsRequest {}).await.unwrap();
    let named = |frozen: api::keys::v1::FrozenLabel| (frozen.label.unwrap().value, frozen.reason);
    list.into_inner().labels.into_iter().map(named).collect()
}

#[tokio::test]
async fn after_a_restore_into_an_empty_installation_no_old_nonce_is_signed_again() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let (first, other) = (Stand::start(&db).await, Stand::start(&other_db).await);
    let alpha = first.create("alpha", KeyRole::Owner).await;
    for nonce in 0..3 {
        signs(&first, &alpha, nonce).await.unwrap();
    }
    let identity = Identity::generate();
    let made = backup(&first, &identity, &[]).await;
    signs(&first, &alpha, 3).await.unwrap();

    restore(&other, &made, &identity).await.unwrap();
    let status = other
        .lifecycle
        .clone()
        .sign_transaction(request(&alpha, METIS, &approveCall { spender: INFO, value: metis(2) }, 3))
        .await
        .unwrap_err();
    assert_eq!((status.code(), refusal(&status).reason.as_str()), (Code::Unavailable, "GUARD_UNPROVEN"));
    assert!(status.message().contains("archive"), "{}", status.message());
    assert_eq!(waiting(&other).await, ["alpha"]);
    assert_eq!(records(&other).await.last().unwrap().rule, "GUARD_UNPROVEN", "it is recorded");

    assert_eq!(confirm(&other, &alpha, 1).await, 3, "the archive knows that 0 to 2 were signed");
    assert_eq!(signs(&other, &alpha, 2).await, refused("NONCE_BELOW_FLOOR"));
    assert_eq!(confirm(&other, &alpha, 4).await, 4);
    assert_eq!(signs(&other, &alpha, 3).await, refused("NONCE_BELOW_FLOOR"));
    signs(&other, &alpha, 4).await.unwrap();
    assert_eq!(waiting(&other).await, [""; 0]);

    // The same archive again brings nothing, and so no doubt.
    restore(&other, &made, &identity).await.unwrap();
    signs(&other, &alpha, 5).await.unwrap();
}

#[tokio::test]
async fn a_restore_casts_no_doubt_on_keys_that_were_here_or_are_made_later() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let (first, other) = (Stand::start(&db).await, Stand::start(&other_db).await);
    let far = first.create("far", KeyRole::Owner).await;
    let identity = Identity::generate();
    let made = backup(&first, &identity, &[]).await;
    let farther = first.create("farther", KeyRole::Owner).await;
    let later = backup(&first, &identity, &[]).await;

    let here = other.create("here", KeyRole::Owner).await;
    signs(&other, &here, 0).await.unwrap();
    restore(&other, &made, &identity).await.unwrap();
    signs(&other, &here, 1).await.unwrap();
    let fresh = other.create("fresh", KeyRole::Owner).await;
    signs(&other, &fresh, 0).await.unwrap();
    assert_eq!(signs(&other, &far, 0).await, refused("GUARD_UNPROVEN"));

    // A second restoration keeps what was confirmed since the first, and what was not.
    confirm(&other, &far, 7).await;
    restore(&other, &later, &identity).await.unwrap();
    assert_eq!(waiting(&other).await, ["farther"]);
    assert_eq!(signs(&other, &farther, 0).await, refused("GUARD_UNPROVEN"));
    assert_eq!(signs(&other, &far, 6).await, refused("NONCE_BELOW_FLOOR"));
    signs(&other, &far, 7).await.unwrap();
    signs(&other, &here, 2).await.unwrap();
    signs(&other, &fresh, 1).await.unwrap();
}

#[tokio::test]
async fn frozen_labels_survive_a_restore_into_an_empty_installation() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let (first, other) = (Stand::start(&db).await, Stand::start(&other_db).await);
    set_rules(&first, "quorum = { thaw = 0 }", &rule("all", "\"approve\"", "")).await;
    let alpha = labelled(&first, "alpha", &[("site", "one")]).await;
    freeze(&first, "one").await;
    freeze(&first, "nowhere-yet").await;
    let identity = Identity::generate();
    let made = backup(&first, &identity, &[]).await;

    restore(&other, &made, &identity).await.unwrap();
    assert_eq!(frozen_labels(&other).await, frozen_labels(&first).await);
    confirm(&other, &alpha, 0).await;
    assert_eq!(signs(&other, &alpha, 0).await, refused("KEY_NOT_ENABLED"));
    let late = labelled(&other, "late", &[("site", "nowhere-yet")]).await;
    assert_eq!(late.state(), KeyState::Frozen, "keys that come later with the label are frozen too");
    // The key was frozen by its label alone, so that it signs when that is lifted.
    thaw(&other, "one").await;
    signs(&other, &alpha, 0).await.unwrap();
}

#[tokio::test]
async fn where_there_are_keys_an_archive_freezes_what_it_brings_and_nothing_else() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let (first, other) = (Stand::start(&db).await, Stand::start(&other_db).await);
    labelled(&first, "alpha", &[("site", "one")]).await;
    freeze(&first, "one").await;
    let identity = Identity::generate();
    let made = backup(&first, &identity, &[]).await;

    let here = labelled(&other, "here", &[("site", "one")]).await;
    let answer = restore(&other, &made, &identity).await.unwrap();
    assert_eq!(answer.restored[0].state(), KeyState::Frozen);
    assert_eq!(frozen_labels(&other).await, []);
    signs(&other, &here, 0).await.unwrap();
}

#[tokio::test]
async fn rules_that_ask_for_approvals_survive_a_restore_and_approvals_given_before_do_not() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let (first, other) = (Stand::start(&db).await, Stand::start(&other_db).await);
    let key = first.create("alpha", KeyRole::Owner).await;
    set_rules(&first, "", &rule("large", "\"withdraw\"", "approvals = 1")).await;
    let call = withdrawCall { seqId: U256::from(17), amount: metis(5) };
    let intent = || {
        Intent::Transaction(TransactionIntent {
            key_id: key.id.clone(),
            network: NETWORK.to_owned(),
            to: POOL.to_string(),
            value_wei_max: String::new(),
            data: format!("0x{}", hex::encode(call.abi_encode())),
        })
    };
    approve(&first.colleague, intent()).await;
    let identity = Identity::generate();
    let made = backup(&first, &identity, &[]).await;
    restore(&other, &made, &identity).await.unwrap();
    confirm(&other, &key, 0).await;
    let asked = request(&key, POOL, &call, 0);
    assert_eq!(other.sign(asked.clone()).await.unwrap_err().reason, "APPROVALS_MISSING");
    approve(&other.colleague, intent()).await;
    other.sign(asked).await.unwrap();
}

/// An archive of this many keys, as `BackupKeys` writes it.
fn archive_of(count: u32, identity: &Identity) -> Vec<u8> {
    let entry = |number: u32| {
        let mut secret = [0; 32];
        secret[28..].copy_from_slice(&(number + 1).to_be_bytes());
        let secret = SecretKey::from_slice(&secret).unwrap();
        let key = keys::db::key::Key {
            id: uuid::Uuid::now_v7().to_string(),
            name: format!("sequencer-{number}"),
            role: Role::Owner,
            state: State::Enabled,
            place: keys::backend::Place::Remote { backend: String::new(), reference: String::new() },
            address: secret.address(),
            public_key: secret.public(),
            labels: BTreeMap::from([("site".to_owned(), "one".to_owned())]),
            created_at: OffsetDateTime::now_utc(),
            backup_proven_at: None,
        };
        archive::Entry::of(&key, State::Enabled, &secret)
    };
    let document = archive::Document {
        format: archive::FORMAT.to_owned(),
        version: archive::VERSION,
        created_at: OffsetDateTime::now_utc(),
        policy_version: 0,
        policies: vec![],
        audit_sequence: 7,
        audit_hash: "11".repeat(32),
        nonces: vec![],
        frozen_labels: vec![],
        keys: (0..count).map(entry).collect(),
    };
    age_file::encrypt(&[identity.to_public()], &document.to_bytes()).unwrap()
}

/// Enough that the archive is larger than any other request. `KEYS_ARCHIVE=10000` for a whole fleet.
const MANY: u32 = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_of_thousands_of_keys_is_restored_proven_and_made_again() {
    let count = testkit::from_environment("KEYS_ARCHIVE", MANY);
    let db = testkit::database().await;
    let mut stand = Stand::start(&db).await;
    stand.operator = stand.operator.clone().max_decoding_message_size(BULK_BYTES_MAX);
    let identity = Identity::generate();
    let made = archive_of(count, &identity);
    assert!(made.len() > REQUEST_BYTES_MAX, "{} bytes", made.len());
    let begun = std::time::Instant::now();
    let answer = restore(&stand, &made, &identity).await.unwrap();
    println!("{} bytes, {count} keys, restored in {:?}", made.len(), begun.elapsed());
    assert_eq!(answer.restored.len(), usize::try_from(count).unwrap());
    let again = backup(&stand, &identity, &[]).await;
    assert_eq!(verify(&stand, &again, &identity).await.keys, count);
    println!("and made again and proven after {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_archive_over_the_limit_is_refused_before_anything_is_read() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let before = records(&stand).await.len();
    let identity = Identity::generate();
    let status = restore(&stand, &vec![0; BULK_BYTES_MAX + 1], &identity).await.unwrap_err();
    let refused = refusal(&status);
    assert_eq!((status.code(), refused.reason.as_str()), (Code::ResourceExhausted, "REQUEST_TOO_LARGE"));
    assert_eq!(refused.metadata["limit_bytes"], BULK_BYTES_MAX.to_string());
    assert_eq!((keys(&stand).await, records(&stand).await.len()), (vec![], before));
    let drills = stand.operator.clone().list_drills(ListDrillsRequest::default()).await.unwrap().into_inner();
    assert_eq!(drills.drills, []);
}

#[tokio::test]
async fn an_archive_that_contradicts_itself_about_nonces_or_labels_is_refused() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let alpha = stand.create("alpha", KeyRole::Owner).await;
    let identity = Identity::generate();
    let made = backup(&stand, &identity, &[]).await;
    let good: serde_json::Value =
        serde_json::from_slice(&age_file::decrypt(&identity, &made).unwrap()).unwrap();
    let nonce = |chain_id: i64, nonce: i64| serde_json::json!({ "chain_id": chain_id, "account": address_of(&alpha).to_string(), "nonce": nonce });
    let label = serde_json::json!({ "name": "", "value": "one", "reason": "r", "frozen_by": "b",
                                    "frozen_at": "2026-01-01T00:00:00Z" });
    let table = [
        ("nonces", serde_json::json!([nonce(0, 1)])),
        ("nonces", serde_json::json!([nonce(1, -1)])),
        ("nonces", serde_json::json!([nonce(1, i64::MAX)])),
        ("nonces", serde_json::json!([nonce(1, 1), nonce(1, 2)])),
        ("frozen_labels", serde_json::json!([label])),
    ];
    for (field, value) in table {
        let mut document = good.clone();
        document[field] = value.clone();
        let status = restore(&stand, &around(&identity, &document), &identity).await.unwrap_err();
        assert_eq!(refusal(&status).reason, "ARCHIVE_INVALID", "{field}: {value}");
    }
    restore(&stand, &around(&identity, &good), &identity).await.unwrap();
}
