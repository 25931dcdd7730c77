//! Follows the indexer's stream of one network under a fenced lease: each message and its cursor are stored in one
//! transaction, so that every message has its effect exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::indexer::v1::chain_event::Event;
use api::indexer::v1::stream_events_response::Message;
use api::indexer::v1::{ChainEvent, Commit, Head, Revert, StreamEventsResponse};
use api::types::v1::Layer;
use futures::StreamExt;
use runtime::health::Check;
use runtime::shutdown::Shutdown;
use sea_orm::ConnectionTrait;
use store::column::Addr;
use store::in_transaction;
use store::lease::{Lease, fence, while_held};
use tonic::Streaming;

use super::apply::Applier;
use super::flags;
use super::wire::{self, Block};
use crate::db::cursor::Hold;
use crate::db::{SCHEMA, cursor, producer, transaction};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};

/// Channel of wake-ups: the payload is the network whose history grew.
pub const CHANNEL: &str = "lifecycle_history";
/// A revert begins a hold before a head has told its id.
const ID_NOT_TOLD: i64 = 0;
/// Between attempts after the stream ended or failed.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Follows one network until shutdown. Assumes nothing: it begins at the stored cursor, and another replica that
/// takes over begins where the last committed message left it.
pub async fn run(fleet: Arc<Fleet>, chain: Arc<Chain>, health: Check, shutdown: Shutdown) {
    let claim = fleet.claim(lease_name(&chain.name));
    while !shutdown.is_stopped() {
        let holds = AtomicBool::new(false);
        let work = |lease| {
            holds.store(true, Ordering::Relaxed);
            follow(&fleet, &chain, lease, &health, &shutdown)
        };
        let held = tokio::select! {
            held = while_held(&fleet.db, &claim, work) => held,
            () = standby(&holds, &health, &shutdown) => return,
        };
        match held {
            Ok(Some(Ok(()))) | Ok(None) => {}
            Ok(Some(Err(error))) => {
                health.fail(format!("the events of {} are not followed", chain.name));
                tracing::warn!("following {} failed: {}", chain.name, runtime::report(&error));
            }
            Err(error) => tracing::warn!("no lease to follow {}: {}", chain.name, runtime::report(&error)),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN_AFTER) => {}
            () = shutdown.stopped() => return,
        }
    }
}

fn lease_name(network: &str) -> String {
    format!("follow/{network}")
}

/// A replica that waits for the lease is as ready as the one that holds it. Ends only with the shutdown.
async fn standby(holds: &AtomicBool, health: &Check, shutdown: &Shutdown) {
    tokio::select! {
        () = tokio::time::sleep(AGAIN_AFTER) => {}
        () = shutdown.stopped() => {}
    }
    if !holds.load(Ordering::Relaxed) {
        health.ok();
        shutdown.stopped().await;
        return;
    }
    std::future::pending::<()>().await;
}

async fn follow(
    fleet: &Fleet,
    chain: &Chain,
    lease: Lease,
    health: &Check,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let place = cursor::of(&fleet.db, &chain.name).await?;
    let held = place.as_ref().is_some_and(|row| row.hold().is_some());
    fleet.metrics.network_held(&chain.name, held);
    let after = place.map(|row| row.cursor).unwrap_or_default();
    let mut stream: Streaming<StreamEventsResponse> = fleet.neighbours.events(&chain.name, &after).await?;
    let mut facts = tokio::time::interval(Duration::from_millis(fleet.config.facts_every_ms));
    facts.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(message) => {
                    let message = message.map_err(Error::of("indexer"))?;
                    take(fleet, chain, lease, &message).await?;
                    health.ok();
                }
                None => return Ok(()),
            },
            _ = facts.tick() => flags::refresh(fleet, chain, &lease_name(&chain.name), lease).await,
            () = shutdown.stopped() => return Ok(()),
        }
    }
}

/// Applies one message with its cursor.
async fn take(
    fleet: &Fleet,
    chain: &Chain,
    lease: Lease,
    message: &StreamEventsResponse,
) -> Result<(), Error> {
    let applied = in_transaction(&fleet.db, |tx| {
        Box::pin(async move {
            fence(&*tx, SCHEMA, &lease_name(&chain.name), lease.epoch).await?;
            let place = cursor::lock(&*tx, &chain.name).await?;
            let applied = apply(&*tx, &chain.name, place, message).await?;
            if applied.transitions + applied.undone > 0 {
                store::notify::notify(&*tx, CHANNEL, &chain.name).await?;
            }
            Ok::<_, Error>(applied)
        })
    })
    .await?;
    tell(fleet, chain, &applied);
    // New blocks are what sends and confirmations wait for.
    fleet.wake();
    Ok(())
}

/// What a message did.
#[derive(Debug)]
struct Applied {
    /// State changes made.
    transitions: u64,
    /// State changes taken back.
    undone: u64,
    /// L1 block reached.
    block: u64,
    /// Why nothing was sent before, if so.
    held_before: Option<Hold>,
    /// Why nothing is sent now, if so.
    held: Option<Hold>,
}

