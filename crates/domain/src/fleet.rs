//! One call for many sequencers: in which order members begin, and when none may.
//!
//! Pure: the service brings what became of each member and the time; what is decided here never begins a member before
//! the canaries are confirmed, beyond what may be unfinished at once, or beyond the budget.

use crate::amount::Eth;
use crate::exit;

/// How a fleet operation goes about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// So many of the first members must be confirmed before the others begin.
    pub canary: usize,
    /// Most members that are unfinished at once; at least 1.
    pub in_flight_max: usize,
    /// Seconds between two beginnings.
    pub interval_secs: u64,
    /// Most that all may cost.
    pub budget: Option<Eth>,
}

/// Where a member stands. Left out ones are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// Not begun; costs at most this much.
    Planned(Eth),
    /// Not begun: its checks failed when its turn came, and will not mend by waiting.
    Refused,
    /// Begun, not final; may still cost at most this much in all.
    Open(Eth),
    /// Done, for this much.
    Confirmed(Eth),
    /// Failed, cancelled or expired, for this much.
    Ended(Eth),
}

/// Why no member begins now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Canaries are not confirmed yet.
    Canary,
    /// As many are unfinished as may be.
    InFlight,
    /// The next may begin in so many seconds.
    Interval(u64),
    /// The BFT rule lets nobody exit until exits under way are counted (P 1.11).
    Exits,
    /// Every member has begun; some are not final.
    Results,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Begin the member at this place.
    Begin(usize),
    /// Nothing now.
    Wait(Wait),
    /// The canary at this place ended without being confirmed: the rest is not begun.
    CanaryFailed(usize),
    /// The next member could exceed the budget: so much is spent or reserved, so much more it needs at most.
    Budget {
        /// Spent and reserved.
        used: Eth,
        /// What the next needs at most.
        needed: Eth,
    },
    /// Every member has a final result.
    Done,
}

/// The counts that the BFT rule looks at; only for exits from a contract that may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exits {
    /// `seqStatuses(2)`.
    pub active: u64,
    /// `seqStatuses(1)`.
    pub exiting: u64,
}

impl Exits {
    /// Whether one more may exit when so many exits of ours may not be counted yet. Those that are count twice, which
    /// only waits longer.
    fn allows_one_more(self, under_way: u64) -> bool {
        exit::allowed(self.active.saturating_sub(under_way), self.exiting.saturating_add(under_way))
    }
}

/// Decides the next step. `since_last` is how long ago the last member began; none if none has. `passed_over` are
/// places whose member waits for something of its own, as another operation of its sequencer: others go on meanwhile.
pub fn next(
    terms: &Terms,
    members: &[Member],
    passed_over: &[usize],
    exits: Option<Exits>,
    since_last: Option<u64>,
) -> Next {
    let canaries = &members[..terms.canary.min(members.len())];
    let ended = |member: &Member| matches!(member, Member::Refused | Member::Ended(_));
    if let Some(place) = canaries.iter().position(ended) {
        return Next::CanaryFailed(place);
    }
    let proven = canaries.iter().all(|member| matches!(member, Member::Confirmed(_)));
    let open = members.iter().filter(|member| matches!(member, Member::Open(_))).count();
    let planned = |place: usize| matches!(members[place], Member::Planned(_));
    let Some(any) = (0..members.len()).find(|place| planned(*place)) else {
        return if open == 0 { Next::Done } else { Next::Wait(Wait::Results) };
    };
    if !proven && any >= canaries.len() {
        return Next::Wait(Wait::Canary);
    }
    let last = if proven { members.len() } else { canaries.len() };
    let Some(place) = (any..last).find(|place| planned(*place) && !passed_over.contains(place)) else {
        return Next::Wait(Wait::Results);
    };
    if open >= terms.in_flight_max {
        return Next::Wait(Wait::InFlight);
    }
    if let Some(left) =
        since_last.and_then(|since| terms.interval_secs.checked_sub(since)).filter(|left| *left > 0)
    {
        return Next::Wait(Wait::Interval(left));
    }
    if exits.is_some_and(|exits| !exits.allows_one_more(open as u64)) {
        return Next::Wait(Wait::Exits);
    }
    within_budget(terms, members, place)
}

/// The places of at most `most` members that may begin together, each counted as begun in `members`, and what would come
/// next. Canaries go one by one: the first that is refused keeps the others back.
pub fn together(
    terms: &Terms,
    members: &mut [Member],
    passed_over: &[usize],
    exits: Option<Exits>,
    mut since_last: Option<u64>,
    most: usize,
) -> (Vec<usize>, Next) {
    let mut places: Vec<usize> = Vec::new();
    loop {
        let then = next(terms, members, passed_over, exits, since_last);
        let full = places.len() >= most || places.last().is_some_and(|place| *place < terms.canary);
        let (Next::Begin(place), false) = (then, full) else { return (places, then) };
        if let Member::Planned(cost) = members[place] {
            members[place] = Member::Open(cost);
        }
        places.push(place);
        since_last = Some(0);
    }
}

fn within_budget(terms: &Terms, members: &[Member], place: usize) -> Next {
    let needed = match members[place] {
        Member::Planned(most) => most,
        _ => Eth::ZERO,
    };
    let used = used(members);
    match terms.budget {
        Some(budget) if used.checked_add(needed).is_none_or(|all| all > budget) => {
            Next::Budget { used, needed }
        }
        _ => Next::Begin(place),
    }
}

/// What is spent, and the most that unfinished members can still cost.
pub fn used(members: &[Member]) -> Eth {
    members.iter().fold(Eth::ZERO, |sum, member| match member {
        Member::Open(eth) | Member::Confirmed(eth) | Member::Ended(eth) => {
            sum.checked_add(*eth).unwrap_or(Eth::MAX)
        }
        Member::Planned(_) | Member::Refused => sum,
    })
}

#[cfg(test)]
mod tests;
