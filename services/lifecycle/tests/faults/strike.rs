//! How each fault strikes, and what shows that it did: a run whose fault met nothing fails.

use std::time::{Duration, Instant};

use alloy_primitives::{B256, Bytes};
use api::lifecycle::v1::*;
use lifecycle::Point;
use nix::sys::signal::Signal;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use testkit::postgres::Halt;
use testkit::proxy::{Chance, Faults, Stall};
use testkit::{wait_for, wait_until};

use super::card::{DEPTH_MAX, Fate, Fault, Run, Unused, Verb};
use super::process::Process;
use super::subject::{Effect, Subject};
use super::{ANSWER_MAX, BLOCKS_TO_FINAL, Range, failing_at};
use crate::world::quick;

/// Blocks in which endpoints misbehave at most: several replacements.
const BAD_BLOCKS: u32 = 25;
/// Blocks without an answer of a pool that has lost everything until it is asked again: replacements come after three.
const FORGETS_BLOCKS: u64 = 4;
/// How long requests are waited for when the call is in a block already: there may be none to come.
const NO_MORE: Duration = Duration::from_millis(500);
/// What the slow endpoint takes for an answer.
const SLOW: Duration = Duration::from_secs(10);
/// Blocks of rewards that make the bridge want ETH.
const REWARDED_BLOCKS: u64 = 1_000;

/// The points of a run at which its process dies, in their order.
fn dies_at(fault: &Fault) -> Option<Point> {
    match *fault {
        Fault::DiesAt(point)
        | Fault::ReplaceDies(point)
        | Fault::CancelDies(point)
        | Fault::IntakeDies(point) => Some(point),
        Fault::FillDies(_) => Some(Point::BeforeFill),
        Fault::Foreign { .. } | Fault::RequoteDies(_) => Some(Point::AfterStoreBeforeBroadcast),
        _ => None,
    }
}

impl Range {
    /// What is wrong before the operation is asked for.
    pub async fn before(&mut self, fault: &Fault, subject: &Subject) {
        if let Some(point) = dies_at(fault) {
            self.serve(&failing_at(point)).await;
        }
        match fault {
            Fault::Sends(faults) => self.set_faults(faults.clone()),
            Fault::Reads { endpoint, faults } => self.spoil(*endpoint, faults.clone()).await,
            Fault::Slow { endpoint } => {
                let stall = Some(Stall { chance: Chance::ALWAYS, duration: SLOW });
                self.spoil(*endpoint, Faults { stall, ..Faults::default() }).await;
            }
            Fault::Silence(both) => self.set_faults([both.clone(), both.clone()]),
            Fault::PoolDies { endpoint } => {
                self.pools[1 - endpoint].set(Faults { swallow: true, ..Faults::default() });
            }
            Fault::TwoReplicas(_) => {
                let second = Process::start(&self.world, "second", &self.endpoints(), &quick()).await;
                self.second = Some(second);
            }
            Fault::FillDies(Unused::Taken) => {
                // Keys has signed something else for this nonce: ours is refused.
                self.world.keys.reserve(self.world.l1.chain_id, subject.sender, subject.sent);
            }
            Fault::FillDies(Unused::Below) => self.skip_a_nonce(subject).await,
            _ => {}
        }
    }

    /// The service finds this endpoint so from the beginning.
    async fn spoil(&mut self, endpoint: usize, faults: Faults) {
        self.pools[endpoint].set(faults);
        self.serve(&quick()).await;
    }

    /// As after a reorganisation that took a transaction of somebody else out for ever.
    async fn skip_a_nonce(&self, subject: &Subject) {
        let (chain_id, next) = (self.world.l1.chain_id, subject.sent + 1);
        let account = hex::encode(subject.sender);
        self.run_sql(&format!(
            "INSERT INTO lifecycle.lane (chain_id, account, next_nonce) \
             VALUES ({chain_id}, decode('{account}', 'hex'), {next})"
        ))
        .await;
    }

