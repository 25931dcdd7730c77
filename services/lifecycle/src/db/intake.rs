//! New operations, several at once: the request with its answer, the row, and the first step, in one statement.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::operation::{self, CHANNEL};
use super::{all, execute, one};

/// One that is to be stored.
#[derive(Debug)]
pub struct New<'a> {
    pub request_id: &'a str,
    pub fingerprint: &'a [u8],
    /// The answer that is kept for the request.
    pub response: Vec<u8>,
    /// Its times are those of the insertion.
    pub row: &'a operation::Row,
}

#[derive(Debug, FromQueryResult)]
struct Now {
    now: OffsetDateTime,
}

#[derive(Debug, FromQueryResult)]
struct Fresh {
    id: Uuid,
    stored: bool,
}

/// The server's clock, by which all times of a row are.
pub async fn now<C: ConnectionTrait>(tx: &C) -> Result<OffsetDateTime, Error> {
    let row: Option<Now> = one(tx, "reading the clock", "SELECT clock_timestamp() AS now", []).await?;
    row.map(|row| row.now).ok_or(Error::Row { what: "the clock" })
}

/// Empty text, empty bytes and the zero of times stand for null: arrays of parameters have no nulls.
const INSERT: &str = "
    WITH asked AS MATERIALIZED (
      SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::uuid[], $5::uuid[], $6::text[], $7::uuid[], $8::text[],
                           $9::bytea[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
                           $16::bigint[], $17::bytea[], $18::text[], $19::bigint[], $20::bigint[], $21::bigint[],
                           $22::bytea[], $23::jsonb[], $24::bigint[], $25::text[])
          AS a (request, fingerprint, response, id, request_id, network, sequencer, kind, parameters, mode, state, reason,
                reason_code, words, caller, chain_id, account, key_id, expire, not_before, deadline, recipient,
                requirements, approve_by, origin)),
    fresh AS (
      INSERT INTO lifecycle.request (request_id, method, fingerprint, response)
      SELECT request, $26, fingerprint, response FROM asked ORDER BY request
      ON CONFLICT (request_id, method) DO NOTHING RETURNING request_id),
    stored AS (
      INSERT INTO lifecycle.operation (id, request_id, network, sequencer, kind, parameters, mode, state, reason, reason_code,
               words, caller, chain_id, account, key_id, expire_time, not_before, deadline, recipient_if_unset,
               requirements, approve_by, origin, create_time, update_time)
      SELECT a.id, a.request_id, a.network, a.sequencer, a.kind, a.parameters, a.mode, a.state, a.reason, a.reason_code,
               a.words, a.caller, a.chain_id, a.account, NULLIF(a.key_id, ''), epoch + NULLIF(a.expire, 0) * micro,
               epoch + NULLIF(a.not_before, 0) * micro, epoch + NULLIF(a.deadline, 0) * micro, NULLIF(a.recipient, ''),
               a.requirements, epoch + NULLIF(a.approve_by, 0) * micro, a.origin, $27, $27
        FROM asked a JOIN fresh f ON f.request_id = a.request,
             (VALUES (timestamptz 'epoch', interval '1 microsecond')) AS clock (epoch, micro)
       ORDER BY a.sequencer
      ON CONFLICT (sequencer) WHERE mode = 'MANAGED' AND open AND NOT reopened DO NOTHING RETURNING id),
    begun AS (
      INSERT INTO lifecycle.operation_step (operation, state, reason, time)
      SELECT a.id, a.state, a.reason, $27 FROM asked a JOIN stored USING (id) ORDER BY a.id)
    SELECT a.id, s.id IS NOT NULL AS stored
      FROM asked a JOIN fresh f ON f.request_id = a.request LEFT JOIN stored s ON s.id = a.id";

/// Stores them; each has a request of its own. Says of each whose request is new whether it is stored: it is not where
/// another managed operation of its sequencer is open.
pub async fn insert<C: ConnectionTrait>(
    tx: &C,
    method: &str,
    at: OffsetDateTime,
    several: &[New<'_>],
) -> Result<BTreeMap<Uuid, bool>, Error> {
    if several.is_empty() {
        return Ok(BTreeMap::new());
    }
    fn column<'a, T>(several: &'a [New<'a>], of: impl Fn(&New<'a>) -> T) -> Vec<T> {
        several.iter().map(of).collect()
    }
    let text = |of: fn(&operation::Row) -> &str| column(several, |new| of(new.row).to_owned());
    let time = |of: fn(&operation::Row) -> Option<OffsetDateTime>| column(several, |new| micros(of(new.row)));
    let values = [
        column(several, |new| new.request_id.to_owned()).into(),
        column(several, |new| new.fingerprint.to_vec()).into(),
        column(several, |new| new.response.clone()).into(),
        column(several, |new| new.row.id).into(),
        column(several, |new| new.row.request_id).into(),
        text(|row| &row.network).into(),
        column(several, |new| new.row.sequencer).into(),
        text(|row| &row.kind).into(),
        column(several, |new| new.row.parameters.clone()).into(),
        text(|row| &row.mode).into(),
        text(|row| &row.state).into(),
        text(|row| &row.reason).into(),
        text(|row| &row.reason_code).into(),
        text(|row| &row.words).into(),
        text(|row| &row.caller).into(),
        column(several, |new| new.row.chain_id).into(),
        column(several, |new| new.row.account).into(),
        text(|row| row.key_id.as_deref().unwrap_or_default()).into(),
        time(|row| row.expire_time).into(),
        time(|row| row.not_before).into(),
        time(|row| row.deadline).into(),
        column(several, |new| new.row.recipient_if_unset.map(|to| to.0.to_vec()).unwrap_or_default()).into(),
        column(several, |new| new.row.requirements.clone()).into(),
        time(|row| row.approve_by).into(),
        text(|row| &row.origin).into(),
        method.into(),
        at.into(),
    ];
    let rows: Vec<Fresh> = all(tx, "storing operations", INSERT, values).await?;
    Ok(rows.into_iter().map(|Fresh { id, stored }| (id, stored)).collect())
}

/// Takes requests back that had no effect.
pub async fn forget<C: ConnectionTrait>(tx: &C, method: &str, request_ids: &[&str]) -> Result<(), Error> {
    if request_ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = request_ids.iter().map(|id| (*id).to_owned()).collect();
    let sql = "DELETE FROM lifecycle.request WHERE method = $1 AND request_id = ANY($2)";
    execute(tx, "taking back requests", sql, [method.into(), ids.into()]).await?;
    Ok(())
}

/// Wakes whoever watches operations.
pub async fn tell<C: ConnectionTrait>(tx: &C, operations: &[Uuid]) -> Result<(), Error> {
    for id in operations {
        store::notify::notify(tx, CHANNEL, &id.to_string()).await?;
    }
    Ok(())
}

/// Microseconds since 1970, as exact as the table; 0 for none.
fn micros(at: Option<OffsetDateTime>) -> i64 {
    at.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000).ok()).unwrap_or(0)
}
