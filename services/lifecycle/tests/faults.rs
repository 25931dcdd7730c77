//! Operations under fire: processes that are killed at every durable step, endpoints that lie, pools that forget,
//! reorganisations, wallets that interfere. In every run there is exactly the effect on chain that was asked for or none,
//! no nonce is left open, and the final answer says which.
//!
//! `LIFECYCLE_FAULTS=540` plays so many runs, `LIFECYCLE_FAULTS_SEED` others, `LIFECYCLE_FAULTS_FROM` begins later: the
//! runs before are drawn and not played.

mod card;
mod process;
mod workflows;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, Bytes, U256};
use api::lifecycle::v1::*;
use chain::views::SequencerRecord;
use domain::amount::Metis;
use domain::network::Variant;
use lifecycle::{Action, Config, Point};
use nix::sys::signal::Signal;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::{Value, json};
use testkit::contracts::node_key;
use testkit::proxy::Faults;
use testkit::{Proxy, from_environment, wait_for, wait_until};

use crate::world::{DEADLINE, NETWORK, World, address, lock, managed, owner_name, quick};
use card::{BEFORE, Deck, Fate, Fault, LOCK, PART, Run, Verb};
use process::Process;

/// Runs in `make test`: half a minute. `make test-long` asks for twenty rounds.
const RUNS: usize = 6;
/// Runs on one chain. anvil was seen to lose the code of contracts in a reorganisation of depth 60 on a chain of 1,300 blocks, after
/// twelve runs: transactions of blocks that moved then succeeded and did nothing.
const RUNS_OF_A_CHAIN: usize = 6;
/// From the intake to the final answer, with everything that goes wrong in between on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// anvil calls a block final two epochs of 32 slots later.
const BLOCKS_TO_FINAL: u64 = 66;
/// Between blocks that a run makes: a look of the service.
const BLOCK_EVERY: Duration = Duration::from_millis(100);
/// Blocks in which endpoints misbehave at most: several replacements.
const BAD_BLOCKS: u32 = 25;
/// METIS that a registered owner has.
const FUNDS: u64 = 200_000;
/// How long the stopped leader is stopped; its lease lives for a second. `LIFECYCLE_STOP_SECS` in the long tier.
const STOP_SECS: u64 = 3;

/// A world with two endpoints in front of its chain, and the service as a process.
struct Range {
    // First, so that they end, and their last words can be read, before the world goes.
    service: Option<Process>,
    /// Another replica on the same tables.
    second: Option<Process>,
    world: World,
    pools: [Proxy; 2],
    tables: DatabaseConnection,
    /// When a block was made last by [`Range::mine_slowly`].
    mined: Mutex<Option<Instant>>,
}

/// The sequencer of a run.
struct Subject {
    id: String,
    owner: Address,
    /// What it has earned and not taken.
    reward: Metis,
    /// Transactions of the owner before.
    sent: u64,
}

/// What the chain shows of an operation.
#[derive(Debug, PartialEq, Eq)]
enum Effect {
    None,
    Once,
    Other(Metis),
}

impl Range {
    async fn set() -> Self {
        let world = World::without_service(Variant::Main).await;
        let pools =
            [Proxy::start(world.anvil.url()).await.unwrap(), Proxy::start(world.anvil.url()).await.unwrap()];
        let tables = world.db.admin().await;
        Self { world, pools, service: None, second: None, tables, mined: Mutex::default() }
    }

    fn endpoints(&self) -> Vec<String> {
        self.pools.iter().map(Proxy::url).collect()
    }

    /// Starts the service, or starts it anew.
    async fn serve(&mut self, config: &Config) {
        if let Some(old) = self.service.take() {
            drop(old);
            self.bury().await;
        }
        let service = Process::start(&self.world, "first", &self.endpoints(), config).await;
        self.world.look_at(service.address);
        self.service = Some(service);
        self.until_it_answers().await;
    }

    async fn until_it_answers(&self) {
        wait_until("it answers", DEADLINE, || async {
            let request = ListSequencersRequest { network: NETWORK.to_owned(), ..Default::default() };
            self.world.client.clone().list_sequencers(request).await.is_ok()
        })
        .await;
    }

    /// The dead do not come back: nobody needs to wait until their leases expire.
    async fn bury(&self) {
        self.run_sql("UPDATE lifecycle.lease SET expires_at = '-infinity'").await;
    }

