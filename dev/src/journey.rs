//! The guide's journey: from a new key to the final withdrawal, through a public API, with the state, the
//! balances and the rewards compared with the contracts after every step, to the wei.
//!
//! How the APIs are spoken to is a [`Driver`]: [`Managed`] is an operator on gRPC for whom the services
//! sign, [`Prepared`] is a frontend on JSON-RPC whose user's wallet signs. The network's part (governance,
//! MPC, nodes, time) is played by the simulator in both.

mod expected;
mod managed;
mod prepared;
mod rpc;
mod wallet;

use std::future::Future;
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use anyhow::{Context, Result, ensure};
use domain::amount::{Eth, Metis};
use testkit::contracts::account;
use testkit::simulator::{Endpoints, NodeMode, Simulator};

pub use managed::Managed;
pub(crate) use managed::phase_name;
pub use prepared::Prepared;

use crate::wait::until;
use expected::Expected;

/// What the owner is given; the rest beyond the locks stays with it.
const OWNER_METIS: u64 = 30_000;
const OWNER_ETH: u64 = 10;
const LOCK: u64 = 20_000;
const INCREASE: u64 = 5_000;
const WITHDRAWAL: u64 = 2_000;
const EXIT_DELAY_SECS: u64 = 21 * 86_400;
/// Probes, confirmations and polls together take a few seconds.
const SEEN_MAX: Duration = Duration::from_secs(30);

/// Who takes part, as L1 knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accounts {
    /// Holds the METIS.
    pub owner: Address,
    /// The node's key.
    pub signer: Address,
}

/// Something to be done with the sequencer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Lock this much.
    Lock(Metis),
    /// Add this much.
    Increase(Metis),
    /// Send the rewards to L2.
    Claim,
    /// Take this much back.
    Withdraw(Metis),
    /// Begin the exit.
    Unlock,
    /// End the exit.
    WithdrawFinal,
}

/// The sequencer as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its state, as in `ACTIVE`.
    pub phase: String,
    /// Its id on chain; none before the lock.
    pub sequencer_id: Option<u64>,
    /// Its principal.
    pub locked: Metis,
    /// Chain time from which the principal may leave, while exiting.
    pub withdrawable_at: Option<u64>,
}

/// Its rewards as the API shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewards {
    /// All credits.
    pub accrued: Metis,
    /// Still in the contract.
    pub unclaimed: Metis,
    /// Claimed to L2.
    pub claimed: Metis,
    /// Paid by the exit.
    pub paid_at_exit: Metis,
}

/// What a node's probes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The guide's step 3.
    pub ready_to_lock: bool,
    /// Names of the checks that stop it.
    pub stopped_by: Vec<String>,
}

/// A public API and someone who uses it. Every call is about the one sequencer of the journey.
pub trait Driver {
    /// Makes the two keys.
    fn create_keys(&mut self) -> impl Future<Output = Result<Accounts>> + Send;
    /// Proves that the keys can be restored; says how.
    fn prove_backup(&mut self) -> impl Future<Output = Result<String>> + Send;
    /// Adds the sequencer to the register.
    fn register(&mut self, recipient: Address) -> impl Future<Output = Result<()>> + Send;
    /// The entry for the dashboard's listing, as JSON text.
    fn listing(&mut self) -> impl Future<Output = Result<String>> + Send;
    /// Has the node watched.
    fn register_node(&mut self, endpoints: Endpoints) -> impl Future<Output = Result<()>> + Send;
    /// The verdict on the node.
    fn node(&mut self) -> impl Future<Output = Result<Readiness>> + Send;
    /// Does it, and returns when it is confirmed.
    fn act(&mut self, act: Act) -> impl Future<Output = Result<()>> + Send;
    /// The sequencer.
    fn sequencer(&mut self) -> impl Future<Output = Result<Seen>> + Send;
    /// Its rewards.
    fn rewards(&mut self) -> impl Future<Output = Result<Rewards>> + Send;
    /// The states it has been in, oldest first.
    fn history(&mut self) -> impl Future<Output = Result<Vec<String>>> + Send;
}

/// A step that was taken.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it was.
    pub name: &'static str,
    /// How long it took, checks included.
    pub took: Duration,
    /// What came of it.
    pub outcome: String,
}

/// Where a journey ended too early.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct Failed {
    /// The step.
    pub step: &'static str,
    /// Why.
    #[source]
    pub source: anyhow::Error,
}

