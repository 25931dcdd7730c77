//! The register: who is known on a network, managed by us or only observed.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::Addr;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute, one};

/// A row of the register.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub id: Uuid,
    pub network: String,
    pub name: String,
    pub managed: bool,
    /// Owner at the lock; what it is now stands in the position.
    pub owner: Addr,
    /// Signer at the lock; what it is now stands in the position.
    pub signer: Addr,
    pub signer_pubkey: Option<Vec<u8>>,
    pub wanted_recipient: Option<Addr>,
    pub labels: serde_json::Value,
    pub listing: Option<serde_json::Value>,
    pub version: i64,
    pub create_time: OffsetDateTime,
}

pub(super) const COLUMNS: &str = "id, network, name, managed, owner, signer, signer_pubkey, wanted_recipient, labels, \
                       listing, version, create_time";

impl Row {
    /// The labels as they were given.
    pub fn labels(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.labels.clone()).unwrap_or_default()
    }
}

/// Adds a sequencer; false when its name or its pair of owner and signer is there already.
pub async fn insert<C: ConnectionTrait>(db: &C, row: &Row) -> Result<bool, Error> {
    let Row {
        id,
        network,
        name,
        managed,
        owner,
        signer,
        signer_pubkey,
        wanted_recipient,
        labels,
        listing,
        version,
        create_time: _,
    } = row.clone();
    let sql = "INSERT INTO lifecycle.sequencer (id, network, name, managed, owner, signer, signer_pubkey, \
               wanted_recipient, labels, listing, version) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11) \
               ON CONFLICT DO NOTHING";
    let values = [
        id.into(),
        network.into(),
        name.into(),
        managed.into(),
        owner.into(),
        signer.into(),
        signer_pubkey.into(),
        wanted_recipient.into(),
        labels.into(),
        listing.into(),
        version.into(),
    ];
    Ok(execute(db, "adding a sequencer to the register", sql, values).await? == 1)
}

/// Makes an observed sequencer a managed one, with what the operator says of it.
pub async fn adopt<C: ConnectionTrait>(db: &C, row: &Row) -> Result<bool, Error> {
    let sql = "UPDATE lifecycle.sequencer SET managed = true, name = $2, signer_pubkey = $3, \
               wanted_recipient = $4, labels = $5, listing = $6, version = version + 1 \
               WHERE id = $1 AND NOT managed";
    let values = [
        row.id.into(),
        row.name.clone().into(),
        row.signer_pubkey.clone().into(),
        row.wanted_recipient.into(),
        row.labels.clone().into(),
        row.listing.clone().into(),
    ];
    Ok(execute(db, "adopting an observed sequencer", sql, values).await? == 1)
}

/// Writes name, labels and listing if nobody did since `row.version`; false if somebody did.
pub async fn update<C: ConnectionTrait>(db: &C, row: &Row) -> Result<bool, Error> {
    let sql = "UPDATE lifecycle.sequencer SET name = $3, labels = $4, listing = $5, version = version + 1 \
               WHERE id = $1 AND version = $2";
    let values = [
        row.id.into(),
        row.version.into(),
        row.name.clone().into(),
        row.labels.clone().into(),
        row.listing.clone().into(),
    ];
    Ok(execute(db, "changing a sequencer of the register", sql, values).await? == 1)
}

/// By its id in the register.
pub async fn of_id<C: ConnectionTrait>(db: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.sequencer WHERE id = $1");
    one(db, "reading a sequencer by id", &sql, [id.into()]).await
}

/// By its name on a network.
pub async fn of_name<C: ConnectionTrait>(db: &C, network: &str, name: &str) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.sequencer WHERE network = $1 AND name = $2");
    one(db, "reading a sequencer by name", &sql, [network.into(), name.into()]).await
}

/// By the pair that its Locked event carries.
pub async fn of_lock<C: ConnectionTrait>(
    db: &C,
    network: &str,
    owner: Address,
    signer: Address,
) -> Result<Option<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.sequencer WHERE network = $1 AND owner = $2 AND signer = $3"
    );
    let values = [network.into(), Addr(owner).into(), Addr(signer).into()];
    one(db, "reading a sequencer by owner and signer", &sql, values).await
}

/// Those of a network that had this signer at the lock.
pub async fn of_signer<C: ConnectionTrait>(
    db: &C,
    network: &str,
    signer: Address,
) -> Result<Vec<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.sequencer WHERE network = $1 AND signer = $2");
    all(db, "reading the sequencers of a signer", &sql, [network.into(), Addr(signer).into()]).await
}

/// What a list asks for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub network: String,
    pub phase: Option<String>,
    pub managed_only: bool,
    pub labels: BTreeMap<String, String>,
    /// Names above this one.
    pub after: String,
    pub limit: u32,
}

/// A page by name. Observed rows whose lock a reorganisation took away are left out.
pub async fn page<C: ConnectionTrait>(db: &C, filter: &Filter) -> Result<Vec<Row>, Error> {
    let Filter { network, phase, managed_only, labels, after, limit } = filter;
    let columns = COLUMNS.split(", ").map(|column| format!("s.{column}")).collect::<Vec<_>>().join(", ");
    let mut values = vec![network.clone().into(), after.clone().into(), i64::from(*limit).into()];
    let mut sql = format!(
        "SELECT {columns} FROM lifecycle.sequencer s JOIN lifecycle.position p ON p.sequencer = s.id \
         WHERE s.network = $1 AND s.name > $2"
    );
    sql.push_str(if *managed_only { " AND s.managed" } else { " AND (s.managed OR p.seq_id IS NOT NULL)" });
    // Only what was asked for: a plan that serves every filter at once reads the whole table for some.
    if let Some(phase) = phase {
        values.push(phase.clone().into());
        sql.push_str(&format!(" AND p.phase = ${}", values.len()));
    }
    if !labels.is_empty() {
        values.push(serde_json::json!(labels).into());
        sql.push_str(&format!(" AND s.labels @> ${}", values.len()));
    }
    sql.push_str(" ORDER BY s.name LIMIT $3");
    all(db, "listing sequencers", &sql, values).await
}

/// All managed sequencers of a network: the flags loop looks at each.
pub async fn managed_of<C: ConnectionTrait>(db: &C, network: &str) -> Result<Vec<Row>, Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM lifecycle.sequencer WHERE network = $1 AND managed ORDER BY name");
    all(db, "reading the managed sequencers", &sql, [network.into()]).await
}
