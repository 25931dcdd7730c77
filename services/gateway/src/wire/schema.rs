//! JSON schemas of what `wire` shows, from the same descriptors and the comments of the proto files.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{Form, POOL, TRANSACTION, choice, form, is_alternative, is_shown, is_wei};

/// Pattern of a 0x quantity: no leading zeros.
pub const QUANTITY: &str = "^0x(0|[1-9a-f][0-9a-f]*)$";

/// Leading comments by file and path, as protobuf keeps them.
static COMMENTS: LazyLock<HashMap<(String, Vec<i32>), String>> = LazyLock::new(|| {
    let located = POOL.file_descriptor_protos().flat_map(|file| {
        let places = file.source_code_info.iter().flat_map(|info| &info.location);
        places.map(move |place| {
            ((file.name().to_owned(), place.path.clone()), place.leading_comments().trim().to_owned())
        })
    });
    located.filter(|(_, text)| !text.is_empty()).collect()
});

/// Schemas that others refer to, by name.
#[derive(Debug, Default)]
pub struct Components(BTreeMap<String, Value>);

impl Components {
    /// All of them.
    pub fn into_json(self) -> Value {
        json!(self.0)
    }

    /// A reference to the schema of a message; it is made at its first use.
    pub fn message(&mut self, name: &str) -> Value {
        let message = POOL.get_message_by_name(name).expect("methods name messages of our own proto");
        self.reference(&message)
    }

    fn reference(&mut self, message: &MessageDescriptor) -> Value {
        if matches!(form(message), Form::Time) {
            return json!({ "type": "string", "format": "date-time" });
        }
        let name = short_name(message.full_name());
        if !self.0.contains_key(&name) {
            // Before its members, which may refer back to it.
            self.0.insert(name.clone(), Value::Null);
            let schema = self.schema(message);
            self.0.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// The schema itself, to which a method may add members.
    pub fn schema_of(&mut self, name: &str) -> Value {
        let message = POOL.get_message_by_name(name).expect("methods name messages of our own proto");
        self.schema(&message)
    }

    fn schema(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields().filter(is_shown) {
            properties.insert(field.json_name().to_owned(), self.member(&field));
        }
        let text = json!({ "type": ["string", "null"] });
        match form(message) {
            Form::Plain | Form::Time => {}
            Form::AsOf => {
                properties
                    .insert("block".to_owned(), json!({ "type": ["string", "null"], "pattern": QUANTITY }));
                properties.insert("hash".to_owned(), text.clone());
                properties
                    .insert("time".to_owned(), json!({ "type": ["string", "null"], "format": "date-time" }));
            }
            Form::Event => {
                properties.retain(|name, _| ["at", "contract", "transactionFrom"].contains(&name.as_str()));
                properties.insert("event".to_owned(), text);
                properties.insert("args".to_owned(), json!({ "type": ["object", "null"] }));
            }
            Form::Operation => {
                let kinds: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
                return json!({
                    "type": ["object", "null"],
                    "description": comment(message.parent_file().name(), message.path()),
                    "required": ["kind"],
                    "properties": { "kind": { "type": "string", "enum": kinds } },
                });
            }
            Form::Transaction => {
                let renamed = TRANSACTION
                    .iter()
                    .filter_map(|(from, to)| Some(((*to).to_owned(), properties.remove(*from)?)));
                properties = renamed.collect();
            }
        }
        let required: Vec<String> = match form(message) {
            Form::Transaction => ["chainId", "from", "to", "value", "data"].map(str::to_owned).into(),
            _ => {
                let optional: Vec<String> = message
                    .fields()
                    .filter(is_alternative)
                    .map(|field| field.json_name().to_owned())
                    .collect();
                properties.keys().filter(|name| !optional.contains(name)).cloned().collect()
            }
        };
        json!({
            "type": "object",
            "description": comment(message.parent_file().name(), message.path()),
            "required": required,
            "properties": properties,
        })
    }

    fn member(&mut self, field: &FieldDescriptor) -> Value {
        let description = comment(field.parent_file().name(), field.path());
        let mut schema = if field.is_map() {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        } else if field.is_list() {
            json!({ "type": "array", "items": self.one(field) })
        } else if let Kind::Message(message) = field.kind() {
            let shown = self.reference(&message);
            // Beside a reference nothing else counts, hence the detour.
            json!({ "oneOf": [shown, { "type": "null" }] })
        } else {
            self.one(field)
        };
        if let Some(members) = schema.as_object_mut() {
            members.insert("description".to_owned(), json!(description));
        }
        schema
    }

    fn one(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Bool if field.supports_presence() => json!({ "type": ["boolean", "null"] }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Uint64 => json!({ "type": ["string", "null"], "pattern": QUANTITY }),
            Kind::String if is_wei(field) => json!({ "type": ["string", "null"], "pattern": QUANTITY }),
            Kind::String | Kind::Bytes => json!({ "type": ["string", "null"] }),
            Kind::Enum(descriptor) => choices(&descriptor),
            Kind::Message(message) => self.reference(&message),
            _ => json!({ "type": ["integer", "null"] }),
        }
    }
}

fn choices(descriptor: &EnumDescriptor) -> Value {
    let named = descriptor
        .values()
        .filter(|value| value.number() != 0)
        .map(|value| json!(choice(descriptor, value.name())));
    let values: Vec<Value> = named.chain([Value::Null]).collect();
    json!({ "enum": values })
}

fn comment(file: &str, path: &[i32]) -> String {
    let text = COMMENTS.get(&(file.to_owned(), path.to_vec())).map(String::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `sequencer.lifecycle.v1.Operation` as `lifecycle.Operation`: two packages may use one name.
fn short_name(full: &str) -> String {
    full.trim_start_matches("sequencer.").replace(".v1.", ".")
}
