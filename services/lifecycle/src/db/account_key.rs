//! Which key of the keys service stands behind an address. Learned at registration and rotation, so that sending
//! does not have to search.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::Addr;

use super::{all, execute, one};

#[derive(Debug, FromQueryResult)]
struct Row {
    address: Addr,
    key_id: String,
}

/// Notes the key of an address; the address of a key never changes.
pub async fn put<C: ConnectionTrait>(db: &C, address: Address, key_id: &str) -> Result<(), Error> {
    let sql = "INSERT INTO lifecycle.account_key (address, key_id) VALUES ($1, $2) \
               ON CONFLICT (address) DO UPDATE SET key_id = EXCLUDED.key_id";
    execute(db, "noting the key of an address", sql, [Addr(address).into(), key_id.into()]).await?;
    Ok(())
}

/// The key of an address; none for an external account.
pub async fn of<C: ConnectionTrait>(db: &C, address: Address) -> Result<Option<String>, Error> {
    let sql = "SELECT address, key_id FROM lifecycle.account_key WHERE address = $1";
    let row: Option<Row> = one(db, "reading the key of an address", sql, [Addr(address).into()]).await?;
    Ok(row.map(|row| row.key_id))
}

/// The keys of several addresses, those that we know.
pub async fn of_many<C: ConnectionTrait>(
    db: &C,
    addresses: Vec<Addr>,
) -> Result<BTreeMap<Addr, String>, Error> {
    let sql = "SELECT address, key_id FROM lifecycle.account_key WHERE address = ANY($1)";
    let rows: Vec<Row> = all(db, "reading the keys of addresses", sql, [addresses.into()]).await?;
    Ok(rows.into_iter().map(|Row { address, key_id }| (address, key_id)).collect())
}
