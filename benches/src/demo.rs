//! How long `make demo` takes, without the compiler.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::report::Figure;
use crate::stack::Stack;

/// From the start to the end.
pub const TOTAL: &str = "demo.total_s";
const TARGET: f64 = 90.0;

/// From the start of the process to its end.
pub async fn total() -> Result<Figure> {
    let mut demo = Stack::start(&["demo"])?;
    let done = demo.find("the end of the journey", |line| line["demo"] == "done").await?;
    let status = demo.ended().await?;
    let secs = demo.secs();
    ensure!(status.success(), "the journey ended with {status}");
    let figure =
        Figure::new(secs, "s", TARGET, "from the start of `dev demo` to its end, the stack included");
    Ok(figure
        .with("steps", done.line["steps"].clone())
        .with("by_its_own_clock_s", json!(done.line["total_s"])))
}
