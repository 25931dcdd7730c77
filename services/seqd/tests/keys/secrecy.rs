//! Canaries through a whole journey of a real process: secrets with known bytes that must be seen in no
//! log line, trace, metric, answer, table, argument or variable.

use std::fmt::Debug;
use std::fs;
use std::io::ErrorKind;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use alloy_primitives::{U256, keccak256};
use api::keys::v1::import_key_request::Material;
use api::keys::v1::{
    BackupKeysRequest, ExportKeystoreRequest, ExportNodeKeyRequest, ImportKeyRequest, Key, KeyRole,
    KeystoreV3, RestoreKeysRequest, RotateKekRequest, VerifyBackupRequest,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keys::crypto::SecretKey;
use keys::import::{keystore, priv_validator};
use sea_orm::ConnectionTrait;
use serde_json::json;
use testkit::{TestDb, wait_for};
use tonic::{Response, Status};

use super::process::{Client, Place, SOON, sign};

const PASSPHRASE: &str = "canary-passphrase-7d1f";
const EXPORT_PASSPHRASE: &str = "canary-export-passphrase-92ab";

/// What is looked for, with a name that may be printed.
#[derive(Default)]
struct Canaries(Vec<(&'static str, Vec<u8>)>);

impl Canaries {
    /// A text, in any case.
    fn text(&mut self, name: &'static str, text: &str) {
        assert!(text.len() >= 12, "{name} would be found by chance");
        self.0.push((name, text.to_lowercase().into_bytes()));
    }

    /// Thirty-two bytes, in every form in which bytes are written.
    fn bytes(&mut self, name: &'static str, bytes: &[u8; 32]) {
        self.text(name, &hex::encode(bytes));
        self.text(name, STANDARD.encode(bytes).trim_end_matches('='));
        self.text(name, &URL_SAFE_NO_PAD.encode(bytes));
        self.text(name, format!("{bytes:?}").trim_matches(['[', ']']));
        self.text(name, &U256::from_be_bytes(*bytes).to_string());
        let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
        self.text(name, &octal);
        self.text(name, &bytes.escape_ascii().to_string());
        self.0.push((name, bytes.to_ascii_lowercase()));
    }

    fn are_absent(&self, place: &str, seen: &[u8]) {
        let seen = seen.to_ascii_lowercase();
        for (name, canary) in &self.0 {
            let found = memmem(&seen, canary);
            // Not the text: what a test says is a log, too.
            assert!(!found, "{name} was seen in {place}");
        }
    }
}

fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return false };
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// Everything that was asked and answered, as Debug would print it.
#[derive(Default)]
struct Said(String);

impl Said {
    fn heard<T: Debug>(&mut self, answer: Result<Response<T>, Status>) -> T {
        self.0 += &format!("{answer:?}\n");
        answer.unwrap().into_inner()
    }

    fn refused<T: Debug>(&mut self, answer: Result<Response<T>, Status>) {
        self.0 += &format!("{answer:?}\n");
        answer.unwrap_err();
    }
}

/// A secret that nobody else has, since it is hashed from a name.
fn secret(name: &str) -> [u8; 32] {
    keccak256(format!("canary {name}")).0
}

fn import(name: &str, material: Material) -> ImportKeyRequest {
    ImportKeyRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        name: name.to_owned(),
        role: KeyRole::Sequencer.into(),
        material: Some(material),
        ..ImportKeyRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_journey_writes_no_secret_anywhere() {
    let db = testkit::database().await;
    let place = Place::new(&db);
    let mut canaries = Canaries::default();
    let (old, new) = (secret("old kek"), secret("new kek"));
    canaries.bytes("the old key-encryption key", &old);
    canaries.bytes("the new key-encryption key", &new);
    fs::write(place.path("old"), hex::encode(old)).unwrap();
    fs::write(place.path("new"), STANDARD.encode(new)).unwrap();
    let rights =
        "[keys.rights]\nexport_node_key = [\"operator:alice\"]\nexport_keystore = [\"operator:alice\"]";
    // Made with the old one, rotated to the new one.
    place.configure(&format!("kek = {{ file = {:?} }}\n{rights}", place.path("old")));
    place.start().await.kill();
    place.configure(&format!(
        "kek = {{ file = {:?} }}\nkek_previous = {{ key = {{ file = {:?} }} }}\n{rights}",
        place.path("new"),
        place.path("old")
    ));
    let process = place.start().await;
    let (operator, lifecycle) = (place.client("operator/alice"), place.client("lifecycle"));

    let mut said = Said::default();
    let key = imports(&operator, &mut canaries, &mut said).await;
    said.0 += &format!("{:?}\n", sign(&lifecycle, &key, 0).await);
    archives(&operator, &mut canaries, &mut said, &key).await;
    let rotate = RotateKekRequest { from_generation: 1, validate_only: false };
    let rotated = said.heard(operator.clone().rotate_kek(rotate).await);
    assert_eq!((rotated.generation, rotated.remaining), (2, 0));
    said.0 += &format!("{:?}\n", sign(&lifecycle, &key, 1).await);

    let proc = |name: &str| fs::read(format!("/proc/{}/{name}", process.id())).unwrap();
    canaries.are_absent("the arguments", &proc("cmdline"));
    // Nobody but root may look there, since the process is not dumpable.
    match fs::read(format!("/proc/{}/environ", process.id())) {
        Ok(environment) => canaries.are_absent("the environment", &environment),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
    }
    canaries.are_absent("the metrics", place.metrics().await.as_bytes());
    canaries.are_absent("an answer", said.0.as_bytes());
    let log = place.log();
    for sign_of_life in ["keys.decide", "INSERT INTO keys.key", "keys.rewrap", "TRACE"] {
        assert!(memmem(&log, sign_of_life.as_bytes()), "the log has {sign_of_life}, else this shows nothing");
    }
    canaries.are_absent("the log", &log);
    canaries.are_absent("the database", tables(&db).await.as_bytes());
    // The search finds what is there.
    assert!(memmem(&fs::read(place.path("old")).unwrap(), hex::encode(old).as_bytes()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_writes_no_core_file_and_says_whether_its_secrets_are_kept_out_of_swap() {
    let db = testkit::database().await;
    let place = Place::new(&db);
    fs::write(place.path("kek"), hex::encode(secret("kek"))).unwrap();
    place.configure(&format!("kek = {{ file = {:?} }}", place.path("kek")));
    let process = place.start().await;
    let proc = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", process.id())).unwrap();
    let limits = proc("limits");
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "bytes, soft and hard");
    let status = proc("status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    let is_locked = locked.trim() != "0 kB";
    let told = || async {
        let metrics = place.metrics().await;
        metrics.lines().find(|line| line.starts_with("keys_memory_locked")).map(str::to_owned)
    };
    // The service looks for the first time a moment after it is ready.
    let told = wait_for("the service says whether they are locked", SOON, told).await;
    assert_eq!(told.ends_with(" 1"), is_locked, "{told}, {locked}");
}

/// One key in each form, and each form broken in some way.
async fn imports(operator: &Client, canaries: &mut Canaries, said: &mut Said) -> Key {
    let [raw, in_keystore, in_file] = ["raw", "keystore", "file"].map(secret);
    canaries.bytes("the raw key", &raw);
    canaries.bytes("the key in a keystore", &in_keystore);
    canaries.bytes("the key in a file", &in_file);
    canaries.text("the passphrase of a keystore", PASSPHRASE);
    let of = |bytes: &[u8; 32]| SecretKey::from_slice(bytes).unwrap();
    let json = keystore::encrypt(&of(&in_keystore), PASSPHRASE).unwrap();
    let with = |json: &str, passphrase: &str| {
        Material::KeystoreV3(KeystoreV3 { json: json.to_owned(), passphrase: passphrase.to_owned() })
    };
    let file = serde_json::to_string(&priv_validator::File::of(&of(&in_file))).unwrap();
    let misplaced = |kind: &str, address: &str| {
        let typed = json!({ "type": kind, "value": STANDARD.encode(raw) });
        Material::PrivValidatorKeyJson(
            json!({ "address": address, "pub_key": typed, "priv_key": typed }).to_string(),
        )
    };
    let hex = hex::encode(raw);
    let wrong = [
        Material::Raw([&raw[..], &[1]].concat().into()),
        Material::PrivValidatorKeyJson(hex.clone()),
        misplaced(&hex, ""),
        misplaced(priv_validator::PRIV_KEY_TYPE, &hex),
        with("{}", PASSPHRASE),
        with(&json.replace("aes-128-ctr", &hex), PASSPHRASE),
        with(&json, &format!("{PASSPHRASE}!")),
    ];
    for material in wrong {
        let request = import("broken", material);
        said.0 += &format!("{request:?}\n");
        said.refused(operator.clone().import_key(request).await);
    }
    // A secret where a name or an address belongs is the caller's own fault, but is not repeated at length.
    for material in [with(&json, PASSPHRASE), Material::PrivValidatorKeyJson(file)] {
        let name = if matches!(material, Material::KeystoreV3(_)) { "keystore" } else { "file" };
        said.heard(operator.clone().import_key(import(name, material)).await);
    }
    let mut good = import("raw", Material::Raw(raw.to_vec().into()));
    good.role = KeyRole::Owner.into();
    let key = said.heard(operator.clone().import_key(good.clone()).await).key.unwrap();
    good.request_id = uuid::Uuid::now_v7().to_string();
    said.refused(operator.clone().import_key(good).await);
    key
}

/// Backup, drill, restore and both exports, rightly and wrongly.
async fn archives(operator: &Client, canaries: &mut Canaries, said: &mut Said, key: &Key) {
    let identity = Identity::generate();
    let text = identity.to_string().expose_secret().to_owned();
    canaries.text("the age identity", &text);
    canaries.text("the passphrase of an export", EXPORT_PASSPHRASE);
    let recipient = identity.to_public().to_string();
    let backup = BackupKeysRequest { recipients: vec![recipient.clone()], ..BackupKeysRequest::default() };
    let archive = said.heard(operator.clone().backup_keys(backup).await).archive;
    let drill =
        |identity: &str| VerifyBackupRequest { archive: archive.clone(), identity: identity.to_owned() };
    said.0 += &format!("{:?}\n", drill(&text));
    said.heard(operator.clone().verify_backup(drill(&text)).await);
    said.refused(operator.clone().verify_backup(drill(&format!("{text}X"))).await);
    let restore = |archive: &[u8]| RestoreKeysRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        archive: archive.to_vec().into(),
        identity: text.clone(),
        validate_only: false,
    };
    said.refused(operator.clone().restore_keys(restore(&archive[..archive.len() - 1])).await);
    said.heard(operator.clone().restore_keys(restore(&archive)).await);

    let keystore = |passphrase: &str| ExportKeystoreRequest {
        id: key.id.clone(),
        passphrase: passphrase.to_owned(),
        reason: "a journey".to_owned(),
    };
    said.0 += &format!("{:?}\n", keystore(EXPORT_PASSPHRASE));
    said.heard(operator.clone().export_keystore(keystore(EXPORT_PASSPHRASE)).await);
    said.refused(operator.clone().export_keystore(keystore("canary")).await);
    let pair = ed25519_dalek::SigningKey::from_bytes(&secret("node key"));
    canaries.bytes("the node key", pair.as_bytes());
    let value = STANDARD.encode(pair.to_keypair_bytes());
    let node = |id: &str, kind: &str| ExportNodeKeyRequest {
        id: id.to_owned(),
        recipient: recipient.clone(),
        node_key_json: json!({ "priv_key": { "type": kind, "value": value } }).to_string(),
    };
    said.0 += &format!("{:?}\n", node(&key.id, "tendermint/PrivKeyEd25519"));
    said.refused(operator.clone().export_node_key(node(&key.id, "tendermint/PrivKeyEd25519")).await);
    said.refused(operator.clone().export_node_key(node(&key.id, &value)).await);
}

/// All rows of all tables, as text; bytes are hex.
async fn tables(db: &TestDb) -> String {
    let admin = db.admin().await;
    let names = "SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = 'keys'";
    let mut dump = String::new();
    for row in admin.query_all_raw(store::statement(names, [])).await.unwrap() {
        let name: String = row.try_get("", "name").unwrap();
        let sql =
            format!("SELECT coalesce(string_agg(row_to_json(t)::text, ' '), '') AS rows FROM keys.{name} t");
        let row = admin.query_one_raw(store::statement(sql, [])).await.unwrap().unwrap();
        dump += &row.try_get::<String>("", "rows").unwrap();
    }
    dump
}
