//! Mutations of `sequencer_*` by API key: register, execute, cancel; and what a key limited by labels may act on.

use std::sync::Arc;

use api::lifecycle::v1::register_sequencer_request::{Owner, Signer};
use api::lifecycle::v1::{
    CancelOperationRequest, CreateOperationRequest, GetOperationRequest, ListingFields, OperationMode,
    RegisterSequencerRequest, Sequencer,
};
use serde_json::Value;

use super::operation::{self, OPERATION};
use super::{Caller, Context, Endpoint, NETWORK, SEQUENCER, Shape};
use crate::args::{Args, Kind, Param, optional, required};
use crate::fault::Fault;
use crate::wire;

const REQUEST_ID: Param =
    required("requestId", Kind::Text, "UUID made and kept by the caller: asking again does nothing twice.");
const VALIDATE_ONLY: Param = optional("validateOnly", Kind::Flag, "Run every check, store nothing.");
const LISTING: &[Param] = &[
    optional("name", Kind::Text, "At most 24 characters."),
    optional("description", Kind::Text, "At most 200 characters."),
    optional("avatar", Kind::Text, "File name below assets/, or a URL."),
    optional("url", Kind::Text, "https URL."),
    optional("lstName", Kind::Text, "Name of a liquid staking token."),
    optional("lstUrl", Kind::Text, "https URL of it."),
];

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        name: "sequencer_register",
        about: "Adds a sequencer to the register.",
        params: &[
            REQUEST_ID,
            NETWORK,
            required("name", Kind::Text, "1 to 63 of a-z, 0-9 and -."),
            optional("ownerKeyId", Kind::Text, "Owner: a key of ours."),
            optional("ownerAddress", Kind::Text, "Owner: an address of somebody else."),
            optional("signerKeyId", Kind::Text, "Signer: a key of ours."),
            optional("signerPubkey", Kind::Text, "Signer: a public key of somebody else."),
            optional("rewardRecipient", Kind::Text, "L2 recipient wanted at lock; the owner if left out."),
            optional("labels", Kind::Labels, "Labels."),
            optional("listing", Kind::Object(LISTING), "Entry for the public list."),
            VALIDATE_ONLY,
        ],
        result: Shape::Message("sequencer.lifecycle.v1.RegisterSequencerResponse", &[]),
        handler: Some(|context, args, caller| Box::pin(register(context, args, caller))),
    },
    Endpoint {
        name: "sequencer_execute",
        about: "Asks for an operation that is signed and sent here.",
        params: &[REQUEST_ID, SEQUENCER, OPERATION, VALIDATE_ONLY],
        result: Shape::Message("sequencer.lifecycle.v1.CreateOperationResponse", &[]),
        handler: Some(|context, args, caller| Box::pin(execute(context, args, caller))),
    },
    Endpoint {
        name: "sequencer_cancel",
        about: "Stops an operation that has not been signed yet.",
        params: &[
            required("id", Kind::Text, "Id of the operation."),
            optional("reason", Kind::Text, "Why, for its history."),
        ],
        result: Shape::Message("sequencer.lifecycle.v1.CancelOperationResponse", &[]),
        handler: Some(|context, args, caller| Box::pin(cancel(context, args, caller))),
    },
];

async fn register(context: Arc<Context>, args: Args, caller: Caller) -> Result<Value, Fault> {
    let owner = match args.only_one_of(&["ownerKeyId", "ownerAddress"])? {
        "ownerKeyId" => Owner::OwnerKeyId(args.text("ownerKeyId")),
        _ => Owner::OwnerAddress(args.text("ownerAddress")),
    };
    let signer = match args.only_one_of(&["signerKeyId", "signerPubkey"])? {
        "signerKeyId" => Signer::SignerKeyId(args.text("signerKeyId")),
        _ => Signer::SignerPubkey(args.text("signerPubkey")),
    };
    let labels = args.labels("labels");
    caller.principal()?.may_act_on(&labels)?;
    let listing = args.object("listing").map(|listing| ListingFields {
        name: listing.text("name"),
        description: listing.text("description"),
        avatar: listing.text("avatar"),
        url: listing.text("url"),
        lst_name: listing.text("lstName"),
        lst_url: listing.text("lstUrl"),
    });
    let request = RegisterSequencerRequest {
        request_id: args.text("requestId"),
        network: args.text("network"),
        name: args.text("name"),
        owner: Some(owner),
        signer: Some(signer),
        reward_recipient: args.text("rewardRecipient"),
        labels,
        listing,
        validate_only: args.flag("validateOnly"),
    };
    Ok(wire::json(context.neighbours.lifecycle.clone().register_sequencer(request).await?.get_ref()))
}

async fn execute(context: Arc<Context>, args: Args, caller: Caller) -> Result<Value, Fault> {
    let sequencer = args.text("sequencer");
    let parameters = operation::of(&args)?;
    if caller.principal()?.is_limited() {
        admit_sequencer(&caller, &context.neighbours.sequencer(&sequencer).await?)?;
    }
    let request = CreateOperationRequest {
        request_id: args.text("requestId"),
        sequencer,
        parameters: Some(parameters),
        mode: OperationMode::Managed.into(),
        validate_only: args.flag("validateOnly"),
        terms: None,
    };
    let mut lifecycle = context.neighbours.lifecycle.clone();
    Ok(wire::json(lifecycle.create_operation(request).await.map_err(operation::fault)?.get_ref()))
}

async fn cancel(context: Arc<Context>, args: Args, caller: Caller) -> Result<Value, Fault> {
    let id = args.text("id");
    admit_operation(&context, &caller, &id, "id").await?;
    let request = CancelOperationRequest { id, reason: args.text("reason") };
    Ok(wire::json(context.neighbours.lifecycle.clone().cancel_operation(request).await?.get_ref()))
}

/// Whether the caller's key reaches this sequencer.
pub fn admit_sequencer(caller: &Caller, sequencer: &Sequencer) -> Result<(), Fault> {
    caller.principal()?.may_act_on(&sequencer.labels)
}

/// Whether the caller's key reaches the sequencer of an operation; `field` is the param that names the operation.
pub async fn admit_operation(context: &Context, caller: &Caller, id: &str, field: &str) -> Result<(), Fault> {
    if !caller.principal()?.is_limited() {
        return Ok(());
    }
    let request = GetOperationRequest { id: id.to_owned() };
    let answer = context.neighbours.lifecycle.clone().get_operation(request).await.map_err(|status| {
        Fault::from(status)
            .rename_fields(|name| if name == "id" { field.to_owned() } else { name.to_owned() })
    })?;
    let sequencer = answer.into_inner().operation.unwrap_or_default().sequencer;
    admit_sequencer(caller, &context.neighbours.sequencer(&sequencer).await?)
}
