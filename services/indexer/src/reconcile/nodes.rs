//! One loop for all nodes: probes each again and again, keeps what was found last, and tells what changed.
//!
//! A probe reads only, so that two replicas doing it at once would harm nothing; the lease spares the nodes, and makes
//! the ids of changes ascend. The same loop looks at balances, and shows on the metrics what else is to be alerted of.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api::indexer::v1 as wire;
use domain::preflight::Status;
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use runtime::report;
use runtime::shutdown::Shutdown;
use sea_orm::ConnectionTrait;
use store::lease::{self, Claim, FenceError, Lease};
use store::{Error, Holder, in_transaction, notify};
use time::OffsetDateTime;
use tokio::time::timeout;

use super::chain::LEASE_TTL;
use super::commit::CHANNEL;
use crate::config;
use crate::db::node_chain::{self, Chain};
use crate::db::{Layer, SCHEMA, checkpoint, epoch, height, node, node_event, parameters, reorg};
use crate::fold::stored::status_of;
use crate::metrics::Metrics;
use crate::nodes::gauges::{self, Panel, Reading, reading};
use crate::nodes::settled::{Change, Settled};
use crate::nodes::standing::{Lock, MissedTurn, Standing};
use crate::nodes::verdict::Expected;
use crate::nodes::watch::{self, Account};
use crate::nodes::{probe, report as found};
use crate::operations::networks::timestamp;
use crate::operations::{Context, Served};
use crate::source::Source;

/// Name of the lease.
const LEASE: &str = "nodes";
/// Nodes probed at once: each takes five connections for at most a few seconds.
const PROBES_TOGETHER: usize = 16;
/// Nodes read at once.
const PAGE_ROWS: u32 = 500;
/// Balances run out in days, not in seconds.
const BALANCES_EVERY: Duration = Duration::from_secs(60);
/// Endpoints that need longer are not waited for: probes are due again.
const BALANCES_WAIT: Duration = Duration::from_secs(10);
/// Changes are for consumers who were away, not for history.
const EVENTS_KEPT: time::Duration = time::Duration::days(30);
/// Removed at once, each minute; more cannot come in a minute but from thousands of nodes.
const PRUNED_MAX: u32 = 5_000;

