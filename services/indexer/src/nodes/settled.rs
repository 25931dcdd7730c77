//! What is taken for true of a node, and which changes of it are told. Pure.
//!
//! Good news and other evidence counts at once; that something fails or cannot be known counts when two probes in a row
//! say so, because one lost packet is no change of a node.

use std::collections::BTreeMap;

use api::indexer::v1 as wire;
use api::types::v1::Verdict;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Probes in a row that must agree on bad news.
const PROBES_AGREEING: u32 = 2;
/// The subject whose values say which process it is.
const REACHABLE: &str = "PROCESS_REACHABLE";
const BRIDGE_UP: &str = "bridge up";

/// What is taken for true, as it is kept with the last probe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settled {
    subjects: BTreeMap<String, Held>,
    /// Since when the bridge answers, Unix seconds.
    bridge_since: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    value: String,
    /// Probes in a row that said something bad instead.
    #[serde(default)]
    doubts: u32,
}

/// A change to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The name of a check, PROCESS_REACHABLE, READY_TO_LOCK or VALIDATOR.
    pub subject: String,
    /// Before; empty at first.
    pub before: String,
    /// Now.
    pub after: String,
    /// One sentence for people.
    pub message: String,
}

struct Observation {
    /// Different for each process.
    key: String,
    subject: String,
    value: String,
    message: String,
    bad: bool,
}

impl Settled {
    /// Since when the bridge has answered.
    pub fn bridge_since(&self) -> Option<OffsetDateTime> {
        self.bridge_since.and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
    }

    /// Takes what a probe found, and gives what changed by it.
    pub fn take(&mut self, report: &wire::Node, now: OffsetDateTime) -> Vec<Change> {
        let observed = observations(report);
        // A check that no longer applies is not a change: what replaced it is told.
        self.subjects.retain(|key, _| observed.iter().any(|one| one.key == *key));
        let mut changes = Vec::new();
        for Observation { key, subject, value, message, bad } in observed {
            let held = self.subjects.get(&key);
            let doubts = held.map_or(0, |held| held.doubts + 1);
            let before = held.map(|held| held.value.clone()).unwrap_or_default();
            if before == value {
                self.subjects.insert(key, Held { value, doubts: 0 });
            } else if held.is_some() && bad && doubts < PROBES_AGREEING {
                self.subjects.insert(key, Held { value: before, doubts });
            } else {
                self.subjects.insert(key, Held { value: value.clone(), doubts: 0 });
                changes.push(Change { subject, before, after: value, message });
            }
        }
        let up = self.subjects.values().any(|held| held.value == BRIDGE_UP);
        self.bridge_since = up.then(|| self.bridge_since.unwrap_or(now.unix_timestamp()));
        changes
    }
}

fn observations(report: &wire::Node) -> Vec<Observation> {
    let mut all = Vec::new();
    for process in &report.processes {
        let name = &process.process;
        let message = match process.reachable {
            true => format!("{name} answers"),
            false => format!("{name} does not answer: {}", process.problem),
        };
        all.push(Observation {
            key: format!("{REACHABLE} {name}"),
            subject: REACHABLE.to_owned(),
            value: format!("{name} {}", if process.reachable { "up" } else { "down" }),
            message,
            bad: !process.reachable,
        });
    }
    for check in &report.checks {
        let verdict = check.verdict();
        all.push(Observation {
            key: check.name.clone(),
            subject: check.name.clone(),
            value: verdict.as_str_name().trim_start_matches("VERDICT_").to_owned(),
            message: check.message.clone(),
            bad: matches!(verdict, Verdict::Fail | Verdict::Unknown),
        });
    }
    let (value, message) = match report.ready_to_lock {
        true => ("YES", "the node is in sync, and its sequencer may lock"),
        false => ("NO", "the node is not in sync, and a lock now may go unseen"),
    };
    all.push(plain("READY_TO_LOCK", value.to_owned(), message.to_owned(), !report.ready_to_lock));
    let unknown = !report.validator_problem.is_empty();
    let (nonce, power) = (report.validator_nonce, report.validator_power);
    let (value, message) = if unknown {
        ("UNKNOWN".to_owned(), format!("themis cannot be asked for it: {}", report.validator_problem))
    } else if report.validator_known {
        let value =
            format!("nonce {nonce} power {power}{}", if report.validator_jailed { " jailed" } else { "" });
        (value, format!("themis has the validator with nonce {nonce} and power {power}"))
    } else {
        ("NONE".to_owned(), "themis knows no validator with this signer".to_owned())
    };
    all.push(plain("VALIDATOR", value, message, unknown));
    all
}

