//! One send, in the order that makes it safe: nonce and row in one SQL transaction, verdict and signature from keys,
//! signed bytes stored, then broadcast to every endpoint, then the answers stored. A crash anywhere leaves rows from
//! which the next pass goes on; a row that has a nonce is only ever signed with the same payload.

use std::time::Instant;

use alloy_primitives::{Address, U256};
use api::keys::v1::{SignTransactionRequest, SigningIntent};
use chain::fees::Fees;
use chain::rpc::{BlockId, call};
use sea_orm::ConnectionTrait;
use store::column::Wei;
use store::in_transaction;
use store::lease::{Lease, fence};
use tonic::Code;
use uuid::Uuid;

use crate::db::lane::Taken;
use crate::db::operation::State;
use crate::db::{SCHEMA, attempt, lane, operation, transaction};
use crate::error::Error;
use crate::failpoint::Point;
use crate::fleet::{Chain, Fleet};
use crate::operations::plan::{Call, Plan};
use crate::reconcile::budget::{self, Spent};
use crate::reconcile::foreign::not_ours;
use crate::reconcile::form::{payload, planned_row, unsigned};
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

    pub async fn meet(&self, pass: Pass, point: Point) {
        if pass == Pass::First {
            self.fleet.failpoints.meet(point).await;
        }
    }

    /// Sends a call that has no row yet.
    pub async fn send(&self, row: &operation::Row, step: i16, plan: &Plan, call: &Call) -> Result<(), Error> {
        let Some((stored, strange_from)) = self.allocate(row, step, plan, call).await? else { return Ok(()) };
        self.meet(Pass::First, Point::AfterNonce).await;
        if let (Some(from), Some(nonce)) = (strange_from, stored.nonce) {
            self.tell_strangers(row, from, nonce).await?;
        }
        self.sign(row, &stored, SigningIntent::New, Pass::First).await
    }

    /// Stores the row with its nonce, and gives the first nonce that somebody else has spent since the last one of ours;
    /// none if the operation was cancelled, or the network is held meanwhile.
    async fn allocate(
        &self,
        row: &operation::Row,
        step: i16,
        plan: &Plan,
        call: &Call,
    ) -> Result<Option<(transaction::Row, Option<i64>)>, Error> {
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
                let taken = lane::take_nonce(&*tx, chain_id, self.account, mined).await?;
                let Taken { nonce, strange_from } = taken;
                planned.nonce = Some(nonce);
                transaction::insert(&*tx, &planned).await?;
                let strangers = strange_from.map(|from| not_ours(from, nonce)).unwrap_or_default();
                let reason =
                    format!("{} has nonce {nonce} and is being signed{strangers}", planned.step_name);
                operation::enter(&*tx, id, State::Signing, &reason, "").await?;
                Ok::<_, Error>(Some((planned, strange_from)))
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
            return self.outbid(row, planned).await;
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

    /// Stores the fees of a replacement before it is signed, or gives the budget that forbids them. A cancel is always
    /// within it: it costs less than what it replaces.
    pub async fn replan(&self, one: &transaction::Row, fees: Fees) -> Result<Option<Spent>, Error> {
        let (max_fee, max_priority) =
            (U256::from(fees.max_fee_per_gas), U256::from(fees.max_priority_fee_per_gas));
        let spent = in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                self.fence(&*tx).await?;
                if one.cancel_reason.is_none() {
                    let config = &self.fleet.config.fees;
                    let about = operation::of_id(&*tx, one.operation).await?.map(|row| row.sequencer);
                    let needed = budget::cost_max(one, Wei(max_fee));
                    let about = about.unwrap_or_default();
                    let spent = budget::passed(&*tx, config, &self.chain.name, about, one, needed).await?;
                    if spent.is_some() {
                        return Ok(spent);
                    }
                }
                transaction::replan(&*tx, one.id, max_fee, max_priority).await?;
                Ok::<_, Error>(None)
            })
        })
        .await?;
        if spent.is_none() {
            self.fleet.failpoints.meet(Point::AfterReplan).await;
        }
        Ok(spent)
    }

    /// The newest block, as far as one of our endpoints tells.
    pub async fn head(&self) -> i64 {
        let head = self.chain.market.head(&self.chain.l1).await;
        head.and_then(|head| i64::try_from(head).ok()).unwrap_or(0)
    }
}

/// Whether an operation is final, with its row locked so that it stays so until the transaction ends.
pub async fn has_ended<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<bool, Error> {
    let row = operation::lock(tx, id).await?;
    Ok(row.is_none_or(|row| row.state().is_final()))
}
