//! What a wallet made of a prepared operation: bound to the call that was prepared, stored, and from then on followed
//! like our own.

use std::time::Instant;

use alloy_primitives::{B256, Bytes};
use api::lifecycle::v1::submit_transaction_request::Transaction;
use api::lifecycle::v1::{SubmitTransactionRequest, SubmitTransactionResponse};
use api::{convert, reasons};
use bundle::{Contracts, Meaning};
use chain::rpc::{BlockId, call};
use runtime::errors::Refusal;
use sea_orm::ConnectionTrait;
use store::column::{Hash, Wei};
use store::in_transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{batch, view};
use crate::db::operation::State;
use crate::db::{attempt, cursor, operation, transaction};
use crate::error::Error;
use crate::failpoint::Point;
use crate::fleet::{Chain, Fleet};
use crate::reconcile::hand_out::{Outcome, after_broadcast, hand_out};
use crate::request;
use crate::signed::{self, Signed};

/// What was handed in: always a whole transaction, with its bytes where we may send it.
#[derive(Debug, Clone)]
struct Submitted {
    signed: Signed,
    raw: Option<Bytes>,
    /// It is in a block: whatever is refused, it was done.
    is_mined: bool,
}

/// There is no such operation.
pub fn missing(id: Uuid) -> Error {
    Refusal::new(&reasons::OPERATION_NOT_FOUND, format!("there is no operation {id}"))
        .meta("operation", id)
        .into()
}

/// Takes the transaction; handing in the same one again changes nothing.
pub async fn run(
    fleet: &Fleet,
    request: SubmitTransactionRequest,
) -> Result<SubmitTransactionResponse, Error> {
    let SubmitTransactionRequest { operation_id, transaction } = request;
    let id = request::id("operation_id", &operation_id)?;
    let asked = convert::present("transaction", transaction)?;
    let row = operation::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    if row.is_managed() {
        let words = "this operation is signed by us, not by a wallet";
        return Err(Refusal::new(&reasons::OPERATION_MODE_WRONG, words).into());
    }
    let chain = fleet.network("network", &row.network)?;
    let submitted = read(chain, asked).await?;
    if submitted.raw.is_none() && holds_calls(fleet, &row, &submitted.signed).await? {
        batch::bind(fleet, chain, id, &submitted.signed).await?;
        return shown(fleet, id).await;
    }
    let decided = Instant::now();
    let (planned, may_send) = bind(fleet, chain, id, &submitted).await?;
    fleet.failpoints.meet(Point::AfterBind).await;
    // Kept signed while the network is held: the confirm loop sends it afterwards. What a wallet sent itself is followed.
    if may_send || submitted.raw.is_none() {
        send(fleet, chain, &planned, &submitted, decided).await?;
    }
    shown(fleet, id).await
}

async fn shown(fleet: &Fleet, id: Uuid) -> Result<SubmitTransactionResponse, Error> {
    let row = operation::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    Ok(SubmitTransactionResponse { operation: Some(view::operation_of(&fleet.db, row).await?) })
}

/// Whether what a wallet sent may be a batch, and is not one that is followed already.
async fn holds_calls(fleet: &Fleet, row: &operation::Row, found: &Signed) -> Result<bool, Error> {
    let calls = as_prepared(row, transaction::of_operation(&fleet.db, row.id).await?);
    Ok(batch::may_hold(&calls, found))
}

/// The calls of an operation, those too that it dropped when it expired: they may have been made in time.
pub fn as_prepared(row: &operation::Row, calls: Vec<transaction::Row>) -> Vec<transaction::Row> {
    let expired = row.state() == State::Expired;
    let taken_up = |call: transaction::Row| match call.state.as_str() {
        transaction::DROPPED if expired => {
            transaction::Row { state: transaction::PLANNED.to_owned(), ..call }
        }
        _ => call,
    };
    calls.into_iter().map(taken_up).collect()
}

async fn read(chain: &Chain, asked: Transaction) -> Result<Submitted, Error> {
    match asked {
        Transaction::RawTransaction(raw) => {
            let signed = signed::decode(&raw).map_err(|malformed| {
                convert::bad(&reasons::TRANSACTION_MALFORMED, "raw_transaction", malformed)
            })?;
            let found = chain.l1.ask(call::transaction(signed.hash)).await.ok().flatten();
            let is_mined = found.is_some_and(|found| found.block_number.is_some());
            Ok(Submitted { signed, raw: Some(raw.into()), is_mined })
        }
        Transaction::TransactionHash(text) => {
            let hash = convert::hash("transaction_hash", &text)?;
            let found = look_up(chain, hash).await?;
            let is_mined = found.block_number.is_some();
            Ok(Submitted { signed: Signed::of_chain(found, chain.chain_id), raw: None, is_mined })
        }
    }
}

