//! What must run only once at a time: fenced leases.
//!
//! A lease is a row of `<schema>.lease`. Its **epoch** grows with every acquisition and never
//! comes back. Holding the lease is only a hint; the right to write is proved by [`fence`], in
//! the same transaction as the write. A holder that was stopped and wakes up after another has
//! taken over therefore writes nothing.
//!
//! Time is the database's: the clocks of the holders do not matter. A holder that was killed is not waited for
//! ([`crate::holder`]).

use std::{future::Future, time::Duration};

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tracing::{Instrument, info, info_span, warn};

use crate::{Error, error::sqlstate, holder::Holder, statement};

/// The lock of the lease row is held by a fenced transaction of the holder: try again later.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Renewed this many times within the time to live, so that two lost renewals do no harm.
pub(crate) const RENEWALS_IN_TTL: u32 = 3;
/// Who waits looks again after this, and each time after twice as long, up to the time between renewals: the server may
/// take a moment to notice that the process before was killed, while a standby waits for days.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// Milliseconds that a fenced transaction may wait for its own process: the next holder cannot take over before it ends.
const FENCED_IDLE_MAX_MS: &str = "5000";

/// The right to act, until someone else takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Identifies this holding; goes into [`fence`] with every effect.
    pub epoch: i64,
}

/// Names one lease and who wants it.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Schema whose `lease` table holds the row; written into SQL, hence a constant.
    pub schema: &'static str,
    /// Name of the lease, as in `l1:sepolia`.
    pub name: String,
    /// Who holds it.
    pub holder: Holder,
    /// How long it lasts without renewal.
    pub ttl: Duration,
}

/// Why an effect was not allowed, or could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// Another holder has taken over: stop, and write nothing.
    #[error("lease {name} is no longer held with epoch {epoch}")]
    Fenced {
        /// The lease.
        name: String,
        /// The epoch that is no longer current.
        epoch: i64,
    },
    /// The check itself failed.
    #[error("checking the fence of a lease")]
    Unchecked(#[source] Error),
}

/// Takes the lease if it is free, released, expired by the database's clock, or its holder is gone.
///
/// `None` when someone holds it, even under the same `holder`: every acquisition is a new epoch.
///
/// # Errors
/// When a statement fails.
pub async fn acquire(db: &DatabaseConnection, claim: &Claim) -> Result<Option<Lease>, Error> {
    let Claim { schema, name, holder, ttl } = claim;
    holder.appear(db).await?;
    let sql = format!(
        "INSERT INTO {schema}.lease AS l (name, epoch, holder, expires_at)
         VALUES ($1, 1, $2, clock_timestamp() + $3 * interval '1 millisecond')
         ON CONFLICT (name) DO UPDATE
            SET epoch = l.epoch + 1, holder = excluded.holder, expires_at = excluded.expires_at
          WHERE l.expires_at <= clock_timestamp() OR pg_try_advisory_xact_lock(hashtextextended(l.holder, 0))
         RETURNING epoch"
    );
    let values = [name.clone().into(), holder.name().into(), millis(*ttl).into()];
    let row = match db.query_one_raw(statement(sql, values)).await {
        Err(error) if sqlstate(&error).as_deref() == Some(LOCK_NOT_AVAILABLE) => return Ok(None),
        row => row.map_err(Error::at("acquiring a lease"))?,
    };
    let Some(row) = row else { return Ok(None) };
    let epoch = row.try_get("", "epoch").map_err(Error::at("reading the epoch of a lease"))?;
    Ok(Some(Lease { epoch }))
}

/// Gives the lease back, so that the next holder need not wait; harmless if it is lost already.
///
/// # Errors
/// When the statement fails; the lease then simply expires.
pub async fn release<C: ConnectionTrait>(db: &C, claim: &Claim, lease: Lease) -> Result<(), Error> {
    let Claim { schema, name, holder: _, ttl: _ } = claim;
    // The row stays, because its epoch must never be used again.
    let sql = format!(
        "UPDATE {schema}.lease SET expires_at = '-infinity'
          WHERE name = $1 AND epoch = $2"
    );
    let values = [name.clone().into(), lease.epoch.into()];
    db.execute_raw(statement(sql, values)).await.map_err(Error::at("releasing a lease"))?;
    Ok(())
}

/// Proves, inside the transaction of an effect, that `epoch` is still the current one, and keeps
/// it so until that transaction ends: a takeover waits for it.
///
/// Fenced transactions must be much shorter than the time to live, since renewals wait too.
///
/// # Errors
/// [`FenceError::Fenced`] when another has taken over: roll back and stop.
pub async fn fence<C: ConnectionTrait>(
    tx: &C,
    schema: &'static str,
    name: &str,
    epoch: i64,
) -> Result<(), FenceError> {
    // FOR SHARE, not FOR KEY SHARE: only it conflicts with the takeover's update. From then on the server ends the
    // transaction of a holder that was stopped in the middle of it.
    let sql = format!(
        "SELECT set_config('idle_in_transaction_session_timeout', $3, true)
           FROM {schema}.lease WHERE name = $1 AND epoch = $2 FOR SHARE"
    );
    let row = tx
        .query_one_raw(statement(sql, [name.into(), epoch.into(), FENCED_IDLE_MAX_MS.into()]))
        .await
        .map_err(|source| FenceError::Unchecked(Error::at("locking the row of a lease")(source)))?;
    match row {
        Some(_) => Ok(()),
        None => Err(FenceError::Fenced { name: name.to_owned(), epoch }),
    }
}

/// Waits for the lease, runs `work` while it is held, and gives it back.
///
/// `Some` with the result when the work ended by itself; `None` when the lease was lost, and then
/// the work was dropped where it stood. Call it in a loop, and drop it to stop: the lease then
/// expires. The work must still [`fence`] every effect.
///
/// # Errors
/// When the database cannot be asked for the lease.
pub async fn while_held<T, F, Fut>(
    db: &DatabaseConnection,
    claim: &Claim,
    work: F,
) -> Result<Option<T>, Error>
where
    F: FnOnce(Lease) -> Fut,
    Fut: Future<Output = T>,
{
    let lease = wait_for(db, claim).await?;
    let (Lease { epoch }, holder) = (lease, &claim.holder);
    let span = info_span!("lease", lease.name = %claim.name, lease.epoch = epoch);
    async {
        info!("lease {} is held with epoch {epoch}", claim.name);
        tokio::select! {
            done = work(lease) => {
                release(db, claim, lease).await?;
                Ok(Some(done))
            }
            () = holder.renewals().add(db, claim, lease).until_lost() => {
                warn!("lease {} with epoch {epoch} is lost", claim.name);
                Ok(None)
            }
        }
    }
    .instrument(span)
    .await
}

async fn wait_for(db: &DatabaseConnection, claim: &Claim) -> Result<Lease, Error> {
    let mut wait = FIRST_LOOK;
    loop {
        if let Some(lease) = acquire(db, claim).await? {
            return Ok(lease);
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(claim.ttl / RENEWALS_IN_TTL);
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
