//! Before-images of what a block changed, so that a revert restores exactly what stood there before.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use uuid::Uuid;

use super::{all, execute};

#[derive(Debug, FromQueryResult)]
struct Row {
    ordinal: i64,
    subject: String,
    key: String,
    before: Option<serde_json::Value>,
}

/// Keeps the position of a sequencer as it is before L1 block `block` changes it.
pub async fn keep_position<C: ConnectionTrait>(
    db: &C,
    network: &str,
    block: i64,
    sequencer: Uuid,
) -> Result<(), Error> {
    let sql = "INSERT INTO lifecycle.undo (network, block_number, subject, key, before) \
               SELECT $1, $2, 'position', $3::text, (SELECT to_jsonb(p) FROM lifecycle.position p \
               WHERE p.sequencer = $3::uuid)";
    let values = [network.into(), block.into(), sequencer.to_string().into()];
    execute(db, "keeping a position for undo", sql, values).await?;
    Ok(())
}

/// Keeps the whitelist entry of an owner (hex without 0x) as it is before L1 block `block` changes it.
pub async fn keep_whitelist_entry<C: ConnectionTrait>(
    db: &C,
    network: &str,
    block: i64,
    owner: &str,
) -> Result<(), Error> {
    let sql = "INSERT INTO lifecycle.undo (network, block_number, subject, key, before) \
               SELECT $1, $2, 'whitelist_entry', $3::text, (SELECT to_jsonb(w) FROM lifecycle.whitelist_entry w \
               WHERE w.network = $1 AND w.owner = decode($3, 'hex'))";
    execute(db, "keeping a whitelist entry for undo", sql, [network.into(), block.into(), owner.into()])
        .await?;
    Ok(())
}

/// What a revert put back.
#[derive(Debug, Default)]
pub struct Restored {
    /// Sequencers whose position changed back.
    pub sequencers: Vec<Uuid>,
    /// Owners whose whitelist entry changed back, hex without 0x.
    pub owners: Vec<String>,
}

/// Restores everything that blocks above `block` changed, newest first.
pub async fn restore_above<C: ConnectionTrait>(db: &C, network: &str, block: i64) -> Result<Restored, Error> {
    let sql = "SELECT ordinal, subject, key, before FROM lifecycle.undo WHERE network = $1 AND block_number > $2 \
               ORDER BY ordinal DESC";
    let rows: Vec<Row> = all(db, "reading the undo journal", sql, [network.into(), block.into()]).await?;
    let mut restored = Restored::default();
    for row in rows {
        let Row { ordinal, subject, key, before } = row;
        if subject == "position" {
            restore_position(db, &key, before).await?;
            restored.sequencers.extend(Uuid::parse_str(&key));
        } else {
            restore_whitelist_entry(db, network, &key, before).await?;
            restored.owners.push(key);
        }
        let sql = "DELETE FROM lifecycle.undo WHERE ordinal = $1";
        execute(db, "removing a row of the undo journal", sql, [ordinal.into()]).await?;
    }
    restored.sequencers.sort_unstable();
    restored.sequencers.dedup();
    restored.owners.sort_unstable();
    restored.owners.dedup();
    Ok(restored)
}

async fn restore_position<C: ConnectionTrait>(
    db: &C,
    key: &str,
    before: Option<serde_json::Value>,
) -> Result<(), Error> {
    let gone = "DELETE FROM lifecycle.position WHERE sequencer = $1::uuid";
    execute(db, "taking back a position", gone, [key.into()]).await?;
    if let Some(before) = before {
        let sql = "INSERT INTO lifecycle.position \
                   SELECT * FROM jsonb_populate_record(null::lifecycle.position, $1)";
        execute(db, "restoring a position", sql, [before.into()]).await?;
    }
    Ok(())
}

async fn restore_whitelist_entry<C: ConnectionTrait>(
    db: &C,
    network: &str,
    key: &str,
    before: Option<serde_json::Value>,
) -> Result<(), Error> {
    let gone = "DELETE FROM lifecycle.whitelist_entry WHERE network = $1 AND owner = decode($2, 'hex')";
    execute(db, "taking back a whitelist entry", gone, [network.into(), key.into()]).await?;
    if let Some(before) = before {
        let sql = "INSERT INTO lifecycle.whitelist_entry \
                   SELECT * FROM jsonb_populate_record(null::lifecycle.whitelist_entry, $1)";
        execute(db, "restoring a whitelist entry", sql, [before.into()]).await?;
    }
    Ok(())
}
