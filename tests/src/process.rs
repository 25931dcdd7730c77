//! `seqd all` as a process of its own: it can be killed, told to leave, and its log can be read.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{program, wait_for, wait_until};

/// Measured: 3 s in a debug build with two tests beside each other.
const READY_MAX: Duration = Duration::from_secs(60);
/// A killed process is gone at once; the machine may be busy.
const GONE_MAX: Duration = Duration::from_secs(10);
/// Enough of a log to say why it did not start.
const LOG_TAIL_CHARS: usize = 4_000;

/// A running `seqd all`; killed when dropped.
#[derive(Debug)]
pub struct Seqd {
    child: Child,
    admin: String,
    log: PathBuf,
    http: reqwest::Client,
}

impl Seqd {
    /// Starts it on a configuration file with settings on top, and waits until it is ready. The log is appended to.
    ///
    /// # Errors
    /// When it ends or does not get ready.
    pub async fn start(config: &Path, settings: &[(&str, &str)], admin: &str, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log).context("opening a log")?;
        let mut command = Command::new(program("seqd"));
        command.arg("all").arg("--config").arg(config);
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // Its own group: what a terminal sends to us must not stop it behind our back.
        let child = command.process_group(0).spawn().context("starting seqd")?;
        let http = reqwest::Client::builder().no_proxy().timeout(GONE_MAX).build()?;
        let mut seqd = Self { child, admin: admin.to_owned(), log: log.to_owned(), http };
        seqd.until_ready().await?;
        Ok(seqd)
    }

    async fn until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        let seqd = tokio::sync::Mutex::new(&mut *self);
        // It looks at the clock itself, so that the log is told and not only the time.
        wait_for("seqd is ready or has failed", 2 * READY_MAX, || async {
            let seqd = &mut **seqd.lock().await;
            match seqd.child.try_wait() {
                Ok(None) if seqd.ready().await == Some(200) => Some(Ok(())),
                Ok(None) if started.elapsed() < READY_MAX => None,
                Ok(None) => Some(Err(format!("is not ready: {}", seqd.ready_body().await))),
                Ok(Some(status)) => Some(Err(format!("ended with {status}"))),
                Err(error) => Some(Err(error.to_string())),
            }
        })
        .await
        .map_err(|why| anyhow!("seqd {why}\n{}", self.log_tail()))
    }

    /// Status of `/readyz`, if it answers.
    pub async fn ready(&self) -> Option<u16> {
        Some(self.http.get(format!("{}/readyz", self.admin)).send().await.ok()?.status().as_u16())
    }

    /// What `/readyz` says.
    pub async fn ready_body(&self) -> String {
        match self.http.get(format!("{}/readyz", self.admin)).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => "no answer".to_owned(),
        }
    }

    /// What `/metrics` says.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        Ok(self.http.get(format!("{}/metrics", self.admin)).send().await?.error_for_status()?.text().await?)
    }

    /// SIGKILL: nothing of it runs any more afterwards.
    ///
    /// # Errors
    /// When the process is not ours any more.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("killing seqd")?;
        let status = self.child.wait().context("waiting for the killed seqd")?;
        match status.code() {
            None => Ok(()),
            Some(code) => Err(anyhow!("seqd had ended by itself with {code}: {}", self.log_tail())),
        }
    }

    /// SIGTERM: it drains and ends.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("terminating seqd")
    }

    /// Waits for its end.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let child = tokio::sync::Mutex::new(&mut self.child);
        wait_for("seqd has ended", deadline, || async { child.lock().await.try_wait().ok().flatten() }).await
    }

    /// Waits until `/readyz` says that it shall not be sent requests.
    pub async fn until_unready(&self, deadline: Duration) {
        wait_until("readyz is 503", deadline, || async { self.ready().await == Some(503) }).await;
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let skipped = text.chars().count().saturating_sub(LOG_TAIL_CHARS);
        text.chars().skip(skipped).collect()
    }
}

impl Drop for Seqd {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the last words of seqd:\n{}", self.log_tail());
        }
    }
}
