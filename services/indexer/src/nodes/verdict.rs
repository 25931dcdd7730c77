//! May this sequencer lock? The guide's step 3, from what a probe found (P 3.4). Pure: `now` is an argument.

use std::collections::BTreeMap;
use std::fmt::Display;

use api::types::v1::{Check, Verdict};
use time::{Duration, OffsetDateTime};

/// The guide asks for a block within 10 s; thrice that, because clocks differ and a probe takes its time.
const BLOCK_AGE_MAX: Duration = Duration::seconds(30);
/// Our own clock may be behind the node's by so much before its block times look wrong.
const CLOCK_SKEW_MAX: Duration = Duration::seconds(10);
/// Blocks that l2geth may be behind our own L2 head: heads reach nodes at different moments.
const L2_LAG_MAX: u64 = 10;
/// Blocks that dtl may be behind the head of L1: it keeps 12 confirmations, and polls.
const L1_LAG_MAX: u64 = 12 + 20;

/// themis as it answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Themis {
    /// `node_info.network`.
    pub network: String,
    /// `node_info.version`.
    pub version: String,
    /// Height.
    pub height: u64,
    /// Time of its last block.
    pub block_time: Option<OffsetDateTime>,
    /// It says that it is behind.
    pub catching_up: bool,
    /// Peers, if it told.
    pub peers: Option<u32>,
}

/// l2geth as it answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct L2geth {
    /// Its head.
    pub height: u64,
    /// `rollup_getInfo.syncing`, if it told.
    pub syncing: Option<bool>,
    /// Peers, if it told.
    pub peers: Option<u32>,
    /// Its client version.
    pub version: String,
}

/// The bridge as it answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bridge {
    /// Its node produces; refreshed only when a transaction flows.
    pub current_sequencer: bool,
    /// L2 head that it knows.
    pub l2_height: Option<u64>,
    /// When it last saw a new one.
    pub l2_seen: Option<OffsetDateTime>,
    /// It asks the MPC for signatures; the rest means something only then.
    pub mpc_proposer: bool,
    /// The last signature asked for.
    pub mpc_sign_id: String,
    /// It was made, or one before it: the bridge never takes a success back.
    pub mpc_sign_success: bool,
    /// When it last asked; none before the first time.
    pub mpc_time: Option<OffsetDateTime>,
}

/// The validator record of the node's signer in themis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validator {
    /// Operation counter of the last L1 log applied.
    pub nonce: u64,
    /// Voting power.
    pub power: u64,
    /// It is jailed.
    pub jailed: bool,
    /// It is in the current set, if themis told.
    pub current: Option<bool>,
    /// L1 block of the last log applied.
    pub updated_block: Option<u64>,
}

/// What themis says of the log of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recognition {
    /// Processed.
    Yes,
    /// Not yet.
    NotYet,
    /// It has fewer than 12 confirmations.
    NotConfirmed,
    /// It could not be asked.
    Unknown(String),
}

/// What a probe found; an error is a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Of themis RPC.
    pub themis: Result<Themis, String>,
    /// The bridge's gate answers.
    pub bridge: Result<Bridge, String>,
    /// Of l2geth.
    pub l2geth: Result<L2geth, String>,
    /// L1 height that dtl has synced.
    pub dtl: Result<u64, String>,
    /// Of themis REST: none if the signer is no validator.
    pub validator: Result<Option<Validator>, String>,
    /// Of themis REST: none if there is no lock.
    pub lock: Option<Recognition>,
}

/// What the answers are measured against.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// `node_info.network`, where it is known.
    pub themis_network: Option<String>,
    /// Our L1 head.
    pub l1_head: Option<u64>,
    /// Our L2 head.
    pub l2_head: Option<u64>,
}

/// Checks as they are made.
pub(super) struct Checks(pub(super) Vec<Check>);

impl Checks {
    pub(super) fn add(&mut self, name: &str, verdict: Verdict, message: impl Into<String>) {
        self.0.push(Check {
            name: name.to_owned(),
            verdict: verdict.into(),
            reason: String::new(),
            message: message.into(),
            facts: BTreeMap::new(),
        });
    }

    pub(super) fn fact(&mut self, key: &str, value: impl Display) {
        if let Some(last) = self.0.last_mut() {
            last.facts.insert(key.to_owned(), value.to_string());
        }
    }

    pub(super) fn holds(&mut self, name: &str, holds: bool, good: &str, bad: impl Into<String>) {
        if holds { self.add(name, Verdict::Pass, good) } else { self.add(name, Verdict::Fail, bad) }
    }
}

