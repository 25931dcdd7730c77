//! The bridge's price for carrying a reward to L2 (P 1.10).
//!
//! The bridge keeps whatever is sent, and an empty claim keeps it too, for ever: so the quote is
//! exact, and zero where there is nothing to carry.

use alloy_primitives::U256;

use crate::amount::{Eth, Metis};

/// What the bridge says before the amount it asks for.
const INSUFFICIENT: &str = "insufficient fee supplied. send at least ";

/// The two numbers of MVM_DiscountOracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oracle {
    /// `getMinL2Gas()`: less gas is charged as if it were this much.
    pub min_l2_gas: U256,
    /// `getDiscount()`: wei for one unit of L2 gas.
    pub discount: U256,
}

/// The exact value to send with a call that would bridge `reward`.
///
/// `None` if the price does not fit in 256 bits, which no honest oracle asks.
pub fn quote(l2_gas: u32, oracle: Oracle, reward: Metis) -> Option<Eth> {
    if reward.is_zero() {
        return Some(Eth::ZERO);
    }
    U256::from(l2_gas).max(oracle.min_l2_gas).checked_mul(oracle.discount).map(Eth)
}

/// The amount that the bridge asks for in its revert message.
pub fn required(message: &str) -> Option<Eth> {
    let (_, rest) = message.split_once(INSUFFICIENT)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Eth::parse_wei(digits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAINNET: Oracle = Oracle {
        min_l2_gas: U256::from_limbs([200_000, 0, 0, 0]),
        discount: U256::from_limbs([1_000_000_000, 0, 0, 0]),
    };

    #[test]
    fn the_larger_gas_is_charged_and_nothing_for_nothing() {
        let reward = Metis::wei(1);
        let free = Oracle { discount: U256::ZERO, ..MAINNET };
        let absurd = Oracle { discount: U256::MAX, ..MAINNET };
        let table = [
            (0, MAINNET, reward, Eth::parse("0.0002").ok()),
            (200_000, MAINNET, reward, Eth::parse("0.0002").ok()),
            (300_000, MAINNET, reward, Eth::parse("0.0003").ok()),
            (300_000, MAINNET, Metis::ZERO, Some(Eth::ZERO)),
            (300_000, free, reward, Some(Eth::ZERO)),
            (0, absurd, reward, None),
            (0, absurd, Metis::ZERO, Some(Eth::ZERO)),
        ];
        for (l2_gas, oracle, reward, expected) in table {
            assert_eq!(quote(l2_gas, oracle, reward), expected, "{l2_gas} {oracle:?} {reward}");
        }
    }

    #[test]
    fn the_asked_fee_is_read_from_the_message() {
        let table = [
            ("insufficient fee supplied. send at least 200000000000000", Eth::parse("0.0002").ok()),
            ("bridge: insufficient fee supplied. send at least 7 wei", Some(Eth::wei(7))),
            ("insufficient fee supplied. send at least ", None),
            ("insufficient fee supplied. send at least -7", None),
            ("insufficient fee", None),
            ("", None),
        ];
        for (message, expected) in table {
            assert_eq!(required(message), expected, "{message:?}");
        }
    }
}
