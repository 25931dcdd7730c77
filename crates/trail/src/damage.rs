//! What can be wrong with an export.

use std::fmt;

/// The first thing that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at {place} (line {line}): {detail}")]
pub struct Damage {
    /// What was done to it.
    pub kind: Kind,
    /// Where.
    pub place: Place,
    /// Line of the file, counted from 1.
    pub line: u64,
    /// In words.
    pub detail: String,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes are others than were written.
    Changed,
    /// Records are missing with others behind them.
    Deleted,
    /// Something stands there that was not written there.
    Inserted,
    /// Records stand in another order.
    Reordered,
    /// The end is missing.
    Truncated,
    /// The chain is whole but not the one that was published.
    Rewritten,
}

/// Where damage begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The first line.
    Header,
    /// The record with this number, or the place where it should stand.
    Record(u64),
    /// The last line.
    End,
}

impl Damage {
    pub(crate) fn new(kind: Kind, place: Place, line: u64, detail: impl Into<String>) -> Self {
        Self { kind, place, line, detail: detail.into() }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Truncated => "truncated",
            Self::Rewritten => "rewritten",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the header"),
            Self::Record(number) => write!(f, "record {number}"),
            Self::End => f.write_str("the end"),
        }
    }
}
