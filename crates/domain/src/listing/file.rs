//! A whole `all.json`, or one entry as somebody wrote it: read, checked by every rule, and formatted.

use serde_json::{Map, Value};

use super::{Avatar, Entry, check, fails_unless, layout, warns_unless};
use crate::preflight::{Check, Verdict};

/// Longer files are not read further: each entry is compared with all others, and the world has a few dozen.
pub const ENTRIES_MAX: usize = 1_000;

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Rules of the file.
    pub checks: Vec<Check>,
    /// Rules of each entry, in the order of the file.
    pub entries: Vec<EntryChecks>,
    /// As prettier writes it; empty if it cannot be read.
    pub formatted: String,
}

/// One entry with its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryChecks {
    /// As it was read.
    pub entry: Entry,
    /// Every rule with its verdict.
    pub checks: Vec<Check>,
}

impl Checked {
    /// Whether upstream would take it: warnings do not count.
    pub fn passes(&self) -> bool {
        let entries = self.entries.iter().flat_map(|one| &one.checks);
        self.checks.iter().chain(entries).all(|check| check.verdict != Verdict::Fail)
    }
}

/// Checks an `all.json`. `base` is the file before the change, if it is known; `image` gives the file of an avatar.
pub fn check_file<'a>(text: &str, base: Option<&str>, image: impl Fn(&str) -> Avatar<'a>) -> Checked {
    let (values, mut checks) = match read_list(text) {
        Ok(values) => (values, Vec::new()),
        Err(checks) => return Checked { checks, entries: Vec::new(), formatted: String::new() },
    };
    checks.extend([json_is_read(), is_list(true), is_short(values.len())]);
    if values.len() > ENTRIES_MAX {
        return Checked { checks, entries: Vec::new(), formatted: String::new() };
    }
    let formatted = layout::formatted(text);
    checks.push(format_check(text, formatted.as_deref()));
    if let Some(base) = base {
        checks.push(appended(base, &values));
    }
    let entries = check_entries(&values, image);
    Checked { checks, entries, formatted: formatted.unwrap_or_default() }
}

/// Checks one entry alone, without the rules of the file.
pub fn check_entry<'a>(text: &str, image: impl Fn(&str) -> Avatar<'a>) -> Checked {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Checked { checks: vec![not_json()], entries: Vec::new(), formatted: String::new() };
    };
    let formatted = layout::formatted(text);
    let checks = vec![json_is_read(), format_check(text, formatted.as_deref())];
    Checked { checks, entries: check_entries(&[value], image), formatted: formatted.unwrap_or_default() }
}

fn read_list(text: &str) -> Result<Vec<Value>, Vec<Check>> {
    match serde_json::from_str(text) {
        Ok(Value::Array(values)) => Ok(values),
        Ok(_) => Err(vec![json_is_read(), is_list(false)]),
        Err(_) => Err(vec![not_json()]),
    }
}

fn json_is_read() -> Check {
    fails_unless("LISTING_FILE_JSON", true, "the file is JSON")
}

fn not_json() -> Check {
    fails_unless("LISTING_FILE_JSON", false, "the file is JSON")
}

fn is_list(holds: bool) -> Check {
    fails_unless("LISTING_FILE_LIST", holds, "the file is a list of entries")
}

fn is_short(count: usize) -> Check {
    let words = format!("the file has at most {ENTRIES_MAX} entries (it has {count})");
    fails_unless("LISTING_FILE_ENTRIES", count <= ENTRIES_MAX, &words)
}

/// Upstream runs `prettier --check`.
fn format_check(text: &str, formatted: Option<&str>) -> Check {
    match formatted {
        Some(formatted) => fails_unless(
            "LISTING_FORMAT",
            formatted == text,
            "the file is formatted as prettier does: two blanks of indent, a line end at the end",
        ),
        None => {
            let words = "some nested list is laid out by rules that only prettier knows: run it".to_owned();
            check("LISTING_FORMAT", Verdict::Unknown, words)
        }
    }
}

/// New entries stand below those that were there, which keep their order. Upstream's README asks for it.
fn appended(base: &str, values: &[Value]) -> Check {
    let signer = |value: &Value| text_of(value, "seq_addr").to_lowercase();
    let before: Vec<String> = read_list(base).unwrap_or_default().iter().map(signer).collect();
    let now: Vec<String> = values.iter().map(signer).collect();
    warns_unless(
        "LISTING_APPENDED",
        now.starts_with(&before),
        "the entries that were there stand first and in their order",
    )
}

fn check_entries<'a>(values: &[Value], image: impl Fn(&str) -> Avatar<'a>) -> Vec<EntryChecks> {
    let entries: Vec<Entry> = values.iter().map(entry_of).collect();
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let others: Vec<&Entry> =
                [entries.get(..index), entries.get(index + 1..)].into_iter().flatten().flatten().collect();
            let mut checks = vec![fields(values.get(index))];
            checks.extend(entry.check(&others, image(&entry.avatar)));
            EntryChecks { entry: entry.clone(), checks }
        })
        .collect()
}

fn entry_of(value: &Value) -> Entry {
    let text = |key| text_of(value, key).to_owned();
    let optional = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
    Entry {
        name: text("name"),
        desc: text("desc"),
        avatar: text("avatar"),
        address: text("address"),
        seq_addr: text("seq_addr"),
        pubkey: text("pubkey"),
        url: text("url"),
        lst_name: optional("lst_name"),
        lst_url: optional("lst_url"),
    }
}

fn text_of<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Keys of others are allowed; ours are text.
fn fields(value: Option<&Value>) -> Check {
    const KEYS: [&str; 9] =
        ["name", "avatar", "desc", "address", "seq_addr", "pubkey", "url", "lst_name", "lst_url"];
    let is_text =
        |entry: &Map<String, Value>| KEYS.iter().all(|key| entry.get(*key).is_none_or(Value::is_string));
    let holds = value.and_then(Value::as_object).is_some_and(is_text);
    fails_unless("LISTING_FIELDS", holds, "the entry is an object, and its fields are text")
}
