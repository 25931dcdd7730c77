//! Archives that leave the service: only ever encrypted, to recipients that the operator named.

pub mod age_file;
pub mod archive;
pub mod node;
pub mod tar;

use std::io::{self, Write};

use serde::Serialize;
use zeroize::Zeroizing;

/// JSON that holds secrets, written into a buffer of its size: one that grows leaves copies behind that nobody wipes.
///
/// For values that always serialise: structs of text, numbers and times.
fn secret_json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let always = "a document of text and numbers always serialises";
    let mut size = Size(0);
    serde_json::to_writer_pretty(&mut size, value).expect(always);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.0));
    serde_json::to_writer_pretty(&mut *bytes, value).expect(always);
    bytes
}

/// Counts what is written.
struct Size(usize);

impl Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_of_secrets_never_grows() {
        let value = vec!["0123456789".repeat(10); 50];
        let bytes = secret_json(&value);
        assert_eq!(bytes.capacity(), bytes.len());
        assert_eq!(serde_json::from_slice::<Vec<String>>(&bytes).unwrap(), value);
    }
}
