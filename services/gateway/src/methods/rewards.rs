//! `rewards_*`: balances, the ledger and rates.

use std::sync::Arc;

use api::rewards::v1::{
    EntryKind, GetBalanceRequest, GetNetworkSummaryRequest, GetRateRequest, ListBalancesRequest,
    ListEntriesRequest,
};
use serde_json::Value;

use super::{AS_OF, Context, Endpoint, NETWORK, PAGE_SIZE, PAGE_TOKEN, Shape};
use crate::args::{Args, Kind, optional, required};
use crate::fault::Fault;
use crate::wire;

const KINDS: Kind = Kind::Choice(&["CREDIT", "CLAIM", "COMPOUND", "EXIT"]);

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        name: "rewards_balance",
        about: "What one sequencer has earned, claimed and not yet claimed.",
        params: &[
            NETWORK,
            required("sequencerId", Kind::Text, "Id of the sequencer on chain."),
            optional("atBlock", Kind::Height, "As of this L1 block; the head if left out."),
        ],
        result: Shape::Message("sequencer.rewards.v1.GetBalanceResponse", &[]),
        handler: Some(|context, args, _| Box::pin(balance(context, args))),
    },
    Endpoint {
        name: "rewards_balances",
        about: "Balances of all sequencers of a network.",
        params: &[NETWORK, PAGE_SIZE, PAGE_TOKEN],
        result: Shape::Message("sequencer.rewards.v1.ListBalancesResponse", &[]),
        handler: Some(|context, args, _| Box::pin(balances(context, args))),
    },
    Endpoint {
        name: "rewards_entries",
        about: "The ledger: credits, claims, conversions and payments at exit, oldest first.",
        params: &[
            NETWORK,
            optional("sequencerId", Kind::Text, "Only of this sequencer, by its id on chain."),
            optional("kind", KINDS, "Only this kind."),
            PAGE_SIZE,
            PAGE_TOKEN,
        ],
        result: Shape::Message("sequencer.rewards.v1.ListEntriesResponse", &[AS_OF]),
        handler: Some(|context, args, _| Box::pin(entries(context, args))),
    },
    Endpoint {
        name: "rewards_rate",
        about: "Mining reward rate over a window of block time.",
        params: &[
            NETWORK,
            optional("sequencerId", Kind::Text, "Id on chain; the whole network if left out."),
            required("from", Kind::Time, "Start of the window."),
            optional(
                "to",
                Kind::Time,
                "End of the window, exclusive; the chain time of the head if left out.",
            ),
        ],
        result: Shape::Message("sequencer.rewards.v1.GetRateResponse", &[]),
        handler: Some(|context, args, _| Box::pin(rate(context, args))),
    },
    Endpoint {
        name: "rewards_summary",
        about: "Totals of a network.",
        params: &[NETWORK],
        result: Shape::Message("sequencer.rewards.v1.GetNetworkSummaryResponse", &[]),
        handler: Some(|context, args, _| Box::pin(summary(context, args))),
    },
];

async fn balance(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let request = GetBalanceRequest {
        network: args.text("network"),
        sequencer_id: args.text("sequencerId"),
        at_block: args.height("atBlock"),
    };
    Ok(wire::json(context.neighbours.rewards.clone().get_balance(request).await?.get_ref()))
}

async fn balances(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let request = ListBalancesRequest {
        network: args.text("network"),
        page_size: args.page_size(),
        page_token: args.text("pageToken"),
    };
    Ok(wire::json(context.neighbours.rewards.clone().list_balances(request).await?.get_ref()))
}

async fn entries(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let network = args.text("network");
    let kind = match args.text("kind").as_str() {
        "CREDIT" => EntryKind::Credit,
        "CLAIM" => EntryKind::Claim,
        "COMPOUND" => EntryKind::Compound,
        "EXIT" => EntryKind::Exit,
        _ => EntryKind::Unspecified,
    };
    let request = ListEntriesRequest {
        network: network.clone(),
        sequencer_id: args.text("sequencerId"),
        kind: kind.into(),
        page_size: args.page_size(),
        page_token: args.text("pageToken"),
    };
    // The ledger's own block: the index may be ahead of it.
    let position = GetNetworkSummaryRequest { network };
    let mut rewards = context.neighbours.rewards.clone();
    let position = rewards.get_network_summary(position).await?.into_inner();
    let as_of = position.as_of.as_ref().map(wire::json).unwrap_or_default();
    let answer = rewards.list_entries(request).await?;
    Ok(wire::with(answer.get_ref(), [("asOf", as_of)]))
}

async fn rate(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let request = GetRateRequest {
        network: args.text("network"),
        sequencer_id: args.text("sequencerId"),
        from: args.time("from"),
        to: args.time("to"),
    };
    Ok(wire::json(context.neighbours.rewards.clone().get_rate(request).await?.get_ref()))
}

async fn summary(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let request = GetNetworkSummaryRequest { network: args.text("network") };
    Ok(wire::json(context.neighbours.rewards.clone().get_network_summary(request).await?.get_ref()))
}
