//! Messages of our services as JSON for the public, by their descriptors: one rule for each kind of field, so that
//! every method shows a thing in the same way and a new field appears by itself.
//!
//! Names are camelCase. Amounts in wei and 64-bit numbers are 0x quantities, times ISO 8601, enumerations their name
//! without prefix, empty text is null. A few messages have a shape of their own: see `Form`.

pub mod schema;

use std::sync::LazyLock;

use alloy_primitives::U256;
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value as Wire,
};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(api::DESCRIPTORS).expect("the build compiled these descriptors"));

/// Fields that are not for the public: where operators' nodes are.
const HIDDEN: &[&str] =
    &["sequencer.indexer.v1.Node.endpoints", "sequencer.indexer.v1.SourceProgress.endpoints"];

/// Texts of services that may quote an endpoint; the endpoint is cut out.
const WITHOUT_URLS: &[&str] = &["problem", "last_answer"];

/// A message with its full name.
pub trait Named: prost::Message {
    /// `package.Message`.
    const NAME: &'static str;
}

macro_rules! names {
    ($($service:ident: $($message:ident)*;)*) => {
        $($(impl Named for api::$service::v1::$message {
            const NAME: &'static str = concat!("sequencer.", stringify!($service), ".v1.", stringify!($message));
        })*)*
    };
}

names! {
    types: AsOf UnsignedTransaction;
    indexer: Network GetChainParametersResponse ListEventsResponse ListEpochsResponse GetNodeResponse ListNodesResponse;
    lifecycle: Sequencer Transition Operation Transaction RegisterSequencerResponse GetSequencerResponse
        ListSequencersResponse ListTransitionsResponse PreflightOperationResponse CreateOperationResponse
        SubmitTransactionResponse CancelOperationResponse GetOperationResponse ListOperationsResponse
        BuildListingResponse;
    rewards: GetBalanceResponse ListBalancesResponse ListEntriesResponse GetRateResponse GetNetworkSummaryResponse;
}

/// How a message is shown.
enum Form {
    /// Member by member.
    Plain,
    /// ISO 8601 text.
    Time,
    /// The block's members beside network and finality.
    AsOf,
    /// The name of the chosen alternative in this member, and its message in the other.
    Event,
    /// The name of the chosen alternative as `kind`, beside the members of its message.
    Operation,
    /// The params of `eth_sendTransaction`.
    Transaction,
}

fn form(message: &MessageDescriptor) -> Form {
    match message.full_name() {
        "google.protobuf.Timestamp" => Form::Time,
        "sequencer.types.v1.AsOf" => Form::AsOf,
        "sequencer.indexer.v1.ChainEvent" => Form::Event,
        "sequencer.lifecycle.v1.OperationParameters" => Form::Operation,
        "sequencer.types.v1.UnsignedTransaction" => Form::Transaction,
        _ => Form::Plain,
    }
}

/// A message as JSON.
pub fn json<M: Named>(message: &M) -> Value {
    let descriptor = POOL.get_message_by_name(M::NAME).expect("`names!` lists messages of our own proto");
    let bytes = message.encode_to_vec();
    let message = DynamicMessage::decode(descriptor, bytes.as_slice()).expect("encoded two lines above");
    shown(&message)
}

/// A message that has members, with more members.
pub fn with<M: Named>(message: &M, more: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut value = json(message);
    if let Some(members) = value.as_object_mut() {
        members.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    value
}

fn shown(message: &DynamicMessage) -> Value {
    match form(&message.descriptor()) {
        Form::Plain => Value::Object(members(message)),
        Form::Time => time(message).map_or(Value::Null, Value::String),
        Form::AsOf => as_of(message),
        Form::Event => event(message),
        Form::Operation => operation(message),
        Form::Transaction => transaction(message),
    }
}

fn members(message: &DynamicMessage) -> Map<String, Value> {
    let descriptor = message.descriptor();
    let fields = descriptor.fields().filter(is_shown);
    fields
        // Of alternatives only the chosen one appears.
        .filter(|field| !is_alternative(field) || message.has_field(field))
        .map(|field| (field.json_name().to_owned(), member(message, &field)))
        .collect()
}

fn is_shown(field: &FieldDescriptor) -> bool {
    !HIDDEN.contains(&field.full_name())
}

fn is_alternative(field: &FieldDescriptor) -> bool {
    field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic())
}

fn member(message: &DynamicMessage, field: &FieldDescriptor) -> Value {
    if field.supports_presence() && !message.has_field(field) {
        return Value::Null;
    }
    match message.get_field(field).as_ref() {
        Wire::List(items) => items.iter().map(|item| one(item, field)).collect(),
        Wire::Map(entries) => {
            let text = |key: &MapKey| key.as_str().unwrap_or_default().to_owned();
            let entry = |(key, value): (&MapKey, &Wire)| (text(key), json!(value.as_str()));
            Value::Object(entries.iter().map(entry).collect())
        }
        single => one(single, field),
    }
}

