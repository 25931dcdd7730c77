//! What an archive holds beside keys, what becomes of it in an empty installation, and archives that
//! are not what was written.

use std::collections::BTreeSet;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use api::keys::v1::{
    ArchiveContents, AuditRecord, BackupKeysRequest, CreateKeyRequest, DrillKind, GetPolicyRequest, Key,
    KeyRole, KeyState, ListAuditRecordsRequest, ListDrillsRequest, ListKeysRequest, Policy,
    RestoreKeysRequest, RestoreKeysResponse, SetKeyStateRequest, SetPolicyRequest, VerifyBackupRequest,
};
use keys::backup::{age_file, archive};
use runtime::telemetry::{self, TelemetryConfig, metrics_text};
use serde_json::{Value, json};
use testkit::wait_until;
use tonic::Code;

use crate::backends::web3signer;
use crate::stand::{Stand, config, refusal};

const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");

fn fresh() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn secret_of(identity: &Identity) -> String {
    identity.to_string().expose_secret().to_owned()
}

pub async fn backup(stand: &Stand, identity: &Identity, labels: &[(&str, &str)]) -> Vec<u8> {
    let request = BackupKeysRequest {
        recipients: vec![identity.to_public().to_string()],
        labels: labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
        key_ids: vec![],
    };
    stand.operator.clone().backup_keys(request).await.unwrap().into_inner().archive.to_vec()
}

pub async fn restore(
    stand: &Stand,
    archive: &[u8],
    identity: &Identity,
) -> Result<RestoreKeysResponse, tonic::Status> {
    let request = RestoreKeysRequest {
        request_id: fresh(),
        archive: archive.to_vec().into(),
        identity: secret_of(identity),
        validate_only: false,
    };
    stand.operator.clone().restore_keys(request).await.map(|answer| answer.into_inner())
}

pub async fn verify(stand: &Stand, archive: &[u8], identity: &Identity) -> ArchiveContents {
    let drill = VerifyBackupRequest { archive: archive.to_vec().into(), identity: secret_of(identity) };
    stand.operator.clone().verify_backup(drill).await.unwrap().into_inner().contents.unwrap()
}

async fn policy(stand: &Stand) -> Policy {
    stand.operator.clone().get_policy(GetPolicyRequest {}).await.unwrap().into_inner().policy.unwrap()
}

async fn set_policy(stand: &Stand, remark: &str) -> Policy {
    let Policy { version, toml, .. } = policy(stand).await;
    let toml = format!("{toml}\n# {remark}\n");
    let request = SetPolicyRequest { toml, expected_version: version, validate_only: false };
    stand.operator.clone().set_policy(request).await.unwrap().into_inner().policy.unwrap()
}

pub async fn records(stand: &Stand) -> Vec<AuditRecord> {
    let request = ListAuditRecordsRequest { page_size: 500, page_token: String::new() };
    stand.operator.clone().list_audit_records(request).await.unwrap().into_inner().records
}

pub async fn keys(stand: &Stand) -> Vec<Key> {
    stand.operator.clone().list_keys(ListKeysRequest::default()).await.unwrap().into_inner().keys
}

pub async fn labelled(stand: &Stand, name: &str, labels: &[(&str, &str)]) -> Key {
    let request = CreateKeyRequest {
        request_id: fresh(),
        name: name.to_owned(),
        role: KeyRole::Owner.into(),
        labels: labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
        ..CreateKeyRequest::default()
    };
    stand.operator.clone().create_key(request).await.unwrap().into_inner().key.unwrap()
}

#[tokio::test]
async fn an_empty_installation_gets_addresses_states_policy_and_the_head_of_the_audit_log() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let stand = Stand::start(&db).await;
    let frozen = stand.create("alpha", KeyRole::Owner).await;
    stand.create("alpha-node", KeyRole::Sequencer).await;
    let freeze =
        SetKeyStateRequest { id: frozen.id, state: KeyState::Frozen.into(), reason: "incident".to_owned() };
    stand.operator.clone().set_key_state(freeze).await.unwrap();
    set_policy(&stand, "first change").await;
    let in_force = set_policy(&stand, "second change").await;
    let head = records(&stand).await.last().cloned().unwrap();
    let identity = Identity::generate();
    let made = backup(&stand, &identity, &[]).await;

    let contents = verify(&stand, &made, &identity).await;
    assert_eq!((contents.keys, contents.policy_version), (2, in_force.version));
    assert_eq!((contents.audit_sequence, &contents.audit_hash), (head.sequence, &head.hash));

    let other = Stand::start(&other_db).await;
    let answer = restore(&other, &made, &identity).await.unwrap();
    let bare = |keys: Vec<Key>| {
        keys.into_iter().map(|key| (key.id, key.name, key.state, key.public_key)).collect::<Vec<_>>()
    };
    assert_eq!(bare(keys(&other).await), bare(keys(&stand).await), "what was frozen stays frozen");
    assert_eq!(policy(&other).await, in_force, "with its number, author and date");
    assert_eq!((answer.restored_policy_version, answer.contents), (in_force.version, Some(contents)));
    let begun = records(&other).await.into_iter().find(|record| record.action == "RestoreKeys").unwrap();
    let named = format!("ended at record {} with 0x{}", head.sequence, head.hash);
    assert!(begun.intent.contains(&named), "{} does not say: {named}", begun.intent);

    // A second archive does not undo what an operator did here.
    let mine = set_policy(&other, "changed here").await;
    let again = restore(&other, &made, &identity).await.unwrap();
    assert_eq!((again.restored_policy_version, again.already_present.len()), (0, 2));
    assert_eq!(policy(&other).await, mine);
}

