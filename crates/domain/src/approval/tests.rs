use super::*;

fn of(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn people(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("{PERSON}{name}")).collect()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn two_of(approvers: &[&str]) -> Requirement {
    Requirement { needed: 2, approvers: people(approvers) }
}

#[test]
fn a_rule_applies_by_kind_label_and_amount() {
    let rule = Rule {
        kinds: of(&["unlock", "withdraw"]),
        labels: labels(&[("tier", "gold")]),
        amount_from: Some(Metis::whole(1_000)),
        requirement: two_of(&[]),
    };
    let gold = labels(&[("tier", "gold"), ("region", "eu")]);
    let table = [
        ("unlock", &gold, 1_000, true),
        ("withdraw", &gold, 5_000, true),
        ("unlock", &gold, 999, false),
        ("claim", &gold, 1_000, false),
        ("unlock", &labels(&[("tier", "silver")]), 1_000, false),
        ("unlock", &labels(&[]), 1_000, false),
    ];
    for (kind, on, amount, applies) in table {
        let asked = required(std::slice::from_ref(&rule), kind, on, Metis::whole(amount));
        assert_eq!(!asked.is_empty(), applies, "{kind} {on:?} {amount}");
    }
    let every = Rule { requirement: two_of(&[]), ..Rule::default() };
    assert_eq!(required(&[every], "rotate_signer", &labels(&[]), Metis::ZERO).len(), 1);
}

#[test]
fn every_rule_that_applies_must_be_met() {
    let asked = BTreeSet::from([two_of(&[]), Requirement { needed: 1, approvers: people(&["carol"]) }]);
    assert!(unmet(&asked, &people(&["alice", "bob"])).is_some(), "carol has not");
    assert!(unmet(&asked, &people(&["carol"])).is_some(), "two are needed");
    assert!(unmet(&asked, &people(&["carol", "bob"])).is_none());
    assert!(unmet(&BTreeSet::new(), &BTreeSet::new()).is_none());
}

#[test]
fn neither_the_requester_nor_a_stranger_decides() {
    let asked = BTreeSet::from([two_of(&["alice", "bob", "carol"])]);
    let alice = "operator:alice";
    assert_eq!(may_decide(&asked, alice, alice), Err(MayNotDecide::Requester(alice.to_owned())));
    let mallory = "operator:mallory";
    assert_eq!(may_decide(&asked, alice, mallory), Err(MayNotDecide::NotAnApprover(mallory.to_owned())));
    assert_eq!(may_decide(&asked, alice, "operator:bob"), Ok(()));
    assert_eq!(may_decide(&asked, "gateway", alice), Ok(()), "who asked is not known, who decides is");
}

#[test]
fn who_speaks_for_others_decides_nothing() {
    let anybody = BTreeSet::from([two_of(&[])]);
    for identity in ["gateway", "rewards", "anonymous", "operator"] {
        let refused = may_decide(&anybody, "operator:alice", identity);
        assert_eq!(refused, Err(MayNotDecide::NoPerson(identity.to_owned())));
        let approvers = &of(&[identity]) | &people(&["bob"]);
        let rule = Rule { requirement: Requirement { needed: 2, approvers }, ..Rule::default() };
        assert_eq!(rule.check(), Err(RuleInvalid::NoPerson(identity.to_owned())));
    }
}

#[test]
fn rules_that_cannot_be_met_or_guard_nothing_are_found() {
    let rule = |requirement| Rule { requirement, ..Rule::default() };
    assert_eq!(rule(Requirement::default()).check(), Err(RuleInvalid::NothingNeeded));
    let few = rule(two_of(&["alice"])).check();
    assert_eq!(few, Err(RuleInvalid::TooFewApprovers { needed: 2, approvers: 1 }));
    let typo = Rule { kinds: of(&["unlok"]), requirement: two_of(&[]), ..Rule::default() };
    assert_eq!(typo.check(), Err(RuleInvalid::UnknownKind("unlok".to_owned())));
    assert_eq!(rule(two_of(&["alice", "bob"])).check(), Ok(()));
}

#[test]
fn what_is_at_stake_counts_what_goes_along() {
    let (principal, reward) = (Metis::whole(20_000), Metis::whole(7));
    let stake = |operation: Operation| amount_at_stake(&operation, principal, reward);
    assert_eq!(stake(Operation::Unlock { l2_gas: 0 }), Metis::whole(20_007));
    assert_eq!(stake(Operation::Claim { l2_gas: 0 }), reward);
    assert_eq!(stake(Operation::Increase { amount: Metis::whole(1), with_rewards: true }), Metis::whole(8));
    assert_eq!(stake(Operation::Increase { amount: Metis::whole(1), with_rewards: false }), Metis::whole(1));
    let recipient = alloy_primitives::Address::repeat_byte(1);
    assert_eq!(stake(Operation::SetRecipient { recipient }), Metis::ZERO);
    assert_eq!(stake(Operation::SetOwner { new_owner: recipient }), Metis::whole(20_007));
}

#[test]
fn every_field_changes_the_digest() {
    let content = Content {
        network: "devnet",
        sequencer: [1; 16],
        kind: "claim",
        account: Address::repeat_byte(1),
        parameters: &[1, 2],
        words: "alpha: claim",
        recipient_if_unset: &[],
        mode: "MANAGED",
        not_before: None,
        deadline: None,
    };
    let others = [
        Content { network: "sepolia", ..content },
        Content { sequencer: [2; 16], ..content },
        Content { kind: "unlock", ..content },
        Content { account: Address::repeat_byte(2), ..content },
        Content { words: "beta: claim", ..content },
        Content { parameters: &[1], ..content },
        Content { parameters: &[1], recipient_if_unset: &[2], ..content },
        Content { recipient_if_unset: &[1], ..content },
        Content { mode: "PREPARED", ..content },
        Content { not_before: Some(0), ..content },
        Content { deadline: Some(0), ..content },
    ];
    let mut seen = BTreeSet::from([digest(&content)]);
    for other in others {
        assert!(seen.insert(digest(&other)), "{other:?}");
    }
    assert_eq!(digest(&content), digest(&content.clone()));
}
