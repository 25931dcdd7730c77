//! One loop for all nodes: probes each again and again, and keeps what was found last.
//!
//! A probe reads only, so that two replicas doing it at once would harm nothing; the lease spares the nodes.

use std::time::Duration;

use api::indexer::v1 as wire;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use prost::Message;
use reqwest::Client;
use runtime::report;
use runtime::shutdown::Shutdown;
use store::lease::{self, Claim, FenceError, Lease};
use store::{Error, in_transaction};
use time::OffsetDateTime;

use super::chain::LEASE_TTL;
use crate::db::{Layer, SCHEMA, checkpoint, height, node};
use crate::metrics::Metrics;
use crate::nodes::probe;
use crate::nodes::verdict::{Expected, Facts, ready_to_lock};
use crate::operations::Context;

/// Name of the lease.
const LEASE: &str = "nodes";
/// Nodes probed at once: each takes five connections for at most a few seconds.
const PROBES_TOGETHER: usize = 16;
/// Nodes read at once.
const PAGE_ROWS: u32 = 500;

/// Why a probe was not kept.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("using the database")]
    Store(#[from] Error),
    #[error("proving the lease")]
    Fence(#[from] FenceError),
}

/// What the loop works with.
#[derive(Debug, Clone)]
pub struct Prober {
    /// Networks and tables.
    pub context: Context,
    /// Who we are.
    pub holder: String,
    /// Counters.
    pub metrics: Metrics,
    /// How nodes are asked.
    pub client: Client,
    /// Time between two probes of a node.
    pub every: Duration,
}

impl Prober {
    /// Probes until the shutdown, whenever the lease is ours.
    pub async fn run(self, shutdown: Shutdown) {
        let (name, holder) = (LEASE.to_owned(), self.holder.clone());
        let claim = Claim { schema: SCHEMA, name, holder, ttl: LEASE_TTL };
        while !shutdown.is_draining() {
            let held = lease::while_held(&self.context.db, &claim, |lease| self.hold(lease));
            tokio::select! {
                done = held => {
                    if let Err(error) = done {
                        tracing::warn!("the lease {LEASE} cannot be had: {}", report(&error));
                        tokio::time::sleep(self.every).await;
                    }
                }
                // A probe has no effect but its row, so it can be dropped at any point.
                () = shutdown.draining() => return,
            }
        }
    }

    async fn hold(&self, lease: Lease) {
        loop {
            match self.round(lease).await {
                Ok(()) => {}
                Err(ProbeError::Fence(FenceError::Fenced { .. })) => return,
                Err(error) => tracing::warn!("nodes could not be probed: {}", report(&error)),
            }
            tokio::time::sleep(self.every.mul_f64(rand::random_range(0.8..1.2))).await;
        }
    }

    async fn round(&self, lease: Lease) -> Result<(), ProbeError> {
        for (network, served) in self.context.networks.iter() {
            let expected = self.expected(network, served.themis_network.clone()).await?;
            let mut after = String::new();
            let mut ready = 0;
            loop {
                let rows = node::page(&self.context.db, Some(network), (network, &after), PAGE_ROWS).await?;
                let Some(last) = rows.last() else { break };
                after.clone_from(&last.name);
                for rows in rows.chunks(PROBES_TOGETHER) {
                    let mut probes = FuturesUnordered::new();
                    for row in rows {
                        probes.push(self.probe(lease, row, &expected));
                    }
                    while let Some(probed) = probes.next().await {
                        ready += u64::from(probed?);
                    }
                }
            }
            self.metrics.nodes_ready(network, ready);
        }
        Ok(())
    }

    async fn expected(&self, network: &str, themis_network: Option<String>) -> Result<Expected, Error> {
        let head = |row: Option<checkpoint::Row>| {
            row.filter(|row| row.last_contact.is_some()).map(|row| height(row.latest))
        };
        let l1_head = head(checkpoint::of(&self.context.db, network, Layer::L1).await?);
        let l2_head = head(checkpoint::of(&self.context.db, network, Layer::L2).await?);
        Ok(Expected { themis_network, l1_head, l2_head })
    }

    /// Probes one node and keeps what was found; whether its sequencer may lock.
    async fn probe(&self, lease: Lease, row: &node::Row, expected: &Expected) -> Result<bool, ProbeError> {
        let facts = probe::facts(&self.client, row).await;
        let now = OffsetDateTime::now_utc();
        let report = report_of(&facts, expected, now);
        let ready = report.ready_to_lock;
        let (id, bytes) = (row.id, report.encode_to_vec());
        in_transaction(&self.context.db, |tx| {
            let bytes = bytes.clone();
            Box::pin(async move {
                lease::fence(&tx, SCHEMA, LEASE, lease.epoch).await?;
                node::put_probe(&tx, id, now, ready, bytes).await?;
                Ok::<_, ProbeError>(())
            })
        })
        .await?;
        Ok(ready)
    }
}

/// The probed half of a node's message.
pub fn report_of(facts: &Facts, expected: &Expected, now: OffsetDateTime) -> wire::Node {
    let (ready_to_lock, checks) = ready_to_lock(facts, expected, now);
    let validator = facts.validator.as_ref().ok().copied().flatten();
    wire::Node {
        processes: processes(facts, expected),
        ready_to_lock,
        checks,
        validator_known: validator.is_some(),
        validator_nonce: validator.map_or(0, |validator| validator.nonce),
        validator_power: validator.map_or(0, |validator| validator.power),
        ..Default::default()
    }
}

fn processes(facts: &Facts, expected: &Expected) -> Vec<wire::ProcessProbe> {
    let lag = |head: Option<u64>, height: u64| head.map_or(0, |head| head.saturating_sub(height));
    let away = |process: &str, why: &String| wire::ProcessProbe {
        process: process.to_owned(),
        problem: why.clone(),
        ..Default::default()
    };
    let reachable = |process: &str| wire::ProcessProbe {
        process: process.to_owned(),
        reachable: true,
        ..Default::default()
    };
    let themis = match &facts.themis {
        Ok(themis) => wire::ProcessProbe {
            catching_up: themis.catching_up,
            height: themis.height,
            peers: themis.peers.unwrap_or(0),
            version: themis.version.clone(),
            problem: facts.validator.as_ref().err().map(|why| format!("REST: {why}")).unwrap_or_default(),
            ..reachable("themis")
        },
        Err(why) => away("themis", why),
    };
    let bridge = match &facts.bridge {
        Ok(()) => reachable("bridge"),
        Err(why) => away("bridge", why),
    };
    let l2geth = match &facts.l2geth {
        Ok(l2geth) => wire::ProcessProbe {
            catching_up: l2geth.syncing.unwrap_or(false),
            height: l2geth.height,
            lag: lag(expected.l2_head, l2geth.height),
            version: l2geth.version.clone(),
            ..reachable("l2geth")
        },
        Err(why) => away("l2geth", why),
    };
    let dtl = match &facts.dtl {
        Ok(height) => {
            wire::ProcessProbe { height: *height, lag: lag(expected.l1_head, *height), ..reachable("dtl") }
        }
        Err(why) => away("dtl", why),
    };
    vec![themis, bridge, l2geth, dtl]
}
