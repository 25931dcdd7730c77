//! The exit rule of the mainnet variant: how many may leave at once (P 1.11).
//!
//! The exit *clock* is part of `phase`: it needs nothing but the block's timestamp.

/// Whether one more sequencer may unlock under the BFT rule: with the exits counted after this one,
/// at most a third of all may be exiting.
pub const fn allowed(active: u64, exiting: u64) -> bool {
    active > 0 && 3 * (exiting + 1) <= active + exiting
}

/// How many could unlock one after the other right now.
pub const fn capacity(active: u64, exiting: u64) -> u64 {
    let mut gone = 0;
    while gone < active && allowed(active - gone, exiting + gone) {
        gone += 1;
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_ten_may_exit_and_the_fourth_not() {
        assert_eq!(capacity(10, 0), 3);
        assert!(!allowed(7, 3));
    }

    #[test]
    fn with_two_or_fewer_nobody_can_exit() {
        for (active, exiting) in [(2, 0), (1, 1), (1, 0), (0, 2), (0, 0)] {
            assert!(!allowed(active, exiting), "{active} active, {exiting} exiting");
        }
        assert!(allowed(3, 0));
    }
}
