//! What an operation waits for and what ends the wait, or how it ended: one sentence for people, for every state and
//! every reason.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::db::operation::{Row, State};

/// What ends the wait for a reason that is waited out, wherever the operation stands. Reasons of the error registry; a
/// test finds those that a loop can enter and that are missing here.
const ENDS: [(&str, &str); 17] = [
    ("ETH_TOO_LOW", "goes on by itself when the sending account has enough ETH"),
    ("BALANCE_TOO_LOW", "goes on by itself when the owner has enough METIS"),
    ("ALLOWANCE_TOO_LOW", "goes on by itself when LockingInfo may take enough METIS"),
    ("POOL_PAUSED", "goes on by itself when the pool is no longer paused"),
    ("EXIT_PERIOD_NOT_OVER", "goes on by itself with the first block after the exit delay"),
    ("EXIT_RESTRICTED", "goes on by itself when the contract's BFT rule allows an exit"),
    ("WITHDRAW_THROTTLED", "goes on by itself with the next batch"),
    ("SIGNER_UPDATE_THROTTLED", "goes on by itself when enough batches have come"),
    ("NETWORK_HELD", "goes on by itself when the reorganisation is acknowledged"),
    ("OPERATION_IN_FLIGHT", "goes on by itself when the other operation of its sequencer is final"),
    ("SIMULATION_UNAVAILABLE", "goes on by itself when an L1 endpoint answers"),
    ("L1_UNAVAILABLE", "goes on by itself when an L1 endpoint answers"),
    ("FEE_TOO_LOW", "goes on by itself with a new quote of the bridge"),
    ("FEE_ABOVE_CEILING", "goes on by itself when gas costs less than the ceiling, or the ceiling is raised"),
    (
        "FEE_BUDGET_SPENT",
        "goes on by itself when fees have dropped out of the last 24 hours, or the budget is raised",
    ),
    ("TRANSACTION_REFUSED", "ends when its nonce is spent on nothing"),
    (
        "TRANSACTION_NOT_SEEN",
        "goes on when the wallet has sent it again, or ends when it is cancelled by hand",
    ),
];

/// The sentence for where a row stands at `now`.
pub fn sentence(row: &Row, now: OffsetDateTime) -> String {
    let state = row.state();
    let ends = ends(state, row.is_managed(), &row.reason_code);
    let mut words = match row.reason.as_str() {
        "" => ends.to_owned(),
        reason => format!("{reason}; {ends}"),
    };
    let until = match state {
        State::PendingApproval => row.approve_by.map(|at| format!("; expires at {}", shown(at))),
        State::Scheduled => {
            row.not_before.filter(|at| *at > now).map(|at| format!("; begins at {}", shown(at)))
        }
        State::Queued if !row.is_managed() => row.expire_time.map(|at| format!("; expires at {}", shown(at))),
        State::Queued | State::Signing => row.deadline.map(|at| deadline(at, now)),
        State::Broadcast | State::Mined => row.deadline.filter(|at| *at <= now).map(|at| deadline(at, now)),
        State::Confirmed | State::Failed | State::Cancelled | State::Expired => None,
    };
    words.push_str(until.as_deref().unwrap_or_default());
    words
}

/// What is signed cannot be called back by a deadline.
fn deadline(at: OffsetDateTime, now: OffsetDateTime) -> String {
    if at > now {
        format!("; expires at {} if nothing of it is under way then", shown(at))
    } else {
        format!("; it was begun before its deadline of {} and is followed to its end", shown(at))
    }
}

fn ends(state: State, managed: bool, code: &str) -> &'static str {
    let mends = ENDS.iter().find(|(reason, _)| *reason == code).map(|(_, ends)| *ends);
    match (state, mends) {
        (State::Confirmed, _) => "it is done",
        (State::Failed, _) => "ask again when the reason is gone",
        (State::Cancelled, _) => "nothing more is sent of it",
        (State::Expired, _) => "ask again if it is still wanted",
        (_, Some(ends)) => ends,
        (State::PendingApproval, None) => "goes on when enough others have approved exactly this",
        (State::Scheduled, None) => "goes on by itself when its time has come",
        (State::Queued, None) if managed => "goes on by itself when its lane gets to it",
        (State::Queued, None) => "goes on when the wallet has sent it",
        (State::Signing, None) => "goes on by itself when it is signed and an endpoint has taken it",
        (State::Broadcast, None) => "goes on by itself when it is in a block",
        (State::Mined, None) => {
            "goes on by itself with its next call, or with confirmations and its effect indexed"
        }
    }
}

