//! What the process tree weighs, without anvil and Postgres.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::report::{Figure, rounded};
use crate::stack::Stack;

/// Resident memory of the whole.
pub const STACK: &str = "stack.rss_mb";
const TARGET: f64 = 250.0;
/// The fleet works meanwhile: blocks every second, a reward batch every half minute.
const WATCHED_SECS: u64 = 45;
/// Processes of others, by the name that the kernel has.
const NOT_OURS: [&str; 2] = ["anvil", "postgres"];
const KB_PER_MB: f64 = 1_024.0;

/// The most that was seen while the demo fleet works.
pub async fn stack() -> Result<Figure> {
    let mut stack = Stack::start(&["up"])?;
    stack.until("ready").await?;
    let root = stack.pid().context("the stack runs")?;
    let mut most = Weight::default();
    for _ in 0..WATCHED_SECS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = Weight::of(root)?;
        if now.rss_kb > most.rss_kb {
            most = now;
        }
    }
    stack.stop().await?;
    let what = "largest sum of VmRSS of the tree of `dev up` with its fleet, without anvil and postgres; the five \
                services and the simulated network are in it";
    let figure = Figure::new(most.rss_kb / KB_PER_MB, "MB", TARGET, what);
    let processes = most.processes;
    Ok(figure
        .with("processes", json!(processes))
        .with("watched_s", json!(WATCHED_SECS))
        .with("peak_mb", json!(rounded(most.peak_kb / KB_PER_MB))))
}

/// What processes weigh together.
#[derive(Debug, Default)]
struct Weight {
    rss_kb: f64,
    peak_kb: f64,
    processes: Vec<String>,
}

impl Weight {
    fn of(root: u32) -> Result<Self> {
        let all = processes();
        let mut weight = Self::default();
        let mut next = vec![root];
        while let Some(pid) = next.pop() {
            // One that has just ended has no weight.
            let Some(process) = all.get(&pid) else { continue };
            if NOT_OURS.contains(&process.name.as_str()) {
                continue;
            }
            next.extend(all.iter().filter(|(_, child)| child.parent == pid).map(|(pid, _)| pid));
            weight.rss_kb += process.rss_kb;
            weight.peak_kb += process.peak_kb;
            weight.processes.push(process.name.clone());
        }
        ensure!(weight.rss_kb > 0.0, "nothing is known of process {root}");
        Ok(weight)
    }
}

struct Process {
    name: String,
    parent: u32,
    rss_kb: f64,
    peak_kb: f64,
}

fn processes() -> BTreeMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, process(pid)?))).collect()
}

fn process(pid: u32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let kb = |name: &str| field(name)?.split_whitespace().next()?.parse().ok();
    Some(Process {
        name: field("Name")?.to_owned(),
        parent: field("PPid")?.parse().ok()?,
        // Threads of the kernel have none.
        rss_kb: kb("VmRSS").unwrap_or_default(),
        peak_kb: kb("VmHWM").unwrap_or_default(),
    })
}
