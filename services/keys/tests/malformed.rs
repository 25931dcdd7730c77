//! Bad input of every method: a typed answer that names the field, nothing written but the record.

use age::x25519::Identity;
use api::keys::v1::import_key_request::Material;
use api::keys::v1::{
    BackupKeysRequest, ConfirmNonceFloorRequest, CreateKeyRequest, ExportNodeKeyRequest, GetKeyRequest,
    ImportKeyRequest, Key, KeyRole, KeyState, KeystoreV3, ListAuditRecordsRequest, ListKeysRequest,
    RestoreKeysRequest, SetKeyStateRequest, SetPolicyRequest, SignTransactionRequest, VerifyBackupRequest,
};
use api::types::v1::UnsignedTransaction;
use keys::policy::call::approveCall;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use crate::stand::{INFO, METIS, NETWORK, Stand, metis, refusal, request, trusting};

fn fresh() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Rows of all tables but the log.
async fn written(admin: &DatabaseConnection) -> i64 {
    let tables = ["key", "policy", "nonce_guard", "signed_form", "request", "nonce_floor", "restoration"];
    let counts = tables.map(|table| format!("(SELECT count(*) FROM keys.{table})")).join(" + ");
    count(admin, &format!("SELECT {counts} AS n")).await
}

async fn records(admin: &DatabaseConnection) -> i64 {
    count(admin, "SELECT count(*) AS n FROM keys.audit_record").await
}

