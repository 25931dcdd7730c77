//! Reads a typed configuration from the tree: a serde deserializer that knows paths and origins, and
//! refuses every key that the type it fills does not have.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::Error;
use super::tree::{Node, Origin, Value};

/// A suggestion must be at least this alike (Jaro-Winkler), or it misleads.
const ALIKE_MIN: f64 = 0.75;

/// Fills `T` from the tree.
pub(super) fn from_tree<T: DeserializeOwned>(root: Node) -> Result<T, Error> {
    T::deserialize(root).map_err(|fault| {
        let path = fault.path.iter().rev().cloned().collect::<Vec<_>>().join(".");
        let origin = fault.origin.unwrap_or(Origin::Default).to_string();
        match fault.kind {
            Kind::Unknown { suggestion } => Error::UnknownKey { path, origin, suggestion },
            Kind::Invalid(message) => Error::Invalid { path, origin, message },
        }
    })
}

/// A fault on its way up; each level adds its key.
#[derive(Debug)]
pub(super) struct Fault {
    /// Innermost key first.
    path: Vec<String>,
    origin: Option<Origin>,
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Unknown { suggestion: Option<String> },
    Invalid(String),
}

impl Fault {
    fn under(mut self, key: String, origin: &Origin) -> Self {
        self.path.push(key);
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Unknown { .. } => f.write_str("unknown key"),
            Kind::Invalid(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: Vec::new(), origin: None, kind: Kind::Invalid(message.to_string()) }
    }
}

/// Reads text as the number that the reader wants.
macro_rules! numbers {
    ($($deserialize:ident => $visit:ident: $type:ty),* $(,)?) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.value {
                Value::Text(text) => match text.trim().parse::<$type>() {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => Err(de::Error::invalid_type(de::Unexpected::Other("text"), &visitor)),
                },
                value => Node { value, ..self }.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            // The reader takes anything (an untagged enum, say): text that reads as TOML is that.
            Value::Text(text) => match literal(&text) {
                Some(value @ (toml::Value::Array(_) | toml::Value::Table(_))) => {
                    Node::of_toml(value, &self.origin).deserialize_any(visitor)
                }
                Some(scalar) => visit_scalar(scalar, visitor),
                None => visitor.visit_string(text),
            },
            Value::Scalar(scalar) => visit_scalar(scalar, visitor),
            Value::List(items) => visitor.visit_seq(Items { index: 0, items: items.into_iter() }),
            Value::Table(table) => visitor.visit_map(Entries::new(table)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Value::Table(table) = &self.value {
            for (key, node) in table {
                if !fields.contains(&key.as_str()) {
                    let kind = Kind::Unknown { suggestion: most_like(key, fields) };
                    return Err(Fault { path: Vec::new(), origin: None, kind }
                        .under(key.clone(), node.deepest_origin()));
                }
            }
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.value {
            Value::Text(text) | Value::Scalar(toml::Value::String(text)) => {
                let name: StringDeserializer<Fault> = text.into_deserializer();
                visitor.visit_enum(name)
            }
            Value::Table(table) => visitor.visit_enum(MapAccessDeserializer::new(Entries::new(table))),
            value => Node { value, ..self }.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Text(text) => visitor.visit_string(text),
            value => Node { value, ..self }.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_string(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            // `a,b` is how people write lists in variables.
            Value::Text(text) if !text.trim_start().starts_with('[') => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                let items: Vec<Node> = parts
                    .map(|part| Node { value: Value::Text(part.to_owned()), origin: self.origin.clone() })
                    .collect();
                visitor.visit_seq(Items { index: 0, items: items.into_iter() })
            }
            value => Node { value, ..self }.deserialize_any(visitor),
        }
    }

    numbers! {
        deserialize_bool => visit_bool: bool,
        deserialize_i8 => visit_i64: i64, deserialize_i16 => visit_i64: i64,
        deserialize_i32 => visit_i64: i64, deserialize_i64 => visit_i64: i64,
        deserialize_u8 => visit_u64: u64, deserialize_u16 => visit_u64: u64,
        deserialize_u32 => visit_u64: u64, deserialize_u64 => visit_u64: u64,
        deserialize_i128 => visit_i128: i128, deserialize_u128 => visit_u128: u128,
        deserialize_f32 => visit_f64: f64, deserialize_f64 => visit_f64: f64,
    }

    forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct map identifier ignored_any
    }
}

impl Node {
    /// The origin to blame for a whole branch: of a variable rather than of the file around it.
    fn deepest_origin(&self) -> &Origin {
        match &self.value {
            Value::Table(table) => table.values().next().map_or(&self.origin, Node::deepest_origin),
            _ => &self.origin,
        }
    }
}

struct Items {
    index: usize,
    items: std::vec::IntoIter<Node>,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some(node) = self.items.next() else { return Ok(None) };
        let (index, origin) = (self.index, node.origin.clone());
        self.index += 1;
        seed.deserialize(node).map(Some).map_err(|fault| fault.under(index.to_string(), &origin))
    }
}

struct Entries {
    entries: std::collections::btree_map::IntoIter<String, Node>,
    value: Option<(String, Node)>,
}

impl Entries {
    fn new(table: BTreeMap<String, Node>) -> Self {
        Self { entries: table.into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((key, node)) = self.entries.next() else { return Ok(None) };
        let name: StringDeserializer<Fault> = key.clone().into_deserializer();
        let origin = node.origin.clone();
        self.value = Some((key.clone(), node));
        seed.deserialize(name).map(Some).map_err(|fault| fault.under(key, &origin))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let origin = node.origin.clone();
        seed.deserialize(node).map_err(|fault| fault.under(key, &origin))
    }
}

fn visit_scalar<'de, V: Visitor<'de>>(scalar: toml::Value, visitor: V) -> Result<V::Value, Fault> {
    match scalar {
        toml::Value::String(text) => visitor.visit_string(text),
        toml::Value::Integer(number) => visitor.visit_i64(number),
        toml::Value::Float(number) => visitor.visit_f64(number),
        toml::Value::Boolean(flag) => visitor.visit_bool(flag),
        other => visitor.visit_string(other.to_string()),
    }
}

fn literal(text: &str) -> Option<toml::Value> {
    let mut table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    // More keys than one means that the text broke out of its value.
    if table.len() == 1 { table.remove("value") } else { None }
}

fn most_like(key: &str, fields: &[&str]) -> Option<String> {
    fields
        .iter()
        .map(|field| (strsim::jaro_winkler(key, field), *field))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, field)| field.to_owned())
}
