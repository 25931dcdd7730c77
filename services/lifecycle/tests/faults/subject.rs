//! The sequencer of a run, and what must be true of it whatever happened: one effect or none, METIS and ETH accounted
//! for, every nonce spent, and an answer that says so.

use alloy_primitives::{Address, U256};
use api::keys::v1::KeyRole;
use api::lifecycle::v1::*;
use chain::rpc::Receipt;
use chain::views::SequencerRecord;
use domain::amount::{Eth, Metis};
use domain::ids::SequencerId;
use testkit::contracts::node_key;

use super::Range;
use super::card::{BEFORE, LOCK, PART, Verb, heir, next_signer, other_recipient};
use crate::world::{address, managed, owner_name};

/// METIS that a registered owner has.
const FUNDS: u64 = 200_000;
/// Seconds of an exit where one must be over.
const EXIT_SECS: u64 = 60;

/// The sequencer of a run.
pub struct Subject {
    pub id: String,
    pub name: String,
    pub owner: Address,
    /// Whose lane it is.
    pub sender: Address,
    /// Of the contract, where it is locked already.
    seq_id: Option<SequencerId>,
    /// What it has earned and not taken.
    reward: Metis,
    /// Transactions of the sender before.
    pub sent: u64,
    /// ETH of the sender before, less what it has paid for what was none of ours.
    eth: U256,
}

/// What the chain shows of an operation.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    None,
    Once,
    /// Neither of the two.
    Other(String),
}

impl Subject {
    /// The operation as it is asked for.
    pub fn request(&self, verb: Verb) -> CreateOperationRequest {
        let terms = (verb == Verb::ClaimAfterRecipient).then(|| TermsAsked {
            recipient_if_unset: address(&other_recipient(&self.name)).to_string(),
            ..TermsAsked::default()
        });
        CreateOperationRequest { terms, ..managed(&self.id, verb.parameters(&self.name)) }
    }

    /// Somebody else had this sent from the account.
    pub fn paid_elsewhere(&mut self, receipt: &Receipt, value: U256) {
        let gas = U256::from(receipt.gas_used) * receipt.effective_gas_price.expect("anvil tells the price");
        self.eth -= gas + value;
    }
}

impl Range {
    /// A new sequencer on which this may be asked for.
    pub async fn subject(&mut self, number: usize, verb: Verb) -> Subject {
        let name = format!("s{number}");
        let sequencer = self.world.whitelisted(&name).await;
        let owner = address(&owner_name(&name));
        if verb != Verb::Lock {
            let recipient = if verb == Verb::ClaimAfterRecipient { Address::ZERO } else { owner };
            let l1 = &self.world.l1;
            l1.lock(owner, &node_key(&name), recipient, Metis::whole(BEFORE)).await.expect("it locks");
            self.world.until_phase(&sequencer.id, Phase::Locked).await;
        }
        let subject = self.seen(&name, &sequencer.id, verb).await;
        match (verb, subject.seq_id) {
            (Verb::Lock, _) | (_, None) => {}
            (Verb::WithdrawFinal, Some(id)) => {
                let l1 = &self.world.l1;
                l1.set_exit_delay(EXIT_SECS).await.expect("governance may");
                l1.unlock(owner, id).await.expect("it begins the exit");
                l1.link.advance_time(EXIT_SECS + 1).await.expect("time passes");
                self.world.until_phase(&subject.id, Phase::Withdrawable).await;
            }
            _ => {
                // Nothing may leave in the batch of its lock (P 1.10).
                self.earn(&subject, 1).await;
            }
        }
        if verb == Verb::SetOwner {
            self.world.l1.whitelist(address(&heir(&name)), true).await.expect("whitelisted");
        }
        if verb == Verb::RotateSigner {
            self.world.keys.add(&next_signer(&name), KeyRole::Sequencer);
        }
        self.seen(&name, &subject.id, verb).await
    }

    /// Rewards of so many blocks.
    pub async fn earn(&self, subject: &Subject, blocks: u64) {
        self.world.l1.submit_batch(&[(address(&subject.name), blocks)]).await.expect("it is taken");
    }

    /// As the chain has it now.
    async fn seen(&self, name: &str, id: &str, verb: Verb) -> Subject {
        let owner = address(&owner_name(name));
        let sender = if verb == Verb::RotateSigner { address(name) } else { owner };
        let seq_id = self.world.l1.sequencer_of(owner).await.expect("the chain answers");
        let record = self.record_of(seq_id).await;
        Subject {
            id: id.to_owned(),
            name: name.to_owned(),
            owner,
            sender,
            seq_id,
            reward: record.map_or(Metis::ZERO, |record| record.reward),
            sent: self.sent_by(sender).await,
            eth: self.world.l1.link.balance(sender).await.expect("the chain answers"),
        }
    }

