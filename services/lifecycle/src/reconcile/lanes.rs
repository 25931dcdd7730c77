//! The lanes: for each account with open managed operations, one holder under a fenced lease that takes every
//! operation its next step forward. Looks only at the tables, so that a crash anywhere is just another look.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use api::keys::v1::SigningIntent;
use api::reasons;
use domain::operation::Operation;
use domain::preflight::Verdict;
use runtime::shutdown::Shutdown;
use store::lease::Lease;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};

use super::lease::until_stopped;
use super::send::{Lane, Pass, lease_name};
use crate::db::operation::{State, Work};
use crate::db::{attempt, operation, transaction};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::operations::plan::{self, Gas, Plan};
use crate::operations::subject;

/// Transactions of one account in the pools at once: pools evict longer queues.
const IN_FLIGHT_MAX: usize = 16;
/// Looks of idle lanes of a network in one period: each costs a few reads.
const LOOKS_MAX: u32 = 64;
/// What a later look may find mended: the operation waits and says so. The last four time mends: an operation for later
/// begins by our clock, and the contract goes by the timestamps and batches of blocks, which are behind it.
const WAITS_FOR: [&str; 8] = [
    "ETH_TOO_LOW",
    "POOL_PAUSED",
    "BALANCE_TOO_LOW",
    "ALLOWANCE_TOO_LOW",
    "EXIT_PERIOD_NOT_OVER",
    "EXIT_RESTRICTED",
    "WITHDRAW_THROTTLED",
    "SIGNER_UPDATE_THROTTLED",
];

/// A lane that runs here.
#[derive(Debug)]
struct Running {
    account: Address,
    /// Makes it look.
    wake: Arc<Notify>,
}

/// The lanes of one network that run here.
#[derive(Debug, Default)]
struct Lanes {
    tasks: JoinSet<()>,
    /// By task, so that one that panicked is begun again at the next look.
    running: HashMap<Id, Running>,
    /// By account: its task, and when its operations changed last, with how many there were.
    accounts: HashMap<Address, (Id, (OffsetDateTime, i64))>,
    /// How many there are, for them to share the looks.
    count: Arc<AtomicUsize>,
}

/// Starts a lane for every account with work on a network, until shutdown.
pub async fn run(fleet: Arc<Fleet>, chain: Arc<Chain>, shutdown: Shutdown) {
    let mut work = fleet.work.subscribe();
    let mut lanes = Lanes::default();
    loop {
        match operation::accounts_with_work(&fleet.db, &chain.name).await {
            Ok(accounts) => accounts.into_iter().for_each(|one| lanes.look(one, &fleet, &chain, &shutdown)),
            Err(error) => tracing::warn!("looking for work on {}: {}", chain.name, runtime::report(&error)),
        }
        tokio::select! {
            Some(done) = lanes.tasks.join_next_with_id(), if !lanes.tasks.is_empty() => match done {
                Ok((id, ())) => lanes.ended(id),
                Err(error) => {
                    tracing::error!("a lane of {} broke: {error}", chain.name);
                    lanes.ended(error.id());
                }
            },
            _ = work.changed() => {}
            () = tokio::time::sleep(fleet.look_every()) => {}
            () = shutdown.stopped() => break,
        }
    }
    while lanes.tasks.join_next().await.is_some() {}
}

impl Lanes {
    /// Starts the lane of an account, or wakes it where something has changed: waking all lanes for each change of one
    /// would cost the square of their number.
    fn look(&mut self, found: Work, fleet: &Arc<Fleet>, chain: &Arc<Chain>, shutdown: &Shutdown) {
        let Work { account, changed, operations } = found;
        let now = (changed, operations);
        if let Some((id, seen)) = self.accounts.get_mut(&account.0) {
            if *seen != now {
                *seen = now;
                if let Some(lane) = self.running.get(id) {
                    lane.wake.notify_one();
                }
            }
            return;
        }
        let wake = Arc::new(Notify::new());
        let turn = Turn { wake: wake.clone(), lanes: self.count.clone() };
        let task = self.tasks.spawn(hold(fleet.clone(), chain.clone(), account.0, turn, shutdown.clone()));
        self.running.insert(task.id(), Running { account: account.0, wake });
        self.accounts.insert(account.0, (task.id(), now));
        self.count.store(self.running.len(), Ordering::Relaxed);
    }