fn shown(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use store::column::Addr;
    use time::Duration;
    use uuid::Uuid;

    use super::*;
    use crate::db::operation::{MANAGED, PREPARED};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn row(state: State, mode: &str, code: &str) -> Row {
        Row {
            id: Uuid::nil(),
            request_id: Uuid::nil(),
            network: String::new(),
            sequencer: Uuid::nil(),
            kind: "claim".to_owned(),
            parameters: Vec::new(),
            mode: mode.to_owned(),
            state: state.name().to_owned(),
            reason: String::new(),
            reason_code: code.to_owned(),
            words: String::new(),
            caller: String::new(),
            chain_id: 1,
            account: Addr::default(),
            key_id: None,
            create_time: NOW,
            update_time: NOW,
            expire_time: None,
            not_before: None,
            deadline: None,
            recipient_if_unset: None,
            requirements: serde_json::json!([]),
            approve_by: None,
            origin: String::new(),
        }
    }

    #[test]
    fn every_state_and_every_reason_has_a_sentence() {
        let mut without_reason = BTreeSet::new();
        for state in State::ALL {
            for mode in [MANAGED, PREPARED] {
                let plain = sentence(&row(state, mode, ""), NOW);
                assert!(plain.len() > 8, "{state:?} {mode}");
                without_reason.insert(plain.clone());
                for (code, ends) in ENDS {
                    let words = sentence(&row(state, mode, code), NOW);
                    let expected = if state.is_final() { plain.as_str() } else { ends };
                    assert_eq!(words, expected, "{state:?} {mode} {code}");
                }
            }
        }
        assert_eq!(without_reason.len(), State::ALL.len() + 1, "each state says something of its own");
    }

    /// What ends an operation, or is told of it, and is waited out nowhere.
    const ENDING: [&str; 11] = [
        "APPROVAL_DIGEST_MISMATCH",
        "CALL_REVERTED",
        "NONCE_CONFLICT",
        "NONCE_FOREIGN",
        "NOT_SEQUENCER_OWNER",
        "NOT_SEQUENCER_SIGNER",
        "NO_EFFECT",
        "OPERATION_EXPIRED",
        "OPERATION_REJECTED",
        "WALLET_CANCELLED",
        "WALLET_REPLACED",
    ];

    /// Names of our own reasons that this source mentions before its tests.
    fn reasons_in(source: &str) -> BTreeSet<String> {
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let words =
            source.split(|letter: char| !(letter.is_ascii_uppercase() || "_0123456789".contains(letter)));
        let is_ours = |word: &&str| api::reasons::OWN.iter().any(|reason| reason.name == *word);
        words.filter(is_ours).map(str::to_owned).collect()
    }

    #[test]
    fn every_reason_that_a_loop_can_enter_has_its_end() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let entering = std::fs::read_dir(root.join("reconcile")).expect("the loops");
        let files = entering.map(|file| file.expect("a file").path()).filter(|path| path.is_file());
        let others =
            ["operations/plan.rs", "operations/cancel.rs", "operations/batch.rs", "approval/decide.rs"];
        let mut entered = BTreeSet::new();
        for file in files.chain(others.map(|other| root.join(other))) {
            entered.extend(reasons_in(&std::fs::read_to_string(&file).expect("a source")));
        }
        assert!(entered.contains("FEE_BUDGET_SPENT") && entered.contains("POOL_PAUSED"), "{entered:?}");
        // Answers to callers, which no operation is entered with.
        let refusals = [
            "APPROVAL_NOT_ALLOWED",
            "APPROVAL_NOT_AWAITED",
            "BATCH_UNPROVEN",
            "OPERATION_NOT_CANCELLABLE",
            "TRANSACTION_MISMATCH",
        ];
        for reason in entered.iter().filter(|reason| !refusals.contains(&reason.as_str())) {
            let (waits, ends) =
                (ENDS.iter().any(|(code, _)| code == reason), ENDING.contains(&reason.as_str()));
            assert!(waits != ends, "{reason}: is it waited out, and what ends the wait?");
        }
    }

    #[test]
    fn every_reason_that_is_waited_out_is_in_the_error_registry() {
        for (code, _) in ENDS {
            assert!(api::reasons::by_name(code).is_some(), "{code}");
        }
    }

    #[test]
    fn the_reason_comes_first_and_times_are_told() {
        let waits = Row {
            reason: "waits for approvals: 1 of 2".to_owned(),
            approve_by: Some(NOW),
            ..row(State::PendingApproval, MANAGED, "")
        };
        assert_eq!(
            sentence(&waits, NOW),
            "waits for approvals: 1 of 2; goes on when enough others have approved exactly this; expires at 1970-01-01T00:00:00Z"
        );
        let late = Row { deadline: Some(NOW), ..row(State::Broadcast, MANAGED, "") };
        assert!(sentence(&late, NOW).contains("followed to its end"));
        let in_time = Row { deadline: Some(NOW + Duration::HOUR), ..row(State::Broadcast, MANAGED, "") };
        assert!(!sentence(&in_time, NOW).contains("deadline"), "a deadline is nothing to who is sent");
    }
}
