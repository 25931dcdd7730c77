//! The ledger is compared with the contracts: unclaimed must be `sequencers(id).reward`, to the wei.

use std::collections::BTreeMap;
use std::time::Duration;

use api::indexer::v1::ReadContractRecordsRequest;
use domain::amount::Metis;
use domain::ids::SequencerId;
use runtime::shutdown::Shutdown;
use sea_orm::DatabaseConnection;
use tracing::{error, warn};

use crate::db::entry::Sums;
use crate::db::reconciliation::Reconciliation;
use crate::db::{self, Block};
use crate::{Indexer, metrics};

/// Sequencers compared at once; the pool has a few dozen.
const SEQUENCERS_MAX: u32 = 500;

/// Compares one network at intervals. Assumes nothing; leaves behind the row of the last comparison. Twice is
/// harmless: both write the same.
pub struct Loop {
    /// Network.
    pub network: String,
    /// Between two comparisons.
    pub interval: Duration,
    /// Our schema.
    pub database: DatabaseConnection,
    /// The indexer, which reads the contracts for us.
    pub indexer: Indexer,
    /// When to end.
    pub shutdown: Shutdown,
}

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Our own tables.
    #[error("reading the ledger")]
    Store(#[from] store::Error),
    /// The indexer or its chain.
    #[error("reading the contracts through the indexer")]
    Indexer(#[from] tonic::Status),
    /// Not what a contract answers.
    #[error("the contracts cannot have answered {0:?}")]
    Nonsense(String),
}

impl Loop {
    /// Runs until the drain begins.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.shutdown.draining() => return,
                () = tokio::time::sleep(self.interval) => {}
            }
            match self.compare().await {
                Ok(None) => {}
                Ok(Some(result)) => {
                    metrics::drift(&self.network, result.drift);
                    if result.drift > 0 {
                        error!(network = %self.network, drift = result.drift, "the ledger differs: {}", result.first_difference);
                    }
                }
                Err(error) => warn!(network = %self.network, "{}", runtime::report(&error)),
            }
        }
    }

    /// Compares at the block where the ledger stands; nothing if the ledger moved meanwhile.
    async fn compare(&mut self) -> Result<Option<Reconciliation>, Error> {
        let Some(position) = db::position::of_network(&self.database, &self.network).await? else {
            return Ok(None);
        };
        let Block { number, .. } = position.block;
        let request = ReadContractRecordsRequest {
            network: self.network.clone(),
            sequencer_ids: Vec::new(),
            at_block: number.0,
        };
        let records = self.indexer.read_contract_records(request).await?.into_inner().records;
        let sums =
            db::entry::sums(&self.database, &self.network, number, SequencerId(0), SEQUENCERS_MAX).await?;
        let now = db::position::of_network(&self.database, &self.network).await?;
        if now.is_none_or(|now| now.block.hash != position.block.hash && now.block.number <= number) {
            // A reorganisation in between: the two sides may speak of different chains.
            return Ok(None);
        }
        let mut contract = BTreeMap::new();
        for record in records {
            let nonsense = || Error::Nonsense(format!("{}: {}", record.sequencer_id, record.reward_wei));
            let id: SequencerId = record.sequencer_id.parse().map_err(|_| nonsense())?;
            contract.insert(id, Metis::parse_wei(&record.reward_wei).map_err(|_| nonsense())?);
        }
        let (drift, first_difference) = differences(&sums.into_iter().collect(), &contract);
        let result = Reconciliation { block: position.block, drift, first_difference };
        db::reconciliation::store(&self.database, &self.network, &result).await?;
        Ok(Some(result))
    }
}

/// How many sequencers differ, and the first one in words.
fn differences(
    ledger: &BTreeMap<SequencerId, Sums>,
    contract: &BTreeMap<SequencerId, Metis>,
) -> (u64, String) {
    let mut drift = 0;
    let mut first = String::new();
    for id in ledger.keys().chain(contract.keys().filter(|id| !ledger.contains_key(id))) {
        let sums = ledger.get(id).copied().unwrap_or_default();
        let chain = contract.get(id).copied().unwrap_or_default();
        let ours = sums.unclaimed();
        if ours != Some(chain) {
            drift += 1;
            if first.is_empty() {
                let ours = ours.map_or("less than nothing".to_owned(), Metis::wei_string);
                first = format!(
                    "unclaimed of sequencer {id}: ledger {ours} wei, contract {} wei",
                    chain.wei_string()
                );
            }
        }
    }
    (drift, first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accrued(wei: u64) -> Sums {
        Sums { accrued: Metis::wei(wei), ..Sums::default() }
    }

    #[test]
    fn equal_sides_do_not_drift() {
        let ledger = BTreeMap::from([(SequencerId(1), accrued(5))]);
        let contract = BTreeMap::from([(SequencerId(1), Metis::wei(5)), (SequencerId(2), Metis::ZERO)]);
        assert_eq!(differences(&ledger, &contract), (0, String::new()));
    }

    #[test]
    fn one_wei_is_a_drift_and_is_named() {
        let ledger = BTreeMap::from([(SequencerId(1), accrued(5)), (SequencerId(2), accrued(1))]);
        let contract = BTreeMap::from([(SequencerId(1), Metis::wei(5)), (SequencerId(2), Metis::wei(2))]);
        let (drift, first) = differences(&ledger, &contract);
        assert_eq!(drift, 1);
        assert_eq!(first, "unclaimed of sequencer 2: ledger 1 wei, contract 2 wei");
    }

    #[test]
    fn paying_out_more_than_was_earned_is_a_drift() {
        let over = Sums { claimed: Metis::wei(6), ..accrued(5) };
        assert_eq!(differences(&BTreeMap::from([(SequencerId(1), over)]), &BTreeMap::new()).0, 1);
    }
}
