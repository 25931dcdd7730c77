//! Operations under fire: processes that are killed at every durable step, endpoints that lie, pools that forget,
//! reorganisations, wallets that interfere. In every run there is exactly the effect on chain that was asked for or none,
//! no nonce is left open, ETH has left for gas and once for the bridge, and the final answer says which. A run whose fault
//! met nothing fails: each says what shows that it struck.
//!
//! | family | faults | in `make test` |
//! |---|---|---|
//! | crashes | at each step of a send, a replacement, a cancel, a filled nonce, a new quote, an intake; SIGKILL anywhere | a claim dies after its recipient; a cancel dies when it is signed |
//! | rivals for the lane | a leader stopped at each step and continued, a second replica | `stopped.rs`, both steps between decision and effect |
//! | endpoints | errors of sends, 429, lag, another chain or fork, silence, ten seconds; either of them | `what_one_pool_refuses_and_another_takes_is_sent_once` |
//! | pools | what they have is lost; only one has it and dies | a rotation of which one endpoint keeps the bytes back |
//! | blocks | reorganisations of 1 to 64, the transaction gone, elsewhere, or reverting | an unlock that reverts on the new chain |
//! | Postgres | connections end; stopped fast or at once, and started | an increase while it is stopped at once |
//! | rivals for the nonce | a foreign spend, which may go again; a wallet that replaces, a wallet's block that goes | a wallet that cancels a withdrawal |
//!
//! `LIFECYCLE_FAULTS=1260` plays so many runs, each kind as often as any other, `LIFECYCLE_FAULTS_SEED` others,
//! `LIFECYCLE_FAULTS_FROM` begins later: the runs before are drawn and not played. Without it the sample of the table is
//! played.

mod card;
mod process;
mod purse;
mod stopped;
mod strike;
mod subject;
mod workflows;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, U256};
use api::lifecycle::v1::*;
use domain::network::Variant;
use lifecycle::{Action, Config, Point};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::{Value, json};
use testkit::postgres::Options;
use testkit::proxy::Faults;
use testkit::{Cluster, Proxy, TestDb, from_environment, wait_for, wait_until};

use crate::world::{DEADLINE, NETWORK, World, quick};
use card::{Deck, Fault, Run, Verb};
use process::Process;
use subject::Subject;

/// Runs on one chain. anvil was seen to lose the code of contracts in a reorganisation of depth 60 on a chain of 1,300 blocks, after
/// twelve runs: transactions of blocks that moved then succeeded and did nothing.
const RUNS_OF_A_CHAIN: usize = 6;
/// From the intake to the final answer, with everything that goes wrong in between on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// anvil calls a block final two epochs of 32 slots later.
const BLOCKS_TO_FINAL: u64 = 66;
/// Between blocks that a run makes: a look of the service.
const BLOCK_EVERY: Duration = Duration::from_millis(100);

/// A world with two endpoints in front of its chain, and the service as a process.
struct Range {
    // First, so that they end, and their last words can be read, before the world goes.
    service: Option<Process>,
    /// Another replica on the same tables.
    second: Option<Process>,
    world: World,
    pools: [Proxy; 2],
    tables: DatabaseConnection,
    /// A database server of its own, where it is to be stopped.
    cluster: Option<Cluster>,
    /// When a block was made last by [`Range::mine_slowly`].
    mined: Mutex<Option<Instant>>,
}

impl Range {
    /// With a database server of its own, if that is to be stopped.
    async fn set(stops_postgres: bool) -> Self {
        let cluster = if stops_postgres {
            // Durable: what is committed must survive that it is stopped at once.
            let options = Options { dir: None, durable: true };
            Some(Cluster::start(options).await.expect("a server of its own"))
        } else {
            None
        };
        let db = match &cluster {
            Some(cluster) => TestDb::on(cluster).await.expect("a database of its own"),
            None => testkit::database().await,
        };
        let world = World::on(db, Variant::Main).await;
        let pools =
            [Proxy::start(world.anvil.url()).await.unwrap(), Proxy::start(world.anvil.url()).await.unwrap()];
        let tables = world.db.admin().await;
        Self { world, pools, service: None, second: None, tables, cluster, mined: Mutex::default() }
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
        self.count_at(account, "latest").await
    }

