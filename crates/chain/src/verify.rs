//! Whether the contracts on the chain are those of the configuration, before anything is done with
//! them. A mismatch is fatal at start: the wrong contract must not be indexed, let alone be paid.

use std::fmt;

use alloy_primitives::Address;
use domain::network::{NetworkSpec, Variant};

use crate::pool::Pool;
use crate::rpc::{BlockId, RpcError, call};
use crate::views;

/// Something on the chain that is not as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The pool of endpoints is for another chain.
    Chain {
        /// Chain id of the configuration.
        expected: u64,
        /// Chain id of the endpoints.
        found: u64,
    },
    /// There is no contract at the address.
    NoCode {
        /// Which contract.
        contract: &'static str,
        /// Where it should be.
        address: Address,
    },
    /// A contract names another one than the configuration.
    Address {
        /// Who was asked for what, such as `LockingPool.escrow()`.
        question: &'static str,
        /// What the configuration says.
        expected: Address,
        /// What the contract says.
        found: Address,
    },
    /// LockingInfo bridges to another L2.
    L2Chain {
        /// What the configuration says.
        expected: u64,
        /// What the contract says.
        found: u64,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain { expected, found } => write!(f, "the endpoints serve chain {found}, not {expected}"),
            Self::NoCode { contract, address } => {
                write!(f, "there is no contract at {address}, where {contract} should be")
            }
            Self::Address { question, expected, found } => write!(f, "{question} is {found}, not {expected}"),
            Self::L2Chain { expected, found } => {
                write!(f, "LockingInfo.l2ChainId() is {found}, not {expected}")
            }
        }
    }
}

/// Why contracts are not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The chain could not be asked: nothing is known.
    #[error("reading the contracts of network {network}")]
    Read {
        /// The network.
        network: String,
        /// The cause; a revert means that the contract is not what it should be.
        #[source]
        source: RpcError,
    },
    /// The chain was asked and disagrees.
    #[error("network {network} is not as configured: {}", sentence(.mismatches))]
    Mismatched {
        /// The network.
        network: String,
        /// Everything that is wrong.
        mismatches: Vec<Mismatch>,
    },
}

/// What stands behind the proxies on L1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L1Contracts {
    /// How the pool behaves; [`Variant::Unknown`] for an implementation that was not recorded.
    pub variant: Variant,
    /// Implementation of LockingPool; the zero address if it is no EIP-1967 proxy.
    pub pool_implementation: Address,
    /// Implementation of LockingInfo; the zero address if it is no EIP-1967 proxy.
    pub info_implementation: Address,
}

/// Checks the L1 contracts, and says what stands behind them.
///
/// # Errors
/// If the chain disagrees with the configuration, or cannot be asked.
pub async fn l1(spec: &NetworkSpec, chain: &Pool) -> Result<L1Contracts, VerifyError> {
    let l1 = &spec.l1;
    let contracts = [
        ("LockingPool", l1.locking_pool),
        ("LockingInfo", l1.locking_info),
        ("METIS", l1.metis),
        ("the bridge", l1.bridge),
    ];
    codes(spec, chain, l1.chain_id, &contracts).await?;
    let at = BlockId::Latest;
    let questions = (
        views::pool_parameters(l1.locking_pool, at),
        views::escrow_parameters(l1.locking_info, at),
        views::implementation(l1.locking_pool, at),
        views::implementation(l1.locking_info, at),
    );
    let answers = chain.ask(questions).await.map_err(|source| read(spec, source))?;
    let (pool, info, pool_implementation, info_implementation) = answers;

    let addresses = [
        ("LockingPool.escrow()", l1.locking_info, pool.escrow),
        ("LockingInfo.manager()", l1.locking_pool, info.manager),
        ("LockingInfo.l1Token()", l1.metis, info.l1_token),
        ("LockingInfo.bridge()", l1.bridge, info.bridge),
    ];
    let differing = addresses.into_iter().filter(|(_, expected, found)| expected != found);
    let mut mismatches: Vec<Mismatch> = differing
        .map(|(question, expected, found)| Mismatch::Address { question, expected, found })
        .collect();
    if let Some(l2) = spec.l2.as_ref().filter(|l2| l2.chain_id != info.l2_chain_id) {
        mismatches.push(Mismatch::L2Chain { expected: l2.chain_id, found: info.l2_chain_id });
    }
    agreed(spec, mismatches)?;
    let variant = Variant::of(l1.chain_id, pool_implementation);
    Ok(L1Contracts { variant, pool_implementation, info_implementation })
}

/// Checks the L2 contract; a network without one agrees with every chain.
///
/// # Errors
/// If the chain disagrees with the configuration, or cannot be asked.
pub async fn l2(spec: &NetworkSpec, chain: &Pool) -> Result<(), VerifyError> {
    let Some(l2) = &spec.l2 else { return Ok(()) };
    codes(spec, chain, l2.chain_id, &[("MetisSequencerSet", l2.sequencer_set)]).await?;
    // Only the right contract answers this; what it answers is the indexer's business.
    let epoch = chain.ask(views::current_epoch(l2.sequencer_set, BlockId::Latest)).await;
    epoch.map(drop).map_err(|source| read(spec, source))
}

/// Whether the chain is the right one, with a contract at each address.
async fn codes(
    spec: &NetworkSpec,
    chain: &Pool,
    chain_id: u64,
    contracts: &[(&'static str, Address)],
) -> Result<(), VerifyError> {
    if chain.chain_id() != chain_id {
        return agreed(spec, vec![Mismatch::Chain { expected: chain_id, found: chain.chain_id() }]);
    }
    let questions: Vec<_> =
        contracts.iter().map(|(_, address)| call::code(*address, BlockId::Latest)).collect();
    let codes = chain.ask(questions).await.map_err(|source| read(spec, source))?;
    let missing = contracts.iter().zip(codes).filter(|(_, code)| code.is_empty());
    let missing = missing.map(|((contract, address), _)| Mismatch::NoCode { contract, address: *address });
    agreed(spec, missing.collect())
}

fn agreed(spec: &NetworkSpec, mismatches: Vec<Mismatch>) -> Result<(), VerifyError> {
    if mismatches.is_empty() {
        return Ok(());
    }
    Err(VerifyError::Mismatched { network: spec.name.to_string(), mismatches })
}

fn read(spec: &NetworkSpec, source: RpcError) -> VerifyError {
    VerifyError::Read { network: spec.name.to_string(), source }
}

fn sentence(mismatches: &[Mismatch]) -> String {
    mismatches.iter().map(Mismatch::to_string).collect::<Vec<_>>().join("; ")
}
