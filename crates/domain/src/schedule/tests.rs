use super::*;

const T0: Timestamp = Timestamp(1_700_000_000);

fn worth(times_cost: u32) -> WorthIt {
    WorthIt { every_days: 7, times_cost, metis_price: Eth::wei(METIS_WEI / 100) }
}

fn facts() -> Facts {
    Facts {
        now: T0,
        slot: T0,
        status: Some(Status::Active),
        principal: Metis::whole(20_000),
        reward: Metis::whole(10),
        max_lock: Metis::whole(100_000),
        unlock_claim_time: Timestamp(0),
        cost: Eth::wei(METIS_WEI / 100),
        hindrance: None,
    }
}

fn words(decision: &Decision) -> &str {
    match decision {
        Decision::Do { because } | Decision::NotNow { because, .. } | Decision::Over { because } => because,
    }
}

#[test]
fn a_reward_is_claimed_when_it_is_worth_so_many_times_its_cost() {
    // 10 METIS at 0.01 ETH are worth ten times 0.01 ETH.
    assert!(matches!(decide(&Rule::Claim(worth(10)), &facts()), Decision::Do { .. }));
    let not = decide(&Rule::Claim(worth(11)), &facts());
    assert_eq!(
        not,
        Decision::NotNow {
            because: "10 METIS of reward are not worth 11 times the cost of 0.01 ETH".to_owned(),
            again: T0.plus(7 * DAY),
            settled: true,
        }
    );
    let free = Facts { reward: Metis::wei(1), ..facts() };
    assert!(matches!(decide(&Rule::Claim(worth(0)), &free), Decision::Do { .. }), "0 is always");
}

#[test]
fn a_reward_beyond_the_cap_is_not_compounded_at_all() {
    let rule = Rule::Compound(worth(1));
    assert!(matches!(decide(&rule, &facts()), Decision::Do { .. }));
    let exactly = Facts { principal: Metis::whole(99_990), ..facts() };
    assert!(matches!(decide(&rule, &exactly), Decision::Do { .. }));
    let above = decide(&rule, &Facts { principal: Metis::whole(99_991), ..facts() });
    assert!(matches!(above, Decision::NotNow { settled: true, .. }));
    assert!(words(&above).contains("claim them instead"), "{above:?}");
}

#[test]
fn the_principal_is_withdrawn_at_its_chain_time_and_then_it_is_over() {
    let at = |status, unlock_claim_time| {
        decide(&Rule::WithdrawFinal, &Facts { status, unlock_claim_time, ..facts() })
    };
    let early = at(Some(Status::Inactive), T0.plus(1));
    assert!(matches!(early, Decision::NotNow { again, .. } if again == T0.plus(1)), "{early:?}");
    assert!(matches!(at(Some(Status::Inactive), T0), Decision::Do { .. }));
    assert!(matches!(at(Some(Status::Active), Timestamp(0)), Decision::NotNow { .. }));
    assert!(matches!(at(Some(Status::Unlocked), T0), Decision::Over { .. }));
}

#[test]
fn nothing_to_gain_waits_for_the_next_look_and_a_hindrance_only_a_little() {
    let rule = Rule::Claim(worth(1));
    let cases = [
        Facts { reward: Metis::ZERO, ..facts() },
        Facts { status: Some(Status::Inactive), ..facts() },
        Facts { status: None, ..facts() },
    ];
    for facts in cases {
        let not = decide(&rule, &facts);
        assert!(
            matches!(not, Decision::NotNow { settled: true, again, .. } if again == T0.plus(7 * DAY)),
            "{not:?}"
        );
    }
    let hindered = decide(&rule, &Facts { hindrance: Some("the pool is paused".to_owned()), ..facts() });
    assert!(
        matches!(hindered, Decision::NotNow { settled: false, again, .. } if again == T0.plus(AGAIN_SECS))
    );
    assert!(words(&hindered).ends_with("but the pool is paused"));
}

#[test]
fn however_many_looks_were_missed_one_makes_up_for_them() {
    let rule = Rule::Claim(worth(1));
    let week = 7 * DAY;
    assert_eq!(slot(&rule, T0, T0), T0);
    assert_eq!(slot(&rule, T0, T0.plus(week - 1)), T0);
    assert_eq!(slot(&rule, T0, T0.plus(5 * week + 3)), T0.plus(5 * week));
    assert_eq!(after(&rule, slot(&rule, T0, T0.plus(5 * week + 3))), T0.plus(6 * week), "the grid stays");
    assert_eq!(slot(&rule, T0.plus(9), T0), T0.plus(9), "not before the first");
}

#[test]
fn rules_that_mean_nothing_are_refused() {
    let days = |every_days| Rule::Claim(WorthIt { every_days, ..worth(1) }).check();
    assert_eq!(days(0), Err(RuleInvalid::Days));
    assert_eq!(days(366), Err(RuleInvalid::Days));
    assert_eq!(days(365), Ok(()));
    let priceless = WorthIt { metis_price: Eth::ZERO, ..worth(3) };
    assert_eq!(Rule::Compound(priceless).check(), Err(RuleInvalid::Price));
    assert_eq!(Rule::Compound(WorthIt { times_cost: 0, ..priceless }).check(), Ok(()));
    assert_eq!(Rule::WithdrawFinal.check(), Ok(()));
}

#[test]
fn an_absurd_price_or_cost_does_not_overflow() {
    let rich = WorthIt { metis_price: Eth::MAX, ..worth(u32::MAX) };
    let facts = Facts { reward: Metis::MAX, cost: Eth::MAX, ..facts() };
    assert!(matches!(decide(&Rule::Claim(rich), &facts), Decision::NotNow { .. }));
}
