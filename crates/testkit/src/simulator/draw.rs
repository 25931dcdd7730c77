//! Who produces next: drawn by power for an epoch, evenly for a re-span (P 3.6).
//!
//! The chances are the real ones; the dice are not, so results are not those of themis.

use alloy_primitives::Address;
use sha2::{Digest, Sha256};

/// One of the candidates, with a chance in proportion to its power.
pub(super) fn by_power(candidates: &[(Address, u64)], seed: u64, epoch: u64) -> Option<Address> {
    let total: u64 = candidates.iter().map(|(_, power)| *power).sum();
    let mut left = dice(seed, "epoch", epoch, total)?;
    for (signer, power) in candidates {
        if left < *power {
            return Some(*signer);
        }
        left -= power;
    }
    None
}

/// One of the candidates, all with the same chance.
pub(super) fn evenly(candidates: &[Address], seed: u64, height: u64) -> Option<Address> {
    let place = dice(seed, "respan", height, candidates.len().try_into().ok()?)?;
    candidates.get(usize::try_from(place).ok()?).copied()
}

/// A repeatable number below `sides`.
fn dice(seed: u64, what: &str, round: u64, sides: u64) -> Option<u64> {
    let digest = Sha256::digest(format!("{seed} {what} {round}"));
    let (first, _) = digest.split_first_chunk::<8>()?;
    u64::from_be_bytes(*first).checked_rem(sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_decides_how_often_one_is_drawn() {
        let [one, three, none] = [1, 2, 3].map(Address::repeat_byte);
        let candidates = [(one, 20_000), (three, 60_000), (none, 0)];
        let drawn: Vec<_> = (0..4_000).filter_map(|epoch| by_power(&candidates, 7, epoch)).collect();
        let times = |who| drawn.iter().filter(|drawn| **drawn == who).count();
        assert_eq!(times(one) + times(three), 4_000);
        assert!((900..1_100).contains(&times(one)), "{} of 4000", times(one));
    }

    #[test]
    fn nobody_is_drawn_from_nobody() {
        assert_eq!(by_power(&[], 0, 0), None);
        assert_eq!(by_power(&[(Address::ZERO, 0)], 0, 0), None);
        assert_eq!(evenly(&[], 0, 0), None);
    }
}
