//! Secrets that leave: only encrypted, only by a right that the configuration gives, never unrecorded.

use std::io::Read;

use age::x25519::Identity;
use api::keys::v1::import_key_request::Material;
use api::keys::v1::{
    ExportKeystoreRequest, ExportNodeKeyRequest, ImportKeyRequest, KeyRole, KeystoreV3,
    ListAuditRecordsRequest,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};
use tonic::Code;

use crate::stand::{Stand, refusal, trusting};

async fn last_record(stand: &Stand) -> api::keys::v1::AuditRecord {
    let request = ListAuditRecordsRequest { page_size: 500, page_token: String::new() };
    let records = stand.operator.clone().list_audit_records(request).await.unwrap().into_inner().records;
    records.last().cloned().unwrap()
}

#[tokio::test]
async fn nobody_exports_anything_unless_the_configuration_names_them() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha-node", KeyRole::Sequencer).await;
    let recipient = Identity::generate().to_public().to_string();
    let node = ExportNodeKeyRequest { id: key.id.clone(), recipient, ..ExportNodeKeyRequest::default() };
    let keystore = ExportKeystoreRequest {
        id: key.id,
        passphrase: "long enough for this".to_owned(),
        reason: "a test".to_owned(),
    };
    let node = stand.operator.clone().export_node_key(node).await.unwrap_err();
    assert_eq!((node.code(), refusal(&node).reason.as_str()), (Code::PermissionDenied, "EXPORT_FORBIDDEN"));
    let keystore = stand.operator.clone().export_keystore(keystore).await.unwrap_err();
    assert_eq!(refusal(&keystore).reason, "EXPORT_FORBIDDEN");
    let record = last_record(&stand).await;
    assert_eq!((record.action.as_str(), record.verdict.as_str()), ("ExportKeystore", "REFUSED"));
}

#[tokio::test]
async fn an_exported_keystore_comes_back_as_the_same_key() {
    let (db, other_db) = (testkit::database().await, testkit::database().await);
    let stand = Stand::with(&db, trusting()).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let ask = |passphrase: &str, reason: &str| ExportKeystoreRequest {
        id: key.id.clone(),
        passphrase: passphrase.to_owned(),
        reason: reason.to_owned(),
    };
    for (request, reason, field) in [
        (ask("eleven char", "a test"), "PASSPHRASE_SHORT", "passphrase"),
        (ask("long enough for this", ""), "FIELD_REQUIRED", "reason"),
    ] {
        let refused = refusal(&stand.operator.clone().export_keystore(request).await.unwrap_err());
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), (reason, field));
    }
    let request = ask("long enough for this", "moved to another signer");
    let json = stand.operator.clone().export_keystore(request).await.unwrap().into_inner().json;
    let record = last_record(&stand).await;
    assert_eq!(
        (record.action.as_str(), record.digest),
        ("ExportKeystore", hex::encode(Sha256::digest(&json)))
    );
    assert!(record.intent.contains("moved to another signer"));

    let other = Stand::start(&other_db).await;
    let import = ImportKeyRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        name: "alpha".to_owned(),
        role: KeyRole::Owner.into(),
        material: Some(Material::KeystoreV3(KeystoreV3 {
            json,
            passphrase: "long enough for this".to_owned(),
        })),
        ..ImportKeyRequest::default()
    };
    let taken = other.operator.clone().import_key(import).await.unwrap().into_inner().key.unwrap();
    assert_eq!(taken.public_key, key.public_key);
}

#[tokio::test]
async fn a_node_keeps_its_id_if_its_own_key_is_given_and_gets_a_fresh_one_if_not() {
    let db = testkit::database().await;
    let stand = Stand::with(&db, trusting()).await;
    let key = stand.create("alpha-node", KeyRole::Sequencer).await;
    let host = Identity::generate();
    let ask = |node_key_json: String| ExportNodeKeyRequest {
        id: key.id.clone(),
        recipient: host.to_public().to_string(),
        node_key_json,
    };
    let pair = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let value = STANDARD.encode(pair.to_keypair_bytes());
    let given = json!({ "priv_key": { "type": "tendermint/PrivKeyEd25519", "value": value } }).to_string();
    let kept = stand.operator.clone().export_node_key(ask(given.clone())).await.unwrap().into_inner();
    assert_eq!(kept.node_id, hex::encode(&Sha256::digest(pair.verifying_key().as_bytes())[..20]));
    assert!(last_record(&stand).await.intent.ends_with(&format!("as node {}", kept.node_id)));
    let mut plain = Vec::new();
    let decryptor = age::Decryptor::new_buffered(kept.archive.as_ref()).unwrap();
    decryptor.decrypt(std::iter::once(&host as &dyn age::Identity)).unwrap().read_to_end(&mut plain).unwrap();
    assert!(String::from_utf8_lossy(&plain).contains(&value), "the archive holds the given key");

    let fresh = stand.operator.clone().export_node_key(ask(String::new())).await.unwrap().into_inner();
    let another = stand.operator.clone().export_node_key(ask(String::new())).await.unwrap().into_inner();
    assert_ne!(fresh.node_id, another.node_id);
    let refused =
        stand.operator.clone().export_node_key(ask(given.replace("Ed25519", "Sr25519"))).await.unwrap_err();
    let refused = refusal(&refused);
    assert_eq!(
        (refused.reason.as_str(), refused.fields[0].0.as_str()),
        ("NODE_KEY_MALFORMED", "node_key_json")
    );
}