    /// Transactions of an account, those of the pool too at `pending`.
    async fn count_at(&self, account: Address, block: &str) -> u64 {
        let link = &self.world.l1.link;
        let count: U256 = link.rpc("eth_getTransactionCount", json!([account, block])).await.unwrap();
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

    /// Takes in the operation, as often as it must be asked for.
    async fn ask(&self, subject: &Subject, verb: Verb) -> String {
        self.take_in(subject.request(verb)).await
    }

    async fn take_in(&self, request: CreateOperationRequest) -> String {
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

    /// Waits until a transaction of the operation is sent; no block is made meanwhile.
    async fn until_sent(&self, id: &str) {
        wait_until("it is sent", ANSWER_MAX, || async {
            let operation = self.operation(id).await;
            operation
                .is_some_and(|operation| operation.transactions.iter().any(|one| one.state == "BROADCAST"))
        })
        .await;
    }

    /// The operation once it has ended, its blocks are final, and it still says the same.
    async fn until_final(&self, id: &str) -> Operation {
        let (last, last_seen) = (Mutex::new(None), Mutex::new(None));
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
                // Once for each time that it has ended, as a reorganisation may bring it back, and for each call that is
                // mined after the end.
                let mined = operation.transactions.iter().filter(|one| one.block.is_some()).count();
                let seen = (operation.steps.len(), mined);
                let is_new = last_seen.lock().unwrap().replace(seen) != Some(seen);
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

    async fn play(&mut self, number: usize, run: &Run) -> String {
        match run.fault {
            Fault::StopsAt(point) => self.play_stopped(number, run, point, stopped::STOP_SECS).await,
            Fault::Wallet(what) => self.play_wallet(number, run, what).await,
            _ => self.play_managed(number, run).await,
        }
    }

    async fn play_managed(&mut self, number: usize, run: &Run) -> String {
        let mut subject = self.subject(number, run.verb).await;
        if matches!(run.fault, Fault::Reorg { .. } | Fault::Foreign { .. }) {
            // What was before is deeper than what is taken back.
            self.mine(BLOCKS_TO_FINAL).await;
        }
        self.pools.iter().for_each(Proxy::reset_counts);
        self.before(&run.fault, &subject).await;
        self.automine(run.automine).await;
        let id = match run.fault {
            Fault::IntakeDies(point) => self.ask_again(&subject, run.verb, point).await,
            _ => self.ask(&subject, run.verb).await,
        };
        let struck = self.strike(run, &id, &mut subject).await;
        self.set_faults([Faults::default(), Faults::default()]);
        let told = self.until_final(&id).await;
        self.automine(true).await;
        self.is_as_told(&subject, run.verb, &told).await;
        Self::shows(run, &told);
        struck
    }

    /// Whoever got no answer asks again; it is taken in once.
    async fn ask_again(&mut self, subject: &Subject, verb: Verb, point: Point) -> String {
        let request = subject.request(verb);
        let answer = self.world.client.create_operation(request.clone()).await;
        answer.expect_err("it dies before it answers");
        self.until_dead_in_place(point).await;
        let of_it = format!("SELECT count(*) FROM lifecycle.operation WHERE sequencer = '{}'", subject.id);
        assert_eq!(
            self.number(&of_it).await,
            i64::from(point == Point::AfterIntake),
            "only what is committed"
        );
        self.serve(&quick()).await;
        let id = self.take_in(request).await;
        assert_eq!(self.number(&of_it).await, 1, "it is asked for once");
        id
    }

    /// Until this failpoint has ended the process: all that is asked for meets it.
    async fn until_dead(&mut self, point: Point) {
        let service = Mutex::new(self.service.take().expect("it runs"));
        self.blocks_until(u32::MAX, || async { service.lock().unwrap().has_aborted_at(point) }).await;
        self.service = service.into_inner().ok();
    }

    /// The same while no block is made.
    async fn until_dead_in_place(&mut self, point: Point) {
        let service = Mutex::new(self.service.take().expect("it runs"));
        wait_until("it has died", ANSWER_MAX, || async { service.lock().unwrap().has_aborted_at(point) })
            .await;
        self.service = service.into_inner().ok();
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

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_there_is_one_effect_or_none_and_the_answer_says_which() {
    let runs = from_environment("LIFECYCLE_FAULTS", 0);
    let seed = from_environment("LIFECYCLE_FAULTS_SEED", 1);
    let first = from_environment("LIFECYCLE_FAULTS_FROM", 0);
    let (mut rng, mut deck) = (StdRng::seed_from_u64(seed), Deck::default());
    let drawn: Vec<Run> = match runs {
        0 => Deck::sample(&mut rng),
        _ => (0..first + runs).map(|_| deck.draw(&mut rng)).collect(),
    };
    let numbered: Vec<(usize, &Run)> = drawn.iter().enumerate().skip(first).collect();
    for some in numbered.chunks(RUNS_OF_A_CHAIN) {
        let stops = some.iter().any(|(_, run)| matches!(run.fault, Fault::DatabaseRestarts { .. }));
        let mut range = Range::set(stops).await;
        range.serve(&quick()).await;
        for (number, run) in some {
            println!("run {number} of seed {seed}: {run:?}");
            let begun = Instant::now();
            let struck = range.play(*number, run).await;
            println!("run {number} took {:.1?}: {struck}", begun.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_pool_refuses_and_another_takes_is_sent_once() {
    let mut range = Range::set(false).await;
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