fn one(value: &Wire, field: &FieldDescriptor) -> Value {
    match value {
        Wire::Bool(flag) => json!(flag),
        Wire::I32(number) => json!(number),
        Wire::U32(number) => json!(number),
        Wire::I64(number) => json!(number),
        Wire::U64(number) => quantity(*number),
        Wire::F32(_) | Wire::F64(_) => Value::Null,
        Wire::String(text) if text.is_empty() => Value::Null,
        Wire::String(text) if is_wei(field) => wei(text),
        Wire::String(text) if WITHOUT_URLS.contains(&field.name()) => json!(without_urls(text)),
        Wire::String(text) => json!(text),
        Wire::Bytes(bytes) => json!(format!("0x{}", hex::encode(bytes))),
        Wire::EnumNumber(number) => match field.kind() {
            Kind::Enum(descriptor) => chosen(&descriptor, *number),
            _ => Value::Null,
        },
        Wire::Message(message) => shown(message),
        Wire::List(_) | Wire::Map(_) => Value::Null,
    }
}

fn is_wei(field: &FieldDescriptor) -> bool {
    field.name().ends_with("_wei")
}

/// A number as 0x quantity.
pub fn quantity(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

/// Decimal text as 0x quantity.
fn wei(decimal: &str) -> Value {
    U256::from_str_radix(decimal, 10).map_or(Value::Null, |amount| json!(format!("{amount:#x}")))
}

fn without_urls(text: &str) -> String {
    let words = text.split(' ').map(|word| if word.contains("://") { "(endpoint)" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn chosen(descriptor: &EnumDescriptor, number: i32) -> Value {
    match (number, descriptor.get_value(number)) {
        (0, _) | (_, None) => Value::Null,
        (_, Some(value)) => json!(choice(descriptor, value.name())),
    }
}

/// The name of a value without the prefix that proto wants; kinds of operations as the params spell them.
fn choice(descriptor: &EnumDescriptor, name: &str) -> String {
    let mut prefix = String::new();
    for c in descriptor.name().chars() {
        if c.is_ascii_uppercase() && !prefix.is_empty() {
            prefix.push('_');
        }
        prefix.push(c.to_ascii_uppercase());
    }
    prefix.push('_');
    let short = name.strip_prefix(&prefix).unwrap_or(name);
    if descriptor.name() == "OperationKind" { short.to_ascii_lowercase() } else { short.to_owned() }
}

fn time(message: &DynamicMessage) -> Option<String> {
    let seconds = message.get_field_by_name("seconds")?.as_i64()?;
    let nanos = message.get_field_by_name("nanos")?.as_i32()?;
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    (time + time::Duration::nanoseconds(nanos.into())).format(&Rfc3339).ok()
}

fn as_of(message: &DynamicMessage) -> Value {
    let mut members = members(message);
    let block = members.remove("block").unwrap_or_default();
    members.insert("block".to_owned(), block["number"].clone());
    members.insert("hash".to_owned(), block["hash"].clone());
    members.insert("time".to_owned(), block["time"].clone());
    Value::Object(members)
}

/// The chosen alternative of a message with one set of alternatives.
fn alternative(message: &DynamicMessage) -> Option<FieldDescriptor> {
    message.descriptor().fields().find(|field| is_alternative(field) && message.has_field(field))
}

fn event(message: &DynamicMessage) -> Value {
    let mut members = members(message);
    let (name, args) = match alternative(message) {
        Some(field) => {
            let name = match field.kind() {
                Kind::Message(descriptor) => descriptor.name().to_owned(),
                _ => field.name().to_owned(),
            };
            (json!(name), members.remove(field.json_name()).unwrap_or_default())
        }
        None => (Value::Null, Value::Null),
    };
    members.insert("event".to_owned(), name);
    members.insert("args".to_owned(), args);
    Value::Object(members)
}

fn operation(message: &DynamicMessage) -> Value {
    let Some(field) = alternative(message) else { return Value::Null };
    let mut members = match member(message, &field) {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    members.insert("kind".to_owned(), json!(field.name()));
    Value::Object(members)
}

fn transaction(message: &DynamicMessage) -> Value {
    let members = members(message);
    let mut params = Map::new();
    for (from, to) in TRANSACTION {
        match members.get(*from) {
            // What is not fixed yet is left to the wallet.
            None | Some(Value::Null) => {}
            Some(Value::String(zero)) if *from == "gasLimit" && zero == "0x0" => {}
            Some(value) => _ = params.insert((*to).to_owned(), value.clone()),
        }
    }
    Value::Object(params)
}

/// Names in our message, and in the params of `eth_sendTransaction`.
const TRANSACTION: &[(&str, &str)] = &[
    ("chainId", "chainId"),
    ("from", "from"),
    ("to", "to"),
    ("nonce", "nonce"),
    ("valueWei", "value"),
    ("data", "data"),
    ("gasLimit", "gas"),
    ("maxFeePerGasWei", "maxFeePerGas"),
    ("maxPriorityFeePerGasWei", "maxPriorityFeePerGas"),
];

#[cfg(test)]
mod tests;