    async fn run_sql(&self, sql: &str) {
        self.tables.execute_unprepared(sql).await.expect("it runs");
    }

    async fn number(&self, sql: &str) -> i64 {
        let statement = Statement::from_string(sea_orm::DbBackend::Postgres, sql);
        let row = self.tables.query_one_raw(statement).await.expect("it runs").expect("a row");
        row.try_get_by_index(0).expect("a number")
    }

    async fn mine(&self, blocks: u64) {
        self.world.l1.link.mine(blocks).await.expect("blocks");
    }

    /// A block, if the last one is a while ago: looks are quicker than any chain.
    async fn mine_slowly(&self) -> bool {
        let due = {
            let mut last = self.mined.lock().unwrap();
            let due = last.is_none_or(|last| last.elapsed() >= BLOCK_EVERY);
            if due {
                *last = Some(Instant::now());
            }
            due
        };
        if due {
            self.mine(1).await;
        }
        due
    }

    async fn automine(&self, yes: bool) {
        let _: Value = self.world.l1.link.rpc("evm_setAutomine", json!([yes])).await.expect("anvil listens");
    }

    async fn sent_by(&self, account: Address) -> u64 {
        let link = &self.world.l1.link;
        let count: U256 = link.rpc("eth_getTransactionCount", json!([account, "latest"])).await.unwrap();
        count.to()
    }

    fn asked(&self) -> u64 {
        self.pools.iter().map(|pool| pool.counts().http).sum()
    }

    fn set_faults(&self, faults: [Faults; 2]) {
        for (pool, faults) in self.pools.iter().zip(faults) {
            pool.set(faults);
        }
    }

    /// A new sequencer on which this may be asked for.
    async fn subject(&mut self, number: usize, verb: Verb) -> Subject {
        let name = format!("s{number}");
        let sequencer = self.world.whitelisted(&name).await;
        let owner = address(&owner_name(&name));
        if verb != Verb::Lock {
            let l1 = &self.world.l1;
            l1.lock(owner, &node_key(&name), owner, Metis::whole(BEFORE)).await.expect("it locks");
            self.world.until_phase(&sequencer.id, Phase::Locked).await;
            // Nothing may leave in the batch of its lock (P 1.10).
            l1.submit_batch(&[(address(&name), 1)]).await.expect("it is taken");
        }
        let (_, reward) = self.holds(owner).await;
        Subject { id: sequencer.id, owner, reward, sent: self.sent_by(owner).await }
    }

    /// Takes in the operation, as often as it must be asked for.
    async fn ask(&self, subject: &Subject, verb: Verb) -> String {
        let request = managed(&subject.id, verb.parameters());
        let last = Mutex::new(String::new());
        let asked = tokio::time::timeout(
            ANSWER_MAX,
            wait_for("it is taken in", 2 * ANSWER_MAX, || async {
                let answer = self.world.client.clone().create_operation(request.clone()).await;
                match answer {
                    Ok(answer) => answer.into_inner().operation.map(|operation| operation.id),
                    Err(status) => {
                        *last.lock().unwrap() = status.to_string();
                        None
                    }
                }
            }),
        )
        .await;
        assert!(asked.is_ok(), "it was never taken in: {}", last.lock().unwrap());
        asked.unwrap()
    }

    /// The operation as it is now; none while nobody answers.
    async fn operation(&self, id: &str) -> Option<Operation> {
        let request = GetOperationRequest { id: id.to_owned() };
        self.world.client.clone().get_operation(request).await.ok()?.into_inner().operation
    }

    async fn has_ended(&self, id: &str) -> bool {
        self.operation(id).await.is_some_and(|operation| is_final(&operation))
    }

    /// Makes blocks until this is so, at most so many.
    async fn blocks_until<F: Future<Output = bool>>(&self, most: u32, mut so: impl FnMut() -> F) {
        let left = Mutex::new(most);
        wait_until("it is so, or enough", ANSWER_MAX, || {
            let now = so();
            async {
                if now.await {
                    return true;
                }
                let mined = u32::from(self.mine_slowly().await);
                let mut left = left.lock().unwrap();
                *left = left.saturating_sub(mined);
                *left == 0
            }
        })
        .await;
    }

