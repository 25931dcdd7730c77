//! From the first line that does not fit to a name for what was done.
//!
//! All that stands behind it is looked at, as numbers only: a record that is found again further down was
//! moved, one that is nowhere was deleted. Where two explanations fit the same bytes (a record replaced together
//! with its hash, or the next one changed), the one that needs no knowledge of the hash rule is named.

use std::io::{self, BufRead};

use crate::chain::Head;
use crate::damage::{Damage, Kind, Place};
use crate::export::{End, Record};
use crate::lines::{Item, Lines};

/// Where the chain stood when the line came that does not fit.
pub(crate) struct Standing {
    pub head: Head,
    /// The head before that.
    pub before: Head,
}

/// What stands behind the line that does not fit.
struct Behind {
    /// The next line that is whole, and whether it is the very next one.
    next: Option<Item>,
    /// The numbers of all whole records.
    numbers: Vec<u64>,
}

/// Names the damage that begins with `item`.
pub(crate) fn diagnose<R: BufRead>(
    standing: &Standing,
    item: Option<Item>,
    lines: &mut Lines<R>,
) -> io::Result<Damage> {
    let line = lines.line;
    let expected = standing.head.sequence + 1;
    let Some(item) = item else {
        let detail = format!("the file ends without its end, record {expected} may be missing");
        return Ok(Damage::new(Kind::Truncated, Place::Record(expected), line, detail));
    };
    let behind = Behind::read(lines)?;
    let (kind, place, detail) = match item {
        Item::Record(record, _) if record.sequence == expected => unchained(standing, &behind),
        Item::Record(record, _) if record.sequence < expected => repeated(standing, &record, &behind),
        Item::Record(record, _) => ahead(expected, &record, &behind),
        Item::End(end) => ended(standing, &end, &behind),
        Item::Other { bytes, terminated } => unreadable(standing, &bytes, terminated, &behind),
    };
    Ok(Damage::new(kind, place, line, detail))
}

/// What stands behind the end, if anything does.
pub(crate) fn behind_the_end(head: &Head, line: u64) -> Damage {
    let place = Place::Record(head.sequence + 1);
    Damage::new(Kind::Inserted, place, line, "something stands behind the end")
}

impl Behind {
    fn read<R: BufRead>(lines: &mut Lines<R>) -> io::Result<Self> {
        let (mut next, mut numbers) = (None, Vec::new());
        while let Some(item) = lines.item()? {
            if let Item::Record(record, _) = &item {
                numbers.push(record.sequence);
            }
            if next.is_none() && !matches!(item, Item::Other { .. }) {
                next = Some(item);
            }
        }
        Ok(Self { next, numbers })
    }

    fn next_record(&self) -> Option<&Record> {
        match &self.next {
            Some(Item::Record(record, _)) => Some(record),
            _ => None,
        }
    }

    /// Whether the next whole line is the one after `head`.
    fn goes_on_from(&self, head: &Head) -> bool {
        match &self.next {
            Some(Item::Record(next, _)) => next.follows(head),
            Some(Item::End(end)) => end.0 == *head,
            _ => false,
        }
    }

    fn has(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }
}

type Named = (Kind, Place, String);

/// The right number, but its hash does not follow.
fn unchained(standing: &Standing, behind: &Behind) -> Named {
    let number = standing.head.sequence + 1;
    if behind.goes_on_from(&standing.head) {
        let detail = "it does not follow, and the record that does stands behind it".to_owned();
        return (Kind::Inserted, Place::Record(number), detail);
    }
    let detail = if number == 1 {
        "its hash does not follow from its body".to_owned()
    } else {
        format!("its hash does not follow from its body and the hash of record {}", number - 1)
    };
    (Kind::Changed, Place::Record(number), detail)
}

/// A number that has been seen.
fn repeated(standing: &Standing, record: &Record, behind: &Behind) -> Named {
    let expected = standing.head.sequence + 1;
    let next = behind.next_record();
    if !behind.has(expected) && next.is_some_and(|next| next.sequence == expected + 1) {
        let detail = format!("it has the number {}", record.sequence);
        return (Kind::Changed, Place::Record(expected), detail);
    }
    let twin = Head { sequence: record.sequence, hash: record.hash };
    let is_rightful = twin != standing.head && record.follows(&standing.before) && behind.goes_on_from(&twin);
    let number = if is_rightful { record.sequence } else { expected };
    let detail = format!("record {} stands twice", record.sequence);
    (Kind::Inserted, Place::Record(number), detail)
}

/// A number that should come later.
fn ahead(expected: u64, record: &Record, behind: &Behind) -> Named {
    let (place, number) = (Place::Record(expected), record.sequence);
    if behind.has(expected) {
        return if behind.has(number) {
            (Kind::Inserted, place, format!("a copy of record {number} stands in its place"))
        } else {
            (Kind::Reordered, place, format!("record {number} stands in its place"))
        };
    }
    if number > expected + 1 && behind.next_record().is_some_and(|next| next.sequence == expected + 1) {
        return (Kind::Changed, place, format!("it has the number {number}"));
    }
    let missing = if number == expected + 1 {
        format!("record {expected} is missing")
    } else {
        format!("records {expected} to {} are missing", number - 1)
    };
    (Kind::Deleted, place, missing)
}

/// An end that is not the end of what stands before it.
fn ended(standing: &Standing, end: &End, behind: &Behind) -> Named {
    let Standing { head, before } = standing;
    let expected = Place::Record(head.sequence + 1);
    if behind.has(head.sequence + 1) {
        return (Kind::Reordered, expected, "the end stands in its place".to_owned());
    }
    if end.0 == *before {
        let detail = "the end does not count it".to_owned();
        return (Kind::Inserted, Place::Record(head.sequence), detail);
    }
    if end.0.sequence > head.sequence && end.0.hash != head.hash {
        let detail = format!("the end counts {} records, {} are there", end.0.sequence, head.sequence);
        return (Kind::Truncated, expected, detail);
    }
    (Kind::Changed, Place::End, "it is not the end of these records".to_owned())
}

/// A line that is neither record nor end.
fn unreadable(standing: &Standing, bytes: &[u8], terminated: bool, behind: &Behind) -> Named {
    let expected = standing.head.sequence + 1;
    let changed =
        |place| (Kind::Changed, place, "the line is not of the one form that it can have".to_owned());
    let inserted =
        || (Kind::Inserted, Place::Record(expected), "a line that is no record stands before it".to_owned());
    match &behind.next {
        Some(_) if behind.goes_on_from(&standing.head) => inserted(),
        Some(_) => changed(Place::Record(expected)),
        None if is_of_record(bytes, expected) && terminated => changed(Place::Record(expected)),
        None if terminated => changed(Place::End),
        // The newline of the end itself.
        None if bytes.split_last().is_some_and(|(_, line)| End::parse(line).is_some()) => changed(Place::End),
        None => {
            let place = if bytes.starts_with(b"{\"e") { Place::End } else { Place::Record(expected) };
            (Kind::Truncated, place, "the file ends in the middle of a line".to_owned())
        }
    }
}

fn is_of_record(bytes: &[u8], number: u64) -> bool {
    bytes.starts_with(format!("{{\"sequence\":{number},").as_bytes())
}
