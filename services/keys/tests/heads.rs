//! Heads of the audit log outside of the database, exports checked against them, and what happens when an
//! older database is put back.

use std::path::Path;
use std::time::Duration;

use api::keys::v1::{
    ConfirmNonceFloorRequest, GetAuditHeadRequest, GetAuditHeadResponse, Key, KeyRole,
    ListAuditRecordsRequest, SignTransactionRequest,
};
use keys::Config;
use keys::audit::head_file;
use keys::config::Audit;
use keys::policy::call::approveCall;
use runtime::config::Secret;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use testkit::{wait_for, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::Code;
use trail::{End, HEADER, Head, Heads, Record, SignedHead, Trusted, verify};

use crate::stand::{INFO, METIS, NETWORK, Stand, config, metis, refusal, request};

const WAIT: Duration = Duration::from_secs(30);

fn with_file(file: &Path) -> Config {
    let audit = Audit { head_file: Some(file.to_owned()), every_records: 1, ..Audit::default() };
    Config { audit, ..config() }
}

fn approve(key: &Key, nonce: u64) -> SignTransactionRequest {
    request(key, METIS, &approveCall { spender: INFO, value: metis(1) }, nonce)
}

async fn audit_head(stand: &Stand) -> GetAuditHeadResponse {
    stand.operator.clone().get_audit_head(GetAuditHeadRequest {}).await.unwrap().into_inner()
}

/// Waits until the file holds the end of the log.
async fn published(stand: &Stand, file: &Path) -> Head {
    wait_for("the end of the log is published", WAIT, || async {
        let head = audit_head(stand).await;
        let last = head_file::last(file).unwrap().map(|signed| signed.head)?;
        (last.sequence == head.sequence).then_some(last)
    })
    .await
}

/// The file that `seqctl audit export` writes, from the answers that it gets.
async fn export(stand: &Stand) -> Vec<u8> {
    let mut text = format!("{HEADER}\n");
    let mut head = Head::START;
    let mut asked = ListAuditRecordsRequest::default();
    loop {
        let page = stand.operator.clone().list_audit_records(asked.clone()).await.unwrap().into_inner();
        for record in page.records {
            let hash = hex::decode(record.hash).unwrap().try_into().unwrap();
            let record = Record::new(record.body.to_vec(), hash).unwrap();
            head = Head { sequence: record.sequence, hash };
            text += &format!("{}\n", record.line());
        }
        if page.next_page_token.is_empty() {
            return format!("{text}{}\n", End(head).line()).into_bytes();
        }
        asked.page_token = page.next_page_token;
    }
}

/// Puts the database back to what it was after this record.
async fn restore(admin: &DatabaseConnection, sequence: i64) {
    for table in ["signed_form", "nonce_guard", "nonce_floor", "restoration"] {
        admin.execute_unprepared(&format!("DELETE FROM keys.{table}")).await.unwrap();
    }
    for table in ["signed_head", "audit_record"] {
        let sql = format!("DELETE FROM keys.{table} WHERE sequence > {sequence}");
        admin.execute_unprepared(&sql).await.unwrap();
    }
    let sql = format!(
        "UPDATE keys.audit_head SET sequence = {sequence},
                hash = (SELECT hash FROM keys.audit_record WHERE sequence = {sequence})"
    );
    admin.execute_unprepared(&sql).await.unwrap();
}

fn floor(key: &Key, nonce: u64) -> ConfirmNonceFloorRequest {
    ConfirmNonceFloorRequest {
        key_id: key.id.clone(),
        network: NETWORK.to_owned(),
        nonce: Some(nonce),
        reason: "newest block says so".to_owned(),
        validate_only: false,
    }
}

#[tokio::test]
async fn an_export_is_the_same_each_time_and_verifies_against_the_published_heads() {
    let (db, folder) = (testkit::database().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("heads");
    let stand = Stand::with(&db, with_file(&file)).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    stand.sign(approve(&key, 0)).await.unwrap();
    let head = published(&stand, &file).await;
    let answer = audit_head(&stand).await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().last().unwrap(), answer.signed.unwrap().line);

    let export_bytes = export(&stand).await;
    assert_eq!(export(&stand).await, export_bytes);
    let public_key = trail::public_key(&answer.public_keys[0]).unwrap();
    let heads = Heads::read(&text, &[public_key]).unwrap();
    let report = verify(export_bytes.as_slice(), Trusted { heads: Some(&heads), keys_known: true }).unwrap();
    assert_eq!((report.head, report.not_checked), (head, vec![]));

    stand.stop().await;
    let again = Stand::with(&db, with_file(&file)).await;
    assert_eq!(audit_head(&again).await.public_keys, answer.public_keys, "the key is kept, sealed");
    again.sign(approve(&key, 1)).await.unwrap();
}

#[tokio::test]
async fn after_an_older_database_is_restored_nothing_is_signed_below_a_confirmed_floor() {
    let (db, folder) = (testkit::database().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("heads");
    let stand = Stand::with(&db, with_file(&file)).await;
    let (alpha, beta) =
        (stand.create("alpha", KeyRole::Owner).await, stand.create("beta", KeyRole::Owner).await);
    let kept = i64::try_from(audit_head(&stand).await.sequence).unwrap();
    stand.sign(approve(&alpha, 0)).await.unwrap();
    let lost = published(&stand, &file).await;
    stand.stop().await;
    restore(&db.admin().await, kept).await;

    let stand = Stand::with(&db, with_file(&file)).await;
    let status = stand.lifecycle.clone().sign_transaction(approve(&alpha, 0)).await.unwrap_err();
    assert_eq!((status.code(), refusal(&status).reason.as_str()), (Code::Unavailable, "GUARD_UNPROVEN"));
    let doubt = audit_head(&stand).await.doubt.unwrap();
    assert_eq!(
        (doubt.published_sequence, doubt.database_sequence),
        (lost.sequence, u64::try_from(kept).unwrap())
    );
    assert_eq!(doubt.waiting.len(), 2);
    stand.create("gamma", KeyRole::Owner).await;

    stand.operator.clone().confirm_nonce_floor(floor(&alpha, 1)).await.unwrap();
    assert_eq!(stand.sign(approve(&alpha, 0)).await.unwrap_err().reason, "NONCE_BELOW_FLOOR");
    stand.sign(approve(&alpha, 1)).await.unwrap();
    assert_eq!(stand.sign(approve(&beta, 0)).await.unwrap_err().reason, "GUARD_UNPROVEN");
    let lowered = stand.operator.clone().confirm_nonce_floor(floor(&alpha, 0)).await.unwrap();
    assert_eq!(lowered.into_inner().nonce, 1, "a floor never falls");
    published(&stand, &file).await;
    let export_bytes = export(&stand).await;
    stand.stop().await;

    // Known by now: the next start finds nothing new, and the floors stand.
    let again = Stand::with(&db, with_file(&file)).await;
    again.sign(approve(&alpha, 2)).await.unwrap();
    assert_eq!(again.sign(approve(&beta, 0)).await.unwrap_err().reason, "GUARD_UNPROVEN");
    let text = std::fs::read_to_string(&file).unwrap();
    let heads = Heads::read(&text, &[]).unwrap();
    let again_export = export(&again).await;
    let report = verify(again_export.as_slice(), Trusted { heads: Some(&heads), keys_known: false }).unwrap();
    assert_eq!((report.heads_lost, report.restorations), (1, vec![u64::try_from(kept).unwrap() + 1]));
    assert!(again_export.len() > export_bytes.len());
    again.stop().await;

    restore(&db.admin().await, kept).await;
    let twice = Stand::with(&db, with_file(&file)).await;
    assert_eq!(
        twice.sign(approve(&alpha, 3)).await.unwrap_err().reason,
        "GUARD_UNPROVEN",
        "the same backup again"
    );
}

#[tokio::test]
async fn a_replica_that_has_not_heard_of_the_restoration_signs_nothing_either() {
    let (db, folder) = (testkit::database().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("heads");
    let first = Stand::with(&db, with_file(&file)).await;
    let key = first.create("alpha", KeyRole::Owner).await;
    let kept = i64::try_from(audit_head(&first).await.sequence).unwrap();
    first.sign(approve(&key, 0)).await.unwrap();
    published(&first, &file).await;
    first.stop().await;
    restore(&db.admin().await, kept).await;
    let unaware = Stand::with(&db, config()).await;
    let _aware = Stand::with(&db, with_file(&file)).await;
    let before = audit_head(&unaware).await.sequence;
    assert_eq!(unaware.sign(approve(&key, 0)).await.unwrap_err().reason, "GUARD_UNPROVEN");
    assert!(audit_head(&unaware).await.sequence > before, "the refusal is recorded");
    let guards = "SELECT count(*) AS n FROM keys.nonce_guard";
    let row = db.admin().await.query_one_raw(store::statement(guards, [])).await.unwrap().unwrap();
    assert_eq!(row.try_get::<i64>("", "n").unwrap(), 0);
    unaware.operator.clone().confirm_nonce_floor(floor(&key, 1)).await.unwrap();
    unaware.sign(approve(&key, 1)).await.unwrap();
}

#[tokio::test]
async fn a_log_that_went_on_differently_is_noticed_too() {
    let (db, folder) = (testkit::database().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("heads");
    let stand = Stand::with(&db, with_file(&file)).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let kept = i64::try_from(audit_head(&stand).await.sequence).unwrap();
    stand.sign(approve(&key, 0)).await.unwrap();
    let lost = published(&stand, &file).await;
    stand.stop().await;
    restore(&db.admin().await, kept).await;
    let without = Stand::with(&db, config()).await;
    for nonce in 5..9 {
        without.sign(approve(&key, nonce)).await.unwrap();
    }
    assert!(audit_head(&without).await.sequence > lost.sequence);
    without.stop().await;
    let stand = Stand::with(&db, with_file(&file)).await;
    assert_eq!(stand.sign(approve(&key, 9)).await.unwrap_err().reason, "GUARD_UNPROVEN");
}

#[tokio::test]
async fn without_a_restoration_a_floor_is_refused() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let refused = stand.operator.clone().confirm_nonce_floor(floor(&key, 5)).await.unwrap_err();
    assert_eq!(refusal(&refused).reason, "GUARD_PROVEN");
    stand.sign(approve(&key, 0)).await.unwrap();
}

#[tokio::test]
async fn heads_are_posted_to_a_webhook_until_it_takes_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/heads?token=canary", listener.local_addr().unwrap());
    let receiver = tokio::spawn(async move {
        let mut bodies = Vec::new();
        for status in ["503 Service Unavailable", "204 No Content"] {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            while !text.ends_with('}') {
                let mut bytes = [0; 4096];
                let read = socket.read(&mut bytes).await.unwrap();
                text += std::str::from_utf8(&bytes[..read]).unwrap();
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            socket.write_all(answer.as_bytes()).await.unwrap();
            bodies.push(text.split_once("\r\n\r\n").unwrap().1.to_owned());
        }
        bodies
    });
    let db = testkit::database().await;
    let audit = Audit { webhook: Some(Secret::new(url)), ..Audit::default() };
    let stand = Stand::with(&db, Config { audit, ..config() }).await;
    let bodies = tokio::time::timeout(WAIT, receiver).await.unwrap().unwrap();
    assert_eq!(bodies[0], bodies[1], "the same head again");
    let head = SignedHead::parse(&bodies[1]).unwrap();
    assert!(head.is_genuine());
    wait_until("the head is signed in the database", WAIT, || async {
        audit_head(&stand).await.signed.is_some_and(|signed| signed.line == bodies[1])
    })
    .await;
}

#[tokio::test]
async fn a_damaged_head_file_stops_the_start() {
    let (db, folder) = (testkit::database().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("heads");
    std::fs::write(&file, "{\"sequence\":1}\n").unwrap();
    assert!(matches!(head_file::last(&file), Err(head_file::Unusable::Damaged(_))));
    let ports = crate::stand::ports(db.connect("keys").await).await;
    let refused = keys::build(with_file(&file), crate::stand::contracts(), ports).await;
    assert!(matches!(refused, Err(keys::BuildError::HeadFile(_))));
}
