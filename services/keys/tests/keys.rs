//! Making, importing, finding and disabling keys; the sealed start; who may ask for what.

use api::keys::v1::import_key_request::Material;
use api::keys::v1::{
    CreateKeyRequest, GetKeyRequest, GetPolicyRequest, ImportKeyRequest, KeyRole, KeyState, KeystoreV3,
    ListAuditRecordsRequest, ListKeysRequest, SetKeyStateRequest, get_key_request::Selector,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keys::Config;
use keys::crypto::SecretKey;
use keys::import::priv_validator;
use runtime::config::Secret;
use tonic::Code;

use crate::stand::{STRANGER, Stand, address_of, config, refusal};

fn fresh() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn import(name: &str, material: Material) -> ImportKeyRequest {
    ImportKeyRequest {
        request_id: fresh(),
        name: name.to_owned(),
        role: KeyRole::Owner.into(),
        material: Some(material),
        ..ImportKeyRequest::default()
    }
}

fn raw(byte: u8) -> Material {
    Material::Raw(vec![byte; 32].into())
}

/// From the Web3 Secret Storage definition, with its passphrase and secret.
const KEYSTORE: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
    "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
    "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
    "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const KEYSTORE_SECRET: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";

fn keystore(passphrase: &str) -> Material {
    Material::KeystoreV3(KeystoreV3 { json: KEYSTORE.to_owned(), passphrase: passphrase.to_owned() })
}

#[tokio::test]
async fn a_created_key_is_found_by_id_name_and_address() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let forms = key.public_key.clone().unwrap();
    assert_eq!(forms.uncompressed.len(), 2 + 128);
    assert_eq!(forms.themis, format!("0x04{}", &forms.uncompressed[2..]));
    assert_eq!(STANDARD.decode(&forms.tendermint_base64).unwrap().len(), 65);
    assert_eq!(STANDARD.decode(&forms.compressed_base64).unwrap().len(), 33);
    assert_eq!(key.backup_proven_time, None);

    let selectors =
        [Selector::Id(key.id.clone()), Selector::Name("alpha".to_owned()), Selector::Address(forms.address)];
    for selector in selectors {
        let found = stand.gateway.clone().get_key(GetKeyRequest { selector: Some(selector) }).await.unwrap();
        assert_eq!(found.into_inner().key.as_ref(), Some(&key));
    }
    let missing = GetKeyRequest { selector: Some(Selector::Name("beta".to_owned())) };
    assert_eq!(refusal(&stand.gateway.clone().get_key(missing).await.unwrap_err()).reason, "KEY_NOT_FOUND");
}

#[tokio::test]
async fn the_same_request_id_makes_one_key_and_another_body_is_refused() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let request = CreateKeyRequest {
        request_id: fresh(),
        name: "alpha".to_owned(),
        role: KeyRole::Owner.into(),
        ..CreateKeyRequest::default()
    };
    let calls = (0..8).map(|_| {
        let (mut client, request) = (stand.operator.clone(), request.clone());
        tokio::spawn(async move { client.create_key(request).await.unwrap().into_inner().key.unwrap().id })
    });
    let mut ids = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        ids.push(call.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);

    let other = CreateKeyRequest { name: "beta".to_owned(), ..request };
    let reused = refusal(&stand.operator.clone().create_key(other).await.unwrap_err());
    assert_eq!(reused.reason, "IDEMPOTENCY_KEY_REUSED");
    let all = stand.operator.clone().list_keys(ListKeysRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.keys.len(), 1);
}

#[tokio::test]
async fn bad_input_names_the_field_and_makes_nothing() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let good = CreateKeyRequest {
        request_id: fresh(),
        name: "alpha".to_owned(),
        role: KeyRole::Owner.into(),
        ..CreateKeyRequest::default()
    };
    let table = [
        (
            CreateKeyRequest { request_id: "1".to_owned(), ..good.clone() },
            "REQUEST_ID_MALFORMED",
            "request_id",
        ),
        (CreateKeyRequest { name: "Alpha".to_owned(), ..good.clone() }, "NAME_MALFORMED", "name"),
        (CreateKeyRequest { role: 0, ..good.clone() }, "ENUM_UNSPECIFIED", "role"),
        (CreateKeyRequest { role: 9, ..good.clone() }, "ENUM_UNSPECIFIED", "role"),
        (
            CreateKeyRequest { labels: [(String::new(), String::new())].into(), ..good.clone() },
            "INVALID_ARGUMENT",
            "labels",
        ),
    ];
    for (request, reason, field) in table {
        let refused = refusal(&stand.operator.clone().create_key(request).await.unwrap_err());
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), (reason, field));
    }
    let only_validated = CreateKeyRequest { validate_only: true, ..good };
    stand.operator.clone().create_key(only_validated).await.unwrap();
    let all = stand.operator.clone().list_keys(ListKeysRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.keys, []);
}

