//! A real chain on loopback: anvil, started directly so that its process id is its own.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{Error, process};

/// Measured: 0.2 s, and 10 s with a thousand accounts or a big state.
const START_MAX: Duration = Duration::from_secs(60);
/// Writing a big state takes this long.
const STOP_MAX: Duration = Duration::from_secs(30);
const LOOK_PAUSE: Duration = Duration::from_millis(10);
const CALL_MAX: Duration = Duration::from_secs(30);
/// Between picking a port and using it, another process may take it.
const PORTS_MAX: u32 = 5;

/// What to do about a state file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Start from it; it stays as it is.
    Load(PathBuf),
    /// Start from it if it is there, and write it when stopping.
    Keep(PathBuf),
}

/// What kind of chain is wanted. Whatever is `None` is anvil's default.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Chain id.
    pub chain_id: Option<u64>,
    /// Seconds between blocks; without it every transaction makes a block.
    pub block_time: Option<f64>,
    /// Rules of the chain, as in `berlin`.
    pub hardfork: Option<String>,
    /// 0 finds a free one.
    pub port: u16,
    /// State to start from or keep.
    pub state: Option<State>,
    /// `safe` is one epoch and `finalized` two behind the head.
    pub slots_in_an_epoch: Option<u64>,
    /// Number of the first block.
    pub number: Option<u64>,
    /// Time of the first block, in seconds.
    pub timestamp: Option<u64>,
    /// Funded accounts; each slows the start.
    pub accounts: Option<u32>,
    /// Blocks come only when asked for.
    pub no_mining: bool,
    /// Past states to keep, in memory; without it all are kept, most on disk. A chain that is reorganised needs all.
    pub prune_history: Option<u64>,
    /// Gas that fits in a block.
    pub gas_limit: Option<u64>,
    /// Its own process group: Ctrl-C on a terminal then reaches only us, and we stop it in order. Not for
    /// tests, whose chains must go when their group is killed.
    pub own_group: bool,
}

/// A running chain; stopped when dropped.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    port: u16,
    client: reqwest::Client,
    // Holds the log and the states that anvil spills to disk.
    _folder: tempfile::TempDir,
}

impl Anvil {
    /// Starts a chain and waits until it answers.
    ///
    /// # Errors
    /// When there is no anvil, or it does not answer.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let program = find()?;
        let mut attempt = 1;
        loop {
            let port = if options.port == 0 { process::free_port()? } else { options.port };
            match Self::start_on(&program, port, &options).await {
                Err(Error::Failed { .. }) if options.port == 0 && attempt < PORTS_MAX => attempt += 1,
                result => return result,
            }
        }
    }

    async fn start_on(program: &Path, port: u16, options: &Options) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("metis-anvil-")
            .tempdir()
            .map_err(Error::file("creating a folder in", env::temp_dir()))?;
        let log = folder.path().join("log");
        let output = fs::File::create(&log).map_err(Error::file("creating", &log))?;
        let mut command = Command::new(program);
        if options.own_group {
            command.process_group(0);
        }
        let child = command
            .args(arguments(options, port))
            .arg("--cache-path")
            .arg(folder.path())
            .stdin(Stdio::null())
            // Quiet, or the log would grow by a line with every request.
            .arg("--quiet")
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .map_err(|source| Error::Spawn { program: program.to_owned(), source })?;
        let mut anvil = Self { child, port, client: client(), _folder: folder };
        anvil.until_ready(program, &log, options).await?;
        Ok(anvil)
    }

    async fn until_ready(&mut self, program: &Path, log: &Path, options: &Options) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let answer = self.rpc("eth_chainId", json!([])).await;
            // Looked at after the call: if ours is gone, somebody else has answered.
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Err(Error::Failed { program: program.to_owned(), said: process::tail(log) });
            }
            let expected = options.chain_id.map(|id| Value::from(format!("{id:#x}")));
            match answer {
                Ok(id) if expected.as_ref().is_none_or(|expected| *expected == id) => return Ok(()),
                _ if start.elapsed() > START_MAX => {
                    let (program, secs) = (program.to_owned(), START_MAX.as_secs());
                    return Err(Error::Silent { program, secs, said: process::tail(log) });
                }
                _ => tokio::time::sleep(LOOK_PAUSE).await,
            }
        }
    }

    /// HTTP endpoint.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// WebSocket endpoint.
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Port of both endpoints.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id, for tests that stop and continue it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Calls a JSON-RPC method and returns its result.
    ///
    /// # Errors
    /// When the node does not answer, or answers with an error.
    pub async fn rpc(&self, method: &str, params: Value) -> Result<Value, Error> {
        let failed = |source| Error::Rpc { method: method.to_owned(), source };
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.client.post(self.url()).json(&call).send().await.map_err(failed)?;
        let mut answer: Value = answer.json().await.map_err(failed)?;
        match answer.get_mut("error") {
            Some(error) => Err(Error::RpcRefused { method: method.to_owned(), error: error.take() }),
            None => Ok(answer["result"].take()),
        }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // Anvil writes its state on SIGINT.
        process::stop(&mut self.child, Signal::SIGINT, STOP_MAX);
    }
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().timeout(CALL_MAX).build();
    client.expect("a client without TLS settings can be built")
}

fn arguments(options: &Options, port: u16) -> Vec<String> {
    let Options {
        chain_id,
        block_time,
        hardfork,
        port: _,
        state,
        slots_in_an_epoch,
        number,
        timestamp,
        accounts,
        no_mining,
        prune_history,
        gas_limit,
        own_group: _,
    } = options;
    let (load, keep) = match state {
        Some(State::Load(path)) => (Some(path), None),
        Some(State::Keep(path)) => (None, Some(path)),
        None => (None, None),
    };
    let flags: [(&str, Option<String>); 13] = [
        ("--host", Some("127.0.0.1".to_owned())),
        ("--port", Some(port.to_string())),
        ("--chain-id", chain_id.map(|id| id.to_string())),
        ("--block-time", block_time.map(|secs| secs.to_string())),
        ("--hardfork", hardfork.clone()),
        ("--load-state", load.map(|path| path.display().to_string())),
        ("--state", keep.map(|path| path.display().to_string())),
        ("--slots-in-an-epoch", slots_in_an_epoch.map(|slots| slots.to_string())),
        ("--number", number.map(|number| number.to_string())),
        ("--timestamp", timestamp.map(|time| time.to_string())),
        ("--accounts", accounts.map(|accounts| accounts.to_string())),
        ("--prune-history", prune_history.map(|states| states.to_string())),
        ("--gas-limit", gas_limit.map(|gas| gas.to_string())),
    ];
    let flags = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten();
    flags.chain(no_mining.then(|| "--no-mining".to_owned())).collect()
}

/// `ANVIL`, then the one that `npm ci` put beside the `dev` crate, then `PATH`.
fn find() -> Result<PathBuf, Error> {
    let named = env::var_os("ANVIL").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(pinned).or_else(in_path).ok_or(Error::NoAnvil)
}

fn pinned() -> Option<PathBuf> {
    let os = if env::consts::OS == "macos" { "darwin" } else { env::consts::OS };
    let cpu = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let place = format!("dev/node_modules/@foundry-rs/anvil-{os}-{cpu}/bin/anvil");
    // Of this workspace when built here; else of the tree that we are in.
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(&place);
    let here = env::current_dir().ok()?;
    std::iter::once(built)
        .chain(here.ancestors().map(|folder| folder.join(&place)))
        .find(|path| path.is_file())
}

fn in_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join("anvil")).find(|path| path.is_file())
}
