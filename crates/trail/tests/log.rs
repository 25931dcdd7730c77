//! A log to be damaged.

use api::keys::v1::AuditBody;
use prost::Message;
use trail::{End, HEADER, Head, Record};

/// Records as the service would have written them.
pub fn records(number: u64) -> Vec<Record> {
    let mut head = Head::START;
    (1..=number)
        .map(|sequence| {
            let body = body(sequence, "");
            head = head.after(&body);
            Record { sequence, body, hash: head.hash }
        })
        .collect()
}

pub fn body(sequence: u64, remark: &str) -> Vec<u8> {
    AuditBody {
        caller: "lifecycle".to_owned(),
        action: "SignTransaction".to_owned(),
        intent: format!("increase the lock of sequencer {sequence} by 5 METIS{remark}"),
        digest: vec![sequence as u8; 32].into(),
        policy_version: 1,
        verdict: "ALLOWED".to_owned(),
        rule: "owner-lock".to_owned(),
        sequence,
        time_micros: 1_790_000_000_000_000 + sequence * 1_000,
        ..AuditBody::default()
    }
    .encode_to_vec()
}

pub fn head(records: &[Record]) -> Head {
    records.last().map_or(Head::START, |last| Head { sequence: last.sequence, hash: last.hash })
}

/// The lines of an export of these records, with an end that fits `end`.
pub fn lines(records: &[Record], end: Head) -> Vec<String> {
    let mut lines = vec![HEADER.to_owned()];
    lines.extend(records.iter().map(Record::line));
    lines.push(End(end).line());
    lines
}

pub fn file(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}
