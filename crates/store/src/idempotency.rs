//! The same request twice has one effect and one answer (AIP-155).
//!
//! A row of `<schema>.request` is written in the transaction of the effect, with the answer. A
//! twin that arrives meanwhile waits for that transaction and then gets the same answer.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use crate::{Error, statement};

/// A row can vanish between two statements only by [`forget`]; twice is no accident.
const ATTEMPTS_MAX: u32 = 3;

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Never seen: do it, then call [`finish`] in the same transaction.
    New,
    /// Done before with the same body: this was the answer.
    Replay(Vec<u8>),
    /// The id was used for another body: refuse.
    Reused,
}

/// Notes that `request_id` is being handled, or says what came of it before.
///
/// `fingerprint` is a hash of everything that makes two requests the same: the body without the
/// request id **and the caller's identity**, so that one caller never sees another's answer.
///
/// # Errors
/// When a statement fails.
pub async fn begin<C: ConnectionTrait>(
    tx: &C,
    schema: &'static str,
    request_id: &str,
    method: &str,
    fingerprint: &[u8],
) -> Result<Begun, Error> {
    // The insert waits while a twin's transaction is open, so that after it the row is settled.
    let insert = format!(
        "INSERT INTO {schema}.request (request_id, method, fingerprint) VALUES ($1, $2, $3)
         ON CONFLICT (request_id, method) DO NOTHING"
    );
    let select =
        format!("SELECT fingerprint, response FROM {schema}.request WHERE request_id = $1 AND method = $2");
    for _ in 0..ATTEMPTS_MAX {
        let values = [request_id.into(), method.into(), fingerprint.to_vec().into()];
        let inserted =
            tx.execute_raw(statement(&insert, values)).await.map_err(Error::at("noting a request"))?;
        if inserted.rows_affected() == 1 {
            return Ok(Begun::New);
        }
        let row = tx
            .query_one_raw(statement(&select, [request_id.into(), method.into()]))
            .await
            .map_err(Error::at("reading an earlier request"))?;
        let Some(row) = row else { continue };
        let before: Vec<u8> =
            row.try_get("", "fingerprint").map_err(Error::at("reading the fingerprint of a request"))?;
        if before != fingerprint {
            return Ok(Begun::Reused);
        }
        let response: Option<Vec<u8>> =
            row.try_get("", "response").map_err(Error::at("reading the response of a request"))?;
        return response.map(Begun::Replay).ok_or(Error::Row { what: "an unfinished request" });
    }
    Err(Error::Row { what: "a request" })
}

/// Keeps the answer beside the effect. Must run in the transaction of [`begin`].
///
/// # Errors
/// When the statement fails, or nothing was begun.
pub async fn finish<C: ConnectionTrait>(
    tx: &C,
    schema: &'static str,
    request_id: &str,
    method: &str,
    response: &[u8],
) -> Result<(), Error> {
    let sql = format!("UPDATE {schema}.request SET response = $3 WHERE request_id = $1 AND method = $2");
    let values = [request_id.into(), method.into(), response.to_vec().into()];
    let done =
        tx.execute_raw(statement(sql, values)).await.map_err(Error::at("keeping the answer of a request"))?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Row { what: "a request that was never begun" })
    }
}

/// Removes at most `rows_max` requests older than `age` and says how many it removed.
///
/// # Errors
/// When the statement fails.
pub async fn forget<C: ConnectionTrait>(
    db: &C,
    schema: &'static str,
    age: Duration,
    rows_max: u32,
) -> Result<u64, Error> {
    let sql = format!(
        "DELETE FROM {schema}.request WHERE (request_id, method) IN (
            SELECT request_id, method FROM {schema}.request
             WHERE created_at < clock_timestamp() - $1 * interval '1 second'
             ORDER BY created_at LIMIT $2)"
    );
    let age_secs = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    let done = db
        .execute_raw(statement(sql, [age_secs.into(), i64::from(rows_max).into()]))
        .await
        .map_err(Error::at("forgetting old requests"))?;
    Ok(done.rows_affected())
}
