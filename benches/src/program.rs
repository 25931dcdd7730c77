//! The programs that are measured.

use std::path::PathBuf;

use anyhow::{Result, ensure};

/// A binary of the same profile as this one.
///
/// # Errors
/// When it is not built.
pub fn beside(name: &str) -> Result<PathBuf> {
    let ours = std::env::current_exe()?;
    let program = ours.with_file_name(name);
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    ensure!(program.is_file(), "there is no {}: `cargo build{profile} --package {name}`", program.display());
    Ok(program)
}
