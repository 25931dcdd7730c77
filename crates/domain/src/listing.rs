//! The entry that shows a sequencer on Metis' dashboard: made, checked and formatted (P 4).
//!
//! A check that fails is one that the upstream repository refuses, or an address that it takes by
//! accident; a warning is a rule of its README that nothing enforces. Asking the chain (whitelist, signer unused) belongs to the caller.

mod file;
mod image;
mod layout;

use std::collections::BTreeMap;
use std::fmt::Write;

use alloy_primitives::Address;

use crate::address;
use crate::preflight::{Check, Verdict};
use crate::pubkey::PublicKey;

pub use file::{Checked, ENTRIES_MAX, EntryChecks, check_entry, check_file};

/// Registry reason of every rule.
const REASON: &str = "LISTING_INVALID";
/// README: characters of a name, of the sequencer and of its liquid staking token.
const NAME_MAX: usize = 24;
/// README: characters of a description.
const DESC_MAX: usize = 200;
/// What the consumer replaces by the folder's URL.
const ASSETS: &str = "{BASEDIR}/assets/";
/// README: kinds of images.
const EXTENSIONS: [&str; 2] = [".png", ".svg"];

/// One entry of `sequencers/<l2 chain id>/all.json`, as text and not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Name on the dashboard.
    pub name: String,
    /// Description.
    pub desc: String,
    /// Image, `{BASEDIR}/assets/<file>`.
    pub avatar: String,
    /// Owner, the whitelisted address.
    pub address: String,
    /// Signer, the sequencer's address.
    pub seq_addr: String,
    /// The signer's public key.
    pub pubkey: String,
    /// Home page.
    pub url: String,
    /// Name of the liquid staking token; left out if there is none.
    pub lst_name: Option<String>,
    /// Page of the liquid staking token; left out if there is none.
    pub lst_url: Option<String>,
}

/// The image file of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Avatar<'a> {
    /// Nobody looked.
    Unseen,
    /// There is no such file.
    Missing,
    /// What the file holds.
    File(&'a [u8]),
}

impl Entry {
    /// Fills in the chain's side in the forms upstream asks for. `avatar` may be a bare file name.
    pub fn of(self, owner: Address, signer: &PublicKey) -> Self {
        let in_assets = !self.avatar.is_empty() && !self.avatar.contains('/');
        Self {
            avatar: if in_assets { format!("{ASSETS}{}", self.avatar) } else { self.avatar },
            address: owner.to_checksum(None),
            seq_addr: signer.address().to_checksum(None),
            pubkey: signer.listing(),
            ..self
        }
    }

    /// Every rule with its verdict; `others` are the entries that the file has already.
    pub fn check(&self, others: &[&Entry], avatar: Avatar<'_>) -> Vec<Check> {
        let mut checks = vec![
            fails_unless("LISTING_NAME_GIVEN", !self.name.is_empty(), "the name is not empty"),
            unique("LISTING_NAME_UNIQUE", &self.name, others.iter().any(|other| other.name == self.name)),
            within("LISTING_NAME_LENGTH", "the name", &self.name, NAME_MAX),
            fails_unless("LISTING_DESC_GIVEN", !self.desc.is_empty(), "the description is not empty"),
            within("LISTING_DESC_LENGTH", "the description", &self.desc, DESC_MAX),
        ];
        checks.extend(self.check_addresses(others));
        checks.push(fails_unless("LISTING_URL", is_https(&self.url), "url is an https:// URL"));
        checks.extend(self.check_token());
        checks.extend(self.check_avatar_path());
        checks.extend(image::checks(avatar, self.avatar.ends_with(".png")));
        checks
    }

