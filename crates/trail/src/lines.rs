//! The lines of a file, one at a time, none longer than a line of ours can be.

use std::io::{self, BufRead};

use crate::export::{End, Record};

/// Bodies are clipped by the service to a few thousand bytes; a line shows parts of them twice.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What a line is.
#[derive(Debug)]
pub(crate) enum Item {
    Record(Record, Told),
    End(End),
    /// Neither; with its beginning, and whether a newline ended it.
    Other {
        bytes: Vec<u8>,
        terminated: bool,
    },
}

/// What verification wants to know of a body besides its bytes: the published head that it says was ahead
/// of the database.
pub(crate) type Told = Option<Vec<u8>>;

/// Reads items and counts lines.
pub(crate) struct Lines<R> {
    reader: R,
    /// Number of the line that was read last.
    pub line: u64,
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, line: 0 }
    }

    /// The next line without its newline, and whether it had one.
    pub fn raw(&mut self) -> io::Result<Option<(Vec<u8>, bool)>> {
        let mut bytes = Vec::new();
        let mut any = false;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                self.line += u64::from(any);
                return Ok(any.then_some((bytes, false)));
            }
            any = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            // What is longer is no line of ours, whatever stands in it: its end need not be kept.
            let room = LINE_BYTES_MAX.saturating_sub(bytes.len());
            bytes.extend_from_slice(&piece[..piece.len().min(room)]);
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                self.line += 1;
                return Ok(Some((bytes, true)));
            }
        }
    }

    /// The next item.
    pub fn item(&mut self) -> io::Result<Option<Item>> {
        let Some((bytes, terminated)) = self.raw()? else { return Ok(None) };
        if terminated {
            if let Some((record, body)) = Record::parse(&bytes) {
                let told = (body.action == crate::RESTORED).then(|| body.digest.to_vec());
                return Ok(Some(Item::Record(record, told)));
            }
            if let Some(end) = End::parse(&bytes) {
                return Ok(Some(Item::End(end)));
            }
        }
        Ok(Some(Item::Other { bytes, terminated }))
    }
}