/// Why a probe was not kept.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("using the database")]
    Store(#[from] Error),
    #[error("proving the lease")]
    Fence(#[from] FenceError),
}

/// What the loop works with.
#[derive(Debug)]
pub struct Prober {
    /// Networks, tables, and how nodes are asked.
    pub context: Context,
    /// Who we are.
    pub holder: Holder,
    /// Counters.
    pub metrics: Metrics,
    /// What else is to be seen from outside.
    pub panel: Panel,
    /// What the configuration says of nodes.
    pub config: config::Nodes,
    /// Time between two probes of a node.
    pub every: Duration,
}

/// A network as it stands when a round begins.
struct Standpoint {
    expected: Expected,
    chains: Vec<Chain>,
    /// Signer of the next L2 block; the outer is none where L2 is not followed or its epoch unknown.
    producer: Option<store::column::Addr>,
    epochs_end: Option<u64>,
}

/// One node after its probe.
struct Probed {
    row: node::Row,
    report: wire::Node,
    settled: Settled,
    changes: Vec<Change>,
    now: OffsetDateTime,
    locked: bool,
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
                    self.panel.clear();
                    if let Err(error) = done {
                        tracing::warn!("the lease {LEASE} cannot be had: {}", report(&error));
                        tokio::time::sleep(self.every).await;
                    }
                }
                // A probe has no effect but its rows, which are one transaction, so it can be dropped at any point.
                () = shutdown.draining() => return,
            }
        }
    }

    async fn hold(&self, lease: Lease) {
        let mut seldom: Option<Instant> = None;
        loop {
            let due = seldom.is_none_or(|last| last.elapsed() >= BALANCES_EVERY);
            match self.round(lease, due).await {
                Ok(()) if due => seldom = Some(Instant::now()),
                Ok(()) => {}
                Err(ProbeError::Fence(FenceError::Fenced { .. })) => return,
                Err(error) => tracing::warn!("nodes could not be probed: {}", report(&error)),
            }
            tokio::time::sleep(self.every.mul_f64(rand::random_range(0.8..1.2))).await;
        }
    }

    async fn round(&self, lease: Lease, seldom_too: bool) -> Result<(), ProbeError> {
        for (network, served) in self.context.networks.iter() {
            let here = self.standpoint(network, served).await?;
            let (mut readings, mut signers) = (Vec::new(), Vec::new());
            let (mut after, mut ready, mut nodes) = (String::new(), 0, 0);
            loop {
                let rows = node::page(&self.context.db, Some(network), (network, &after), PAGE_ROWS).await?;
                let Some(last) = rows.last() else { break };
                after.clone_from(&last.name);
                // All answers first: a slow write must not look like a slow node.
                let probes = stream::iter(rows).map(|row| self.probe(row, served, &here));
                let probed: Vec<_> = probes.buffer_unordered(PROBES_TOGETHER).try_collect().await?;
                for probed in probed {
                    self.keep(lease, &probed).await?;
                    nodes += 1;
                    ready += u64::from(probed.report.ready_to_lock);
                    readings.extend(gauges::of_node(network, &probed.row.name, &probed.report));
                    if probed.locked {
                        let name = format!("signer of {}", probed.row.name);
                        let (address, min) = (probed.row.signer.0, watch::SIGNER_L1_MIN);
                        signers.push(Account { address, name, min });
                    }
                }
            }
            self.metrics.nodes_ready(network, ready);
            readings.extend(self.of_network(network, &here, nodes).await?);
            self.panel.show(&format!("network {network}"), readings);
            if seldom_too {
                self.balances(network, served, signers).await?;
            }
        }
        self.panel.show("leases", self.leases().await?);
        if seldom_too {
            let before = OffsetDateTime::now_utc() - EVENTS_KEPT;
            node_event::prune(&self.context.db, before, PRUNED_MAX).await?;
        }
        Ok(())
    }

    async fn standpoint(&self, network: &str, served: &Served) -> Result<Standpoint, Error> {
        let db = &self.context.db;
        let rows =
            [checkpoint::of(db, network, Layer::L1).await?, checkpoint::of(db, network, Layer::L2).await?];
        let chains: Vec<Chain> = rows.into_iter().flatten().map(Chain::from).collect();
        let chain = |layer| chains.iter().find(|chain| chain.layer == layer);
        let head =
            |layer| chain(layer).filter(|chain| chain.last_contact.is_some()).map(|chain| chain.latest);
        let (producer, epochs_end) = match chain(Layer::L2).and_then(|chain| chain.indexed) {
            Some(indexed) => node_chain::producer(db, network, indexed).await?,
            None => (None, None),
        };
        let themis_network = served.themis_network.clone();
        let expected = Expected { themis_network, l1_head: head(Layer::L1), l2_head: head(Layer::L2) };
        Ok(Standpoint { expected, chains, producer, epochs_end })
    }

    /// Asks one node, and says what is new of it.
    async fn probe(&self, row: node::Row, served: &Served, here: &Standpoint) -> Result<Probed, Error> {
        let db = &self.context.db;
        // Of another version's rows nothing is known: everything is told once more.
        let settled = row.settled.clone().and_then(|kept| serde_json::from_value(kept).ok());
        let mut settled: Settled = settled.unwrap_or_default();
        let standing = Standing {
            lock: node_chain::lock(db, &row.network, row.signer).await?.map(lock),
            missed: node_chain::missed_turn(db, &row.network, row.signer).await?.map(missed),
            producing: here.producer.map(|producer| producer == row.signer),
            scan_start: served.l1.start(),
            bridge_since: settled.bridge_since(),
        };
        let live = standing.lock.filter(|lock| lock.status != Status::Unlocked);
        let place = live.and_then(|lock| lock.locked).map(|(_, hash, index)| (hash, index));
        let facts = probe::facts(&self.context.client, &row, place).await;
        let now = OffsetDateTime::now_utc();
        let mut report = found::report(&facts, &standing, &here.expected, now);
        report.probe_time = Some(timestamp(now));
        let changes = settled.take(&report, now);
        Ok(Probed { row, report, settled, changes, now, locked: live.is_some_and(|lock| lock.current) })
    }

    /// Keeps what was found, together with the changes that it makes.
    async fn keep(&self, lease: Lease, probed: &Probed) -> Result<(), ProbeError> {
        let Probed { row, report, settled, changes, now, locked: _ } = probed;
        let kept = node::Probe {
            probed_at: *now,
            ready_to_lock: report.ready_to_lock,
            report: report.encode_to_vec(),
            settled: serde_json::to_value(settled).unwrap_or_default(),
        };
        let events: Vec<node_event::Row> = changes.iter().map(|change| event(row, change, *now)).collect();
        let id = row.id;
        in_transaction(&self.context.db, |tx| {
            let (kept, events, network) = (kept.clone(), events.clone(), row.network.clone());
            Box::pin(async move {
                lease::fence(&tx, SCHEMA, LEASE, lease.epoch).await?;
                if node::put_probe(&tx, id, &kept).await? && !events.is_empty() {
                    node_event::insert(&tx, &events).await?;
                    notify::notify(&tx, CHANNEL, &network).await?;
                }
                Ok::<_, ProbeError>(())
            })
        })
        .await?;
        for Change { subject, before, after, message } in changes.iter().filter(|one| !one.before.is_empty())
        {
            let name = &row.name;
            tracing::info!(node.id = %id, "node {name}: {subject} went from {before} to {after}: {message}");
        }
        Ok(())
    }

    async fn of_network(&self, network: &str, here: &Standpoint, nodes: u64) -> Result<Vec<Reading>, Error> {
        let db = &self.context.db;
        let deep = reorg::unacknowledged(db, network).await?;
        let ahead = here.epochs_end.zip(here.expected.l2_head);
        let known = [
            ("indexer_epoch_blocks_ahead", ahead.map(|(end, head)| end.saturating_sub(head))),
            ("indexer_reorg_unacknowledged", Some(u64::from(deep.is_some()))),
        ];
        let mut all = gauges::of_network(network, nodes, known);
        all.extend(here.chains.iter().flat_map(|chain| gauges::of_chain(network, chain)));
        Ok(all)
    }

    /// Leases of chains that are followed here; old names may stay in the table for ever.
    async fn leases(&self) -> Result<Vec<Reading>, Error> {
        let mut held = BTreeMap::new();
        for served in self.context.networks.values() {
            for source in [Some(&served.l1), served.l2.as_ref()].into_iter().flatten() {
                held.insert(source.lease(), false);
            }
        }
        for lease in node_chain::leases(&self.context.db).await? {
            let ours = |(_, network): (&str, &str)| self.context.networks.contains_key(network);
            if lease.name == LEASE || lease.name.split_once(':').is_some_and(ours) {
                held.insert(lease.name, lease.held);
            }
        }
        let gauge = "indexer_lease_held";
        let all =
            held.iter().map(|(name, held)| reading(gauge, f64::from(u8::from(*held)), &[("lease", name)]));
        Ok(all.collect())
    }

    async fn balances(&self, network: &str, served: &Served, signers: Vec<Account>) -> Result<(), Error> {
        let db = &self.context.db;
        let mpc = |address, min| Account { address, name: "MPC".to_owned(), min };
        let l1 = pool_mpc(db, network).await?.map(|address| mpc(address, watch::MPC_L1_MIN));
        let l2 = epoch::parameters(db, network).await?.map(|row| mpc(row.mpc.0, watch::MPC_L2_MIN));
        let all = [(Some(&served.l1), l1, signers), (served.l2.as_ref(), l2, Vec::new())];
        for (source, mpc, signers) in all {
            let Some(Source { pool, layer, .. }) = source else { continue };
            let accounts =
                watch::accounts(&self.config.watched, network, *layer, mpc.into_iter().chain(signers));
            let asked = timeout(BALANCES_WAIT, watch::balances(pool, network, *layer, &accounts)).await;
            let readings = match asked {
                Ok(Ok(readings)) => readings,
                Ok(Err(error)) => {
                    tracing::warn!("balances on {network} cannot be read: {}", report(&error));
                    Vec::new()
                }
                Err(_) => {
                    tracing::warn!("balances on {network} cannot be read within {BALANCES_WAIT:?}");
                    Vec::new()
                }
            };
            self.panel.show(&format!("balances {network} {}", layer.name()), readings);
        }
        Ok(())
    }
}

