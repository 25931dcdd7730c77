//! Backup, drill, restore, and the files for a node.

use std::collections::BTreeSet;
use std::io::Read;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use api::keys::v1::{
    BackupKeysRequest, BackupKeysResponse, ExportNodeKeyRequest, Key, KeyRole, ListKeysRequest,
    RestoreKeysRequest, VerifyBackupRequest,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::stand::{Stand, refusal, trusting};

fn secret_of(identity: &Identity) -> String {
    identity.to_string().expose_secret().to_owned()
}

async fn backup(stand: &Stand, identity: &Identity) -> BackupKeysResponse {
    let recipients = vec![identity.to_public().to_string()];
    stand
        .operator
        .clone()
        .backup_keys(BackupKeysRequest { recipients, ..BackupKeysRequest::default() })
        .await
        .unwrap()
        .into_inner()
}

fn restore(archive: &[u8], identity: &Identity) -> RestoreKeysRequest {
    RestoreKeysRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        archive: archive.to_vec().into(),
        identity: secret_of(identity),
        validate_only: false,
    }
}

async fn keys(stand: &Stand) -> Vec<Key> {
    stand.operator.clone().list_keys(ListKeysRequest::default()).await.unwrap().into_inner().keys
}

fn public(keys: &[Key]) -> BTreeSet<(String, String, i32, String)> {
    keys.iter()
        .map(|key| (key.id.clone(), key.name.clone(), key.role, key.public_key.clone().unwrap().address))
        .collect()
}

#[tokio::test]
async fn a_backup_is_proven_and_restores_the_same_keys_elsewhere() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let stand = Stand::start(&db).await;
    stand.create("alpha", KeyRole::Owner).await;
    stand.create("alpha-node", KeyRole::Sequencer).await;
    let identity = Identity::generate();
    let made = backup(&stand, &identity).await;
    let late = stand.create("late", KeyRole::Owner).await;

    let drill = VerifyBackupRequest { archive: made.archive.clone(), identity: secret_of(&identity) };
    let proven = stand.operator.clone().verify_backup(drill).await.unwrap().into_inner();
    assert_eq!(proven.proven_key_ids, made.key_ids);
    assert_eq!(proven.missing_key_ids, std::slice::from_ref(&late.id));
    let (with, without): (Vec<_>, Vec<_>) =
        keys(&stand).await.into_iter().partition(|key| key.backup_proven_time.is_some());
    assert_eq!((with.len(), without.len(), &without[0].id), (2, 1, &late.id));

    let other = Stand::start(&other_db).await;
    let request = restore(&made.archive, &identity);
    let restored = other.operator.clone().restore_keys(request.clone()).await.unwrap().into_inner();
    assert_eq!(public(&restored.restored), public(&with));
    assert_eq!(public(&keys(&other).await), public(&with));
    assert!(keys(&other).await.iter().all(|key| key.backup_proven_time.is_some()));

    let replayed = other.operator.clone().restore_keys(request).await.unwrap().into_inner();
    assert_eq!(replayed, restored);
    let again =
        other.operator.clone().restore_keys(restore(&made.archive, &identity)).await.unwrap().into_inner();
    assert_eq!((again.restored.len(), again.already_present.len()), (0, 2));
}

#[tokio::test]
async fn a_restore_fills_a_partly_filled_installation_or_changes_nothing() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let stand = Stand::start(&db).await;
    stand.create("alpha", KeyRole::Owner).await;
    stand.create("beta", KeyRole::Owner).await;
    let identity = Identity::generate();
    let made = backup(&stand, &identity).await;

    let other = Stand::start(&other_db).await;
    other.create("beta", KeyRole::Owner).await;
    let before = public(&keys(&other).await);
    let refused =
        refusal(&other.operator.clone().restore_keys(restore(&made.archive, &identity)).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), refused.metadata["name"].as_str()), ("NAME_TAKEN", "beta"));
    assert_eq!(public(&keys(&other).await), before, "not even alpha was taken in");
}

