//! The picture that every decision about an operation rests on: chain state at one pinned block, the node, the
//! backup and the open operations. Read anew for every preflight and before every send.

use alloy_primitives::Address;
use api::indexer::v1::Node;
use api::types::v1::Verdict as WireVerdict;
use chain::rpc::{BlockId, Header, call};
use chain::views;
use domain::amount::Eth;
use domain::fee;
use domain::ids::{SequencerId, Timestamp};
use domain::operation::Operation;
use domain::preflight::{Facts, NodeState, Record, SignerUse};
use uuid::Uuid;

use crate::db;
use crate::error::Error;
use crate::fleet::{Chain, Fleet};

/// Who and what an operation is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Id in the register.
    pub sequencer: Uuid,
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
    /// The operation itself, which does not stand in its own way.
    pub operation: Option<Uuid>,
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
    let header = chain.l1.ask(call::header(BlockId::Latest)).await?;
    let block = header.ok_or(Error::Malformed { what: "the newest block of an L1 endpoint" })?;
    let at = BlockId::Hash(block.hash);
    let pool = chain.locking_pool;
    let sender = subject.sender(operation);
    let parameters = (views::pool_parameters(pool, at), views::escrow_parameters(chain.locking_info, at));
    let owner = (
        views::whitelisted(pool, subject.owner, at),
        views::seq_of_owner(pool, subject.owner, at),
        views::token_balance(chain.metis, subject.owner, at),
        views::token_allowance(chain.metis, subject.owner, chain.locking_info, at),
    );
    let rest = (views::status_counts(pool, at), call::balance(sender, at));
    let (parameters, owner, (counts, eth)) = chain.l1.ask((parameters, owner, rest)).await?;
    let (pool_parameters, escrow) = parameters;
    let (owner_whitelisted, owner_sequencer, balance, allowance) = owner;
    let record = record_at(chain, subject.seq_id, at).await?;
    let bridge_fee = bridge_fee(chain, operation, record.as_ref(), at).await?;
    let (new_owner_whitelisted, new_owner_sequencer) = new_owner(chain, operation, at).await?;
    let open = db::operation::open_of(&fleet.db, subject.sequencer, subject.operation).await?;
    let facts = Facts {
        block_time: Timestamp(block.timestamp),
        variant: chain.variant,
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
        new_signer: new_signer(chain, operation, at).await?,
        new_owner_whitelisted,
        new_owner_sequencer,
        record,
        balance,
        allowance,
        eth: Eth(eth),
        eth_needed: Eth::ZERO,
        bridge_fee,
        backup_proven: backup(fleet, operation, subject).await?,
        node: node(fleet, chain, operation, subject).await?,
        open_operation: open.map(|row| row.id.to_string()),
    };
    Ok(Picture { block, facts })
}

async fn record_at(chain: &Chain, seq_id: Option<SequencerId>, at: BlockId) -> Result<Option<Record>, Error> {
    let Some(id) = seq_id else { return Ok(None) };
    let Some(found) = chain.l1.ask(views::sequencer(chain.locking_pool, id, at)).await? else {
        return Ok(None);
    };
    Ok(Some(Record {
        id,
        status: found.status,
        owner: found.owner,
        signer: found.signer,
        recipient: found.reward_recipient.unwrap_or(Address::ZERO),
        amount: found.amount,
        reward: found.reward,
        updated_batch: found.updated_batch,
        unlock_claim_time: found.unlock_claim_time,
    }))
}

/// Quoted only where a reward will be bridged: the contract keeps ETH that pays for nothing (P 1.10).
async fn bridge_fee(
    chain: &Chain,
    operation: &Operation,
    record: Option<&Record>,
    at: BlockId,
) -> Result<Eth, Error> {
    let Some(record) = record.filter(|record| operation.may_bridge() && !record.reward.is_zero()) else {
        return Ok(Eth::ZERO);
    };
    let oracle = views::fee_oracle(&chain.l1, chain.bridge, at).await?;
    // What does not fit in 256 bits no balance can pay: the check of ETH says so.
    Ok(fee::quote(operation.l2_gas(), oracle, record.reward).unwrap_or(Eth::MAX))
}

async fn new_signer(chain: &Chain, operation: &Operation, at: BlockId) -> Result<SignerUse, Error> {
    let signer = match operation {
        Operation::Lock { signer, .. } => signer.address(),
        Operation::RotateSigner { new_signer } => new_signer.address(),
        _ => return Ok(SignerUse::Unused),
    };
    Ok(chain.l1.ask(views::signer_use(chain.locking_pool, signer, at)).await?)
}

async fn new_owner(
    chain: &Chain,
    operation: &Operation,
    at: BlockId,
) -> Result<(bool, Option<SequencerId>), Error> {
    let Operation::SetOwner { new_owner } = operation else { return Ok((false, None)) };
    let whitelisted = views::whitelisted(chain.locking_pool, *new_owner, at);
    let sequencer = views::seq_of_owner(chain.locking_pool, *new_owner, at);
    Ok(chain.l1.ask((whitelisted, sequencer)).await?)
}

/// Asked only where the checks look at it, so that keys may be away for everything else.
async fn backup(fleet: &Fleet, operation: &Operation, subject: &Subject) -> Result<Option<bool>, Error> {
    if !matches!(operation, Operation::Lock { .. } | Operation::RotateSigner { .. }) {
        return Ok(None);
    }
    let Some(key_id) = &subject.signer_key else { return Ok(None) };
    Ok(Some(fleet.neighbours.key(key_id).await?.backup_proven_time.is_some()))
}

async fn node(
    fleet: &Fleet,
    chain: &Chain,
    operation: &Operation,
    subject: &Subject,
) -> Result<NodeState, Error> {
    if !matches!(operation, Operation::Lock { .. }) {
        return Ok(NodeState::Unregistered);
    }
    let node = fleet.neighbours.node_of(&chain.name, subject.signer).await?;
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
