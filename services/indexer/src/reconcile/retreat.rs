//! The way back: reorganisations, endpoints on a fork of their own, and blocks that must be fetched again.

use std::time::{Duration, Instant};

use chain::pool::EndpointId;
use chain::rpc::{BlockId, Header, call};
use store::bulk::Bulk;
use store::lease;

use super::advance::{Added, Advance, GAP_SHRINKS, Progress, Standing, StepError};
use super::backfill::{Landed, Ranges};
use super::commit::{self, CommitError};
use super::drift::{self, CompareError};
use super::fetch::{self, FetchError, HEAD_BLOCKS, Observed};
use super::follow::{At, common};
use crate::db::{
    self, Layer, SCHEMA, batch, block, checkpoint, column, height, reconciliation, reorg, resync,
};

/// Headers compared at once on the way back to the common block. Small, since almost all reorganisations
/// are; deep ones take as many rounds as they need.
const WALK_BACK_ROWS: u64 = 64;
/// Times that every endpoint is asked for our block before a shorter chain is followed: a node that lags and one that
/// does not may take turns behind one address.
const SHORTER_ASKED: u32 = 4;
/// An endpoint that fails says nothing of the chain, so it is asked more often: one that fails four times out of ten
/// has told within so many.
const SHORTER_ASKED_MAX: u32 = 16;
/// An endpoint that never answers does not hold up a chain that did get shorter.
const SHORTER_WAIT_MAX: Duration = Duration::from_secs(20);
/// How a difference in a reward is named: it follows from a batch whose split could not be proven.
const REWARD_FIELD: &str = ").reward:";
/// Blocks that are fetched again at first when logs are missing among stored ones; eight times as many each time.
const REPAIR_BLOCKS: u64 = 512;
const REPAIR_GROWTH: u64 = 8;
/// Between two statements of a rebuild a range may be fetched, by several tries of 30 s at most each.
const REFILL_IDLE_MAX: Duration = Duration::from_secs(120);
/// Tries for one block near the head on the way: to begin anew would cost all that was fetched before it.
const REFILL_TRIES: u32 = 16;
/// Times that history is fetched again for one difference from the contracts, each time from other endpoints if there
/// are any: what differs after that is for people.
const MENDINGS_MAX: u32 = 4;

