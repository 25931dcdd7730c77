//! What the process asks of the operating system before it holds a secret: no core files, no reading
//! of its memory by others of the same user, and pages that stay out of swap.

use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::Pinned;

/// Asks once, at start, and says what was not given. Gives whether secrets are locked in memory.
pub fn guard() -> bool {
    // A core file would hold the key-encryption key.
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::warn!(%error, "core dumps cannot be switched off, a crash may write secrets to disk");
    }
    // Core files through a pipe ignore the limit; a process that is not dumpable has none, and no
    // debugger of the same user can be attached.
    if let Err(error) = prctl::set_dumpable(false) {
        tracing::warn!(%error, "this process can be read by others of its user");
    }
    let locked = Pinned::zeroed().is_locked();
    let limit = match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((RLIM_INFINITY, _)) => "without limit".to_owned(),
        Ok((bytes, _)) => format!("up to {} KiB", bytes / 1024),
        Err(_) => "up to an unknown limit".to_owned(),
    };
    if locked {
        tracing::info!("secrets are locked in memory ({limit})");
    } else {
        tracing::warn!(
            "secrets cannot be locked in memory ({limit}): raise RLIMIT_MEMLOCK, or switch off swap"
        );
    }
    locked
}