async fn count(admin: &DatabaseConnection, sql: &str) -> i64 {
    let row = admin.query_one_raw(store::statement(sql, [])).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

/// What came back for a request, and the field that it must name.
type Row = (&'static str, &'static str, Result<(), Status>);

macro_rules! ask {
    ($rows:ident, $client:expr, $method:ident: $($field:literal => $request:expr),* $(,)?) => {
        $($rows.push((stringify!($method), $field, $client.clone().$method($request).await.map(drop)));)*
    };
}

#[tokio::test]
async fn each_bad_field_of_a_change_is_named_and_only_the_record_is_written() {
    let db = testkit::database().await;
    let stand = Stand::with(&db, trusting()).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let admin = db.admin().await;
    let before = (written(&admin).await, records(&admin).await);
    let mut rows: Vec<Row> = Vec::new();
    making(&stand, &mut rows).await;
    moving(&stand, &key, &mut rows).await;
    signing(&stand, &key, &mut rows).await;
    for (method, field, answer) in &rows {
        let status = answer.as_ref().expect_err(&format!("{method} without a good {field} was answered"));
        let refused = refusal(status);
        assert_eq!(status.code(), Code::InvalidArgument, "{method}, {field}: {status:?}");
        let named: Vec<_> = refused.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(named, [*field], "{method}: {status:?}");
    }
    let asked = i64::try_from(rows.len()).unwrap();
    assert_eq!((written(&admin).await, records(&admin).await), (before.0, before.1 + asked));
}

async fn making(stand: &Stand, rows: &mut Vec<Row>) {
    let operator = &stand.operator;
    let create = CreateKeyRequest {
        request_id: fresh(),
        name: "beta".to_owned(),
        role: KeyRole::Owner.into(),
        ..CreateKeyRequest::default()
    };
    let labelled = |label: &str| [(label.to_owned(), String::new())].into();
    ask!(rows, operator, create_key:
        "request_id" => CreateKeyRequest { request_id: String::new(), ..create.clone() },
        "request_id" => CreateKeyRequest { request_id: "1".to_owned(), ..create.clone() },
        "request_id" => CreateKeyRequest { request_id: "f".repeat(5_000), ..create.clone() },
        "name" => CreateKeyRequest { name: String::new(), ..create.clone() },
        "name" => CreateKeyRequest { name: "a".repeat(64), ..create.clone() },
        "name" => CreateKeyRequest { name: "Beta\0".to_owned(), ..create.clone() },
        "role" => CreateKeyRequest { role: 0, ..create.clone() },
        "role" => CreateKeyRequest { role: 77, ..create.clone() },
        "labels" => CreateKeyRequest { labels: labelled(""), ..create.clone() },
        "labels" => CreateKeyRequest { labels: labelled(&"l".repeat(64)), ..create.clone() },
        "labels" => CreateKeyRequest { labels: labelled("a\nb"), ..create.clone() },
        "labels" => CreateKeyRequest { labels: (0..33).map(|n| (n.to_string(), String::new())).collect(), ..create },
    );
    let import = ImportKeyRequest {
        request_id: fresh(),
        name: "beta".to_owned(),
        role: KeyRole::Owner.into(),
        material: Some(Material::Raw(vec![7; 32].into())),
        ..ImportKeyRequest::default()
    };
    let of = |material| ImportKeyRequest { material: Some(material), ..import.clone() };
    let keystore = |json: &str| {
        of(Material::KeystoreV3(KeystoreV3 { json: json.to_owned(), passphrase: "x".to_owned() }))
    };
    ask!(rows, operator, import_key:
        "request_id" => ImportKeyRequest { request_id: String::new(), ..import.clone() },
        "name" => ImportKeyRequest { name: "B".to_owned(), ..import.clone() },
        "role" => ImportKeyRequest { role: 0, ..import.clone() },
        "material" => ImportKeyRequest { material: None, ..import.clone() },
        "raw" => of(Material::Raw(vec![7; 31].into())),
        "raw" => of(Material::Raw(vec![0; 32].into())),
        "keystore_v3.json" => keystore(""),
        "keystore_v3.json" => keystore(&"[".repeat(100_000)),
        "priv_validator_key_json" => of(Material::PrivValidatorKeyJson("{}".to_owned())),
        "priv_validator_key_json" => of(Material::PrivValidatorKeyJson("x".repeat(100_000))),
        "expected_address" => ImportKeyRequest { expected_address: "0x12".to_owned(), ..import.clone() },
        "expected_address" => ImportKeyRequest { expected_address: INFO.to_string(), ..import },
    );
}

async fn moving(stand: &Stand, key: &Key, rows: &mut Vec<Row>) {
    let operator = &stand.operator;
    let state =
        SetKeyStateRequest { id: key.id.clone(), state: KeyState::Frozen.into(), reason: "x".to_owned() };
    ask!(rows, operator, set_key_state:
        "state" => SetKeyStateRequest { state: 0, ..state.clone() },
        "state" => SetKeyStateRequest { state: -1, ..state.clone() },
        "reason" => SetKeyStateRequest { reason: String::new(), ..state },
    );
    let recipient = Identity::generate().to_public().to_string();
    let backup = |recipients: Vec<String>| BackupKeysRequest { recipients, ..BackupKeysRequest::default() };
    ask!(rows, operator, backup_keys:
        "recipients" => backup(vec![]),
        "recipients" => backup(vec![recipient.clone(); 33]),
        "recipients[1]" => backup(vec![recipient.clone(), "age1".to_owned()]),
    );
    let identity = age::secrecy::ExposeSecret::expose_secret(&Identity::generate().to_string()).to_owned();
    ask!(rows, operator, verify_backup:
        "identity" => VerifyBackupRequest { archive: b"x"[..].into(), identity: String::new() },
        "identity" => VerifyBackupRequest { archive: b"x"[..].into(), identity: "AGE-SECRET-KEY-1".to_owned() },
        "archive" => VerifyBackupRequest { identity: identity.clone(), ..VerifyBackupRequest::default() },
        "archive" => VerifyBackupRequest { archive: vec![0xff; 100_000].into(), identity: identity.clone() },
    );
    let restore =
        RestoreKeysRequest { request_id: fresh(), archive: b"x"[..].into(), identity, validate_only: false };
    ask!(rows, operator, restore_keys:
        "request_id" => RestoreKeysRequest { request_id: "x".to_owned(), ..restore.clone() },
        "identity" => RestoreKeysRequest { identity: String::new(), ..restore.clone() },
        "archive" => RestoreKeysRequest { archive: b""[..].into(), ..restore.clone() },
        "archive" => restore,
    );
    ask!(rows, operator, export_node_key:
        "recipient" => ExportNodeKeyRequest { id: key.id.clone(), recipient: String::new(), ..Default::default() },
        "recipient" => ExportNodeKeyRequest { id: key.id.clone(), recipient: "age1".repeat(1_000), ..Default::default() },
    );
    let set =
        |toml: &str| SetPolicyRequest { toml: toml.to_owned(), expected_version: 1, validate_only: false };
    ask!(rows, operator, set_policy:
        "toml" => set(""),
        "toml" => set("format = 3"),
        "toml" => set("format = 1\nunknown = 1"),
        "toml" => set(&"#".repeat(300_000)),
    );
    let floor = ConfirmNonceFloorRequest {
        key_id: key.id.clone(),
        network: NETWORK.to_owned(),
        nonce: Some(1),
        reason: "x".to_owned(),
        validate_only: false,
    };
    ask!(rows, operator, confirm_nonce_floor:
        "key_id" => ConfirmNonceFloorRequest { key_id: String::new(), ..floor.clone() },
        "network" => ConfirmNonceFloorRequest { network: String::new(), ..floor.clone() },
        "nonce" => ConfirmNonceFloorRequest { nonce: None, ..floor.clone() },
        "nonce" => ConfirmNonceFloorRequest { nonce: Some(u64::MAX), ..floor.clone() },
        "reason" => ConfirmNonceFloorRequest { reason: String::new(), ..floor.clone() },
        "reason" => ConfirmNonceFloorRequest { reason: "x".repeat(1_001), ..floor },
    );
}

async fn signing(stand: &Stand, key: &Key, rows: &mut Vec<Row>) {
    let lifecycle = &stand.lifecycle;
    let good = request(key, METIS, &approveCall { spender: INFO, value: metis(1) }, 0);
    let with = |change: fn(&mut UnsignedTransaction)| {
        let mut request = good.clone();
        change(request.transaction.as_mut().unwrap());
        request
    };
    ask!(rows, lifecycle, sign_transaction:
        "network" => SignTransactionRequest { network: String::new(), ..good.clone() },
        "intent" => SignTransactionRequest { intent: 9, ..good.clone() },
        "transaction" => SignTransactionRequest { transaction: None, ..good.clone() },
        "transaction.chain_id" => with(|t| t.chain_id = 0),
        "transaction.chain_id" => with(|t| t.chain_id = u64::MAX),
        "transaction.from" => with(|t| t.from.clear()),
        "transaction.from" => with(|t| t.from = INFO.to_string()),
        "transaction.from" => with(|t| t.from = "0x".repeat(50_000)),
        "transaction.to" => with(|t| t.to.clear()),
        "transaction.to" => with(|t| t.to = format!("0x{}", "0".repeat(40))),
        "transaction.nonce" => with(|t| t.nonce = None),
        "transaction.nonce" => with(|t| t.nonce = Some(u64::MAX)),
        "transaction.value_wei" => with(|t| t.value_wei = "-1".to_owned()),
        "transaction.value_wei" => with(|t| t.value_wei = "9".repeat(5_000)),
        "transaction.gas_limit" => with(|t| t.gas_limit = 0),
        "transaction.gas_limit" => with(|t| t.gas_limit = u64::MAX),
        "transaction.max_fee_per_gas_wei" => with(|t| t.max_fee_per_gas_wei.clear()),
        "transaction.max_fee_per_gas_wei" => with(|t| t.max_fee_per_gas_wei = "1".repeat(40)),
        "transaction.max_priority_fee_per_gas_wei" => with(|t| t.max_priority_fee_per_gas_wei = "1e9".to_owned()),
        "transaction.max_priority_fee_per_gas_wei" => with(|t| t.max_priority_fee_per_gas_wei = "9".repeat(20)),
    );
}

#[tokio::test]
async fn bad_questions_are_refused_and_leave_no_record() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let admin = db.admin().await;
    let before = records(&admin).await;
    let operator = &stand.operator;
    let mut rows: Vec<Row> = Vec::new();
    ask!(rows, operator, get_key: "selector" => GetKeyRequest::default());
    ask!(rows, operator, list_keys:
        "page_size" => ListKeysRequest { page_size: -1, ..ListKeysRequest::default() },
        "page_token" => ListKeysRequest { page_token: "x".to_owned(), ..ListKeysRequest::default() },
        "role" => ListKeysRequest { role: 9, ..ListKeysRequest::default() },
    );
    ask!(rows, operator, list_audit_records:
        "page_size" => ListAuditRecordsRequest { page_size: -1, ..ListAuditRecordsRequest::default() },
        "page_token" => ListAuditRecordsRequest { page_token: "x".repeat(9_000), ..ListAuditRecordsRequest::default() },
    );
    for (method, field, answer) in rows {
        let refused = refusal(&answer.unwrap_err());
        assert_eq!(
            refused.fields.first().map(|(name, _)| name.as_str()),
            Some(field),
            "{method}: {refused:?}"
        );
    }
    assert_eq!(records(&admin).await, before);
}

