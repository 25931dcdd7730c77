//! `rewards.entry`: the ledger.

use alloy_primitives::{Address, B256};
use domain::amount::Metis;
use domain::ids::{Height, SequencerId, Timestamp};
use domain::reward::account::Account;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::column::{Addr, Hash, Wei};
use store::{Error, statement};
use time::OffsetDateTime;

use super::{Block, bigint, chain_time, number, timestamptz};

/// What an entry is, with the data that belongs to it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A share of a batch.
    Credit {
        /// Batch.
        batch_id: u64,
        /// L2 blocks.
        blocks: u64,
    },
    /// Bridged by a claim.
    Claim {
        /// On L2.
        recipient: Address,
    },
    /// Turned into principal.
    Compound,
    /// Bridged by unlock or unlockClaim.
    Exit {
        /// On L2.
        recipient: Address,
    },
}

impl Kind {
    /// Name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credit { .. } => "CREDIT",
            Self::Claim { .. } => "CLAIM",
            Self::Compound => "COMPOUND",
            Self::Exit { .. } => "EXIT",
        }
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Sequencer.
    pub sequencer: SequencerId,
    /// What.
    pub kind: Kind,
    /// How much.
    pub amount: Metis,
    /// Block.
    pub block: Block,
    /// Transaction.
    pub tx_hash: B256,
    /// Log within the block.
    pub log_index: u32,
}

/// Sums of a sequencer's entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// All credits.
    pub accrued: Metis,
    /// Claims.
    pub claimed: Metis,
    /// Compounded.
    pub compounded: Metis,
    /// Paid by exits.
    pub paid_at_exit: Metis,
    /// L2 blocks credited.
    pub blocks: u64,
}

impl Sums {
    /// The sums of two sequencers together; all METIS there is fits many times.
    pub fn plus(&self, other: &Self) -> Self {
        let add = |a: Metis, b: Metis| a.checked_add(b).unwrap_or(Metis::MAX);
        Self {
            accrued: add(self.accrued, other.accrued),
            claimed: add(self.claimed, other.claimed),
            compounded: add(self.compounded, other.compounded),
            paid_at_exit: add(self.paid_at_exit, other.paid_at_exit),
            blocks: self.blocks.saturating_add(other.blocks),
        }
    }

    /// What must still be in the contract: accrued less all that left; none if more left than came.
    pub fn unclaimed(&self) -> Option<Metis> {
        let Self { accrued, claimed, compounded, paid_at_exit, blocks: _ } = *self;
        Account::restore(accrued, claimed, compounded, paid_at_exit).ok().map(|account| account.unclaimed())
    }
}

#[derive(FromQueryResult)]
struct Row {
    block_number: i64,
    log_index: i32,
    sequencer_id: i64,
    kind: String,
    amount_wei: Wei,
    batch_id: Option<i64>,
    blocks: Option<i64>,
    recipient: Option<Addr>,
    block_hash: Hash,
    block_time: OffsetDateTime,
    tx_hash: Hash,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        let Row {
            block_number,
            log_index,
            sequencer_id,
            kind,
            amount_wei,
            batch_id,
            blocks,
            recipient,
            block_hash,
            block_time,
            tx_hash,
        } = row;
        // The table's checks tie batch, blocks and recipient to the kind.
        let recipient = recipient.map_or(Address::ZERO, |recipient| recipient.0);
        let kind = match kind.as_str() {
            "CREDIT" => Kind::Credit {
                batch_id: number(batch_id.unwrap_or_default()),
                blocks: number(blocks.unwrap_or_default()),
            },
            "CLAIM" => Kind::Claim { recipient },
            "EXIT" => Kind::Exit { recipient },
            _ => Kind::Compound,
        };
        Self {
            sequencer: SequencerId(number(sequencer_id)),
            kind,
            amount: Metis(amount_wei.0),
            block: Block {
                number: Height(number(block_number)),
                hash: block_hash.0,
                time: chain_time(block_time),
            },
            tx_hash: tx_hash.0,
            log_index: u32::try_from(log_index).unwrap_or_default(),
        }
    }
}

/// Adds an entry.
pub async fn insert<C: ConnectionTrait>(tx: &C, network: &str, entry: &Entry) -> Result<(), Error> {
    let Entry { sequencer, kind, amount, block, tx_hash, log_index } = entry;
    let (batch_id, blocks, recipient) = match *kind {
        Kind::Credit { batch_id, blocks } => (Some(bigint(batch_id)), Some(bigint(blocks)), None),
        Kind::Claim { recipient } | Kind::Exit { recipient } => (None, None, Some(Addr(recipient))),
        Kind::Compound => (None, None, None),
    };
    let sql = "INSERT INTO rewards.entry (network, block_number, log_index, sequencer_id, kind, amount_wei,
            batch_id, blocks, recipient, block_hash, block_time, tx_hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let values = [
        network.into(),
        bigint(block.number.0).into(),
        i32::try_from(*log_index).unwrap_or(i32::MAX).into(),
        bigint(sequencer.0).into(),
        kind.name().into(),
        Wei(amount.0).into(),
        batch_id.into(),
        blocks.into(),
        recipient.into(),
        Hash(block.hash).into(),
        timestamptz(block.time).into(),
        Hash(*tx_hash).into(),
    ];
    tx.execute_raw(statement(sql, values)).await.map_err(Error::at("adding an entry"))?;
    Ok(())
}

