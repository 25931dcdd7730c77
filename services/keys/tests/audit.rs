//! The audit log: every decision in one chain, and nobody can rewrite it unnoticed.

use alloy_primitives::B256;
use api::keys::v1::approve_intent_request::Intent;
use api::keys::v1::thaw_intent::Target;
use api::keys::v1::{AuditBody, AuditRecord, CreateKeyRequest, KeyRole, ListAuditRecordsRequest, ThawIntent};
use keys::audit::{Head, verify};
use keys::db::audit::{Row, page};
use keys::policy::call::approveCall;
use prost::Message;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use store::column::Hash;

use crate::approvals::approve;
use crate::stand::{INFO, METIS, POOL, Stand, metis, request};

async fn rows(db: &DatabaseConnection) -> Vec<Row> {
    page(db, 0, 500).await.unwrap()
}

async fn records(stand: &Stand) -> Vec<AuditRecord> {
    let mut all = Vec::new();
    let mut request = ListAuditRecordsRequest { page_size: 2, page_token: String::new() };
    loop {
        let page = stand.operator.clone().list_audit_records(request.clone()).await.unwrap().into_inner();
        all.extend(page.records);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

/// A policy, a key, a signature, three refusals.
async fn history(stand: &Stand) {
    let key = stand.create("alpha", KeyRole::Owner).await;
    stand.operator.clone().create_key(CreateKeyRequest::default()).await.unwrap_err();
    stand.sign(request(&key, METIS, &approveCall { spender: INFO, value: metis(1) }, 0)).await.unwrap();
    stand.sign(request(&key, METIS, &approveCall { spender: POOL, value: metis(1) }, 1)).await.unwrap_err();
    stand.sign(request(&key, METIS, &approveCall { spender: INFO, value: metis(2) }, 0)).await.unwrap_err();
}

#[tokio::test]
async fn every_decision_is_recorded_with_who_what_and_why() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    history(&stand).await;
    let records = records(&stand).await;
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let AuditRecord { caller, action, verdict, rule, .. } = record;
            (caller.as_str(), action.as_str(), verdict.as_str(), rule.as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("preset:metis", "SetPolicy", "ALLOWED", ""),
            ("operator:alice", "CreateKey", "ALLOWED", ""),
            ("operator:alice", "CreateKey", "REFUSED", "FIELD_REQUIRED"),
            ("lifecycle", "SignTransaction", "ALLOWED", "owner-lock"),
            ("lifecycle", "SignTransaction", "REFUSED", "POLICY_DENIED: none"),
            ("lifecycle", "SignTransaction", "REFUSED", "NONCE_CONFLICT"),
        ]
    );
    let signed = AuditBody::decode(records[3].body.as_ref()).unwrap();
    assert_eq!((signed.sequence, signed.policy_version, signed.operation_id.as_str()), (4, 1, "op-1"));
    assert!(signed.intent.contains("allow") && signed.intent.contains("1 METIS"), "{}", signed.intent);
    assert_eq!(signed.transaction.unwrap().chain_id, 31337);
}

#[tokio::test]
async fn a_chain_verifies_and_any_change_is_found_at_its_record() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    history(&stand).await;
    let rows = rows(&db.connect("keys").await).await;
    let head = verify(Head::START, &rows).unwrap();
    assert_eq!((head.sequence, head.hash), (6, rows[5].hash.0.0));

    for at in 0..rows[2].body.len() {
        let mut changed = rows.clone();
        changed[2].body[at] ^= 1;
        assert_eq!(verify(Head::START, &changed).unwrap_err().sequence, 3, "byte {at}");
    }
    let mut hash = rows.clone();
    hash[2].hash = Hash(B256::ZERO);
    let mut time = rows.clone();
    time[2].recorded_at += time::Duration::seconds(1);
    let mut removed = rows.clone();
    removed.remove(1);
    let mut swapped = rows.clone();
    swapped.swap(1, 2);
    let mut inserted = rows.clone();
    inserted.insert(2, rows[1].clone());
    let table = [(hash, 3), (time, 3), (removed, 3), (swapped, 3), (inserted, 2)];
    for (changed, sequence) in table {
        assert_eq!(verify(Head::START, &changed).unwrap_err().sequence, sequence);
    }
    let cut = verify(Head::START, &rows[..5]).unwrap();
    assert_ne!(cut, head, "a cut tail shows against the head");
}

#[tokio::test]
async fn a_row_flipped_in_the_database_is_found() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    history(&stand).await;
    let admin = db.admin().await;
    let flip =
        "UPDATE keys.audit_record SET body = set_byte(body, 3, get_byte(body, 3) # 1) WHERE sequence = 4";
    admin.execute_unprepared(flip).await.unwrap();
    assert_eq!(verify(Head::START, &rows(&admin).await).unwrap_err().sequence, 4);
}