async fn look_up(chain: &Chain, hash: B256) -> Result<chain::rpc::Transaction, Error> {
    let found = chain.l1.ask(call::transaction(hash)).await?.ok_or_else(|| {
        Refusal::new(&reasons::TRANSACTION_NOT_SEEN, format!("no endpoint knows transaction {hash}"))
            .meta("transaction_hash", hash)
    })?;
    Ok(found)
}

/// Finds the prepared call that this is, keeps the signed form before anything is sent, and says whether it may be.
async fn bind(
    fleet: &Fleet,
    chain: &Chain,
    id: Uuid,
    submitted: &Submitted,
) -> Result<(transaction::Row, bool), Error> {
    let bound = in_transaction(&fleet.db, |tx| {
        let submitted = submitted.clone();
        Box::pin(async move {
            let hold = cursor::hold(&*tx, &chain.name).await?;
            let row = operation::lock(&*tx, id).await?.ok_or_else(|| missing(id))?;
            let calls = transaction::of_operation(&*tx, id).await?;
            for one in &calls {
                if is_known(&*tx, one.id, submitted.signed.hash).await? {
                    return Ok((one.clone(), hold.is_none()));
                }
            }
            let planned = matching(chain, &calls, &submitted.signed)?;
            still_open(&row, submitted.is_mined)?;
            if row.state() == State::Expired {
                transaction::take_up_again(&*tx, id).await?;
            }
            let planned = with_nonce(planned, &submitted.signed)?;
            let form = attempt::Row {
                transaction: planned.id,
                hash: Hash(submitted.signed.hash),
                raw: submitted.raw.as_ref().map(|raw| raw.to_vec()),
                max_fee: planned.max_fee,
                max_priority: planned.max_priority,
                intent: attempt::CALL.to_owned(),
            };
            transaction::signed(&*tx, &planned, submitted.signed.hash).await?;
            attempt::put(&*tx, &form).await?;
            let signed =
                format!("the wallet signed {} with nonce {}", planned.step_name, submitted.signed.nonce);
            let (reason, code) = match &hold {
                Some(hold) => (format!("{signed}; {}", hold.words()), reasons::NETWORK_HELD.name),
                None => (signed, ""),
            };
            operation::enter(&*tx, id, State::Signing, &reason, code).await?;
            Ok::<_, Error>((planned, hold.is_none()))
        })
    })
    .await;
    match bound {
        Err(Error::Store(source)) if store::transaction::is_bad_value(&source) => {
            let words = format!("nonce {} is used by another operation", submitted.signed.nonce);
            Err(Refusal::new(&reasons::NONCE_TAKEN, words)
                .field("transaction", "sign with another nonce")
                .into())
        }
        bound => bound,
    }
}

async fn is_known<C: ConnectionTrait>(tx: &C, planned: Uuid, hash: B256) -> Result<bool, Error> {
    Ok(attempt::of(tx, planned).await?.iter().any(|form| form.hash.0 == hash))
}

/// What is on chain is taken also when the operation has expired meanwhile: never forget what was done.
fn still_open(row: &operation::Row, is_mined: bool) -> Result<(), Error> {
    let late = row.expire_time.is_some_and(|at| at < OffsetDateTime::now_utc());
    match row.state() {
        State::Expired | State::Queued if is_mined => Ok(()),
        State::Expired => Err(expired(row)),
        State::Queued if late => Err(expired(row)),
        state if state.is_final() => {
            let words = format!("operation {} is {}", row.id, state.name());
            Err(Refusal::new(&reasons::OPERATION_NOT_CANCELLABLE, words).meta("state", state.name()).into())
        }
        _ => Ok(()),
    }
}

/// It is too late for what was prepared.
pub fn expired(row: &operation::Row) -> Error {
    Refusal::new(&reasons::OPERATION_EXPIRED, format!("operation {} has expired", row.id)).into()
}

