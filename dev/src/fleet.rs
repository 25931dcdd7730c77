//! Six sequencers in different states, set up through the public APIs like any operator would.
//!
//! | name | state |
//! |---|---|
//! | aspen | REGISTERED: waits for governance |
//! | birch | WHITELISTED: funded, its node is ready, next is the lock |
//! | cedar | LOCKED: its node is still catching up |
//! | maple | ACTIVE: earning |
//! | oak | ACTIVE and in trouble: node down, taken off the whitelist |
//! | pine | EXITING |

use std::time::Duration;

use alloy_primitives::Address;
use anyhow::{Context, Result, ensure};
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{ListSequencersRequest, LockParameters, Sequencer, UnlockParameters};
use domain::amount::{Eth, Metis};
use serde::Serialize;
use serde_json::Value;
use testkit::simulator::{NodeMode, Simulator};
use tokio::task::JoinSet;

use crate::clients::Clients;
use crate::journey::{Driver, Managed, phase_name};
use crate::stack::NETWORK;
use crate::wait::until;

/// Names in the order in which their lives are advanced.
pub const NAMES: [&str; 6] = ["aspen", "birch", "cedar", "maple", "oak", "pine"];
const OWNER_METIS: u64 = 60_000;
const OWNER_ETH: u64 = 5;
/// Of a signer: a rotation costs a fraction of it.
const SIGNER_ETH: u64 = 1;
const STEP_MAX: Duration = Duration::from_secs(60);
/// While the fleet is made, L1 has blocks as fast as it takes them, or people would wait for confirmations.
const HURRY: Duration = Duration::from_millis(100);

/// How far a sequencer is brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Goal {
    Registered,
    Whitelisted,
    LockedOnly,
    Earning,
    Troubled,
    Exiting,
}

impl Goal {
    fn of(name: &str) -> Self {
        match name {
            "aspen" => Self::Registered,
            "birch" => Self::Whitelisted,
            "cedar" => Self::LockedOnly,
            "maple" => Self::Earning,
            "oak" => Self::Troubled,
            _ => Self::Exiting,
        }
    }

    fn lock(self) -> u64 {
        match self {
            Self::Earning => 50_000,
            Self::Troubled => 30_000,
            _ => 20_000,
        }
    }
}

/// A sequencer of the fleet.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its id in the register.
    pub id: String,
    /// Its state.
    pub phase: String,
    /// What is not as it should be.
    pub flags: Vec<String>,
}

/// The sequencers that are managed here, as far as they fit on one page.
///
/// # Errors
/// When lifecycle does not answer.
pub async fn members(clients: &Clients) -> Result<Vec<Member>> {
    let request = ListSequencersRequest {
        network: NETWORK.to_owned(),
        managed_only: true,
        ..ListSequencersRequest::default()
    };
    let answer = clients.lifecycle.clone().list_sequencers(request).await?.into_inner();
    let mut members: Vec<Member> = answer.sequencers.into_iter().map(member).collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(members)
}

fn member(sequencer: Sequencer) -> Member {
    let phase = phase_name(sequencer.phase());
    let flags = sequencer.flags.into_iter().map(|flag| flag.name).collect();
    Member { name: sequencer.name, id: sequencer.id, phase, flags }
}

/// Sets the fleet up on a fresh stack.
///
/// # Errors
/// When an API refuses, or a state is not reached in time.
pub async fn seed(clients: &Clients, network: &Simulator) -> Result<()> {
    let hurry = tokio::spawn(mine(network.clone()));
    let seeded = bring_all(clients, network).await;
    hurry.abort();
    seeded
}

async fn mine(network: Simulator) {
    loop {
        tokio::time::sleep(HURRY).await;
        // The chain's own rhythm goes on, with or without this.
        let _ = network.l1().link.rpc::<Value>("evm_mine", serde_json::json!([])).await;
    }
}

async fn bring_all(clients: &Clients, network: &Simulator) -> Result<()> {
    let mut work = JoinSet::new();
    for name in NAMES {
        let (clients, network) = (clients.clone(), network.clone());
        work.spawn(async move {
            let brought = bring(clients, &network, name).await;
            brought.with_context(|| format!("setting up {name}"))
        });
    }
    let mut earning = None;
    while let Some(done) = work.join_next().await {
        let (signer, goal) = done.context("setting up the fleet")??;
        if goal == Goal::Earning {
            earning = Some(signer);
        }
    }
    // All locks are in, so the draws are among all.
    if let Some(signer) = earning {
        network.run_batch_for(signer).await.context("paying the first rewards")?;
    }
    Ok(())
}

async fn bring(clients: Clients, network: &Simulator, name: &str) -> Result<(Address, Goal)> {
    let goal = Goal::of(name);
    let mut operator = Managed::new(clients, name);
    let accounts = operator.create_keys().await?;
    operator.prove_backup().await?;
    operator.register(testkit::contracts::account(&format!("{name} on L2"))).await?;
    let reached = (accounts.signer, goal);
    if goal == Goal::Registered {
        return Ok(reached);
    }
    let endpoints = network.add_node(accounts.signer).await?;
    if goal == Goal::LockedOnly {
        network.set_node(accounts.signer, NodeMode::CatchingUp).await?;
    }
    operator.register_node(endpoints).await?;
    network.fund(accounts.owner, Metis::whole(OWNER_METIS), Eth::whole(OWNER_ETH)).await?;
    // A rotation is sent by the signer: without ETH it would be flagged LOW_ETH.
    network.fund(accounts.signer, Metis::ZERO, Eth::whole(SIGNER_ETH)).await?;
    network.whitelist(accounts.owner, true).await?;
    phase(&mut operator, "WHITELISTED").await?;
    if goal == Goal::Whitelisted {
        return Ok(reached);
    }
    let mut lock =
        LockParameters { amount_wei: Metis::whole(goal.lock()).wei_string(), ..Default::default() };
    if goal == Goal::LockedOnly {
        lock.override_node_reason = "shows a lock that waits for its node".to_owned();
    } else {
        ready(&mut operator).await?;
    }
    operator.operate(Parameters::Lock(lock)).await.context("locking")?;
    if goal == Goal::LockedOnly {
        phase(&mut operator, "LOCKED").await?;
        return Ok(reached);
    }
    phase(&mut operator, "ACTIVE").await?;
    match goal {
        Goal::Troubled => {
            network.set_node(accounts.signer, NodeMode::Down).await?;
            network.whitelist(accounts.owner, false).await?;
        }
        Goal::Exiting => {
            operator
                .operate(Parameters::Unlock(UnlockParameters { l2_gas: 0 }))
                .await
                .context("unlocking")?;
            phase(&mut operator, "EXITING").await?;
        }
        _ => {}
    }
    Ok(reached)
}

async fn phase(operator: &mut Managed, wanted: &str) -> Result<()> {
    let operator = tokio::sync::Mutex::new(operator);
    until(&format!("it is {wanted}"), STEP_MAX, || async {
        let seen = operator.lock().await.sequencer().await?;
        ensure!(seen.phase == wanted, "it is {}", seen.phase);
        Ok(())
    })
    .await
}

async fn ready(operator: &mut Managed) -> Result<()> {
    let operator = tokio::sync::Mutex::new(operator);
    until("its node is ready", STEP_MAX, || async {
        let seen = operator.lock().await.node().await?;
        ensure!(seen.ready_to_lock, "it is stopped by {:?}", seen.stopped_by);
        Ok(())
    })
    .await
}
