//! Params of a method: by name, strictly those that it declares. The declaration is also what `rpc.discover` shows.
//!
//! Only the JSON form is checked here. What an amount or an address means is checked by the service behind, whose
//! refusals carry the same names.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use api::reasons::{AMOUNT_MALFORMED, AMOUNT_TOO_LARGE, FIELD_REQUIRED};
use prost_types::Timestamp;
use runtime::errors::{Reason, Refusal, generic};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::fault::Fault;
use crate::json::Strict;

/// Hex digits of 2^256 - 1.
const U256_HEX_DIGITS: usize = 64;

/// The JSON form of a param.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// Wei: decimal text, or a 0x quantity as we give it out.
    Wei,
    /// A block number or other height: a 0x quantity, or a whole number.
    Height,
    /// A small whole number.
    Count,
    /// True or false.
    Flag,
    /// One of these.
    Choice(&'static [&'static str]),
    /// ISO 8601 with time zone.
    Time,
    /// Texts.
    Texts,
    /// Names with texts.
    Labels,
    /// An object with these members.
    Object(&'static [Param]),
    /// An object whose `kind` says which members it has.
    Variant(&'static [(&'static str, &'static [Param])]),
}

/// One param.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Its form.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// What it is for.
    pub about: &'static str,
}

/// A param that must be there.
pub const fn required(name: &'static str, kind: Kind, about: &'static str) -> Param {
    Param { name, kind, required: true, about }
}

/// A param that may be left out.
pub const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Param {
    Param { name, kind, required: false, about }
}

/// Params of one call, of the declared forms.
#[derive(Debug, Clone, Default)]
pub struct Args(Map<String, Value>);

impl Args {
    /// Reads the params of a request.
    pub fn read(raw: Option<&str>, declared: &'static [Param]) -> Result<Self, Fault> {
        let value = match raw {
            None => Value::Null,
            Some(text) => match serde_json::from_str::<Strict>(text) {
                Ok(Strict(value)) => value,
                Err(_) => {
                    return Err(bad(
                        &generic::INVALID_ARGUMENT,
                        "params",
                        "a name stands twice, a number is out of range, or it is nested too deep",
                    ));
                }
            },
        };
        let members = match value {
            Value::Null => Map::new(),
            Value::Object(members) => members,
            Value::Array(items) => positional(items, declared)?,
            _ => return Err(bad(&generic::INVALID_ARGUMENT, "params", "must be an object")),
        };
        Self::checked(members, declared, "")
    }

    fn checked(members: Map<String, Value>, declared: &'static [Param], prefix: &str) -> Result<Self, Fault> {
        // Null is how some clients leave something out.
        let members: Map<String, Value> = members.into_iter().filter(|(_, value)| !value.is_null()).collect();
        for (name, value) in &members {
            let Some(param) = declared.iter().find(|param| param.name == name) else {
                let known: Vec<&str> = declared.iter().map(|param| param.name).collect();
                return Err(bad(
                    &generic::INVALID_ARGUMENT,
                    &format!("{prefix}{name}"),
                    &format!("is not a param here; known are: {}", known.join(", ")),
                ));
            };
            param.kind.check(&format!("{prefix}{name}"), value)?;
        }
        for param in declared.iter().filter(|param| param.required) {
            if !members.contains_key(param.name) {
                return Err(bad(&FIELD_REQUIRED, &format!("{prefix}{}", param.name), "must be set"));
            }
        }
        Ok(Self(members))
    }

    /// Whether the param was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Text, empty if not given.
    pub fn text(&self, name: &str) -> String {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Wei as decimal text, empty if not given.
    pub fn wei(&self, name: &str) -> String {
        let text = self.text(name);
        match text.strip_prefix("0x").map(|digits| U256::from_str_radix(digits, 16)) {
            Some(Ok(amount)) => amount.to_string(),
            _ => text,
        }
    }

    /// A height, 0 if not given.
    pub fn height(&self, name: &str) -> u64 {
        self.0.get(name).and_then(height).unwrap_or_default()
    }

    /// A small number, 0 if not given.
    pub fn count(&self, name: &str) -> u32 {
        self.0.get(name).and_then(Value::as_u64).and_then(|count| count.try_into().ok()).unwrap_or_default()
    }

    /// Size of a page for gRPC, 0 if not given.
    pub fn page_size(&self) -> i32 {
        i32::try_from(self.count("pageSize")).unwrap_or(i32::MAX)
    }

    /// True or false; false if not given.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// A time, if given.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        let time = self.0.get(name).and_then(instant)?;
        Some(Timestamp {
            seconds: time.unix_timestamp(),
            nanos: i32::try_from(time.nanosecond()).unwrap_or_default(),
        })
    }

