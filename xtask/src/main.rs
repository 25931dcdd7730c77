//! Checks that need a program: `cargo xtask check` (walls, sizes, prose rules, error table) and
//! `cargo xtask errors` (writes docs/errors.md from the registry).

mod errors;
mod sources;
mod walls;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// What to do.
#[derive(Parser)]
enum Command {
    /// Everything that `make lint` wants to know beyond rustfmt and clippy.
    Check,
    /// Writes docs/errors.md from the error registry.
    Errors,
}

fn main() -> Result<ExitCode> {
    let root = root();
    match Command::parse() {
        Command::Errors => errors::write(&root).map(|()| ExitCode::SUCCESS),
        Command::Check => {
            let mut faults = walls::faults()?;
            faults.extend(sources::faults(&root)?);
            faults.extend(errors::faults(&root)?);
            for fault in &faults {
                println!("{fault}");
            }
            println!("{} faults", faults.len());
            Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// The workspace root, from where this file stands.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
