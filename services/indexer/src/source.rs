//! One chain of one network: where it is asked, and which of its logs are ours.

use alloy_primitives::Address;
use alloy_sol_types::SolEvent;
use chain::abi::Erc20;
use chain::event::Source as Contract;
use chain::pool::Pool;
use chain::rpc::LogFilter;
use domain::network::{NetworkSpec, Variant};

use crate::db::Layer;
use crate::reconcile::care::Care;

/// A chain that is followed.
#[derive(Debug, Clone)]
pub struct Source {
    /// Configured name of the network.
    pub network: String,
    /// Which of its chains.
    pub layer: Layer,
    /// The network.
    pub spec: NetworkSpec,
    /// What the operator says of an implementation that is not recorded.
    pub declared: Variant,
    /// Its endpoints.
    pub pool: Pool,
    /// Whether they are to be asked for logs more than once.
    pub care: Care,
}

impl Source {
    /// EIP-155 chain id.
    pub fn chain_id(&self) -> u64 {
        self.pool.chain_id()
    }

    /// First block with a log of ours.
    pub fn start(&self) -> u64 {
        match (self.layer, &self.spec.l2) {
            (Layer::L2, Some(l2)) => l2.start_block.0,
            _ => self.spec.l1.start_block.0,
        }
    }

    /// Name of the lease under which it is followed.
    pub fn lease(&self) -> String {
        Self::lease_of(self.layer, &self.network)
    }

    /// Name of the lease of a chain.
    pub fn lease_of(layer: Layer, network: &str) -> String {
        format!("{}:{network}", layer.name())
    }

    /// Everything that the contracts emit; on L1 also the METIS that came into the escrow, which alone tells
    /// how much of a relock came from rewards. Two filters, since one cannot ask for both.
    pub fn filters(&self) -> Vec<LogFilter> {
        let l1 = &self.spec.l1;
        match (self.layer, &self.spec.l2) {
            (Layer::L2, Some(l2)) => vec![LogFilter { addresses: vec![l2.sequencer_set], topics: vec![] }],
            _ => vec![
                LogFilter { addresses: vec![l1.locking_pool, l1.locking_info], topics: vec![] },
                LogFilter {
                    addresses: vec![l1.metis],
                    topics: vec![
                        vec![Erc20::Transfer::SIGNATURE_HASH],
                        vec![],
                        vec![l1.locking_info.into_word()],
                    ],
                },
            ],
        }
    }

    /// Which of our contracts an address is on this chain.
    pub fn contract(&self, address: Address) -> Option<Contract> {
        let l1 = &self.spec.l1;
        match (self.layer, &self.spec.l2) {
            (Layer::L2, Some(l2)) => (address == l2.sequencer_set).then_some(Contract::SequencerSet),
            (Layer::L2, None) => None,
            (Layer::L1, _) if address == l1.locking_pool => Some(Contract::PoolProxy),
            (Layer::L1, _) if address == l1.locking_info => Some(Contract::InfoProxy),
            (Layer::L1, _) if address == l1.metis => Some(Contract::Metis),
            (Layer::L1, _) => None,
        }
    }
}