/// Messages as bytes: for requests that no generated type has.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// A value that a method could take, by the name of the field.
fn plausible(field: &FieldDescriptor, key: &Key, depth: u32) -> Option<Value> {
    let text = |text: &str| Some(Value::String(text.to_owned()));
    let value = match field.kind() {
        Kind::String => match field.name() {
            "request_id" => text(&fresh()),
            "key_id" | "id" => text(&key.id),
            "network" => text(NETWORK),
            "name" => text("plausible"),
            "from" | "address" => text(&crate::stand::address_of(key).to_string()),
            "to" => text(&METIS.to_string()),
            name if name.ends_with("_wei") => text("1"),
            "recipient" | "recipients" => text(&Identity::generate().to_public().to_string()),
            "toml" => text("format = 1"),
            "data" | "page_token" => text(""),
            _ => text("plausible"),
        },
        Kind::Bytes => Some(Value::Bytes(vec![1; 32].into())),
        Kind::Bool => Some(Value::Bool(false)),
        Kind::Enum(_) => Some(Value::EnumNumber(1)),
        Kind::Message(message) if depth < 3 && !field.is_map() => {
            Some(Value::Message(filled(&message, key, depth + 1)))
        }
        Kind::Uint64 | Kind::Fixed64 => Some(Value::U64(1)),
        Kind::Uint32 => Some(Value::U32(1)),
        Kind::Int32 => Some(Value::I32(1)),
        Kind::Int64 => Some(Value::I64(1)),
        _ => None,
    }?;
    Some(if field.is_list() { Value::List(vec![value]) } else { value })
}

