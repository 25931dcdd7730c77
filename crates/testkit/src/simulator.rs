//! Plays the parts of Metis that are not ours, on running anvils.
//!
//! Governance lets owners in ([`Simulator::whitelist`]), the MPC commits L2 epochs and pays reward
//! batches (`mpc`), the consensus layer learns of locks (`consensus`, `watch`), the bridge credits
//! claims on L2, and every node of an operator answers like themis, bridge, l2geth and dtl
//! (`node`). Other processes steer it over HTTP (`control`). Nothing here is kept: a new simulator
//! on the same chains reads all of it from them again.

mod consensus;
mod control;
mod draw;
mod mpc;
mod node;
mod watch;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use alloy_primitives::Address;
use domain::amount::{Eth, Metis};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch as signal, task::JoinSet};

pub use consensus::Validator;
pub use mpc::Batch;
pub use node::{Endpoints, NodeMode, Signing};

use crate::{
    Error,
    contracts::{L1, L2},
};
use consensus::Consensus;
use node::Node;

/// Often enough for a journey not to wait, seldom enough not to load the chains.
const TICK: Duration = Duration::from_millis(100);
/// Loops look at the signal at least once per tick; servers have a handful of connections.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Far more than any test or demo has; each is a listening port.
const NODES_MAX: usize = 100;

/// How the network behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// L1 blocks on top of one before consensus reacts to it; 0 for chains that mine on demand.
    pub confirmations: u64,
    /// Wall time between reward batches; none pays only when asked.
    pub batch_every: Option<Duration>,
    /// How long the producer's node may be down before its blocks go to another.
    pub respan_after: Duration,
    /// Makes the draws of producers repeatable.
    pub seed: u64,
    /// Chain id of the consensus layer.
    pub themis_network: String,
    /// What an earlier simulator on the same chains knew.
    pub memory: Memory,
}

/// What cannot be read from the chains again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Nodes, which answer on their old ports.
    pub nodes: Vec<NodeState>,
    /// Validators that have joined, by sequencer id and signer.
    pub joined: Vec<(u64, Address)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            confirmations: 0,
            batch_every: None,
            respan_after: Duration::ZERO,
            seed: 0,
            themis_network: "devnet-1".to_owned(),
            memory: Memory::default(),
        }
    }
}

/// The running network. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Simulator(Arc<World>);

#[derive(Debug)]
struct World {
    config: Config,
    l1: L1,
    l2: L2,
    consensus: Mutex<Consensus>,
    nodes: Mutex<BTreeMap<Address, Node>>,
    /// Why a loop last failed, by loop; a node that restarts makes a loop fail for a while.
    troubles: Mutex<BTreeMap<&'static str, String>>,
    /// Who produces L2 blocks or commits epochs holds it, or two would commit the same epoch.
    l2_turn: tokio::sync::Mutex<()>,
    stop: signal::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
    control_url: String,
}

/// What the network looks like, for people and for tests in other processes.
#[derive(Debug, Clone, Serialize)]
pub struct State {
    /// Contracts of L1.
    pub l1: L1,
    /// Contracts of L2.
    pub l2: L2,
    /// L1 batch that consensus knows.
    pub batch: u64,
    /// Validators of the consensus layer, former ones included.
    pub validators: Vec<Validator>,
    /// Nodes.
    pub nodes: Vec<NodeState>,
    /// Why a loop failed at its last try; empty when all is well.
    pub troubles: BTreeMap<&'static str, String>,
}

/// One node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeState {
    /// Whose it is.
    pub signer: Address,
    /// How it is.
    pub mode: NodeMode,
    /// Its port on loopback.
    pub port: u16,
    /// Where it answers.
    pub endpoints: Endpoints,
}

impl Simulator {
    /// Starts the network on chains that carry the contracts.
    ///
    /// # Errors
    /// When the control endpoint cannot be opened, or the port of a remembered node is taken.
    pub async fn start(config: Config, l1: L1, l2: L2) -> Result<Self, Error> {
        let Memory { nodes, joined } = config.memory.clone();
        let control = node::listen(0).await?;
        let control_url = format!("http://{}", control.local_addr().map_err(Error::Port)?);
        let simulator = Self(Arc::new(World {
            config,
            l1,
            l2,
            consensus: Mutex::new(Consensus::remembering(joined)),
            nodes: Mutex::default(),
            troubles: Mutex::default(),
            l2_turn: tokio::sync::Mutex::default(),
            stop: signal::Sender::new(false),
            tasks: Mutex::default(),
            control_url,
        }));
        for NodeState { signer, mode, port, endpoints: _ } in nodes {
            let node = Node::start(simulator.clone(), signer, mode, port).await?;
            locked(&simulator.0.nodes).insert(signer, node);
        }
        let mut tasks = locked(&simulator.0.tasks);
        tasks.spawn(watch::follow_l1(simulator.clone()));
        tasks.spawn(mpc::commit_epochs(simulator.clone()));
        tasks.spawn(mpc::pay_batches(simulator.clone()));
        tasks.spawn(control::serve(simulator.clone(), control));
        drop(tasks);
        Ok(simulator)
    }

