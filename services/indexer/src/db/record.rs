//! `sequencers(id)` as versions by block, and every signer there ever was.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Wei};
use store::{Error, statement};

/// One record from a block on.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Row {
    /// Sequencer.
    pub sequencer_id: i64,
    /// Height from which this version holds.
    pub number: i64,
    /// Status as the contract numbers it.
    pub status: i16,
    /// Owner.
    pub owner: Addr,
    /// Signer.
    pub signer: Addr,
    /// Public key of the signer.
    pub pubkey: Vec<u8>,
    /// L2 recipient, zero if unset.
    pub reward_recipient: Addr,
    /// Principal.
    pub amount: Wei,
    /// Unclaimed reward.
    pub reward: Wei,
    /// Operation counter.
    pub nonce: i64,
    /// Batch at lock.
    pub activation_batch: i64,
    /// Batch of the last lock, withdraw or signer update.
    pub updated_batch: i64,
    /// Batch at unlock.
    pub deactivation_batch: i64,
    /// Time of the unlock.
    pub deactivation_time: i64,
    /// When unlockClaim is allowed.
    pub unlock_claim_time: i64,
}

/// A signer and its sequencer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Signer {
    /// Address.
    pub signer: Addr,
    /// Its sequencer.
    pub sequencer_id: i64,
    /// Height from which it was the signer.
    pub number: i64,
}

const COLUMNS: &str = "sequencer_id, number, status, owner, signer, pubkey, reward_recipient, amount, reward,
    nonce, activation_batch, updated_batch, deactivation_batch, deactivation_time, unlock_claim_time";

/// Adds versions in bulk.
///
/// # Errors
/// When the statement fails.
pub async fn insert<C: ConnectionTrait>(tx: &C, network: &str, rows: &[Row]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO indexer.sequencer_record (network, {COLUMNS})
         SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::smallint[], $5::bytea[], $6::bytea[],
             $7::bytea[], $8::bytea[], $9::numeric[], $10::numeric[], $11::bigint[], $12::bigint[],
             $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[])"
    );
    let values = [
        network.into(),
        rows.iter().map(|row| row.sequencer_id).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.number).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.status).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.owner).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.signer).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.pubkey.clone()).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.reward_recipient).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.amount).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.reward).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.nonce).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.activation_batch).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.updated_batch).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.deactivation_batch).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.deactivation_time).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.unlock_claim_time).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing sequencer records"))?;
    Ok(())
}

/// Adds signers in bulk.
///
/// # Errors
/// When the statement fails, as for a signer that was used before, which the contract forbids.
pub async fn insert_signers<C: ConnectionTrait>(tx: &C, network: &str, rows: &[Signer]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO indexer.signer (network, signer, sequencer_id, number)
               SELECT $1, * FROM unnest($2::bytea[], $3::bigint[], $4::bigint[])";
    let values = [
        network.into(),
        rows.iter().map(|row| row.signer).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.sequencer_id).collect::<Vec<_>>().into(),
        rows.iter().map(|row| row.number).collect::<Vec<_>>().into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("storing signers"))?;
    Ok(())
}

/// All records after block `number`, by id.
///
/// # Errors
/// When the statement fails.
pub async fn as_of<C: ConnectionTrait>(db: &C, network: &str, number: i64) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT DISTINCT ON (sequencer_id) {COLUMNS} FROM indexer.sequencer_record
          WHERE network = $1 AND number <= $2 ORDER BY sequencer_id, number DESC"
    );
    Row::find_by_statement(statement(sql, [network.into(), number.into()]))
        .all(db)
        .await
        .map_err(Error::at("reading sequencer records"))
}

/// Records in their last version with ids above one, by id.
///
/// # Errors
/// When the statement fails.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    network: &str,
    after: i64,
    rows_max: u32,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT DISTINCT ON (sequencer_id) {COLUMNS} FROM indexer.sequencer_record
          WHERE network = $1 AND sequencer_id > $2 ORDER BY sequencer_id, number DESC LIMIT $3"
    );
    let values = [network.into(), after.into(), i64::from(rows_max).into()];
    Row::find_by_statement(statement(sql, values))
        .all(db)
        .await
        .map_err(Error::at("listing sequencer records"))
}

/// The last version of one record.
///
/// # Errors
/// When the statement fails.
pub async fn with_id<C: ConnectionTrait>(db: &C, network: &str, id: i64) -> Result<Option<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM indexer.sequencer_record
          WHERE network = $1 AND sequencer_id = $2 ORDER BY number DESC LIMIT 1"
    );
    Row::find_by_statement(statement(sql, [network.into(), id.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading a sequencer record"))
}

/// The live record of an owner. An owner may come to have two where the pool allows it (P 1.11); the
/// one with the higher id is then meant.
///
/// # Errors
/// When the statement fails.
pub async fn live_of_owner<C: ConnectionTrait>(
    db: &C,
    network: &str,
    owner: Addr,
) -> Result<Option<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM (
             SELECT DISTINCT ON (sequencer_id) * FROM indexer.sequencer_record
              WHERE network = $1 AND sequencer_id IN
                    (SELECT sequencer_id FROM indexer.sequencer_record WHERE network = $1 AND owner = $2)
              ORDER BY sequencer_id, number DESC) AS r
          WHERE owner = $2 AND status IN (1, 2) ORDER BY sequencer_id DESC LIMIT 1"
    );
    Row::find_by_statement(statement(sql, [network.into(), owner.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading the sequencer of an owner"))
}

/// The sequencer that has, or had, this signer.
///
/// # Errors
/// When the statement fails.
pub async fn of_signer<C: ConnectionTrait>(
    db: &C,
    network: &str,
    signer: Addr,
) -> Result<Option<Signer>, Error> {
    let sql = "SELECT signer, sequencer_id, number FROM indexer.signer WHERE network = $1 AND signer = $2";
    Signer::find_by_statement(statement(sql, [network.into(), signer.into()]))
        .one(db)
        .await
        .map_err(Error::at("reading a signer"))
}
