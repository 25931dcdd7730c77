//! One send, in the order that makes it safe: nonce and row in one SQL transaction, verdict and signature from keys,
//! signed bytes stored, then broadcast to every endpoint, then the answers stored. A crash anywhere leaves rows from
//! which the next pass goes on; a row that has a nonce is only ever signed with the same payload.

use std::time::{Duration, Instant};

use alloy_primitives::{Address, Bytes, U256};
use api::keys::v1::{SignTransactionRequest, SigningIntent};
use chain::broadcast::Remedy;
use chain::fees::Fees;
use chain::rpc::{BlockId, call};
use domain::amount::Eth;
use sea_orm::ConnectionTrait;
use store::column::Wei;
use store::in_transaction;
use store::lease::{Lease, fence};
use time::OffsetDateTime;
use tonic::Code;
use uuid::Uuid;

use crate::db::operation::State;
use crate::db::{SCHEMA, attempt, lane, operation, transaction};
use crate::error::Error;
use crate::failpoint::Point;
use crate::fleet::{Chain, Fleet};
use crate::operations::plan::{Call, Plan};
use crate::reconcile::budget;
use crate::reconcile::form::{form_of, payload, planned_row, unsigned};
use crate::reconcile::hand_out::{Outcome, after_broadcast, hand_out};
use crate::reconcile::hold::must_wait;
use crate::signed;

/// The lane of one account, held under a fenced lease.
#[derive(Debug, Clone)]
pub struct Lane<'a> {
    pub fleet: &'a Fleet,
    pub chain: &'a Chain,
    pub account: Address,
    pub lease: Lease,
}

/// Whether a send goes on where a crash left it: failpoints are for first passes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    First,
    Resumed,
}

/// Name of the lease of a lane.
pub fn lease_name(chain_id: u64, account: Address) -> String {
    format!("lane/{chain_id}/{account}")
}