    /// Waits for a transaction of the operation that is in the pools and in no block.
    async fn until_sent(&self, id: &str) -> Option<String> {
        wait_for("it is sent, or over", ANSWER_MAX, || async {
            let operation = self.operation(id).await?;
            let sent = operation.transactions.iter().find(|one| one.state == "BROADCAST");
            match sent {
                Some(one) => Some(Some(one.hash.clone())),
                None => is_final(&operation).then_some(None),
            }
        })
        .await
    }

    /// The operation once it has ended, its blocks are final, and it still says the same.
    async fn until_final(&self, id: &str) -> Operation {
        let (last, last_steps) = (Mutex::new(None), Mutex::new(None));
        let ended = tokio::time::timeout(
            ANSWER_MAX,
            wait_for("the answer", 2 * ANSWER_MAX, || async {
                self.mine_slowly().await;
                let operation = self.operation(id).await?;
                *last.lock().unwrap() = Some(operation.clone());
                if !is_final(&operation) {
                    return None;
                }
                let open = format!(
                    "SELECT count(*) FROM lifecycle.transaction WHERE operation = '{id}' AND nonce IS NOT NULL \
                     AND NOT finalized"
                );
                if self.number(&open).await == 0 {
                    return Some(operation);
                }
                // Once for each time that it has ended: a reorganisation may bring it back.
                let steps = operation.steps.len();
                let is_new = last_steps.lock().unwrap().replace(steps) != Some(steps);
                if is_new {
                    self.mine(BLOCKS_TO_FINAL).await;
                }
                None
            }),
        )
        .await;
        assert!(ended.is_ok(), "no final answer: {:#?}", last.lock().unwrap());
        ended.unwrap()
    }

    /// The record of this owner's sequencer.
    async fn record(&self, owner: Address) -> Option<SequencerRecord> {
        let l1 = &self.world.l1;
        let id = l1.sequencer_of(owner).await.expect("the chain answers")?;
        l1.record(id).await.expect("the chain answers")
    }

    /// What is locked of an owner, and the reward.
    async fn holds(&self, owner: Address) -> (Metis, Metis) {
        let record = self.record(owner).await;
        record.map_or((Metis::ZERO, Metis::ZERO), |record| (record.amount, record.reward))
    }

    /// What the chain has of it.
    async fn effect(&self, subject: &Subject, verb: Verb) -> Effect {
        let (amount, reward) = self.holds(subject.owner).await;
        let locked = Metis::whole(BEFORE);
        let (now, before, after) = match verb {
            Verb::Lock => (amount, Metis::ZERO, Metis::whole(LOCK)),
            Verb::Increase => (amount, locked, Metis::whole(BEFORE + PART)),
            Verb::Withdraw => (amount, locked, Metis::whole(BEFORE - PART)),
            Verb::Compound => (amount, locked, locked.checked_add(subject.reward).expect("a sum")),
            Verb::Claim => (reward, subject.reward, Metis::ZERO),
            Verb::Unlock => {
                let record = self.record(subject.owner).await;
                let left = record.is_some_and(|record| record.deactivation_time.0 > 0);
                return if left { Effect::Once } else { Effect::None };
            }
        };
        if matches!(verb, Verb::Lock | Verb::Increase) {
            let left = self.world.l1.metis_of(subject.owner).await.expect("the chain answers");
            assert_eq!(left.0 + amount.0, Metis::whole(FUNDS).0, "METIS are with the owner or locked");
        }
        match now {
            now if now == after => Effect::Once,
            now if now == before => Effect::None,
            other => Effect::Other(other),
        }
    }

    /// The invariant of every run.
    async fn is_as_told(&self, subject: &Subject, verb: Verb, told: &Operation) {
        let effect = self.effect(subject, verb).await;
        let expected = if told.state() == OperationState::Confirmed { Effect::Once } else { Effect::None };
        assert_eq!(effect, expected, "it says {}: {}", told.state().as_str_name(), told.reason);
        let taken = format!(
            "SELECT count(DISTINCT nonce) FROM lifecycle.transaction WHERE account = decode('{}', 'hex')",
            hex::encode(subject.owner)
        );
        let taken = self.number(&taken).await;
        let spent = self.sent_by(subject.owner).await - subject.sent;
        assert_eq!(i64::try_from(spent).unwrap(), taken, "every nonce that was taken is spent, and no other");
        let calls = told.transactions.iter().filter(|one| one.step == own_step(verb));
        let done = calls.filter(|one| one.state == "CONFIRMED" && one.mined_form == "CALL").count();
        assert_eq!(done, usize::from(effect == Effect::Once), "{:#?}", told.transactions);
    }