    /// Texts, none if not given.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let items = self.0.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    /// Labels, none if not given.
    pub fn labels(&self, name: &str) -> BTreeMap<String, String> {
        let members = self.0.get(name).and_then(Value::as_object).into_iter().flatten();
        members.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// The members of an object, if given.
    pub fn object(&self, name: &str) -> Option<Self> {
        let members = self.0.get(name)?.as_object()?.iter().filter(|(_, value)| !value.is_null());
        Some(Self(members.map(|(name, value)| (name.clone(), value.clone())).collect()))
    }

    /// Which one of several params was given.
    ///
    /// # Errors
    /// When it is none, or more than one.
    pub fn only_one_of(&self, names: &[&'static str]) -> Result<&'static str, Fault> {
        let given: Vec<&'static str> = names.iter().copied().filter(|name| self.has(name)).collect();
        match given.as_slice() {
            [one] => Ok(one),
            [] => Err(bad(
                &FIELD_REQUIRED,
                names.first().copied().unwrap_or_default(),
                &format!("give one of {}", names.join(", ")),
            )),
            [_, second, ..] => Err(bad(
                &generic::INVALID_ARGUMENT,
                second,
                &format!("give only one of {}", names.join(", ")),
            )),
        }
    }
}

impl Kind {
    fn check(self, path: &str, value: &Value) -> Result<(), Fault> {
        let fits = match self {
            Self::Text => value.is_string(),
            Self::Wei => return check_wei(path, value),
            Self::Height => height(value).is_some(),
            Self::Count => value.as_u64().is_some_and(|count| u32::try_from(count).is_ok()),
            Self::Flag => value.is_boolean(),
            Self::Choice(values) => value.as_str().is_some_and(|text| values.contains(&text)),
            Self::Time => instant(value).is_some(),
            Self::Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            Self::Labels => value.as_object().is_some_and(|members| members.values().all(Value::is_string)),
            Self::Object(declared) => return check_object(path, value, declared),
            Self::Variant(variants) => return check_variant(path, value, variants),
        };
        if fits {
            Ok(())
        } else {
            Err(bad(&generic::INVALID_ARGUMENT, path, &format!("must be {}", self.words())))
        }
    }

    /// The form in words.
    pub fn words(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Wei => "an amount of wei as decimal text or 0x quantity".to_owned(),
            Self::Height => "a 0x quantity or a whole number, not negative".to_owned(),
            Self::Count => "a whole number from 0 to 4294967295".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Choice(values) => format!("one of {}", values.join(", ")),
            Self::Time => "a time as ISO 8601 text with time zone".to_owned(),
            Self::Texts => "an array of texts".to_owned(),
            Self::Labels => "an object with texts".to_owned(),
            Self::Object(_) | Self::Variant(_) => "an object".to_owned(),
        }
    }
}

/// One object, or the single param of a method that has only one.
fn positional(mut items: Vec<Value>, declared: &[Param]) -> Result<Map<String, Value>, Fault> {
    match (items.pop(), items.is_empty(), declared) {
        (None, ..) => Ok(Map::new()),
        (Some(Value::Object(members)), true, _) => Ok(members),
        (Some(value), true, [param]) => Ok(Map::from_iter([(param.name.to_owned(), value)])),
        _ => Err(bad(&generic::INVALID_ARGUMENT, "params", "must be an object, by name")),
    }
}

fn check_wei(path: &str, value: &Value) -> Result<(), Fault> {
    let Some(text) = value.as_str() else {
        return Err(bad(&AMOUNT_MALFORMED, path, "must be text: JSON numbers lose wei"));
    };
    // Decimal text is judged by the service behind, by the same rules as over gRPC.
    let Some(digits) = text.strip_prefix("0x") else { return Ok(()) };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad(&AMOUNT_MALFORMED, path, "is not a 0x quantity"));
    }
    if digits.trim_start_matches('0').len() > U256_HEX_DIGITS {
        return Err(bad(&AMOUNT_TOO_LARGE, path, "does not fit in 256 bits"));
    }
    Ok(())
}

fn check_object(path: &str, value: &Value, declared: &'static [Param]) -> Result<(), Fault> {
    let members =
        value.as_object().ok_or_else(|| bad(&generic::INVALID_ARGUMENT, path, "must be an object"))?;
    Args::checked(members.clone(), declared, &format!("{path}.")).map(|_| ())
}

fn check_variant(
    path: &str,
    value: &Value,
    variants: &'static [(&'static str, &'static [Param])],
) -> Result<(), Fault> {
    let mut members = value
        .as_object()
        .cloned()
        .ok_or_else(|| bad(&generic::INVALID_ARGUMENT, path, "must be an object"))?;
    let kind = members.remove("kind").unwrap_or_default();
    let variant = variants.iter().find(|(name, _)| kind == *name);
    let Some((_, declared)) = variant else {
        let known: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
        let reason = if kind.is_null() { &FIELD_REQUIRED } else { &generic::INVALID_ARGUMENT };
        return Err(bad(reason, &format!("{path}.kind"), &format!("must be one of {}", known.join(", "))));
    };
    Args::checked(members, declared, &format!("{path}.")).map(|_| ())
}

fn height(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => {
            let digits = text.strip_prefix("0x")?;
            let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        }
        number => number.as_u64(),
    }
}

fn instant(value: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()
}

/// A refusal of one param.
pub fn bad(reason: &'static Reason, path: &str, why: &str) -> Fault {
    Refusal::new(reason, format!("{path}: {why}")).field(path, why).into()
}
