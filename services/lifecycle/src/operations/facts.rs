//! The picture that every decision about an operation rests on: chain state at one pinned block, the node, the
//! backup and the open operations. Read anew for every preflight and before every send.

use alloy_primitives::Address;
use api::indexer::v1::Node;
use api::types::v1::Verdict as WireVerdict;
use chain::rpc::{Ask, BlockId, Header, call};
use chain::views;
use domain::amount::Eth;
use domain::fee::{self, Oracle};
use domain::ids::{SequencerId, Timestamp};
use domain::operation::Operation;
use domain::preflight::{Facts, NodeState, Record, SignerUse};
use uuid::Uuid;

use crate::db::cursor::Hold;
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::head::Settings;

/// Who and what an operation is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Id on chain, once locked.
    pub seq_id: Option<SequencerId>,
    /// Present owner.
    pub owner: Address,
    /// Present signer.
    pub signer: Address,
    /// The key of the signer that the operation concerns (the new one in a rotation); none if external.
    pub signer_key: Option<String>,
    /// Claim and unlock: to be set first where the contract has none.
    pub recipient_if_unset: Option<Address>,
    /// Another unfinished operation of the sequencer: this one does not stand in its own way.
    pub open_operation: Option<Uuid>,
    /// One that a wallet may send or has sent, and that is not finished.
    pub open_prepared: Option<Uuid>,
    /// Why nothing is sent on the network.
    pub hold: Option<Hold>,
    /// What others have approved, in words; none where nobody had to.
    pub approved: Option<String>,
}

impl Subject {
    /// Who sends.
    pub fn sender(&self, operation: &Operation) -> Address {
        if operation.sent_by_signer() { self.signer } else { self.owner }
    }
}

/// The picture, with the block it was taken at. `eth_needed` is filled in by the plan.
#[derive(Debug, Clone)]
pub struct Picture {
    pub block: Header,
    pub facts: Facts,
}

/// Reads everything the checks of `operation` look at.
pub async fn gather(
    fleet: &Fleet,
    chain: &Chain,
    operation: &Operation,
    subject: &Subject,
) -> Result<Picture, Error> {
    let mut picture = on_chain(chain, operation, subject).await?;
    picture.facts.open_operation = subject.open_operation.map(|id| id.to_string());
    picture.facts.open_prepared = subject.open_prepared.map(|id| id.to_string());
    picture.facts.backup_proven = backup(fleet, operation, subject).await?;
    picture.facts.node = node(fleet, chain, operation).await?;
    Ok(picture)
}

/// What the chain says, at its newest block: what concerns everybody is read once for each block, the rest in one question, and the
/// prices of the bridge where it is used.
pub async fn on_chain(chain: &Chain, operation: &Operation, subject: &Subject) -> Result<Picture, Error> {
    let header = chain.head.latest(&chain.l1).await?;
    let block = header.ok_or(Error::Malformed { what: "the newest block of an L1 endpoint" })?;
    let at = BlockId::Hash(block.hash);
    let pool = chain.locking_pool;
    let sender = subject.sender(operation);
    let owner = (
        views::whitelisted(pool, subject.owner, at),
        views::seq_of_owner(pool, subject.owner, at),
        views::token_balance(chain.metis, subject.owner, at),
        views::token_allowance(chain.metis, subject.owner, chain.locking_info, at),
        call::balance(sender, at),
    );
    let new_owner = Some(operation.new_owner()).filter(|_| matches!(operation, Operation::SetOwner { .. }));
    let about = (
        only(subject.seq_id, |id| views::sequencer(pool, id, at)),
        only(operation.new_signer(), |signer| views::signer_use(pool, signer, at)),
        only(new_owner, |owner| (views::whitelisted(pool, owner, at), views::seq_of_owner(pool, owner, at))),
    );
    let settings = chain.head.settings(&chain.l1, pool, chain.locking_info, block.hash);
    let (settings, (owner, about)) = tokio::try_join!(settings, chain.l1.ask((owner, about)))?;
    let Settings { pool: pool_parameters, escrow, counts, implementation } = settings;
    let (owner_whitelisted, owner_sequencer, balance, allowance, eth) = owner;
    let (records, signer_uses, new_owners) = about;
    let record = subject.seq_id.zip(records.into_iter().next().flatten()).map(record);
    let (new_owner_whitelisted, new_owner_sequencer) = new_owners.into_iter().next().unwrap_or_default();
    let (oracle, bridge_fee) = bridge(chain, operation, record.as_ref(), at).await?;
    let facts = Facts {
        block_time: Timestamp(block.timestamp),
        variant: chain.variant_of(implementation),
        paused: pool_parameters.paused,
        min_lock: escrow.min_lock,
        max_lock: escrow.max_lock,
        current_batch: pool_parameters.batch.id,
        signer_update_throttle: pool_parameters.signer_update_throttle,
        active: counts.active,
        exiting: counts.inactive,
        sender,
        owner_whitelisted,
        owner_sequencer,
        new_signer: signer_uses.into_iter().next().unwrap_or(SignerUse::Unused),
        new_owner_whitelisted,
        new_owner_sequencer,
        record,
        balance,
        allowance,
        eth: Eth(eth),
        eth_needed: Eth::ZERO,
        oracle,
        bridge_fee,
        backup_proven: None,
        node: NodeState::Unregistered,
        open_operation: None,
        open_prepared: None,
    };
    Ok(Picture { block, facts })
}

