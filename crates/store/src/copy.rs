//! Rows for COPY, written in PostgreSQL's binary format as they are made: no value is boxed or copied twice.

use alloy_primitives::U256;
use time::OffsetDateTime;

/// What every binary COPY begins with: signature, no flags, no header extension.
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// Length of a NULL.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();
/// PostgreSQL counts microseconds from 2000-01-01.
const EPOCH: OffsetDateTime = time::macros::datetime!(2000-01-01 0:00 UTC);
/// A `numeric` is a list of digits to this base.
const NUMERIC_BASE: u64 = 10_000;
/// The largest power of the base that a `u64` holds, and how many digits it is.
const NUMERIC_CHUNK: (u64, usize) = (10_000_u64.pow(4), 4);

/// Rows for one `COPY … FROM STDIN WITH (FORMAT binary)`.
#[derive(Debug)]
pub struct Rows {
    /// The table with its columns, as in `indexer.log (network, layer)`.
    table: &'static str,
    columns: i16,
    rows: u64,
    bytes: Vec<u8>,
}

impl Rows {
    /// No rows yet for a table that is named with its columns.
    #[must_use]
    pub fn into_table(table: &'static str) -> Self {
        let columns = table.split(',').count();
        let columns = i16::try_from(columns).expect("a table has at most 1,600 columns");
        Self { table, columns, rows: 0, bytes: HEADER.to_vec() }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Begins a row; its values follow in the order of the columns, every one of them.
    pub fn row(&mut self) -> Row<'_> {
        self.rows += 1;
        self.bytes.extend_from_slice(&self.columns.to_be_bytes());
        Row { bytes: &mut self.bytes, left: self.columns }
    }

    pub(crate) fn statement(&self) -> String {
        format!("COPY {} FROM STDIN WITH (FORMAT binary)", self.table)
    }

    pub(crate) fn finished(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&TRAILER);
        self.bytes
    }
}

/// One row being written.
#[derive(Debug)]
pub struct Row<'a> {
    bytes: &'a mut Vec<u8>,
    left: i16,
}

impl Drop for Row<'_> {
    fn drop(&mut self) {
        debug_assert_eq!(self.left, 0, "a row has a value for each column");
    }
}

impl Row<'_> {
    fn value(&mut self, bytes: &[u8]) -> &mut Self {
        let length = i32::try_from(bytes.len()).expect("a value is far below 2 GB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self.left -= 1;
        self
    }

    /// A `NULL`.
    pub fn null(&mut self) -> &mut Self {
        self.bytes.extend_from_slice(&NULL);
        self.left -= 1;
        self
    }

    /// A `text`.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.value(value.as_bytes())
    }

    /// A `smallint`.
    pub fn smallint(&mut self, value: i16) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    /// An `integer`.
    pub fn integer(&mut self, value: i32) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    /// A `bigint`.
    pub fn bigint(&mut self, value: i64) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    /// A `bigint` or `NULL`.
    pub fn maybe_bigint(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.bigint(value),
            None => self.null(),
        }
    }

    /// A `boolean`.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.value(&[u8::from(value)])
    }

    /// A `bytea`.
    pub fn bytes(&mut self, value: impl AsRef<[u8]>) -> &mut Self {
        self.value(value.as_ref())
    }

    /// A `bytea` or `NULL`.
    pub fn maybe_bytes(&mut self, value: Option<impl AsRef<[u8]>>) -> &mut Self {
        match value {
            Some(value) => self.value(value.as_ref()),
            None => self.null(),
        }
    }

    /// A `timestamptz`.
    pub fn time(&mut self, value: OffsetDateTime) -> &mut Self {
        let micros = (value - EPOCH).whole_microseconds();
        // The years 1 to 9999 that the type holds are within 2^59 microseconds.
        self.bigint(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// A `numeric` without fraction.
    pub fn numeric(&mut self, value: U256) -> &mut Self {
        let mut digits = Vec::with_capacity(20);
        let mut rest = value;
        let (chunk, chunk_digits) = NUMERIC_CHUNK;
        while !rest.is_zero() {
            let (quotient, remainder) = rest.div_rem(U256::from(chunk));
            let mut remainder = remainder.to::<u64>();
            for _ in 0..chunk_digits {
                digits.push(u16::try_from(remainder % NUMERIC_BASE).expect("a remainder is below the base"));
                remainder /= NUMERIC_BASE;
            }
            rest = quotient;
        }
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let count = u16::try_from(digits.len()).expect("2^256 has 20 digits to this base");
        let mut bytes = Vec::with_capacity(8 + 2 * digits.len());
        bytes.extend_from_slice(&count.to_be_bytes());
        // Weight of the first digit; then sign and scale, both 0.
        bytes.extend_from_slice(&count.saturating_sub(1).to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for digit in digits.iter().rev() {
            bytes.extend_from_slice(&digit.to_be_bytes());
        }
        self.value(&bytes)
    }

    /// A `numeric` without fraction, or `NULL`.
    pub fn maybe_numeric(&mut self, value: Option<U256>) -> &mut Self {
        match value {
            Some(value) => self.numeric(value),
            None => self.null(),
        }
    }
}