    async fn play(&mut self, number: usize, run: &Run) {
        let subject = self.subject(number, run.verb).await;
        if matches!(run.fault, Fault::Reorg { .. } | Fault::Foreign { .. }) {
            // What was before is deeper than what is taken back.
            self.mine(BLOCKS_TO_FINAL).await;
        }
        self.before(&run.fault).await;
        self.automine(run.automine).await;
        let id = self.ask(&subject, run.verb).await;
        self.strike(run, &id, &subject).await;
        self.set_faults([Faults::default(), Faults::default()]);
        let told = self.until_final(&id).await;
        self.automine(true).await;
        self.is_as_told(&subject, run.verb, &told).await;
        if matches!(run.fault, Fault::Foreign { comes_back: false }) {
            assert_eq!(told.reason_code, "NONCE_FOREIGN", "{}", told.reason);
        }
    }

    /// What is wrong before the operation is asked for.
    async fn before(&mut self, fault: &Fault) {
        match fault {
            Fault::DiesAt(point) => self.serve(&failing_at(*point)).await,
            Fault::Foreign { .. } => self.serve(&failing_at(Point::AfterStoreBeforeBroadcast)).await,
            Fault::Sends(faults) => self.set_faults(faults.clone()),
            Fault::Reads(first) => {
                self.set_faults([first.clone(), Faults::default()]);
                // It finds them so from the beginning.
                self.serve(&quick()).await;
            }
            Fault::Silence(both) => self.set_faults([both.clone(), both.clone()]),
            Fault::TwoReplicas(_) => {
                let second = Process::start(&self.world, "second", &self.endpoints(), &quick()).await;
                self.second = Some(second);
            }
            Fault::KilledAfter(_)
            | Fault::PoolsDrop(_)
            | Fault::Reorg { .. }
            | Fault::DatabaseAway(_)
            | Fault::Cancelled => {}
        }
    }

    /// What goes wrong afterwards. It is over when this returns.
    async fn strike(&mut self, run: &Run, id: &str, subject: &Subject) {
        match run.fault {
            Fault::DiesAt(_) => {
                self.until_dead().await;
                self.serve(&quick()).await;
            }
            Fault::Foreign { comes_back } => self.foreign(id, subject, comes_back).await,
            Fault::KilledAfter(requests) | Fault::TwoReplicas(requests) => {
                self.until_asked(id, requests).await;
                self.service.take().expect("it runs").seqd.kill();
                match self.second.take() {
                    // It waits until the leases of the dead one have expired.
                    Some(second) => {
                        self.world.look_at(second.address);
                        self.service = Some(second);
                    }
                    None => {
                        self.bury().await;
                        self.serve(&quick()).await;
                    }
                }
            }
            Fault::Sends(_) | Fault::Reads(_) | Fault::Silence(_) => {
                self.blocks_until(BAD_BLOCKS, || self.has_ended(id)).await;
            }
            Fault::PoolsDrop(times) => {
                for _ in 0..times {
                    self.until_sent(id).await;
                    let link = &self.world.l1.link;
                    let _: Value = link.rpc("anvil_dropAllTransactions", json!([])).await.unwrap();
                    self.mine(1).await;
                }
            }
            Fault::Reorg { depth, on_top, fate } => {
                self.reorganise(id, own_step(run.verb), depth, on_top, fate).await;
            }
            Fault::DatabaseAway(requests) => {
                self.until_asked(id, requests).await;
                self.database_goes_away().await;
            }
            Fault::Cancelled => {
                if self.until_sent(id).await.is_some() {
                    let request = CancelOperationRequest { id: id.to_owned(), reason: "a test".to_owned() };
                    // It may be mined meanwhile, and then it says so.
                    let _ = self.world.client.cancel_operation(request).await;
                }
            }
        }
    }

    /// Until the failpoint has ended the process: all that is asked for meets it.
    async fn until_dead(&mut self) {
        let service = Mutex::new(self.service.take().expect("it runs"));
        self.blocks_until(u32::MAX, || async { service.lock().unwrap().has_aborted() }).await;
        self.service = service.into_inner().ok();
    }

