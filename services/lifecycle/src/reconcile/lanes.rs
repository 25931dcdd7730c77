//! The lanes: for each account with open managed operations, one holder under a fenced lease that takes every
//! operation its next step forward. Looks only at the tables, so that a crash anywhere is just another look.

use std::collections::HashMap;
use std::sync::Arc;

use alloy_primitives::Address;
use api::keys::v1::SigningIntent;
use chain::fees::{self, Fees};
use chain::rpc::{BlockId, call};
use domain::preflight::Verdict;
use runtime::shutdown::Shutdown;
use store::lease::Lease;
use tokio::task::{Id, JoinSet};

use super::lease::until_stopped;
use super::send::{Lane, Pass, lease_name};
use crate::db::operation::State;
use crate::db::{attempt, operation, transaction};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::operations::plan::{self, Plan};
use crate::operations::subject;

/// Transactions of one account in the pools at once: pools evict longer queues.
const IN_FLIGHT_MAX: usize = 16;
/// What a later look may find mended: the operation waits and says so.
const WAITS_FOR: [&str; 2] = ["ETH_TOO_LOW", "POOL_PAUSED"];

/// Starts a lane for every account with work on a network, until shutdown.
pub async fn run(fleet: Arc<Fleet>, chain: Arc<Chain>, shutdown: Shutdown) {
    let mut work = fleet.work.subscribe();
    let mut lanes = JoinSet::new();
    // Each running lane by its task, so that one that panicked is begun again at the next look.
    let mut running: HashMap<Id, Address> = HashMap::new();
    loop {
        match operation::accounts_with_work(&fleet.db, &chain.name).await {
            Ok(accounts) => {
                let idle = |account: &Address| !running.values().any(|busy| busy == account);
                for account in accounts.into_iter().filter(idle).collect::<Vec<_>>() {
                    let lane = lanes.spawn(hold(fleet.clone(), chain.clone(), account, shutdown.clone()));
                    running.insert(lane.id(), account);
                }
            }
            Err(error) => tracing::warn!("looking for work on {}: {}", chain.name, runtime::report(&error)),
        }
        tokio::select! {
            Some(done) = lanes.join_next_with_id(), if !lanes.is_empty() => match done {
                Ok((id, ())) => { running.remove(&id); }
                Err(error) => {
                    tracing::error!("a lane of {} broke: {error}", chain.name);
                    running.remove(&error.id());
                }
            },
            _ = work.changed() => {}
            () = tokio::time::sleep(fleet.look_every()) => {}
            () = shutdown.stopped() => break,
        }
    }
    while lanes.join_next().await.is_some() {}
}

/// Holds one lane while it has work.
async fn hold(fleet: Arc<Fleet>, chain: Arc<Chain>, account: Address, shutdown: Shutdown) {
    let claim = fleet.claim(lease_name(chain.chain_id, account));
    let work = |lease| passes(&fleet, &chain, account, lease, &shutdown);
    let held = until_stopped(&fleet.db, &claim, &shutdown, work).await;
    if let Err(error) = held {
        tracing::warn!("no lease for the lane of {account}: {}", runtime::report(&error));
    }
}

async fn passes(fleet: &Fleet, chain: &Chain, account: Address, lease: Lease, shutdown: &Shutdown) {
    let lane = Lane { fleet, chain, account, lease };
    let mut work = fleet.work.subscribe();
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
            _ = work.changed() => {}
            () = tokio::time::sleep(fleet.look_every()) => {}
            () = shutdown.stopped() => return,
        }
    }
}

