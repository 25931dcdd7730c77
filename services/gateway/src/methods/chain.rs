//! `chain_*`: networks, parameters, heads, events and epochs, as the indexer has them.

use std::sync::Arc;

use api::indexer::v1::{GetChainParametersRequest, ListEpochsRequest, ListEventsRequest};
use api::types::v1::Layer;
use serde_json::{Value, json};

use super::{AS_OF, Context, Endpoint, NETWORK, PAGE_SIZE, PAGE_TOKEN, Schema, Shape};
use crate::args::{Args, Kind, optional};
use crate::fault::Fault;
use crate::{neighbours, wire};

const LAYERS: Kind = Kind::Choice(&["L1", "L2"]);

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        name: "chain_networks",
        about: "Networks served here, with contracts, progress of the index and the block it stands at.",
        params: &[],
        result: Shape::Members(&[("networks", Schema::MessagesAsOf("sequencer.indexer.v1.Network"))]),
        handler: Some(|context, _, _| Box::pin(networks(context))),
    },
    Endpoint {
        name: "chain_head",
        about: "Where both chains of a network stand.",
        params: &[NETWORK],
        result: Shape::Members(&[
            ("network", Schema::Text),
            ("sources", Schema::Messages("sequencer.indexer.v1.SourceProgress")),
            AS_OF,
        ]),
        handler: Some(|context, args, _| Box::pin(head(context, args))),
    },
    Endpoint {
        name: "chain_parameters",
        about: "Parameters of the contracts.",
        params: &[NETWORK],
        result: Shape::Message("sequencer.indexer.v1.GetChainParametersResponse", &[]),
        handler: Some(|context, args, _| Box::pin(parameters(context, args))),
    },
    Endpoint {
        name: "chain_events",
        about: "Decoded events of the contracts, oldest first.",
        params: &[
            NETWORK,
            optional("layer", LAYERS, "Only of this chain."),
            optional("sequencerId", Kind::Text, "Only of this sequencer, by its id on chain."),
            optional("kinds", Kind::Texts, "Only these events, by the contract's names."),
            optional("fromBlock", Kind::Height, "First block."),
            optional("toBlock", Kind::Height, "Last block; the head if left out."),
            optional("transactionHash", Kind::Text, "Only of this transaction."),
            PAGE_SIZE,
            PAGE_TOKEN,
        ],
        result: Shape::Message("sequencer.indexer.v1.ListEventsResponse", &[AS_OF]),
        handler: Some(|context, args, _| Box::pin(events(context, args))),
    },
    Endpoint {
        name: "chain_epochs",
        about: "Epochs of the L2, newest first, re-spans applied.",
        params: &[NETWORK, optional("signer", Kind::Text, "Only of this producer."), PAGE_SIZE, PAGE_TOKEN],
        result: Shape::Message("sequencer.indexer.v1.ListEpochsResponse", &[]),
        handler: Some(|context, args, _| Box::pin(epochs(context, args))),
    },
];

async fn networks(context: Arc<Context>) -> Result<Value, Fault> {
    let networks = context.neighbours.networks().await?;
    let shown: Vec<Value> =
        networks.iter().map(|network| wire::with(network, [("asOf", neighbours::as_of(network))])).collect();
    Ok(json!({ "networks": shown }))
}

async fn head(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let network = context.neighbours.network(&args.text("network")).await?;
    let as_of = neighbours::as_of(&network);
    let sources = wire::json(&network)["sources"].take();
    Ok(json!({ "network": network.name, "sources": sources, "asOf": as_of }))
}

async fn parameters(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let request = GetChainParametersRequest { network: args.text("network"), at_block: 0 };
    Ok(wire::json(context.neighbours.indexer.clone().get_chain_parameters(request).await?.get_ref()))
}

async fn events(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let network = args.text("network");
    let layer = match args.text("layer").as_str() {
        "L1" => Layer::L1,
        "L2" => Layer::L2,
        _ => Layer::Unspecified,
    };
    let request = ListEventsRequest {
        network: network.clone(),
        layer: layer.into(),
        sequencer_id: args.text("sequencerId"),
        kinds: args.texts("kinds"),
        from_block: args.height("fromBlock"),
        to_block: args.height("toBlock"),
        transaction_hash: args.text("transactionHash"),
        page_size: args.page_size(),
        page_token: args.text("pageToken"),
    };
    // The block first: what is listed afterwards is at least as new as it says.
    let as_of = context.neighbours.as_of(&network).await?;
    let answer = context.neighbours.indexer.clone().list_events(request).await?;
    Ok(wire::with(answer.get_ref(), [("asOf", as_of)]))
}

async fn epochs(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let request = ListEpochsRequest {
        network: args.text("network"),
        signer: args.text("signer"),
        page_size: args.page_size(),
        page_token: args.text("pageToken"),
    };
    Ok(wire::json(context.neighbours.indexer.clone().list_epochs(request).await?.get_ref()))
}
