//! Steers the simulator from other processes: HTTP on loopback, JSON in and out.
//!
//! `POST /whitelist {owner, yes?}`, `POST /fund {account, metis_wei?, eth_wei?}`,
//! `POST /node {signer, mode?}` (makes one if there is none), `POST /batch {signer?}`,
//! `POST /time {seconds}`, `POST /mine {l1?, l2?}`, `GET /state`.

use alloy_primitives::Address;
use axum::{
    Json, Router,
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use domain::amount::{Eth, Metis};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{NodeMode, Simulator};
use crate::Error;

/// A year; more is a slip of the finger.
const SECONDS_MAX: u64 = 366 * 86_400;
/// Each block takes milliseconds.
const BLOCKS_MAX: u64 = 10_000;

pub(super) async fn serve(simulator: Simulator, listener: TcpListener) {
    let mut stop = simulator.0.stop.subscribe();
    let router = Router::new()
        .route("/state", get(state))
        .route("/whitelist", post(whitelist))
        .route("/fund", post(fund))
        .route("/node", post(node))
        .route("/batch", post(batch))
        .route("/time", post(time))
        .route("/mine", post(mine))
        .with_state(simulator);
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    // It ends only by the signal: accepting on loopback does not fail for good.
    let _ = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
}

struct Failed(Error);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            Error::UnknownNode(_) => StatusCode::NOT_FOUND,
            Error::Reverted { .. } | Error::NothingToPay | Error::NoSequencer => StatusCode::CONFLICT,
            _ => StatusCode::BAD_GATEWAY,
        };
        (status, Json(json!({ "error": self.0.to_string() }))).into_response()
    }
}

type Answer = Result<Json<Value>, Failed>;

async fn state(Shared(simulator): Shared<Simulator>) -> Answer {
    Ok(Json(json!(simulator.state())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whitelist {
    owner: Address,
    #[serde(default = "yes")]
    yes: bool,
}

fn yes() -> bool {
    true
}

async fn whitelist(Shared(simulator): Shared<Simulator>, Json(asked): Json<Whitelist>) -> Answer {
    simulator.whitelist(asked.owner, asked.yes).await?;
    Ok(Json(json!({ "owner": asked.owner, "whitelisted": asked.yes })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fund {
    account: Address,
    #[serde(default)]
    metis_wei: Metis,
    #[serde(default)]
    eth_wei: Eth,
}

async fn fund(Shared(simulator): Shared<Simulator>, Json(asked): Json<Fund>) -> Answer {
    simulator.fund(asked.account, asked.metis_wei, asked.eth_wei).await?;
    Ok(Json(json!({ "account": asked.account })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    signer: Address,
    mode: Option<NodeMode>,
}

async fn node(Shared(simulator): Shared<Simulator>, Json(asked): Json<Node>) -> Answer {
    let endpoints = simulator.add_node(asked.signer).await?;
    if let Some(mode) = asked.mode {
        simulator.set_node(asked.signer, mode).await?;
    }
    Ok(Json(json!({ "signer": asked.signer, "endpoints": endpoints })))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Payment {
    signer: Option<Address>,
}

async fn batch(Shared(simulator): Shared<Simulator>, asked: Option<Json<Payment>>) -> Answer {
    let paid = match asked.unwrap_or_default().signer {
        Some(signer) => simulator.run_batch_for(signer).await?,
        None => simulator.run_batch_now().await?,
    };
    Ok(Json(json!(paid)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    seconds: u64,
}

async fn time(Shared(simulator): Shared<Simulator>, Json(asked): Json<Time>) -> Answer {
    simulator.advance(asked.seconds.min(SECONDS_MAX)).await?;
    let head = simulator.l1().link.head().await?;
    Ok(Json(json!({ "l1_timestamp": head.timestamp })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mine {
    #[serde(default)]
    l1: u64,
    #[serde(default)]
    l2: u64,
}

async fn mine(Shared(simulator): Shared<Simulator>, Json(asked): Json<Mine>) -> Answer {
    let l1 = simulator.l1().link.mine(asked.l1.min(BLOCKS_MAX)).await?.number;
    let l2 = simulator.l2().link.mine(asked.l2.min(BLOCKS_MAX)).await?.number;
    Ok(Json(json!({ "l1": l1, "l2": l2 })))
}
