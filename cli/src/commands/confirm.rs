//! The question before what cannot be taken back easily.

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};

use crate::exit::usage;

/// Asks for `wanted` on a terminal; elsewhere it must have been given as `flag`.
pub fn typed(wanted: &str, flag: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(usage(format!("not confirmed: give {flag}")));
    }
    print!("Type {wanted} to go on: ");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if line.trim() == wanted { Ok(()) } else { bail!("not confirmed, nothing was asked for") }
}