    /// What goes wrong afterwards. It is over when this returns, and it did go wrong: the answer says what shows that.
    pub async fn strike(&mut self, run: &Run, id: &str, subject: &mut Subject) -> String {
        let (verb, tallied) = (run.verb, self.tallied());
        match run.fault {
            Fault::DiesAt(point) => {
                self.until_dead(point).await;
                self.serve(&quick()).await;
            }
            Fault::IntakeDies(_) => {}
            Fault::ReplaceDies(point) => self.replacement_dies(id, point).await,
            Fault::CancelDies(point) => self.cancel_dies(id, point).await,
            Fault::FillDies(_) => {
                self.until_dead(Point::BeforeFill).await;
                self.serve(&quick()).await;
            }
            Fault::RequoteDies(point) => self.requote_dies(id, subject, point).await,
            Fault::Foreign { comes_back } => self.foreign(id, subject, comes_back).await,
            Fault::KilledAfter(requests) | Fault::TwoReplicas(requests) => {
                self.until_asked(subject, verb, requests).await;
                self.kill(id).await;
            }
            Fault::Sends(_) | Fault::Reads { .. } | Fault::Silence(_) | Fault::Slow { .. } => {
                self.blocks_until(BAD_BLOCKS, || self.has_ended(id)).await;
                let times = self.tallied() - tallied;
                assert!(times > 0 || matches!(run.fault, Fault::Slow { .. }), "no answer was spoilt");
                return format!("{times} answers were spoilt");
            }
            Fault::PoolsDrop(times) => return self.pools_drop(id, subject, times).await,
            Fault::PoolDies { endpoint } => return self.pool_dies(id, subject, endpoint).await,
            Fault::Reorg { depth, on_top, fate } => {
                return self.reorganise(id, verb, depth, on_top, fate).await;
            }
            Fault::DatabaseAway(requests) => {
                self.until_asked(subject, verb, requests).await;
                assert!(self.is_open(id).await, "it was over before");
                return self.database_goes_away().await;
            }
            Fault::DatabaseRestarts { requests, how } => {
                self.until_asked(subject, verb, requests).await;
                assert!(self.is_open(id).await, "it was over before");
                return self.database_restarts(how).await;
            }
            Fault::Cancelled => {
                self.until_sent(id).await;
                self.cancel(id).await.expect("what is in no block can be cancelled");
            }
            Fault::StopsAt(_) | Fault::Wallet(_) => unreachable!("played by itself"),
        }
        "the process ended where it should, or the chain and its answer say so".to_owned()
    }

    /// What only the final answer shows.
    pub fn shows(run: &Run, told: &Operation) {
        let any = |is: fn(&Transaction) -> bool| told.transactions.iter().any(is);
        match run.fault {
            Fault::Foreign { comes_back: false } => {
                assert_eq!(told.reason_code, "NONCE_FOREIGN", "{}", told.reason);
            }
            Fault::Reorg { fate: Fate::Revert, .. } => {
                assert_eq!(told.state(), OperationState::Failed, "{}", told.reason);
                assert!(any(|one| one.state == "REVERTED"), "{:#?}", told.transactions);
            }
            Fault::Cancelled | Fault::CancelDies(_) => {
                assert!(any(|one| !one.cancel_reason.is_empty()), "{:#?}", told.transactions);
            }
            Fault::FillDies(Unused::Taken) => {
                assert_eq!(told.reason_code, "NONCE_CONFLICT", "{}", told.reason);
                assert!(any(|one| one.state == "CANCELLED"), "{:#?}", told.transactions);
            }
            Fault::FillDies(Unused::Below) => {
                assert!(any(|one| one.step == "fill_nonce"), "{:#?}", told.transactions);
            }
            Fault::RequoteDies(_) => {
                let states: Vec<&str> = told.transactions.iter().map(|one| one.state.as_str()).collect();
                assert_eq!(states, ["REVERTED", "CONFIRMED"], "{}", told.reason);
            }
            _ => {}
        }
    }

    /// Answers of the endpoints that faults have touched.
    fn tallied(&self) -> u64 {
        self.pools.iter().map(|pool| pool.counts().faults.values().sum::<u64>()).sum()
    }

    async fn is_open(&self, id: &str) -> bool {
        let open = format!(
            "SELECT count(*) FROM lifecycle.operation WHERE id = '{id}' \
             AND state NOT IN ('CONFIRMED', 'FAILED', 'CANCELLED', 'EXPIRED')"
        );
        self.number(&open).await == 1
    }

    /// SIGKILL in the middle of the operation.
    pub async fn kill_only(&mut self, id: &str) {
        self.service.take().expect("it runs").kill();
        assert!(self.is_open(id).await, "it was over before it was killed");
    }