#[tokio::test]
async fn an_archive_of_some_labels_holds_these_keys_only() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let east = labelled(&stand, "east", &[("region", "east"), ("tier", "1")]).await;
    labelled(&stand, "east-2", &[("region", "east")]).await;
    labelled(&stand, "west", &[("region", "west"), ("tier", "1")]).await;
    let identity = Identity::generate();
    let part = backup(&stand, &identity, &[("region", "east"), ("tier", "1")]).await;
    let request = VerifyBackupRequest { archive: part.into(), identity: secret_of(&identity) };
    let proven = stand.operator.clone().verify_backup(request).await.unwrap().into_inner();
    assert_eq!((proven.proven_key_ids, proven.missing_key_ids.len()), (vec![east.id], 2));

    let none = BackupKeysRequest {
        recipients: vec![identity.to_public().to_string()],
        labels: [("region".to_owned(), "north".to_owned())].into(),
        key_ids: vec![],
    };
    let refused = refusal(&stand.operator.clone().backup_keys(none).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), ("KEY_NOT_FOUND", "labels"));
}

#[tokio::test]
async fn every_drill_is_kept_with_its_date_and_the_age_of_the_last_is_a_metric() {
    let telemetry = telemetry::init("keys", &TelemetryConfig::default()).ok();
    let db = testkit::database().await;
    // A backend that nobody serves, which is a metric too.
    let away = web3signer::settings("127.0.0.1:1".parse().unwrap());
    let stand =
        Stand::with(&db, keys::Config { backends: [("away".to_owned(), away)].into(), ..config() }).await;
    let drilled = stand.create("drilled", KeyRole::Owner).await;
    let identity = Identity::generate();
    let made = backup(&stand, &identity, &[]).await;
    let never = stand.create("never-drilled", KeyRole::Owner).await;
    for _ in 0..3 {
        verify(&stand, &made, &identity).await;
    }
    let list = |request: ListDrillsRequest| {
        let mut client = stand.operator.clone();
        async move { client.list_drills(request).await.unwrap().into_inner() }
    };
    let first = list(ListDrillsRequest { page_size: 2, ..ListDrillsRequest::default() }).await;
    let next = ListDrillsRequest {
        page_size: 2,
        page_token: first.next_page_token.clone(),
        ..ListDrillsRequest::default()
    };
    let rest = list(next).await;
    assert_eq!((first.drills.len(), rest.drills.len(), rest.next_page_token.as_str()), (2, 1, ""));
    let last = &first.drills[0];
    assert_eq!((last.kind(), last.proven_keys, last.missing_keys), (DrillKind::Verify, 1, 1));
    assert_eq!((last.caller.as_str(), last.archive_sha256.len()), ("operator:alice", 64));
    let of_never = list(ListDrillsRequest { key_id: never.id, ..ListDrillsRequest::default() }).await;
    let of_drilled =
        list(ListDrillsRequest { key_id: drilled.id.clone(), ..ListDrillsRequest::default() }).await;
    assert_eq!((of_never.drills.len(), of_drilled.drills.len()), (0, 3));

    // Twelve days ago, as far as the database knows.
    let earlier = format!(
        "UPDATE keys.key SET backup_proven_at = clock_timestamp() - interval '12 days' WHERE id = '{}'",
        drilled.id
    );
    let admin = db.admin().await;
    sea_orm::ConnectionTrait::execute_unprepared(&admin, &earlier).await.unwrap();
    let shows = |start: &str, value: &str| {
        let text = metrics_text().unwrap_or_default();
        text.lines().any(|line| {
            line.starts_with(start) && line.rsplit(' ').next().is_some_and(|v| v.starts_with(value))
        })
    };
    let soon = std::time::Duration::from_secs(60);
    wait_until("the age is exported", soon, || async {
        shows("keys_backup_age_days{key=\"drilled\"", "12.")
            && shows("keys_backup_age_days{key=\"never-drilled\"", "0")
    })
    .await;
    let named: BTreeSet<&str> = ALERTS
        .split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with("keys_"))
        .collect();
    assert!(named.len() >= 5, "{named:?}");
    for gauge in named {
        let is_there = |line: &str| line.strip_prefix(gauge).is_some_and(|rest| rest.starts_with(['{', ' ']));
        wait_until(&format!("{gauge}, which stands in an alert, is exported"), soon, || async {
            metrics_text().is_ok_and(|text| text.lines().any(is_there))
        })
        .await;
    }
    drop(telemetry);
}

