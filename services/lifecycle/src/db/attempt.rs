//! Every signed form of a transaction, kept before it is sent. Any of these hashes may be the one that is mined.

use alloy_primitives::B256;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::{Hash, Wei};
use uuid::Uuid;

use super::{all, execute};

/// One signed form.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    pub transaction: Uuid,
    pub hash: Hash,
    /// The bytes; none where a wallet told only the hash.
    pub raw: Option<Vec<u8>>,
    pub max_fee: Wei,
    pub max_priority: Wei,
    /// [`CALL`] or [`CANCEL`].
    pub intent: String,
}

/// The call of its row.
pub const CALL: &str = "CALL";
/// Nothing, sent to oneself: the nonce is spent and the call cannot be mined any more.
pub const CANCEL: &str = "CANCEL";

/// Keeps a signed form; the same one again changes nothing.
pub async fn put<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let Row { transaction, hash, raw, max_fee, max_priority, intent } = row.clone();
    let sql = "INSERT INTO lifecycle.attempt (transaction, hash, raw, max_fee, max_priority, intent) \
               VALUES ($1,$2,$3,$4,$5,$6) ON CONFLICT (hash) DO NOTHING";
    let values =
        [transaction.into(), hash.into(), raw.into(), max_fee.into(), max_priority.into(), intent.into()];
    execute(tx, "keeping a signed form", sql, values).await?;
    Ok(())
}

/// The signed forms of a transaction, oldest first.
pub async fn of<C: ConnectionTrait>(db: &C, transaction: Uuid) -> Result<Vec<Row>, Error> {
    let sql = "SELECT transaction, hash, raw, max_fee, max_priority, intent FROM lifecycle.attempt \
               WHERE transaction = $1 ORDER BY ordinal";
    all(db, "reading the signed forms of a transaction", sql, [transaction.into()]).await
}

/// All hashes of a transaction.
pub fn hashes(attempts: &[Row]) -> Vec<B256> {
    attempts.iter().map(|attempt| attempt.hash.0).collect()
}