impl Advance<'_> {
    /// Finds the newest block that the endpoint has too, and takes back everything above it.
    pub(super) async fn retreat(&mut self, observed: &Observed) -> Result<Progress, StepError> {
        let Some(tip) = self.standing.tip else { return Ok(Progress::CaughtUp) };
        let (network, layer) = (self.source.network.as_str(), self.source.layer);
        if observed.sight.latest.number < height(tip.number) && self.is_still_there(tip).await {
            return Ok(Progress::CaughtUp);
        }
        let to = self.common_block(observed.sight.latest.number).await?;
        let to_number = to.map_or(column(self.source.start()) - 1, |to| to.number);
        if to.is_some_and(|to| to.hash == tip.hash) {
            // The endpoint that answered this time has our block: it was no reorganisation.
            return Ok(Progress::CaughtUp);
        }
        let below_finalized = to_number < self.seen.finalized.min(tip.number);
        if below_finalized && self.shut_out_forks().await? {
            return Ok(Progress::Moved);
        }
        let cause = reorg::Cause::Chain;
        let (from_number, from_hash) = (tip.number, tip.hash);
        let new = reorg::New { from_number, from_hash, to_number, below_finalized, cause };
        let place = (to, self.standing.digested);
        commit::unwind(self.db, self.source, self.lease, place, &new).await?;
        let depth = height(tip.number - to_number);
        self.metrics.reorg(network, layer, depth, below_finalized);
        let layer = layer.name();
        if below_finalized {
            tracing::error!(
                network,
                layer,
                depth,
                "a reorganisation of {network} {layer} took back final blocks, down to {to_number}: nothing is sent \
                 there until an operator acknowledges it"
            );
        } else {
            tracing::info!(
                network,
                layer,
                depth,
                "a reorganisation of {network} {layer} took back {depth} blocks"
            );
        }
        self.reload().await?;
        self.saw(self.seen);
        Ok(Progress::Moved)
    }

    /// Whether any node has our block, of those behind each address: the chain did not get shorter then.
    async fn is_still_there(&self, tip: checkpoint::Tip) -> bool {
        let begun = Instant::now();
        let mut told_by_all = 0;
        for _ in 0..SHORTER_ASKED_MAX {
            let question = call::header(BlockId::Number(height(tip.number)));
            let answers = self.source.pool.ask_each(question).await;
            told_by_all += u32::from(answers.iter().all(|(_, answer)| answer.is_ok()));
            let has = |answer: Option<Header>| answer.is_some_and(|header| header.hash == tip.hash.0);
            if answers.into_iter().filter_map(|(_, answer)| answer.ok()).any(has) {
                return true;
            }
            if told_by_all == SHORTER_ASKED || begun.elapsed() > SHORTER_WAIT_MAX {
                break;
            }
        }
        false
    }

    /// A final block is gone for one endpoint: if others still have it, those that do not are on a fork of their own.
    /// Whether any was shut out.
    async fn shut_out_forks(&self) -> Result<bool, StepError> {
        let (network, layer) = (self.source.network.as_str(), self.source.layer);
        let Some(tip) = self.standing.tip else { return Ok(false) };
        let number = self.seen.finalized.min(tip.number);
        let Some(ours) = block::down_from(self.db, network, layer, number, 1).await?.first().copied() else {
            return Ok(false);
        };
        let at = At { number: height(ours.number), hash: ours.hash.0 };
        let answers = self.source.pool.ask_each(call::header(BlockId::Number(at.number))).await;
        let mut theirs = Vec::new();
        let mut shared = false;
        for (endpoint, answer) in answers {
            match answer {
                Ok(Some(header)) if At::from(&header) == at => shared = true,
                Ok(Some(_)) => theirs.push(endpoint),
                // It lags, or says nothing: no evidence either way.
                Ok(None) | Err(_) => {}
            }
        }
        if !shared {
            return Ok(false);
        }
        for endpoint in &theirs {
            self.source.pool.shut_out(*endpoint, chain::pool::At { number: at.number, hash: at.hash });
        }
        Ok(!theirs.is_empty())
    }

    /// The newest stored block that is on the endpoint's chain; none if no stored block is.
    async fn common_block(&self, their_latest: u64) -> Result<Option<checkpoint::Tip>, StepError> {
        let (network, layer) = (self.source.network.as_str(), self.source.layer);
        let mut from = column(their_latest);
        loop {
            let rows = block::down_from(self.db, network, layer, from, WALK_BACK_ROWS).await?;
            let Some(lowest) = rows.last() else { return Ok(None) };
            let ours: Vec<At> =
                rows.iter().map(|row| At { number: height(row.number), hash: row.hash.0 }).collect();
            let heights: Vec<u64> = ours.iter().map(|at| at.number).collect();
            let theirs = fetch::headers_at(self.source, &heights).await?;
            if let Some(found) = common(&ours, &theirs) {
                return Ok(rows.iter().find(|row| row.hash.0 == found.hash).map(tip_of));
            }
            from = lowest.number - 1;
        }
    }

    /// Fetches again what an operator asked for, or what the comparison with the contracts found wrong. Whether
    /// anything was.
    pub(super) async fn mend(&mut self) -> Result<bool, StepError> {
        let (network, layer) = (self.source.network.as_str(), self.source.layer);
        if let Some(wanted) = resync::wanted(self.db, network, layer).await? {
            let by = &wanted.requested_by;
            tracing::info!(
                network,
                "{network} {} is fetched again from {} on, as {by} asked",
                layer.name(),
                wanted.from_number
            );
            self.rebuild(height(wanted.from_number), reorg::Cause::Resync, &[]).await?;
            return Ok(true);
        }
        let compared = reconciliation::of(self.db, network).await?;
        let Some(compared) = compared.filter(|row| row.drift > 0) else { return Ok(false) };
        // What was verified is told by the height on L1.
        let verified = compared.verified_number.filter(|_| layer == Layer::L1);
        let from = verified.map_or(self.source.start(), |number| height(number) + 1);
        // What stays wrong after it was fetched again is for people: nobody gains if it is fetched for ever.
        if self.mended == Some(from) {
            return Ok(false);
        }
        self.mended = Some(from);
        // The comparison is of both chains; this one may be the one that agrees.
        let Some(first) = self.mendable().await? else { return Ok(false) };
        tracing::warn!(
            network,
            "the index of {network} differs from the contracts and is fetched again from {from} on: {first}"
        );
        let mut avoid = Vec::new();
        for _ in 0..MENDINGS_MAX {
            avoid.extend(self.rebuild(from, reorg::Cause::Repair, &avoid).await?);
            if self.mendable().await?.is_none() {
                break;
            }
        }
        Ok(true)
    }

    /// The first field of this chain in which the index differs from the contracts at its tip, if fetching again may
    /// help. Where that cannot be asked now, the loop that compares them finds it out.
    async fn mendable(&self) -> Result<Option<String>, StepError> {
        let Some(tip) = self.standing.tip else { return Ok(None) };
        let view = db::snapshot(self.db).await?;
        let mut found = match drift::compare(view, self.source, tip).await {
            Ok(finding) => finding.differences,
            Err(CompareError::Store(error)) => return Err(error.into()),
            Err(CompareError::Chain(_)) => return Ok(None),
        };
        if batch::any_unattributed(self.db, &self.source.network).await? {
            found.retain(|difference| !difference.contains(REWARD_FIELD));
        }
        Ok(found.into_iter().next())
    }

    /// Logs are missing among blocks that are stored already: fetches the last of them again, more each round.
    pub(super) async fn repair(&mut self, round: u32) -> Result<(), StepError> {
        self.source.care.lost(None);
        let Some(tip) = self.standing.tip else { return Ok(()) };
        let back = REPAIR_BLOCKS.saturating_mul(REPAIR_GROWTH.saturating_pow(round));
        let from = height(tip.number).saturating_sub(back).max(self.source.start());
        let (network, layer) = (&self.source.network, self.source.layer.name());
        tracing::warn!(
            network,
            layer,
            "logs are missing below block {}: fetching again from {from} on",
            tip.number
        );
        self.rebuild(from, reorg::Cause::Repair, &[]).await.map(drop)
    }

    /// Replaces everything from a block on in one transaction: readers see the old rows until the new are all there.
    /// Gives the endpoints that the new ones are from, preferably not those in `avoid`.
    async fn rebuild(
        &mut self,
        from: u64,
        cause: reorg::Cause,
        avoid: &[EndpointId],
    ) -> Result<Vec<EndpointId>, StepError> {
        let (network, layer) = (self.source.network.as_str(), self.source.layer);
        let Some(tip) = self.standing.tip else { return Ok(Vec::new()) };
        let observed = fetch::observe(self.source, self.standing.at()).await?;
        if observed.sight.at_tip.is_none_or(|theirs| Some(theirs) != self.standing.at()) {
            return Err(FetchError::Moved { what: "blocks to be replaced" }.into());
        }
        let tx = Bulk::begin(self.db, REFILL_IDLE_MAX).await?;
        let to = block::down_from(&tx, network, layer, column(from) - 1, 1).await?.first().map(tip_of);
        let to_number = to.map_or(column(self.source.start()) - 1, |to| to.number);
        let below_finalized = to_number < self.seen.finalized.min(tip.number);
        let new =
            reorg::New { from_number: tip.number, from_hash: tip.hash, to_number, below_finalized, cause };
        db::unwind(&tx, network, layer, &new).await?;
        let mut standing =
            Standing::load(&tx, self.source, to, self.standing.digested.min(to_number)).await?;
        let (added, told) = self.refill(&tx, &mut standing, &observed, avoid).await?;
        if cause == reorg::Cause::Resync {
            resync::done(&tx, network, layer, column(from)).await?;
        }
        // At the end, so that renewals of the lease do not wait while history is fetched.
        let claim = self.source.lease();
        lease::fence(&tx, SCHEMA, &claim, self.lease.epoch).await.map_err(CommitError::Fence)?;
        let seen = self.seen_at(&observed, standing.number(), 0);
        commit::settle(tx, self.source, (standing.tip, standing.digested), seen).await?;
        self.standing = standing;
        self.extended(added, seen);
        Ok(told)
    }

    /// Fetches from where `standing` is up to the head, into an open transaction. Gives the endpoints that were heard.
    async fn refill(
        &self,
        tx: &Bulk,
        standing: &mut Standing,
        observed: &Observed,
        besides: &[EndpointId],
    ) -> Result<(Added, Vec<EndpointId>), StepError> {
        let mut told = Vec::new();
        let mut added = Added::default();
        let start = standing.tip.map_or(self.source.start(), |tip| height(tip.number) + 1);
        let latest = observed.sight.latest.number;
        let end = observed.finalized.min(latest);
        let mut ranges = Ranges::new(self.source, (start, end), self.range).besides(besides);
        let mut avoid = Vec::new();
        while let Some(Landed { from, to, fetched, endpoint }) = ranges.next().await? {
            match standing.fold(self.source, fetched, true).await {
                Err(StepError::Gap(gap)) if avoid.len() < super::advance::GAP_TRIES => {
                    self.gap(endpoint, &gap);
                    avoid.push(endpoint);
                    ranges.again(from, to, &avoid);
                }
                folded => {
                    let encoded = folded?;
                    avoid.clear();
                    told.push(endpoint);
                    added.add(&encoded);
                    commit::write(tx, encoded).await?;
                }
            }
        }
        told.extend(self.refill_head(tx, standing, (latest, besides), &mut added).await?);
        told.sort();
        told.dedup();
        Ok((added, told))
    }

    /// Fetches the blocks near the head. Where logs are missing, fewer blocks are asked for: each of many answers may
    /// lack some.
    async fn refill_head(
        &self,
        tx: &Bulk,
        standing: &mut Standing,
        (latest, besides): (u64, &[EndpointId]),
        added: &mut Added,
    ) -> Result<Vec<EndpointId>, StepError> {
        let mut told = Vec::new();
        let (mut span, mut failed) = (HEAD_BLOCKS, 0);
        loop {
            let from = standing.tip.map_or(self.source.start(), |tip| height(tip.number) + 1);
            if from > latest {
                return Ok(told);
            }
            let parent = standing.tip.map(|tip| tip.hash.0);
            let blocks = (from, latest.min(from + span - 1));
            let folded = match fetch::head(self.source, parent, blocks, besides).await {
                Ok((fetched, endpoint)) => {
                    told.push(endpoint);
                    standing.fold(self.source, fetched, false).await
                }
                Err(error) => Err(error.into()),
            };
            match folded {
                Ok(encoded) => {
                    failed = 0;
                    added.add(&encoded);
                    commit::write(tx, encoded).await?;
                }
                Err(StepError::Gap(_) | StepError::Fetch(FetchError::Disagreed { .. }))
                    if failed < REFILL_TRIES =>
                {
                    failed += 1;
                    span = (span / GAP_SHRINKS).max(1);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn tip_of(row: &block::Row) -> checkpoint::Tip {
    checkpoint::Tip { number: row.number, hash: row.hash, time: row.time }
}
