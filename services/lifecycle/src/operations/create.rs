//! Takes in an operation: read strictly, checked against the chain, stored once. What is stored is carried out by its
//! lane (managed), or waits for what a wallet makes of the prepared calls.

use api::lifecycle::v1::{CreateOperationRequest, CreateOperationResponse, OperationMode};
use api::{convert, reasons};
use domain::operation::Operation;
use prost::Message;
use runtime::errors::Refusal;
use store::column::Addr;
use store::in_transaction;
use uuid::Uuid;

use super::intake::{self, METHOD, Outcome, Taken};
use super::once::Once;
use super::origin::{Asker, Origin};
use super::plan::{Gas, Plan, plan};
use super::preflight;
use super::subject::{Standing, asked, key_of, standing};
use super::terms::{self, Terms};
use crate::approval::state;
use crate::db::operation::{MANAGED, PREPARED, State};
use crate::db::{operation, request as earlier, transaction};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::reconcile::form::planned_row;
use crate::request::{self, check_lock_bounds};

/// Stores the operation; asking again with the same request id gives the same answer, whatever happened since.
pub async fn run(
    fleet: &Fleet,
    request: CreateOperationRequest,
    caller: &str,
) -> Result<CreateOperationResponse, Error> {
    ask(fleet, request, &Asker::caller(caller)).await
}

/// The same on behalf of a caller, a fleet operation or a schedule.
pub async fn ask(
    fleet: &Fleet,
    request: CreateOperationRequest,
    asker: &Asker,
) -> Result<CreateOperationResponse, Error> {
    let request_id = convert::request_id("request_id", &request.request_id)?;
    let once = Once::of(request_id, &asker.caller, &request, |bare| bare.request_id.clear());
    if let Some(before) = seen(fleet, &once).await? {
        return Ok(before);
    }
    match checked(fleet, &request, asker, &once).await {
        Ok(Checked { taken, validate_only: true }) => {
            Ok(CreateOperationResponse { operation: None, checks: taken.checks })
        }
        Ok(Checked { taken, validate_only: false }) => store_once(fleet, &once, asker, taken).await,
        // A twin may have been stored while we looked: then its operation is what stands in our way.
        Err(Error::Refused(refusal)) => match seen(fleet, &once).await? {
            Some(before) => Ok(before),
            None => Err(Error::Refused(refusal)),
        },
        Err(error) => Err(error),
    }
}

async fn seen(fleet: &Fleet, once: &Once) -> Result<Option<CreateOperationResponse>, Error> {
    once.answer(earlier::seen(&fleet.db, &once.request_id, METHOD, &once.fingerprint).await?)
}

/// What may be stored, if it is not only asked about.
#[derive(Debug)]
struct Checked {
    taken: Taken,
    validate_only: bool,
}

async fn checked(
    fleet: &Fleet,
    request: &CreateOperationRequest,
    asker: &Asker,
    once: &Once,
) -> Result<Checked, Error> {
    let parameters = convert::present("parameters", request.parameters.as_ref())?;
    let managed = match request.mode() {
        OperationMode::Managed => true,
        OperationMode::Prepared => false,
        OperationMode::Unspecified => {
            return Err(convert::bad(&reasons::ENUM_UNSPECIFIED, "mode", "choose who signs").into());
        }
    };
    let now = fleet.clock.now();
    let asked_terms = Terms::of(request.terms.as_ref(), managed, now)?;
    let standing = standing(fleet, request::id("sequencer", &request.sequencer)?).await?;
    let chain = fleet.network("network", &standing.register.network)?;
    let (asked, mut subject) = asked(fleet, &standing, parameters, None).await?;
    asked_terms.check(&asked)?;
    subject.recipient_if_unset = asked_terms.recipient_if_unset;
    let key_id = if managed { Some(managed_key(fleet, &standing, &asked).await?) } else { None };
    let gas = if managed { Gas::Simulated } else { Gas::Estimated };
    let plan = plan(fleet, chain, &asked, &subject, gas).await?;
    check_lock_bounds(&asked, plan.picture.facts.min_lock, plan.picture.facts.max_lock)?;
    let later = asked_terms.is_later(now);
    if let Some(refusal) = preflight::refusal(&plan).filter(|_| terms::refuses(&plan, later)) {
        return Err(refusal.into());
    }
    let row = row(fleet, chain, &standing, &asked, &plan, asker, key_id)?;
    let row = on_terms(fleet, row, &standing, &asked, &plan, asker, &asked_terms);
    let row = operation::Row {
        request_id: Uuid::try_parse(&once.request_id).unwrap_or_default(),
        parameters: parameters.encode_to_vec(),
        ..row
    };
    let calls = if managed { Vec::new() } else { prepared_calls(chain, &row, &plan) };
    let checks = plan.checks.into_iter().map(convert::wire_check).collect();
    let taken = Taken { once: once.clone(), row, calls, checks };
    Ok(Checked { taken, validate_only: request.validate_only })
}

/// The key that will sign; refused where we may not act for the sequencer.
async fn managed_key(fleet: &Fleet, standing: &Standing, asked: &Operation) -> Result<String, Error> {
    if !standing.register.managed {
        let words = format!("{} is only observed", standing.register.name);
        return Err(Refusal::new(&reasons::SEQUENCER_NOT_MANAGED, words).into());
    }
    let Standing { position, owner_key, signer_key, .. } = standing;
    let (known, account) =
        if asked.sent_by_signer() { (signer_key, position.signer.0) } else { (owner_key, position.owner.0) };
    match known {
        Some(id) => Ok(id.clone()),
        None => key_of(fleet, account).await,
    }
}

