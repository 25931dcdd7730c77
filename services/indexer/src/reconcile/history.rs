//! The steps below `finalized`: history in ranges, digests of blocks that become final.

use std::time::{Duration, Instant};

use alloy_primitives::B256;
use chain::pool::EndpointId;
use store::column::Hash;

use super::advance::{Advance, GAP_TRIES, StepError};
use super::backfill::{Landed, Ranges};
use super::commit::{self, CommitError, Note};
use super::fetch::Observed;
use super::writer::Writer;
use crate::db::{column, log};
use crate::fold::digest::{Hashed, Link};

/// How often a long backfill says how it is going.
const TOLD_EVERY: Duration = Duration::from_secs(2);
/// Blocks whose digests are made in one transaction.
const DIGEST_BLOCKS: i64 = 10_000;
/// Width of the bar on the terminal.
const BAR: u64 = 20;

/// How a backfill is going.
struct Course {
    begun: Instant,
    told: Instant,
    from: u64,
    end: u64,
}

impl Course {
    fn blocks_per_second(&self, reached: u64) -> i64 {
        let millis = self.begun.elapsed().as_millis().max(1);
        i64::try_from(u128::from(reached.saturating_sub(self.from)) * 1_000 / millis).unwrap_or(i64::MAX)
    }

    /// One line for people, now and then.
    fn tell(&mut self, network: &str, layer: &str, reached: u64) {
        if self.told.elapsed() < TOLD_EVERY {
            return;
        }
        self.told = Instant::now();
        let (done, all) = (reached.saturating_sub(self.from) + 1, self.end - self.from + 1);
        let full = usize::try_from(done * BAR / all).unwrap_or(0);
        let bar: String = (0..BAR as usize).map(|place| if place < full { '#' } else { '.' }).collect();
        let rate = self.blocks_per_second(reached).max(1).unsigned_abs();
        let (percent, left) = (done * 100 / all, (all - done) / rate);
        tracing::info!(
            network,
            layer,
            "history of {network} {layer} [{bar}] {percent} %, block {reached} of {}, {rate} blocks/s, {left} s left",
            self.end
        );
    }
}

impl Advance<'_> {
    /// Adds final blocks from a height on, up to `finalized`. Ranges are fetched ahead, folded in order, and written
    /// while the next is folded.
    pub(super) async fn backfill(&mut self, from: u64, observed: &Observed) -> Result<(), StepError> {
        // The tip is final by now as well, and every block links to the one before.
        self.catch_up_digests(i64::MAX).await?;
        let end = observed.finalized.min(observed.sight.latest.number);
        let mut ranges = Ranges::new(self.source, (from, end), self.range);
        let now = Instant::now();
        let mut course = Course { begun: now, told: now, from, end };
        let mut writer = Writer::new(self.db, self.source, self.lease);
        let done = self.fill(&mut ranges, &mut course, &mut writer, observed).await;
        self.range = ranges.size();
        // Whatever went wrong: what was folded before it is whole, and is kept.
        let written = writer.finish().await;
        self.account(&mut writer);
        written.unwrap_or(Err(CommitError::Interrupted))?;
        done
    }

    /// Takes note of what was committed.
    fn account(&mut self, writer: &mut Writer) {
        while let Some((added, seen)) = writer.committed() {
            self.extended(added, seen);
        }
    }

    async fn fill(
        &mut self,
        ranges: &mut Ranges,
        course: &mut Course,
        writer: &mut Writer,
        observed: &Observed,
    ) -> Result<(), StepError> {
        let mut avoid: Vec<EndpointId> = Vec::new();
        while let Some(Landed { from, to, fetched, endpoint }) = ranges.next().await? {
            let encoded = match self.standing.fold(self.source, fetched, true).await {
                Ok(encoded) => encoded,
                Err(StepError::Gap(gap)) if avoid.len() < GAP_TRIES => {
                    self.gap(endpoint, &gap);
                    avoid.push(endpoint);
                    ranges.again(from, to, &avoid);
                    continue;
                }
                Err(error) => return Err(error),
            };
            avoid.clear();
            let seen = self.seen_at(observed, column(to), course.blocks_per_second(to));
            if !writer.write(encoded, seen).await {
                return Ok(());
            }
            self.account(writer);
            course.tell(&self.source.network, self.source.layer.name(), to);
        }
        Ok(())
    }

    /// Makes the digests of stored blocks up to a height that have become final since.
    pub(super) async fn catch_up_digests(&mut self, to: i64) -> Result<(), StepError> {
        let Some(tip) = self.standing.tip else { return Ok(()) };
        let end = to.min(tip.number);
        while self.standing.digested < end {
            let above = self.standing.digested;
            let reached = end.min(above.max(column(self.source.start()) - 1) + DIGEST_BLOCKS);
            let (network, layer) = (self.source.network.as_str(), self.source.layer);
            let logs = log::all_between(self.db, network, layer, (above, reached)).await?;
            let (digests, last) = digests(self.standing.digest, &logs);
            let note = Note::Digests { digests: &digests, above, reached, tip };
            commit::note(self.db, self.source, self.lease, note).await?;
            self.standing.digest = last;
            self.standing.digested = reached;
        }
        Ok(())
    }
}

/// The digests of the blocks of these logs, and the last of them.
fn digests(before: B256, logs: &[log::Stored]) -> (Vec<(i64, Hash)>, B256) {
    let mut digests = Vec::new();
    let mut last = before;
    for of_block in logs.chunk_by(|a, b| a.number == b.number) {
        let Some(first) = of_block.first() else { continue };
        let mut link = Link::after(last, first.block_hash.0);
        for log in of_block {
            link.add(Hashed {
                log_index: log.log_index,
                transaction_index: log.transaction_index,
                address: log.address.0,
                topics: &log.topics(),
                data: &log.data,
            });
        }
        last = link.finish();
        digests.push((first.number, last.into()));
    }
    (digests, last)
}
