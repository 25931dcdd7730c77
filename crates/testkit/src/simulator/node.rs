//! One operator's node: its processes on one loopback port, told apart by path and method.
//!
//! A node that is down has no listener, so that callers meet what they would meet in truth. Shapes
//! are those of P 3.4 and 3.5, with numbers as text exactly where the real ones have them so.

mod answer;
mod data;
mod l2geth;
mod themis;

use std::{net::SocketAddr, time::Duration};

use alloy_primitives::Address;
use axum::{
    Router,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::{NodeState, Simulator};
use crate::Error;

/// Open requests of a node that goes down get this long.
const STOP_MAX: Duration = Duration::from_secs(1);

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeMode {
    /// All of it is well.
    Synced,
    /// It answers, but lags behind; its bridge waits.
    CatchingUp,
    /// It does not answer.
    Down,
}

/// What the bridge of a node says of its signatures by the MPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// It does not ask for any.
    Never,
    /// It asked, and there was one.
    Succeeded,
    /// It asked, and there was none yet.
    Failed,
}

/// Where the processes of a node answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Tendermint RPC.
    pub themis_rpc: String,
    /// themis REST.
    pub themis_rest: String,
    /// Bridge.
    pub bridge: String,
    /// l2geth.
    pub l2geth: String,
    /// L1 data transport.
    pub dtl: String,
}

#[derive(Debug)]
pub(super) struct Node {
    mode: NodeMode,
    port: u16,
    server: Option<Server>,
    signing: Signing,
}

impl Node {
    pub(super) async fn start(
        simulator: Simulator,
        signer: Address,
        mode: NodeMode,
        port: u16,
    ) -> Result<Self, Error> {
        if mode == NodeMode::Down {
            return Ok(Self { mode, port, server: None, signing: Signing::Never });
        }
        let server = Server::start(simulator, signer, port).await?;
        Ok(Self { mode, port: server.port, server: Some(server), signing: Signing::Never })
    }

    pub(super) fn mode(&self) -> NodeMode {
        self.mode
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn set_mode(&mut self, mode: NodeMode) {
        self.mode = mode;
    }

    pub(super) fn set_signing(&mut self, signing: Signing) {
        self.signing = signing;
    }

    pub(super) fn signing(&self) -> Signing {
        self.signing
    }

    pub(super) fn take_server(&mut self) -> Option<Server> {
        self.server.take()
    }

    pub(super) fn is_served(&self) -> bool {
        self.server.is_some()
    }

    pub(super) fn serve_with(&mut self, server: Server) {
        self.server = Some(server);
    }

    pub(super) async fn stop(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }

    pub(super) fn endpoints(&self) -> Endpoints {
        let url = format!("http://127.0.0.1:{}", self.port);
        Endpoints {
            themis_rpc: url.clone(),
            themis_rest: url.clone(),
            bridge: url.clone(),
            l2geth: url.clone(),
            dtl: url,
        }
    }

    pub(super) fn state(&self, signer: Address) -> NodeState {
        NodeState { signer, mode: self.mode, port: self.port, endpoints: self.endpoints() }
    }
}

/// The listener of a node that is not down; gone when dropped.
#[derive(Debug)]
pub(super) struct Server {
    port: u16,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(simulator: Simulator, signer: Address, port: u16) -> Result<Self, Error> {
        let listener = listen(port).await?;
        let port = listener.local_addr().map_err(Error::Port)?.port();
        let (stop, stopped) = oneshot::channel();
        let router = router(View { simulator, signer });
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(async {
                // The sender's end is the signal as well.
                let _ = stopped.await;
            });
            let _ = served.await;
        });
        Ok(Self { port, stop, task })
    }

    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        if tokio::time::timeout(STOP_MAX, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// A node as its endpoints see it.
#[derive(Debug, Clone)]
struct View {
    simulator: Simulator,
    signer: Address,
}

impl View {
    fn mode(&self) -> NodeMode {
        self.simulator.mode_of(self.signer).unwrap_or(NodeMode::Down)
    }

    fn signing(&self) -> Signing {
        self.simulator.signing_of(self.signer).unwrap_or(Signing::Never)
    }

    fn lags(&self) -> bool {
        self.mode() != NodeMode::Synced
    }
}

fn router(view: View) -> Router {
    Router::new()
        .route("/", post(l2geth::json_rpc))
        .route("/status", get(themis::status))
        .route("/net_info", get(themis::net_info))
        .route("/staking/validator/{id}", get(themis::validator))
        .route("/staking/signer/{address}", get(themis::signer))
        .route("/staking/validator-status/{address}", get(themis::validator_status))
        .route("/staking/validator-set", get(themis::validator_set))
        .route("/staking/current-batch", get(themis::current_batch))
        .route("/staking/isoldtx", get(themis::is_old_tx))
        .route("/metis/latest-span", get(themis::latest_span))
        .route("/metis/span/{id}", get(themis::span))
        .route("/mpc/latest/{kind}", get(themis::mpc))
        .route("/health", get(data::bridge_health))
        .route("/eth/context/latest", get(data::context))
        .route("/highest/l1", get(data::highest_l1))
        .with_state(view)
}

/// A listener on loopback; 0 finds a free port.
pub(super) async fn listen(port: u16) -> Result<TcpListener, Error> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await.map_err(Error::Port)
}