fn row(
    fleet: &Fleet,
    chain: &Chain,
    standing: &Standing,
    asked: &Operation,
    plan: &Plan,
    asker: &Asker,
    key_id: Option<String>,
) -> Result<operation::Row, Error> {
    let now = fleet.clock.now();
    let managed = key_id.is_some();
    let expiry =
        time::Duration::seconds(i64::try_from(fleet.config.prepared_expiry_secs).unwrap_or(i64::MAX));
    let reason = if managed { "waits for its lane" } else { "waits for the wallet" };
    Ok(operation::Row {
        id: Uuid::now_v7(),
        request_id: Uuid::nil(),
        network: chain.name.clone(),
        sequencer: standing.register.id,
        kind: asked.name().to_owned(),
        parameters: Vec::new(),
        mode: if managed { MANAGED } else { PREPARED }.to_owned(),
        state: State::Queued.name().to_owned(),
        reason: reason.to_owned(),
        reason_code: String::new(),
        words: format!("{}: {}", standing.register.name, asked.words()),
        caller: asker.caller.clone(),
        chain_id: chain.chain_id_column(),
        account: Addr(plan.sender),
        key_id,
        create_time: now,
        update_time: now,
        expire_time: (!managed).then(|| now.checked_add(expiry)).flatten(),
        not_before: None,
        deadline: None,
        recipient_if_unset: None,
        requirements: serde_json::json!([]),
        approve_by: None,
        origin: asker.name(),
    })
}

/// A row with its terms, the approvals that rules ask for, and the state in which it begins. Rules are for what we sign:
/// a wallet's owner needs nobody's leave.
fn on_terms(
    fleet: &Fleet,
    row: operation::Row,
    standing: &Standing,
    asked: &Operation,
    plan: &Plan,
    asker: &Asker,
    terms: &Terms,
) -> operation::Row {
    let Terms { not_before, deadline, recipient_if_unset } = terms.clone();
    let requirements = if row.is_managed() && asker.needs_approvals() {
        terms::requirements(fleet, standing, asked, &plan.picture.facts)
    } else {
        Default::default()
    };
    let begins = terms::first_state(&requirements, terms.is_later(row.create_time));
    let reason = match begins {
        State::PendingApproval => {
            let missing = state::missing(&requirements, &Default::default()).unwrap_or_default();
            format!("waits for approvals: {missing}")
        }
        State::Scheduled => "waits for its time".to_owned(),
        _ => row.reason.clone(),
    };
    let wait = time::Duration::seconds(fleet.config.approvals.wait_secs.into());
    let approve_by = (begins == State::PendingApproval).then(|| row.create_time.saturating_add(wait));
    operation::Row {
        state: begins.name().to_owned(),
        reason,
        not_before,
        deadline,
        recipient_if_unset: recipient_if_unset.map(Addr),
        requirements: state::stored(&requirements),
        approve_by,
        expire_time: row.expire_time.map(|at| deadline.map_or(at, |deadline| at.min(deadline))),
        ..row
    }
}

/// All calls at once, without nonce: the wallet chooses it.
fn prepared_calls(chain: &Chain, row: &operation::Row, plan: &Plan) -> Vec<transaction::Row> {
    let chain_id = chain.chain_id_column();
    (0_i16..)
        .zip(&plan.calls)
        .map(|(step, call)| planned_row(row.id, step, chain_id, plan.sender, plan, call))
        .collect()
}

/// Callers share a commit. What a loop of ours asks for has a transaction of its own, because what entitles it must
/// hold when the operation is stored, and nothing of it may stay where it is not.
async fn store_once(
    fleet: &Fleet,
    once: &Once,
    asker: &Asker,
    taken: Taken,
) -> Result<CreateOperationResponse, Error> {
    let (network, kind, state) = (taken.row.network.clone(), taken.row.kind.clone(), taken.row.state());
    let outcome = match asker.origin {
        Origin::Caller => fleet.intake.store(taken).await?,
        Origin::Fleet { .. } | Origin::Schedule { .. } => store_alone(fleet, asker, taken).await?,
    };
    match outcome {
        Outcome::Stored(answer) => {
            fleet.metrics.operation(&network, &kind, state.name());
            if state == State::Queued {
                fleet.wake();
            }
            Ok(*answer)
        }
        Outcome::Earlier => {
            let before = seen(fleet, once).await?;
            before.ok_or(Error::Malformed { what: "a request that was taken before" })
        }
        Outcome::InFlight => Err(in_flight().into()),
    }
}

async fn store_alone(fleet: &Fleet, asker: &Asker, taken: Taken) -> Result<Outcome, Error> {
    in_transaction(&fleet.db, |tx| {
        let taken = [taken.clone()];
        Box::pin(async move {
            asker.prove(&*tx).await?;
            match intake::store(&*tx, &taken).await?.pop() {
                Some(Outcome::InFlight) | None => Err(in_flight().into()),
                Some(outcome) => Ok::<_, Error>(outcome),
            }
        })
    })
    .await
}

fn in_flight() -> Refusal {
    Refusal::new(&reasons::OPERATION_IN_FLIGHT, "another operation of this sequencer is not finished")
}