/// The prepared call that is exactly this transaction.
fn matching(chain: &Chain, calls: &[transaction::Row], signed: &Signed) -> Result<transaction::Row, Error> {
    if let Some(call) = calls.iter().find(|call| signed::difference(signed, call).is_none()) {
        return Ok(call.clone());
    }
    // Told about the call that is next: most likely that is the one that was meant.
    let next = calls.iter().find(|call| call.nonce.is_none()).or(calls.last());
    let differs = next.and_then(|call| signed::difference(signed, call)).unwrap_or("call");
    let words = match next.filter(|_| differs == "data").and_then(|call| meant(chain, call, signed)) {
        Some((prepared, found)) => format!("it would {found}; prepared is to {prepared}"),
        None => format!("the {differs} is not the one that was prepared"),
    };
    Err(convert::bad(&reasons::TRANSACTION_MISMATCH, "transaction", words).meta("differs", differs).into())
}

/// What was prepared and what was signed instead, in words, where both are calls of ours.
fn meant(chain: &Chain, call: &transaction::Row, signed: &Signed) -> Option<(String, String)> {
    let contracts = contracts(chain);
    let words = |to, value, data: &[u8]| Some(Meaning::of(to, value, data, &contracts).ok()?.words());
    Some((call.words.clone(), words(signed.target, signed.value, &signed.data)?))
}

/// The contracts of a network as bundles name them.
pub fn contracts(chain: &Chain) -> Contracts {
    Contracts { locking_pool: chain.locking_pool, locking_info: chain.locking_info, metis: chain.metis }
}

/// A second form of the same call must replace the first, not stand beside it.
fn with_nonce(planned: transaction::Row, signed: &Signed) -> Result<transaction::Row, Error> {
    let nonce = i64::try_from(signed.nonce).ok();
    if planned.nonce.is_some() && planned.nonce != nonce {
        let words =
            format!("{} was signed with another nonce before: both could be mined", planned.step_name);
        return Err(Refusal::new(&reasons::NONCE_CONFLICT, words)
            .field("transaction", "replace it with the same nonce")
            .into());
    }
    let fees =
        |fee: u128, before: Wei| if fee == 0 { before } else { Wei(alloy_primitives::U256::from(fee)) };
    Ok(transaction::Row {
        nonce,
        gas_limit: i64::try_from(signed.gas_limit).ok().filter(|gas| *gas > 0).unwrap_or(planned.gas_limit),
        max_fee: fees(signed.max_fee, planned.max_fee),
        max_priority: fees(signed.max_priority, planned.max_priority),
        ..planned
    })
}

/// Sends what we have the bytes of; the rest the wallet has sent itself.
async fn send(
    fleet: &Fleet,
    chain: &Chain,
    planned: &transaction::Row,
    submitted: &Submitted,
    decided: Instant,
) -> Result<(), Error> {
    let nonce = i64::try_from(submitted.signed.nonce).unwrap_or_default();
    let (state, reason, answer) = match &submitted.raw {
        Some(raw) => {
            let outcome = hand_out(fleet, chain, raw, decided).await;
            // Too long ago: the confirm loop sends what is signed.
            let Some(Outcome { verdict, answer, .. }) = outcome else { return Ok(()) };
            let (state, reason) = after_broadcast(verdict, &planned.step_name, nonce, &answer);
            (state, reason, answer)
        }
        None => (
            State::Broadcast,
            format!("the wallet sent {}", planned.step_name),
            "sent by the wallet".to_owned(),
        ),
    };
    let head = chain.l1.ask(call::header(BlockId::Latest)).await.ok().flatten();
    let head = head.and_then(|header| i64::try_from(header.number).ok()).unwrap_or(0);
    in_transaction(&fleet.db, |tx| {
        let (reason, answer) = (reason.clone(), answer.clone());
        let (id, operation) = (planned.id, planned.operation);
        Box::pin(async move {
            let Some(row) = operation::lock(&*tx, operation).await? else { return Ok(()) };
            let calls = transaction::of_operation(&*tx, operation).await?;
            let is_new = calls.iter().any(|call| call.id == id && call.state == transaction::SIGNED);
            // The confirm loop may have seen it mined already, or it was handed in before.
            if !is_new || row.state().is_final() {
                return Ok(());
            }
            if state == State::Broadcast {
                transaction::sent(&*tx, id, &answer, head).await?;
            }
            Ok::<_, Error>(operation::enter(&*tx, operation, state, &reason, "").await?)
        })
    })
    .await?;
    fleet.wake();
    Ok(())
}
