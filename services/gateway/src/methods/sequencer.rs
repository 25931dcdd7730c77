//! Reads of `sequencer_*`: the register, histories and operations.

use std::sync::Arc;

use api::lifecycle::v1::get_sequencer_request::Selector;
use api::lifecycle::v1::{
    BuildListingRequest, GetOperationRequest, GetSequencerRequest, ListOperationsRequest,
    ListSequencersRequest, ListTransitionsRequest, OperationState, Phase,
};
use serde_json::Value;

use super::{AS_OF, Context, Endpoint, NETWORK, PAGE_SIZE, PAGE_TOKEN, SEQUENCER, Shape};
use crate::args::{Args, Kind, optional, required};
use crate::fault::Fault;
use crate::wire;

const PHASES: Kind =
    Kind::Choice(&["REGISTERED", "WHITELISTED", "LOCKED", "ACTIVE", "EXITING", "WITHDRAWABLE", "WITHDRAWN"]);
const STATES: Kind = Kind::Choice(&[
    "PENDING_APPROVAL",
    "SCHEDULED",
    "QUEUED",
    "SIGNING",
    "BROADCAST",
    "MINED",
    "CONFIRMED",
    "FAILED",
    "CANCELLED",
    "EXPIRED",
]);

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        name: "sequencer_list",
        about: "Sequencers of a network, managed by us or only observed, by name.",
        params: &[
            NETWORK,
            optional("phase", PHASES, "Only in this phase."),
            optional("managedOnly", Kind::Flag, "Only those that are managed here."),
            optional("labels", Kind::Labels, "Only with all these labels."),
            PAGE_SIZE,
            PAGE_TOKEN,
        ],
        result: Shape::Message("sequencer.lifecycle.v1.ListSequencersResponse", &[]),
        handler: Some(|context, args, _| Box::pin(list(context, args))),
    },
    Endpoint {
        name: "sequencer_get",
        about: "One sequencer, by exactly one of id, name, sequencerId, owner or signer.",
        params: &[
            optional("network", Kind::Text, "Network; may be left out with id."),
            optional("id", Kind::Text, "Id in the register."),
            optional("name", Kind::Text, "Name."),
            optional("sequencerId", Kind::Text, "Id on chain."),
            optional("owner", Kind::Text, "Address of the owner."),
            optional("signer", Kind::Text, "Address of the signer."),
        ],
        result: Shape::Message("sequencer.lifecycle.v1.GetSequencerResponse", &[AS_OF]),
        handler: Some(|context, args, _| Box::pin(get(context, args))),
    },
    Endpoint {
        name: "sequencer_history",
        about: "Changes of phase with their causes, oldest first.",
        params: &[
            SEQUENCER,
            optional("atBlock", Kind::Height, "Only up to this L1 block; the last one is the state at it."),
            optional("includeUndone", Kind::Flag, "Also those that a reorganisation took back."),
            PAGE_SIZE,
            PAGE_TOKEN,
        ],
        result: Shape::Message("sequencer.lifecycle.v1.ListTransitionsResponse", &[AS_OF]),
        handler: Some(|context, args, _| Box::pin(history(context, args))),
    },
    Endpoint {
        name: "sequencer_operation",
        about: "One operation with its transactions and steps.",
        params: &[required("id", Kind::Text, "Id of the operation.")],
        result: Shape::Message("sequencer.lifecycle.v1.GetOperationResponse", &[AS_OF]),
        handler: Some(|context, args, _| Box::pin(operation(context, args))),
    },
    Endpoint {
        name: "sequencer_operations",
        about: "Operations of a network, newest first.",
        params: &[
            NETWORK,
            optional("sequencer", Kind::Text, "Only of this sequencer, by its id in the register."),
            optional("state", STATES, "Only in this state."),
            PAGE_SIZE,
            PAGE_TOKEN,
        ],
        result: Shape::Message("sequencer.lifecycle.v1.ListOperationsResponse", &[AS_OF]),
        handler: Some(|context, args, _| Box::pin(operations(context, args))),
    },
    Endpoint {
        name: "sequencer_listing",
        about: "The entry for the public list of sequencers, with the verdict of its rules.",
        params: &[SEQUENCER],
        result: Shape::Message("sequencer.lifecycle.v1.BuildListingResponse", &[AS_OF]),
        handler: Some(|context, args, _| Box::pin(listing(context, args))),
    },
];

async fn list(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let phase = format!("PHASE_{}", args.text("phase"));
    let request = ListSequencersRequest {
        network: args.text("network"),
        phase: Phase::from_str_name(&phase).unwrap_or_default().into(),
        managed_only: args.flag("managedOnly"),
        labels: args.labels("labels"),
        page_size: args.page_size(),
        page_token: args.text("pageToken"),
    };
    Ok(wire::json(context.neighbours.lifecycle.clone().list_sequencers(request).await?.get_ref()))
}

async fn get(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let by = args.only_one_of(&["id", "name", "sequencerId", "owner", "signer"])?;
    let value = args.text(by);
    let selector = match by {
        "id" => Selector::Id(value),
        "name" => Selector::Name(value),
        "sequencerId" => Selector::SequencerId(value),
        "owner" => Selector::Owner(value),
        _ => Selector::Signer(value),
    };
    let request = GetSequencerRequest { network: args.text("network"), selector: Some(selector) };
    let answer = context.neighbours.lifecycle.clone().get_sequencer(request).await?.into_inner();
    let as_of = answer.sequencer.as_ref().and_then(|sequencer| sequencer.as_of.as_ref()).map(wire::json);
    Ok(wire::with(&answer, [("asOf", as_of.unwrap_or_default())]))
}

async fn history(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let sequencer = args.text("sequencer");
    let as_of = context.neighbours.as_of_sequencer(&sequencer).await?;
    let request = ListTransitionsRequest {
        sequencer,
        at_block: args.height("atBlock"),
        include_undone: args.flag("includeUndone"),
        page_size: args.page_size(),
        page_token: args.text("pageToken"),
    };
    let answer = context.neighbours.lifecycle.clone().list_transitions(request).await?;
    Ok(wire::with(answer.get_ref(), [("asOf", as_of)]))
}

async fn operation(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let request = GetOperationRequest { id: args.text("id") };
    let answer = context.neighbours.lifecycle.clone().get_operation(request).await?.into_inner();
    let network = answer.operation.as_ref().map(|operation| operation.network.clone()).unwrap_or_default();
    let as_of = context.neighbours.as_of(&network).await?;
    Ok(wire::with(&answer, [("asOf", as_of)]))
}

async fn operations(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let network = args.text("network");
    let as_of = context.neighbours.as_of(&network).await?;
    let state = format!("OPERATION_STATE_{}", args.text("state"));
    let request = ListOperationsRequest {
        network,
        sequencer: args.text("sequencer"),
        state: OperationState::from_str_name(&state).unwrap_or_default().into(),
        page_size: args.page_size(),
        page_token: args.text("pageToken"),
    };
    let answer = context.neighbours.lifecycle.clone().list_operations(request).await?;
    Ok(wire::with(answer.get_ref(), [("asOf", as_of)]))
}

async fn listing(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let sequencer = args.text("sequencer");
    let as_of = context.neighbours.as_of_sequencer(&sequencer).await?;
    let answer =
        context.neighbours.lifecycle.clone().build_listing(BuildListingRequest { sequencer }).await?;
    Ok(wire::with(answer.get_ref(), [("asOf", as_of)]))
}
