//! The store on a real Postgres, as the role of a service.

mod column;
mod group_commit;
mod idempotency;
mod lease;
mod notify;
mod pool;
mod rows;
mod trace;
mod transaction;

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::statement;

/// Any schema will do: all have the same frame.
const SCHEMA: &str = "indexer";

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the store failed")]
    Store(#[from] store::Error),
    #[error("the lease is lost")]
    Fence(#[from] store::lease::FenceError),
    #[error("a statement failed")]
    Sql(#[from] sea_orm::DbErr),
    #[error("refused by the test")]
    Refused,
}

/// An effect that can be counted: a row of the frame's request table.
async fn effect<C: ConnectionTrait>(db: &C, id: &str) -> Result<(), sea_orm::DbErr> {
    let sql = "INSERT INTO indexer.request (request_id, method, fingerprint) VALUES ($1, 'effect', '')";
    db.execute_raw(statement(sql, [id.into()])).await.map(|_| ())
}

#[derive(FromQueryResult)]
struct Effect {
    request_id: String,
}

async fn effects<C: ConnectionTrait>(db: &C) -> Vec<String> {
    let sql = "SELECT request_id FROM indexer.request WHERE method = 'effect' ORDER BY request_id";
    let rows = Effect::find_by_statement(statement(sql, [])).all(db).await.expect("rows");
    rows.into_iter().map(|row| row.request_id).collect()
}