/// Plays the whole journey; `told` hears of each step.
///
/// # Errors
/// The first step that did not do what it should, or after which API and contracts differ.
pub async fn play<D: Driver + Send>(
    driver: &mut D,
    network: &Simulator,
    told: impl FnMut(&Step) + Send,
) -> Result<Vec<Step>, Failed> {
    let mut journey = Journey { driver, network, told, steps: Vec::new() };
    let expected = journey.prepare().await?;
    journey.live(expected).await?;
    Ok(journey.steps)
}

struct Journey<'a, D, T> {
    driver: &'a mut D,
    network: &'a Simulator,
    told: T,
    steps: Vec<Step>,
}

impl<D: Driver + Send, T: FnMut(&Step) + Send> Journey<'_, D, T> {
    /// Steps 1 to 5: everything before the first METIS moves.
    async fn prepare(&mut self) -> Result<Expected, Failed> {
        let start = Instant::now();
        let accounts = self.driver.create_keys().await;
        let accounts = self.noted("create keys", start, accounts, |keys| {
            format!("owner {}, signer {}", keys.owner, keys.signer)
        })?;
        let start = Instant::now();
        let proven = self.driver.prove_backup().await;
        self.noted("prove the backup", start, proven, String::clone)?;
        let recipient = account(&format!("recipient of {}", accounts.owner));
        let mut expected = Expected::new(accounts, recipient, Metis::whole(OWNER_METIS));

        let start = Instant::now();
        let listed = self.list(&expected).await;
        self.noted("register and build the listing entry", start, listed, String::clone)?;
        let start = Instant::now();
        let synced = self.sync(accounts.signer).await;
        self.noted("wait for sync", start, synced, String::clone)?;
        let start = Instant::now();
        let whitelisted = self.whitelist(&mut expected).await;
        self.noted("get whitelisted", start, whitelisted, String::clone)?;
        Ok(expected)
    }

    /// Steps 6 to 15: the life of the lock.
    async fn live(&mut self, mut expected: Expected) -> Result<(), Failed> {
        let (lock, more) = (Metis::whole(LOCK), Metis::whole(INCREASE));
        let less = Metis::whole(WITHDRAWAL);
        self.step_act("lock 20,000", Act::Lock(lock), &mut expected).await?;
        let start = Instant::now();
        let active = self.become_active(&mut expected).await;
        self.noted("become active", start, active, String::clone)?;
        self.step_earn("earn", &mut expected).await?;
        self.step_act("increase by 5,000", Act::Increase(more), &mut expected).await?;
        self.step_act("claim", Act::Claim, &mut expected).await?;
        self.step_act("withdraw 2,000", Act::Withdraw(less), &mut expected).await?;
        self.step_earn("earn again", &mut expected).await?;
        self.step_act("unlock", Act::Unlock, &mut expected).await?;
        let start = Instant::now();
        let waited = self.wait_out(&mut expected).await;
        self.noted("let 21 days pass", start, waited, String::clone)?;
        self.step_act("withdraw the principal", Act::WithdrawFinal, &mut expected).await?;
        let start = Instant::now();
        let history = self.look_back().await;
        self.noted("look back", start, history, String::clone)?;
        Ok(())
    }

    async fn step_act(
        &mut self,
        name: &'static str,
        act: Act,
        expected: &mut Expected,
    ) -> Result<(), Failed> {
        let start = Instant::now();
        let done = self.act(act, expected).await;
        self.noted(name, start, done, String::clone).map(drop)
    }

    async fn step_earn(&mut self, name: &'static str, expected: &mut Expected) -> Result<(), Failed> {
        let start = Instant::now();
        let earned = self.earn(expected).await;
        self.noted(name, start, earned, String::clone).map(drop)
    }

    fn noted<R>(
        &mut self,
        name: &'static str,
        start: Instant,
        result: Result<R>,
        outcome: impl FnOnce(&R) -> String,
    ) -> Result<R, Failed> {
        let done = result.map_err(|source| Failed { step: name, source })?;
        let step = Step { name, took: start.elapsed(), outcome: outcome(&done) };
        (self.told)(&step);
        self.steps.push(step);
        Ok(done)
    }

    async fn list(&mut self, expected: &Expected) -> Result<String> {
        self.driver.register(expected.recipient).await.context("registering")?;
        let text = self.driver.listing().await.context("building the listing entry")?;
        let entry: serde_json::Value = serde_json::from_str(&text).context("reading the listing entry")?;
        let says = |field: &str, address: Address| {
            entry[field].as_str().is_some_and(|text| text.eq_ignore_ascii_case(&address.to_string()))
        };
        let Accounts { owner, signer } = expected.accounts;
        ensure!(says("address", owner) && says("seq_addr", signer), "the entry is of somebody else: {text}");
        self.phase("REGISTERED").await?;
        Ok(format!("REGISTERED, entry \"{}\"", entry["name"].as_str().unwrap_or_default()))
    }

    async fn sync(&mut self, signer: Address) -> Result<String> {
        let endpoints = self.network.add_node(signer).await?;
        self.network.set_node(signer, NodeMode::CatchingUp).await?;
        self.driver.register_node(endpoints).await.context("registering the node")?;
        let lagging = self.node(false).await?;
        self.network.set_node(signer, NodeMode::Synced).await?;
        self.node(true).await?;
        Ok(format!("was stopped by {}; now ready", lagging.stopped_by.join(", ")))
    }

    async fn node(&mut self, ready: bool) -> Result<Readiness> {
        let what = if ready { "the node is ready" } else { "the node's lag is seen" };
        let driver = tokio::sync::Mutex::new(&mut *self.driver);
        until(what, SEEN_MAX, || async {
            let seen = driver.lock().await.node().await?;
            let told = ready || seen.stopped_by.iter().any(|check| check == "THEMIS_SYNCED");
            ensure!(seen.ready_to_lock == ready && told, "stopped by {:?}", seen.stopped_by);
            Ok(seen)
        })
        .await
    }

    async fn whitelist(&mut self, expected: &mut Expected) -> Result<String> {
        let owner = expected.accounts.owner;
        self.network.fund(owner, expected.start_metis, Eth::whole(OWNER_ETH)).await?;
        self.network.whitelist(owner, true).await?;
        self.phase("WHITELISTED").await?;
        expected.phase = "WHITELISTED";
        self.check(expected).await
    }

    async fn act(&mut self, act: Act, expected: &mut Expected) -> Result<String> {
        self.driver.act(act).await?;
        expected.apply(act)?;
        if let Act::Lock(_) = act {
            // The node's own bridge may be faster than our look.
            let id = self.network.l1().sequencer_of(expected.accounts.owner).await?;
            expected.id = Some(id.context("the owner has a sequencer")?);
        }
        self.check(expected).await
    }

    async fn become_active(&mut self, expected: &mut Expected) -> Result<String> {
        self.phase("ACTIVE").await?;
        expected.phase = "ACTIVE";
        self.check(expected).await
    }

    async fn earn(&mut self, expected: &mut Expected) -> Result<String> {
        let signer = expected.accounts.signer;
        let batch = self.network.run_batch_for(signer).await?;
        let reward = expected.credit(batch.blocks_of(signer), self.network).await?;
        let said = self.check(expected).await?;
        Ok(format!("{} METIS for {} blocks; {said}", reward.short(), batch.blocks_of(signer)))
    }

    async fn wait_out(&mut self, expected: &mut Expected) -> Result<String> {
        let seen = self.driver.sequencer().await?;
        let record = expected.record(self.network).await?;
        ensure!(
            seen.withdrawable_at == Some(record.unlock_claim_time.0),
            "withdrawable at {:?} by the API, {} by the contract",
            seen.withdrawable_at,
            record.unlock_claim_time
        );
        self.network.advance(EXIT_DELAY_SECS).await?;
        self.phase("WITHDRAWABLE").await?;
        expected.phase = "WITHDRAWABLE";
        self.check(expected).await
    }

    async fn look_back(&mut self) -> Result<String> {
        let history = self.driver.history().await?;
        let wanted =
            ["WHITELISTED", "LOCKED", "ACTIVE", "EXITING", "WITHDRAWABLE", "WITHDRAWN"].map(str::to_owned);
        ensure!(history.ends_with(&wanted), "the history is {history:?}");
        Ok(history.join(" > "))
    }

    async fn phase(&mut self, phase: &str) -> Result<Seen> {
        let driver = tokio::sync::Mutex::new(&mut *self.driver);
        until(&format!("the sequencer is {phase}"), SEEN_MAX, || async {
            let seen = driver.lock().await.sequencer().await?;
            ensure!(seen.phase == phase, "it is {}", seen.phase);
            Ok(seen)
        })
        .await
    }

    /// Contracts first, since they are the truth; then what the API says, once it has followed.
    async fn check(&mut self, expected: &Expected) -> Result<String> {
        expected.check_contracts(self.network).await.context("the contracts")?;
        let driver = tokio::sync::Mutex::new(&mut *self.driver);
        until("the API agrees with the contracts", SEEN_MAX, || async {
            let mut driver = driver.lock().await;
            expected.check_sequencer(&driver.sequencer().await?)?;
            if expected.id.is_some() {
                expected.check_rewards(&driver.rewards().await?)?;
            }
            Ok(())
        })
        .await?;
        until("the bridge has paid on L2", SEEN_MAX, || expected.check_l2(self.network)).await?;
        Ok(expected.words())
    }
}
