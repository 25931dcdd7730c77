//! The fee budget of a day, for a network and for the sequencers with a label: counted in the transaction that plans an
//! attempt, so that no two lanes spend the same wei.

use alloy_primitives::U256;
use domain::amount::Eth;
use sea_orm::ConnectionTrait;

use crate::config::Fees;
use crate::db::{fees, sequencer, transaction};
use crate::error::Error;
use store::column::Wei;
use uuid::Uuid;

/// A budget that would be passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{of} may cost {budget} ETH in 24 hours: {spent} are spent, {reserved} reserved for what is in flight, and this \
     needs up to {needed}; goes on by itself as older fees drop out, or when the budget is raised"
)]
pub struct Spent {
    of: String,
    budget: Eth,
    spent: Eth,
    reserved: Eth,
    needed: Eth,
}

/// The most that a form of a transaction can cost.
pub fn cost_max(row: &transaction::Row, max_fee: Wei) -> U256 {
    let gas = U256::from(u64::try_from(row.gas_limit).unwrap_or_default());
    gas.saturating_mul(max_fee.0).saturating_add(row.value.0)
}

/// The first budget that a transaction would pass. Whoever asks holds the count until its transaction ends.
pub async fn passed<C: ConnectionTrait>(
    tx: &C,
    config: &Fees,
    network: &str,
    about: Uuid,
    row: &transaction::Row,
    needed: U256,
) -> Result<Option<Spent>, Error> {
    if config.budget_per_day_wei.is_none() && config.budgets.is_empty() {
        return Ok(None);
    }
    fees::lock_budget(tx, network).await?;
    let mut bounds = Vec::new();
    if let Some(budget) = config.budget_per_day_wei {
        bounds.push((network.to_owned(), budget, None));
    }
    let labels = sequencer::of_id(tx, about).await?.map(|row| row.labels()).unwrap_or_default();
    for one in config.budgets.iter().filter(|one| labels.get(&one.label) == Some(&one.value)) {
        let of = format!("{network}, {}={}", one.label, one.value);
        bounds.push((of, one.per_day_wei, Some(serde_json::json!({ &one.label: &one.value }))));
    }
    for (of, budget, labels) in bounds {
        let (spent, reserved) = fees::cost_of_a_day(tx, network, labels, row.id).await?;
        let budget = U256::from(budget);
        if spent.saturating_add(reserved).saturating_add(needed) > budget {
            let [budget, spent, reserved, needed] = [budget, spent, reserved, needed].map(Eth);
            return Ok(Some(Spent { of, budget, spent, reserved, needed }));
        }
    }
    Ok(None)
}
