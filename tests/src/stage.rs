//! The world of a scenario, with an operator and looks at the chain.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;
use anyhow::{Context, Result};
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{
    CreateOperationRequest, GetOperationRequest, LockParameters, Operation, OperationMode,
    OperationParameters, OperationState, Phase, Sequencer,
};
use chain::abi::LockingInfo;
use dev::announce::{Announce, Audience};
use dev::clients::{Clients, request_id};
use dev::journey::{Accounts, Driver, Managed};
use dev::stack::{Options, World};
use domain::amount::{Eth, Metis};
use runtime::config::Secret;
use serde_json::{Value, json};
use testkit::contracts::{L1, account};
use testkit::wait_for;

use crate::jsonrpc::JsonRpc;
use crate::process::Seqd;

/// For everything that follows blocks: confirmations, probes and a restart take a few seconds on a busy machine.
pub const SEEN_MAX: Duration = Duration::from_secs(60);
/// How long the API keys of tests live.
const KEY_TTL: Duration = Duration::from_secs(3_600);
const OWNER_METIS: u64 = 30_000;
const OWNER_ETH: u64 = 10;

/// A world without services, and what is needed to run them as a process.
#[derive(Debug)]
pub struct Stage {
    /// Postgres, chains, contracts, network and certificates.
    pub world: World,
    /// The operator.
    pub clients: Clients,
    folder: tempfile::TempDir,
}

/// A sequencer that may be locked: keys proven, node in sync, owner whitelisted and funded.
#[derive(Debug)]
pub struct Candidate {
    /// Id in the register.
    pub id: String,
    /// Its accounts.
    pub accounts: Accounts,
    /// The operator who made it.
    pub operator: Managed,
}

impl Stage {
    /// A world in which blocks come fast.
    pub async fn set() -> Result<Self> {
        Self::of(Options::to_travel()).await
    }

    /// A world of this kind.
    pub async fn of(options: Options) -> Result<Self> {
        let world = World::start(&options, &Announce::to(Audience::Nobody)).await?;
        let clients = Clients::of(world.access())?;
        Ok(Self { world, clients, folder: tempfile::tempdir()? })
    }

    /// `seqd all` on this world with settings on top.
    pub async fn seqd(&self, settings: &[(&str, &str)]) -> Result<Seqd> {
        self.seqd_of(&self.world.config_file(), settings).await
    }

    /// `seqd all` on another configuration of the same addresses.
    pub async fn seqd_of(&self, config: &Path, settings: &[(&str, &str)]) -> Result<Seqd> {
        Seqd::start(config, settings, &self.world.access().admin, &self.log()).await
    }

    /// What all processes have written, one after another.
    pub fn log(&self) -> PathBuf {
        self.path("seqd.log")
    }

    /// A file of this scenario.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A frontend with a new API key.
    pub async fn frontend(&self) -> Result<(JsonRpc, String)> {
        let url = self.world.config().database.urls.get("gateway").map(Secret::expose);
        let url = url.context("the gateway has a database")??;
        let database = store::connect(&url, 1).await?;
        let key = gateway::mint_key(&database, "test", &["read", "prepare", "operate"], KEY_TTL).await?;
        Ok((JsonRpc::to(&self.world.access().gateway, Some(&key)), key))
    }

    /// Ends the world.
    pub async fn strike(self) -> Result<()> {
        self.world.stop().await
    }
}

/// Makes a sequencer of this name that may be locked.
pub async fn candidate(world: &World, clients: &Clients, name: &str) -> Result<Candidate> {
    let mut operator = Managed::new(clients.clone(), name);
    let accounts = operator.create_keys().await?;
    operator.prove_backup().await?;
    operator.register(account(&format!("recipient of {name}"))).await?;
    let network = world.simulator();
    let endpoints = network.add_node(accounts.signer).await?;
    operator.register_node(endpoints).await?;
    network.fund(accounts.owner, Metis::whole(OWNER_METIS), Eth::whole(OWNER_ETH)).await?;
    network.whitelist(accounts.owner, true).await?;
    let candidate = tokio::sync::Mutex::new(operator);
    wait_for("the candidate may be locked", SEEN_MAX, || async {
        let mut operator = candidate.lock().await;
        let ready = operator.node().await.ok()?.ready_to_lock;
        let whitelisted = operator.whole().await.ok()?.phase() == Phase::Whitelisted;
        (ready && whitelisted).then_some(())
    })
    .await;
    let operator = candidate.into_inner();
    Ok(Candidate { id: operator.id().to_owned(), accounts, operator })
}

