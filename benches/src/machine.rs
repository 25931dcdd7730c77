//! The machine that it was measured on.

use std::fs;
use std::thread::available_parallelism;

use serde_json::{Map, Value, json};

/// Load average of the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// What every figure depends on.
pub fn conditions(load_before: f64) -> Map<String, Value> {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Map::from_iter([
        ("cores".to_owned(), json!(available_parallelism().map_or(0, usize::from))),
        ("load_average_before".to_owned(), json!(load_before)),
        ("profile".to_owned(), json!(profile)),
        ("version".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
        ("kernel".to_owned(), json!(kernel.trim())),
    ])
}
