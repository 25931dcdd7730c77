//! What transactions cost in 24 hours, for budgets.

use alloy_primitives::U256;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::Wei;
use uuid::Uuid;

use super::{execute, one};

#[derive(Debug, FromQueryResult)]
struct Sum {
    wei: Wei,
    reserved: Wei,
}

/// What the managed transactions of a network cost in the last 24 hours: by receipts what was paid, and the most that
/// those still in flight may cost. With labels only those of sequencers that have them all.
pub async fn cost_of_a_day<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    labels: Option<serde_json::Value>,
    except: Uuid,
) -> Result<(U256, U256), Error> {
    let sql = "SELECT coalesce(sum(t.paid), 0) AS wei, \
               coalesce(sum(t.gas_limit * t.max_fee + t.value) FILTER (WHERE t.paid IS NULL), 0) AS reserved \
               FROM lifecycle.transaction t JOIN lifecycle.operation o ON o.id = t.operation \
               JOIN lifecycle.sequencer s ON s.id = o.sequencer \
               WHERE o.network = $1 AND o.mode = 'MANAGED' AND t.nonce IS NOT NULL AND t.id <> $3 \
               AND t.state NOT IN ('FOREIGN', 'DROPPED') \
               AND (t.create_time > now() - interval '24 hours' OR (t.paid IS NULL AND NOT t.finalized)) \
               AND ($2::jsonb IS NULL OR s.labels @> $2)";
    let sum: Option<Sum> =
        one(tx, "adding up the fees of a day", sql, [network.into(), labels.into(), except.into()]).await?;
    let Sum { wei, reserved } = sum.ok_or(Error::Row { what: "the fees of a day" })?;
    Ok((wei.0, reserved.0))
}

/// Lets nobody else count the fees of a network until the transaction ends.
pub async fn lock_budget<C: ConnectionTrait>(tx: &C, network: &str) -> Result<(), Error> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended('lifecycle.budget/' || $1, 0))";
    execute(tx, "locking the fee budget", sql, [network.into()]).await?;
    Ok(())
}