/// A managed lock of so many METIS.
pub fn lock(sequencer: &str, metis: u64) -> CreateOperationRequest {
    let lock = LockParameters { amount_wei: Metis::whole(metis).wei_string(), ..Default::default() };
    managed(sequencer, Parameters::Lock(lock))
}

/// An operation that the services sign.
pub fn managed(sequencer: &str, parameters: Parameters) -> CreateOperationRequest {
    CreateOperationRequest {
        request_id: request_id(),
        sequencer: sequencer.to_owned(),
        parameters: Some(OperationParameters { parameters: Some(parameters) }),
        mode: OperationMode::Managed.into(),
        validate_only: false,
        terms: None,
    }
}

/// Asks for an operation.
pub async fn ask(clients: &Clients, request: CreateOperationRequest) -> Result<Operation> {
    let answer = clients.lifecycle.clone().create_operation(request).await?.into_inner();
    answer.operation.context("the operation")
}

/// The operation as it is now; none while nobody answers.
pub async fn operation(clients: &Clients, id: &str) -> Option<Operation> {
    let request = GetOperationRequest { id: id.to_owned() };
    clients.lifecycle.clone().get_operation(request).await.ok()?.into_inner().operation
}

/// Waits until the operation is in a state.
pub async fn until_state(clients: &Clients, id: &str, state: OperationState) -> Operation {
    wait_for(&format!("the operation is {}", state.as_str_name()), SEEN_MAX, || async {
        let operation = operation(clients, id).await?;
        let ended = matches!(
            operation.state(),
            OperationState::Failed | OperationState::Cancelled | OperationState::Expired
        );
        assert!(
            !ended || operation.state() == state,
            "it is {}: {}",
            operation.state().as_str_name(),
            operation.reason
        );
        (operation.state() == state).then_some(operation)
    })
    .await
}

/// Waits until what the API shows of a sequencer is as wanted.
pub async fn until_seen(
    operator: &mut Managed,
    what: &str,
    wanted: impl Fn(&Sequencer) -> bool,
) -> Sequencer {
    let operator = tokio::sync::Mutex::new(operator);
    wait_for(what, SEEN_MAX, || async {
        let seen = operator.lock().await.whole().await.ok()?;
        wanted(&seen).then_some(seen)
    })
    .await
}

/// Transactions that an account has in blocks.
pub async fn sent_by(l1: &L1, account: Address) -> Result<u64> {
    let nonce: U256 = l1.link.rpc("eth_getTransactionCount", json!([account, "latest"])).await?;
    Ok(nonce.to::<u64>())
}

/// Whether the node knows a transaction, mined or not.
pub async fn is_known(l1: &L1, hash: &str) -> Result<bool> {
    let found: Value = l1.link.rpc("eth_getTransactionByHash", json!([hash])).await?;
    Ok(!found.is_null())
}

/// From now on blocks come only when they are asked for.
pub async fn mine_no_more(l1: &L1) -> Result<()> {
    Ok(l1.link.rpc::<Value>("evm_setIntervalMining", json!([0])).await.map(drop)?)
}

/// A block each second again.
pub async fn mine_every_second(l1: &L1) -> Result<()> {
    Ok(l1.link.rpc::<Value>("evm_setIntervalMining", json!([1])).await.map(drop)?)
}

/// `Locked` logs of a signer.
pub async fn locks_of(l1: &L1, signer: Address) -> Result<usize> {
    let topics: [B256; 2] = [LockingInfo::Locked::SIGNATURE_HASH, signer.into_word()];
    let filter = json!([{ "fromBlock": "0x0", "toBlock": "latest", "topics": topics }]);
    let logs: Vec<Value> = l1.link.rpc("eth_getLogs", filter).await?;
    Ok(logs.len())
}
