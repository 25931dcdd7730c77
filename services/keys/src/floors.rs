//! Whether the conflict guard can be believed. When a published head of the audit log is not part of the log, an
//! older state of the database was restored: payloads that were signed since are not known here, so nothing is
//! signed for an account until an operator confirms the lowest nonce that is still free.
//!
//! The common case costs nothing: this process looked at its start and nothing was found. A replica that does not
//! know yet is refused by the database (`keys.heed_nonce_floor`) and then looks again.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use alloy_primitives::Address;
use api::reasons::{GUARD_UNPROVEN, NONCE_BELOW_FLOOR};
use runtime::errors::Refusal;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use trail::Head;

use crate::audit::Entry;
use crate::db;
use crate::db::restoration::Restoration;
use crate::error::{Declined, Failure};

/// What the trigger of the database raises.
const UNPROVEN_STATE: &str = "KG001";
/// Floors kept in memory; beyond that they are read again.
const CACHED_MAX: usize = 10_000;

/// What this process knows of restorations.
#[derive(Debug, Default)]
pub struct Floors(RwLock<Option<Doubt>>);

#[derive(Debug)]
struct Doubt {
    restoration: Restoration,
    floors: HashMap<(i64, Address), i64>,
}

impl Floors {
    /// As the database tells.
    pub async fn load(db: &DatabaseConnection) -> Result<Self, Failure> {
        let floors = Self::default();
        floors.reload(db).await?;
        Ok(floors)
    }

    /// Looks whether there is a restoration that this process has not heard of.
    async fn reload(&self, db: &DatabaseConnection) -> Result<(), Failure> {
        let found = db::restoration::last(db).await?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) =
            found.map(|restoration| Doubt { restoration, floors: HashMap::new() });
        Ok(())
    }

    /// Refuses a nonce that something may have been signed for that is not known here.
    pub async fn allow(
        &self,
        db: &DatabaseConnection,
        chain_id: u64,
        account: Address,
        nonce: u64,
    ) -> Result<(), Declined> {
        let as_stored = |number| i64::try_from(number).unwrap_or(i64::MAX);
        let (chain_id, nonce) = (as_stored(chain_id), as_stored(nonce));
        let (restoration, known) = match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            None => return Ok(()),
            Some(doubt) => (doubt.restoration.clone(), doubt.floors.get(&(chain_id, account)).copied()),
        };
        // A floor in memory may have been raised by another replica; that it is not too low is the trigger's part.
        let floor = match known {
            Some(floor) => Some(floor),
            None => db::restoration::floor(db, restoration.id, chain_id, account).await?,
        };
        let Some(floor) = floor else { return Err(unproven(&restoration, account).into()) };
        self.learn(&restoration, chain_id, account, floor);
        if nonce < floor {
            let why = format!("nonce {nonce} is below the confirmed floor {floor}");
            let refusal =
                Refusal::new(&NONCE_BELOW_FLOOR, why).field("transaction.nonce", "is below the floor");
            return Err(refusal.meta("nonce", nonce).meta("floor", floor).into());
        }
        Ok(())
    }

    /// For `map_err` of a decision: what the trigger refused is a refusal, not a failure.
    pub async fn explained(&self, db: &DatabaseConnection, account: Address, failure: Failure) -> Declined {
        let is_ours = match &failure {
            Failure::Query { source, .. } => store::sqlstate(source).as_deref() == Some(UNPROVEN_STATE),
            _ => false,
        };
        if !is_ours {
            return failure.into();
        }
        match (self.reload(db).await, db::restoration::last(db).await) {
            (Err(failure), _) | (_, Err(failure)) => failure.into(),
            (Ok(()), Ok(Some(restoration))) => unproven(&restoration, account).into(),
            (Ok(()), Ok(None)) => failure.into(),
        }
    }

    fn learn(&self, restoration: &Restoration, chain_id: i64, account: Address, floor: i64) {
        let mut doubt = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(Doubt { floors, .. }) =
            doubt.as_mut().filter(|doubt| doubt.restoration.id == restoration.id)
        {
            if floors.len() >= CACHED_MAX {
                floors.clear();
            }
            floors.insert((chain_id, account), floor);
        }
    }

    /// Forgets what is known of floors, after one was confirmed here.
    pub fn forget(&self) {
        if let Some(doubt) = self.0.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            doubt.floors.clear();
        }
    }
}

fn unproven(restoration: &Restoration, account: Address) -> Refusal {
    let Restoration { published_sequence, database_sequence, .. } = restoration;
    let why = format!(
        "the audit log was published up to record {published_sequence}, the database was restored at record {database_sequence}: \
         what {account} signed in between is not known"
    );
    Refusal::new(&GUARD_UNPROVEN, why)
        .meta("account", account)
        .meta("published_sequence", published_sequence)
        .meta("database_sequence", database_sequence)
}

/// Whether this log contains the head that was published last. If not, that is recorded, once.
pub async fn compare(db: &DatabaseConnection, published: Option<Head>) -> Result<(), Failure> {
    let Some(published) = published else { return Ok(()) };
    let database = db::head::now(db).await?.head;
    let here = match published.sequence {
        0 => Some(Head::START.hash),
        sequence => db::head::hash_of(db, sequence).await?,
    };
    if here == Some(published.hash) {
        return Ok(());
    }
    let (published, database) = (&published, &database);
    let is_news =
        store::in_transaction(db, move |tx| Box::pin(async move { record(&tx, published, database).await }))
            .await?;
    if is_news {
        tracing::error!(
            published.sequence = published.sequence,
            database.sequence = database.sequence,
            "the published head of the audit log, record {}, is not in this database, which ends at record {}: it was restored; \
             nothing is signed before nonce floors are confirmed",
            published.sequence,
            database.sequence
        );
    }
    Ok(())
}

async fn record<C: ConnectionTrait>(tx: &C, published: &Head, database: &Head) -> Result<bool, Failure> {
    if !db::restoration::insert(tx, published, database).await? {
        return Ok(false);
    }
    let entry = Entry {
        caller: crate::NAME.to_owned(),
        action: trail::RESTORED,
        intent: format!(
            "found that published record {} is not in the log, which ended at record {}: an older database was restored",
            published.sequence, database.sequence
        ),
        digest: Some(published.hash.into()),
        ..Entry::default()
    };
    db::audit::append(tx, entry.allowed()).await?;
    Ok(true)
}
