//! `sequencers(id)` as versions by block, and every signer there ever was.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Wei};
use store::rows::Rows;
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

/// Versions as rows.
pub fn rows(network: &str, records: &[Row]) -> Rows {
    let mut rows = Rows::of(
        "indexer.sequencer_record (network, sequencer_id, number, status, owner, signer, pubkey, reward_recipient, amount,
                                   reward, nonce, activation_batch, updated_batch, deactivation_batch,
                                   deactivation_time, unlock_claim_time)",
    );
    for it in records {
        let mut row = rows.row();
        row.text(network).bigint(it.sequencer_id).bigint(it.number).smallint(it.status);
        row.bytes(it.owner.0).bytes(it.signer.0).bytes(&it.pubkey).bytes(it.reward_recipient.0);
        row.numeric(it.amount.0).numeric(it.reward.0).bigint(it.nonce);
        row.bigint(it.activation_batch).bigint(it.updated_batch).bigint(it.deactivation_batch);
        row.bigint(it.deactivation_time).bigint(it.unlock_claim_time);
    }
    rows
}

/// Signers as rows. The contract takes none twice.
pub fn signers_rows(network: &str, signers: &[Signer]) -> Rows {
    let mut rows = Rows::of("indexer.signer (network, signer, sequencer_id, number)");
    for Signer { signer, sequencer_id, number } in signers {
        rows.row().text(network).bytes(signer.0).bigint(*sequencer_id).bigint(*number);
    }
    rows
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

/// Records with ids above one as they stood after block `number`, by id.
///
/// # Errors
/// When the statement fails.
pub async fn page<C: ConnectionTrait>(
    db: &C,
    network: &str,
    number: i64,
    after: i64,
    rows_max: u32,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT DISTINCT ON (sequencer_id) {COLUMNS} FROM indexer.sequencer_record
          WHERE network = $1 AND number <= $2 AND sequencer_id > $3 ORDER BY sequencer_id, number DESC LIMIT $4"
    );
    let values = [network.into(), number.into(), after.into(), i64::from(rows_max).into()];
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
    // Every sequencer has had a signer; the last version of each is one step into the primary key.
    let sql = format!(
        "SELECT r.* FROM (SELECT DISTINCT sequencer_id FROM indexer.signer WHERE network = $1) s
          CROSS JOIN LATERAL (SELECT {COLUMNS} FROM indexer.sequencer_record
                               WHERE network = $1 AND sequencer_id = s.sequencer_id
                               ORDER BY number DESC LIMIT 1) r
          WHERE r.owner = $2 AND r.status IN (1, 2) ORDER BY r.sequencer_id DESC LIMIT 1"
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
