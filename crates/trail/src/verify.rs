//! Verification of an export: once through the file, then against the heads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use crate::chain::Head;
use crate::damage::{Damage, Kind, Place};
use crate::diagnose::{Standing, behind_the_end, diagnose};
use crate::export::HEADER;
use crate::head::Heads;
use crate::lines::{Item, Lines};

/// What the verifier has from elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trusted<'a> {
    /// The heads that were published.
    pub heads: Option<&'a Heads>,
    /// Whether the heads were checked against keys that are known to be those of the service.
    pub keys_known: bool,
}

/// An export in which nothing is wrong, as far as could be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The end of the chain.
    pub head: Head,
    /// Published heads that were found in the chain.
    pub heads_found: usize,
    /// Published heads of records that were lost when an older database was restored, as the log itself tells.
    pub heads_lost: usize,
    /// The records that tell of such a restoration.
    pub restorations: Vec<u64>,
    /// What could not be checked, and what might therefore be wrong.
    pub not_checked: Vec<String>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The file or the chain is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The file cannot be read.
    #[error("reading the export")]
    Unreadable(#[from] io::Error),
}

/// What was seen on the way.
struct Seen {
    head: Head,
    /// Hashes of the records that heads speak of.
    hashes: BTreeMap<u64, [u8; 32]>,
    /// Published heads that records tell were ahead of the database, with the records.
    restored: Vec<(u64, Vec<u8>)>,
    lines: u64,
}

/// Verifies an export.
///
/// # Errors
/// The first damage, or that the file cannot be read.
pub fn verify(export: impl BufRead, trusted: Trusted<'_>) -> Result<Report, Unfit> {
    let wanted = trusted.heads.map(Heads::sequences).unwrap_or_default();
    let seen = walk(export, &wanted)?;
    let mut report = Report {
        head: seen.head,
        heads_found: 0,
        heads_lost: 0,
        restorations: seen.restored.iter().map(|(record, _)| *record).collect(),
        not_checked: Vec::new(),
    };
    compare(&seen, trusted, &mut report)?;
    report.not_checked = not_checked(&report, trusted);
    Ok(report)
}

/// Follows the chain through the file.
fn walk(export: impl BufRead, wanted: &BTreeSet<u64>) -> Result<Seen, Unfit> {
    let mut lines = Lines::new(export);
    match lines.raw()? {
        Some((header, true)) if header == HEADER.as_bytes() => {}
        Some((header, terminated)) if terminated || !HEADER.as_bytes().starts_with(&header) => {
            let detail = format!("the first line is not {HEADER}");
            return Err(Damage::new(Kind::Changed, Place::Header, 1, detail).into());
        }
        _ => return Err(Damage::new(Kind::Truncated, Place::Header, 1, "the file ends in it").into()),
    }
    let mut standing = Standing { head: Head::START, before: Head::START };
    let (mut hashes, mut restored) = (BTreeMap::new(), Vec::new());
    loop {
        match lines.item()? {
            Some(Item::Record(record, told)) if record.follows(&standing.head) => {
                let head = Head { sequence: record.sequence, hash: record.hash };
                standing = Standing { head, before: standing.head };
                if wanted.contains(&head.sequence) {
                    hashes.insert(head.sequence, head.hash);
                }
                restored.extend(told.map(|published| (head.sequence, published)));
            }
            Some(Item::End(end)) if end.0 == standing.head => break,
            item => return Err(diagnose(&standing, item, &mut lines)?.into()),
        }
    }
    if lines.raw()?.is_some() {
        return Err(behind_the_end(&standing.head, lines.line).into());
    }
    Ok(Seen { head: standing.head, hashes, restored, lines: lines.line })
}

/// Looks for the published heads in the chain. Those published before a restoration that the log itself tells
/// of may be missing: their records were lost, and that is what the record says.
fn compare(seen: &Seen, trusted: Trusted<'_>, report: &mut Report) -> Result<(), Damage> {
    let Some(heads) = trusted.heads else { return Ok(()) };
    let is_told = |hash: &[u8; 32]| seen.restored.iter().any(|(_, published)| published == hash);
    let lost_until = heads.iter().rposition(|head| is_told(&head.head.hash));
    let mut confirmed = 0;
    for (at, signed) in heads.iter().enumerate() {
        let Head { sequence, hash } = signed.head;
        let found = sequence == 0 || seen.hashes.get(&sequence) == Some(&hash);
        if found {
            report.heads_found += 1;
            confirmed = confirmed.max(sequence);
        } else if lost_until.is_some_and(|last| at <= last) {
            report.heads_lost += 1;
        } else if sequence > seen.head.sequence {
            let place = Place::Record(seen.head.sequence + 1);
            let detail = format!("record {sequence} was published as head, the chain ends before it");
            return Err(Damage::new(Kind::Truncated, place, seen.lines, detail));
        } else {
            let detail = format!(
                "record {sequence} was published as head with another hash; the chain was made anew somewhere after record {confirmed}"
            );
            // The header is a line too.
            return Err(Damage::new(Kind::Rewritten, Place::Record(sequence), sequence + 1, detail));
        }
    }
    Ok(())
}

fn not_checked(report: &Report, trusted: Trusted<'_>) -> Vec<String> {
    let mut open = Vec::new();
    match trusted.heads.map(|heads| heads.iter().map(|head| head.head.sequence).max().unwrap_or(0)) {
        None => {
            open.push("no published head was given: a cut or a rewritten chain would not show".to_owned())
        }
        Some(last) => {
            if last < report.head.sequence {
                open.push(format!(
                    "records {} to {} are not covered by a published head: a rewrite of them would not show",
                    last + 1,
                    report.head.sequence
                ));
            }
            if !trusted.keys_known {
                open.push("no public key was given: heads signed by any key were believed".to_owned());
            }
        }
    }
    open
}
