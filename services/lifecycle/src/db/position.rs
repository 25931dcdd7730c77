//! The projection: what the events up to the stream cursor add up to, one row for each sequencer.

use alloy_primitives::{Address, U256};
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::{Addr, Wei};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{all, execute, one, sequencer};

/// A row of the projection.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Row {
    pub sequencer: Uuid,
    pub network: String,
    /// Name of the phase.
    pub phase: String,
    /// Set from the lock on.
    pub seq_id: Option<Wei>,
    pub owner: Addr,
    pub signer: Addr,
    pub signer_pubkey: Option<Vec<u8>>,
    pub recipient: Option<Addr>,
    pub locked: Wei,
    pub nonce: i64,
    pub withdrawable_at: Option<OffsetDateTime>,
    /// The L2 block that made it ACTIVE, where one did.
    pub active_l2_block: Option<i64>,
}

const COLUMNS: &str = "sequencer, network, phase, seq_id, owner, signer, signer_pubkey, recipient, locked, nonce, \
                       withdrawable_at, active_l2_block";

impl Row {
    /// Of a sequencer that has nothing locked: new in the register, or its lock was taken back.
    pub fn without_lock(register: &sequencer::Row, phase: &str) -> Self {
        Self {
            sequencer: register.id,
            network: register.network.clone(),
            phase: phase.to_owned(),
            seq_id: None,
            owner: register.owner,
            signer: register.signer,
            signer_pubkey: register.signer_pubkey.clone(),
            recipient: None,
            locked: Wei::default(),
            nonce: 0,
            withdrawable_at: None,
            active_l2_block: None,
        }
    }
}

/// Writes the row, new or changed. The caller journals it first.
pub async fn put<C: ConnectionTrait>(db: &C, row: &Row) -> Result<(), Error> {
    let Row {
        sequencer,
        network,
        phase,
        seq_id,
        owner,
        signer,
        signer_pubkey,
        recipient,
        locked,
        nonce,
        withdrawable_at,
        active_l2_block,
    } = row.clone();
    let sql = "INSERT INTO lifecycle.position (sequencer, network, phase, seq_id, owner, signer, signer_pubkey, \
               recipient, locked, nonce, withdrawable_at, active_l2_block) \
               VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12) ON CONFLICT (sequencer) DO UPDATE SET \
               phase = $3, seq_id = $4, owner = $5, signer = $6, signer_pubkey = $7, recipient = $8, locked = $9, \
               nonce = $10, withdrawable_at = $11, active_l2_block = $12";
    let values = [
        sequencer.into(),
        network.into(),
        phase.into(),
        seq_id.into(),
        owner.into(),
        signer.into(),
        signer_pubkey.into(),
        recipient.into(),
        locked.into(),
        nonce.into(),
        withdrawable_at.into(),
        active_l2_block.into(),
    ];
    execute(db, "writing a position", sql, values).await?;
    Ok(())
}

/// Of a sequencer of the register.
pub async fn of<C: ConnectionTrait>(db: &C, sequencer: Uuid) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.position WHERE sequencer = $1");
    one(db, "reading a position", &sql, [sequencer.into()]).await
}

/// Of several sequencers at once.
pub async fn of_many<C: ConnectionTrait>(db: &C, sequencers: &[Uuid]) -> Result<Vec<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.position WHERE sequencer = ANY($1)");
    all(db, "reading positions", &sql, [sequencers.to_vec().into()]).await
}

/// By the id on chain.
pub async fn of_seq_id<C: ConnectionTrait>(
    db: &C,
    network: &str,
    seq_id: U256,
) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lifecycle.position WHERE network = $1 AND seq_id = $2");
    one(db, "reading a position by id on chain", &sql, [network.into(), Wei(seq_id).into()]).await
}

/// Those of an owner, newest first.
pub async fn of_owner<C: ConnectionTrait>(db: &C, network: &str, owner: Address) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.position WHERE network = $1 AND owner = $2 ORDER BY sequencer DESC"
    );
    all(db, "reading the positions of an owner", &sql, [network.into(), Addr(owner).into()]).await
}

/// Those of a signer, newest first.
pub async fn of_signer<C: ConnectionTrait>(
    db: &C,
    network: &str,
    signer: Address,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.position WHERE network = $1 AND signer = $2 ORDER BY sequencer DESC"
    );
    all(db, "reading the positions of a signer", &sql, [network.into(), Addr(signer).into()]).await
}

/// Those in a phase.
pub async fn in_phase<C: ConnectionTrait>(db: &C, network: &str, phase: &str) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.position WHERE network = $1 AND phase = $2 ORDER BY sequencer"
    );
    all(db, "reading the positions in a phase", &sql, [network.into(), phase.into()]).await
}

/// Those in `phase` whose exit delay is over at `now`, a chain time.
pub async fn due<C: ConnectionTrait>(
    db: &C,
    network: &str,
    phase: &str,
    now: OffsetDateTime,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.position WHERE network = $1 AND phase = $2 AND withdrawable_at <= $3 \
         ORDER BY sequencer"
    );
    all(
        db,
        "reading the positions whose exit delay is over",
        &sql,
        [network.into(), phase.into(), now.into()],
    )
    .await
}

/// Those that an L2 log above `block` made ACTIVE.
pub async fn activated_above<C: ConnectionTrait>(
    db: &C,
    network: &str,
    phase: &str,
    block: i64,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.position WHERE network = $1 AND phase = $2 AND active_l2_block > $3"
    );
    all(
        db,
        "reading the positions activated above an L2 block",
        &sql,
        [network.into(), phase.into(), block.into()],
    )
    .await
}