fn plain(subject: &str, value: String, message: String, bad: bool) -> Observation {
    Observation { key: subject.to_owned(), subject: subject.to_owned(), value, message, bad }
}

#[cfg(test)]
mod tests {
    use api::types::v1::Check;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00:00 UTC);

    fn report(up: bool, verdict: Verdict, nonce: Option<u64>) -> wire::Node {
        let probe = |process: &str| wire::ProcessProbe {
            process: process.to_owned(),
            reachable: up,
            ..Default::default()
        };
        let check = Check { name: "THEMIS_SYNCED".to_owned(), verdict: verdict.into(), ..Default::default() };
        wire::Node {
            processes: vec![probe("bridge")],
            ready_to_lock: up && verdict == Verdict::Pass,
            checks: vec![check],
            validator_known: nonce.is_some(),
            validator_nonce: nonce.unwrap_or(0),
            validator_power: 5,
            ..Default::default()
        }
    }

    fn told(changes: Vec<Change>) -> Vec<(String, String, String)> {
        changes.into_iter().map(|change| (change.subject, change.before, change.after)).collect()
    }

    fn line(subject: &str, before: &str, after: &str) -> (String, String, String) {
        (subject.to_owned(), before.to_owned(), after.to_owned())
    }

    #[test]
    fn the_first_probe_tells_everything_and_the_same_again_nothing() {
        let mut settled = Settled::default();
        let first = told(settled.take(&report(true, Verdict::Pass, None), NOW));
        let all = [
            line("PROCESS_REACHABLE", "", "bridge up"),
            line("THEMIS_SYNCED", "", "PASS"),
            line("READY_TO_LOCK", "", "YES"),
            line("VALIDATOR", "", "NONE"),
        ];
        assert_eq!(first, all);
        assert_eq!(settled.take(&report(true, Verdict::Pass, None), NOW), []);
        assert_eq!(settled.bridge_since(), Some(NOW));
    }

    #[test]
    fn one_failed_probe_is_no_change_and_two_in_a_row_are() {
        let mut settled = Settled::default();
        let (well, away) = (report(true, Verdict::Pass, Some(1)), report(false, Verdict::Unknown, Some(1)));
        settled.take(&well, NOW);
        assert_eq!(settled.take(&away, NOW), []);
        assert_eq!(settled.take(&well, NOW), []);
        assert_eq!(settled.take(&away, NOW), [], "the probes must follow each other");
        let later = NOW + time::Duration::hours(1);
        let changes = told(settled.take(&away, later));
        let all = [
            line("PROCESS_REACHABLE", "bridge up", "bridge down"),
            line("THEMIS_SYNCED", "PASS", "UNKNOWN"),
            line("READY_TO_LOCK", "YES", "NO"),
        ];
        assert_eq!(changes, all);
        assert_eq!(settled.bridge_since(), None);
        let back = told(settled.take(&well, later));
        assert_eq!(back.len(), 3, "that it is back is told at once: {back:?}");
        assert_eq!(settled.bridge_since(), Some(later));
    }

    #[test]
    fn a_new_validator_record_counts_at_once() {
        let mut settled = Settled::default();
        settled.take(&report(true, Verdict::Pass, None), NOW);
        let changes = told(settled.take(&report(true, Verdict::Pass, Some(1)), NOW));
        assert_eq!(changes, [line("VALIDATOR", "NONE", "nonce 1 power 5")]);
        let mut silent = report(true, Verdict::Pass, None);
        silent.validator_problem = "no answer".to_owned();
        assert_eq!(settled.take(&silent, NOW), []);
        let changes = told(settled.take(&silent, NOW));
        assert_eq!(changes, [line("VALIDATOR", "nonce 1 power 5", "UNKNOWN")]);
    }

    #[test]
    fn what_was_settled_is_read_again_after_a_restart() {
        let mut settled = Settled::default();
        settled.take(&report(true, Verdict::Pass, Some(1)), NOW);
        settled.take(&report(false, Verdict::Fail, Some(1)), NOW);
        let kept = serde_json::to_value(&settled).expect("it is plain");
        let mut again: Settled = serde_json::from_value(kept).expect("it is plain");
        assert_eq!(again, settled);
        assert_eq!(again.take(&report(false, Verdict::Fail, Some(1)), NOW).len(), 3);
        assert_eq!(
            serde_json::from_str::<Settled>("{}").expect("the default of the column"),
            Settled::default()
        );
    }
}
