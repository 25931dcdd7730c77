//! What nodes, keys and parameters say of the sequencers: LOCKED becomes ACTIVE when themis knows the signer, and the
//! flags of the managed ones are made again. Runs inside the lease of the follow loop, because it writes history.

use std::collections::{BTreeSet, HashMap};

use alloy_primitives::{Address, U256};
use api::indexer::v1::{ChainParameters, MissedTurn, Node, SequencerRecord};
use api::keys::v1::Key;
use chain::rpc::{BlockId, call};
use chain::views;
use domain::amount::{Eth, Metis};
use domain::flag::{Conditions, Flag, Nonces, Purse, Sender, after_look};
use domain::network::Variant;
use domain::phase::Phase;
use domain::preflight::NodeState;
use store::in_transaction;
use store::lease::{Lease, fence};
use time::OffsetDateTime;
use uuid::Uuid;

use super::apply::Applier;
use super::event::life_of;
use super::follow::{CHANNEL, head};
use super::wire::Block;
use crate::db::{SCHEMA, cursor, flag, position, sequencer, whitelist};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::operations::facts::node_state;

/// Balances in one batch; larger ones are refused by some providers.
const BALANCES_AT_ONCE: usize = 100;

/// A lost turn stays a flag for this long, in seconds of L2 time: a day, until whoever is on duty has seen it.
const MISSED_TURN_SHOWN_SECS: i64 = 86_400;
/// L1 blocks on top of the confirmations in which themis has surely taken an event in: five minutes on mainnet (P 3.6).
const THEMIS_LAG_BLOCKS: i64 = 25;

/// Everything the neighbours and the chain say, read once for all sequencers of a network; none where nobody answered.
struct Said {
    nodes: Option<HashMap<Address, Node>>,
    records: Option<HashMap<String, SequencerRecord>>,
    parameters: Option<ChainParameters>,
    /// The last turn that each signer lost.
    turns: Option<HashMap<Address, MissedTurn>>,
    /// Variant of the implementation behind the pool now.
    variant: Option<Variant>,
    /// Address of each key of ours, and whether its backup is proven.
    backups: Option<HashMap<Address, bool>>,
}

impl Said {
    fn node(&self, signer: Address) -> Option<&Node> {
        self.nodes.as_ref()?.get(&signer)
    }

    fn is_ours(&self, account: Address) -> bool {
        self.backups.as_ref().is_some_and(|keys| keys.contains_key(&account))
    }

    /// Flags that nobody can tell of now. `head` is the block that the projection stands at.
    fn unknown(&self, head: Option<Block>) -> BTreeSet<Flag> {
        let sources: [(bool, &[Flag]); 7] = [
            (self.nodes.is_none(), &[Flag::NodeNotReady, Flag::NonceDrift]),
            (self.records.is_none(), &[Flag::CapExceeded]),
            (self.parameters.is_none(), &[Flag::Paused, Flag::CapExceeded, Flag::ExitBlocked]),
            (self.turns.is_none(), &[Flag::MissedTurn]),
            (self.variant.is_none(), &[Flag::ExitBlocked]),
            (self.backups.is_none(), &[Flag::BackupUnproven, Flag::LowEth]),
            (head.is_none(), &[Flag::NonceDrift, Flag::MissedTurn]),
        ];
        sources.iter().filter(|(away, _)| *away).flat_map(|(_, flags)| flags.iter().copied()).collect()
    }
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
    let (nodes, records, parameters, keys, turns, implementation) = tokio::join!(
        neighbours.nodes(&chain.name),
        neighbours.records(&chain.name),
        neighbours.parameters(&chain.name),
        neighbours.keys(),
        neighbours.missed_turns(&chain.name),
        chain.l1.ask(views::implementation(chain.locking_pool, BlockId::Latest)),
    );
    let signer_of = |node: &Node| node.signer.parse::<Address>().ok();
    Said {
        nodes: known(nodes)
            .map(|nodes| nodes.into_iter().filter_map(|node| Some((signer_of(&node)?, node))).collect()),
        records: known(records)
            .map(|records| records.into_iter().map(|record| (record.sequencer_id.clone(), record)).collect()),
        parameters: known(parameters),
        // They come newest first, and the newest one counts.
        turns: known(turns).map(|turns| {
            turns.into_iter().rev().filter_map(|turn| Some((turn.signer.parse().ok()?, turn))).collect()
        }),
        variant: known(implementation).map(|at| chain.variant_of(at)),
        backups: known(keys).map(|keys| keys.into_iter().filter_map(backup).collect()),
    }
}