/// Removes everything above a block, from all tables that name L1 blocks.
pub async fn remove_above<C: ConnectionTrait>(tx: &C, network: &str, block: Height) -> Result<(), Error> {
    for table in ["entry", "principal", "batch"] {
        let sql = format!("DELETE FROM rewards.{table} WHERE network = $1 AND block_number > $2");
        tx.execute_raw(statement(sql, [network.into(), bigint(block.0).into()]))
            .await
            .map_err(Error::at("removing what a reorganisation took back"))?;
    }
    Ok(())
}

#[derive(FromQueryResult)]
struct SumsRow {
    sequencer_id: i64,
    accrued: Wei,
    claimed: Wei,
    compounded: Wei,
    paid_at_exit: Wei,
    blocks: i64,
}

const SUMS: &str = "SELECT sequencer_id,
        coalesce(sum(amount_wei) FILTER (WHERE kind = 'CREDIT'), 0) AS accrued,
        coalesce(sum(amount_wei) FILTER (WHERE kind = 'CLAIM'), 0) AS claimed,
        coalesce(sum(amount_wei) FILTER (WHERE kind = 'COMPOUND'), 0) AS compounded,
        coalesce(sum(amount_wei) FILTER (WHERE kind = 'EXIT'), 0) AS paid_at_exit,
        coalesce(sum(blocks), 0)::bigint AS blocks
    FROM rewards.entry";

/// Sums by sequencer, as of a block, for ids above `after`, in order of id.
pub async fn sums<C: ConnectionTrait>(
    db: &C,
    network: &str,
    at: Height,
    after: SequencerId,
    limit: u32,
) -> Result<Vec<(SequencerId, Sums)>, Error> {
    let sql = format!(
        "{SUMS} WHERE network = $1 AND block_number <= $2 AND sequencer_id > $3
         GROUP BY sequencer_id ORDER BY sequencer_id LIMIT $4"
    );
    let values = [network.into(), bigint(at.0).into(), bigint(after.0).into(), i64::from(limit).into()];
    let rows = SumsRow::find_by_statement(statement(sql, values))
        .all(db)
        .await
        .map_err(Error::at("summing the ledger"))?;
    Ok(rows.into_iter().map(summed).collect())
}

/// Sums of one sequencer as of a block; zeros where it has no entry.
pub async fn sums_of<C: ConnectionTrait>(
    db: &C,
    network: &str,
    sequencer: SequencerId,
    at: Height,
) -> Result<Sums, Error> {
    let sql = format!(
        "{SUMS} WHERE network = $1 AND block_number <= $2 AND sequencer_id = $3 GROUP BY sequencer_id"
    );
    let values = [network.into(), bigint(at.0).into(), bigint(sequencer.0).into()];
    let row = SumsRow::find_by_statement(statement(sql, values))
        .one(db)
        .await
        .map_err(Error::at("summing a ledger"))?;
    Ok(row.map(|row| summed(row).1).unwrap_or_default())
}

fn summed(row: SumsRow) -> (SequencerId, Sums) {
    let SumsRow { sequencer_id, accrued, claimed, compounded, paid_at_exit, blocks } = row;
    let sums = Sums {
        accrued: Metis(accrued.0),
        claimed: Metis(claimed.0),
        compounded: Metis(compounded.0),
        paid_at_exit: Metis(paid_at_exit.0),
        blocks: number(blocks),
    };
    (SequencerId(number(sequencer_id)), sums)
}

/// Which entries a list wants.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Only of this sequencer.
    pub sequencer: Option<SequencerId>,
    /// Only of this kind, by its name in SQL.
    pub kind: Option<&'a str>,
}

/// Entries in chain order after `(block, log, sequencer)`.
pub async fn list<C: ConnectionTrait>(
    db: &C,
    network: &str,
    filter: Filter<'_>,
    after: (u64, u32, u64),
    limit: u32,
) -> Result<Vec<Entry>, Error> {
    let sql = "SELECT * FROM rewards.entry
        WHERE network = $1 AND ($2::bigint IS NULL OR sequencer_id = $2) AND ($3::text IS NULL OR kind = $3)
          AND (block_number, log_index, sequencer_id) > ($4, $5, $6)
        ORDER BY block_number, log_index, sequencer_id LIMIT $7";
    let values = [
        network.into(),
        filter.sequencer.map(|id| bigint(id.0)).into(),
        filter.kind.map(str::to_owned).into(),
        bigint(after.0).into(),
        i64::from(after.1).into(),
        bigint(after.2).into(),
        i64::from(limit).into(),
    ];
    let rows =
        Row::find_by_statement(statement(sql, values)).all(db).await.map_err(Error::at("listing entries"))?;
    Ok(rows.into_iter().map(Entry::from).collect())
}

/// Credits in a window of block time; of all sequencers if none is given.
pub async fn accrued_between<C: ConnectionTrait>(
    db: &C,
    network: &str,
    sequencer: Option<SequencerId>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Metis, Error> {
    #[derive(FromQueryResult)]
    struct Sum {
        amount: Wei,
    }
    let sql = "SELECT coalesce(sum(amount_wei), 0) AS amount FROM rewards.entry
        WHERE network = $1 AND ($2::bigint IS NULL OR sequencer_id = $2) AND kind = 'CREDIT'
          AND block_time >= $3 AND block_time < $4";
    let values = [
        network.into(),
        sequencer.map(|id| bigint(id.0)).into(),
        timestamptz(from).into(),
        timestamptz(to).into(),
    ];
    let sum =
        Sum::find_by_statement(statement(sql, values)).one(db).await.map_err(Error::at("summing credits"))?;
    Ok(sum.map_or(Metis::ZERO, |sum| Metis(sum.amount.0)))
}
