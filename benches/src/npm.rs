//! Programs of others that are installed by npm below `target/`, from the pinned lists in `benches/peers/`; nothing of ours is
//! linked with them or ships them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

const INSTALL_MAX: Duration = Duration::from_secs(180);

/// The folder of a peer with its packages, fetched if they are not there.
///
/// # Errors
/// When they cannot be had.
pub async fn installed(name: &str, files: &[&str]) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (ours, folder) = (root.join("peers").join(name), root.join("../target/peers").join(name));
    for file in files {
        let to = folder.join(file);
        fs::create_dir_all(to.parent().context("a folder")?)?;
        fs::copy(ours.join(file), to).with_context(|| format!("copying {file}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    ended(npm, INSTALL_MAX).await.context("installing")?;
    Ok(folder)
}

/// Runs a program to its end.
///
/// # Errors
/// When it does not end well, or not in time.
pub async fn ended(mut command: Command, most: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(most, command.output()).await;
    let output = ended.with_context(|| format!("not done after {} s", most.as_secs()))??;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    ensure!(output.status.success(), "it ended with {}: {last}", output.status);
    Ok(output)
}