fn backup(key: Key) -> Option<(Address, bool)> {
    let address = key.public_key.as_ref()?.address.parse().ok()?;
    Some((address, key.backup_proven_time.is_some()))
}

fn known<T, E: std::error::Error>(answer: Result<T, E>) -> Option<T> {
    answer.inspect_err(|error| tracing::debug!("flags: not told: {}", runtime::report(error))).ok()
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
    let is_known = |row: &position::Row| said.node(row.signer.0).is_some_and(|node| node.validator_known);
    for row in locked.iter().filter(|row| is_known(row)) {
        let made = in_transaction(&fleet.db, |tx| {
            let signer = row.signer.0;
            Box::pin(async move {
                fence(&*tx, SCHEMA, lease_name, lease.epoch).await?;
                let place = cursor::lock(&*tx, &chain.name).await?;
                let Some(block) = head(&place) else { return Ok(0) };
                let mut applier = Applier { tx: &*tx, network: &chain.name, block, transitions: 0 };
                applier.validator_known(signer).await?;
                let made = applier.transitions;
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
    let balances = balances(chain, said, &positions).await;
    let place = cursor::of(&fleet.db, &chain.name).await?;
    let head = place.as_ref().and_then(head);
    let silent = said.unknown(head);
    let mut standing = HashMap::<Uuid, Vec<flag::Row>>::new();
    for flag in flag::of_many(&fleet.db, &managed).await? {
        standing.entry(flag.sequencer).or_default().push(flag);
    }
    let listed = whitelist::all_of(&fleet.db, &chain.name).await?;
    for position in positions {
        let id = position.sequencer;
        let (purses, all_told) = purses(fleet, said, &position, &balances);
        let conditions = Conditions {
            whitelisted: listed.contains(&position.owner.0),
            nonces: nonces(fleet, chain, said, &position, head).await?,
            missed_turn: head.and_then(|head| missed_turn(said, &position, head)),
            purses,
            ..conditions(said, &position)?
        };
        let mut unknown = silent.clone();
        unknown.extend((!all_told).then_some(Flag::LowEth));
        let before = standing.remove(&id).unwrap_or_default();
        let named = before.iter().filter_map(|row| Some((Flag::by_name(&row.name)?, row.reason.clone())));
        let raised: Vec<(String, String)> = after_look(&conditions, &unknown, named)
            .into_iter()
            .map(|(name, why)| (name.to_owned(), why))
            .collect();
        // Both are in the order of their names.
        let before = before.iter().map(|row| (&row.name, &row.reason));
        if before.eq(raised.iter().map(|(name, why)| (name, why))) {
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

/// What can be said without asking further.
fn conditions(said: &Said, position: &position::Row) -> Result<Conditions, Error> {
    let phase = life_of(position)?.phase;
    let node = said.node(position.signer.0);
    let records = said.records.as_ref();
    let record = position.seq_id.zip(records).and_then(|(id, records)| records.get(&id.0.to_string()));
    let wei = |text: &str| Metis::parse_wei(text).unwrap_or_default();
    let parameters = said.parameters.as_ref();
    Ok(Conditions {
        phase,
        whitelisted: false,
        paused: parameters.is_some_and(|parameters| parameters.paused),
        recipient: position.recipient.filter(|_| phase.holds_lock()).map(|recipient| recipient.0),
        backup_proven: said.backups.as_ref().and_then(|keys| keys.get(&position.signer.0).copied()),
        node_problem: node.map(|node| match node_state(node) {
            NodeState::Ready | NodeState::Unregistered => None,
            NodeState::NotReady(why) => Some(why),
        }),
        nonces: None,
        lock: record
            .zip(parameters)
            .map(|(record, set)| (Metis(position.locked.0), wei(&record.reward_wei), wei(&set.max_lock_wei))),
        bft: parameters
            .filter(|_| said.variant.and_then(Variant::has_bft_rule) == Some(true))
            .map(|set| (set.active_count, set.exiting_count)),
        missed_turn: None,
        purses: Vec::new(),
    })
}

/// The counters to compare, where themis tells its own.
async fn nonces(
    fleet: &Fleet,
    chain: &Chain,
    said: &Said,
    position: &position::Row,
    head: Option<Block>,
) -> Result<Option<Nonces>, Error> {
    let node = said.node(position.signer.0).filter(|node| node.validator_known);
    let (Some(node), Some(head)) = (node, head) else { return Ok(None) };
    let count = |nonce: i64| u64::try_from(nonce).unwrap_or_default();
    let (now, themis) = (count(position.nonce), node.validator_nonce);
    if now == themis {
        return Ok(Some(Nonces { now, settled: now, themis }));
    }
    // themis is behind for a while after every operation: what counts is what it must have seen by now.
    let confirmations = i64::try_from(chain.confirmations).unwrap_or(i64::MAX);
    let settled = head.number.saturating_sub(confirmations).saturating_sub(THEMIS_LAG_BLOCKS);
    let before = position::at_block(&fleet.db, position.sequencer, settled).await?;
    Ok(Some(Nonces { now, settled: before.map_or(0, |row| count(row.nonce)), themis }))
}

/// The last turn that the signer lost, if that was not long ago.
fn missed_turn(said: &Said, position: &position::Row, head: Block) -> Option<String> {
    let turn = said.turns.as_ref()?.get(&position.signer.0)?;
    let lost = turn.at.as_ref()?.block.as_ref()?.time.as_ref()?.seconds;
    if head.time.unix_timestamp().saturating_sub(lost) > MISSED_TURN_SHOWN_SECS {
        return None;
    }
    let MissedTurn { epoch_id, blocks_lost, by, .. } = turn;
    Some(format!("lost {blocks_lost} blocks of epoch {epoch_id} to {by} by a re-span"))
}

/// The accounts of ours that send for a sequencer, with their ETH, and whether the chain told of all of them.
fn purses(
    fleet: &Fleet,
    said: &Said,
    position: &position::Row,
    balances: &HashMap<Address, Eth>,
) -> (Vec<Purse>, bool) {
    let least = Eth(U256::from(fleet.config.low_eth_wei));
    let senders = senders(said, position);
    let purses: Vec<Purse> = senders
        .iter()
        .filter_map(|(sender, account)| Some(Purse { sender: *sender, has: *balances.get(account)?, least }))
        .collect();
    let all_told = purses.len() == senders.len();
    (purses, all_told)
}

/// Who sends for a sequencer, where we have the key.
fn senders(said: &Said, position: &position::Row) -> Vec<(Sender, Address)> {
    let (owner, signer) = (position.owner.0, position.signer.0);
    let mut senders = vec![(Sender::Owner, owner)];
    if signer != owner {
        senders.push((Sender::Signer, signer));
    }
    senders.retain(|(_, account)| said.is_ours(*account));
    senders
}

/// ETH of the accounts that we send from, as far as the chain says.
async fn balances(chain: &Chain, said: &Said, positions: &[position::Row]) -> HashMap<Address, Eth> {
    let accounts: BTreeSet<Address> = positions
        .iter()
        .filter(|row| row.phase != Phase::Withdrawn.name())
        .flat_map(|row| senders(said, row))
        .map(|(_, account)| account)
        .collect();
    let accounts: Vec<Address> = accounts.into_iter().collect();
    let mut found = HashMap::new();
    for some in accounts.chunks(BALANCES_AT_ONCE) {
        let asked: Vec<_> = some.iter().map(|account| call::balance(*account, BlockId::Latest)).collect();
        let Ok(balances) = chain.l1.ask(asked).await else { return found };
        found.extend(some.iter().copied().zip(balances.into_iter().map(Eth)));
    }
    found
}
