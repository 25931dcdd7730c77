//! An indexer as a process of its own: started, watched from outside, killed.

use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use sqlx::{Connection, PgConnection};
use tokio::process::{Child, Command};

use super::world::{Configured, Database, NETWORK};
use crate::program::beside;

/// Between two looks at the database: what is visible is known to this.
const LOOK: Duration = Duration::from_millis(2);
const KB_PER_MB: f64 = 1_024.0;

/// A running indexer; killed when dropped.
pub struct Indexer {
    child: Child,
    configured: Configured,
    /// When it was started.
    pub begun: Instant,
}

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Seconds on the processors, in user and system.
    pub cpu_s: f64,
    /// The most memory that it ever had.
    pub rss_mb: f64,
}

impl Indexer {
    /// Starts `seqd indexer` of the same profile.
    ///
    /// # Errors
    /// When it is not built.
    pub fn start(configured: &Configured) -> Result<Self> {
        let program = beside("seqd")?;
        let log = File::options().create(true).append(true).open(&configured.log)?;
        let mut command = Command::new(&program);
        command.arg("indexer").arg("--config").arg(&configured.file);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { child, configured: configured.clone(), begun })
    }

    /// An error if it has ended, with what it said last.
    ///
    /// # Errors
    /// As said.
    pub fn alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the indexer ended with {status}: {}", self.configured.said()),
        }
    }

    /// What it has used up to now.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self) -> Result<Usage> {
        let pid = self.pid()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name may have spaces; what follows its bracket has not. User and system time are fields 14 and 15.
        let (_, rest) = stat.rsplit_once(") ").context("the stat of a process")?;
        let ticks: Vec<f64> =
            rest.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("ticks of the clock")? as f64;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the peak of memory")?;
        let peak: f64 = peak.split_whitespace().next().context("a number")?.parse()?;
        Ok(Usage { cpu_s: ticks.iter().sum::<f64>() / per_second, rss_mb: peak / KB_PER_MB })
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub async fn kill(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid()?.try_into()?), Signal::SIGKILL)?;
        self.child.wait().await?;
        Ok(())
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("the indexer has ended: {}", self.configured.said()))
    }
}

/// What readers of the database see.
pub struct Eye {
    connection: PgConnection,
    deadline: Duration,
}

impl Eye {
    /// A reader; what it waits for longer than `deadline` is a failure.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(database: &Database, deadline: Duration) -> Result<Self> {
        Ok(Self { connection: PgConnection::connect(&database.url).await?, deadline })
    }

    /// The block that the index is at, with its hash; 0 before the first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tip(&mut self) -> Result<(u64, Vec<u8>)> {
        let sql = "SELECT number, hash FROM indexer.checkpoint
                    WHERE network = $1 AND layer = 1 AND number IS NOT NULL";
        let row: Option<(i64, Vec<u8>)> =
            sqlx::query_as(sql).bind(NETWORK).fetch_optional(&mut self.connection).await?;
        let (number, hash) = row.unwrap_or_default();
        Ok((number.try_into()?, hash))
    }

    /// When the index is at this block.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn at(&mut self, indexer: &mut Indexer, number: u64) -> Result<Instant> {
        self.until(indexer, &format!("block {number}"), |tip, _| tip >= number).await
    }

    /// When the index is at exactly this block.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn at_hash(&mut self, indexer: &mut Indexer, wanted: &[u8]) -> Result<Instant> {
        self.until(indexer, "the head", |_, hash| hash == wanted).await
    }

    /// When the tip is as wanted.
    ///
    /// # Errors
    /// When that does not come in time.
    pub async fn until(
        &mut self,
        indexer: &mut Indexer,
        what: &str,
        mut wanted: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<Instant> {
        let begun = Instant::now();
        loop {
            let (tip, hash) = self.tip().await?;
            let seen = Instant::now();
            if wanted(tip, &hash) {
                return Ok(seen);
            }
            indexer.alive()?;
            ensure!(
                begun.elapsed() < self.deadline,
                "the index is at {tip} after {} s, not at {what}: {}",
                self.deadline.as_secs(),
                indexer.configured.said()
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}