    /// The entry alone, as prettier formats it.
    pub fn json(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, "");
        text.push('\n');
        text
    }

    fn check_addresses(&self, others: &[&Entry]) -> [Check; 5] {
        let signer = PublicKey::from_hex(&self.pubkey).map(|key| key.address());
        let is_listing_form = self.pubkey.len() == 130
            && self.pubkey.starts_with("0x")
            && !self.pubkey.bytes().any(|byte| byte.is_ascii_uppercase());
        let matches = address::parse(&self.seq_addr).is_ok_and(|address| signer == Ok(address));
        // Upstream compares addresses without case.
        let taken = |value: &str, field: fn(&Entry) -> &String| {
            others.iter().any(|other| field(other).eq_ignore_ascii_case(value))
        };
        [
            address_check("LISTING_ADDRESS", "address", &self.address),
            unique("LISTING_ADDRESS_UNIQUE", &self.address, taken(&self.address, |other| &other.address)),
            unique("LISTING_SEQ_ADDR_UNIQUE", &self.seq_addr, taken(&self.seq_addr, |other| &other.seq_addr)),
            fails_unless(
                "LISTING_PUBKEY",
                is_listing_form && signer.is_ok(),
                "pubkey is 0x and 128 lower-case hex digits of a point of secp256k1",
            ),
            fails_unless("LISTING_SEQ_ADDR", matches, "seq_addr is the address of pubkey"),
        ]
    }

    fn check_token(&self) -> [Check; 2] {
        let url = self.lst_url.as_deref().unwrap_or_default();
        [
            within(
                "LISTING_LST_NAME_LENGTH",
                "lst_name",
                self.lst_name.as_deref().unwrap_or_default(),
                NAME_MAX,
            ),
            warns_unless("LISTING_LST_URL", url.is_empty() || is_https(url), "lst_url is an https:// URL"),
        ]
    }

    fn check_avatar_path(&self) -> [Check; 3] {
        let file = self.avatar.strip_prefix(ASSETS).filter(|file| !file.is_empty() && !file.contains('/'));
        let extended = EXTENSIONS.iter().any(|extension| self.avatar.ends_with(extension));
        // File names have no blanks; the README means the name without them.
        let name: String =
            self.name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
        let plain = |text: &str| text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "");
        let named = file.is_some_and(|file| !name.is_empty() && plain(file).starts_with(&name));
        [
            fails_unless("LISTING_AVATAR_GIVEN", !self.avatar.is_empty(), "the avatar is not empty"),
            warns_unless(
                "LISTING_AVATAR_PATH",
                file.is_some() && extended,
                "avatar is {BASEDIR}/assets/ and a .png or .svg file",
            ),
            warns_unless("LISTING_AVATAR_NAME", named, "the avatar's file name starts with the name"),
        ]
    }

    fn write(&self, text: &mut String, indent: &str) {
        // In the order of the entries that are there.
        let Self { name, avatar, desc, address, seq_addr, pubkey, url, lst_name, lst_url } = self;
        let mut fields = vec![
            ("name", name),
            ("avatar", avatar),
            ("desc", desc),
            ("address", address),
            ("seq_addr", seq_addr),
            ("pubkey", pubkey),
            ("url", url),
        ];
        fields.extend(lst_name.iter().map(|name| ("lst_name", name)));
        fields.extend(lst_url.iter().map(|url| ("lst_url", url)));
        let lines: Vec<_> =
            fields.iter().map(|(key, value)| format!("{indent}  \"{key}\": {}", quoted(value))).collect();
        text.push_str(&format!("{indent}{{\n{}\n{indent}}}", lines.join(",\n")));
    }
}

/// The whole file, as `prettier --check` wants it.
pub fn file_json(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "[]\n".to_owned();
    }
    let mut text = "[\n".to_owned();
    for (index, entry) in entries.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ",\n" });
        entry.write(&mut text, "  ");
    }
    text.push_str("\n]\n");
    text
}

/// A JSON string: quotes, backslashes and control characters escaped, all else as it is.
fn quoted(text: &str) -> String {
    let mut json = String::from('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            c if c.is_control() => {
                write!(json, "\\u{:04x}", u32::from(c)).expect("writing to a string never fails");
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

fn check(name: &'static str, verdict: Verdict, message: String) -> Check {
    let reason = if verdict == Verdict::Pass { "" } else { REASON };
    Check { name, verdict, reason, message, facts: BTreeMap::new() }
}

/// A rule that the upstream check enforces; `words` say what holds.
fn fails_unless(name: &'static str, holds: bool, words: &str) -> Check {
    ruled(name, holds, Verdict::Fail, words)
}

/// A rule of the README.
fn warns_unless(name: &'static str, holds: bool, words: &str) -> Check {
    ruled(name, holds, Verdict::Warn, words)
}

fn ruled(name: &'static str, holds: bool, otherwise: Verdict, words: &str) -> Check {
    if holds {
        check(name, Verdict::Pass, words.to_owned())
    } else {
        check(name, otherwise, format!("not so: {words}"))
    }
}

fn within(name: &'static str, subject: &str, text: &str, max: usize) -> Check {
    let count = text.chars().count();
    let verdict = if count <= max { Verdict::Pass } else { Verdict::Warn };
    check(name, verdict, format!("{subject} has {count} characters, {max} are allowed"))
}

fn unique(name: &'static str, value: &str, taken: bool) -> Check {
    fails_unless(name, !taken, &format!("no other entry has {value}"))
}

fn address_check(name: &'static str, field: &str, text: &str) -> Check {
    match address::parse_nonzero(text) {
        Ok(address) => {
            let expected = address.to_checksum(None);
            warns_unless(name, text == expected, &format!("{field} is written with its checksum, {expected}"))
        }
        Err(error) => check(name, Verdict::Fail, format!("{field}: {error}")),
    }
}

/// Stricter than `new URL`, which also forgives blanks and capitals.
fn is_https(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
    let host_allowed = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && !host.is_empty()
        && !host.starts_with('.')
        && !host.contains("..")
        && host.chars().all(host_allowed)
        && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests;
