//! One person's yes or no. What it is about is read under its lock, so that what is approved is what was read.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use api::lifecycle::v1::{
    ApproveOperationRequest, ApproveOperationResponse, Operation, RejectOperationRequest,
    RejectOperationResponse,
};
use api::{convert, reasons};
use domain::approval::{Requirement, may_decide};
use runtime::errors::Refusal;
use sea_orm::ConnectionTrait;
use store::column::Hash;
use store::in_transaction;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::state::{approved, digest_of, missing, requirements};
use crate::db::operation::State;
use crate::db::{approval, operation};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::operations::submit;
use crate::operations::view;
use crate::request;

/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 500;

/// What somebody says.
#[derive(Debug, Clone)]
pub enum Said {
    /// Yes, to what has this digest.
    Yes { digest: B256, reason: String },
    /// No.
    No { reason: String },
}

/// What it is said about, with its lock held.
#[derive(Debug)]
pub struct About<'a> {
    pub subject: Uuid,
    pub requester: &'a str,
    pub requirements: &'a BTreeSet<Requirement>,
    pub digest: B256,
}

/// What the decision leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Enough have said yes.
    Approved,
    /// Still missing, in words.
    Waits(String),
    /// Somebody said no: who and why.
    Rejected(String),
}

/// Approves an operation; doing so again changes nothing.
pub async fn approve(
    fleet: &Fleet,
    request: ApproveOperationRequest,
    identity: &str,
) -> Result<ApproveOperationResponse, Error> {
    let ApproveOperationRequest { id, digest, reason } = request;
    let said = Said::Yes { digest: convert::hash("digest", &digest)?, reason: cut(&reason) };
    let operation = decide(fleet, request::id("id", &id)?, identity, said).await?;
    Ok(ApproveOperationResponse { operation: Some(operation) })
}

/// Rejects an operation, which ends it.
pub async fn reject(
    fleet: &Fleet,
    request: RejectOperationRequest,
    identity: &str,
) -> Result<RejectOperationResponse, Error> {
    let RejectOperationRequest { id, reason } = request;
    let said = Said::No { reason: cut(&reason) };
    let operation = decide(fleet, request::id("id", &id)?, identity, said).await?;
    Ok(RejectOperationResponse { operation: Some(operation) })
}

/// A reason as it is kept.
pub fn cut(reason: &str) -> String {
    reason.chars().filter(|letter| !letter.is_control()).take(REASON_CHARS_MAX).collect()
}

async fn decide(fleet: &Fleet, id: Uuid, identity: &str, said: Said) -> Result<Operation, Error> {
    let now = fleet.clock.now();
    let shown = in_transaction(&fleet.db, |tx| {
        let said = said.clone();
        Box::pin(async move {
            let row = operation::lock(&*tx, id).await?.ok_or_else(|| submit::missing(id))?;
            let requirements = requirements(&row.requirements);
            let about = About {
                subject: id,
                requester: &row.caller,
                requirements: &requirements,
                digest: digest_of(&row),
            };
            if row.state() != State::PendingApproval {
                let before = approval::of_many(&*tx, &[id]).await?;
                if !said_before(&before, identity, &said) {
                    return Err(not_awaited(row.state().name()).into());
                }
            } else {
                match record(fleet, &*tx, &about, identity, &said, now).await? {
                    // The agenda finds out whether its time has come.
                    Settled::Approved => {
                        operation::enter(&*tx, id, State::Scheduled, "approved", "").await?;
                    }
                    Settled::Waits(why) => {
                        let reason = format!("waits for approvals: {why}");
                        operation::enter(&*tx, id, State::PendingApproval, &reason, "").await?;
                    }
                    Settled::Rejected(why) => {
                        let code = reasons::OPERATION_REJECTED.name;
                        operation::enter(&*tx, id, State::Cancelled, &why, code).await?;
                    }
                }
            }
            let row = operation::of_id(&*tx, id).await?.ok_or_else(|| submit::missing(id))?;
            view::operation_of(&*tx, row).await
        })
    })
    .await?;
    fleet.wake();
    Ok(shown)
}

/// Records a decision, if this identity may make it and means what waits, and says what it leads to.
pub async fn record<C: ConnectionTrait>(
    fleet: &Fleet,
    tx: &C,
    about: &About<'_>,
    identity: &str,
    said: &Said,
    now: OffsetDateTime,
) -> Result<Settled, Error> {
    let About { subject, requester, requirements, digest } = *about;
    may_decide(requirements, requester, identity).map_err(|no| {
        Refusal::new(&reasons::APPROVAL_NOT_ALLOWED, no.to_string()).meta("identity", identity)
    })?;
    let (yes, reason) = match said {
        Said::Yes { digest: read, .. } if *read != digest => {
            let words = "this is not the digest of what waits";
            return Err(Refusal::new(&reasons::APPROVAL_DIGEST_MISMATCH, words)
                .meta("digest", digest)
                .into());
        }
        Said::Yes { reason, .. } => (true, reason.clone()),
        Said::No { reason } => (false, reason.clone()),
    };
    let before = approval::of_many(tx, &[subject]).await?;
    if !(yes && approved(&before, digest, now).contains(identity)) {
        let valid = Duration::seconds(fleet.config.approvals.valid_secs.into());
        let row = approval::Row {
            subject,
            identity: identity.to_owned(),
            approved: yes,
            digest: Hash(digest),
            reason: reason.clone(),
            time: now,
            expire_time: now.saturating_add(valid),
        };
        approval::append(tx, &row).await?;
    }
    if !yes {
        let why = if reason.is_empty() { "without a reason".to_owned() } else { reason };
        return Ok(Settled::Rejected(format!("rejected by {identity}: {why}")));
    }
    let after = approval::of_many(tx, &[subject]).await?;
    Ok(missing(requirements, &approved(&after, digest, now)).map_or(Settled::Approved, Settled::Waits))
}

/// Whether this identity has said the same before: then saying it again is no error.
pub fn said_before(rows: &[approval::Row], identity: &str, said: &Said) -> bool {
    rows.iter().any(|row| {
        row.identity == identity
            && match said {
                Said::Yes { digest, .. } => row.approved && row.digest.0 == *digest,
                Said::No { .. } => !row.approved,
            }
    })
}

/// The refusal where nothing waits for a decision.
pub fn not_awaited(state: &str) -> Refusal {
    Refusal::new(&reasons::APPROVAL_NOT_AWAITED, format!("it is {state} and waits for no approval"))
        .meta("state", state)
}
