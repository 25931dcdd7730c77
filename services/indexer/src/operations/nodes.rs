//! Nodes: adding, removing, showing.

use api::indexer::v1 as wire;
use api::indexer::v1::get_node_request::Selector;
use api::reasons;
use prost::Message;
use runtime::errors::{Refusal, generic};
use runtime::{idempotency as fingerprints, page};
use store::idempotency::{self, Begun};
use store::in_transaction;
use uuid::Uuid;

use super::networks::timestamp;
use super::{Context, Error};
use crate::db::{SCHEMA, node};
use crate::fold::wire::address;
use crate::nodes::url;

/// The method under which requests are remembered.
const REGISTER: &str = "RegisterNode";

/// Adds a node, once for each `request_id`.
///
/// # Errors
/// When the request is wrong, the name is taken, or the id was used for another request.
pub async fn register(
    context: &Context,
    caller: &str,
    request: &wire::RegisterNodeRequest,
) -> Result<wire::RegisterNodeResponse, Error> {
    let row = checked(context, request)?;
    reachable(context, &row).await?;
    if request.validate_only {
        if node::is_named(&context.db, &row.network, &row.name).await? {
            return Err(taken(&row).into());
        }
        return Ok(wire::RegisterNodeResponse { node: Some(message(row)?) });
    }
    let request_id = api::convert::request_id("request_id", &request.request_id)?;
    let body = fingerprints::fingerprint(request, |bare| bare.request_id.clear());
    // One caller must never get another's answer.
    let fingerprint = [body.as_slice(), caller.as_bytes()].concat();
    in_transaction(&context.db, |tx| {
        let (row, request_id, fingerprint) = (row.clone(), request_id.clone(), fingerprint.clone());
        Box::pin(async move {
            match idempotency::begin(&tx, SCHEMA, &request_id, REGISTER, &fingerprint).await? {
                Begun::Replay(bytes) => return Ok(wire::RegisterNodeResponse::decode(bytes.as_slice())?),
                Begun::Reused => {
                    let what = "this request_id was used for another request";
                    let refusal = Refusal::new(&generic::IDEMPOTENCY_KEY_REUSED, what);
                    return Err(refusal.field("request_id", "was used for another request").into());
                }
                Begun::New => {}
            }
            if !node::insert(&tx, &row).await? {
                return Err(taken(&row).into());
            }
            let response = wire::RegisterNodeResponse { node: Some(message(row)?) };
            idempotency::finish(&tx, SCHEMA, &request_id, REGISTER, &response.encode_to_vec()).await?;
            Ok(response)
        })
    })
    .await
}

fn taken(row: &node::Row) -> Refusal {
    let what = format!("{} has a node named {}", row.network, row.name);
    Refusal::new(&reasons::NAME_TAKEN, what).field("name", "is taken").meta("name", &row.name)
}

fn checked(context: &Context, request: &wire::RegisterNodeRequest) -> Result<node::Row, Refusal> {
    let network = context.network("network", &request.network)?.l1.network.clone();
    let name = api::convert::name("name", &request.name)?;
    let signer = api::convert::address_nonzero("signer", &request.signer)?;
    let endpoints = api::convert::present("endpoints", request.endpoints.as_ref())?;
    let wire::NodeEndpoints { themis_rpc, themis_rest, bridge, l2geth, dtl } = endpoints;
    let endpoint = |field: &str, text: &str| {
        let field = format!("endpoints.{field}");
        api::convert::required(&field, text)?;
        url::check(text).map_err(|refused| api::convert::bad(&reasons::ENDPOINT_MALFORMED, &field, refused))
    };
    Ok(node::Row {
        id: Uuid::now_v7(),
        network,
        name,
        signer: signer.into(),
        themis_rpc: endpoint("themis_rpc", themis_rpc)?,
        themis_rest: endpoint("themis_rest", themis_rest)?,
        bridge: endpoint("bridge", bridge)?,
        l2geth: endpoint("l2geth", l2geth)?,
        dtl: endpoint("dtl", dtl)?,
        probed_at: None,
        report: None,
        settled: None,
    })
}

