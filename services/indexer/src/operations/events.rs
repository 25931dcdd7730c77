//! Lists of events.

use api::indexer::v1 as wire;
use api::types::v1 as types;
use chain::event::ChainEvent;
use prost::Message;
use runtime::page;

use super::{Context, Error, messages};
use crate::db::{self, Layer, column, log};
use crate::reconcile::plan::UNKNOWN;

/// Events that the filters let through, in pages: those of L1 first, each chain in its order.
///
/// # Errors
/// When the request is wrong.
pub async fn list(
    context: &Context,
    request: &wire::ListEventsRequest,
) -> Result<wire::ListEventsResponse, Error> {
    let served = context.network("network", &request.network)?;
    let network = served.l1.network.as_str();
    let filter = filter(request)?;
    let size = page::page_size(request.page_size)?;
    let unpaged = wire::ListEventsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let seal = unpaged.encode_to_vec();
    let after: Option<(i16, i64, i32)> = page::decode(&request.page_token, &seal)?;
    let view = db::snapshot(&context.db).await?;
    let rows = log::page(&view, network, &filter, after.unwrap_or((0, -1, -1)), size).await?;
    let full = rows.len() == size as usize;
    let next =
        rows.last().filter(|_| full).map(|row| page::encode(&(row.layer, row.number, row.log_index), &seal));
    Ok(wire::ListEventsResponse {
        events: messages::of(&view, served, &rows).await?,
        next_page_token: next.unwrap_or_default(),
    })
}

fn filter(request: &wire::ListEventsRequest) -> Result<log::Filter, Error> {
    let layer = match types::Layer::try_from(request.layer) {
        Ok(types::Layer::Unspecified) => None,
        Ok(types::Layer::L1) => Some(Layer::L1),
        Ok(types::Layer::L2) => Some(Layer::L2),
        Err(_) => {
            let why = "there are two layers";
            return Err(api::convert::bad(&api::reasons::ENUM_UNSPECIFIED, "layer", why).into());
        }
    };
    let sequencer_id = match request.sequencer_id.as_str() {
        "" => None,
        text => Some(column(api::convert::sequencer_id("sequencer_id", text)?.get())),
    };
    for kind in &request.kinds {
        if kind != UNKNOWN && !ChainEvent::NAMES.contains(&kind.as_str()) {
            let why = format!("{kind} is no event of the contracts");
            return Err(api::convert::bad(&runtime::errors::generic::INVALID_ARGUMENT, "kinds", why).into());
        }
    }
    let transaction_hash = match request.transaction_hash.as_str() {
        "" => None,
        text => Some(api::convert::hash("transaction_hash", text)?.into()),
    };
    Ok(log::Filter {
        layer,
        sequencer_id,
        kinds: request.kinds.clone(),
        from_number: column(request.from_block),
        to_number: (request.to_block > 0).then(|| column(request.to_block)),
        transaction_hash,
    })
}
