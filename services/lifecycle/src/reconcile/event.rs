//! An event of the stream as `domain::life` knows it, with its words for the history.

use alloy_primitives::{Address, U256};
use api::indexer::v1::ChainEvent;
use api::indexer::v1::chain_event::Event as Wire;
use domain::amount::Metis;
use domain::ids::{SequencerId, Timestamp};
use domain::life::{Event, Life};
use domain::phase::Phase;
use store::column::{Addr, Wei};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::wire;
use crate::db::position;
use crate::error::Error;

/// An event that names a sequencer by its id on chain.
#[derive(Debug)]
pub struct OfId {
    pub id: U256,
    pub event: Event,
    /// What the history says if it changes the state.
    pub words: String,
}

/// Reads an event; none if it changes nothing that we keep. `Locked` and `SetWhitelist` are about owners, and are read by
/// the applier itself.
pub fn of_id(event: &ChainEvent) -> Result<Option<OfId>, Error> {
    let Some(what) = &event.event else { return Ok(None) };
    let made = |id: &str, event, words| Ok(Some(OfId { id: wire::number(id)?, event, words }));
    match what {
        Wire::SequencerOwnerChanged(e) => {
            made(&e.sequencer_id, Event::OwnerChanged(wire::address(&e.owner)?), String::new())
        }
        Wire::SequencerRewardRecipientChanged(e) => {
            made(&e.sequencer_id, Event::RecipientChanged(wire::address(&e.recipient)?), String::new())
        }
        Wire::LockUpdate(e) => {
            let amount = Metis(wire::number(&e.new_amount_wei)?);
            made(&e.sequencer_id, Event::LockUpdate { amount, nonce: e.nonce }, String::new())
        }
        Wire::SignerChange(e) => {
            let (signer, pubkey) = (wire::address(&e.new_signer)?, wire::bytes(&e.signer_pubkey)?);
            made(&e.sequencer_id, Event::SignerChange { signer, pubkey, nonce: e.nonce }, String::new())
        }
        Wire::UnlockInit(e) => {
            let at = wire::seconds(e.unlock_claim_time)?;
            let from = at.format(&Rfc3339).unwrap_or_else(|_| at.to_string());
            let withdrawable_at = Timestamp(e.unlock_claim_time);
            let words = format!("UnlockInit, withdrawable from {from}");
            made(&e.sequencer_id, Event::UnlockInit { withdrawable_at, nonce: e.nonce }, words)
        }
        Wire::Unlocked(e) => {
            let words = format!("Unlocked {} METIS", Metis(wire::number(&e.amount_wei)?));
            made(&e.sequencer_id, Event::Unlocked, words)
        }
        _ => Ok(None),
    }
}

/// The life of a row.
pub fn life_of(row: &position::Row) -> Result<Life, Error> {
    const MALFORMED: Error = Error::Malformed { what: "a position" };
    let position::Row {
        sequencer: _,
        network: _,
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
    } = row;
    let withdrawable_at =
        withdrawable_at.and_then(|at| u64::try_from(at.unix_timestamp()).ok()).map(Timestamp);
    let seq_id = seq_id.map(|id| SequencerId::try_from(id.0)).transpose().map_err(|_| MALFORMED)?;
    let signers: Result<Vec<Address>, _> = signers.iter().map(|text| text.parse()).collect();
    Ok(Life {
        phase: Phase::from_parts(phase, withdrawable_at).map_err(|_| MALFORMED)?,
        seq_id,
        owner: owner.0,
        signer: signer.0,
        signer_pubkey: signer_pubkey.clone(),
        signers: signers.map_err(|_| MALFORMED)?,
        recipient: recipient.map(|recipient| recipient.0),
        locked: Metis(locked.0),
        nonce: u64::try_from(*nonce).map_err(|_| MALFORMED)?,
        withdrawable_at,
    })
}

/// The row with this life in it.
pub fn row_of(row: &position::Row, life: Life) -> Result<position::Row, Error> {
    let Life {
        phase,
        seq_id,
        owner,
        signer,
        signer_pubkey,
        signers,
        recipient,
        locked,
        nonce,
        withdrawable_at,
    } = life;
    let moment = |at: Timestamp| -> Result<OffsetDateTime, Error> { wire::seconds(at.0) };
    Ok(position::Row {
        sequencer: row.sequencer,
        network: row.network.clone(),
        phase: phase.name().to_owned(),
        seq_id: seq_id.map(|id| Wei(id.into())),
        owner: Addr(owner),
        signer: Addr(signer),
        signer_pubkey,
        recipient: recipient.map(Addr),
        locked: Wei(locked.0),
        nonce: wire::count(nonce)?,
        withdrawable_at: withdrawable_at.map(moment).transpose()?,
        signers: signers.into_iter().map(hex::encode).collect(),
    })
}
