//! When a claim is worth its cost.
//!
//! Gas and bridge fee are paid in ETH and the reward comes in METIS, so the answer hangs on a price
//! that the caller names; nothing here looks one up.

use alloy_primitives::{U256, U512};

use super::narrow;
use crate::amount::{Eth, Metis, WEI_PER_UNIT};

/// The reward from which a claim earns `multiple` times its cost.
///
/// `cost` is gas and bridge fee together, `metis_per_eth` the price of one ETH. Rounded up: at the
/// answer the claim is worth it, below it is not. `None` if the answer does not fit in 256 bits.
pub fn break_even(cost: Eth, metis_per_eth: Metis, multiple: u64) -> Option<Metis> {
    let wanted = U512::from(cost.0.checked_mul(U256::from(multiple))?);
    let reward = (wanted * U512::from(metis_per_eth.0)).div_ceil(U512::from(WEI_PER_UNIT));
    narrow(reward).map(Metis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reward_must_cover_its_cost_so_many_times() {
        let cost = Eth::parse("0.0012").expect("a number");
        let table = [
            (cost, Metis::whole(50), 1, Metis::parse("0.06").ok()),
            (cost, Metis::whole(50), 10, Metis::parse("0.6").ok()),
            (Eth::ZERO, Metis::whole(50), 10, Some(Metis::ZERO)),
            // A third of a wei costs a whole one.
            (Eth::wei(1), Metis::parse("0.333").expect("a number"), 1, Some(Metis::wei(1))),
            (Eth::MAX, Metis::whole(1), 1, Some(Metis::MAX)),
            (Eth::MAX, Metis::whole(2), 1, None),
            (Eth::MAX, Metis::whole(1), 2, None),
        ];
        for (cost, price, multiple, expected) in table {
            assert_eq!(break_even(cost, price, multiple), expected, "{cost} {price} {multiple}");
        }
    }
}
