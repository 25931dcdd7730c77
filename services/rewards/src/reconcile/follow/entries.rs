//! What the events of one L1 block mean for the ledger: pure.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use api::indexer::v1::chain_event::Event;
use api::indexer::v1::{ChainEvent, CreditMethod, DistributeReward};
use domain::amount::Metis;
use domain::ids::SequencerId;
use store::Transaction;

use super::Error;
use crate::db::batch::{self, Batch};
use crate::db::entry::{self, Entry, Kind};
use crate::db::{Block, principal};

/// A row that an event leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Into the ledger.
    Entry(Entry),
    /// A new principal.
    Principal { sequencer: SequencerId, block: Block, log_index: u32, amount: Metis },
    /// A batch.
    Batch(Batch),
}

impl Row {
    /// Stores it.
    pub async fn insert(&self, tx: &Transaction<'_, '_>, network: &str) -> Result<(), store::Error> {
        match self {
            Self::Entry(row) => entry::insert(tx, network, row).await,
            Self::Principal { sequencer, block, log_index, amount } => {
                principal::insert(tx, network, *sequencer, *block, *log_index, *amount).await
            }
            Self::Batch(row) => batch::insert(tx, network, row).await,
        }
    }
}

/// The rows of a block, in the order of its logs.
pub fn of_block(block: Block, events: &[ChainEvent]) -> Result<Vec<Row>, Error> {
    // A claim inside an exit is paid by the exit: the same transaction carries UnlockInit or Unlocked.
    let exits: BTreeSet<&str> = events
        .iter()
        .filter(|event| matches!(event.event, Some(Event::UnlockInit(_) | Event::Unlocked(_))))
        .filter_map(|event| event.at.as_ref().map(|at| at.transaction_hash.as_str()))
        .collect();
    let mut rows = Vec::new();
    for event in events {
        let at = event.at.as_ref().ok_or(Error::Nonsense("an event without place"))?;
        let place = Place {
            block,
            tx_hash: at.transaction_hash.parse().map_err(|_| Error::Nonsense("a malformed hash"))?,
            log_index: at.log_index,
            in_exit: exits.contains(at.transaction_hash.as_str()),
        };
        if let Some(event) = &event.event {
            place.rows(event, &mut rows)?;
        }
    }
    Ok(rows)
}

struct Place {
    block: Block,
    tx_hash: B256,
    log_index: u32,
    in_exit: bool,
}

impl Place {
    fn rows(&self, event: &Event, rows: &mut Vec<Row>) -> Result<(), Error> {
        match event {
            Event::Locked(locked) => {
                rows.push(self.principal(&locked.sequencer_id, wei(&locked.amount_wei)?)?)
            }
            Event::LockUpdate(update) => {
                rows.push(self.principal(&update.sequencer_id, wei(&update.new_amount_wei)?)?);
            }
            // From here on it earns nothing, so it is no base of a rate.
            Event::UnlockInit(unlock) => rows.push(self.principal(&unlock.sequencer_id, Metis::ZERO)?),
            Event::Relocked(relocked) => {
                let amount = wei(&relocked.from_reward_wei)?;
                if !amount.is_zero() {
                    rows.push(self.entry(&relocked.sequencer_id, Kind::Compound, amount)?);
                }
            }
            Event::ClaimRewards(claim) => {
                let amount = wei(&claim.amount_wei)?;
                let recipient = address(&claim.recipient)?;
                let kind = if self.in_exit { Kind::Exit { recipient } } else { Kind::Claim { recipient } };
                // An exit without reward claims 0: nothing moved.
                if !amount.is_zero() {
                    rows.push(self.entry(&claim.sequencer_id, kind, amount)?);
                }
            }
            Event::DistributeReward(distributed) => self.batch(distributed, rows)?,
            _ => {}
        }
        Ok(())
    }

    fn batch(&self, distributed: &DistributeReward, rows: &mut Vec<Row>) -> Result<(), Error> {
        rows.push(Row::Batch(Batch {
            id: distributed.batch_id,
            block: self.block,
            amount: wei(&distributed.amount_wei)?,
            reward_per_block: wei(&distributed.reward_per_block_wei)?,
            method: CreditMethod::try_from(distributed.method).unwrap_or_default().as_str_name(),
        }));
        for credit in &distributed.credits {
            let kind = Kind::Credit { batch_id: distributed.batch_id, blocks: credit.blocks };
            rows.push(self.entry(&credit.sequencer_id, kind, wei(&credit.amount_wei)?)?);
        }
        Ok(())
    }

    fn entry(&self, sequencer: &str, kind: Kind, amount: Metis) -> Result<Row, Error> {
        Ok(Row::Entry(Entry {
            sequencer: id(sequencer)?,
            kind,
            amount,
            block: self.block,
            tx_hash: self.tx_hash,
            log_index: self.log_index,
        }))
    }