/// A question that is asked only where there is something to ask about.
fn only<T, A: Ask>(about: Option<T>, ask: impl FnOnce(T) -> A) -> Vec<A> {
    about.map(ask).into_iter().collect()
}

fn record((id, found): (SequencerId, views::SequencerRecord)) -> Record {
    Record {
        id,
        status: found.status,
        owner: found.owner,
        signer: found.signer,
        recipient: found.reward_recipient.unwrap_or(Address::ZERO),
        amount: found.amount,
        reward: found.reward,
        updated_batch: found.updated_batch,
        unlock_claim_time: found.unlock_claim_time,
    }
}

/// Quoted only where a reward will be bridged: the contract keeps ETH that pays for nothing (P 1.10).
async fn bridge(
    chain: &Chain,
    operation: &Operation,
    record: Option<&Record>,
    at: BlockId,
) -> Result<(Option<Oracle>, Eth), Error> {
    let Some(record) = record.filter(|record| operation.may_bridge() && !record.reward.is_zero()) else {
        return Ok((None, Eth::ZERO));
    };
    let oracle = views::fee_oracle(&chain.l1, chain.bridge, at).await?;
    // What does not fit in 256 bits no balance can pay: the check of ETH says so.
    Ok((Some(oracle), fee::quote(operation.l2_gas(), oracle, record.reward).unwrap_or(Eth::MAX)))
}

/// Asked only where the checks look at it, so that keys may be away for everything else.
async fn backup(fleet: &Fleet, operation: &Operation, subject: &Subject) -> Result<Option<bool>, Error> {
    if !matches!(operation, Operation::Lock { .. } | Operation::RotateSigner { .. }) {
        return Ok(None);
    }
    let Some(key_id) = &subject.signer_key else { return Ok(None) };
    Ok(Some(fleet.neighbours.key(key_id).await?.backup_proven_time.is_some()))
}

/// The node of the signer that the operation brings into the contract.
async fn node(fleet: &Fleet, chain: &Chain, operation: &Operation) -> Result<NodeState, Error> {
    let Some(signer) = operation.new_signer() else { return Ok(NodeState::Unregistered) };
    let node = match fleet.neighbours.node_of(&chain.name, signer).await {
        Ok(node) => node,
        // Before a rotation the node is only worth knowing.
        Err(error) if operation.sent_by_signer() => {
            tracing::debug!("the node of {signer} is not known: {}", runtime::report(&error));
            return Ok(NodeState::NotReady("the indexer did not answer".to_owned()));
        }
        Err(error) => return Err(error),
    };
    Ok(node.map_or(NodeState::Unregistered, |node| node_state(&node)))
}

/// The verdict of a node with its reasons in words.
pub fn node_state(node: &Node) -> NodeState {
    if node.ready_to_lock {
        return NodeState::Ready;
    }
    let failing = node.checks.iter().filter(|check| check.verdict() == WireVerdict::Fail);
    let why: Vec<&str> = failing.map(|check| check.message.as_str()).collect();
    NodeState::NotReady(if why.is_empty() { "it was not probed yet".to_owned() } else { why.join("; ") })
}