#[tokio::test]
async fn the_service_itself_can_neither_change_nor_remove_what_must_stay() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    history(&stand).await;
    let own = db.connect("keys").await;
    // What a decision leaves cannot be added beside a decision either.
    let forged = [
        "INSERT INTO keys.nonce_guard SELECT * FROM keys.nonce_guard",
        "INSERT INTO keys.signed_form SELECT * FROM keys.signed_form",
        "INSERT INTO keys.audit_record SELECT sequence + 1000, recorded_at, body, hash FROM keys.audit_record",
        "INSERT INTO keys.audit_head (only_row, sequence, hash) SELECT false, sequence, hash FROM keys.audit_head",
        "INSERT INTO keys.approval (id, intent_digest, words, approver, requester, expires_at)
             VALUES ('a', sha256('x'), 'w', 'operator:bob', 'lifecycle', now() + interval '1 hour')",
        "INSERT INTO keys.frozen_label (name, value, reason, frozen_by) VALUES ('site', 'one', 'r', 'b')",
        "INSERT INTO keys.restoration (published_sequence, published_hash, database_sequence)
             VALUES (9, sha256('x'), 1)",
        "INSERT INTO keys.nonce_floor SELECT 1, 1, decode(repeat('00', 20), 'hex'), 1, 'x'",
        "INSERT INTO keys.nonce_known SELECT 1, 1, decode(repeat('00', 20), 'hex'), 1",
    ];
    for sql in forged {
        let refused = own.execute_unprepared(sql).await.unwrap_err();
        assert_eq!(store::sqlstate(&refused).as_deref(), Some("42501"), "{sql}");
    }
    for table in ["kek", "key", "policy", "nonce_guard", "signed_form", "audit_head", "audit_record"] {
        let column = match table {
            "kek" => "generation",
            "policy" => "version",
            "key" => "id",
            "audit_head" | "audit_record" => "sequence",
            _ => "nonce",
        };
        let statements = [
            format!("UPDATE keys.{table} SET {column} = {column}"),
            format!("DELETE FROM keys.{table}"),
            format!("TRUNCATE keys.{table} CASCADE"),
        ];
        for sql in statements {
            let refused = own.execute_unprepared(&sql).await.unwrap_err();
            assert_eq!(store::sqlstate(&refused).as_deref(), Some("42501"), "{sql}");
        }
    }
}

#[tokio::test]
async fn what_operators_decide_is_not_stored_without_a_record_even_around_the_service() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let thaw = Intent::Thaw(ThawIntent { target: Some(Target::KeyId(key.id.clone())) });
    let approval = approve(&stand.colleague, thaw).await.id;
    let id = key.id;
    let admin = db.admin().await;
    let lost = "INSERT INTO keys.restoration (published_sequence, published_hash, database_sequence) VALUES (9, sha256('x'), 1)";
    admin.execute_unprepared(lost).await.unwrap();
    let own = db.connect("keys").await;
    let around = [
        "INSERT INTO keys.policy (version, toml, set_by) SELECT version + 1, toml, set_by FROM keys.policy".to_owned(),
        format!(
            "INSERT INTO keys.key (id, name, role, state, backend, reference, address, public_key)
             SELECT 'x', 'x', role, state, 'hsm', 'x', decode(repeat('01', 20), 'hex'), public_key FROM keys.key WHERE id = '{id}'"
        ),
        format!("SELECT keys.set_key_state('{id}', 'DISABLED')"),
        "SELECT keys.freeze_label('site', 'one', 'r', 'b')".to_owned(),
        format!("SELECT keys.revoke_approval('{approval}')"),
        "SELECT keys.confirm_nonce_floor(1, decode(repeat('01', 20), 'hex'), 5, 'x', false)".to_owned(),
    ];
    for sql in around {
        let refused = own.execute_unprepared(&sql).await.unwrap_err();
        assert_eq!(store::sqlstate(&refused).as_deref(), Some("42501"), "{sql}");
        // In one transaction, since both are one message to the server.
        own.execute_unprepared(&format!("{sql}; SELECT keys.append_audit('')")).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_a_changing_policy_leaves_undecided_is_refused_and_recorded() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    // As if another version came before each decision.
    let always_stale = "DO $$ BEGIN
        EXECUTE (SELECT format('CREATE OR REPLACE FUNCTION keys.decide_batch(%s) RETURNS %s LANGUAGE sql AS %L',
                               pg_get_function_arguments(oid), pg_get_function_result(oid),
                               'SELECT a, 1, ''STALE'', NULL::bigint, NULL::numeric, NULL::bytea, NULL::numeric, NULL::numeric
                                  FROM unnest(_question) AS a')
                   FROM pg_proc WHERE oid::regproc::text = 'keys.decide_batch'); END $$";
    db.admin().await.execute_unprepared(always_stale).await.unwrap();
    let asked = request(&key, METIS, &approveCall { spender: INFO, value: metis(1) }, 0);
    assert_eq!(stand.sign(asked).await.unwrap_err().reason, "POLICY_CONFLICT");
    let last = records(&stand).await.pop().unwrap();
    let told = [last.caller, last.action, last.verdict, last.rule];
    assert_eq!(told, ["lifecycle", "SignTransaction", "REFUSED", "POLICY_CONFLICT"]);
}

#[tokio::test]
async fn without_a_record_there_is_no_answer() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let admin = db.admin().await;
    admin
        .execute_unprepared("ALTER TABLE keys.audit_record ADD CONSTRAINT full_disk CHECK (sequence < 3)")
        .await
        .unwrap();
    let good = request(&key, METIS, &approveCall { spender: INFO, value: metis(1) }, 0);
    let bad = request(&key, METIS, &approveCall { spender: POOL, value: metis(1) }, 0);
    for asked in [good, bad] {
        assert_eq!(stand.sign(asked).await.unwrap_err().reason, "INTERNAL");
    }
    let create = CreateKeyRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        name: "beta".to_owned(),
        role: KeyRole::Owner.into(),
        ..CreateKeyRequest::default()
    };
    stand.operator.clone().create_key(create).await.unwrap_err();
    let left = admin
        .query_one_raw(store::statement(
            "SELECT (SELECT count(*) FROM keys.nonce_guard) + (SELECT count(*) FROM keys.key) AS n",
            [],
        ))
        .await;
    assert_eq!(left.unwrap().unwrap().try_get::<i64>("", "n").unwrap(), 1, "only alpha");
}
