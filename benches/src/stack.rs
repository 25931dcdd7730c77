//! `dev up` and `dev demo` as a user starts them: a process that tells its states as JSON lines.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use dev::stack::Access;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::program::beside;

/// Far beyond every target: what takes longer is broken, not slow.
const LINE_MAX: Duration = Duration::from_secs(180);
const STOP_MAX: Duration = Duration::from_secs(60);

/// A started process; killed when dropped.
#[derive(Debug)]
pub struct Stack {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    begun: Instant,
}

/// A line, and how long after the start it came.
#[derive(Debug)]
pub struct Told {
    /// The line.
    pub line: Value,
    /// Seconds since the start.
    pub secs: f64,
}

impl Stack {
    /// Starts `dev` of the same profile.
    ///
    /// # Errors
    /// When it is not built.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let program = beside("dev")?;
        let mut command = Command::new(&program);
        command.args(arguments).arg("--json").stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        // Its own group: Ctrl-C on the terminal reaches only us, and we stop it in order.
        command.process_group(0);
        let begun = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let output = child.stdout.take().context("the output of the process")?;
        Ok(Self { child, lines: BufReader::new(output).lines(), begun })
    }

    /// Waits for a state, as in `healthy`.
    ///
    /// # Errors
    /// When the process ends before.
    pub async fn until(&mut self, state: &str) -> Result<Told> {
        self.find(state, |line| line["state"] == state).await
    }

    /// Waits for a line.
    ///
    /// # Errors
    /// When the process ends before.
    pub async fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Told> {
        loop {
            let line = tokio::time::timeout(LINE_MAX, self.lines.next_line()).await;
            let line = line.with_context(|| {
                format!("nothing was told for {} s, waiting for {what}", LINE_MAX.as_secs())
            })?;
            let Some(line) = line? else { bail!("the process ended before {what}") };
            let secs = self.begun.elapsed().as_secs_f64();
            // Anything else on standard output would be a fault of `--json`.
            let line: Value = serde_json::from_str(&line).with_context(|| format!("reading `{line}`"))?;
            if wanted(&line) {
                return Ok(Told { line, secs });
            }
        }
    }

    /// How to reach the stack, once it is healthy.
    ///
    /// # Errors
    /// When the line does not say where that stands.
    pub fn access(told: &Told) -> Result<Access> {
        Access::read(Path::new(told.line["stack"].as_str().context("a line with the path of stack.json")?))
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Stops it as Ctrl-C does, and gives the seconds that took.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn stop(mut self) -> Result<f64> {
        let pid = self.child.id().context("the process has ended by itself")?;
        let asked = Instant::now();
        kill(Pid::from_raw(pid.try_into()?), Signal::SIGINT)?;
        let status = self.ended().await?;
        ensure!(status.success(), "it ended with {status}");
        Ok(asked.elapsed().as_secs_f64())
    }

    /// Waits for its end, reading what it still says.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let rest = async {
            while self.lines.next_line().await?.is_some() {}
            self.child.wait().await
        };
        Ok(tokio::time::timeout(STOP_MAX, rest).await.context("it did not end in time")??)
    }

    /// Seconds since the start.
    pub fn secs(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}
