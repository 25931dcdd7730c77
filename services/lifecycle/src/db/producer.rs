//! Signers seen producing on L2, with the first epoch each was given: one of the two proofs that the consensus layer
//! knows a sequencer.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::{Addr, Hash};
use time::OffsetDateTime;

use super::{execute, one};

/// The first epoch of a signer and the log that gave it.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    pub network: String,
    pub signer: Addr,
    pub epoch: i64,
    pub block_number: i64,
    pub block_hash: Hash,
    pub block_time: OffsetDateTime,
    pub transaction_hash: Hash,
    pub log_index: i32,
}

/// Keeps the first epoch of a signer; true if this is it.
pub async fn put_first<C: ConnectionTrait>(db: &C, row: &Row) -> Result<bool, Error> {
    let Row { network, signer, epoch, block_number, block_hash, block_time, transaction_hash, log_index } =
        row.clone();
    let sql = "INSERT INTO lifecycle.producer (network, signer, epoch, block_number, block_hash, block_time, \
               transaction_hash, log_index) VALUES ($1,$2,$3,$4,$5,$6,$7,$8) ON CONFLICT DO NOTHING";
    let values = [
        network.into(),
        signer.into(),
        epoch.into(),
        block_number.into(),
        block_hash.into(),
        block_time.into(),
        transaction_hash.into(),
        log_index.into(),
    ];
    Ok(execute(db, "noting a producer", sql, values).await? == 1)
}

/// The first epoch that any of these signers (hex without 0x) was given.
pub async fn of_any<C: ConnectionTrait>(
    db: &C,
    network: &str,
    signers: &[String],
) -> Result<Option<Row>, Error> {
    let sql = "SELECT network, signer, epoch, block_number, block_hash, block_time, transaction_hash, log_index \
               FROM lifecycle.producer WHERE network = $1 AND encode(signer, 'hex') = ANY($2) \
               ORDER BY block_number, log_index LIMIT 1";
    one(db, "reading a producer", sql, [network.into(), signers.to_vec().into()]).await
}

/// Forgets what L2 blocks above `block` said.
pub async fn remove_above<C: ConnectionTrait>(db: &C, network: &str, block: i64) -> Result<(), Error> {
    let sql = "DELETE FROM lifecycle.producer WHERE network = $1 AND block_number > $2";
    execute(db, "forgetting producers above an L2 block", sql, [network.into(), block.into()]).await?;
    Ok(())
}
