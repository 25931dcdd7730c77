//! The whole indexed state as of a block, piece by piece.
//!
//! All pieces come from one view of the tables, read in pages when the consumer asks for more: an export takes the
//! memory of one page, however large the state is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use api::indexer::v1 as wire;
use api::indexer::v1::export_state_response::Piece;
use api::types::v1 as types;
use domain::network::Variant;
use futures::Stream;
use futures::stream::try_unfold;
use runtime::errors::{Refusal, generic};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use store::column::Addr;
use store::statement;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{Context, Error, Served, as_of_height, at_height, checkpoint_of, epochs, networks, records};
use crate::db::{
    self, Layer, batch, checkpoint, epoch, height, implementation, parameters, record, whitelist,
};
use crate::fold::parameters::Parameters;
use crate::fold::wire::address;
use crate::source::Source;

/// Exports of a replica at once: each holds a connection of the pool.
const EXPORTS: usize = 2;
/// Whoever finds them all taken asks again after this: an export takes seconds.
const AGAIN: Duration = Duration::from_secs(5);
/// Longest export: while its view is open, Postgres keeps every row that it may still see.
const EXPORT_MAX: Duration = Duration::from_secs(600);
/// A consumer that takes nothing for this long loses its view, milliseconds.
const IDLE_MAX_MS: u32 = 60_000;
/// Pieces read at once: about 500 kB for the largest, batches of a hundred sequencers.
const PAGE: u32 = 100;

/// The exports that may run at once; clones share them.
#[derive(Debug, Clone)]
pub struct Exports(Arc<Semaphore>);

impl Default for Exports {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(EXPORTS)))
    }
}

/// Where an export is: the next page to be read.
#[derive(Debug, Clone, Copy)]
enum Next {
    Parameters,
    Whitelist(Option<Addr>),
    Records(i64),
    Batches(i64),
    Epochs(i64),
    Nothing,
}

/// One consumer.
struct Export {
    view: DatabaseTransaction,
    network: String,
    /// Height on L1.
    number: i64,
    /// Height on L2, where it is followed and something of it is indexed.
    l2: Option<i64>,
    next: Next,
    ready: VecDeque<Piece>,
    until: Instant,
    _permit: OwnedSemaphorePermit,
}

/// The state as of the blocks of the request.
///
/// # Errors
/// When the request is wrong, the blocks are not indexed, or too many exports run.
pub async fn open(
    context: &Context,
    exports: &Exports,
    request: &wire::ExportStateRequest,
) -> Result<impl Stream<Item = Result<wire::ExportStateResponse, Error>> + Send + use<>, Error> {
    let served = context.network("network", &request.network)?;
    let permit = exports.0.clone().try_acquire_owned().map_err(|_| {
        let what = format!("{EXPORTS} exports run already");
        Refusal::new(&generic::OVERLOADED, what).meta("exports", EXPORTS).retry_after(AGAIN)
    })?;
    let view = db::snapshot(&context.db).await?;
    let idle = statement(format!("SET LOCAL idle_in_transaction_session_timeout = {IDLE_MAX_MS}"), []);
    view.execute_raw(idle).await.map_err(store::Error::at("opening an export"))?;
    let (number, l1) = l1(&view, &served.l1, request.at_block).await?;
    let l2 = l2(&view, served, request.at_l2_block).await?;
    let variant = variant(&view, &served.l1, number).await?.name().to_owned();
    let (l2, l2_as_of) = l2.unzip();
    let header = wire::StateHeader { l1: Some(l1), l2: l2_as_of, variant };
    let export = Export {
        view,
        network: served.l1.network.clone(),
        number,
        l2,
        next: Next::Parameters,
        ready: [Piece::Header(header)].into(),
        until: Instant::now() + EXPORT_MAX,
        _permit: permit,
    };
    Ok(try_unfold(export, |mut export| async move {
        let piece = export.piece().await?;
        Ok(piece.map(|piece| (wire::ExportStateResponse { piece: Some(piece) }, export)))
    }))
}

async fn l1(view: &DatabaseTransaction, source: &Source, asked: u64) -> Result<(i64, types::AsOf), Error> {
    let row = checkpoint_of(view, &source.network, source.layer).await?;
    let number = at_height(source, &row, "at_block", asked)?;
    Ok((number, as_of_height(view, source, &row, number).await?))
}

/// The block of L2; none where nothing of it is indexed and none was asked for.
async fn l2(
    view: &DatabaseTransaction,
    served: &Served,
    asked: u64,
) -> Result<Option<(i64, types::AsOf)>, Error> {
    let Some(source) = &served.l2 else {
        return if asked == 0 { Ok(None) } else { Err(served.without_l2("at_l2_block").into()) };
    };
    let row = checkpoint::of(view, &source.network, Layer::L2).await?;
    let Some(row) = row.filter(|row| row.number.is_some() || asked != 0) else { return Ok(None) };
    let number = at_height(source, &row, "at_l2_block", asked)?;
    Ok(Some((number, as_of_height(view, source, &row, number).await?)))
}

