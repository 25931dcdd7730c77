//! Follows L1 for the consensus layer and for the bridge.

use alloy_primitives::{B256, U256};
use chain::event::{ChainEvent, Decoded, Source, decode_log};
use chain::rpc::{BlockId, Header, LogFilter, call};

use super::{NodeMode, Simulator, consensus::Observed, locked};
use crate::Error;

/// How far L1 was read.
#[derive(Debug, Default)]
struct Position {
    /// Last block read, with the hash it had.
    read: Option<(u64, B256)>,
    /// Claims up to here were credited before this simulator began.
    credited: u64,
}

/// Feeds the consensus layer with confirmed logs until the simulator stops.
pub(super) async fn follow_l1(simulator: Simulator) {
    let mut position = None;
    loop {
        let result = step(&simulator, &mut position).await;
        simulator.note("following L1", result);
        if !simulator.tick().await {
            return;
        }
    }
}

async fn step(simulator: &Simulator, position: &mut Option<Position>) -> Result<(), Error> {
    let l1 = &simulator.0.l1;
    let head = l1.link.head().await?;
    let position = position.get_or_insert_with(|| Position { read: None, credited: head.number });
    if let Some((number, hash)) = position.read
        && header(simulator, number).await?.is_none_or(|now| now.hash != hash)
    {
        // Few blocks and no secrets: reading all again is the simplest way to be right.
        position.read = None;
        locked(&simulator.0.consensus).reset();
    }
    let from = position.read.map_or(l1.start_block, |(number, _)| number + 1);
    let to = head.number.saturating_sub(simulator.0.config.confirmations);
    if to >= from {
        read(simulator, position, from, to).await?;
    }
    // Also without news: a node may have come up since.
    let up = |signer| simulator.mode_of(signer) == Some(NodeMode::Synced);
    locked(&simulator.0.consensus).apply(up);
    Ok(())
}

async fn read(simulator: &Simulator, position: &mut Position, from: u64, to: u64) -> Result<(), Error> {
    let l1 = &simulator.0.l1;
    let filter = LogFilter { addresses: vec![l1.locking_info], topics: vec![] };
    // The last header first: logs of a block that is replaced meanwhile are then read again.
    let Some(last) = header(simulator, to).await? else { return Ok(()) };
    let logs = l1.link.ask("logs", call::logs_of_range(from, to, &filter)).await?;
    let mut observed = Vec::with_capacity(logs.len());
    for log in logs {
        let Decoded::Event(event) = decode_log(Source::InfoProxy, &log) else { continue };
        if let ChainEvent::ClaimRewards { recipient, amount, .. } = &event
            && log.block_number > position.credited
        {
            let l2 = &simulator.0.l2.link;
            let balance: U256 = l2.balance(*recipient).await?;
            l2.set_balance(*recipient, balance.saturating_add(amount.0)).await?;
        }
        let (block, transaction, log_index) = (log.block_number, log.transaction_hash, log.log_index);
        observed.push(Observed { block, transaction, log_index, event });
    }
    position.credited = position.credited.max(to);
    position.read = Some((to, last.hash));
    locked(&simulator.0.consensus).observe(observed);
    Ok(())
}

async fn header(simulator: &Simulator, number: u64) -> Result<Option<Header>, Error> {
    simulator.0.l1.link.ask("a header", call::header(BlockId::Number(number))).await
}
