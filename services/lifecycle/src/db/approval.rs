//! Who said yes or no to what. Rows are only added.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::Hash;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute};

/// One decision about an operation or a fleet operation.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    /// Operation or fleet operation.
    pub subject: Uuid,
    pub identity: String,
    pub approved: bool,
    /// What exactly was read.
    pub digest: Hash,
    pub reason: String,
    pub time: OffsetDateTime,
    /// Counts until then.
    pub expire_time: OffsetDateTime,
}

/// Adds a decision.
pub async fn append<C: ConnectionTrait>(tx: &C, row: &Row) -> Result<(), Error> {
    let Row { subject, identity, approved, digest, reason, time, expire_time } = row.clone();
    let sql = "INSERT INTO lifecycle.approval (subject, identity, approved, digest, reason, time, expire_time) \
               VALUES ($1,$2,$3,$4,$5,$6,$7)";
    let values = [
        subject.into(),
        identity.into(),
        approved.into(),
        digest.into(),
        reason.into(),
        time.into(),
        expire_time.into(),
    ];
    execute(tx, "recording a decision", sql, values).await?;
    Ok(())
}

/// All decisions about several subjects, oldest first.
pub async fn of_many<C: ConnectionTrait>(db: &C, subjects: &[Uuid]) -> Result<Vec<Row>, Error> {
    let sql = "SELECT subject, identity, approved, digest, reason, time, expire_time FROM lifecycle.approval \
               WHERE subject = ANY($1) ORDER BY time, identity";
    all(db, "reading decisions", sql, [subjects.to_vec().into()]).await
}
