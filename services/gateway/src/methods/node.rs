//! `node_*`: nodes and whether their sequencers may lock. Where the nodes are is not shown.

use std::sync::Arc;

use api::indexer::v1::get_node_request::Selector;
use api::indexer::v1::{GetNodeRequest, ListNodesRequest, SignerOnNetwork};
use serde_json::Value;

use super::{AS_OF, Context, Endpoint, NETWORK, PAGE_SIZE, PAGE_TOKEN, Shape};
use crate::args::{Args, Kind, optional};
use crate::fault::Fault;
use crate::wire;

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        name: "node_list",
        about: "Nodes of a network as last probed.",
        params: &[NETWORK, PAGE_SIZE, PAGE_TOKEN],
        result: Shape::Message("sequencer.indexer.v1.ListNodesResponse", &[AS_OF]),
        handler: Some(|context, args, _| Box::pin(list(context, args))),
    },
    Endpoint {
        name: "node_get",
        about: "One node as last probed, with the verdict whether its sequencer may lock.",
        params: &[
            optional("id", Kind::Text, "Id of the node."),
            optional("network", Kind::Text, "With signer: its network."),
            optional("signer", Kind::Text, "Address of the signer whose node it is."),
        ],
        result: Shape::Message("sequencer.indexer.v1.GetNodeResponse", &[AS_OF]),
        handler: Some(|context, args, _| Box::pin(get(context, args))),
    },
];

async fn list(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let network = args.text("network");
    let as_of = context.neighbours.as_of(&network).await?;
    let request =
        ListNodesRequest { network, page_size: args.page_size(), page_token: args.text("pageToken") };
    let answer = context.neighbours.nodes.clone().list_nodes(request).await?;
    Ok(wire::with(answer.get_ref(), [("asOf", as_of)]))
}

async fn get(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let selector = match args.only_one_of(&["id", "signer"])? {
        "id" => Selector::Id(args.text("id")),
        _ => Selector::Signer(SignerOnNetwork { network: args.text("network"), signer: args.text("signer") }),
    };
    let request = GetNodeRequest { selector: Some(selector) };
    let answer = context.neighbours.nodes.clone().get_node(request).await?.into_inner();
    let network = answer.node.as_ref().map(|node| node.network.clone()).unwrap_or_default();
    let as_of = context.neighbours.as_of(&network).await?;
    Ok(wire::with(&answer, [("asOf", as_of)]))
}