/// Every check, and whether all of them allow to lock.
pub fn ready_to_lock(facts: &Facts, expected: &Expected, now: OffsetDateTime) -> (bool, Vec<Check>) {
    let mut checks = Checks(Vec::new());
    match &facts.themis {
        Ok(themis) => {
            checks.add("THEMIS_REACHABLE", Verdict::Pass, "themis answers");
            self::themis(&mut checks, themis, expected, now);
        }
        Err(why) => {
            checks.add("THEMIS_REACHABLE", Verdict::Fail, format!("themis does not answer: {why}"));
            for name in ["THEMIS_SYNCED", "THEMIS_BLOCK_RECENT", "THEMIS_NETWORK", "THEMIS_PEERS"] {
                checks.add(name, Verdict::Unknown, "themis does not answer");
            }
        }
    }
    match &facts.bridge {
        // Its services start only once themis is synced, so that an answer says so too (P 3.1).
        Ok(_) => checks.add("BRIDGE_GATE", Verdict::Pass, "the bridge has passed its gate"),
        Err(why) => checks.add("BRIDGE_GATE", Verdict::Fail, format!("the bridge does not answer: {why}")),
    }
    l2geth(&mut checks, &facts.l2geth, expected.l2_head);
    dtl(&mut checks, &facts.dtl, expected.l1_head);
    for check in checks.0.iter_mut().filter(|check| check.verdict() == Verdict::Fail) {
        api::reasons::NODE_NOT_READY.name.clone_into(&mut check.reason);
    }
    (!checks.0.iter().any(stops), checks.0)
}

/// What fails stops a lock, and so does what cannot be established.
fn stops(check: &Check) -> bool {
    matches!(check.verdict(), Verdict::Fail | Verdict::Unknown)
}

fn themis(checks: &mut Checks, themis: &Themis, expected: &Expected, now: OffsetDateTime) {
    let synced = "themis has caught up";
    checks.holds("THEMIS_SYNCED", !themis.catching_up, synced, "themis is still catching up");
    checks.fact("height", themis.height);
    match themis.block_time {
        Some(time) => {
            let age = now - time;
            let recent = age <= BLOCK_AGE_MAX && age >= -CLOCK_SKEW_MAX;
            let seconds = age.whole_seconds();
            let bad =
                format!("the last themis block is {seconds} s old, at most {BLOCK_AGE_MAX} are allowed");
            checks.holds("THEMIS_BLOCK_RECENT", recent, "the last themis block is recent", bad);
            checks.fact("age_seconds", seconds);
        }
        None => checks.add(
            "THEMIS_BLOCK_RECENT",
            Verdict::Unknown,
            "themis does not tell the time of its last block",
        ),
    }
    match &expected.themis_network {
        Some(network) => {
            let bad = format!("themis is of network {}, not of {network}", themis.network);
            checks.holds("THEMIS_NETWORK", themis.network == *network, "themis is of the right network", bad);
        }
        None => {
            checks.add("THEMIS_NETWORK", Verdict::Warn, "the name of the themis network is not configured")
        }
    }
    checks.fact("network", &themis.network);
    match themis.peers {
        Some(peers) => {
            checks.holds("THEMIS_PEERS", peers > 0, "themis has peers", "themis has no peers");
            checks.fact("peers", peers);
        }
        None => checks.add("THEMIS_PEERS", Verdict::Unknown, "themis does not tell its peers"),
    }
}

fn l2geth(checks: &mut Checks, l2geth: &Result<L2geth, String>, head: Option<u64>) {
    const NAME: &str = "L2GETH_SYNCED";
    let l2geth = match l2geth {
        Ok(l2geth) => l2geth,
        Err(why) => return checks.add(NAME, Verdict::Fail, format!("l2geth does not answer: {why}")),
    };
    let height = l2geth.height;
    if l2geth.syncing == Some(true) {
        checks.add(NAME, Verdict::Fail, "l2geth is still syncing");
    } else if let Some(head) = head {
        let bad = format!("l2geth is at block {height}, the chain at {head}");
        checks.holds(NAME, head.saturating_sub(height) <= L2_LAG_MAX, "l2geth is at the head", bad);
        checks.fact("head", head);
    } else if l2geth.syncing.is_some() {
        let message = "l2geth says that it is in sync; there is no L2 endpoint to compare with";
        checks.add(NAME, Verdict::Warn, message);
    } else {
        checks.add(NAME, Verdict::Unknown, "there is no L2 head to compare l2geth with");
    }
    checks.fact("height", height);
}

