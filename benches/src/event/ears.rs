//! Two who listen: a subscriber of the gateway, and a program that listens to the node itself.

use std::time::Instant;

use anyhow::Result;
use dev::stack::Access;
use serde_json::{Value, json};
use testkit::contracts::L1;

use crate::socket::Socket;

/// A subscriber of the gateway.
pub struct Subscriber(Socket);

impl Subscriber {
    /// Subscribes to all transitions of the network.
    pub async fn open(access: &Access) -> Result<Self> {
        let params = json!({ "network": access.network });
        Ok(Self(Socket::open(&access.gateway_ws, "sequencer_subscribeTransitions", params).await?))
    }

    /// When it has heard that the sequencer has come to a phase.
    pub async fn until(&mut self, phase: &str) -> Result<Instant> {
        loop {
            let message = self.0.next().await?;
            let heard = Instant::now();
            if message["params"]["result"]["transition"]["to"] == phase {
                return Ok(heard);
            }
        }
    }
}

/// A program that listens to the node itself.
pub struct Bare {
    socket: Socket,
    filter: Value,
}

impl Bare {
    /// Subscribes to new heads.
    pub async fn open(l1: &L1) -> Result<Self> {
        let url = l1.link.url().replacen("http", "ws", 1);
        let socket = Socket::open(&url, "eth_subscribe", json!(["newHeads"])).await?;
        Ok(Self { socket, filter: json!([l1.locking_pool, l1.locking_info]) })
    }

    /// When it has the log of the next block that has one.
    pub async fn until_event(&mut self) -> Result<Instant> {
        loop {
            let message = self.socket.next().await?;
            let Some(hash) = message["params"]["result"]["hash"].as_str() else { continue };
            let filter = json!([{ "blockHash": hash, "address": self.filter }]);
            let answer = self.socket.call("eth_getLogs", filter).await?;
            if answer["result"].as_array().is_some_and(|logs| !logs.is_empty()) {
                return Ok(Instant::now());
            }
        }
    }
}