impl Lane<'_> {
    /// One look at every open operation of the account, oldest first; false when there is none.
    async fn pass(&self) -> Result<bool, Error> {
        let open = operation::open_of_account(&self.fleet.db, &self.chain.name, self.account).await?;
        let ids: Vec<_> = open.iter().map(|row| row.id).collect();
        let rows = transaction::of_operations(&self.fleet.db, &ids).await?;
        let mut in_flight = rows.iter().filter(|row| is_in_flight(row)).count();
        for row in &open {
            let mine: Vec<_> = rows.iter().filter(|one| one.operation == row.id).collect();
            for one in &mine {
                self.resume(row, one).await?;
            }
            if in_flight < IN_FLIGHT_MAX && self.next_step(row, &mine).await? {
                in_flight += 1;
            }
        }
        Ok(!open.is_empty())
    }

    /// Takes a stored transaction on from where it stands.
    async fn resume(&self, row: &operation::Row, one: &transaction::Row) -> Result<(), Error> {
        match one.state.as_str() {
            transaction::PLANNED if one.nonce.is_some() => {
                self.sign(row, one, SigningIntent::New, Pass::Resumed).await
            }
            transaction::SIGNED => self.send_again(row, one).await,
            transaction::BROADCAST => self.unstick(row, one).await,
            _ => Ok(()),
        }
    }

    /// Sends the newest signed form again, exactly as it is stored.
    async fn send_again(&self, row: &operation::Row, one: &transaction::Row) -> Result<(), Error> {
        let attempts = attempt::of(&self.fleet.db, one.id).await?;
        let Some(raw) = attempts.into_iter().rev().find_map(|attempt| attempt.raw) else { return Ok(()) };
        self.broadcast(row, one, &raw.into(), Pass::Resumed).await
    }

    /// After some blocks without a receipt: higher fees if the ceiling allows them, else the same bytes again.
    async fn unstick(&self, row: &operation::Row, one: &transaction::Row) -> Result<(), Error> {
        let attempts = attempt::of(&self.fleet.db, one.id).await?;
        let Some(last) = attempts.last() else { return Ok(()) };
        // A replacement that was planned and perhaps signed before a crash.
        if last.max_fee != one.max_fee {
            return self.sign(row, one, SigningIntent::Replace, Pass::Resumed).await;
        }
        let waited = self.head().await.saturating_sub(one.broadcast_block.unwrap_or(0));
        if waited < i64::try_from(self.fleet.config.replace_after_blocks).unwrap_or(i64::MAX) {
            return Ok(());
        }
        let mined = self.chain.l1.ask(call::nonce(self.account, BlockId::Latest)).await?;
        if one.nonce.and_then(|nonce| u64::try_from(nonce).ok()).is_some_and(|nonce| nonce < mined) {
            // Spent: by us or by somebody else. The confirm loop finds out which.
            return Ok(());
        }
        match self.bumped(one).await? {
            Some(fees) => {
                self.replan(one.id, fees.max_fee_per_gas, fees.max_priority_fee_per_gas).await?;
                let planned = transaction::Row {
                    max_fee: store::column::Wei(alloy_primitives::U256::from(fees.max_fee_per_gas)),
                    max_priority: store::column::Wei(alloy_primitives::U256::from(
                        fees.max_priority_fee_per_gas,
                    )),
                    ..one.clone()
                };
                self.sign(row, &planned, SigningIntent::Replace, Pass::Resumed).await
            }
            None => self.send_again(row, one).await,
        }
    }

    /// Fees of a replacement; none at the ceiling.
    async fn bumped(&self, one: &transaction::Row) -> Result<Option<Fees>, Error> {
        let policy = self.fleet.config.fee_policy();
        let small = |fee: store::column::Wei| u128::try_from(fee.0).unwrap_or(u128::MAX);
        let before =
            Fees { max_fee_per_gas: small(one.max_fee), max_priority_fee_per_gas: small(one.max_priority) };
        let now = plan::suggested_fees(self.fleet, self.chain).await?;
        Ok(fees::replacement(before, now, &policy).ok())
    }

    /// Plans and sends the next call of an operation, if it is time; true if one was sent.
    async fn next_step(&self, row: &operation::Row, mine: &[&transaction::Row]) -> Result<bool, Error> {
        // Looked at first: while the network is held the checks may fail for reasons that will go away with it.
        if !is_time(mine) || !self.may_send(row.id).await? {
            return Ok(false);
        }
        let (asked, about) = subject::stored(self.fleet, row).await?;
        let plan = match plan::plan(self.fleet, self.chain, &asked, &about).await {
            Ok(plan) => plan,
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
        if !self.may_go_on(row, &plan).await? {
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
    async fn may_go_on(&self, row: &operation::Row, plan: &Plan) -> Result<bool, Error> {
        if let Some(check) = plan.first_failure() {
            let state = if WAITS_FOR.contains(&check.reason) { State::Queued } else { State::Failed };
            self.enter(row.id, state, &check.message, check.reason).await?;
            self.fleet.metrics.operation(&self.chain.name, &row.kind, state.name());
            return Ok(false);
        }
        if let Some(check) = plan.checks.iter().find(|check| check.verdict == Verdict::Unknown) {
            self.enter(row.id, State::Queued, &check.message, check.reason).await?;
            return Ok(false);
        }
        Ok(true)
    }
}

/// Whether a transaction has a nonce and no block.
fn is_in_flight(row: &transaction::Row) -> bool {
    row.nonce.is_some()
        && matches!(row.state.as_str(), transaction::PLANNED | transaction::SIGNED | transaction::BROADCAST)
}

/// Whether the next call may be planned: nothing of the operation is under way, and its own call was not made.
fn is_time(mine: &[&transaction::Row]) -> bool {
    mine.iter().all(|one| {
        plan::is_preparation(&one.step_name)
            && matches!(one.state.as_str(), transaction::MINED | transaction::CONFIRMED)
            && one.receipt_status == Some(1)
    })
}
