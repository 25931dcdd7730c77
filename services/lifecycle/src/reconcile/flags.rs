//! What nodes, keys and parameters say of the sequencers: LOCKED becomes ACTIVE when themis knows the signer, and the
//! flags of the managed ones are made again. Runs inside the lease of the follow loop, because it writes history.

use std::collections::HashMap;

use alloy_primitives::{Address, U256};
use api::indexer::v1::{ChainParameters, Node, SequencerRecord};
use chain::rpc::{BlockId, call};
use domain::amount::{Eth, Metis};
use domain::flag::{Conditions, Flag, flags};
use domain::network::Variant;
use domain::phase::Phase;
use domain::preflight::NodeState;
use store::in_transaction;
use store::lease::{Lease, fence};
use time::OffsetDateTime;
use uuid::Uuid;

use super::apply::{Applier, phase_of};
use super::follow::{CHANNEL, head};
use crate::db::{SCHEMA, cursor, flag, position, sequencer, whitelist};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::operations::facts::node_state;

/// Balances in one batch; larger ones are refused by some providers.
const BALANCES_AT_ONCE: usize = 100;

/// Everything the neighbours say, read once for all sequencers of a network. What a neighbour that is away would
/// have said is unknown, and raises nothing.
struct Said {
    nodes: HashMap<Address, Node>,
    records: HashMap<String, SequencerRecord>,
    parameters: Option<ChainParameters>,
    /// Address of each key of ours, and whether its backup is proven.
    backups: HashMap<Address, bool>,
}

/// One look. Problems are reported and left to the next look: nothing here may stop the stream.
pub async fn refresh(fleet: &Fleet, chain: &Chain, lease_name: &str, lease: Lease) {
    let said = ask(fleet, chain).await;
    if let Err(error) = activate(fleet, chain, lease_name, lease, &said).await {
        tracing::warn!("activating sequencers of {}: {}", chain.name, runtime::report(&error));
    }
    if let Err(error) = raise(fleet, chain, lease_name, lease, &said).await {
        tracing::warn!("refreshing the flags of {}: {}", chain.name, runtime::report(&error));
    }
}

async fn ask(fleet: &Fleet, chain: &Chain) -> Said {
    let neighbours = &fleet.neighbours;
    let (nodes, records, parameters, keys) = tokio::join!(
        neighbours.nodes(&chain.name),
        neighbours.records(&chain.name),
        neighbours.parameters(&chain.name),
        neighbours.keys(),
    );
    let signer_of = |node: &Node| node.signer.parse::<Address>().ok();
    Said {
        nodes: known(nodes).into_iter().filter_map(|node| Some((signer_of(&node)?, node))).collect(),
        records: known(records).into_iter().map(|record| (record.sequencer_id.clone(), record)).collect(),
        parameters: parameters.ok(),
        backups: known(keys)
            .into_iter()
            .filter_map(|key| {
                let address = key.public_key.as_ref()?.address.parse().ok()?;
                Some((address, key.backup_proven_time.is_some()))
            })
            .collect(),
    }
}

fn known<T>(answer: Result<Vec<T>, Error>) -> Vec<T> {
    answer.unwrap_or_else(|error| {
        tracing::debug!("a neighbour is away: {}", runtime::report(&error));
        Vec::new()
    })
}

/// LOCKED becomes ACTIVE where themis has the validator record.
async fn activate(
    fleet: &Fleet,
    chain: &Chain,
    lease_name: &str,
    lease: Lease,
    said: &Said,
) -> Result<(), Error> {
    let locked = position::in_phase(&fleet.db, &chain.name, Phase::Locked.name()).await?;
    let is_known =
        |row: &position::Row| said.nodes.get(&row.signer.0).is_some_and(|node| node.validator_known);
    for row in locked.into_iter().filter(is_known) {
        let made = in_transaction(&fleet.db, |tx| {
            let id = row.sequencer;
            Box::pin(async move {
                fence(&*tx, SCHEMA, lease_name, lease.epoch).await?;
                let place = cursor::lock(&*tx, &chain.name).await?;
                let (Some(block), Some(fresh)) = (head(&place), position::of(&*tx, id).await?) else {
                    return Ok(0);
                };
                let mut applier = Applier { tx: &*tx, network: &chain.name, block, transitions: 0 };
                let made = {
                    applier.validator_known(fresh).await?;
                    applier.transitions
                };
                store::notify::notify(&*tx, CHANNEL, &chain.name).await?;
                Ok::<_, Error>(made)
            })
        })
        .await?;
        fleet.metrics.transitions(&chain.name, made);
    }
    Ok(())
}

