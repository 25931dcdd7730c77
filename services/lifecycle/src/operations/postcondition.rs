//! Whether an operation really did what was asked: seen in the indexed events of its transaction, not in a receipt.

use alloy_primitives::Address;
use api::indexer::v1::chain_event::Event;
use api::indexer::v1::{ChainEvent, Relocked};
use domain::amount::Metis;
use domain::ids::SequencerId;
use domain::operation::Operation;

/// Whether the events are the effect of the operation on this sequencer, to the wei. A lock gives the id itself: there
/// it is the signer, who is never used twice, that tells whose it is (P 1.10).
pub fn holds(operation: &Operation, seq_id: Option<SequencerId>, events: &[ChainEvent]) -> bool {
    let events: Vec<&Event> = events.iter().filter_map(|event| event.event.as_ref()).collect();
    match (operation, seq_id) {
        (Operation::Lock { amount, recipient, signer, .. }, _) => {
            events.iter().any(|event| is_lock(event, *amount, *recipient, signer.address(), &events))
        }
        (_, Some(id)) => {
            let id = id.to_string();
            events.iter().any(|event| is_effect(operation, &id, event))
        }
        (_, None) => false,
    }
}

/// The recipient of a lock has an event of its own, in the same transaction (P 1.10).
fn is_lock(event: &Event, amount: Metis, recipient: Address, signer: Address, all: &[&Event]) -> bool {
    let Event::Locked(locked) = event else { return false };
    let goes_there = |event: &&Event| {
        matches!(event, Event::SequencerRewardRecipientChanged(changed)
            if changed.sequencer_id == locked.sequencer_id && same(&changed.recipient, recipient))
    };
    locked.amount_wei == amount.wei_string() && same(&locked.signer, signer) && all.iter().any(goes_there)
}

fn is_effect(operation: &Operation, id: &str, event: &Event) -> bool {
    match (operation, event) {
        (Operation::Increase { amount, with_rewards }, Event::Relocked(relocked)) => {
            relocked.sequencer_id == id && increases(*amount, *with_rewards, relocked)
        }
        (Operation::Withdraw { amount }, Event::Withdraw(withdraw)) => {
            withdraw.sequencer_id == id && withdraw.amount_wei == amount.wei_string()
        }
        (Operation::SetRecipient { recipient }, Event::SequencerRewardRecipientChanged(changed)) => {
            changed.sequencer_id == id && same(&changed.recipient, *recipient)
        }
        (Operation::SetOwner { new_owner }, Event::SequencerOwnerChanged(changed)) => {
            changed.sequencer_id == id && same(&changed.owner, *new_owner)
        }
        (Operation::RotateSigner { new_signer }, Event::SignerChange(changed)) => {
            changed.sequencer_id == id && same(&changed.new_signer, new_signer.address())
        }
        // Neither names an amount or a recipient: the contract has both.
        (Operation::Claim { .. }, Event::ClaimRewards(claimed)) => claimed.sequencer_id == id,
        (Operation::Unlock { .. }, Event::UnlockInit(unlocking)) => unlocking.sequencer_id == id,
        (Operation::WithdrawFinal { .. }, Event::Unlocked(unlocked)) => unlocked.sequencer_id == id,
        _ => false,
    }
}

/// `Relocked` has tokens and reward in one sum (P 1.8); the reward in it is known only to the chain, and told apart only
/// where the indexer could.
fn increases(amount: Metis, with_rewards: bool, relocked: &Relocked) -> bool {
    let wei = |text: &str| Metis::parse_wei(text).ok();
    let Some(total) = wei(&relocked.amount_wei) else { return false };
    match (with_rewards, wei(&relocked.from_reward_wei)) {
        (false, _) => total == amount,
        (true, Some(from_reward)) => amount.checked_add(from_reward) == Some(total),
        (true, None) => total >= amount,
    }
}

fn same(text: &str, address: Address) -> bool {
    text.parse() == Ok(address)
}

#[cfg(test)]
mod tests;