    async fn record_of(&self, id: Option<SequencerId>) -> Option<SequencerRecord> {
        self.world.l1.record(id?).await.expect("the chain answers")
    }

    /// What the chain has of it.
    pub async fn effect(&self, subject: &Subject, verb: Verb) -> Effect {
        let id = match subject.seq_id {
            Some(id) => Some(id),
            None => self.world.l1.sequencer_of(subject.owner).await.expect("the chain answers"),
        };
        let Some(record) = self.record_of(id).await else { return Effect::None };
        let locked = Metis::whole(BEFORE);
        let amount = |after: Metis| told(record.amount, locked, after);
        let account = |name: String, now: Address, before: Address| told(now, before, address(&name));
        match verb {
            Verb::Lock => told(record.amount, Metis::ZERO, Metis::whole(LOCK)),
            Verb::Increase => amount(Metis::whole(BEFORE + PART)),
            Verb::Withdraw => amount(Metis::whole(BEFORE - PART)),
            Verb::Compound => amount(locked.checked_add(subject.reward).expect("a sum")),
            Verb::Claim | Verb::ClaimAfterRecipient => told(record.reward, subject.reward, Metis::ZERO),
            Verb::SetRecipient => {
                let now = record.reward_recipient.unwrap_or_default();
                account(other_recipient(&subject.name), now, subject.owner)
            }
            Verb::SetOwner => account(heir(&subject.name), record.owner, subject.owner),
            Verb::RotateSigner => account(next_signer(&subject.name), record.signer, subject.sender),
            Verb::Unlock => told(record.deactivation_time.0 > 0, false, true),
            Verb::WithdrawFinal => amount(Metis::ZERO),
        }
    }

    /// The invariant of every run.
    pub async fn is_as_told(&self, subject: &Subject, verb: Verb, told: &Operation) {
        let effect = self.effect(subject, verb).await;
        let is_done = told.state() == OperationState::Confirmed;
        let expected = if is_done { Effect::Once } else { Effect::None };
        assert_eq!(effect, expected, "it says {}: {}", told.state().as_str_name(), told.reason);
        let taken = format!(
            "SELECT count(DISTINCT nonce) FROM lifecycle.transaction WHERE account = decode('{}', 'hex')",
            hex::encode(subject.sender)
        );
        let taken = self.number(&taken).await;
        let spent = self.sent_by(subject.sender).await - subject.sent;
        assert_eq!(i64::try_from(spent).unwrap(), taken, "every nonce that was taken is spent, and no other");
        let calls = told.transactions.iter().filter(|one| one.step == verb.own_step());
        let done = calls.filter(|one| one.state == "CONFIRMED" && one.mined_form == "CALL").count();
        assert_eq!(done, usize::from(is_done), "{:#?}", told.transactions);
        self.metis_are_there(subject, verb).await;
        self.eth_left_once(subject, verb, told).await;
    }

    /// METIS are with the owner or locked.
    async fn metis_are_there(&self, subject: &Subject, verb: Verb) {
        if verb == Verb::Compound {
            return;
        }
        let id = self.world.l1.sequencer_of(subject.owner).await.expect("the chain answers");
        let locked = self.record_of(id.or(subject.seq_id)).await.map_or(U256::ZERO, |record| record.amount.0);
        let left = self.world.l1.metis_of(subject.owner).await.expect("the chain answers");
        assert_eq!(left.0 + locked, Metis::whole(FUNDS).0, "METIS are with the owner or locked");
    }

    /// What has left the account is what the receipts of the operation say: gas, and the ETH of the one call that was made.
    async fn eth_left_once(&self, subject: &Subject, verb: Verb, told: &Operation) {
        let wei = |text: &str| if text.is_empty() { U256::ZERO } else { text.parse().expect("wei") };
        let paid = told.transactions.iter().map(|one| wei(&one.paid_wei)).sum::<U256>();
        let made = told.transactions.iter().filter(|one| {
            one.step == verb.own_step() && one.state == "CONFIRMED" && one.mined_form == "CALL"
        });
        let sent = made.map(|one| wei(&one.unsigned.as_ref().expect("its call").value_wei)).sum::<U256>();
        let is_bridged = matches!(verb, Verb::Claim | Verb::ClaimAfterRecipient)
            && told.state() == OperationState::Confirmed;
        assert!(!is_bridged || !sent.is_zero(), "the bridge is paid where a reward leaves");
        let now = self.world.l1.link.balance(subject.sender).await.expect("the chain answers");
        let expected = subject.eth - paid;
        assert_eq!(
            Eth(now),
            Eth(expected),
            "ETH pays for gas and once for the bridge: {:#?}",
            told.transactions
        );
    }
}

fn told<T: PartialEq + std::fmt::Debug>(now: T, before: T, after: T) -> Effect {
    if now == after {
        Effect::Once
    } else if now == before {
        Effect::None
    } else {
        Effect::Other(format!("{now:?}"))
    }
}
