//! The service with a hardware module and a remote signer beside its own keys.

use std::collections::BTreeMap;

use api::keys::v1::{
    AttachKeyRequest, BackupKeysRequest, ConfirmKeyBackupRequest, CreateKeyRequest, ExportNodeKeyRequest,
    Key, KeyRole, ListAuditRecordsRequest, VerifyBackupRequest,
};
use keys::Config;
use keys::backend::Settings;
use keys::policy::call::approveCall;
use tonic::Code;

use super::gate::Gate;
use super::pkcs11::{Hsm, PIN};
use super::web3signer;
use super::web3signer_stub::Stub;
use crate::stand::{INFO, METIS, Stand, address_of, metis, refusal, request, trusting};

fn fresh() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn with(backends: impl IntoIterator<Item = (&'static str, Settings)>) -> Config {
    let backends: BTreeMap<_, _> = backends.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
    Config { backends, ..trusting() }
}

fn attach(name: &str, backend: &str, reference: &str) -> AttachKeyRequest {
    AttachKeyRequest {
        request_id: fresh(),
        name: name.to_owned(),
        role: KeyRole::Owner.into(),
        backend: backend.to_owned(),
        reference: reference.to_owned(),
        ..AttachKeyRequest::default()
    }
}

async fn create_in(stand: &Stand, name: &str, backend: &str, role: KeyRole) -> Key {
    let request = CreateKeyRequest {
        request_id: fresh(),
        name: name.to_owned(),
        role: role.into(),
        backend: backend.to_owned(),
        ..CreateKeyRequest::default()
    };
    stand.operator.clone().create_key(request).await.unwrap().into_inner().key.unwrap()
}

fn approve(amount: u64) -> approveCall {
    approveCall { spender: INFO, value: metis(amount) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_hardware_signs_the_same_bytes_again_on_every_replica() {
    let (db, hsm) = (testkit::database().await, Hsm::new());
    let config = with([("hsm", Settings::Pkcs11(hsm.settings()))]);
    let (one, two) = (Stand::with(&db, config.clone()).await, Stand::with(&db, config).await);
    let key = create_in(&one, "hard", "hsm", KeyRole::Owner).await;
    assert_eq!(key.backend, "hsm");
    assert_eq!(key.backend_reference.len(), 32);

    let asked = request(&key, METIS, &approve(1), 0);
    let signed = futures::future::join_all((0..16).map(|at| {
        let (stand, asked) = (if at % 2 == 0 { &one } else { &two }, asked.clone());
        async move { stand.sign(asked).await.unwrap().raw_transaction }
    }))
    .await;
    assert!(signed.iter().all(|raw| *raw == signed[0]), "an HSM draws a random number, we answer the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_id_makes_one_key_in_the_hardware() {
    let (db, hsm) = (testkit::database().await, Hsm::new());
    let stand = Stand::with(&db, with([("hsm", Settings::Pkcs11(hsm.settings()))])).await;
    let request = CreateKeyRequest {
        request_id: fresh(),
        name: "hard".to_owned(),
        role: KeyRole::Owner.into(),
        backend: "hsm".to_owned(),
        ..CreateKeyRequest::default()
    };
    let made = futures::future::join_all((0..4).map(|_| {
        let (mut operator, request) = (stand.operator.clone(), request.clone());
        async move { operator.create_key(request).await.unwrap().into_inner().key.unwrap() }
    }))
    .await;
    assert!(made.iter().all(|key| *key == made[0]));
    // A name that is taken makes none either.
    let taken = CreateKeyRequest { request_id: fresh(), ..request };
    assert_eq!(refusal(&stand.operator.clone().create_key(taken).await.unwrap_err()).reason, "NAME_TAKEN");
    assert_eq!(hsm.private_keys(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_cannot_leave_is_in_no_archive_and_an_operator_vouches_for_its_backup() {
    let (db, hsm) = (testkit::database().await, Hsm::new());
    let stand = Stand::with(&db, with([("hsm", Settings::Pkcs11(hsm.settings()))])).await;
    let (hard, soft) = (
        create_in(&stand, "hard", "hsm", KeyRole::Sequencer).await,
        stand.create("soft", KeyRole::Owner).await,
    );
    let mut operator = stand.operator.clone();
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();

    let named = BackupKeysRequest {
        key_ids: vec![hard.id.clone()],
        recipients: vec![recipient.clone()],
        ..BackupKeysRequest::default()
    };
    let refused = refusal(&operator.backup_keys(named).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), refused.code), ("KEY_NOT_EXPORTABLE", Code::FailedPrecondition));
    let export = ExportNodeKeyRequest {
        id: hard.id.clone(),
        recipient: recipient.clone(),
        ..ExportNodeKeyRequest::default()
    };
    assert_eq!(refusal(&operator.export_node_key(export).await.unwrap_err()).reason, "KEY_NOT_EXPORTABLE");

    let every = BackupKeysRequest { recipients: vec![recipient], ..BackupKeysRequest::default() };
    let archive = operator.backup_keys(every).await.unwrap().into_inner();
    assert_eq!(archive.key_ids, std::slice::from_ref(&soft.id));
    assert_eq!(archive.not_exportable_key_ids, std::slice::from_ref(&hard.id));
    use age::secrecy::ExposeSecret;
    let drill = VerifyBackupRequest {
        archive: archive.archive,
        identity: identity.to_string().expose_secret().to_owned(),
    };
    let drill = operator.verify_backup(drill).await.unwrap().into_inner();
    assert_eq!((drill.proven_key_ids, drill.missing_key_ids), (vec![soft.id.clone()], vec![]));

    let confirm =
        |id: &str, reason: &str| ConfirmKeyBackupRequest { id: id.to_owned(), reason: reason.to_owned() };
    let silent = refusal(&operator.confirm_key_backup(confirm(&hard.id, "")).await.unwrap_err());
    assert_eq!(silent.fields[0].0, "reason");
    let local = refusal(&operator.confirm_key_backup(confirm(&soft.id, "trust me")).await.unwrap_err());
    assert_eq!(local.reason, "KEY_EXPORTABLE");
    let sure = confirm(&hard.id, "cloned to the second HSM, signed there on its own");
    let confirmed = operator.confirm_key_backup(sure).await.unwrap().into_inner().key.unwrap();
    assert!(hard.backup_proven_time.is_none() && confirmed.backup_proven_time.is_some());

    let page = ListAuditRecordsRequest { page_size: 500, ..ListAuditRecordsRequest::default() };
    let records = operator.list_audit_records(page).await.unwrap().into_inner().records;
    let last = records.last().unwrap();
    assert_eq!((last.action.as_str(), last.verdict.as_str()), ("ConfirmKeyBackup", "ALLOWED"));
    assert!(last.intent.contains("second HSM"), "{}", last.intent);
    assert!(!format!("{records:?}").contains(PIN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attached_key_proves_itself_and_is_taken_once() {
    let (db, stub) = (testkit::database().await, Stub::start().await);
    let stand = Stand::with(&db, with([("remote", web3signer::settings(stub.address))])).await;
    let mut operator = stand.operator.clone();
    let identifier = stub.add([5; 32]);
    let good = attach("far", "remote", &identifier);

    let unknown = format!("0x{}", "11".repeat(64));
    let other_address = "0x00000000000000000000000000000000000000ff".to_owned();
    let table = [
        (attach("far", "nowhere", &identifier), "BACKEND_NOT_FOUND", "backend"),
        (attach("far", "local", &identifier), "BACKEND_UNSUPPORTED", "backend"),
        (attach("far", "remote", &unknown), "BACKEND_REFERENCE_UNKNOWN", "reference"),
        (attach("far", "remote", ""), "FIELD_REQUIRED", "reference"),
        (attach("far", "remote", &"a".repeat(2000)), "INVALID_ARGUMENT", "reference"),
        (
            AttachKeyRequest { expected_address: other_address, ..good.clone() },
            "KEY_ADDRESS_MISMATCH",
            "expected_address",
        ),
    ];
    for (request, reason, field) in table {
        let refused = refusal(&operator.attach_key(request).await.unwrap_err());
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), (reason, field));
    }
    let only_validated = AttachKeyRequest { validate_only: true, request_id: fresh(), ..good.clone() };
    let seen = operator.attach_key(only_validated).await.unwrap().into_inner().key.unwrap();
    assert_eq!(seen.id, "");

    let key = operator.attach_key(good.clone()).await.unwrap().into_inner().key.unwrap();
    assert_eq!(operator.attach_key(good.clone()).await.unwrap().into_inner().key.unwrap(), key);
    let again = attach("far-2", "remote", &identifier);
    assert_eq!(refusal(&operator.attach_key(again).await.unwrap_err()).reason, "KEY_DUPLICATE");
    stand.sign(request(&key, METIS, &approve(1), 0)).await.unwrap();

    let liar = stub.add([6; 32]);
    stub.betray(&liar, [7; 32]);
    let status = operator.attach_key(attach("liar", "remote", &liar)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    let list = operator.list_keys(api::keys::v1::ListKeysRequest::default()).await.unwrap().into_inner().keys;
    assert_eq!(list.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_backend_is_down_others_sign_and_its_nonce_is_kept_for_the_same_call() {
    let (db, stub) = (testkit::database().await, Stub::start().await);
    let gate = Gate::before(stub.address).await;
    let stand = Stand::with(&db, with([("remote", web3signer::settings(gate.address))])).await;
    let attached = attach("far", "remote", &stub.add([5; 32]));
    let far = stand.operator.clone().attach_key(attached).await.unwrap().into_inner().key.unwrap();
    let near = stand.create("near", KeyRole::Owner).await;
    testkit::wait_until("the check passes", std::time::Duration::from_secs(20), || async {
        stand.health.snapshot().checks.get("keys.backend.remote") == Some(&Ok(()))
    })
    .await;

    gate.close();
    let asked = request(&far, METIS, &approve(1), 0);
    let away = stand.sign(asked.clone()).await.unwrap_err();
    assert_eq!((away.reason.as_str(), away.code), ("BACKEND_UNAVAILABLE", Code::Unavailable));
    assert!(away.retry_after.is_some());
    stand.sign(request(&near, METIS, &approve(1), 0)).await.unwrap();
    testkit::wait_until("the check fails", std::time::Duration::from_secs(30), || async {
        matches!(stand.health.snapshot().checks.get("keys.backend.remote"), Some(Err(_)))
    })
    .await;
    assert!(stand.health.is_ready(), "the keys of other backends are worth asking for");

    gate.open();
    let other = stand.sign(request(&far, METIS, &approve(2), 0)).await.unwrap_err();
    assert_eq!(other.reason, "NONCE_CONFLICT");
    let signed = stand.sign(asked).await.unwrap();
    assert!(!signed.raw_transaction.is_empty());
    assert_eq!(address_of(&far).to_string(), far.public_key.unwrap().address);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_of_another_key_never_leaves_the_service() {
    let (db, stub) = (testkit::database().await, Stub::start().await);
    let stand = Stand::with(&db, with([("remote", web3signer::settings(stub.address))])).await;
    let identifier = stub.add([5; 32]);
    let attached = attach("far", "remote", &identifier);
    let key = stand.operator.clone().attach_key(attached).await.unwrap().into_inner().key.unwrap();
    stub.betray(&identifier, [6; 32]);
    let asked = request(&key, METIS, &approve(1), 0);
    let status = stand.lifecycle.clone().sign_transaction(asked.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    // Nothing of it was kept.
    stub.betray(&identifier, [5; 32]);
    stand.sign(asked).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_not_configured_any_more_is_named() {
    let (db, stub) = (testkit::database().await, Stub::start().await);
    let stand = Stand::with(&db, with([("remote", web3signer::settings(stub.address))])).await;
    let attached = attach("far", "remote", &stub.add([5; 32]));
    let key = stand.operator.clone().attach_key(attached).await.unwrap().into_inner().key.unwrap();
    stand.stop().await;
    let stand = Stand::start(&db).await;
    let refused = stand.sign(request(&key, METIS, &approve(1), 0)).await.unwrap_err();
    assert_eq!(refused.reason, "BACKEND_REFUSED");
    assert_eq!(refused.metadata["backend"], "remote");
}
