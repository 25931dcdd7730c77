//! Conditions of sequencers that are not states, with the time since which each holds.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute};

/// One condition.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    pub sequencer: Uuid,
    pub name: String,
    pub reason: String,
    pub since: OffsetDateTime,
}

/// Makes `flags` (name and reason) the only ones of the sequencer; those that stay keep their time. True if the set
/// of names changed.
pub async fn replace<C: ConnectionTrait>(
    db: &C,
    sequencer: Uuid,
    flags: &[(String, String)],
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let names: Vec<String> = flags.iter().map(|(name, _)| name.clone()).collect();
    let gone = "DELETE FROM lifecycle.flag WHERE sequencer = $1 AND NOT name = ANY($2)";
    let mut changed = execute(db, "lowering flags", gone, [sequencer.into(), names.into()]).await? > 0;
    for (name, reason) in flags {
        let sql = "INSERT INTO lifecycle.flag (sequencer, name, reason, since) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (sequencer, name) DO UPDATE SET reason = $3 WHERE flag.reason <> $3";
        let values = [sequencer.into(), name.clone().into(), reason.clone().into(), now.into()];
        changed |= execute(db, "raising a flag", sql, values).await? > 0;
    }
    Ok(changed)
}

/// Flags of several sequencers.
pub async fn of_many<C: ConnectionTrait>(db: &C, sequencers: &[Uuid]) -> Result<Vec<Row>, Error> {
    let sql = "SELECT sequencer, name, reason, since FROM lifecycle.flag WHERE sequencer = ANY($1) \
               ORDER BY sequencer, name";
    all(db, "reading flags", sql, [sequencers.to_vec().into()]).await
}