/// An archive around another document.
pub fn around(identity: &Identity, document: &Value) -> Vec<u8> {
    age_file::encrypt(&[identity.to_public()], document.to_string().as_bytes()).unwrap()
}

/// The document in an archive.
fn inside(identity: &Identity, made: &[u8]) -> Value {
    serde_json::from_slice(&age_file::decrypt(identity, made).unwrap()).unwrap()
}

#[tokio::test]
async fn a_document_that_contradicts_itself_or_is_too_new_is_refused_and_one_of_version_1_is_read() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let stand = Stand::start(&db).await;
    stand.create("alpha", KeyRole::Owner).await;
    let identity = Identity::generate();
    let good = inside(&identity, &backup(&stand, &identity, &[]).await);
    let other = Stand::start(&other_db).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut document = good.clone();
        change(&mut document);
        document
    };
    let table = [
        (with(&|d| d["version"] = json!(4)), "ARCHIVE_VERSION", "version 4"),
        (with(&|d| d["version"] = json!(0)), "ARCHIVE_VERSION", "version 0"),
        (with(&|d| d["format"] = json!("other")), "ARCHIVE_INVALID", "no backup"),
        (with(&|d| d["surprise"] = json!(1)), "ARCHIVE_INVALID", "no backup"),
        (with(&|d| d["audit_hash"] = json!("12")), "ARCHIVE_INVALID", "audit log"),
        (with(&|d| d["policies"][0]["toml"] = json!("nonsense = 1")), "ARCHIVE_INVALID", "policy 1"),
        (with(&|d| d["keys"][0]["secret"] = json!("00".repeat(32))), "ARCHIVE_INVALID", "no secret"),
        (with(&|d| d["keys"][0]["secret"] = json!("07".repeat(32))), "ARCHIVE_INVALID", "derives"),
        (with(&|d| d["keys"][0]["name"] = json!("Alpha!")), "ARCHIVE_INVALID", "name"),
        (
            with(&|d| {
                let twice = d["keys"][0].clone();
                d["keys"].as_array_mut().unwrap().push(twice);
            }),
            "ARCHIVE_INVALID",
            "twice",
        ),
    ];
    let before = records(&other).await.len();
    for (document, reason, words) in table {
        let status = restore(&other, &around(&identity, &document), &identity).await.unwrap_err();
        let refused = refusal(&status);
        assert_eq!((status.code(), refused.reason.as_str()), (Code::InvalidArgument, reason), "{words}");
        let said = format!("{} {:?}", status.message(), refused.fields);
        assert!(said.contains(words), "{said}");
        assert!(!said.contains(&"07".repeat(32)), "a secret was repeated");
    }
    assert_eq!(keys(&other).await, []);
    assert_eq!(
        records(&other).await.len(),
        before + 10,
        "each refusal has its record and nothing else was written"
    );

    let old = with(&|d| {
        d["version"] = json!(1);
        let document = d.as_object_mut().unwrap();
        document.remove("policies");
        document.remove("nonces");
        document.remove("frozen_labels");
        document["keys"][0].as_object_mut().unwrap().remove("state");
    });
    let answer = restore(&other, &around(&identity, &old), &identity).await.unwrap();
    assert_eq!((answer.restored.len(), answer.restored_policy_version), (1, 0));
}

#[tokio::test]
async fn an_archive_damaged_at_any_byte_or_cut_at_any_length_is_refused_and_nothing_is_written() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let stand = Stand::start(&db).await;
    stand.create("alpha", KeyRole::Owner).await;
    stand.create("beta", KeyRole::Sequencer).await;
    let identity = Identity::generate();
    let made = backup(&stand, &identity, &[]).await;
    let opens =
        |bytes: &[u8]| age_file::decrypt(&identity, bytes).is_ok_and(|plain| archive::prove(&plain).is_ok());
    assert!(opens(&made));
    let flipped = |at: usize, bit: u8| {
        let mut bytes = made.clone();
        bytes[at] ^= 1 << bit;
        bytes
    };
    for at in 0..made.len() {
        assert!(!opens(&flipped(at, (at % 8) as u8)), "byte {at} of {} was changed", made.len());
        assert!(!opens(&made[..at]), "cut to {at} of {}", made.len());
    }
    assert!(!opens(&[&made[..], &[0]].concat()), "a byte was added");

    // The same through the service, at every 97th byte.
    let other = Stand::start(&other_db).await;
    let before = keys(&other).await;
    for at in (0..made.len()).step_by(97) {
        for bytes in [flipped(at, 0), made[..at].to_vec()] {
            let refused = refusal(&restore(&other, &bytes, &identity).await.unwrap_err());
            assert_eq!(
                (refused.reason.as_str(), refused.fields[0].0.as_str()),
                ("ARCHIVE_INVALID", "archive")
            );
        }
    }
    assert_eq!(keys(&other).await, before);
    let drills = other.operator.clone().list_drills(ListDrillsRequest::default()).await.unwrap().into_inner();
    assert_eq!(drills.drills, []);
}