/// What stood behind the pool's proxy.
async fn variant(view: &DatabaseTransaction, source: &Source, number: i64) -> Result<Variant, Error> {
    let found = implementation::as_of(view, &source.network, number).await?;
    let found = found.map_or(Variant::Unknown, |row| Variant::of(source.chain_id(), row.address.0));
    Ok(found.or(source.declared))
}

impl Export {
    async fn piece(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if Instant::now() > self.until {
                return Err(Refusal::new(&generic::DEADLINE, "the export took too long").into());
            }
            self.next = match self.next {
                Next::Parameters => self.parameters().await?,
                Next::Whitelist(after) => self.whitelist(after).await?,
                Next::Records(after) => self.records(after).await?,
                Next::Batches(after) => self.batches(after).await?,
                Next::Epochs(after) => self.epochs(after).await?,
                Next::Nothing => return Ok(None),
            };
        }
    }

    async fn parameters(&mut self) -> Result<Next, Error> {
        let (view, network) = (&self.view, self.network.as_str());
        let l1 = parameters::as_of(view, network, self.number).await?.map(Parameters::from);
        let l2 = match self.l2 {
            Some(number) => epoch::parameters_as_of(view, network, number).await?,
            None => None,
        };
        let epoch_length = l2.map_or(0, |l2| height(l2.epoch_length));
        let message = networks::message(&l1.unwrap_or_default(), epoch_length);
        self.ready.push_back(Piece::Parameters(message));
        Ok(Next::Whitelist(None))
    }

    async fn whitelist(&mut self, after: Option<Addr>) -> Result<Next, Error> {
        let rows = whitelist::page(&self.view, &self.network, self.number, after, PAGE).await?;
        let next = rows.last().map_or(Next::Records(0), |last| Next::Whitelist(Some(last.owner)));
        self.ready.extend(rows.into_iter().map(|whitelist::State { owner, whitelisted }| {
            Piece::Whitelist(wire::WhitelistState { owner: address(owner.0), whitelisted })
        }));
        Ok(next)
    }

    async fn records(&mut self, after: i64) -> Result<Next, Error> {
        let rows = record::page(&self.view, &self.network, self.number, after, PAGE).await?;
        let next = rows.last().map_or(Next::Batches(0), |last| Next::Records(last.sequencer_id));
        self.ready.extend(rows.into_iter().map(|row| Piece::Record(records::stored(row))));
        Ok(next)
    }

    async fn batches(&mut self, after: i64) -> Result<Next, Error> {
        let rows = batch::page(&self.view, &self.network, self.number, after, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(Next::Epochs(-1)) };
        let next = Next::Batches(last.batch_id);
        let ids = rows.iter().map(|row| row.batch_id).collect();
        let credits = batch::credits(&self.view, &self.network, ids).await?;
        let of = |id: i64| credits.iter().filter(move |credit| credit.batch_id == id);
        self.ready.extend(rows.iter().map(|row| Piece::Batch(message(row, of(row.batch_id)))));
        Ok(next)
    }

    async fn epochs(&mut self, after: i64) -> Result<Next, Error> {
        let Some(number) = self.l2 else { return Ok(Next::Nothing) };
        let rows = epoch::page_as_of(&self.view, &self.network, number, after, PAGE).await?;
        let next = rows.last().map_or(Next::Nothing, |last| Next::Epochs(last.epoch_id));
        self.ready.extend(rows.iter().map(|row| Piece::Epoch(epochs::message(row))));
        Ok(next)
    }
}

fn message<'a>(row: &batch::Row, credits: impl Iterator<Item = &'a batch::Credit>) -> wire::BatchState {
    let batch::Row {
        batch_id,
        number,
        log_index: _,
        transaction_hash: _,
        start_epoch,
        end_epoch,
        amount,
        reward_per_block,
        method,
    } = row;
    let credit = |credit: &batch::Credit| {
        let batch::Credit { batch_id: _, sequencer_id, number: _, blocks, amount } = credit;
        wire::RewardCredit {
            sequencer_id: sequencer_id.to_string(),
            blocks: height(*blocks),
            amount_wei: amount.to_string(),
        }
    };
    wire::BatchState {
        batch_id: height(*batch_id),
        block: height(*number),
        start_epoch: height(*start_epoch),
        end_epoch: height(*end_epoch),
        amount_wei: amount.to_string(),
        reward_per_block_wei: reward_per_block.to_string(),
        // The wire numbers methods as the column does.
        method: i32::from(*method),
        credits: credits.map(credit).collect(),
    }
}
