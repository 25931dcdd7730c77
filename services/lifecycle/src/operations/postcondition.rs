//! Whether an operation really did what was asked: seen in the indexed events of its transaction, not in a receipt.

use api::indexer::v1::ChainEvent;
use api::indexer::v1::chain_event::Event;
use domain::operation::Operation;

/// Whether one of the events is the effect of the operation. Amounts are compared exactly.
pub fn holds(operation: &Operation, events: &[ChainEvent]) -> bool {
    events.iter().filter_map(|event| event.event.as_ref()).any(|event| is_effect(operation, event))
}

fn is_effect(operation: &Operation, event: &Event) -> bool {
    match (operation, event) {
        (Operation::Lock { amount, signer, .. }, Event::Locked(locked)) => {
            locked.amount_wei == amount.wei_string() && same(&locked.signer, signer.address())
        }
        (Operation::Increase { amount, with_rewards }, Event::Relocked(relocked)) => {
            // With rewards the total is known only to the chain.
            *with_rewards || relocked.amount_wei == amount.wei_string()
        }
        (Operation::Withdraw { amount }, Event::Withdraw(withdraw)) => {
            withdraw.amount_wei == amount.wei_string()
        }
        (Operation::SetRecipient { recipient }, Event::SequencerRewardRecipientChanged(changed)) => {
            same(&changed.recipient, *recipient)
        }
        (Operation::SetOwner { new_owner }, Event::SequencerOwnerChanged(changed)) => {
            same(&changed.owner, *new_owner)
        }
        (Operation::RotateSigner { new_signer }, Event::SignerChange(changed)) => {
            same(&changed.new_signer, new_signer.address())
        }
        (Operation::Claim { .. }, Event::ClaimRewards(_))
        | (Operation::Unlock { .. }, Event::UnlockInit(_))
        | (Operation::WithdrawFinal { .. }, Event::Unlocked(_)) => true,
        _ => false,
    }
}

fn same(text: &str, address: alloy_primitives::Address) -> bool {
    text.parse() == Ok(address)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use api::indexer::v1::{SequencerRewardRecipientChanged, Withdraw};
    use domain::amount::Metis;

    use super::*;

    fn event(event: Event) -> ChainEvent {
        ChainEvent { event: Some(event), ..Default::default() }
    }

    #[test]
    fn only_the_very_effect_that_was_asked_for_counts() {
        let withdraw = |wei: &str| {
            event(Event::Withdraw(Withdraw { sequencer_id: "1".to_owned(), amount_wei: wei.to_owned() }))
        };
        let asked = Operation::Withdraw { amount: Metis::wei(5) };
        assert!(holds(&asked, &[withdraw("5")]));
        assert!(!holds(&asked, &[withdraw("6")]));
        assert!(!holds(&asked, &[]));
        let recipient = Address::repeat_byte(7);
        let changed = event(Event::SequencerRewardRecipientChanged(SequencerRewardRecipientChanged {
            sequencer_id: "1".to_owned(),
            recipient: recipient.to_string(),
        }));
        assert!(holds(&Operation::SetRecipient { recipient }, std::slice::from_ref(&changed)));
        assert!(!holds(&Operation::SetRecipient { recipient: Address::ZERO }, &[changed]));
    }
}