fn tell(fleet: &Fleet, chain: &Chain, applied: &Applied) {
    let Applied { transitions, undone, block, held_before, held } = applied;
    fleet.metrics.transitions(&chain.name, *transitions);
    fleet.metrics.undone(&chain.name, *undone);
    fleet.metrics.applied_block(&chain.name, *block);
    fleet.metrics.network_held(&chain.name, held.is_some());
    if *undone > 0 {
        tracing::warn!("a reorganisation of {} took back {undone} state changes", chain.name);
    }
    match (held_before, held) {
        (None, Some(hold)) => tracing::error!("{}", hold.words()),
        (Some(_), None) => {
            tracing::info!("the reorganisation of {} is acknowledged: sending goes on", chain.name)
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
}

async fn apply<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    mut place: cursor::Row,
    message: &StreamEventsResponse,
) -> Result<Applied, Error> {
    let StreamEventsResponse { cursor: reached, message } = message;
    let held_before = place.hold();
    let (mut transitions, mut undone) = (0, 0);
    match message {
        Some(Message::Commit(commit)) if commit.layer == i32::from(Layer::L2) => {
            transitions = commit_l2(tx, network, &place, commit).await?;
        }
        Some(Message::Commit(commit)) => {
            for committed in &commit.blocks {
                let block = wire::block(committed.block.as_ref())?;
                let mut applier = Applier { tx, network, block, transitions: 0 };
                applier.l1_block(committed).await?;
                transitions += applier.transitions;
                move_to(&mut place, block);
            }
        }
        Some(Message::Revert(revert)) => undone = take_back(tx, network, &mut place, revert).await?,
        Some(Message::Head(head)) if head.layer == i32::from(Layer::L2) => {
            place.held_l2 = unacknowledged(head)?;
        }
        Some(Message::Head(head)) => {
            let Head { layer: _, latest, safe, finalized, unacknowledged_reorg_id: _ } = head;
            place.held_l1 = unacknowledged(head)?;
            let block = wire::block(latest.as_ref())?;
            let mut applier = Applier { tx, network, block, transitions: 0 };
            applier.chain_time().await?;
            transitions = applier.transitions;
            move_to(&mut place, block);
            (place.safe, place.finalized) = (wire::count(*safe)?, wire::count(*finalized)?);
        }
        // Nodes are looked at by the flags; and what a newer indexer tells is not for us.
        Some(Message::NodeChange(_)) | None => {}
    }
    place.cursor = reached.clone();
    cursor::put(tx, &place).await?;
    let block = place.block_number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    Ok(Applied { transitions, undone, block, held_before, held: place.hold() })
}

/// Takes back what the blocks above did. Where final ones are among them the network is held from here on, and the
/// transactions that were thought settled are followed again.
async fn take_back<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    place: &mut cursor::Row,
    revert: &Revert,
) -> Result<u64, Error> {
    let Revert { layer, to, below_finalized } = revert;
    let to = wire::block(to.as_ref())?;
    if *layer == i32::from(Layer::L2) {
        if *below_finalized {
            place.held_l2.get_or_insert(ID_NOT_TOLD);
        }
        let Some(block) = head(place) else { return Ok(0) };
        return Applier { tx, network, block, transitions: 0 }.revert_l2(to.number).await;
    }
    if *below_finalized {
        place.held_l1.get_or_insert(ID_NOT_TOLD);
        transaction::follow_above(tx, network, to.number).await?;
    }
    let undone = Applier { tx, network, block: to, transitions: 0 }.revert_l1().await?;
    move_to(place, to);
    Ok(undone)
}

/// The reorganisation for which a network is held, as the column has it.
fn unacknowledged(head: &Head) -> Result<Option<i64>, Error> {
    let id = head.unacknowledged_reorg_id;
    Ok(if id == 0 { None } else { Some(wire::count(id)?) })
}

fn move_to(place: &mut cursor::Row, block: Block) {
    place.block_number = Some(block.number);
    place.block_hash = Some(block.hash);
    place.block_time = Some(block.time);
}

/// The L1 block that the projection stands at; none before the first one.
pub fn head(place: &cursor::Row) -> Option<Block> {
    Some(Block { number: place.block_number?, hash: place.block_hash?, time: place.block_time? })
}

async fn commit_l2<C: ConnectionTrait>(
    tx: &C,
    network: &str,
    place: &cursor::Row,
    commit: &Commit,
) -> Result<u64, Error> {
    let mut transitions = 0;
    for committed in &commit.blocks {
        let block = wire::block(committed.block.as_ref())?;
        for event in &committed.events {
            let Some(first) = producer_in(network, event)? else { continue };
            // Before the first L1 block there is nothing to activate: the L1 block is only the place in history.
            let block = head(place).unwrap_or(Block { number: 0, ..block });
            let mut applier = Applier { tx, network, block, transitions: 0 };
            applier.epoch(&first).await?;
            transitions += applier.transitions;
        }
    }
    Ok(transitions)
}

/// Who was given an epoch by this event.
fn producer_in(network: &str, event: &ChainEvent) -> Result<Option<producer::Row>, Error> {
    let (signer, epoch) = match &event.event {
        Some(Event::NewEpoch(epoch)) => (&epoch.signer, epoch.epoch_id),
        Some(Event::ReCommitEpoch(epoch)) => (&epoch.new_signer, epoch.new_epoch_id),
        _ => return Ok(None),
    };
    let log = wire::log(event)?;
    Ok(Some(producer::Row {
        network: network.to_owned(),
        signer: Addr(wire::address(signer)?),
        epoch: wire::count(epoch)?,
        block_number: log.block_number,
        block_hash: log.block_hash,
        block_time: log.block_time,
        transaction_hash: log.transaction,
        log_index: log.index,
    }))
}

#[cfg(test)]
mod tests;
