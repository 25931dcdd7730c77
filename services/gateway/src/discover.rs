//! `rpc.discover`: the OpenRPC document, made from the method table and the declarations of the methods.

use std::sync::LazyLock;

use runtime::methods::{Access, Deadline};
use serde_json::{Map, Value, json};

use crate::args::{Kind, Param};
use crate::methods::{self, Endpoint, Schema, Shape};
use crate::wire::schema::{Components, QUANTITY};

/// The newest version that the public test tool for OpenRPC accepts.
const OPENRPC: &str = "1.2.6";

/// The document.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(make);
    &DOCUMENT
}

fn make() -> Value {
    let mut components = Components::default();
    let methods: Vec<Value> =
        methods::endpoints().map(|endpoint| method(endpoint, &mut components)).collect();
    json!({
        "openrpc": OPENRPC,
        "info": {
            "title": "Metis sequencer control plane",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Amounts in wei and 64-bit numbers are 0x quantities, times ISO 8601, ids text. \
                Params are by name. Errors carry data {reason, domain, metadata, retryable, retryAfterMs, \
                requestId, fields}.",
        },
        "methods": methods,
        "components": { "schemas": components.into_json() },
    })
}

fn method(endpoint: &Endpoint, components: &mut Components) -> Value {
    let params: Vec<Value> = endpoint
        .params
        .iter()
        .map(|param| {
            json!({
                "name": param.name,
                "description": param.about,
                "required": param.required,
                "schema": of_kind(param.kind),
            })
        })
        .collect();
    let row = api::methods::jsonrpc().get(endpoint.name);
    let access = match row.map(|row| row.access) {
        Some(Access::Public) => json!({ "public": true }),
        Some(Access::Scope(scope)) => json!({ "scope": scope }),
        Some(Access::Identities(_)) | None => json!({ "public": false }),
    };
    json!({
        "name": endpoint.name,
        "summary": endpoint.about,
        "paramStructure": "by-name",
        "params": params,
        "result": { "name": "result", "schema": of_shape(endpoint.result, components) },
        "x-access": access,
        "x-cost": row.map(|row| row.cost),
        "x-idempotent": row.map(|row| row.idempotent),
        "x-deadlineMs": row.and_then(|row| row.deadline.limit()).map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        "x-subscription": row.is_some_and(|row| row.deadline == Deadline::Stream) || endpoint.name == methods::transitions::SUBSCRIBE,
    })
}

fn of_shape(shape: Shape, components: &mut Components) -> Value {
    match shape {
        Shape::Message(name, []) => components.message(name),
        Shape::Message(name, more) => extended(name, more, components),
        Shape::Members(members) => {
            let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
            let properties: Map<String, Value> =
                members.iter().map(|(name, of)| ((*name).to_owned(), of_schema(*of, components))).collect();
            json!({ "type": "object", "required": names, "properties": properties })
        }
        Shape::Value(schema) => of_schema(schema, components),
    }
}

/// The schema of a message with more members.
fn extended(name: &str, more: &[(&str, Schema)], components: &mut Components) -> Value {
    let mut schema = components.schema_of(name);
    for (member, of) in more {
        schema["properties"][*member] = of_schema(*of, components);
        if let Some(required) = schema["required"].as_array_mut() {
            required.push(json!(member));
        }
    }
    schema
}

fn of_schema(schema: Schema, components: &mut Components) -> Value {
    match schema {
        Schema::Messages(name) => json!({ "type": "array", "items": components.message(name) }),
        Schema::MessagesAsOf(name) => {
            json!({ "type": "array", "items": extended(name, &[methods::AS_OF], components) })
        }
        Schema::AsOf => {
            json!({ "oneOf": [components.message("sequencer.types.v1.AsOf"), { "type": "null" }] })
        }
        Schema::Text => json!({ "type": ["string", "null"] }),
        Schema::Time => json!({ "type": ["string", "null"], "format": "date-time" }),
        Schema::Quantity => json!({ "type": ["string", "null"], "pattern": QUANTITY }),
        Schema::Flag => json!({ "type": "boolean" }),
        Schema::Object => json!({ "type": "object" }),
    }
}

fn of_kind(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Wei => json!({ "type": "string", "pattern": "^([0-9]+|0x[0-9a-fA-F]+)$" }),
        Kind::Height => {
            json!({ "oneOf": [{ "type": "string", "pattern": "^0x[0-9a-fA-F]+$" }, { "type": "integer", "minimum": 0 }] })
        }
        Kind::Count => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Choice(values) => json!({ "type": "string", "enum": values }),
        Kind::Time => json!({ "type": "string", "format": "date-time" }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Labels => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Object(params) => object(params, None),
        Kind::Variant(variants) => {
            let variants: Vec<Value> =
                variants.iter().map(|(name, params)| object(params, Some(name))).collect();
            json!({ "oneOf": variants })
        }
    }
}

fn object(params: &[Param], kind: Option<&str>) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    if let Some(kind) = kind {
        properties.insert("kind".to_owned(), json!({ "const": kind }));
        required.push("kind");
    }
    for param in params {
        let mut schema = of_kind(param.kind);
        schema["description"] = json!(param.about);
        properties.insert(param.name.to_owned(), schema);
        if param.required {
            required.push(param.name);
        }
    }
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}
