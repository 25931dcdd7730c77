//! Rules of style.md that a look at the text can check: file sizes, sleeping or skipped tests,
//! unnumbered TODOs, messages that repeat their source, undocumented crates.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Longest file without its tests (style.md).
const LINES_MAX: usize = 400;

/// Every breach, one line each.
pub fn faults(root: &Path) -> Result<Vec<String>> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root)
        .output()
        .context("listing the sources")?;
    let names = String::from_utf8(listing.stdout).context("file names are UTF-8")?;
    let mut faults = Vec::new();
    for name in names.lines().filter(|name| !name.starts_with("xtask/")) {
        // A file deleted but not yet staged is still listed.
        if let Ok(text) = std::fs::read_to_string(root.join(name)) {
            faults.extend(of_file(name, &text));
        }
    }
    Ok(faults)
}

fn of_file(name: &str, text: &str) -> Vec<String> {
    let body = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let is_test = name.contains("/tests/") || name.starts_with("tests/") || name.ends_with("/tests.rs");
    let mut faults = Vec::new();
    let mut fault = |line: usize, what: &str| faults.push(format!("{name}:{line}: {what}"));
    let length = body.lines().count();
    if length > LINES_MAX && !is_test {
        fault(
            length,
            &format!(
                "{length} lines without tests, at most {LINES_MAX}: find the second subject and name it"
            ),
        );
    }
    if !is_test && !text.trim_start().starts_with("//!") {
        fault(1, "a file begins with what it is responsible for (`//!`)");
    }
    if name.starts_with("crates/") && name.ends_with("src/lib.rs") && !text.contains("#![deny(missing_docs)]")
    {
        fault(1, "a shared crate denies missing docs");
    }
    let body_lines = length;
    for (index, line) in text.lines().enumerate() {
        let in_test = is_test || index > body_lines;
        if in_test && (line.contains("sleep(") || line.contains("thread::sleep")) {
            fault(index + 1, "a test does not sleep: wait_until, with a deadline");
        }
        if line.contains("#[ignore") {
            fault(index + 1, "a test is not skipped");
        }
        if line.contains("TODO") && !line.contains("TODO(#") {
            fault(index + 1, "a TODO carries its issue number: TODO(#n)");
        }
        if line.contains("#[error(") && (line.contains("{source}") || line.contains("{source:")) {
            fault(index + 1, "a message does not contain its own source");
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_test_and_a_bare_todo_are_found() {
        let text =
            "//! Doc.\nfn f() {}\n#[cfg(test)]\nmod tests {\n  fn t() { sleep(1) }\n}\n// TODO later\n";
        let faults = of_file("services/x/src/a.rs", text);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn tests_do_not_count_as_lines() {
        let text = format!("//! Doc.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(500));
        assert_eq!(of_file("services/x/src/a.rs", &text), Vec::<String>::new());
    }
}
