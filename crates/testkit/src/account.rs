//! Who the server runs as, and where that user can go.

use std::{
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::{User, geteuid};

use crate::Error;

/// Begins the program that follows without what its starter has inherited: a server that lives on would keep locks held
/// and pipes open for ever. Only bash can name descriptors above 9; without it those up to 9 are closed, where shells and
/// build tools put theirs.
const CLOSE_INHERITED: &str = r#"
for fd in /proc/self/fd/* /dev/fd/*; do
    fd=${fd##*/}
    case $fd in
        [0-2] | *[!0-9]*) ;;
        ? | "${BASH_VERSION:+$fd}") eval "exec $fd>&-" ;;
    esac
done
exec "$0" "$@""#;

/// Where systems have it that have it.
const BASH: &str = "/bin/bash";

/// Who the server runs as: ourselves, or as root an ordinary user, because it refuses root.
#[derive(Debug)]
pub(crate) struct Account {
    switch_to: Option<User>,
}

impl Account {
    pub(crate) fn of_server() -> Result<Self, Error> {
        if !geteuid().is_root() {
            return Ok(Self { switch_to: None });
        }
        let known = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
        Ok(Self { switch_to: Some(known.ok_or(Error::NoUser)?) })
    }

    pub(crate) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(if Path::new(BASH).exists() { BASH } else { "/bin/sh" });
        command.args(["-c", CLOSE_INHERITED]).arg(program);
        // A folder that the other user can be in; the current one may be closed to it.
        command.current_dir(folder).stdin(Stdio::null()).env("LC_ALL", "C").env_remove("PGDATA");
        if let Some(user) = &self.switch_to {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", folder);
        }
        command
    }

    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        let Some(user) = &self.switch_to else { return Ok(()) };
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(Error::file("giving away", path))
    }

    pub(crate) fn folder_mode(&self) -> u32 {
        if self.switch_to.is_some() { 0o711 } else { 0o700 }
    }

    /// Every parent must let the server's user through.
    pub(crate) fn check_reach(&self, path: &Path) -> Result<(), Error> {
        let Some(user) = &self.switch_to else { return Ok(()) };
        let closed = path.ancestors().skip(1).find(|parent| {
            let Ok(about) = parent.metadata() else { return true };
            let mask = match (about.uid() == user.uid.as_raw(), about.gid() == user.gid.as_raw()) {
                (true, _) => 0o100,
                (_, true) => 0o010,
                _ => 0o001,
            };
            about.mode() & mask == 0
        });
        match closed {
            None => Ok(()),
            Some(parent) => Err(Error::Unreachable { user: user.name.clone(), path: parent.to_owned() }),
        }
    }

    /// Where a fetched server is kept. Root's home is closed to others, hence not there.
    pub(crate) fn cache(&self) -> PathBuf {
        if self.switch_to.is_some() {
            return PathBuf::from("/var/cache/metis-sequencer");
        }
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        base.unwrap_or_else(std::env::temp_dir).join("metis-sequencer")
    }
}
