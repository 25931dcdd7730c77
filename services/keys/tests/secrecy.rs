//! Canaries: secrets with known bytes that must be seen nowhere.

use std::io::Write;
use std::sync::{Arc, Mutex};

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use api::keys::v1::import_key_request::Material;
use api::keys::v1::{
    BackupKeysRequest, ImportKeyRequest, KeyRole, KeystoreV3, RestoreKeysRequest, VerifyBackupRequest,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keys::import::priv_validator::PRIV_KEY_TYPE;
use keys::policy::call::approveCall;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::stand::{INFO, KEK, METIS, Stand, metis, request};

const SECRET: [u8; 32] = [0x5e; 32];
const PASSPHRASE: &str = "canary-passphrase-7d1f";

/// All that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn assert_silent(text: &str, canaries: &[String], place: &str) {
    let text = text.to_lowercase();
    for canary in canaries {
        assert!(!text.contains(&canary.to_lowercase()), "a canary was seen in {place}");
    }
}

#[tokio::test]
async fn no_secret_is_seen_in_logs_errors_debug_or_tables() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    // Of this thread, which is where a current-thread runtime does all its work.
    let _guard = tracing::subscriber::set_default(subscriber);
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    // A callsite that another test registered in the moment of `set_default` believes nobody listens.
    tracing::callsite::rebuild_interest_cache();
    let identity = Identity::generate();
    let identity_text = identity.to_string().expose_secret().to_owned();
    let canaries = [
        hex::encode(SECRET),
        STANDARD.encode(SECRET),
        format!("{SECRET:?}"),
        String::from_utf8(SECRET.to_vec()).unwrap(),
        KEK.to_owned(),
        PASSPHRASE.to_owned(),
        identity_text.clone(),
    ];

    let said = [imports(&stand).await, archives(&stand, &identity, &identity_text).await].concat();

    assert_silent(&said, &canaries, "an answer or a Debug");
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("keys.decide"), "the log has the statements, else this test shows nothing");
    assert_silent(&logged, &canaries, "the log");
    assert_silent(&tables(&db.admin().await).await, &canaries, "the database");
}

/// Imports the secret, wrongly in all ways and then rightly, and signs with it.
async fn imports(stand: &Stand) -> String {
    let import = |material| ImportKeyRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        name: "canary".to_owned(),
        role: KeyRole::Owner.into(),
        material: Some(material),
        ..ImportKeyRequest::default()
    };
    let hex = hex::encode(SECRET);
    let misplaced = |kind: &str, address: &str| {
        let typed = json!({ "type": kind, "value": STANDARD.encode(SECRET) });
        Material::PrivValidatorKeyJson(
            json!({ "address": address, "pub_key": typed, "priv_key": typed }).to_string(),
        )
    };
    let wrong = [
        Material::KeystoreV3(KeystoreV3 { json: "{}".to_owned(), passphrase: PASSPHRASE.to_owned() }),
        Material::Raw([&SECRET[..], &[1]].concat().into()),
        Material::PrivValidatorKeyJson(hex.clone()),
        misplaced(&hex, ""),
        misplaced(PRIV_KEY_TYPE, &hex),
    ];
    let mut said = String::new();
    for material in wrong {
        let request = import(material);
        said += &format!("{request:?}");
        said += &format!("{:?}", stand.operator.clone().import_key(request).await.unwrap_err());
    }
    let good = import(Material::Raw(SECRET.to_vec().into()));
    let key = stand.operator.clone().import_key(good).await.unwrap().into_inner().key.unwrap();
    let asked = request(&key, METIS, &approveCall { spender: INFO, value: metis(1) }, 0);
    said + &format!("{:?}", stand.sign(asked).await.unwrap())
}

/// Makes a backup, and uses it and its identity rightly and wrongly.
async fn archives(stand: &Stand, identity: &Identity, identity_text: &str) -> String {
    let recipients = vec![identity.to_public().to_string()];
    let backup = BackupKeysRequest { recipients, ..BackupKeysRequest::default() };
    let archive = stand.operator.clone().backup_keys(backup).await.unwrap().into_inner().archive;
    let drill = |identity: String| VerifyBackupRequest { archive: archive.clone(), identity };
    let restore = RestoreKeysRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        archive: archive.slice(..archive.len() - 1),
        identity: identity_text.to_owned(),
        validate_only: false,
    };
    let mut said = format!("{:?} {restore:?}", drill(identity_text.to_owned()));
    said += &format!("{:?}", stand.operator.clone().restore_keys(restore).await.unwrap_err());
    for identity in [identity_text.to_owned(), format!("{identity_text}X")] {
        said += &format!("{:?}", stand.operator.clone().verify_backup(drill(identity)).await);
    }
    said
}

/// All rows of all tables, as text; bytes are hex.
async fn tables(admin: &sea_orm::DatabaseConnection) -> String {
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
