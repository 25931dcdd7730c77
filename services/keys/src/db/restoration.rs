//! `keys.restoration`, `keys.nonce_floor` and `keys.nonce_known`: older states that were put back, of this database or of
//! keys from an archive, and what operators confirmed since. Functions of the database write them.

use std::collections::HashSet;

use alloy_primitives::{Address, B256};
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Hash};
use store::statement;
use time::OffsetDateTime;
use trail::Head;

use crate::backup::archive::Nonce;
use crate::error::Failure;

/// One restoration.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Restoration {
    pub id: i64,
    pub published_sequence: i64,
    pub published_hash: Hash,
    pub database_sequence: i64,
    pub found_at: OffsetDateTime,
    /// SHA-256 of the archive from which keys came; `None` where the database itself was put back.
    pub archive: Option<Hash>,
}

/// Keys that came from an archive.
#[derive(Debug, Clone)]
pub struct FromArchive<'a> {
    /// SHA-256.
    pub archive: B256,
    /// Where the log of the other installation ended when the archive was made.
    pub sequence: i64,
    pub hash: B256,
    /// Those that are new here.
    pub accounts: &'a [Address],
    /// Chains of the policy, on which the others go on to sign.
    pub chain_ids: &'a [i64],
    /// What the archive knows to be signed.
    pub nonces: &'a [Nonce],
}

/// Which nonce an account signs from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// What was confirmed before.
    pub before: Option<i64>,
    /// What holds now.
    pub counts: i64,
}

/// Tells that the database was put back; whether that was not known before.
pub async fn insert<C: ConnectionTrait>(tx: &C, published: &Head, database: &Head) -> Result<bool, Failure> {
    const STEP: &str = "storing that the database was restored";
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let values =
        [number(published.sequence).into(), published.hash.to_vec().into(), number(database.sequence).into()];
    let sql = "SELECT keys.database_was_restored($1, $2, $3) AS is_news";
    let row = tx.query_one_raw(statement(sql, values)).await.map_err(Failure::at(STEP))?;
    let row = row.ok_or(Failure::Store(store::Error::Row { what: "a restoration" }))?;
    row.try_get("", "is_news").map_err(Failure::at(STEP))
}

/// Makes the accounts of these keys unproven. Holds the end of the audit log, so it comes last but for the record.
pub async fn insert_from_archive<C: ConnectionTrait>(tx: &C, from: FromArchive<'_>) -> Result<(), Failure> {
    let FromArchive { archive, sequence, hash, accounts, chain_ids, nonces } = from;
    let bytes = |account: &Address| account.to_vec();
    let values = [
        Hash(archive).into(),
        sequence.into(),
        Hash(hash).into(),
        accounts.iter().map(bytes).collect::<Vec<_>>().into(),
        chain_ids.to_vec().into(),
        nonces.iter().map(|one| one.chain_id).collect::<Vec<_>>().into(),
        nonces.iter().map(|one| bytes(&one.account)).collect::<Vec<_>>().into(),
        nonces.iter().map(|one| one.nonce).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement("SELECT keys.keys_were_restored($1, $2, $3, $4, $5, $6, $7, $8)", values))
        .await
        .map_err(Failure::at("storing that keys were restored"))?;
    Ok(())
}

/// A key was made in this transaction, so nothing was signed with it: no restoration casts doubt on it. Holds the end
/// of the audit log, so it comes last but for the record.
pub async fn key_was_made<C: ConnectionTrait>(
    tx: &C,
    account: Address,
    chain_ids: &[i64],
) -> Result<(), Failure> {
    let values = [Addr(account).into(), chain_ids.to_vec().into()];
    tx.execute_raw(statement("SELECT keys.key_was_made($1, $2)", values))
        .await
        .map_err(Failure::at("storing the floors of a new key"))?;
    Ok(())
}

/// The last one.
pub async fn last<C: ConnectionTrait>(db: &C) -> Result<Option<Restoration>, Failure> {
    let sql = "SELECT id, published_sequence, published_hash, database_sequence, found_at, archive
                 FROM keys.restoration ORDER BY id DESC LIMIT 1";
    Restoration::find_by_statement(statement(sql, []))
        .one(db)
        .await
        .map_err(Failure::at("reading whether the database was restored"))
}

/// By chain and account, where a floor holds since a restoration.
pub async fn floors<C: ConnectionTrait>(
    db: &C,
    restoration: i64,
) -> Result<HashSet<(i64, Address)>, Failure> {
    #[derive(FromQueryResult)]
    struct Row {
        chain_id: i64,
        account: Addr,
    }
    let sql = "SELECT DISTINCT chain_id, account FROM keys.nonce_floor WHERE restoration = $1";
    let rows = Row::find_by_statement(statement(sql, [restoration.into()]))
        .all(db)
        .await
        .map_err(Failure::at("reading nonce floors"))?;
    Ok(rows.into_iter().map(|Row { chain_id, account }| (chain_id, account.into())).collect())
}

/// Stores a floor since the last restoration, or with `dry` only says which one would count; `None` if there was no
/// restoration. Holds the end of the audit log.
pub async fn confirm_floor<C: ConnectionTrait>(
    tx: &C,
    (chain_id, account, nonce): (i64, Address, i64),
    by: &str,
    dry: bool,
) -> Result<Option<Floor>, Failure> {
    #[derive(FromQueryResult)]
    struct Row {
        before: Option<i64>,
        counts: Option<i64>,
    }
    let sql = "SELECT before, counts FROM keys.confirm_nonce_floor($1, $2, $3, $4, $5)";
    let values = [chain_id.into(), Addr(account).into(), nonce.into(), by.into(), dry.into()];
    let row = Row::find_by_statement(statement(sql, values))
        .one(tx)
        .await
        .map_err(Failure::at("storing a nonce floor"))?;
    Ok(row.and_then(|Row { before, counts }| counts.map(|counts| Floor { before, counts })))
}