fn filled(message: &MessageDescriptor, key: &Key, depth: u32) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    for field in message.fields() {
        if let Some(value) = plausible(&field, key, depth) {
            filled.set_field(&field, value);
        }
    }
    filled
}

/// What no field should have.
fn hostile(field: &FieldDescriptor) -> Vec<Value> {
    if field.is_map() {
        return Vec::new();
    }
    let values = match field.kind() {
        Kind::String => vec![
            Value::String(String::new()),
            Value::String("\0".to_owned()),
            Value::String("\u{202e}\u{1}'; DROP TABLE keys.key; --".to_owned()),
            Value::String("9".repeat(70_000)),
        ],
        Kind::Bytes => vec![Value::Bytes(Vec::new().into()), Value::Bytes(vec![0xff; 70_000].into())],
        Kind::Enum(_) => vec![Value::EnumNumber(0), Value::EnumNumber(-1), Value::EnumNumber(i32::MAX)],
        Kind::Uint64 => vec![Value::U64(0), Value::U64(u64::MAX)],
        Kind::Uint32 => vec![Value::U32(0), Value::U32(u32::MAX)],
        Kind::Int32 => vec![Value::I32(i32::MIN), Value::I32(i32::MAX)],
        Kind::Int64 => vec![Value::I64(i64::MIN), Value::I64(i64::MAX)],
        _ => Vec::new(),
    };
    if field.is_list() {
        values
            .into_iter()
            .flat_map(|value| [Value::List(vec![value.clone()]), Value::List(vec![value; 3])])
            .collect()
    } else {
        values
    }
}

/// A plausible message with one field, however deep, made hostile.
fn spoiled(whole: &DynamicMessage) -> Vec<(String, DynamicMessage)> {
    let mut all = Vec::new();
    for field in whole.descriptor().fields() {
        let mut put = |name: String, value: Option<Value>| {
            let mut message = whole.clone();
            match value {
                Some(value) => message.set_field(&field, value),
                None => message.clear_field(&field),
            }
            all.push((name, message));
        };
        put(format!("no {}", field.name()), None);
        for value in hostile(&field) {
            let shown: String = format!("{value:?}").chars().take(60).collect();
            put(format!("{} = {shown}", field.name()), Some(value));
        }
        if let (Kind::Message(_), false, false) = (field.kind(), field.is_list(), field.is_map())
            && let Value::Message(inner) = whole.get_field(&field).into_owned()
        {
            for (name, inner) in spoiled(&inner) {
                put(format!("{}.{name}", field.name()), Some(Value::Message(inner)));
            }
        }
    }
    all
}

#[tokio::test]
async fn no_request_of_any_method_breaks_the_service() {
    let db = testkit::database().await;
    let stand = Stand::with(&db, trusting()).await;
    let key = stand.create("alpha", KeyRole::Sequencer).await;
    let pool = DescriptorPool::decode(api::DESCRIPTORS).unwrap();
    let service = pool.get_service_by_name("sequencer.keys.v1.KeysService").unwrap();
    let mut broken = Vec::new();
    let mut asked = 0;
    for method in service.methods().filter(|method| !method.is_server_streaming()) {
        let whole = filled(&method.input(), &key, 0);
        let path: http::uri::PathAndQuery =
            format!("/{}/{}", service.full_name(), method.name()).parse().unwrap();
        for (what, message) in spoiled(&whole) {
            let is_signing = method.name().starts_with("Sign");
            // Calldata that is no known call is denied, also to whoever only asks what a policy would say.
            let may_be_denied = is_signing || method.name() == "ExplainPolicy";
            let peer = if is_signing { stand.signer.clone() } else { stand.manager.clone() };
            let mut grpc = Grpc::new(peer);
            grpc.ready().await.unwrap();
            let answer: Result<_, Status> =
                grpc.unary(Request::new(message.encode_to_vec()), path.clone(), Raw).await;
            asked += 1;
            if let Err(status) = answer {
                let typed =
                    runtime::errors::refusal_of(&status).is_some_and(|refusal| refusal.reason != "INTERNAL");
                if !typed
                    || matches!(status.code(), Code::Internal | Code::Unknown | Code::PermissionDenied if !may_be_denied)
                {
                    broken.push(format!("{}, {what}: {status:?}", method.name()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{} of {asked}:\n{}", broken.len(), broken.join("\n"));
    assert!(asked > 200, "only {asked}");
    stand.create("still-alive", KeyRole::Owner).await;
}