async fn raise(
    fleet: &Fleet,
    chain: &Chain,
    lease_name: &str,
    lease: Lease,
    said: &Said,
) -> Result<(), Error> {
    let now = OffsetDateTime::now_utc();
    let managed: Vec<Uuid> =
        sequencer::managed_of(&fleet.db, &chain.name).await?.into_iter().map(|row| row.id).collect();
    let positions = position::of_many(&fleet.db, &managed).await?;
    let poor = low_eth(fleet, chain, said, &positions).await;
    let standing = flag::of_many(&fleet.db, &managed).await?;
    for position in positions {
        let id = position.sequencer;
        let whitelisted = whitelist::of(&fleet.db, &chain.name, position.owner.0).await?;
        let conditions = conditions(chain, said, &position, whitelisted)?;
        let mut raised: Vec<(String, String)> =
            flags(&conditions).into_iter().map(|(flag, why)| (flag.name().to_owned(), why)).collect();
        raised.extend(poor.get(&position.owner.0).cloned());
        raised.sort_unstable();
        let before = standing.iter().filter(|flag| flag.sequencer == id);
        if before.map(|flag| (&flag.name, &flag.reason)).eq(raised.iter().map(|(name, why)| (name, why))) {
            continue;
        }
        in_transaction(&fleet.db, |tx| {
            let raised = raised.clone();
            Box::pin(async move {
                fence(&*tx, SCHEMA, lease_name, lease.epoch).await?;
                Ok::<_, Error>(flag::replace(&*tx, id, &raised, now).await?)
            })
        })
        .await?;
    }
    Ok(())
}

fn conditions(
    chain: &Chain,
    said: &Said,
    position: &position::Row,
    whitelisted: bool,
) -> Result<Conditions, Error> {
    let phase = phase_of(position)?;
    let node = said.nodes.get(&position.signer.0);
    let record = position.seq_id.and_then(|id| said.records.get(&id.0.to_string()));
    let wei = |text: &str| Metis::parse_wei(text).unwrap_or_default();
    let parameters = said.parameters.as_ref();
    let themis_nonce = node.filter(|node| node.validator_known).map(|node| node.validator_nonce);
    Ok(Conditions {
        phase,
        whitelisted,
        paused: parameters.is_some_and(|parameters| parameters.paused),
        recipient: position.recipient.filter(|_| phase.holds_lock()).map(|recipient| recipient.0),
        backup_proven: said.backups.get(&position.signer.0).copied(),
        node_problem: node.map(|node| match node_state(node) {
            NodeState::Ready | NodeState::Unregistered => None,
            NodeState::NotReady(why) => Some(why),
        }),
        nonces: themis_nonce.map(|themis| (u64::try_from(position.nonce).unwrap_or_default(), themis)),
        lock: record
            .zip(parameters)
            .map(|(record, set)| (Metis(position.locked.0), wei(&record.reward_wei), wei(&set.max_lock_wei))),
        exit_blocked: chain.variant == Variant::Mainnet
            && parameters.is_some_and(|set| !domain::exit::allowed(set.active_count, set.exiting_count)),
        missed_turn: None,
    })
}

/// Owners that are short of ETH, each with its flag. Only accounts that we send from are watched.
async fn low_eth(
    fleet: &Fleet,
    chain: &Chain,
    said: &Said,
    positions: &[position::Row],
) -> HashMap<Address, (String, String)> {
    let owners: Vec<Address> = positions
        .iter()
        .filter(|row| row.phase != Phase::Withdrawn.name() && said.backups.contains_key(&row.owner.0))
        .map(|row| row.owner.0)
        .collect();
    let mut poor = HashMap::new();
    let least = Eth(U256::from(fleet.config.low_eth_wei));
    for some in owners.chunks(BALANCES_AT_ONCE) {
        let asked: Vec<_> = some.iter().map(|owner| call::balance(*owner, BlockId::Latest)).collect();
        let Ok(balances) = chain.l1.ask(asked).await else { return poor };
        for (owner, eth) in some.iter().zip(balances) {
            let eth = Eth(eth);
            if eth < least {
                let why = format!("the owner has {eth} ETH, less than {least}");
                poor.insert(*owner, (Flag::LowEth.name().to_owned(), why));
            }
        }
    }
    poor
}
