//! The bridge's health and the L1 data transport.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chain::rpc::Header;
use serde_json::json;

use super::{
    Signing, View,
    answer::{failed, refused, wall_clock},
};
use crate::Error;

/// L1 blocks that a lagging node is behind.
const L1_LAG: u64 = 500;

/// There only once themis is synced: that it answers is the sign (P 3.4).
pub(super) async fn bridge_health(State(view): State<View>) -> Response {
    if view.lags() {
        return refused(StatusCode::NOT_FOUND, "404 page not found");
    }
    let l2 = &view.simulator.0.l2;
    let current = async {
        let head = l2.link.head().await?.number;
        Ok::<_, Error>((head, l2.current_epoch().await?))
    };
    let (head, epoch) = match current.await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let produces = epoch.signer == view.signer && epoch.start_block.0 <= head + 1;
    let now = wall_clock();
    let signing = view.signing();
    let asked = signing != Signing::Never;
    Json(json!({
        "isCurrentSequencer": i32::from(produces),
        "writer": { "txHash": "", "timestamp": 0, "ret": "" },
        "l2": { "blockNumber": head, "timestamp": now },
        "rpc": { "txHash": "", "timestamp": 0 },
        "mpc": {
            "isMpcProposer": i32::from(asked),
            "signId": if asked { "devnet-sign" } else { "" },
            "signSuccess": i32::from(signing == Signing::Succeeded),
            "timestamp": if asked { now } else { 0 },
        },
    }))
    .into_response()
}

/// The tip of L1 less confirmations, with the wall clock.
pub(super) async fn context(State(view): State<View>) -> Response {
    match seen(&view, false).await {
        Ok(header) => Json(json!({
            "blockNumber": header.number,
            "timestamp": wall_clock(),
            "blockHash": header.hash,
        }))
        .into_response(),
        Err(error) => failed(&error),
    }
}

/// How far L1 was really read.
pub(super) async fn highest_l1(State(view): State<View>) -> Response {
    match seen(&view, view.lags()).await {
        Ok(header) => Json(json!({ "blockNumber": header.number })).into_response(),
        Err(error) => failed(&error),
    }
}

async fn seen(view: &View, lags: bool) -> Result<Header, Error> {
    let mut header = view.simulator.0.l1.link.head().await?;
    let behind = view.simulator.0.config.confirmations + if lags { L1_LAG } else { 0 };
    header.number = header.number.saturating_sub(behind);
    Ok(header)
}