    /// Until the endpoints were asked so often since, or it is over.
    async fn until_asked(&self, id: &str, requests: u64) {
        let last = self.asked() + requests;
        self.blocks_until(u32::MAX, || async { self.asked() >= last || self.has_ended(id).await }).await;
    }

    async fn foreign(&mut self, id: &str, subject: &Subject, comes_back: bool) {
        self.until_dead().await;
        // The owner's wallet sends something else with the same nonce.
        self.world.l1.approve(subject.owner, Metis::whole(1)).await.expect("it approves");
        let taken = self.world.l1.link.head().await.expect("a head").number;
        self.serve(&quick()).await;
        if !comes_back {
            return;
        }
        wait_until("it says that the nonce is foreign", ANSWER_MAX, || async {
            self.mine_slowly().await;
            self.operation(id).await.is_some_and(|operation| operation.reason_code == "NONCE_FOREIGN")
        })
        .await;
        let head = self.world.l1.link.head().await.expect("a head").number;
        self.world.l1.link.reorg(head + 1 - taken, &[]).await.expect("anvil reorganises");
    }

    async fn reorganise(&self, id: &str, step: &str, depth: u64, on_top: u64, fate: Fate) {
        let mined = wait_for("it is in a block, or over", ANSWER_MAX, || async {
            self.mine_slowly().await;
            let operation = self.operation(id).await?;
            let mut newest_first = operation.transactions.iter().rev();
            match newest_first.find(|one| one.mined_form == "CALL" && one.step == step) {
                Some(one) => Some(one.block.as_ref().map(|block| block.number)),
                None => is_final(&operation).then_some(None),
            }
        })
        .await;
        let Some(mined) = mined else { return };
        let link = &self.world.l1.link;
        let head = link.head().await.expect("a head").number;
        self.mine((mined + on_top).saturating_sub(head)).await;
        let head = link.head().await.expect("a head").number;
        // It may be deeper by now than was drawn.
        let depth = depth.max(head + 1 - mined).min(card::DEPTH_MAX);
        let moved = if fate == Fate::Move { self.moved(id, head - depth, depth).await } else { Vec::new() };
        link.reorg(depth, &moved).await.expect("anvil reorganises");
        if fate == Fate::Revert {
            self.world.l1.set_pause(true).await.expect("it pauses");
            self.blocks_until(BAD_BLOCKS, || self.has_ended(id)).await;
            self.world.l1.set_pause(false).await.expect("it goes on");
        }
    }

    /// The signed bytes of what is in blocks above this one, each with another place.
    async fn moved(&self, id: &str, above: u64, depth: u64) -> Vec<(Bytes, u64)> {
        let sql = format!(
            "SELECT a.raw FROM lifecycle.transaction t JOIN lifecycle.attempt a ON a.transaction = t.id \
             AND a.hash = t.hash WHERE t.operation = '{id}' AND t.receipt_block > {above} ORDER BY t.nonce"
        );
        let statement = Statement::from_string(sea_orm::DbBackend::Postgres, sql);
        let rows = self.tables.query_all_raw(statement).await.expect("it runs");
        let raw = rows.iter().map(|row| row.try_get_by_index::<Vec<u8>>(0).expect("bytes").into());
        raw.zip(0..depth).map(|(raw, place)| (raw, place.min(depth - 1))).collect()
    }

    /// As a restart of Postgres looks from outside: all connections end, and none is taken for a while.
    async fn database_goes_away(&self) {
        let name = self.world.db.name();
        self.run_sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT 0")).await;
        self.run_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
             AND usename = 'seq_lifecycle'",
        )
        .await;
        self.blocks_until(BAD_BLOCKS, || async { false }).await;
        self.run_sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT -1")).await;
    }
}

fn failing_at(point: Point) -> Config {
    Config { failpoints: BTreeMap::from([(point, Action::Abort)]), ..quick() }
}

fn is_final(operation: &Operation) -> bool {
    matches!(
        operation.state(),
        OperationState::Confirmed
            | OperationState::Failed
            | OperationState::Cancelled
            | OperationState::Expired
    )
}