    /// Ends all loops and endpoints, in a bounded time.
    pub async fn stop(&self) {
        self.0.stop.send_replace(true);
        let nodes = std::mem::take(&mut *locked(&self.0.nodes));
        for node in nodes.into_values() {
            node.stop().await;
        }
        let mut tasks = std::mem::take(&mut *locked(&self.0.tasks));
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
            tasks.shutdown().await;
        }
    }

    /// Where other processes steer the network.
    pub fn control_url(&self) -> &str {
        &self.0.control_url
    }

    /// The contracts of L1.
    pub fn l1(&self) -> &L1 {
        &self.0.l1
    }

    /// The contracts of L2.
    pub fn l2(&self) -> &L2 {
        &self.0.l2
    }

    /// Governance lets an owner in, or out.
    ///
    /// # Errors
    /// When L1 does not take it.
    pub async fn whitelist(&self, owner: Address, yes: bool) -> Result<(), Error> {
        self.0.l1.whitelist(owner, yes).await.map(drop)
    }

    /// Gives an account METIS and ETH on L1.
    ///
    /// # Errors
    /// When L1 does not take it.
    pub async fn fund(&self, account: Address, metis: Metis, eth: Eth) -> Result<(), Error> {
        self.0.l1.fund(account, metis, eth).await
    }

    /// Gives a signer a node, synced. One that has a node keeps it as it is.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn add_node(&self, signer: Address) -> Result<Endpoints, Error> {
        if let Some(node) = locked(&self.0.nodes).get(&signer) {
            return Ok(node.endpoints());
        }
        let node = Node::start(self.clone(), signer, NodeMode::Synced, 0).await?;
        let mut nodes = locked(&self.0.nodes);
        if nodes.len() >= NODES_MAX {
            return Err(Error::TooManyNodes(NODES_MAX));
        }
        // Of two that came at once the first stays; the other's server ends with its handle.
        Ok(nodes.entry(signer).or_insert(node).endpoints())
    }

    /// Makes a node lag behind, fall silent or be well again.
    ///
    /// # Errors
    /// When there is no such node, or its port was taken while it was down.
    pub async fn set_node(&self, signer: Address, mode: NodeMode) -> Result<(), Error> {
        let (port, server) = {
            let mut nodes = locked(&self.0.nodes);
            let node = nodes.get_mut(&signer).ok_or(Error::UnknownNode(signer))?;
            node.set_mode(mode);
            if node.is_served() == (mode != NodeMode::Down) {
                return Ok(());
            }
            (node.port(), node.take_server())
        };
        match server {
            Some(server) => server.stop().await,
            None => {
                let server = node::Server::start(self.clone(), signer, port).await?;
                if let Some(node) = locked(&self.0.nodes).get_mut(&signer) {
                    node.serve_with(server);
                }
            }
        }
        Ok(())
    }

    /// Makes the bridge of a node ask the MPC for signatures, with or without success.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn set_signing(&self, signer: Address, signing: Signing) -> Result<(), Error> {
        let mut nodes = locked(&self.0.nodes);
        nodes.get_mut(&signer).ok_or(Error::UnknownNode(signer))?.set_signing(signing);
        Ok(())
    }

    /// Lets time pass on both chains.
    ///
    /// # Errors
    /// When a chain does not answer.
    pub async fn advance(&self, secs: u64) -> Result<(), Error> {
        self.0.l1.link.advance_time(secs).await?;
        let _turn = self.0.l2_turn.lock().await;
        self.0.l2.link.advance_time(secs).await.map(drop)
    }

    /// A picture of the network.
    pub fn state(&self) -> State {
        let consensus = locked(&self.0.consensus);
        let nodes = locked(&self.0.nodes);
        State {
            l1: self.0.l1.clone(),
            l2: self.0.l2.clone(),
            batch: consensus.batch(),
            validators: consensus.validators().cloned().collect(),
            nodes: nodes.iter().map(|(signer, node)| node.state(*signer)).collect(),
            troubles: locked(&self.0.troubles).clone(),
        }
    }

    /// What the next simulator on these chains must be told.
    pub fn memory(&self) -> Memory {
        let nodes = locked(&self.0.nodes);
        Memory {
            nodes: nodes.iter().map(|(signer, node)| node.state(*signer)).collect(),
            joined: locked(&self.0.consensus).joined(),
        }
    }

    fn mode_of(&self, signer: Address) -> Option<NodeMode> {
        locked(&self.0.nodes).get(&signer).map(Node::mode)
    }

    fn signing_of(&self, signer: Address) -> Option<Signing> {
        locked(&self.0.nodes).get(&signer).map(Node::signing)
    }

    /// Waits for the next tick; false when it is time to end.
    async fn tick(&self) -> bool {
        let mut stop = self.0.stop.subscribe();
        let stopped = tokio::time::timeout(TICK, stop.wait_for(|stop| *stop)).await;
        stopped.is_err()
    }

    fn note<T>(&self, loop_name: &'static str, result: Result<T, Error>) {
        let mut troubles = locked(&self.0.troubles);
        match result {
            Ok(_) => troubles.remove(loop_name),
            Err(error) => troubles.insert(loop_name, error.to_string()),
        };
    }
}

/// Nobody panics while holding one of the locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("the lock is not poisoned")
}
