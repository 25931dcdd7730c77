//! `keys.signature`: what a backend that draws random numbers has signed, so that it says the same again.

use alloy_primitives::B256;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::Hash;
use store::statement;

use crate::backend::{Numbers, der};
use crate::error::Failure;

#[derive(FromQueryResult)]
struct Row {
    numbers: Vec<u8>,
}

/// What this key has signed for this digest.
pub async fn of<C: ConnectionTrait>(db: &C, key_id: &str, digest: &B256) -> Result<Option<Numbers>, Failure> {
    let sql = "SELECT numbers FROM keys.signature WHERE key_id = $1 AND digest = $2";
    let row = Row::find_by_statement(statement(sql, [key_id.into(), Hash(*digest).into()]))
        .one(db)
        .await
        .map_err(Failure::at("reading a signature"))?;
    row.map(|row| numbers(&row)).transpose()
}

/// Keeps a signature, unless there is one, and gives the one that is kept.
pub async fn keep<C: ConnectionTrait>(
    db: &C,
    key_id: &str,
    digest: &B256,
    made: Numbers,
) -> Result<Numbers, Failure> {
    let sql = "INSERT INTO keys.signature (key_id, digest, numbers) VALUES ($1, $2, $3)
               ON CONFLICT DO NOTHING RETURNING numbers";
    let values = [key_id.into(), Hash(*digest).into(), made.to_bytes().to_vec().into()];
    let kept = Row::find_by_statement(statement(sql, values))
        .one(db)
        .await
        .map_err(Failure::at("keeping a signature"))?;
    match kept {
        Some(row) => numbers(&row),
        None => {
            of(db, key_id, digest).await?.ok_or(Failure::Store(store::Error::Row { what: "a signature" }))
        }
    }
}

fn numbers(row: &Row) -> Result<Numbers, Failure> {
    der::signature_of_64(&row.numbers).map_err(|_| Failure::Store(store::Error::Row { what: "a signature" }))
}