#[tokio::test]
async fn each_form_of_a_key_is_imported_with_the_address_of_its_secret() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let file =
        serde_json::to_string(&priv_validator::File::of(&SecretKey::from_slice(&[3; 32]).unwrap())).unwrap();
    let table = [
        ("raw", raw(1), "01".repeat(32)),
        ("keystore", keystore("testpassword"), KEYSTORE_SECRET.to_owned()),
        ("file", Material::PrivValidatorKeyJson(file), "03".repeat(32)),
    ];
    for (name, material, secret) in table {
        let answer = stand.operator.clone().import_key(import(name, material)).await.unwrap().into_inner();
        let secret = SecretKey::from_slice(&hex::decode(secret).unwrap()).unwrap();
        assert_eq!(address_of(&answer.key.unwrap()), secret.address());
    }
}

#[tokio::test]
async fn material_that_lies_or_does_not_parse_is_refused() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let mut lying = priv_validator::File::of(&SecretKey::from_slice(&[3; 32]).unwrap());
    lying.pub_key.value = SecretKey::from_slice(&[4; 32]).unwrap().public().tendermint_base64();
    let lying = Material::PrivValidatorKeyJson(serde_json::to_string(&lying).unwrap());
    let unexpected = ImportKeyRequest { expected_address: STRANGER.to_string(), ..import("a", raw(1)) };
    let table = [
        (import("a", lying), "KEY_ADDRESS_MISMATCH", "priv_validator_key_json"),
        (import("a", keystore("wrong")), "KEY_PASSPHRASE_WRONG", "keystore_v3.passphrase"),
        (import("a", Material::Raw(vec![1; 31].into())), "KEY_MATERIAL_INVALID", "raw"),
        (import("a", Material::Raw(vec![0; 32].into())), "KEY_MATERIAL_INVALID", "raw"),
        (import("a", Material::Raw(vec![0xff; 32].into())), "KEY_MATERIAL_INVALID", "raw"),
        (
            import("a", Material::PrivValidatorKeyJson("{}".to_owned())),
            "KEY_MATERIAL_INVALID",
            "priv_validator_key_json",
        ),
        (unexpected, "KEY_ADDRESS_MISMATCH", "expected_address"),
        (ImportKeyRequest { material: None, ..import("a", raw(1)) }, "FIELD_REQUIRED", "material"),
    ];
    for (request, reason, field) in table {
        let refused = refusal(&stand.operator.clone().import_key(request).await.unwrap_err());
        assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), (reason, field));
    }
    let all = stand.operator.clone().list_keys(ListKeysRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.keys, []);
}

#[tokio::test]
async fn a_key_that_is_here_is_refused_under_the_name_it_has() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    stand.operator.clone().import_key(import("first", raw(1))).await.unwrap();
    let duplicate = refusal(&stand.operator.clone().import_key(import("second", raw(1))).await.unwrap_err());
    assert_eq!((duplicate.reason.as_str(), duplicate.metadata["name"].as_str()), ("KEY_DUPLICATE", "first"));
    let taken = refusal(&stand.operator.clone().import_key(import("first", raw(2))).await.unwrap_err());
    assert_eq!(taken.reason, "NAME_TAKEN");
}