async fn pool_mpc<C: ConnectionTrait>(
    db: &C,
    network: &str,
) -> Result<Option<alloy_primitives::Address>, Error> {
    Ok(parameters::as_of(db, network, i64::MAX).await?.map(|row| row.mpc.0))
}

fn lock(row: node_chain::Lock) -> Lock {
    let node_chain::Lock { current, status, amount, nonce, number, locked_number, locked_hash, locked_index } =
        row;
    let place = locked_number.zip(locked_hash).zip(locked_index);
    Lock {
        current,
        status: status_of(status),
        amount: amount.0,
        nonce: height(nonce),
        changed: height(number),
        locked: place
            .map(|((number, hash), index)| (height(number), hash.0, u64::try_from(index).unwrap_or(0))),
    }
}

fn missed(row: node_chain::MissedTurn) -> MissedTurn {
    let node_chain::MissedTurn { number, time, blocks_lost } = row;
    MissedTurn { block: height(number), time, blocks_lost: height(blocks_lost) }
}

fn event(row: &node::Row, change: &Change, at: OffsetDateTime) -> node_event::Row {
    let Change { subject, before, after, message } = change.clone();
    node_event::Row {
        id: 0,
        network: row.network.clone(),
        node_id: row.id,
        name: row.name.clone(),
        signer: row.signer,
        subject,
        before,
        after,
        message,
        at,
    }
}
