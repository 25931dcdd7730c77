//! Reads: one by its selector, and pages.

use api::lifecycle::v1::get_sequencer_request::Selector;
use api::lifecycle::v1::{
    GetOperationRequest, GetOperationResponse, GetSequencerRequest, GetSequencerResponse,
    ListOperationsRequest, ListOperationsResponse, ListSequencersRequest, ListSequencersResponse,
    ListTransitionsRequest, ListTransitionsResponse, OperationState, Phase,
};
use api::{convert, reasons};
use runtime::errors::Refusal;
use runtime::page;
use uuid::Uuid;

use crate::db::{cursor, operation, position, sequencer, transition};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::operations::submit::missing;
use crate::operations::view;
use crate::request;

/// One sequencer by any of its names.
pub async fn sequencer(fleet: &Fleet, request: GetSequencerRequest) -> Result<GetSequencerResponse, Error> {
    let GetSequencerRequest { network, selector } = request;
    let selector = convert::present("selector", selector)?;
    let found = match &selector {
        Selector::Id(text) => {
            let row = sequencer::of_id(&fleet.db, request::id("id", text)?).await?;
            row.filter(|row| network.is_empty() || row.network == network)
        }
        by => on_network(fleet, &fleet.network("network", &network)?.name, by).await?,
    };
    let row = found.ok_or_else(|| {
        Refusal::new(&reasons::SEQUENCER_NOT_FOUND, "there is no such sequencer").meta("network", &network)
    })?;
    Ok(GetSequencerResponse { sequencer: Some(view::sequencer_of(&fleet.db, row).await?) })
}

/// The newest life comes first where an owner has had several.
async fn on_network(fleet: &Fleet, network: &str, by: &Selector) -> Result<Option<sequencer::Row>, Error> {
    let position = match by {
        Selector::Id(_) => None,
        Selector::Name(name) => return Ok(sequencer::of_name(&fleet.db, network, name).await?),
        Selector::SequencerId(text) => {
            let id = convert::sequencer_id("sequencer_id", text)?;
            position::of_seq_id(&fleet.db, network, id.into()).await?
        }
        Selector::Owner(text) => {
            let owner = convert::address("owner", text)?;
            let rows = position::of_owner(&fleet.db, network, owner).await?;
            let live = rows.iter().find(|row| row.phase != "WITHDRAWN").cloned();
            live.or_else(|| rows.into_iter().next())
        }
        Selector::Signer(text) => {
            let signer = convert::address("signer", text)?;
            position::of_signer(&fleet.db, network, signer).await?.into_iter().next()
        }
    };
    match position {
        Some(position) => Ok(sequencer::of_id(&fleet.db, position.sequencer).await?),
        None => Ok(None),
    }
}

/// A page of sequencers by name.
pub async fn sequencers(
    fleet: &Fleet,
    request: ListSequencersRequest,
) -> Result<ListSequencersResponse, Error> {
    let asked = Phase::try_from(request.phase).unwrap_or_default();
    let ListSequencersRequest { network, phase: _, managed_only, labels, page_size, page_token } = request;
    let network = fleet.network("network", &network)?.name.clone();
    let phase = asked.as_str_name().strip_prefix("PHASE_").filter(|_| asked != Phase::Unspecified);
    let limit = page::page_size(page_size)?;
    let about = (&network, phase, managed_only, &labels);
    let after: Option<String> = page::decode(&page_token, &about)?;
    let filter = sequencer::Filter {
        network: network.clone(),
        phase: phase.map(str::to_owned),
        managed_only,
        labels: labels.clone(),
        after: after.unwrap_or_default(),
        limit,
    };
    let rows = sequencer::page(&fleet.db, &filter).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize).map(|row| row.name.clone());
    let next_page_token = last.map(|name| page::encode(&name, &about)).unwrap_or_default();
    let place = cursor::of(&fleet.db, &network).await?;
    let sequencers = view::sequencers(&fleet.db, rows).await?;
    Ok(ListSequencersResponse {
        sequencers,
        next_page_token,
        as_of: Some(view::as_of(&network, place.as_ref())),
    })
}

/// A page of the history of one sequencer.
pub async fn transitions(
    fleet: &Fleet,
    request: ListTransitionsRequest,
) -> Result<ListTransitionsResponse, Error> {
    let ListTransitionsRequest { sequencer, at_block, include_undone, page_size, page_token } = request;
    let id = request::id("sequencer", &sequencer)?;
    if sequencer::of_id(&fleet.db, id).await?.is_none() {
        return Err(Refusal::new(&reasons::SEQUENCER_NOT_FOUND, format!("there is no sequencer {id}")).into());
    }
    let limit = page::page_size(page_size)?;
    let about = (id, at_block, include_undone);
    let after: Option<i64> = page::decode(&page_token, &about)?;
    let filter = transition::Filter {
        sequencer: id,
        at_block: i64::try_from(at_block).unwrap_or(i64::MAX),
        include_undone,
        after: after.unwrap_or(0),
        limit,
    };
    let rows = transition::page(&fleet.db, &filter).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize).map(|row| row.position);
    let next_page_token = last.map(|place| page::encode(&place, &about)).unwrap_or_default();
    Ok(ListTransitionsResponse {
        transitions: rows.into_iter().map(view::transition).collect(),
        next_page_token,
    })
}

/// One operation.
pub async fn operation(fleet: &Fleet, request: GetOperationRequest) -> Result<GetOperationResponse, Error> {
    let id = request::id("id", &request.id)?;
    let row = operation::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    Ok(GetOperationResponse { operation: Some(view::operation_of(&fleet.db, row).await?) })
}

/// A page of operations, newest first.
pub async fn operations(
    fleet: &Fleet,
    request: ListOperationsRequest,
) -> Result<ListOperationsResponse, Error> {
    let asked = OperationState::try_from(request.state).unwrap_or_default();
    let ListOperationsRequest { network, sequencer, state: _, page_size, page_token } = request;
    let network = match network.as_str() {
        "" => None,
        name => Some(fleet.network("network", name)?.name.clone()),
    };
    let sequencer = match sequencer.as_str() {
        "" => None,
        text => Some(request::id("sequencer", text)?),
    };
    let state = asked.as_str_name().strip_prefix("OPERATION_STATE_");
    let state = state.filter(|_| asked != OperationState::Unspecified).map(str::to_owned);
    let limit = page::page_size(page_size)?;
    let about = (&network, sequencer, &state);
    let before: Option<Uuid> = page::decode(&page_token, &about)?;
    let filter =
        operation::Filter { network: network.clone(), sequencer, state: state.clone(), before, limit };
    let rows = operation::page(&fleet.db, &filter).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize).map(|row| row.id);
    let next_page_token = last.map(|id| page::encode(&id, &about)).unwrap_or_default();
    Ok(ListOperationsResponse { operations: view::operations(&fleet.db, rows).await?, next_page_token })
}
