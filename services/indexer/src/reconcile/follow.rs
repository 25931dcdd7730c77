//! What to do next on a chain, from the block we stand on and what an endpoint says. Pure.
//!
//! An endpoint may be several nodes of unequal height behind one address, so an older or shorter head is
//! at first taken for a lagging node. A chain that really got shorter stays so, and is followed then.

use alloy_primitives::B256;
use chain::rpc::Header;

/// Looks in a row that must say the same before a shorter chain is believed: a lagging node behind a
/// shared address is followed by one that does not lag, well within so many.
pub const SHORTER_LOOKS: u32 = 3;

/// A block by height and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct At {
    /// Height.
    pub number: u64,
    /// Hash.
    pub hash: B256,
}

impl From<&Header> for At {
    fn from(header: &Header) -> Self {
        Self { number: header.number, hash: header.hash }
    }
}

/// What one endpoint said in one breath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Its newest block.
    pub latest: At,
    /// Its block at the height that we stand on, if it has one there.
    pub at_tip: Option<At>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: we are there, or the endpoint lags or contradicts itself.
    Wait,
    /// Our block is on its chain, and blocks from this height on follow.
    Extend {
        /// The first block we do not have.
        from: u64,
    },
    /// Our block is not on its chain: go back to the newest that is.
    Retreat,
}

/// Decides, and remembers how often in a row a shorter chain was seen.
#[derive(Debug, Default)]
pub struct Follow {
    shorter_looks: u32,
}

impl Follow {
    /// The next step for someone who stands on `tip`, or before `start` if on nothing.
    pub fn next(&mut self, tip: Option<At>, start: u64, sight: &Sight) -> Step {
        let Some(tip) = tip else {
            self.shorter_looks = 0;
            return if sight.latest.number >= start { Step::Extend { from: start } } else { Step::Wait };
        };
        if sight.latest.number < tip.number {
            return self.shorter(tip, sight);
        }
        self.shorter_looks = 0;
        match sight.at_tip {
            Some(theirs) if theirs.hash != tip.hash => Step::Retreat,
            Some(_) if sight.latest.number > tip.number => Step::Extend { from: tip.number + 1 },
            // At its head, or it lacks a block below its own head: another node answered that part.
            Some(_) | None => Step::Wait,
        }
    }

    fn shorter(&mut self, tip: At, sight: &Sight) -> Step {
        if sight.at_tip.is_some_and(|theirs| theirs.hash == tip.hash) {
            self.shorter_looks = 0;
            return Step::Wait;
        }
        self.shorter_looks += 1;
        if self.shorter_looks < SHORTER_LOOKS {
            return Step::Wait;
        }
        self.shorter_looks = 0;
        Step::Retreat
    }
}

/// The newest of our blocks that is on their chain too: ours from the newest down, theirs at the same heights.
pub fn common(ours: &[At], theirs: &[Option<At>]) -> Option<At> {
    ours.iter().zip(theirs).find(|(our, their)| Some(**our) == **their).map(|(our, _)| *our)
}

/// Whether headers follow one another, the first of them on `parent`.
pub fn chained(parent: Option<B256>, headers: &[Header]) -> bool {
    let first = match (parent, headers.first()) {
        (Some(parent), Some(first)) => first.parent_hash == parent,
        _ => true,
    };
    first
        && headers
            .windows(2)
            .all(|pair| pair[1].parent_hash == pair[0].hash && pair[1].number == pair[0].number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64, tag: u8) -> At {
        At { number, hash: B256::repeat_byte(tag) }
    }

    #[test]
    fn the_next_step_follows_from_what_the_endpoint_says() {
        let tip = Some(at(10, 1));
        let cases = [
            ("nothing is indexed", None, at(10, 1), None, Step::Extend { from: 5 }),
            ("the chain has not reached the start", None, at(4, 1), None, Step::Wait),
            ("we are there", tip, at(10, 1), Some(at(10, 1)), Step::Wait),
            ("blocks follow", tip, at(12, 3), Some(at(10, 1)), Step::Extend { from: 11 }),
            ("another block at our height", tip, at(12, 3), Some(at(10, 9)), Step::Retreat),
            ("another head at our height", tip, at(10, 9), Some(at(10, 9)), Step::Retreat),
            ("it contradicts itself", tip, at(12, 3), None, Step::Wait),
            ("an older head, yet it has our block", tip, at(8, 3), Some(at(10, 1)), Step::Wait),
            ("a lagging node", tip, at(8, 3), None, Step::Wait),
        ];
        for (why, tip, latest, at_tip, expected) in cases {
            assert_eq!(Follow::default().next(tip, 5, &Sight { latest, at_tip }), expected, "{why}");
        }
    }

    #[test]
    fn a_chain_that_stays_shorter_is_followed() {
        let (tip, shorter) = (Some(at(10, 1)), Sight { latest: at(8, 3), at_tip: None });
        let mut follow = Follow::default();
        let steps: Vec<Step> = (0..SHORTER_LOOKS).map(|_| follow.next(tip, 0, &shorter)).collect();
        assert_eq!(steps, [Step::Wait, Step::Wait, Step::Retreat]);
    }

    #[test]
    fn a_node_that_catches_up_in_between_was_only_lagging() {
        let (tip, shorter) = (Some(at(10, 1)), Sight { latest: at(8, 3), at_tip: None });
        let whole = Sight { latest: at(10, 1), at_tip: Some(at(10, 1)) };
        let mut follow = Follow::default();
        for sight in [&shorter, &shorter, &whole, &shorter, &shorter] {
            assert_eq!(follow.next(tip, 0, sight), Step::Wait);
        }
    }

    #[test]
    fn the_common_block_is_the_newest_that_both_have() {
        let ours = [at(10, 1), at(9, 2), at(5, 3)];
        assert_eq!(common(&ours, &[Some(at(10, 7)), Some(at(9, 2)), Some(at(5, 3))]), Some(at(9, 2)));
        assert_eq!(common(&ours, &[None, Some(at(9, 8)), Some(at(5, 9))]), None);
    }
}
