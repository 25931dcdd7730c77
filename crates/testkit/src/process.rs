//! Processes that we started: found, watched and ended by their own id.

use std::{
    io::{Read, Seek, SeekFrom},
    net::TcpListener,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::Error;

const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Enough of a log to say what went wrong.
const LOG_TAIL_BYTES: u64 = 2_000;

/// A port of the loopback interface that was free a moment ago.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::Port)?;
    Ok(listener.local_addr().map_err(Error::Port)?.port())
}

/// Whether a process with this id exists.
pub(crate) fn is_alive(pid: i32) -> bool {
    // EPERM means that it exists but is not ours.
    !matches!(kill(Pid::from_raw(pid), None), Err(nix::errno::Errno::ESRCH))
}

/// Asks our child to end, and makes it end at the deadline.
pub(crate) fn stop(child: &mut Child, signal: Signal, deadline: Duration) {
    // The child is not reaped before `try_wait`, so its id is still its own.
    if let Ok(None) = child.try_wait()
        && let Ok(pid) = i32::try_from(child.id())
    {
        let _ = kill(Pid::from_raw(pid), signal);
    }
    let start = Instant::now();
    while start.elapsed() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Asks a process that is not our child to end; whether it has by the deadline.
pub(crate) fn stop_pid(pid: i32, signal: Signal, deadline: Duration) -> bool {
    let _ = kill(Pid::from_raw(pid), signal);
    let start = Instant::now();
    while is_alive(pid) && !is_zombie(pid) {
        if start.elapsed() > deadline {
            return false;
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    true
}

/// Ended, but not yet collected by its parent, as happens in containers without an init process.
fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

/// The end of a log, for error messages.
pub(crate) fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_default()
}