#[tokio::test]
async fn a_damaged_truncated_or_foreign_archive_is_refused_and_nothing_is_written() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let stand = Stand::start(&db).await;
    stand.create("alpha", KeyRole::Owner).await;
    let (identity, stranger) = (Identity::generate(), Identity::generate());
    let made = backup(&stand, &identity).await.archive;
    let other = Stand::start(&other_db).await;

    let mut flipped = made.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let no_backup = age::encrypt(&identity.to_public(), b"{}").unwrap();
    let table: [(&[u8], &Identity); 7] = [
        (&flipped, &identity),
        (&made[..made.len() - 1], &identity),
        (&made[..made.len() / 2], &identity),
        (b"", &identity),
        (b"age-encryption.org/v1\n", &identity),
        (&no_backup, &identity),
        (&made, &stranger),
    ];
    for (archive, with) in table {
        let refused =
            refusal(&other.operator.clone().restore_keys(restore(archive, with)).await.unwrap_err());
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), ("ARCHIVE_INVALID", "archive"));
        let drill = VerifyBackupRequest { archive: archive.to_vec().into(), identity: secret_of(with) };
        assert_eq!(
            refusal(&stand.operator.clone().verify_backup(drill).await.unwrap_err()).reason,
            "ARCHIVE_INVALID"
        );
    }
    assert_eq!(keys(&other).await, []);
    assert!(keys(&stand).await.iter().all(|key| key.backup_proven_time.is_none()));
}

#[tokio::test]
async fn recipients_and_identities_must_be_of_age() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let ask = |recipients: Vec<String>| BackupKeysRequest { recipients, ..BackupKeysRequest::default() };
    let none = refusal(&stand.operator.clone().backup_keys(ask(vec![])).await.unwrap_err());
    assert_eq!((none.reason.as_str(), none.fields[0].0.as_str()), ("FIELD_REQUIRED", "recipients"));
    let good = Identity::generate().to_public().to_string();
    let second =
        refusal(&stand.operator.clone().backup_keys(ask(vec![good, "age1x".to_owned()])).await.unwrap_err());
    assert_eq!(
        (second.reason.as_str(), second.fields[0].0.as_str()),
        ("RECIPIENT_MALFORMED", "recipients[1]")
    );
    let drill = VerifyBackupRequest { archive: vec![1].into(), identity: "AGE-SECRET-KEY-1X".to_owned() };
    assert_eq!(
        refusal(&stand.operator.clone().verify_backup(drill).await.unwrap_err()).reason,
        "IDENTITY_MALFORMED"
    );
}

/// The files of a tar, by path.
fn untar(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    while bytes.len() >= 512 && bytes[0] != 0 {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8(bytes[range].iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
        };
        assert_eq!(text(257..263), "ustar");
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..512]).map(|byte| u32::from(*byte)).sum();
        assert_eq!(u32::from_str_radix(text(148..155).trim(), 8).unwrap(), sum + 8 * u32::from(b' '));
        let size = usize::from_str_radix(&text(124..135), 8).unwrap();
        files.push((text(0..100), bytes[512..512 + size].to_vec()));
        bytes = &bytes[512 + size.next_multiple_of(512)..];
    }
    files
}

#[tokio::test]
async fn a_node_gets_its_files_for_its_own_eyes_and_owner_keys_stay() {
    let db = testkit::database().await;
    let stand = Stand::with(&db, trusting()).await;
    let owner = stand.create("alpha", KeyRole::Owner).await;
    let node = stand.create("alpha-node", KeyRole::Sequencer).await;
    let host = Identity::generate();
    let ask = |id: &str| ExportNodeKeyRequest {
        id: id.to_owned(),
        recipient: host.to_public().to_string(),
        ..ExportNodeKeyRequest::default()
    };
    let refused = refusal(&stand.operator.clone().export_node_key(ask(&owner.id)).await.unwrap_err());
    assert_eq!(refused.reason, "KEY_ROLE_WRONG");

    let exported = stand.operator.clone().export_node_key(ask(&node.id)).await.unwrap().into_inner();
    let mut plain = Vec::new();
    let decryptor = age::Decryptor::new_buffered(exported.archive.as_ref()).unwrap();
    decryptor.decrypt(std::iter::once(&host as &dyn age::Identity)).unwrap().read_to_end(&mut plain).unwrap();
    let files = untar(&plain);
    assert_eq!(files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), exported.files);

    let forms = node.public_key.unwrap();
    let validator: Value = serde_json::from_slice(&files[0].1).unwrap();
    assert_eq!(validator["address"], forms.address[2..].to_uppercase());
    assert_eq!(validator["pub_key"]["value"], forms.tendermint_base64);
    let network: Value = serde_json::from_slice(&files[1].1).unwrap();
    assert_eq!(STANDARD.decode(network["priv_key"]["value"].as_str().unwrap()).unwrap().len(), 64);
    assert_eq!(files[2].1, b"{\"height\":\"0\",\"round\":\"0\",\"step\":0}\n");
    let environment = String::from_utf8(files[3].1.clone()).unwrap();
    assert!(environment.starts_with(&format!("SEQ_ADDRESS={}\nSEQ_PRIV=0x", forms.address)));
}