    fn principal(&self, sequencer: &str, amount: Metis) -> Result<Row, Error> {
        Ok(Row::Principal { sequencer: id(sequencer)?, block: self.block, log_index: self.log_index, amount })
    }
}

fn id(text: &str) -> Result<SequencerId, Error> {
    text.parse().map_err(|_| Error::Nonsense("a malformed sequencer id"))
}

fn wei(text: &str) -> Result<Metis, Error> {
    Metis::parse_wei(text).map_err(|_| Error::Nonsense("a malformed amount"))
}

fn address(text: &str) -> Result<Address, Error> {
    text.parse().map_err(|_| Error::Nonsense("a malformed address"))
}

#[cfg(test)]
mod tests {
    use api::indexer::v1::{ClaimRewards, Relocked, RewardCredit, UnlockInit};
    use api::types::v1::LogRef;
    use domain::ids::{Height, Timestamp};

    use super::*;

    const BLOCK: Block = Block { number: Height(9), hash: B256::ZERO, time: Timestamp(90) };
    const RECIPIENT: Address = Address::repeat_byte(5);

    fn event(tx: u8, log_index: u32, event: Event) -> ChainEvent {
        let at =
            LogRef { transaction_hash: B256::repeat_byte(tx).to_string(), log_index, ..LogRef::default() };
        ChainEvent { at: Some(at), event: Some(event), ..ChainEvent::default() }
    }

    fn claim(amount: &str) -> Event {
        Event::ClaimRewards(ClaimRewards {
            sequencer_id: "1".into(),
            recipient: RECIPIENT.to_string(),
            amount_wei: amount.into(),
            total_amount_wei: amount.into(),
        })
    }

    fn unlock() -> Event {
        Event::UnlockInit(UnlockInit { sequencer_id: "1".into(), ..UnlockInit::default() })
    }

    fn kinds(events: &[ChainEvent]) -> Vec<Kind> {
        let rows = of_block(BLOCK, events).unwrap();
        rows.into_iter()
            .filter_map(|row| if let Row::Entry(entry) = row { Some(entry.kind) } else { None })
            .collect()
    }

    #[test]
    fn a_claim_is_paid_at_exit_only_in_the_transaction_of_the_exit() {
        let events = [event(1, 0, claim("5")), event(2, 1, claim("7")), event(2, 2, unlock())];
        let expected = vec![Kind::Claim { recipient: RECIPIENT }, Kind::Exit { recipient: RECIPIENT }];
        assert_eq!(kinds(&events), expected);
    }

    #[test]
    fn an_exit_without_reward_leaves_no_entry_and_ends_the_principal() {
        let rows = of_block(BLOCK, &[event(2, 1, claim("0")), event(2, 2, unlock())]).unwrap();
        assert_eq!(rows.len(), 1);
        assert!(matches!(rows[0], Row::Principal { amount: Metis::ZERO, .. }));
    }

    #[test]
    fn only_the_part_from_rewards_of_an_increase_is_compounded() {
        let increase = |from_reward: &str| {
            Event::Relocked(Relocked {
                sequencer_id: "1".into(),
                amount_wei: "10".into(),
                total_wei: "10".into(),
                from_reward_wei: from_reward.into(),
            })
        };
        assert_eq!(kinds(&[event(1, 0, increase("0"))]), vec![]);
        assert_eq!(kinds(&[event(1, 0, increase("4"))]), vec![Kind::Compound]);
    }

    #[test]
    fn a_batch_credits_each_sequencer_once() {
        let credit = |id: &str, blocks, amount: &str| RewardCredit {
            sequencer_id: id.into(),
            blocks,
            amount_wei: amount.into(),
        };
        let batch = Event::DistributeReward(DistributeReward {
            batch_id: 2,
            start_epoch: 1,
            end_epoch: 5,
            amount_wei: "30".into(),
            reward_per_block_wei: "1".into(),
            method: CreditMethod::Calldata.into(),
            credits: vec![credit("1", 10, "10"), credit("2", 20, "20")],
        });
        let expected =
            vec![Kind::Credit { batch_id: 2, blocks: 10 }, Kind::Credit { batch_id: 2, blocks: 20 }];
        assert_eq!(kinds(&[event(1, 0, batch)]), expected);
    }

    #[test]
    fn nonsense_from_the_stream_stops_the_ledger_instead_of_entering_it() {
        assert!(of_block(BLOCK, &[event(1, 0, claim("-5"))]).is_err());
        assert!(of_block(BLOCK, &[ChainEvent::default()]).is_err());
    }
}