#[tokio::test]
async fn keys_are_listed_in_pages_and_by_role() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    for number in 0..5 {
        let role = if number % 2 == 0 { KeyRole::Owner } else { KeyRole::Sequencer };
        stand.create(&format!("key-{number}"), role).await;
    }
    let mut names = Vec::new();
    let mut request =
        ListKeysRequest { page_size: 2, role: KeyRole::Owner.into(), ..ListKeysRequest::default() };
    loop {
        let page = stand.operator.clone().list_keys(request.clone()).await.unwrap().into_inner();
        names.extend(page.keys.into_iter().map(|key| key.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(names, ["key-0", "key-2", "key-4"]);
    let foreign =
        ListKeysRequest { role: KeyRole::Sequencer.into(), page_token: request.page_token, page_size: 2 };
    let refused = refusal(&stand.operator.clone().list_keys(foreign).await.unwrap_err());
    assert_eq!(refused.reason, "INVALID_PAGE_TOKEN");
}

#[tokio::test]
async fn a_missing_or_wrong_kek_seals_the_service_and_nothing_else() {
    let db = testkit::database().await;
    let open = Stand::start(&db).await;
    let key = open.create("alpha", KeyRole::Owner).await;
    assert!(open.health.is_ready());
    open.stop().await;

    let wrong = Config { kek: Some(Secret::new("ab".repeat(32))), ..Config::default() };
    let passphrase = Config { kek_passphrase: Some(Secret::new("guess".to_owned())), ..Config::default() };
    let unreadable = Config { kek: Some(Secret::file("/does/not/exist")), ..Config::default() };
    for config in [wrong, passphrase, unreadable, Config::default()] {
        let sealed = Stand::with(&db, config).await;
        let checks = sealed.health.snapshot().checks;
        assert!(checks["keys.unsealed"].as_ref().unwrap_err().starts_with("sealed: "));
        let get = GetKeyRequest { selector: Some(Selector::Id(key.id.clone())) };
        let status = sealed.operator.clone().get_key(get).await.unwrap_err();
        assert_eq!((status.code(), refusal(&status).reason.as_str()), (Code::Unavailable, "SEALED"));
        sealed.operator.clone().get_policy(GetPolicyRequest {}).await.unwrap();
        sealed.operator.clone().list_audit_records(ListAuditRecordsRequest::default()).await.unwrap();
        sealed.stop().await;
    }

    let again = Stand::start(&db).await;
    let get = GetKeyRequest { selector: Some(Selector::Id(key.id.clone())) };
    assert_eq!(again.operator.clone().get_key(get).await.unwrap().into_inner().key, Some(key));
}

#[tokio::test]
async fn a_passphrase_opens_what_it_made() {
    let db = testkit::database().await;
    let passphrase =
        |text: &str| Config { kek_passphrase: Some(Secret::new(text.to_owned())), ..Config::default() };
    let first = Stand::with(&db, passphrase("correct horse")).await;
    assert!(first.health.is_ready());
    first.stop().await;
    let second = Stand::with(&db, passphrase("correct horse")).await;
    assert!(second.health.is_ready());
    second.stop().await;
    assert!(!Stand::with(&db, passphrase("battery staple")).await.health.is_ready());
}

#[tokio::test]
async fn a_state_change_needs_a_reason_and_is_kept() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let freeze = SetKeyStateRequest {
        id: key.id.clone(),
        state: KeyState::Frozen.into(),
        reason: "incident 7".to_owned(),
    };
    let silent = SetKeyStateRequest { reason: String::new(), ..freeze.clone() };
    let refused = refusal(&stand.operator.clone().set_key_state(silent).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), refused.fields[0].0.as_str()), ("FIELD_REQUIRED", "reason"));
    let frozen = stand.operator.clone().set_key_state(freeze).await.unwrap().into_inner().key.unwrap();
    assert_eq!(frozen.state(), KeyState::Frozen);
    stand.stop().await;

    let again = Stand::with(&db, config()).await;
    let get = GetKeyRequest { selector: Some(Selector::Id(key.id)) };
    let kept = again.operator.clone().get_key(get).await.unwrap().into_inner().key.unwrap();
    assert_eq!(kept.state(), KeyState::Frozen);
}

#[tokio::test]
async fn methods_are_closed_to_those_the_table_does_not_name() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let create = stand.gateway.clone().create_key(CreateKeyRequest::default()).await.unwrap_err();
    let sign = stand
        .operator
        .clone()
        .sign_transaction(api::keys::v1::SignTransactionRequest::default())
        .await
        .unwrap_err();
    let list = stand.gateway.clone().list_keys(ListKeysRequest::default()).await;
    assert_eq!((create.code(), sign.code()), (Code::PermissionDenied, Code::PermissionDenied));
    assert!(list.is_ok());
}
