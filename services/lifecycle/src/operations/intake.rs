//! Stores new operations: what came while the last commit ran is committed together, each with its answer, its first
//! step and its prepared calls, all in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::lifecycle::v1::CreateOperationResponse;
use api::types::v1::Check;
use prost::Message;
use runtime::errors::{Refusal, generic};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use store::group_commit::{self, Batches};
use store::in_transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use super::once::Once;
use super::view;
use crate::db::intake::New;
use crate::db::operation::State;
use crate::db::{intake, operation, transaction};
use crate::error::Error;
use crate::failpoint::{Failpoints, Point};

/// The method under which requests are kept.
pub const METHOD: &str = "CreateOperation";

/// The queue is empty again after about a second.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// An operation that passed every check, ready to be stored.
#[derive(Debug, Clone)]
pub struct Taken {
    pub once: Once,
    pub row: operation::Row,
    /// Of a prepared operation, all at once.
    pub calls: Vec<transaction::Row>,
    pub checks: Vec<Check>,
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Stored, with this answer.
    Stored(Box<CreateOperationResponse>),
    /// Its request was taken before, perhaps a moment ago: what came of it is stored.
    Earlier,
    /// Another managed operation of its sequencer is unfinished.
    InFlight,
}

/// Where operations of callers are handed in.
#[derive(Debug, Clone)]
pub struct Intake(Batches<Taken, Outcome, Error>);

impl Intake {
    /// Starts to take them.
    pub fn start(db: &DatabaseConnection, failpoints: &Failpoints) -> Self {
        let (db, failpoints) = (db.clone(), failpoints.clone());
        Self(Batches::start(move |waiting: Arc<Vec<Taken>>| {
            let (db, failpoints) = (db.clone(), failpoints.clone());
            async move {
                let stored = in_transaction(&db, |tx| {
                    let (waiting, failpoints) = (Arc::clone(&waiting), failpoints.clone());
                    Box::pin(async move {
                        let stored = store(&*tx, &waiting).await?;
                        failpoints.meet(Point::BeforeIntake).await;
                        Ok::<_, Error>(stored)
                    })
                })
                .await?;
                failpoints.meet(Point::AfterIntake).await;
                Ok(stored)
            }
        }))
    }

    /// Stores one with whatever else is waiting.
    pub async fn store(&self, taken: Taken) -> Result<Outcome, Error> {
        self.0.submit(taken).await.map_err(|error| match error {
            group_commit::Error::Full => {
                let words = "as many operations wait to be stored as may";
                Refusal::new(&generic::OVERLOADED, words).retry_after(RETRY_AFTER).into()
            }
            group_commit::Error::Batch(source) => Error::Together(source),
            group_commit::Error::Gone => Error::Undecided,
        })
    }
}

/// Stores several in the caller's transaction and says what became of each, in their order.
pub async fn store<C: ConnectionTrait>(tx: &C, several: &[Taken]) -> Result<Vec<Outcome>, Error> {
    let at = intake::now(tx).await?;
    let mut ids = BTreeSet::new();
    // Of twins the first is stored, and the others find it.
    let firsts: Vec<bool> = several.iter().map(|taken| ids.insert(taken.once.request_id.as_str())).collect();
    let mut answers = Vec::with_capacity(several.len());
    for taken in several {
        answers.push(answer(taken, at)?);
    }
    let new = several.iter().zip(&answers).zip(&firsts).filter(|(_, first)| **first);
    let new: Vec<New<'_>> = new
        .map(|((taken, answer), _)| New {
            request_id: &taken.once.request_id,
            fingerprint: &taken.once.fingerprint,
            response: answer.encode_to_vec(),
            row: &taken.row,
        })
        .collect();
    let fresh = intake::insert(tx, METHOD, at, &new).await?;
    let in_flight: Vec<&str> = several
        .iter()
        .filter(|taken| fresh.get(&taken.row.id) == Some(&false))
        .map(|taken| taken.once.request_id.as_str())
        .collect();
    // A refusal leaves nothing behind: the same request may be made again.
    intake::forget(tx, METHOD, &in_flight).await?;
    let mut queued: Vec<Uuid> = Vec::with_capacity(several.len());
    let mut outcomes = Vec::with_capacity(several.len());
    for (taken, answer) in several.iter().zip(answers) {
        outcomes.push(match fresh.get(&taken.row.id) {
            Some(true) => {
                for call in &taken.calls {
                    transaction::insert(tx, call).await?;
                }
                // What waits for its time or for people is found by the next look anyway.
                if taken.row.state() == State::Queued {
                    queued.push(taken.row.id);
                }
                Outcome::Stored(Box::new(answer))
            }
            Some(false) => Outcome::InFlight,
            None => Outcome::Earlier,
        });
    }
    intake::tell(tx, &queued).await?;
    Ok(outcomes)
}

/// What the caller is told, and would be told again: the operation as it is stored at `at`.
fn answer(taken: &Taken, at: OffsetDateTime) -> Result<CreateOperationResponse, Error> {
    let row = operation::Row { create_time: at, update_time: at, ..taken.row.clone() };
    let operation = Some(view::new_operation(row, taken.calls.clone(), at)?);
    Ok(CreateOperationResponse { operation, checks: taken.checks.clone() })
}
