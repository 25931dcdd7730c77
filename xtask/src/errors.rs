//! The error table: docs/errors.md is made from `api::reasons`, and every own reason is used somewhere.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

const PAGE: &str = "docs/errors.md";

/// Writes the page.
pub fn write(root: &Path) -> Result<()> {
    std::fs::write(root.join(PAGE), page()).context("writing docs/errors.md")
}

/// The page out of date, and reasons that no code gives.
pub fn faults(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    if std::fs::read_to_string(root.join(PAGE)).unwrap_or_default() != page() {
        faults.push(format!("{PAGE}: out of date, run `cargo xtask errors`"));
    }
    for reason in api::reasons::OWN {
        if !used(root, reason.name)? {
            faults.push(format!("crates/api/src/reasons.rs: no code gives {}", reason.name));
        }
    }
    Ok(faults)
}

/// Whether the name occurs in Rust code outside the registry.
fn used(root: &Path, name: &str) -> Result<bool> {
    let found = Command::new("git")
        .args([
            "grep",
            "-qw",
            "--untracked",
            name,
            "--",
            "crates/*.rs",
            "services/*.rs",
            ":!crates/api/src/reasons.rs",
        ])
        .current_dir(root)
        .status()
        .context("searching the sources")?;
    Ok(found.success())
}

fn page() -> String {
    let mut text = String::from(
        "# Errors\n\nMade by `cargo xtask errors` from `api::reasons` and `runtime::errors::generic`; do not edit.\n\n\
         The same reason appears in gRPC (`google.rpc.ErrorInfo.reason`, domain `metis.sequencer`), in JSON-RPC\n\
         (`error.data.reason`) and in `seqctl`. Bad input also names the field.\n\n\
         | reason | gRPC | JSON-RPC | HTTP | repeat? | what to do |\n|---|---|---|---|---|---|\n",
    );
    for reason in api::reasons::all() {
        let repeat = if reason.retryable { "yes" } else { "no" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {:?} | {} | {} | {repeat} | {} |",
            reason.name, reason.grpc, reason.jsonrpc, reason.http, reason.help
        );
    }
    text
}
