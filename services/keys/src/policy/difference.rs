//! What a new policy changes, in words, for the audit log and for the eyes of an approver.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::document::Invalid;
use super::text::Document;

/// Both documents stay in the table for ever; a record tells what a reader can take in.
const CHARS_MAX: usize = 4000;

/// The difference of two documents, one thing after another.
pub fn between(before: &str, after: &str) -> Result<String, Invalid> {
    let (before, after) = (Parts::of(before)?, Parts::of(after)?);
    let mut words = Vec::new();
    for (kind, before, after) in [
        ("settings", &before.settings, &after.settings),
        ("contracts", &before.contracts, &after.contracts),
        ("rule", &before.rules, &after.rules),
    ] {
        compare(kind, before, after, &mut words);
    }
    if words.is_empty() {
        return Ok("nothing".to_owned());
    }
    let words = words.join("; ");
    match words.char_indices().nth(CHARS_MAX) {
        None => Ok(words),
        Some((end, _)) => Ok(format!("{}… and more", words.get(..end).unwrap_or_default())),
    }
}

struct Parts {
    settings: BTreeMap<String, Value>,
    contracts: BTreeMap<String, Value>,
    rules: BTreeMap<String, Value>,
}

impl Parts {
    fn of(text: &str) -> Result<Self, Invalid> {
        let Document { format, quorum, contracts, registered, rules } = Document::read(text)?;
        let settings =
            [("format", value(&format)), ("quorum", value(&quorum)), ("registered", value(&registered))];
        Ok(Self {
            settings: settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            contracts: contracts.iter().map(|(name, contracts)| (name.clone(), value(contracts))).collect(),
            rules: rules.iter().map(|rule| (rule.name.clone(), value(rule))).collect(),
        })
    }
}

fn value(thing: &impl Serialize) -> Value {
    serde_json::to_value(thing).expect("plain tables always serialise")
}

fn compare(
    kind: &str,
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
    words: &mut Vec<String>,
) {
    words.extend(
        before.keys().filter(|name| !after.contains_key(*name)).map(|name| format!("{kind} {name} removed")),
    );
    for (name, now) in after {
        match before.get(name) {
            None => words.push(format!("{kind} {name} added: {now}")),
            Some(then) if then != now => words.push(format!("{kind} {name}: {}", fields(then, now))),
            Some(_) => {}
        }
    }
}

fn fields(then: &Value, now: &Value) -> String {
    let (Value::Object(old), Value::Object(new)) = (then, now) else { return format!("{then} to {now}") };
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter_map(|name| match (old.get(name), new.get(name)) {
        (then, now) if then == now => None,
        (then, now) => {
            let shown = |value: Option<&Value>| value.map_or_else(|| "unset".to_owned(), Value::to_string);
            Some(format!("{name} {} to {}", shown(then), shown(now)))
        }
    });
    changed.collect::<Vec<_>>().join(", ")
}
