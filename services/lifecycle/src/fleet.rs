//! What every part of this service works with: the database, the networks, the neighbours, the wake-ups.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use api::{convert, reasons};
use chain::pool::Pool;
use domain::approval::Rule;
use domain::network::Variant;
use runtime::errors::Refusal;
use sea_orm::DatabaseConnection;
use store::Holder;
use store::lease::Claim;
use store::notify::Listener;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Config;
use crate::db::SCHEMA;
use crate::failpoint::Failpoints;
use crate::head::Head;
use crate::market::Market;
use crate::metrics::Metrics;
use crate::neighbours::Neighbours;
use crate::notify::Desk;
use crate::operations::intake::Intake;

/// One network as lifecycle needs it: its L1 and the contracts there.
#[derive(Debug)]
pub struct Chain {
    pub name: String,
    pub chain_id: u64,
    pub l1: Pool,
    pub locking_pool: Address,
    pub locking_info: Address,
    pub metis: Address,
    pub bridge: Address,
    /// Blocks on top of a transaction's before it counts as done.
    pub confirmations: u64,
    /// Variant of the implementation that stood behind the pool at the start.
    pub variant: Variant,
    /// That implementation, if the chain could be asked.
    pub implementation: Option<Address>,
    /// What gas costs there.
    pub market: Market,
    /// Its newest block.
    pub head: Head,
}

impl Chain {
    /// The variant of an implementation behind the pool (P 1.2, 1.11). What the operator declared is about the one that
    /// stood there at the start: of another one nothing is known.
    pub fn variant_of(&self, implementation: Address) -> Variant {
        let unchanged = self.implementation.is_none_or(|known| known == implementation);
        if unchanged { self.variant } else { Variant::of(self.chain_id, implementation) }
    }

    /// Those contracts that our operations call.
    pub fn contracts(&self) -> [Address; 3] {
        [self.locking_pool, self.locking_info, self.metis]
    }

    /// The chain id as the tables hold it.
    pub fn chain_id_column(&self) -> i64 {
        // Chain ids above 2^63 do not exist; such a configuration would find no row.
        i64::try_from(self.chain_id).unwrap_or(i64::MAX)
    }
}

/// Shared by all calls and loops of this service.
#[derive(Debug)]
pub struct Fleet {
    pub db: DatabaseConnection,
    /// Where new operations are stored together.
    pub intake: Intake,
    pub networks: BTreeMap<String, Arc<Chain>>,
    pub neighbours: Neighbours,
    pub config: Config,
    /// When others must approve, from the configuration.
    pub approval_rules: Vec<Rule>,
    /// The wall clock.
    pub clock: Clock,
    pub failpoints: Failpoints,
    pub desk: Desk,
    /// Notifications of all replicas.
    pub wakes: Listener,
    /// Something happened in this replica that loops may act on.
    pub work: watch::Sender<()>,
    pub metrics: Metrics,
    /// Who holds our leases.
    pub holder: Holder,
}

impl Fleet {
    /// A configured network, named in `field` of a request.
    pub fn network(&self, field: &str, name: &str) -> Result<&Arc<Chain>, Refusal> {
        convert::required(field, name)?;
        self.networks.get(name).ok_or_else(|| {
            convert::bad(
                &reasons::NETWORK_NOT_FOUND,
                field,
                format!("network `{name}` is not configured here"),
            )
            .meta("network", name)
        })
    }

    /// A lease of this service under this name.
    pub fn claim(&self, name: String) -> Claim {
        Claim {
            schema: SCHEMA,
            name,
            holder: self.holder.clone(),
            ttl: Duration::from_millis(self.config.lease_ttl_ms),
        }
    }

    /// Makes every loop of this replica look.
    pub fn wake(&self) {
        self.work.send_modify(|()| ());
    }

    /// Longest time between two looks of a loop.
    pub fn look_every(&self) -> Duration {
        Duration::from_millis(self.config.look_every_ms)
    }
}