fn dtl(checks: &mut Checks, dtl: &Result<u64, String>, head: Option<u64>) {
    const NAME: &str = "DTL_SYNCED";
    match (dtl, head) {
        (Err(why), _) => checks.add(NAME, Verdict::Fail, format!("dtl does not answer: {why}")),
        (Ok(height), None) => {
            checks.add(NAME, Verdict::Unknown, "there is no L1 head to compare dtl with");
            checks.fact("height", height);
        }
        (Ok(height), Some(head)) => {
            let bad = format!("dtl has L1 up to block {height}, the chain is at {head}");
            checks.holds(NAME, head.saturating_sub(*height) <= L1_LAG_MAX, "dtl follows L1", bad);
            checks.fact("height", height);
            checks.fact("head", head);
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00:00 UTC);

    fn good() -> (Facts, Expected) {
        let themis = Themis {
            network: "sepolia-1".to_owned(),
            version: "0.2.3".to_owned(),
            height: 100,
            block_time: Some(datetime!(2026-11-22 11:59:55 UTC)),
            catching_up: false,
            peers: Some(3),
        };
        let facts = Facts {
            themis: Ok(themis),
            bridge: Ok(Bridge::default()),
            l2geth: Ok(L2geth { height: 995, syncing: Some(false), ..L2geth::default() }),
            dtl: Ok(480),
            validator: Ok(None),
            lock: None,
        };
        let themis_network = Some("sepolia-1".to_owned());
        (facts, Expected { themis_network, l1_head: Some(500), l2_head: Some(1_000) })
    }

    fn stopping(facts: &Facts, expected: &Expected) -> Vec<String> {
        let (ready, checks) = ready_to_lock(facts, expected, NOW);
        let stops = checks.into_iter().filter(|check| check.verdict >= i32::from(Verdict::Fail));
        let names: Vec<String> = stops.map(|check| check.name).collect();
        assert_eq!(ready, names.is_empty());
        names
    }

    #[test]
    fn a_node_in_sync_may_lock() {
        let (facts, expected) = good();
        assert_eq!(stopping(&facts, &expected), Vec::<String>::new());
    }

    #[test]
    fn each_condition_stops_the_lock_under_its_own_name() {
        type Change = fn(&mut Themis);
        let themis: [(&str, Change); 6] = [
            ("THEMIS_SYNCED", |themis| themis.catching_up = true),
            ("THEMIS_BLOCK_RECENT", |themis| themis.block_time = Some(datetime!(2026-11-22 11:59:29 UTC))),
            ("THEMIS_BLOCK_RECENT", |themis| themis.block_time = Some(datetime!(2026-11-22 12:00:11 UTC))),
            ("THEMIS_BLOCK_RECENT", |themis| themis.block_time = None),
            ("THEMIS_NETWORK", |themis| themis.network = "andromeda".to_owned()),
            ("THEMIS_PEERS", |themis| themis.peers = Some(0)),
        ];
        for (name, change) in themis {
            let (mut facts, expected) = good();
            facts.themis.iter_mut().for_each(change);
            assert_eq!(stopping(&facts, &expected), [name]);
        }
        let away = || "connection refused".to_owned();
        type OtherChange = fn(&mut Facts, String);
        let others: [(&str, OtherChange); 5] = [
            ("BRIDGE_GATE", |facts, away| facts.bridge = Err(away)),
            ("L2GETH_SYNCED", |facts, away| facts.l2geth = Err(away)),
            ("L2GETH_SYNCED", |facts, _| {
                facts.l2geth.iter_mut().for_each(|l2geth| l2geth.syncing = Some(true))
            }),
            ("L2GETH_SYNCED", |facts, _| facts.l2geth.iter_mut().for_each(|l2geth| l2geth.height = 989)),
            ("DTL_SYNCED", |facts, _| facts.dtl = Ok(467)),
        ];
        for (name, change) in others {
            let (mut facts, expected) = good();
            change(&mut facts, away());
            assert_eq!(stopping(&facts, &expected), [name]);
        }
    }

    #[test]
    fn what_cannot_be_established_stops_the_lock_too() {
        let (mut facts, expected) = good();
        facts.themis = Err("timed out".to_owned());
        let all =
            ["THEMIS_REACHABLE", "THEMIS_SYNCED", "THEMIS_BLOCK_RECENT", "THEMIS_NETWORK", "THEMIS_PEERS"];
        assert_eq!(stopping(&facts, &expected), all);
        let (facts, _) = good();
        assert_eq!(
            stopping(&facts, &Expected { themis_network: None, l1_head: None, l2_head: Some(1_000) }),
            ["DTL_SYNCED"]
        );
    }

    #[test]
    fn without_an_l2_endpoint_the_word_of_l2geth_counts() {
        let (mut facts, expected) = good();
        let expected = Expected { l2_head: None, ..expected };
        assert_eq!(stopping(&facts, &expected), Vec::<String>::new());
        facts.l2geth.iter_mut().for_each(|l2geth| l2geth.syncing = None);
        assert_eq!(stopping(&facts, &expected), ["L2GETH_SYNCED"]);
    }
}
