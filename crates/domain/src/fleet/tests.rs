use proptest::prelude::*;

use super::*;

const TERMS: Terms = Terms { canary: 1, in_flight_max: 2, interval_secs: 0, budget: None };

fn planned() -> Member {
    Member::Planned(Eth::wei(10))
}

fn confirmed() -> Member {
    Member::Confirmed(Eth::wei(4))
}

fn open() -> Member {
    Member::Open(Eth::wei(10))
}

fn decide(terms: &Terms, members: &[Member]) -> Next {
    next(terms, members, &[], None, None)
}

#[test]
fn the_canary_goes_first_and_alone() {
    assert_eq!(decide(&TERMS, &[planned(), planned()]), Next::Begin(0));
    assert_eq!(decide(&TERMS, &[open(), planned()]), Next::Wait(Wait::Canary));
    assert_eq!(decide(&TERMS, &[confirmed(), planned()]), Next::Begin(1));
}

#[test]
fn a_canary_that_fails_or_is_refused_ends_it() {
    for bad in [Member::Ended(Eth::wei(1)), Member::Refused] {
        assert_eq!(decide(&TERMS, &[bad, planned()]), Next::CanaryFailed(0));
    }
    let two = Terms { canary: 2, ..TERMS };
    assert_eq!(decide(&two, &[open(), Member::Refused, planned()]), Next::CanaryFailed(1));
    let others = [confirmed(), Member::Ended(Eth::wei(1)), planned()];
    assert_eq!(decide(&TERMS, &others), Next::Begin(2), "only canaries stop the rest");
}

#[test]
fn no_more_than_may_be_are_unfinished() {
    assert_eq!(decide(&TERMS, &[confirmed(), open(), open(), planned()]), Next::Wait(Wait::InFlight));
    assert_eq!(decide(&TERMS, &[confirmed(), open(), confirmed(), planned()]), Next::Begin(3));
}

#[test]
fn an_interval_is_kept() {
    let terms = Terms { interval_secs: 60, ..TERMS };
    let at = |since| next(&terms, &[confirmed(), planned()], &[], None, Some(since));
    assert_eq!(at(59), Next::Wait(Wait::Interval(1)));
    assert_eq!(at(60), Next::Begin(1));
}

#[test]
fn a_budget_counts_the_most_that_unfinished_members_can_cost() {
    let members = [confirmed(), open(), planned()];
    let with = |wei| decide(&Terms { budget: Some(Eth::wei(wei)), ..TERMS }, &members);
    assert_eq!(with(23), Next::Budget { used: Eth::wei(14), needed: Eth::wei(10) });
    assert_eq!(with(24), Next::Begin(2));
}

#[test]
fn exits_wait_for_the_bft_rule() {
    let terms = Terms { canary: 0, in_flight_max: 5, ..TERMS };
    let with = |active, exiting, members: &[Member]| {
        next(&terms, members, &[], Some(Exits { active, exiting }), None)
    };
    assert_eq!(with(10, 2, &[planned(), planned()]), Next::Begin(0));
    assert_eq!(with(10, 3, &[planned(), planned()]), Next::Begin(0), "13 in all: four may");
    assert_eq!(with(7, 3, &[planned()]), Next::Wait(Wait::Exits));
    assert_eq!(
        with(8, 2, &[open(), planned()]),
        Next::Wait(Wait::Exits),
        "the open one may not be counted yet"
    );
}

#[test]
fn who_waits_for_something_of_its_own_is_passed_over() {
    let members = [confirmed(), planned(), planned()];
    assert_eq!(next(&TERMS, &members, &[1], None, None), Next::Begin(2));
    assert_eq!(next(&TERMS, &members, &[1, 2], None, None), Next::Wait(Wait::Results));
    assert_eq!(
        next(&TERMS, &[planned(), planned()], &[0], None, None),
        Next::Wait(Wait::Results),
        "a canary is not"
    );
}