/// Name of the step that has the effect.
fn own_step(verb: Verb) -> &'static str {
    match verb {
        Verb::Lock => "lock",
        Verb::Increase | Verb::Compound => "increase",
        Verb::Withdraw => "withdraw",
        Verb::Unlock => "unlock",
        Verb::Claim => "claim",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_there_is_one_effect_or_none_and_the_answer_says_which() {
    let runs = from_environment("LIFECYCLE_FAULTS", RUNS);
    let seed = from_environment("LIFECYCLE_FAULTS_SEED", 1);
    let first = from_environment("LIFECYCLE_FAULTS_FROM", 0);
    let (mut rng, mut deck) = (StdRng::seed_from_u64(seed), Deck::default());
    let drawn: Vec<Run> = (0..first + runs).map(|_| deck.draw(&mut rng)).collect();
    let numbered: Vec<(usize, &Run)> = drawn.iter().enumerate().skip(first).collect();
    for some in numbered.chunks(RUNS_OF_A_CHAIN) {
        let mut range = Range::set().await;
        range.serve(&quick()).await;
        for (number, run) in some {
            println!("run {number} of seed {seed}: {run:?}");
            let begun = Instant::now();
            range.play(*number, run).await;
            println!("run {number} took {:.1?}", begun.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_pool_refuses_and_another_takes_is_sent_once() {
    let mut range = Range::set().await;
    range.serve(&quick()).await;
    for (number, answer) in card::SAID.into_iter().enumerate().take(2) {
        let subject = range.subject(number, Verb::Withdraw).await;
        range.set_faults([card::saying(answer), Faults::default()]);
        let before = range.number("SELECT count(*) FROM lifecycle.attempt").await;
        let id = range.ask(&subject, Verb::Withdraw).await;
        let told = range.until_final(&id).await;
        assert_eq!(told.state(), OperationState::Confirmed, "{answer:?}: {}", told.reason);
        let signed = range.number("SELECT count(*) FROM lifecycle.attempt").await - before;
        assert_eq!(signed, 1, "{answer:?}: it was in a pool, so nothing was to be replaced");
        range.set_faults([Faults::default(), Faults::default()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_and_is_continued_does_nothing() {
    let secs = from_environment("LIFECYCLE_STOP_SECS", STOP_SECS);
    let mut range = Range::set().await;
    // The first replica has an endpoint of its own, which counts what it sends.
    let own = Proxy::start(range.world.anvil.url()).await.unwrap();
    let first = Process::start(&range.world, "stopped", &[own.url()], &quick()).await;
    range.world.look_at(first.address);
    range.until_it_answers().await;
    let sequencer = range.world.whitelisted("alpha").await;
    range.automine(false).await;
    let operation = range.world.ask(&sequencer.id, lock(LOCK)).await;
    // In the middle of a send: its nonce is taken.
    wait_until("it has begun", DEADLINE, || async {
        range.number("SELECT count(*) FROM lifecycle.transaction WHERE nonce IS NOT NULL").await > 0
    })
    .await;
    first.seqd.signal(Signal::SIGSTOP);
    // What the kernel has of it already still arrives.
    range.mine(1).await;
    let sent = || own.counts().by_method.get("eth_sendRawTransaction").copied().unwrap_or_default();
    let before = sent();
    let stopped = Instant::now();
    range.serve(&quick()).await;
    range.automine(true).await;
    let told = range.until_final(&operation.id).await;
    assert_eq!(told.state(), OperationState::Confirmed, "{}", told.reason);
    wait_until("it was stopped for long", DEADLINE * 2, || async {
        stopped.elapsed() >= Duration::from_secs(secs)
    })
    .await;
    let tables = "SELECT (SELECT count(*) FROM lifecycle.operation_step) + (SELECT count(*) FROM lifecycle.attempt) \
                  + (SELECT count(*) FROM lifecycle.transaction)";
    let written = range.number(tables).await;
    let asked = own.counts().http;
    first.seqd.signal(Signal::SIGCONT);
    wait_until("it lives again", DEADLINE, || async {
        let said = first.seqd.said();
        own.counts().http > asked || said.contains("lost") || said.contains("no longer held")
    })
    .await;
    range.mine(4).await;
    let again = range.until_final(&operation.id).await;
    assert_eq!(again.transactions, told.transactions);
    assert_eq!((sent(), range.number(tables).await), (before, written), "it sent nothing and wrote nothing");
    let owner = address(&owner_name("alpha"));
    assert_eq!(range.world.l1.metis_of(owner).await.unwrap(), Metis::whole(FUNDS - LOCK), "locked once");
    assert_eq!(range.sent_by(owner).await, 2, "an approval and a lock");
}
