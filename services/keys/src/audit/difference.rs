//! What a change of the policy changes, in words for the record.

use std::collections::BTreeMap;

use crate::policy::Policy;

/// Names listed of one kind; a record is no place for a thousand.
const NAMES_MAX: usize = 20;

/// The rules and networks that differ.
pub fn of_policies(before: &Policy, after: &Policy) -> String {
    let rules = |policy: &Policy| {
        policy.rules.iter().map(|rule| (rule.name.clone(), format!("{rule:?}"))).collect::<BTreeMap<_, _>>()
    };
    let networks = |policy: &Policy| {
        policy.contracts.iter().map(|(name, contracts)| (name.clone(), format!("{contracts:?}"))).collect()
    };
    let parts =
        [parts("rule", &rules(before), &rules(after)), parts("network", &networks(before), &networks(after))];
    match parts.concat() {
        parts if parts.is_empty() => "nothing changes".to_owned(),
        parts => parts.join("; "),
    }
}

fn parts(kind: &str, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let only = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        one.keys().filter(|name| !other.contains_key(*name)).cloned().collect::<Vec<_>>()
    };
    let changed = after
        .iter()
        .filter(|(name, rule)| before.get(*name).is_some_and(|old| old != *rule))
        .map(|(name, _)| name.clone());
    [("adds", only(after, before)), ("removes", only(before, after)), ("changes", changed.collect())]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(verb, names)| format!("{verb} {kind} {}", list(&names)))
        .collect()
}

fn list(names: &[String]) -> String {
    let shown =
        names.iter().take(NAMES_MAX).map(|name| crate::operations::clip(name)).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_MAX { format!("{shown} and {} more", names.len() - NAMES_MAX) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &[(&str, &str)]) -> Policy {
        let contracts = "format = 1\n[contracts.devnet]\nchain_id = 1\nlocking_pool = \"0x00000000000000000000000000000000000000a1\"\n\
             locking_info = \"0x00000000000000000000000000000000000000a2\"\nmetis = \"0x00000000000000000000000000000000000000a3\"\n";
        let rules = rules.iter().map(|(name, key)| {
            format!("[[rule]]\nname = \"{name}\"\neffect = \"deny\"\nkeys = {{ any_of = [\"{key}\"] }}\n")
        });
        Policy::parse(&(contracts.to_owned() + &rules.collect::<String>())).unwrap()
    }

    #[test]
    fn a_difference_names_what_is_added_removed_and_changed() {
        let before = policy(&[("kept", "a"), ("old", "a"), ("moved", "a")]);
        let after = policy(&[("kept", "a"), ("new", "a"), ("moved", "b")]);
        assert_eq!(of_policies(&before, &after), "adds rule new; removes rule old; changes rule moved");
        assert_eq!(of_policies(&before, &before), "nothing changes");
    }
}
