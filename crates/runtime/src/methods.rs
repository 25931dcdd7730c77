//! The method table: the spine that authorisation, deadlines, limits, metrics and documents hang on.
//!
//! This module has the mechanism; the rows of our system stand in `api::methods`.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

/// How long a method may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// A read of our own tables.
    Read,
    /// Something is stored, signed or sent.
    Write,
    /// A whole archive goes in or out, or a whole fleet is checked: many times the bytes or the time of anything else, so
    /// few run at once.
    Bulk,
    /// Open until one side ends it.
    Stream,
}

impl Deadline {
    /// The most that the server allows; callers may ask for less.
    pub const fn limit(self) -> Option<Duration> {
        match self {
            Self::Read => Some(Duration::from_secs(2)),
            Self::Write => Some(Duration::from_secs(10)),
            // 10,000 keys are proven and stored in a tenth of it.
            Self::Bulk => Some(Duration::from_secs(120)),
            Self::Stream => None,
        }
    }
}

/// The largest request; ours are a few kilobytes, so this is generous.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// The largest message of an answer; what clients of gRPC accept by default.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The largest message of a [`Deadline::Bulk`] method, in and out: an archive of 10,000 keys has 4 MB, with a dozen labels
/// each three times as much.
pub const BULK_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Deadline {
    /// The largest request, in bytes.
    pub const fn request_bytes_max(self) -> usize {
        match self {
            Self::Bulk => BULK_BYTES_MAX,
            Self::Read | Self::Write | Self::Stream => REQUEST_BYTES_MAX,
        }
    }

    /// The largest message of an answer, in bytes.
    pub const fn response_bytes_max(self) -> usize {
        match self {
            Self::Bulk => BULK_BYTES_MAX,
            Self::Read | Self::Write | Self::Stream => RESPONSE_BYTES_MAX,
        }
    }
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Everyone that the transport lets in (over gRPC: every valid client certificate).
    Public,
    /// These identities; a final `*` stands for any ending, as in `operator:*`.
    Identities(&'static [&'static str]),
    /// API keys with this scope; no gRPC caller has one.
    Scope(&'static str),
}

impl Access {
    /// Whether a caller with this certificate identity may call over gRPC.
    pub fn admits(&self, identity: &str) -> bool {
        match self {
            Self::Public => true,
            Self::Identities(patterns) => patterns.iter().any(|pattern| matches(pattern, identity)),
            Self::Scope(_) => false,
        }
    }
}

/// Whether calls of a method leave a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audit {
    /// Reads leave none.
    None,
    /// Every call, refused ones too, is recorded.
    Mutation,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// `/package.Service/Method` for gRPC, `namespace_method` for JSON-RPC.
    pub name: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Its weight against the limits of a caller.
    pub cost: u32,
    /// How long it may take.
    pub deadline: Deadline,
    /// Whether a client may send it again when it does not know the outcome.
    pub idempotent: bool,
    /// Whether it leaves a record.
    pub audit: Audit,
}

/// All methods of a process, found by name.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: &'static [Method],
    by_name: OnceLock<HashMap<&'static str, &'static Method>>,
}

/// What is wrong with a table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Two rows claim one name.
    #[error("method {0} has two rows")]
    Duplicate(&'static str),
    /// A cost of nothing would pass every limit.
    #[error("method {0} costs nothing")]
    NoCost(&'static str),
}

impl Table {
    /// A table over these rows.
    pub const fn new(rows: &'static [Method]) -> Self {
        Self { rows, by_name: OnceLock::new() }
    }

    /// The row of a method.
    pub fn get(&self, name: &str) -> Option<&'static Method> {
        let rows = self.rows;
        self.by_name.get_or_init(|| rows.iter().map(|row| (row.name, row)).collect()).get(name).copied()
    }

    /// All rows in their order.
    pub fn rows(&self) -> &'static [Method] {
        self.rows
    }

    /// Checks what the type system cannot.
    ///
    /// # Errors
    /// The first row that is a duplicate or has no cost.
    pub fn check(&self) -> Result<(), Error> {
        let mut seen = std::collections::HashSet::new();
        for row in self.rows {
            if !seen.insert(row.name) {
                return Err(Error::Duplicate(row.name));
            }
            if row.cost == 0 {
                return Err(Error::NoCost(row.name));
            }
        }
        Ok(())
    }
}

fn matches(pattern: &str, identity: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => identity.starts_with(prefix),
        None => pattern == identity,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Method = Method {
        name: "/a.B/C",
        access: Access::Public,
        cost: 1,
        deadline: Deadline::Read,
        idempotent: true,
        audit: Audit::None,
    };

    #[test]
    fn a_table_with_two_rows_for_one_name_is_rejected() {
        static ROWS: [Method; 2] = [ROW, ROW];
        assert_eq!(Table::new(&ROWS).check(), Err(Error::Duplicate("/a.B/C")));
    }

    #[test]
    fn a_row_is_found_by_its_full_name_only() {
        static ROWS: [Method; 1] = [ROW];
        let table = Table::new(&ROWS);
        assert_eq!(table.get("/a.B/C"), Some(&ROWS[0]));
        assert_eq!(table.get("/a.B/"), None);
    }

    #[test]
    fn identities_are_denied_unless_listed() {
        let access = Access::Identities(&["lifecycle", "operator:*"]);
        let cases = [
            ("lifecycle", true),
            ("operator:alice", true),
            ("lifecycle2", false),
            ("operator", false),
            ("anonymous", false),
        ];
        for (identity, admitted) in cases {
            assert_eq!(access.admits(identity), admitted, "{identity}");
        }
        assert!(!Access::Scope("read").admits("operator:alice"));
    }
}