impl Lane<'_> {
    /// Proves, inside a transaction, that this lane is still ours.
    pub async fn fence<C: ConnectionTrait>(&self, tx: &C) -> Result<(), Error> {
        let name = lease_name(self.chain.chain_id, self.account);
        Ok(fence(tx, SCHEMA, &name, self.lease.epoch).await?)
    }

    async fn meet(&self, pass: Pass, point: Point) {
        if pass == Pass::First {
            self.fleet.failpoints.meet(point).await;
        }
    }

    /// Sends a call that has no row yet.
    pub async fn send(&self, row: &operation::Row, step: i16, plan: &Plan, call: &Call) -> Result<(), Error> {
        let Some(stored) = self.allocate(row, step, plan, call).await? else { return Ok(()) };
        self.meet(Pass::First, Point::AfterNonce).await;
        self.sign(row, &stored, SigningIntent::New, Pass::First).await
    }

    /// Stores the row with its nonce; none if the operation was cancelled, or the network is held meanwhile.
    async fn allocate(
        &self,
        row: &operation::Row,
        step: i16,
        plan: &Plan,
        call: &Call,
    ) -> Result<Option<transaction::Row>, Error> {
        let mined = self.chain.l1.ask(call::nonce(self.account, BlockId::Latest)).await?;
        let mined = i64::try_from(mined).map_err(|_| Error::Malformed { what: "the nonce of an account" })?;
        let chain_id = self.chain.chain_id_column();
        let planned = planned_row(row.id, step, chain_id, self.account, plan, call);
        let id = row.id;
        in_transaction(&self.fleet.db, |tx| {
            let mut planned = planned.clone();
            Box::pin(async move {
                self.fence(&*tx).await?;
                if must_wait(&*tx, &self.chain.name, id).await? {
                    return Ok(None);
                }
                let fresh = operation::lock(&*tx, id).await?;
                let now = self.fleet.clock.now();
                let Some(fresh) = fresh.filter(|fresh| fresh.may_begin(now)) else { return Ok(None) };
                let needed = budget::cost_max(&planned, planned.max_fee);
                let (fees, about) = (&self.fleet.config.fees, fresh.sequencer);
                if let Some(spent) =
                    budget::passed(&*tx, fees, &self.chain.name, about, &planned, needed).await?
                {
                    let code = api::reasons::FEE_BUDGET_SPENT.name;
                    operation::enter(&*tx, id, State::Queued, &format!("waits: {spent}"), code).await?;
                    return Ok(None);
                }
                let nonce = lane::take_nonce(&*tx, chain_id, self.account, mined).await?;
                planned.nonce = Some(nonce);
                transaction::insert(&*tx, &planned).await?;
                let reason = format!("{} has nonce {nonce} and is being signed", planned.step_name);
                operation::enter(&*tx, id, State::Signing, &reason, "").await?;
                Ok::<_, Error>(Some(planned))
            })
        })
        .await
    }

    /// Asks keys for verdict and signature, stores the bytes, sends them. Asking again for the same row gives the same
    /// signature.
    pub async fn sign(
        &self,
        row: &operation::Row,
        planned: &transaction::Row,
        intent: SigningIntent,
        pass: Pass,
    ) -> Result<(), Error> {
        // A first pass was allowed a moment ago, in the transaction that took its nonce.
        if pass == Pass::Resumed && !self.may_send(row.id).await? {
            return Ok(());
        }
        if planned.fills {
            self.fleet.failpoints.meet(Point::BeforeFill).await;
        }
        let payload = payload(planned, intent);
        let request = SignTransactionRequest {
            key_id: row.key_id.clone().unwrap_or_default(),
            network: self.chain.name.clone(),
            transaction: Some(unsigned(&payload)),
            intent: intent.into(),
            operation_id: row.id.to_string(),
            // Approvals are of the value that was planned.
            approved_value_wei_max: String::new(),
        };
        let answer = match self.fleet.neighbours.sign(request).await {
            Ok(answer) => answer,
            Err(error) => return self.not_signed(row, planned, intent, error).await,
        };
        self.meet(pass, Point::AfterSignBeforeStore).await;
        if intent != SigningIntent::New {
            self.fleet.failpoints.meet(Point::AfterNewFormSigned).await;
        }
        let raw = answer.raw_transaction.to_vec();
        let signed = signed::decode(&raw).map_err(|_| Error::Malformed { what: "a signature of keys" })?;
        let same_nonce = planned.nonce == i64::try_from(signed.nonce).ok();
        if signed::difference(&signed, &payload).is_some() || !same_nonce {
            return Err(Error::Malformed { what: "a signature of keys" });
        }
        let kept = attempt::Row {
            transaction: planned.id,
            hash: store::column::Hash(signed.hash),
            raw: Some(raw.clone()),
            max_fee: planned.max_fee,
            max_priority: planned.max_priority,
            intent: if intent == SigningIntent::Cancel { attempt::CANCEL } else { attempt::CALL }.to_owned(),
        };
        let decided = Instant::now();
        let must_wait = in_transaction(&self.fleet.db, |tx| {
            let kept = kept.clone();
            Box::pin(async move {
                self.fence(&*tx).await?;
                let must_wait = must_wait(&*tx, &self.chain.name, row.id).await?;
                attempt::put(&*tx, &kept).await?;
                transaction::signed(&*tx, planned, kept.hash.0).await?;
                Ok::<_, Error>(must_wait)
            })
        })
        .await?;
        self.meet(pass, Point::AfterStoreBeforeBroadcast).await;
        if intent != SigningIntent::New {
            self.fleet.failpoints.meet(Point::AfterNewFormStored).await;
        }
        if must_wait {
            return Ok(());
        }
        self.broadcast(row, planned, &raw.into(), pass, decided).await
    }

    /// A refusal of keys is final for the operation, and its nonce is given back because nothing was signed. Any
    /// other failure says nothing: the same row is tried again.
    async fn not_signed(
        &self,
        row: &operation::Row,
        planned: &transaction::Row,
        intent: SigningIntent,
        error: Error,
    ) -> Result<(), Error> {
        let Error::Neighbour { source, .. } = &error else { return Err(error) };
        let refused = matches!(
            source.code(),
            Code::PermissionDenied | Code::FailedPrecondition | Code::InvalidArgument | Code::NotFound
        );
        let (Some(said), true) = (runtime::errors::refusal_of(source), refused) else {
            let reason = format!("waits for the keys service to sign {}", planned.step_name);
            self.say(row, planned, State::Signing, &reason, "").await?;
            return Err(error);
        };
        tracing::warn!(operation.id = %row.id, "keys refuses operation {}: {}", row.id, said.message);
        let reused = said.reason == api::reasons::NONCE_CONFLICT.name;
        if intent == SigningIntent::Cancel && reused {
            return self.outbid(planned).await;
        }
        if intent != SigningIntent::New {
            // What was signed before stands; only the replacement or the cancel is refused.
            let reason =
                format!("the keys service refuses a new form of {}: {}", planned.step_name, said.message);
            return self.say(row, planned, State::Broadcast, &reason, &said.reason).await;
        }
        let nonce = planned.nonce.ok_or(Error::Malformed { what: "a transaction without nonce" })?;
        let reason = format!("the keys service refuses to sign {}: {}", planned.step_name, said.message);
        let (id, chain_id) = (row.id, planned.chain_id);
        in_transaction(&self.fleet.db, |tx| {
            let (reason, code) = (reason.clone(), said.reason.clone());
            Box::pin(async move {
                self.fence(&*tx).await?;
                // A nonce with another signed payload may still be spent by it: never handed out again.
                if !reused && lane::give_back(&*tx, chain_id, self.account, nonce).await? {
                    transaction::drop_unsigned(&*tx, planned.id).await?;
                }
                Ok::<_, Error>(operation::enter(&*tx, id, State::Failed, &reason, &code).await?)
            })
        })
        .await?;
        self.fleet.metrics.operation(&self.chain.name, &row.kind, State::Failed.name());
        Ok(())
    }

    /// Hands the stored bytes to every endpoint and stores what they answered. That it may be done was `decided` in a
    /// transaction that proved the lease; whoever was stopped since for as long as a lease lives lets it be.
    pub async fn broadcast(
        &self,
        row: &operation::Row,
        sent: &transaction::Row,
        raw: &Bytes,
        pass: Pass,
        decided: Instant,
    ) -> Result<(), Error> {
        if decided.elapsed() >= Duration::from_millis(self.fleet.config.lease_ttl_ms) {
            return Ok(());
        }
        let outcome = hand_out(self.fleet, self.chain, raw).await;
        self.meet(pass, Point::AfterBroadcastBeforeRecord).await;
        let Outcome { verdict, answer } = outcome;
        if verdict.remedy() == Remedy::RaiseFees {
            tracing::info!(operation.id = %row.id, "operation {} pays too little: {answer}", row.id);
        }
        let id = row.id;
        let (state, mut reason) =
            after_broadcast(verdict, &form_of(sent), sent.nonce.unwrap_or_default(), &answer);
        let mut code = "";
        if verdict.remedy() == Remedy::StopLane {
            code = api::reasons::ETH_TOO_LOW.name;
            reason = self.short_of_eth(sent).await;
        }
        // Nobody took it at this price: waiting for blocks would change nothing.
        let hurried = verdict.remedy() == Remedy::RaiseFees;
        let head = self.head().await;
        in_transaction(&self.fleet.db, |tx| {
            let (reason, answer) = (reason.clone(), answer.clone());
            Box::pin(async move {
                self.fence(&*tx).await?;
                // While we spoke to the endpoints its receipt may have been seen, or its nonce found spent by
                // somebody else: that knows more than our answers and stands.
                let still_unseen = transaction::lock_unseen(&*tx, sent.id).await?;
                let has_ended = has_ended(&*tx, id).await?;
                if !still_unseen || (has_ended && !sent.fills) {
                    return Ok(());
                }
                if state == State::Broadcast {
                    transaction::sent(&*tx, sent.id, &answer, head).await?;
                }
                if hurried {
                    transaction::hurry(&*tx, sent.id, true).await?;
                }
                if sent.fills {
                    return Ok(());
                }
                Ok::<_, Error>(operation::enter(&*tx, id, state, &reason, code).await?)
            })
        })
        .await?;
        if pass == Pass::First && state == State::Broadcast {
            let waited = OffsetDateTime::now_utc() - row.create_time;
            self.fleet.metrics.sent_after(&self.chain.name, waited.as_seconds_f64());
            self.fleet.metrics.operation(&self.chain.name, &row.kind, state.name());
        }
        if state == State::Broadcast {
            // The receipt may be there already, where blocks are made at once.
            self.fleet.wake();
        }
        Ok(())
    }

    /// Moves an operation of this lane, unless it has ended meanwhile: only a reorganisation brings one back.
    pub async fn enter(&self, id: Uuid, state: State, reason: &str, code: &str) -> Result<(), Error> {
        in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                self.fence(&*tx).await?;
                if has_ended(&*tx, id).await? {
                    return Ok(());
                }
                Ok::<_, Error>(operation::enter(&*tx, id, state, reason, code).await?)
            })
        })
        .await
    }

    /// Stores the fees of a replacement before it is signed; false where a budget forbids them. A cancel is always
    /// within it: it costs less than what it replaces.
    pub async fn replan(&self, one: &transaction::Row, fees: Fees) -> Result<bool, Error> {
        let (max_fee, max_priority) =
            (U256::from(fees.max_fee_per_gas), U256::from(fees.max_priority_fee_per_gas));
        let allowed = in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                self.fence(&*tx).await?;
                if one.cancel_reason.is_none() {
                    let config = &self.fleet.config.fees;
                    let about = operation::of_id(&*tx, one.operation).await?.map(|row| row.sequencer);
                    let needed = budget::cost_max(one, Wei(max_fee));
                    let about = about.unwrap_or_default();
                    if budget::passed(&*tx, config, &self.chain.name, about, one, needed).await?.is_some() {
                        return Ok(false);
                    }
                }
                transaction::replan(&*tx, one.id, max_fee, max_priority).await?;
                Ok::<_, Error>(true)
            })
        })
        .await?;
        if allowed {
            self.fleet.failpoints.meet(Point::AfterReplan).await;
        }
        Ok(allowed)
    }

    /// Why the nodes take nothing from this account, with the numbers.
    async fn short_of_eth(&self, sent: &transaction::Row) -> String {
        let needed = Eth(budget::cost_max(sent, sent.max_fee));
        let has = self.chain.l1.ask(call::balance(self.account, BlockId::Latest)).await;
        let has = has.map_or_else(|_| "too little".to_owned(), |wei| Eth(wei).to_string());
        format!(
            "waits: {} has {has} ETH, {} needs up to {needed}; goes on by itself when the account is funded",
            self.account, sent.step_name
        )
    }

    /// The newest block, as far as one of our endpoints tells.
    pub async fn head(&self) -> i64 {
        let head = self.chain.market.head(&self.chain.l1).await;
        head.and_then(|head| i64::try_from(head).ok()).unwrap_or(0)
    }
}

/// Whether an operation is final, with its row locked so that it stays so until the transaction ends.
async fn has_ended<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<bool, Error> {
    let row = operation::lock(tx, id).await?;
    Ok(row.is_none_or(|row| row.state().is_final()))
}