/// Refuses endpoints that lead where this service may not go. Every connection is checked again.
async fn reachable(context: &Context, row: &node::Row) -> Result<(), Refusal> {
    let endpoints = [
        ("themis_rpc", &row.themis_rpc),
        ("themis_rest", &row.themis_rest),
        ("bridge", &row.bridge),
        ("l2geth", &row.l2geth),
        ("dtl", &row.dtl),
    ];
    for (field, url) in endpoints {
        let admitted = context.client.admits(url).await;
        let forbidden =
            |why| api::convert::bad(&reasons::NODE_URL_FORBIDDEN, &format!("endpoints.{field}"), why);
        admitted.map_err(forbidden)?;
    }
    Ok(())
}

/// Takes a node out. One that is gone already is no error only for the caller who looks: it is not found.
///
/// # Errors
/// When the id is malformed or of no node.
pub async fn delete(
    context: &Context,
    request: &wire::DeleteNodeRequest,
) -> Result<wire::DeleteNodeResponse, Error> {
    if node::delete(&context.db, id(&request.id)?).await? {
        return Ok(wire::DeleteNodeResponse {});
    }
    Err(not_found().into())
}

/// One node with its last probe.
///
/// # Errors
/// When the request is wrong, or there is no such node.
pub async fn get(context: &Context, request: &wire::GetNodeRequest) -> Result<wire::GetNodeResponse, Error> {
    let row = match api::convert::present("selector", request.selector.as_ref())? {
        Selector::Id(text) => node::with_id(&context.db, id(text)?).await?,
        Selector::Signer(wire::SignerOnNetwork { network, signer }) => {
            let network = context.network("signer.network", network)?.l1.network.as_str();
            let signer = api::convert::address_nonzero("signer.signer", signer)?;
            node::of_signer(&context.db, network, signer.into()).await?
        }
    };
    let row = row.ok_or_else(not_found)?;
    Ok(wire::GetNodeResponse { node: Some(message(row)?) })
}

/// Nodes by network and name, in pages.
///
/// # Errors
/// When the request is wrong.
pub async fn list(
    context: &Context,
    request: &wire::ListNodesRequest,
) -> Result<wire::ListNodesResponse, Error> {
    let network = match request.network.as_str() {
        "" => None,
        name => Some(context.network("network", name)?.l1.network.as_str()),
    };
    let size = page::page_size(request.page_size)?;
    let after: Option<(String, String)> = page::decode(&request.page_token, &network)?;
    let (network_after, name_after) = after.unwrap_or_default();
    let rows = node::page(&context.db, network, (&network_after, &name_after), size).await?;
    let full = rows.len() == size as usize;
    let next = rows.last().filter(|_| full).map(|row| page::encode(&(&row.network, &row.name), &network));
    Ok(wire::ListNodesResponse {
        nodes: rows.into_iter().map(message).collect::<Result<_, _>>()?,
        next_page_token: next.unwrap_or_default(),
    })
}

fn id(text: &str) -> Result<Uuid, Refusal> {
    api::convert::required("id", text)?;
    text.parse().map_err(|_| api::convert::bad(&reasons::ID_MALFORMED, "id", "is no id of a node"))
}

fn not_found() -> Refusal {
    Refusal::new(&reasons::NODE_NOT_FOUND, "there is no such node")
}

fn message(row: node::Row) -> Result<wire::Node, Error> {
    let node::Row {
        id,
        network,
        name,
        signer,
        themis_rpc,
        themis_rest,
        bridge,
        l2geth,
        dtl,
        probed_at,
        report,
        settled: _,
    } = row;
    let report = report.map(|report| wire::Node::decode(report.as_slice())).transpose()?.unwrap_or_default();
    Ok(wire::Node {
        id: id.to_string(),
        network,
        name,
        endpoints: Some(wire::NodeEndpoints { themis_rpc, themis_rest, bridge, l2geth, dtl }),
        signer: address(signer.0),
        probe_time: probed_at.map(timestamp),
        ..report
    })
}
