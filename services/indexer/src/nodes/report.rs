//! What a probe found, as the probed half of a node's message. Pure.

use api::indexer::v1 as wire;
use time::OffsetDateTime;

use super::standing::{self, MissedTurn, Standing};
use super::verdict::{Bridge, Expected, Facts, ready_to_lock};
use crate::operations::networks::timestamp;

/// The probed half of a node's message.
pub fn report(facts: &Facts, standing: &Standing, expected: &Expected, now: OffsetDateTime) -> wire::Node {
    let (ready_to_lock, mut checks) = ready_to_lock(facts, expected, now);
    checks.extend(standing::checks(facts, standing, expected, now));
    let validator = facts.validator.as_ref().ok().copied().flatten();
    wire::Node {
        processes: processes(facts, expected),
        ready_to_lock,
        checks,
        validator_known: validator.is_some(),
        validator_nonce: validator.map_or(0, |validator| validator.nonce),
        validator_power: validator.map_or(0, |validator| validator.power),
        validator_problem: facts.validator.as_ref().err().cloned().unwrap_or_default(),
        validator_current: validator.and_then(|validator| validator.current),
        validator_jailed: validator.is_some_and(|validator| validator.jailed),
        validator_updated_block: validator.and_then(|validator| validator.updated_block),
        bridge: facts.bridge.as_ref().ok().map(health),
        bridge_scan_seconds_max: standing::scan_seconds_max(facts, standing, expected, now),
        producing: standing.producing,
        missed_turn_block: standing.missed.map(|missed| missed.block),
        missed_turn_time: standing.missed.and_then(|MissedTurn { time, .. }| time).map(timestamp),
        ..Default::default()
    }
}

fn health(bridge: &Bridge) -> wire::BridgeHealth {
    let Bridge {
        current_sequencer,
        l2_height,
        l2_seen,
        mpc_proposer,
        mpc_sign_id,
        mpc_sign_success,
        mpc_time,
    } = bridge.clone();
    wire::BridgeHealth {
        current_sequencer,
        l2_height,
        l2_seen_time: l2_seen.map(timestamp),
        mpc_proposer,
        mpc_sign_id,
        mpc_sign_success,
        mpc_time: mpc_time.map(timestamp),
    }
}

fn processes(facts: &Facts, expected: &Expected) -> Vec<wire::ProcessProbe> {
    let lag = |head: Option<u64>, height: u64| head.map(|head| head.saturating_sub(height));
    let away = |process: &str, why: &String| wire::ProcessProbe {
        process: process.to_owned(),
        problem: why.clone(),
        ..Default::default()
    };
    let reachable = |process: &str| wire::ProcessProbe {
        process: process.to_owned(),
        reachable: true,
        ..Default::default()
    };
    let themis = match &facts.themis {
        Ok(themis) => wire::ProcessProbe {
            catching_up: Some(themis.catching_up),
            height: Some(themis.height),
            peers: themis.peers,
            version: themis.version.clone(),
            problem: facts.validator.as_ref().err().map(|why| format!("REST: {why}")).unwrap_or_default(),
            ..reachable("themis")
        },
        Err(why) => away("themis", why),
    };
    let bridge = match &facts.bridge {
        Ok(bridge) => wire::ProcessProbe { height: bridge.l2_height, ..reachable("bridge") },
        Err(why) => away("bridge", why),
    };
    let l2geth = match &facts.l2geth {
        Ok(l2geth) => wire::ProcessProbe {
            catching_up: l2geth.syncing,
            height: Some(l2geth.height),
            lag: lag(expected.l2_head, l2geth.height),
            peers: l2geth.peers,
            version: l2geth.version.clone(),
            ..reachable("l2geth")
        },
        Err(why) => away("l2geth", why),
    };
    let dtl = match &facts.dtl {
        Ok(height) => wire::ProcessProbe {
            height: Some(*height),
            lag: lag(expected.l1_head, *height),
            ..reachable("dtl")
        },
        Err(why) => away("dtl", why),
    };
    vec![themis, bridge, l2geth, dtl]
}
