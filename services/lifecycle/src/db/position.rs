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
    /// Every signer of this life since its lock, hex without 0x.
    pub signers: Vec<String>,
}

pub(super) const COLUMNS: &str = "sequencer, network, phase, seq_id, owner, signer, signer_pubkey, recipient, locked, nonce, \
                       withdrawable_at, signers";

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
            signers: Vec::new(),
        }
    }
}

impl Row {
    /// LOCKED or ACTIVE: which of the two is for the consensus layer to say.
    pub fn has_lock_in_force(&self) -> bool {
        matches!(self.phase.as_str(), "LOCKED" | "ACTIVE")
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
        signers,
    } = row.clone();
    let sql = "INSERT INTO lifecycle.position (sequencer, network, phase, seq_id, owner, signer, signer_pubkey, \
               recipient, locked, nonce, withdrawable_at, signers) \
               VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12) ON CONFLICT (sequencer) DO UPDATE SET \
               phase = $3, seq_id = $4, owner = $5, signer = $6, signer_pubkey = $7, recipient = $8, locked = $9, \
               nonce = $10, withdrawable_at = $11, signers = $12";
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
        signers.into(),
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

/// Those in `phase` that ever had this signer since their lock.
pub async fn ever_signed_by<C: ConnectionTrait>(
    db: &C,
    network: &str,
    phase: &str,
    signer: Address,
) -> Result<Vec<Row>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM lifecycle.position WHERE network = $1 AND phase = $2 AND $3 = ANY(signers) \
         ORDER BY sequencer"
    );
    let values = [network.into(), phase.into(), hex::encode(signer).into()];
    all(db, "reading the positions that had a signer", &sql, values).await
}

/// As it was after L1 block `block`, from the before-images of what came later; none if there was none then.
pub async fn at_block<C: ConnectionTrait>(db: &C, sequencer: Uuid, block: i64) -> Result<Option<Row>, Error> {
    let sql = format!(
        "WITH image AS (SELECT before FROM lifecycle.undo WHERE subject = 'position' AND key = $1::text \
         AND block_number > $2 ORDER BY ordinal LIMIT 1) \
         SELECT p.* FROM image, LATERAL (SELECT {COLUMNS} FROM \
         jsonb_populate_record(null::lifecycle.position, image.before)) p WHERE image.before IS NOT NULL \
         UNION ALL SELECT {COLUMNS} FROM lifecycle.position WHERE sequencer = $1::uuid \
         AND NOT EXISTS (SELECT 1 FROM image)"
    );
    one(db, "reading a position at a block", &sql, [sequencer.to_string().into(), block.into()]).await
}
