//! SoftHSM2: a PKCS#11 module in software, so that the backend for hardware is tested against the real interface.
//!
//! The library of the system is used if there is one, else that of the Debian package, fetched and unpacked beside
//! the other tools of the project; nothing is installed. Its tokens are in a folder of this process.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use crate::{Error, process};

/// Where packagers put the library.
const MODULES: [&str; 6] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];
const PACKAGE: &str = "libsofthsm2";
/// By which the library finds its configuration. Set in `.cargo/config.toml`, because a process cannot safely set
/// a variable of its own.
const CONF_VARIABLE: &str = "SOFTHSM2_CONF";

/// The library of this process, once it is set up.
static SET_UP: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Sets SoftHSM up for this process, once, and gives the path of the library. `initialise` is called with that path
/// while no other process can change the configuration, and must load and initialise the library.
///
/// # Errors
/// When there is no SoftHSM and none can be fetched, or its folders cannot be made.
pub fn set_up(initialise: impl FnOnce(&Path)) -> Result<PathBuf, Error> {
    let mut done = SET_UP.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = done.as_ref() {
        return Ok(module.clone());
    }
    let conf = env::var_os(CONF_VARIABLE).map(PathBuf::from).ok_or(Error::NoSoftHsmConf)?;
    let folder = conf.parent().ok_or(Error::NoSoftHsmConf)?;
    fs::create_dir_all(folder).map_err(Error::file("creating", folder))?;
    let lock = folder.join("lock");
    let _lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(Error::file("locking", &lock))?;

    remove_tokens_of_the_dead(folder);
    let module = find(folder)?;
    let tokens = folder.join(format!("tokens-{}", std::process::id()));
    fs::create_dir_all(&tokens).map_err(Error::file("creating", &tokens))?;
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    fs::write(&conf, text).map_err(Error::file("writing", &conf))?;
    initialise(&module);
    *done = Some(module.clone());
    Ok(module)
}

/// Processes are killed, and their tokens stay.
fn remove_tokens_of_the_dead(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix("tokens-")).and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| !process::is_alive(pid)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn find(folder: &Path) -> Result<PathBuf, Error> {
    let root = folder.join("package");
    let unpacked = MODULES.map(|path| root.join(path.trim_start_matches('/')));
    let installed = MODULES.map(PathBuf::from);
    if let Some(found) = installed.iter().chain(&unpacked).find(|path| path.is_file()) {
        return Ok(found.clone());
    }
    fetch(folder, &root)?;
    unpacked.into_iter().find(|path| path.is_file()).ok_or(Error::NoSoftHsm)
}

/// The package itself needs only what every Debian has: libssl and libstdc++.
fn fetch(folder: &Path, root: &Path) -> Result<(), Error> {
    run(Command::new("apt-get").args(["download", PACKAGE]).current_dir(folder))?;
    let entries = fs::read_dir(folder).map_err(Error::file("reading", folder))?;
    let file = entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(PACKAGE) && name.ends_with(".deb")
    });
    run(Command::new("dpkg-deb").arg("-x").arg(file.ok_or(Error::NoSoftHsm)?).arg(root))
}

fn run(command: &mut Command) -> Result<(), Error> {
    let program = PathBuf::from(command.get_program());
    let output = command.stdin(Stdio::null()).output().map_err(|_| Error::NoSoftHsm)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Failed { program, said })
}
