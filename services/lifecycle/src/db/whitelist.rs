//! Which owners are whitelisted, as the events up to the stream cursor say.

use std::collections::HashSet;

use alloy_primitives::Address;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::Addr;

use super::{all, execute, one};

#[derive(Debug, FromQueryResult)]
struct Row {
    whitelisted: bool,
}

#[derive(Debug, FromQueryResult)]
struct Listed {
    owner: Addr,
}

/// Writes the entry of an owner. The caller journals it first.
pub async fn put<C: ConnectionTrait>(
    db: &C,
    network: &str,
    owner: Address,
    whitelisted: bool,
) -> Result<(), Error> {
    let sql = "INSERT INTO lifecycle.whitelist_entry (network, owner, whitelisted) VALUES ($1, $2, $3) \
               ON CONFLICT (network, owner) DO UPDATE SET whitelisted = $3";
    execute(db, "writing a whitelist entry", sql, [network.into(), Addr(owner).into(), whitelisted.into()])
        .await?;
    Ok(())
}

/// Whether an owner is whitelisted.
pub async fn of<C: ConnectionTrait>(db: &C, network: &str, owner: Address) -> Result<bool, Error> {
    let sql = "SELECT whitelisted FROM lifecycle.whitelist_entry WHERE network = $1 AND owner = $2";
    let row: Option<Row> =
        one(db, "reading a whitelist entry", sql, [network.into(), Addr(owner).into()]).await?;
    Ok(row.is_some_and(|row| row.whitelisted))
}

/// All owners of a network that are whitelisted.
pub async fn all_of<C: ConnectionTrait>(db: &C, network: &str) -> Result<HashSet<Address>, Error> {
    let sql = "SELECT owner FROM lifecycle.whitelist_entry WHERE network = $1 AND whitelisted";
    let rows: Vec<Listed> = all(db, "reading the whitelist", sql, [network.into()]).await?;
    Ok(rows.into_iter().map(|row| row.owner.0).collect())
}
