//! Whether the conflict guard can be believed. When a published head of the audit log is not part of the log, an
//! older state of the database was restored, and when keys come from an archive, they have signed elsewhere: payloads that
//! were signed since are not known here, so nothing is signed for an account until an operator confirms the lowest nonce that is
//! still free. The keys that were here before an archive came, and those that are made later, are not concerned.
//!
//! That is part of each decision (`keys.decide_batch`), so a replica that has not heard of the restoration signs nothing
//! either.

use alloy_primitives::Address;
use api::reasons::{GUARD_UNPROVEN, NONCE_BELOW_FLOOR};
use runtime::errors::Refusal;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use trail::Head;

use crate::audit::Entry;
use crate::db;
use crate::db::restoration::Restoration;
use crate::error::Failure;

/// What the caller is told of a nonce that something may have been signed for that is not known here. `floor` is
/// what was confirmed for the account, if anything was.
pub async fn refusal<C: ConnectionTrait>(
    db: &C,
    account: Address,
    nonce: u64,
    floor: Option<u64>,
) -> Result<Refusal, Failure> {
    let Some(floor) = floor else { return Ok(unproven(db::restoration::last(db).await?, account)) };
    let why = format!("nonce {nonce} is below the confirmed floor {floor}");
    let refusal = Refusal::new(&NONCE_BELOW_FLOOR, why).field("transaction.nonce", "is below the floor");
    Ok(refusal.meta("nonce", nonce).meta("floor", floor))
}

fn unproven(restoration: Option<Restoration>, account: Address) -> Refusal {
    let from_archive = restoration.as_ref().is_some_and(|r| r.archive.is_some());
    let (published, database) = restoration.map_or((0, 0), |r| (r.published_sequence, r.database_sequence));
    let why = if from_archive {
        format!(
            "keys were restored from an archive that was made at record {published} of another log: what {account} \
             signed since is not known"
        )
    } else {
        format!(
            "the audit log was published up to record {published}, the database was restored at record {database}: \
             what {account} signed in between is not known"
        )
    };
    Refusal::new(&GUARD_UNPROVEN, why)
        .meta("account", account)
        .meta("published_sequence", published)
        .meta("database_sequence", database)
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
