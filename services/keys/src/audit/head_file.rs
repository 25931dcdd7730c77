//! The file of published heads: one line for each, appended and flushed to the disk, never rewritten. It should lie
//! where who can write to the database cannot: another disk, another user, a mount that only appends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use trail::SignedHead;

/// A line has 370 bytes; the last two lie well inside of this.
const TAIL_BYTES: u64 = 4096;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("using the head file {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Not overlooked: a file that is damaged by accident or on purpose proves nothing about the database.
    #[error("the last whole line of the head file {0} is no signed head")]
    Damaged(PathBuf),
}

/// The head that was published last; `None` if there is no file or nothing in it. A last line without its newline
/// was being written when the process or the machine went down: the one before counts.
pub fn last(path: &Path) -> Result<Option<SignedHead>, Unusable> {
    let tail = match tail(path) {
        Ok(tail) => tail,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Unusable::Io { path: path.to_owned(), source }),
    };
    let whole = tail.rfind('\n').and_then(|end| tail.get(..end)).unwrap_or_default();
    let line = whole.rsplit('\n').next().unwrap_or_default();
    if line.is_empty() {
        return Ok(None);
    }
    let head = SignedHead::parse(line).filter(SignedHead::is_genuine);
    head.map(Some).ok_or_else(|| Unusable::Damaged(path.to_owned()))
}

/// Adds a head, durably; a line that was not finished is finished as an own one first.
pub fn append(path: &Path, head: &SignedHead) -> Result<(), Unusable> {
    let written = || -> io::Result<()> {
        let is_new = !path.exists();
        let unfinished = !is_new && tail(path)?.chars().next_back().is_some_and(|last| last != '\n');
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if unfinished {
            truncate_unfinished(path)?;
        }
        file.write_all(format!("{}\n", head.line()).as_bytes())?;
        file.sync_all()?;
        if is_new && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // A new name is durable only with its folder.
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    written().map_err(|source| Unusable::Io { path: path.to_owned(), source })
}

/// Takes back the piece of a line that a crash left.
fn truncate_unfinished(path: &Path) -> io::Result<()> {
    let tail = tail(path)?;
    let piece = tail.len() - tail.rfind('\n').map_or(0, |end| end + 1);
    let file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    file.set_len(length.saturating_sub(piece as u64))
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    // What is no text is no head either; its length stays the same.
    Ok(bytes.into_iter().map(|byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect())
}

#[cfg(test)]
mod tests {
    use trail::{Head, SigningKey};

    use super::*;

    fn head(sequence: u64) -> SignedHead {
        SignedHead::sign(Head { sequence, hash: [1; 32] }, 5, &SigningKey::from_bytes(&[2; 32]))
    }

    #[test]
    fn the_last_head_is_the_one_that_was_appended_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads");
        assert_eq!(last(&path).unwrap(), None);
        for sequence in 1..=30 {
            append(&path, &head(sequence)).unwrap();
            assert_eq!(last(&path).unwrap(), Some(head(sequence)));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 30);
    }

    #[test]
    fn a_line_that_a_crash_cut_is_taken_back_and_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads");
        append(&path, &head(1)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let torn = [whole.as_slice(), &head(2).line().as_bytes()[..50]].concat();
        std::fs::write(&path, torn).unwrap();
        assert_eq!(last(&path).unwrap(), Some(head(1)));
        append(&path, &head(3)).unwrap();
        assert_eq!(last(&path).unwrap(), Some(head(3)));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_damaged_last_line_is_not_overlooked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads");
        append(&path, &head(1)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap().replace("\"sequence\":1", "\"sequence\":0");
        std::fs::write(&path, text).unwrap();
        assert!(matches!(last(&path), Err(Unusable::Damaged(_))));
    }
}