    fn ended(&mut self, id: Id) {
        if let Some(lane) = self.running.remove(&id) {
            self.accounts.remove(&lane.account);
        }
        self.count.store(self.running.len(), Ordering::Relaxed);
    }
}

/// When a lane looks.
#[derive(Debug)]
struct Turn {
    wake: Arc<Notify>,
    lanes: Arc<AtomicUsize>,
}

impl Turn {
    /// Until something has changed for the account, or it is time: together the lanes of a network look at most
    /// `LOOKS_MAX` times in each period.
    async fn come(&self, look_every: Duration) {
        let lanes = u32::try_from(self.lanes.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let pause = look_every.saturating_mul(lanes.div_ceil(LOOKS_MAX).max(1));
        tokio::select! {
            () = self.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Holds one lane while it has work.
async fn hold(fleet: Arc<Fleet>, chain: Arc<Chain>, account: Address, turn: Turn, shutdown: Shutdown) {
    let claim = fleet.claim(lease_name(chain.chain_id, account));
    let work = |lease| passes(&fleet, &chain, account, lease, &turn, &shutdown);
    let held = until_stopped(&fleet.db, &claim, &shutdown, work).await;
    if let Err(error) = held {
        tracing::warn!("no lease for the lane of {account}: {}", runtime::report(&error));
    }
}

async fn passes(
    fleet: &Fleet,
    chain: &Chain,
    account: Address,
    lease: Lease,
    turn: &Turn,
    shutdown: &Shutdown,
) {
    let lane = Lane { fleet, chain, account, lease };
    loop {
        match lane.pass().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) if error.is_fenced() => return,
            Err(error) => {
                tracing::warn!("the lane of {account} on {} waits: {}", chain.name, runtime::report(&error));
            }
        }
        tokio::select! {
            () = turn.come(fleet.look_every()) => {}
            () = shutdown.stopped() => return,
        }
    }
}

impl Lane<'_> {
    /// One look at every open operation of the account, oldest first, after the nonces that nothing has used; false
    /// when there is nothing to do.
    async fn pass(&self) -> Result<bool, Error> {
        let holes = self.fill_holes().await?;
        let open = operation::open_of_account(&self.fleet.db, &self.chain.name, self.account).await?;
        let ids: Vec<_> = open.iter().map(|row| row.id).collect();
        let rows = transaction::of_operations(&self.fleet.db, &ids).await?;
        let mut in_flight = rows.iter().filter(|row| row.is_in_flight()).count();
        self.fill_gap(&rows).await?;
        for row in &open {
            let mine: Vec<_> = rows.iter().filter(|one| one.operation == row.id).collect();
            for one in &mine {
                self.resume(row, one).await?;
            }
            if in_flight < IN_FLIGHT_MAX && self.next_step(row, &mine).await? {
                in_flight += 1;
            }
        }
        Ok(!open.is_empty() || holes)
    }

    /// Takes a stored transaction on from where it stands.
    async fn resume(&self, row: &operation::Row, one: &transaction::Row) -> Result<(), Error> {
        if !one.is_in_flight() {
            return Ok(());
        }
        if one.cancel_reason.is_some() {
            return self.go_on_cancelling(row, one).await;
        }
        if one.state != transaction::BROADCAST && self.pays_for_nothing(row, one).await? {
            return Ok(());
        }
        match one.state.as_str() {
            transaction::PLANNED => self.sign(row, one, SigningIntent::New, Pass::Resumed).await,
            transaction::SIGNED if !one.hurried => self.send_again(row, one).await,
            _ => self.unstick(row, one).await,
        }
    }

    /// Sends the newest signed form again, exactly as it is stored.
    pub async fn send_again(&self, row: &operation::Row, one: &transaction::Row) -> Result<(), Error> {
        let attempts = attempt::of(&self.fleet.db, one.id).await?;
        let Some(raw) = attempts.into_iter().rev().find_map(|attempt| attempt.raw) else { return Ok(()) };
        let decided = Instant::now();
        if !self.may_send(row.id).await? {
            return Ok(());
        }
        self.broadcast(row, one, &raw.into(), Pass::Resumed, decided).await
    }

    /// Plans and sends the next call of an operation, if it is time; true if one was sent.
    async fn next_step(&self, row: &operation::Row, mine: &[&transaction::Row]) -> Result<bool, Error> {
        // Looked at first: while the network is held the checks may fail for reasons that will go away with it.
        if !is_time(mine) || !self.may_send(row.id).await? {
            return Ok(false);
        }
        if let Some(reason) = mine.iter().find_map(|one| one.cancel_reason.as_deref().filter(|_| !one.fills))
        {
            // What prepares it was mined before the cancel could be.
            self.enter(row.id, State::Cancelled, &format!("{reason}; nothing more was sent"), "").await?;
            return Ok(false);
        }
        let (asked, about) = subject::stored(self.fleet, row).await?;
        let Some(fees) = self.fees_within_ceiling(row).await? else { return Ok(false) };
        let plan = match plan::plan(self.fleet, self.chain, &asked, &about, Gas::Estimated).await {
            Ok(plan) => Plan { fees, ..plan },
            Err(error @ (Error::Chain(_) | Error::Neighbour { .. })) => {
                let reason = format!("waits: {error} gave no answer");
                self.enter(row.id, State::Queued, &reason, "").await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        // An endpoint that lags behind the approval would have us approve again.
        let behind = mine.iter().filter_map(|one| one.receipt_block).max();
        if behind.is_some_and(|block| i64::try_from(plan.picture.block.number).is_ok_and(|at| at < block)) {
            return Ok(false);
        }
        if !self.may_go_on(row, &asked, &plan).await? {
            return Ok(false);
        }
        let Some(next) = plan.calls.first() else { return Ok(false) };
        if !mine.is_empty() {
            self.fleet.failpoints.meet(crate::failpoint::Point::BetweenSteps).await;
        }
        let step = i16::try_from(mine.len()).unwrap_or(i16::MAX);
        self.send(row, step, &plan, next).await?;
        Ok(true)
    }

    /// The checks once more, just before the nonce: what fails now fails the operation, what may mend waits.
    async fn may_go_on(&self, row: &operation::Row, asked: &Operation, plan: &Plan) -> Result<bool, Error> {
        if plan.sender != self.account {
            // The checks are of the present owner or signer, key and approvals of the one before.
            let words = format!("{} was to send it, and {} is who may by now", self.account, plan.sender);
            let by_signer = asked.sent_by_signer();
            let code = if by_signer { &reasons::NOT_SEQUENCER_SIGNER } else { &reasons::NOT_SEQUENCER_OWNER };
            return self.fail(row, &words, code.name).await;
        }
        if let Some(check) = plan.first_failure() {
            if WAITS_FOR.contains(&check.reason) {
                let reason = format!("waits: {}; goes on by itself when that has changed", check.message);
                self.enter(row.id, State::Queued, &reason, check.reason).await?;
                return Ok(false);
            }
            return self.fail(row, &check.message, check.reason).await;
        }
        if let Some(check) = plan.checks.iter().find(|check| check.verdict == Verdict::Unknown) {
            self.enter(row.id, State::Queued, &check.message, check.reason).await?;
            return Ok(false);
        }
        Ok(true)
    }

    async fn fail(&self, row: &operation::Row, reason: &str, code: &str) -> Result<bool, Error> {
        self.enter(row.id, State::Failed, reason, code).await?;
        self.fleet.metrics.operation(&self.chain.name, &row.kind, State::Failed.name());
        Ok(false)
    }
}

/// Whether the next call may be planned: nothing of the operation is under way, and its own call was not made, or
/// reverted for good for a reason that a new quote mends (the operation would have failed otherwise).
fn is_time(mine: &[&transaction::Row]) -> bool {
    mine.iter().all(|one| {
        let prepared = plan::is_preparation(&one.step_name)
            && matches!(one.state.as_str(), transaction::MINED | transaction::CONFIRMED)
            && one.receipt_status == Some(1);
        one.fills || prepared || one.state == transaction::REVERTED
    })
}
