//! themis: Tendermint RPC and REST.

use alloy_primitives::{Address, B256, keccak256};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::ids::EpochId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Validator, consensus::Consensus, locked};
use super::{
    View,
    answer::{enveloped, failed, refused, themis_height, themis_time},
};
use crate::{Error, contracts::Epoch};

/// Blocks, and so seconds, that a node lags behind while it catches up.
const LAG: u64 = 3_600;
const VERSION: &str = "0.32.7";

pub(super) async fn status(State(view): State<View>) -> Response {
    rpc(status_of(&view))
}

pub(super) async fn net_info(State(view): State<View>) -> Response {
    rpc(net_info_of(&view))
}

fn rpc(result: Value) -> Response {
    Json(json!({ "jsonrpc": "2.0", "id": -1, "result": result })).into_response()
}

pub(super) fn status_of(view: &View) -> Value {
    let height = themis_height() - if view.lags() { LAG } else { 0 };
    let power = locked(&view.simulator.0.consensus).by_signer(view.signer).map_or(0, |v| v.power);
    let id = hex::encode(&keccak256(view.signer)[..20]);
    json!({
        "node_info": {
            "protocol_version": { "p2p": "7", "block": "10", "app": "0" },
            "id": id,
            "listen_addr": "tcp://0.0.0.0:26656",
            "network": view.simulator.0.config.themis_network,
            "version": VERSION,
            "channels": "4020212223303800",
            "moniker": format!("{:#x}", view.signer),
            "other": { "tx_index": "on", "rpc_address": "tcp://0.0.0.0:26657" },
        },
        "sync_info": {
            "latest_block_hash": hash_of("block", height),
            "latest_app_hash": hash_of("app", height),
            "latest_block_height": height.to_string(),
            "latest_block_time": themis_time(height),
            "catching_up": view.lags(),
        },
        "validator_info": {
            "address": hex::encode_upper(view.signer),
            "pub_key": { "type": "tendermint/PubKeySecp256k1", "value": "" },
            "voting_power": power.to_string(),
        },
    })
}

/// Everyone who is up is a peer of everyone else; there is always a seed.
pub(super) fn net_info_of(view: &View) -> Value {
    let nodes = locked(&view.simulator.0.nodes);
    let up = |signer: &Address| *signer != view.signer;
    let others = nodes.iter().filter(|(signer, node)| up(signer) && node.is_served());
    let mut peers: Vec<Value> = others.map(|(signer, _)| peer(&format!("{signer:#x}"))).collect();
    peers.push(peer("seed"));
    json!({
        "listening": true,
        "listeners": ["Listener(@)"],
        "n_peers": peers.len().to_string(),
        "peers": peers,
    })
}

fn peer(moniker: &str) -> Value {
    json!({
        "node_info": { "id": hex::encode(&keccak256(moniker)[..20]), "moniker": moniker, "version": VERSION },
        "is_outbound": true,
        "remote_ip": "127.0.0.1",
    })
}

fn hash_of(what: &str, height: u64) -> String {
    hex::encode_upper(keccak256(format!("{what} {height}")))
}

pub(super) async fn validator(State(view): State<View>, Path(id): Path<u64>) -> Response {
    found(locked(&view.simulator.0.consensus).by_id(id))
}

pub(super) async fn signer(State(view): State<View>, Path(address): Path<Address>) -> Response {
    found(locked(&view.simulator.0.consensus).by_signer(address))
}

fn found(validator: Option<&Validator>) -> Response {
    match validator {
        Some(validator) => enveloped(themis_height(), json!(validator)),
        None => refused(StatusCode::BAD_REQUEST, "No validator found"),
    }
}

pub(super) async fn validator_status(State(view): State<View>, Path(address): Path<Address>) -> Response {
    let consensus = locked(&view.simulator.0.consensus);
    let current = consensus.by_signer(address).is_some_and(|validator| consensus.is_current(validator));
    enveloped(0, json!({ "result": current }))
}

pub(super) async fn validator_set(State(view): State<View>) -> Response {
    enveloped(themis_height(), set_of(&locked(&view.simulator.0.consensus)))
}

fn set_of(consensus: &Consensus) -> Value {
    let current: Vec<&Validator> = consensus.validators().filter(|v| consensus.is_current(v)).collect();
    json!({ "validators": current, "proposer": current.first() })
}

pub(super) async fn current_batch(State(view): State<View>) -> Response {
    enveloped(themis_height(), json!({ "batch": locked(&view.simulator.0.consensus).batch() }))
}

#[derive(Deserialize)]
pub(super) struct LogPlace {
    txhash: B256,
    logindex: u64,
}

pub(super) async fn is_old_tx(State(view): State<View>, Query(place): Query<LogPlace>) -> Response {
    if locked(&view.simulator.0.consensus).has_applied(place.txhash, place.logindex) {
        return enveloped(0, json!(true));
    }
    let l1 = &view.simulator.0.l1.link;
    let depth = async {
        let receipt = l1.ask("a receipt", chain::rpc::call::receipt(place.txhash)).await?;
        let head = l1.head().await?.number;
        Ok::<_, Error>(receipt.map(|receipt| head.saturating_sub(receipt.block_number)))
    };
    match depth.await {
        Ok(Some(depth)) if depth < view.simulator.0.config.confirmations => {
            refused(StatusCode::INTERNAL_SERVER_ERROR, "not enough confirmations")
        }
        Ok(_) => refused(StatusCode::NOT_FOUND, "not found"),
        Err(error) => failed(&error),
    }
}

pub(super) async fn latest_span(State(view): State<View>) -> Response {
    match view.simulator.0.l2.current_epoch().await {
        Ok(epoch) => span_of(&view, &epoch),
        Err(error) => failed(&error),
    }
}

pub(super) async fn span(State(view): State<View>, Path(id): Path<u64>) -> Response {
    match view.simulator.0.l2.epoch(EpochId(id)).await {
        Ok(Some(epoch)) => span_of(&view, &epoch),
        Ok(None) => refused(StatusCode::BAD_REQUEST, "span not found"),
        Err(error) => failed(&error),
    }
}

fn span_of(view: &View, epoch: &Epoch) -> Response {
    let consensus = locked(&view.simulator.0.consensus);
    let producers: Vec<&Validator> = consensus.by_signer(epoch.signer).into_iter().collect();
    let span = json!({
        "span_id": epoch.number.0,
        "start_block": epoch.start_block.0,
        "end_block": epoch.end_block.0,
        "validator_set": set_of(&consensus),
        "selected_producers": producers,
        "metis_chain_id": view.simulator.0.l2.chain_id.to_string(),
    });
    enveloped(themis_height(), span)
}

/// Types: 0 common (L2 epochs), 1 state submit, 2 reward submit (L1 batches), 3 blob submit.
pub(super) async fn mpc(State(view): State<View>, Path(kind): Path<u8>) -> Response {
    let address = match kind {
        0 => view.simulator.0.l2.mpc,
        2 => view.simulator.0.l1.mpc,
        1 | 3 => crate::contracts::account(&format!("mpc {kind}")),
        _ => return refused(StatusCode::BAD_REQUEST, "unknown mpc type"),
    };
    let record = json!({
        "mpc_id": format!("devnet-mpc-{kind}"),
        "threshold": 1,
        "participants": [],
        "mpc_address": format!("{address:#x}"),
        "mpc_pubkey": "",
        "mpc_type": kind,
    });
    enveloped(themis_height(), record)
}
