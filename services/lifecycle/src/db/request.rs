//! A look at a request that may have been handled before, without noting it: the checks of an operation take long,
//! and must not hold a transaction.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::idempotency::Begun;

use super::one;

#[derive(Debug, FromQueryResult)]
struct Row {
    fingerprint: Vec<u8>,
    response: Option<Vec<u8>>,
}

/// What is known of a request now. `New` may be outdated at once: only `idempotency::begin` decides.
pub async fn seen<C: ConnectionTrait>(
    db: &C,
    request_id: &str,
    method: &str,
    fingerprint: &[u8],
) -> Result<Begun, Error> {
    let sql = "SELECT fingerprint, response FROM lifecycle.request WHERE request_id = $1 AND method = $2";
    let row: Option<Row> =
        one(db, "looking for an earlier request", sql, [request_id.into(), method.into()]).await?;
    Ok(match row {
        Some(row) if row.fingerprint != fingerprint => Begun::Reused,
        Some(Row { response: Some(response), .. }) => Begun::Replay(response),
        _ => Begun::New,
    })
}