    /// SIGKILL, and the next process.
    async fn kill(&mut self, id: &str) {
        self.kill_only(id).await;
        match self.second.take() {
            // It finds by itself that the holder of the leases is gone.
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

    /// Until the endpoints were asked so often since. Once its call is in a block no others are made: it cannot end.
    async fn until_asked(&self, subject: &Subject, verb: Verb, requests: u64) {
        let last = self.asked() + requests;
        let done = std::sync::Mutex::new(None::<Instant>);
        wait_until("it has asked so often", ANSWER_MAX, || async {
            if self.asked() >= last {
                return true;
            }
            if self.effect(subject, verb).await == Effect::None {
                self.mine_slowly().await;
                return false;
            }
            done.lock().unwrap().get_or_insert_with(Instant::now).elapsed() >= NO_MORE
        })
        .await;
    }

    pub async fn cancel(&mut self, id: &str) -> Result<(), tonic::Status> {
        let request = CancelOperationRequest { id: id.to_owned(), reason: "a test".to_owned() };
        self.world.client.cancel_operation(request).await.map(drop)
    }

    async fn replacement_dies(&mut self, id: &str, point: Point) {
        self.until_sent(id).await;
        self.hurry(id).await;
        self.until_dead_in_place(point).await;
        self.serve(&quick()).await;
    }

    pub async fn hurry(&mut self, id: &str) {
        let request = SpeedUpOperationRequest { id: id.to_owned() };
        // Who dies of it gives no answer.
        let _ = self.world.client.speed_up_operation(request).await;
    }

    async fn cancel_dies(&mut self, id: &str, point: Point) {
        self.until_sent(id).await;
        let answer = self.cancel(id).await;
        assert!(answer.is_ok() || point == Point::AfterCancelWanted, "{answer:?}");
        self.until_dead_in_place(point).await;
        self.serve(&quick()).await;
    }

    /// The price of the bridge rises between quote and inclusion; it dies in the send with the new quote.
    async fn requote_dies(&mut self, id: &str, subject: &Subject, point: Point) {
        self.until_dead_in_place(Point::AfterStoreBeforeBroadcast).await;
        self.earn(subject, REWARDED_BLOCKS).await;
        self.serve(&quick()).await;
        wait_until("the revert is told", ANSWER_MAX, || async {
            self.mine_slowly().await;
            self.operation(id).await.is_some_and(|operation| operation.reason.contains("with a new quote"))
        })
        .await;
        self.serve(&failing_at(point)).await;
        self.mine(BLOCKS_TO_FINAL).await;
        self.until_dead(point).await;
        self.serve(&quick()).await;
    }

    async fn foreign(&mut self, id: &str, subject: &mut Subject, comes_back: bool) {
        self.until_dead(Point::AfterStoreBeforeBroadcast).await;
        // A wallet with the same key sends something else with the same nonce.
        let amount = domain::amount::Metis::whole(1);
        let receipt = self.world.l1.approve(subject.sender, amount).await.expect("it approves");
        self.serve(&quick()).await;
        if !comes_back {
            subject.paid_elsewhere(&receipt, alloy_primitives::U256::ZERO);
            return;
        }
        wait_until("it says that the nonce is foreign", ANSWER_MAX, || async {
            self.mine_slowly().await;
            self.operation(id).await.is_some_and(|operation| operation.reason_code == "NONCE_FOREIGN")
        })
        .await;
        let head = self.world.l1.link.head().await.expect("a head").number;
        self.world.l1.link.reorg(head + 1 - receipt.block_number, &[]).await.expect("anvil reorganises");
    }

    async fn drop_all(&self) {
        let _: Value = self.world.l1.link.rpc("anvil_dropAllTransactions", json!([])).await.unwrap();
    }

    /// Whether the pools have a transaction of this account.
    async fn is_pooled(&self, subject: &Subject) -> bool {
        self.count_at(subject.sender, "pending").await > self.count_at(subject.sender, "latest").await
    }

    async fn pools_drop(&self, id: &str, subject: &Subject, times: u32) -> String {
        let mut dropped = 0;
        self.until_sent(id).await;
        for _ in 0..times {
            wait_until("it is in the pools, or its turn has passed", ANSWER_MAX, || async {
                self.is_pooled(subject).await || self.has_ended(id).await
            })
            .await;
            if !self.is_pooled(subject).await {
                break;
            }
            self.drop_all().await;
            assert!(!self.is_pooled(subject).await, "the pools have forgotten");
            dropped += 1;
            self.mine(FORGETS_BLOCKS).await;
        }
        assert_ne!(dropped, 0, "there was nothing to forget");
        format!("the pools have forgotten it {dropped} times")
    }

    /// Only one endpoint has it; that one is lost with its pool, and the other gets it again.
    async fn pool_dies(&self, id: &str, subject: &Subject, endpoint: usize) -> String {
        let (has, lies) = (&self.pools[endpoint], &self.pools[1 - endpoint]);
        self.until_sent(id).await;
        wait_until("one has it, and the other has kept it back", ANSWER_MAX, || async {
            self.is_pooled(subject).await && lies.counts().faults.contains_key("swallow")
        })
        .await;
        let sent = |counts: testkit::proxy::Counts| {
            counts.by_method.get("eth_sendRawTransaction").copied().unwrap_or_default()
        };
        has.set(Faults { drop: Chance::ALWAYS, ..Faults::default() });
        self.drop_all().await;
        lies.set(Faults::default());
        let before = sent(lies.counts());
        self.blocks_until(BAD_BLOCKS, || async { sent(lies.counts()) > before }).await;
        assert!(sent(lies.counts()) > before, "the other was never given it again");
        self.blocks_until(BAD_BLOCKS, || self.has_ended(id)).await;
        format!("endpoint {endpoint} was lost with its pool, and the other was given it again")
    }

    pub async fn reorganise(&self, id: &str, verb: Verb, depth: u64, on_top: u64, fate: Fate) -> String {
        let mined = wait_for("it is in a block", ANSWER_MAX, || async {
            self.mine_slowly().await;
            let operation = self.operation(id).await?;
            let made = |one: &&Transaction| one.mined_form == "CALL" && one.step == verb.own_step();
            let own = operation.transactions.iter().rev().find(made)?;
            Some(own.block.as_ref()?.number)
        })
        .await;
        let link = &self.world.l1.link;
        let head = link.head().await.expect("a head").number;
        self.mine((mined + on_top).saturating_sub(head)).await;
        let head = link.head().await.expect("a head").number;
        // It may be deeper by now than was drawn.
        let depth = depth.max(head + 1 - mined).min(DEPTH_MAX);
        let moved = if fate == Fate::Move { self.moved(id, head - depth, depth).await } else { Vec::new() };
        let before = self.block_hash(mined).await;
        let service = self.service.as_ref().expect("it runs");
        if fate == Fate::Revert {
            // It must not be sent again before the contract is paused.
            service.signal(Signal::SIGSTOP);
        }
        link.reorg(depth, &moved).await.expect("anvil reorganises");
        assert_ne!(self.block_hash(mined).await, before, "its block is another one");
        if fate == Fate::Revert {
            self.world.l1.set_pause(true).await.expect("it pauses");
            service.signal(Signal::SIGCONT);
            self.blocks_until(BAD_BLOCKS, || self.has_failed(id)).await;
            self.world.l1.set_pause(false).await.expect("it goes on");
        }
        format!("block {mined} went with {depth} blocks")
    }

    async fn has_failed(&self, id: &str) -> bool {
        let operation = self.operation(id).await;
        operation.is_some_and(|operation| operation.state() == OperationState::Failed)
    }

    async fn block_hash(&self, number: u64) -> Option<B256> {
        let place = json!([format!("{number:#x}"), false]);
        let block: Value = self.world.l1.link.rpc("eth_getBlockByNumber", place).await.unwrap();
        block["hash"].as_str().map(|hash| hash.parse().expect("a hash"))
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

    /// All connections end, and none is taken for a while.
    async fn database_goes_away(&self) -> String {
        let name = self.world.db.name();
        self.run_sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT 0")).await;
        let ended = self
            .number(
                "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND usename = 'seq_lifecycle'",
            )
            .await;
        assert!(ended > 0, "there were no connections");
        self.blocks_until(BAD_BLOCKS, || async { false }).await;
        self.run_sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT -1")).await;
        format!("{ended} connections were ended")
    }

    /// The server itself ends, and is started again in its place.
    async fn database_restarts(&mut self, how: Halt) -> String {
        let mut cluster = self.cluster.take().expect("a run with a server of its own");
        let begun = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";
        let before = self.number(begun).await;
        cluster.halt(how).await.expect("it is ours");
        self.blocks_until(BAD_BLOCKS, || async { false }).await;
        cluster.start_again().await.expect("it starts again");
        self.cluster = Some(cluster);
        assert_ne!(self.number(begun).await, before, "it is another server");
        format!("Postgres was stopped {how:?} and started again")
    }
}