#[test]
fn those_who_begin_together_keep_every_limit_as_if_one_by_one() {
    let many = Terms { in_flight_max: 5, ..TERMS };
    let begun = |terms: &Terms, exits, mut members: Vec<Member>| {
        let (places, then) = together(terms, &mut members, &[], exits, None, 3);
        assert!(places.iter().all(|place| members[*place] == open()), "they count as begun");
        (places, then)
    };
    let rest = |count| [vec![confirmed()], vec![planned(); count]].concat();
    assert_eq!(begun(&many, None, rest(9)), (vec![1, 2, 3], Next::Begin(4)), "not more than asked for");
    assert_eq!(begun(&many, None, rest(2)), (vec![1, 2], Next::Wait(Wait::Results)));
    let two = Terms { in_flight_max: 2, ..TERMS };
    assert_eq!(begun(&two, None, rest(9)), (vec![1, 2], Next::Wait(Wait::InFlight)));
    let slow = Terms { interval_secs: 60, ..many.clone() };
    assert_eq!(begun(&slow, None, rest(9)), (vec![1], Next::Wait(Wait::Interval(60))));
    let poor = Terms { budget: Some(Eth::wei(24)), ..many.clone() };
    let stops = Next::Budget { used: Eth::wei(24), needed: Eth::wei(10) };
    assert_eq!(begun(&poor, None, rest(9)), (vec![1, 2], stops));
    let exits = Some(Exits { active: 10, exiting: 2 });
    assert_eq!(begun(&many, exits, rest(9)), (vec![1, 2], Next::Wait(Wait::Exits)));
    let canaries = Terms { canary: 2, ..many };
    assert_eq!(begun(&canaries, None, vec![planned(); 4]), (vec![0], Next::Begin(1)), "canaries one by one");
}

#[test]
fn it_is_done_when_every_member_is_final() {
    assert_eq!(decide(&TERMS, &[confirmed(), Member::Ended(Eth::ZERO), Member::Refused]), Next::Done);
    assert_eq!(decide(&TERMS, &[confirmed(), open()]), Next::Wait(Wait::Results));
    assert_eq!(decide(&TERMS, &[]), Next::Done);
}

proptest! {
    /// Whatever becomes of the members, and in whatever order, the limits hold and it ends.
    #[test]
    fn every_run_keeps_its_limits_and_ends(
        fates in proptest::collection::vec((0_u64..20, proptest::bool::weighted(0.8)), 0..30),
        canary in 0_usize..4, in_flight_max in 1_usize..5, budget in proptest::option::of(0_u64..400),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 100),
    ) {
        let terms = Terms { canary, in_flight_max, interval_secs: 0, budget: budget.map(Eth::wei) };
        let mut members = vec![Member::Planned(Eth::wei(20)); fates.len()];
        let mut order = order.into_iter();
        for _ in 0..200 {
            let decided = decide(&terms, &members);
            let unfinished: Vec<usize> = (0..members.len())
                .filter(|place| matches!(members[*place], Member::Open(_))).collect();
            match decided {
                Next::Begin(place) => {
                    prop_assert!(unfinished.len() < in_flight_max);
                    let rest = place >= canary;
                    let proven = members[..canary.min(members.len())].iter()
                        .all(|member| matches!(member, Member::Confirmed(_)));
                    prop_assert!(!rest || proven);
                    members[place] = Member::Open(Eth::wei(20));
                    if let Some(budget) = terms.budget {
                        prop_assert!(used(&members) <= budget);
                    }
                }
                Next::Wait(_) => {
                    prop_assert!(!unfinished.is_empty(), "it waits for nothing: {:?}", members);
                    let Some(pick) = order.next() else { break };
                    let place = unfinished[pick.index(unfinished.len())];
                    let (cost, good) = fates[place];
                    members[place] = if good { Member::Confirmed(Eth::wei(cost)) } else { Member::Ended(Eth::wei(cost)) };
                }
                Next::CanaryFailed(place) => {
                    prop_assert!(place < canary);
                    return Ok(());
                }
                Next::Budget { used, needed } => {
                    let left = terms.budget.unwrap_or(Eth::MAX);
                    prop_assert!(used.checked_add(needed).is_none_or(|all| all > left));
                    return Ok(());
                }
                Next::Done => {
                    prop_assert!(members.iter().all(|member| matches!(member, Member::Confirmed(_) | Member::Ended(_))));
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "it never ended");
    }
}
