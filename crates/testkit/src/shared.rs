//! The one server that all test programs of a user share: started by the first that needs it,
//! used by all, left running between runs, stopped by `testdb stop`.

use std::{
    fs::{self, DirBuilder, File},
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::unistd::geteuid;

use crate::{Error, postgres};

/// Set by whoever wants the tests to use a server of theirs, as superuser.
pub(crate) const URL_VARIABLE: &str = "TESTKIT_DATABASE_URL";
/// The first program makes the cluster while all others wait for it.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(120);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// URL of the server that tests use, started if it does not run.
///
/// # Errors
/// When it cannot be started.
pub async fn shared_url() -> Result<String, Error> {
    if let Ok(url) = std::env::var(URL_VARIABLE)
        && !url.is_empty()
    {
        return Ok(url);
    }
    let dir = folder()?;
    if let Some(url) = running(&dir).await {
        return Ok(url);
    }
    let _lock = wait_for_lock(&dir).await?;
    // Another program may have started it while this one waited.
    if let Some(url) = running(&dir).await {
        return Ok(url);
    }
    let launch = dir.clone();
    let mut cluster = postgres::blocking(move || postgres::launch(&launch, false)).await?;
    cluster.until_ready().await?;
    let url = cluster.detach();
    write_url(&dir, &url)?;
    Ok(url)
}

/// Stops the shared server, if it runs, and removes its data.
///
/// # Errors
/// When its folder cannot be locked or removed.
pub async fn stop_shared() -> Result<(), Error> {
    let dir = folder()?;
    let _lock = wait_for_lock(&dir).await?;
    postgres::blocking(move || {
        postgres::stop_left_behind(&dir);
        // The lock file stays, because others may be waiting for it.
        for name in ["url", "password", "log"] {
            let _ = fs::remove_file(dir.join(name));
        }
        let data = dir.join("data");
        if data.exists() {
            fs::remove_dir_all(&data).map_err(Error::file("removing", &data))?;
        }
        Ok(())
    })
    .await
}

async fn running(dir: &Path) -> Option<String> {
    let url = fs::read_to_string(dir.join("url")).ok()?;
    postgres::answers(&url).await.then_some(url)
}

/// A folder of our own in the shared temporary directory.
fn folder() -> Result<PathBuf, Error> {
    let user = geteuid();
    // As root the server's user must get through; the secrets inside are protected by themselves.
    let mode = if user.is_root() { 0o711 } else { 0o700 };
    let dir = std::env::temp_dir().join(format!("metis-testdb-{user}"));
    DirBuilder::new().recursive(true).mode(mode).create(&dir).map_err(Error::file("creating", &dir))?;
    let about = fs::symlink_metadata(&dir).map_err(Error::file("looking at", &dir))?;
    // Anyone can make a folder of this name first, or a link to somewhere else.
    if !about.is_dir() || about.uid() != user.as_raw() {
        return Err(Error::ForeignFolder(dir));
    }
    Ok(dir)
}

async fn wait_for_lock(dir: &Path) -> Result<File, Error> {
    let start = Instant::now();
    loop {
        if let Some(lock) = postgres::lock(dir)? {
            return Ok(lock);
        }
        if start.elapsed() > LOCK_WAIT_MAX {
            return Err(Error::InUse(dir.to_owned()));
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Writes the file whole or not at all, readable for us only.
fn write_url(dir: &Path, url: &str) -> Result<(), Error> {
    let (new, path) = (dir.join("url.new"), dir.join("url"));
    let write = || {
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(url.as_bytes())?;
        fs::rename(&new, &path)
    };
    write().map_err(Error::file("writing", &path))
}
