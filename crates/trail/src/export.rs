//! The file of an export: a header, one line for each record from the first on, an end.
//!
//! Each line is JSON for eyes and `jq`, but it has one form only: it is rendered from the body (base64) and the
//! hash, and a line that is not what its own body renders to is no line of an export. So the same records always
//! give the same file, and no bit of it can be changed without notice, not even in a part for eyes.

use api::keys::v1::AuditBody;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::chain::{Head, link};

/// The first line.
pub const HEADER: &str = r#"{"format":"metis-sequencer-audit","version":1}"#;

/// One record: the bytes that were hashed, and the hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number, as the body says.
    pub sequence: u64,
    /// An encoded `AuditBody`, as stored.
    pub body: Vec<u8>,
    /// The hash as stored.
    pub hash: [u8; 32],
}

/// The last line: what the export says it holds. Shows a download that broke off; somebody who cuts on purpose
/// writes another, and only a head kept elsewhere shows that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End(pub Head);

#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    time: String,
    caller: &'a str,
    action: &'a str,
    key_id: &'a str,
    intent: &'a str,
    verdict: &'a str,
    rule: &'a str,
    hash: String,
    body: String,
}

/// What of a line is not derived from the rest.
#[derive(Deserialize)]
struct Given {
    hash: String,
    body: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    end: u64,
    hash: String,
}

impl Record {
    /// A record of these bytes; `None` if they are no body.
    pub fn new(body: Vec<u8>, hash: [u8; 32]) -> Option<Self> {
        let sequence = AuditBody::decode(body.as_slice()).ok()?.sequence;
        Some(Self { sequence, body, hash })
    }

    /// Whether it is the one after `previous`.
    pub fn follows(&self, previous: &Head) -> bool {
        self.sequence == previous.sequence + 1 && self.hash == link(&previous.hash, &self.body)
    }

    /// The line, without its newline.
    pub fn line(&self) -> String {
        let body = AuditBody::decode(self.body.as_slice()).unwrap_or_default();
        line(&body, &self.body, &self.hash)
    }

    /// Reads a line that is exactly what `line` writes.
    pub fn parse(text: &[u8]) -> Option<(Self, AuditBody)> {
        let Given { hash: stated, body } = serde_json::from_slice(text).ok()?;
        let body = STANDARD.decode(body).ok()?;
        let mut hash = [0; 32];
        hex::decode_to_slice(stated, &mut hash).ok()?;
        let decoded = AuditBody::decode(body.as_slice()).ok()?;
        if line(&decoded, &body, &hash).as_bytes() != text {
            return None;
        }
        Some((Self { sequence: decoded.sequence, body, hash }, decoded))
    }
}

impl End {
    /// The line, without its newline.
    pub fn line(&self) -> String {
        let Head { sequence, hash } = self.0;
        render(&EndLine { end: sequence, hash: hex::encode(hash) })
    }

    /// Reads a line that is exactly what `line` writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let EndLine { end: sequence, hash: stated } = serde_json::from_slice(text).ok()?;
        let mut hash = [0; 32];
        hex::decode_to_slice(stated, &mut hash).ok()?;
        let end = Self(Head { sequence, hash });
        (end.line().as_bytes() == text).then_some(end)
    }
}

fn line(decoded: &AuditBody, body: &[u8], hash: &[u8; 32]) -> String {
    let AuditBody { caller, action, key_id, intent, verdict, rule, sequence, time_micros, .. } = decoded;
    render(&Line {
        sequence: *sequence,
        time: rfc3339(*time_micros),
        caller,
        action,
        key_id,
        intent,
        verdict,
        rule,
        hash: hex::encode(hash),
        body: STANDARD.encode(body),
    })
}

fn render<T: Serialize>(line: &T) -> String {
    serde_json::to_string(line).expect("structs of text and numbers always serialise")
}

fn rfc3339(micros: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{micros} microseconds"))
}
