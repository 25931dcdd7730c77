//! The folder of a stack: its lock, its secrets, and what the next start must know.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use testkit::contracts::{L1, L2};
use testkit::simulator::Memory;

const SAVED: &str = "saved.json";
/// There while a stack runs; found later, the stack was killed before its chains were written.
const RUNNING: &str = "running";

/// What a later start finds again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) l1: L1,
    pub(super) l2: L2,
    pub(super) database: Database,
    pub(super) network: Memory,
}

/// The database of a stack, without the server's address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Database {
    pub(super) name: String,
    /// Password of each service's role.
    pub(super) passwords: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    kept: bool,
    _lock: File,
    _temporary: Option<tempfile::TempDir>,
}

impl Home {
    /// Opens the folder, or makes a temporary one.
    pub(super) fn open(data: Option<&Path>) -> Result<Self> {
        // As root the database's user must get through; every secret inside is protected by itself.
        let mode = if geteuid().is_root() { 0o711 } else { 0o700 };
        let (dir, temporary) = match data {
            Some(dir) => {
                let made = DirBuilder::new().recursive(true).mode(mode).create(dir);
                made.with_context(|| format!("creating {}", dir.display()))?;
                (dir.canonicalize().with_context(|| format!("finding {}", dir.display()))?, None)
            }
            None => {
                let made = tempfile::Builder::new().prefix("metis-dev-").tempdir();
                let temporary = made.context("creating a temporary folder")?;
                fs::set_permissions(temporary.path(), fs::Permissions::from_mode(mode))
                    .context("protecting a temporary folder")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let path = dir.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.with_context(|| format!("opening {}", path.display()))?;
        if lock.try_lock().is_err() {
            bail!("{} is in use by another stack: stop it, or choose another --data", dir.display());
        }
        Ok(Self { dir, kept: data.is_some(), _lock: lock, _temporary: temporary })
    }

    /// Whether the next start shall find it all again.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file that only we may read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        let write = || {
            // A file that is there keeps its mode when it is written, hence a new one.
            let _ = fs::remove_file(&path);
            File::options().create_new(true).write(true).mode(0o600).open(&path)?.write_all(text.as_bytes())
        };
        write().with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// A secret that stays the same from start to start.
    pub(super) fn secret(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        if path.is_file() {
            return Ok(path);
        }
        self.write(name, &hex::encode(rand::random::<[u8; 32]>()))
    }

    /// What the last run saved; none on a fresh folder.
    pub(super) fn saved(&self) -> Result<Option<Saved>> {
        let path = self.path(SAVED);
        if self.path(RUNNING).is_file() {
            bail!(
                "the last run on {} did not stop in order, so that its chains and its database may disagree: \
                 remove the folder, or choose another --data",
                self.dir.display()
            );
        }
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text).map(Some).with_context(|| format!("reading {}", path.display()))
    }

    /// From here on the database follows the chains, so that it is ahead of what they wrote if all is killed.
    pub(super) fn begin(&self) -> Result<()> {
        self.write(RUNNING, "").map(drop)
    }

    /// Everything has been written.
    pub(super) fn end(&self, saved: &Saved) -> Result<()> {
        self.write(SAVED, &serde_json::to_string_pretty(saved)?)?;
        let path = self.path(RUNNING);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }
}
