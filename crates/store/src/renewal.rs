//! Renewing the leases of one holder together: a statement for each would cost a commit for each, and an account that
//! waits for a block has a lease too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Value};
use tokio::sync::oneshot;
use tracing::warn;

use crate::holder::WeakHolder;
use crate::lease::{Claim, Lease, RENEWALS_IN_TTL, millis};
use crate::{Error, Holder, statement};

/// The leases of a holder that are renewed, by schema and time to live.
#[derive(Debug, Default)]
pub(crate) struct Renewals(Mutex<HashMap<(&'static str, Duration), Arc<Group>>>);

/// Those with the same time to live.
#[derive(Debug, Default)]
struct Group(Mutex<BTreeMap<String, Held>>);

#[derive(Debug)]
struct Held {
    epoch: i64,
    lost: oneshot::Sender<()>,
}

/// Ends the renewals of one lease when it is dropped.
#[derive(Debug)]
pub(crate) struct Renewed {
    group: Arc<Group>,
    name: String,
    epoch: i64,
    lost: oneshot::Receiver<()>,
}

impl Renewals {
    /// Renews a lease from now on.
    pub(crate) fn add(&self, db: &DatabaseConnection, claim: &Claim, lease: Lease) -> Renewed {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let group = groups.entry((claim.schema, claim.ttl)).or_insert_with(|| {
            let group = Arc::new(Group::default());
            tokio::spawn(keep_renewing(
                db.clone(),
                claim.schema,
                claim.ttl,
                claim.holder.downgrade(),
                Arc::downgrade(&group),
            ));
            group
        });
        let (sender, lost) = oneshot::channel();
        let held = Held { epoch: lease.epoch, lost: sender };
        group.leases().insert(claim.name.clone(), held);
        Renewed { group: Arc::clone(group), name: claim.name.clone(), epoch: lease.epoch, lost }
    }
}

impl Renewed {
    /// Ends when another has taken over.
    pub(crate) async fn until_lost(mut self) {
        if (&mut self.lost).await.is_err() {
            // The group has gone with the holder: nobody renews any more, and the lease ends by itself.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Renewed {
    fn drop(&mut self) {
        let mut leases = self.group.leases();
        if leases.get(&self.name).is_some_and(|held| held.epoch == self.epoch) {
            leases.remove(&self.name);
        }
    }
}

impl Group {
    fn leases(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_lost(&self, name: &str, epoch: i64) {
        let mut leases = self.leases();
        if leases.get(name).is_some_and(|held| held.epoch == epoch)
            && let Some(held) = leases.remove(name)
        {
            // Who does not listen any more has given it back.
            let _ = held.lost.send(());
        }
    }
}

/// Until the holder or the group is gone.
async fn keep_renewing(
    db: DatabaseConnection,
    schema: &'static str,
    ttl: Duration,
    holder: WeakHolder,
    group: Weak<Group>,
) {
    loop {
        tokio::time::sleep(ttl / RENEWALS_IN_TTL).await;
        let (Some(holder), Some(group)) = (holder.upgrade(), group.upgrade()) else { return };
        if let Err(error) = renew_group(&db, schema, ttl, &holder, &group).await {
            // What the holder may still do is decided by the fence.
            warn!(
                error = &error as &dyn std::error::Error,
                "renewing the leases of {} failed",
                holder.name()
            );
        }
    }
}

async fn renew_group(
    db: &DatabaseConnection,
    schema: &'static str,
    ttl: Duration,
    holder: &Holder,
    group: &Group,
) -> Result<(), Error> {
    let held: Vec<(String, i64)> =
        group.leases().iter().map(|(name, held)| (name.clone(), held.epoch)).collect();
    if held.is_empty() {
        return Ok(());
    }
    let renewed = renew_free(db, schema, ttl, &held).await?;
    let left: Vec<(String, i64)> = held.into_iter().filter(|(name, _)| !renewed.contains(name)).collect();
    if !left.is_empty() {
        let ours = still_ours(db, schema, &left).await?;
        for (name, epoch) in left.into_iter().filter(|(name, _)| !ours.contains(name)) {
            group.tell_lost(&name, epoch);
        }
    }
    // After the renewals, which alone decide: without that connection the leases are only easier to take.
    holder.appear(db).await
}

/// Renews those whose rows nobody has locked, and names them. Whoever works under a lease keeps others from taking it; it
/// is renewed the next time.
async fn renew_free(
    db: &DatabaseConnection,
    schema: &'static str,
    ttl: Duration,
    held: &[(String, i64)],
) -> Result<BTreeSet<String>, Error> {
    let sql = format!(
        "WITH free AS (
           SELECT l.name FROM {schema}.lease l JOIN unnest($1::text[], $2::bigint[]) AS held (name, epoch) USING (name, epoch)
              FOR NO KEY UPDATE OF l SKIP LOCKED)
         UPDATE {schema}.lease l SET expires_at = clock_timestamp() + $3 * interval '1 millisecond'
           FROM free WHERE l.name = free.name RETURNING l.name"
    );
    let (names, epochs): (Vec<String>, Vec<i64>) = held.iter().cloned().unzip();
    named(db, &sql, vec![names.into(), epochs.into(), millis(ttl).into()]).await
}

/// Those of which nobody else has become the holder.
async fn still_ours(
    db: &DatabaseConnection,
    schema: &'static str,
    held: &[(String, i64)],
) -> Result<BTreeSet<String>, Error> {
    let sql = format!(
        "SELECT name FROM {schema}.lease JOIN unnest($1::text[], $2::bigint[]) AS held (name, epoch) USING (name, epoch)"
    );
    let (names, epochs): (Vec<String>, Vec<i64>) = held.iter().cloned().unzip();
    named(db, &sql, vec![names.into(), epochs.into()]).await
}

async fn named(db: &DatabaseConnection, sql: &str, values: Vec<Value>) -> Result<BTreeSet<String>, Error> {
    let rows = db.query_all_raw(statement(sql, values)).await.map_err(Error::at("renewing leases"))?;
    let name = |row: &QueryResult| row.try_get("", "name");
    rows.iter().map(name).collect::<Result<_, _>>().map_err(Error::at("reading the names of leases"))
}
