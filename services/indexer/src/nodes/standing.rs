//! What the network makes of a node after the lock (P 3.4 to 3.6): does consensus hold what L1 holds, was the lock
//! seen, were turns lost, are signatures made. Nothing of it counts for `ready_to_lock`. Pure.

use alloy_primitives::{B256, U256};
use api::types::v1::{Check, Verdict};
use domain::amount::WEI_PER_UNIT;
use domain::network::THEMIS_CONFIRMATIONS;
use domain::preflight::Status;
use time::{Duration, OffsetDateTime};

use super::verdict::{Bridge, Checks, Expected, Facts, Recognition, Validator};

/// From L1 into consensus: 12 confirmations, then a scan each 15 s, a side transaction and its votes. Ten minutes of
/// L1 blocks; what takes longer does not come by itself.
const CONSENSUS_BLOCKS_MAX: u64 = 50;
/// The bridge reads at most so many L1 blocks each time.
const SCAN_BLOCKS: u64 = 500;
/// Time between two of its reads.
const SCAN_SECS: u64 = 15;
/// Power above it does not count, as themis has it on a `LockUpdate`.
const POWER_MAX: u64 = 100_000;
/// A turn lost longer ago says nothing of the node of today.
const MISSED_TURN_AGE_MAX: Duration = Duration::days(1);

/// A lock of the node's signer, as L1 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// It is the signer of the sequencer today.
    pub current: bool,
    /// Status on L1.
    pub status: Status,
    /// Principal, wei.
    pub amount: U256,
    /// Operation counter.
    pub nonce: u64,
    /// L1 block of the operation with that counter.
    pub changed: u64,
    /// Where the `Locked` stands: block, transaction and place in the block.
    pub locked: Option<(u64, B256, u64)>,
}

/// A turn that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissedTurn {
    /// L2 block of the re-span.
    pub block: u64,
    /// When, if it is known.
    pub time: Option<OffsetDateTime>,
    /// L2 blocks lost.
    pub blocks_lost: u64,
}

/// What the tables say of a signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Its lock.
    pub lock: Option<Lock>,
    /// The last turn that it lost.
    pub missed: Option<MissedTurn>,
    /// It produces now; none where L2 is not followed.
    pub producing: Option<bool>,
    /// L1 block at which the bridge's scan begins.
    pub scan_start: u64,
    /// Since when the bridge has answered without a break.
    pub bridge_since: Option<OffsetDateTime>,
}

/// Seconds until the bridge has read all of L1, at most: it may have gone on from where it stopped, of which it tells
/// nothing, or it may have begun anew when it came up.
pub fn scan_seconds_max(
    facts: &Facts,
    standing: &Standing,
    expected: &Expected,
    now: OffsetDateTime,
) -> Option<u64> {
    facts.bridge.as_ref().ok()?;
    let head = expected.l1_head?;
    if facts.lock == Some(Recognition::Yes) {
        return Some(0);
    }
    let up = u64::try_from((now - standing.bridge_since?).whole_seconds()).unwrap_or(0);
    let blocks = head.saturating_sub(THEMIS_CONFIRMATIONS).saturating_sub(standing.scan_start);
    Some(blocks.div_ceil(SCAN_BLOCKS).saturating_mul(SCAN_SECS).saturating_sub(up))
}

/// The checks that make sense for this node.
pub fn checks(facts: &Facts, standing: &Standing, expected: &Expected, now: OffsetDateTime) -> Vec<Check> {
    let mut checks = Checks(Vec::new());
    if let Some(lock) = &standing.lock {
        if lock.current {
            validator(&mut checks, &facts.validator, lock, expected.l1_head);
        } else {
            let message = "another signer stands in its place on L1, and this one can never come back";
            checks.add("SIGNER_CURRENT", Verdict::Fail, message);
        }
        recognised(&mut checks, facts.lock.as_ref(), lock, expected.l1_head);
    }
    if standing.lock.is_some() && standing.producing.is_some() {
        turns(&mut checks, standing.missed.as_ref(), now);
    }
    if facts.lock != Some(Recognition::Yes) {
        scan(&mut checks, scan_seconds_max(facts, standing, expected, now));
    }
    if let Ok(bridge) = &facts.bridge {
        signing(&mut checks, bridge);
    }
    checks.0
}

/// What is not yet so may come until the time for it is over.
fn so_far(head: Option<u64>, since: u64) -> Verdict {
    match head {
        None => Verdict::Unknown,
        Some(head) if head.saturating_sub(since) <= CONSENSUS_BLOCKS_MAX => Verdict::Warn,
        Some(_) => Verdict::Fail,
    }
}

fn validator(checks: &mut Checks, known: &Result<Option<Validator>, String>, lock: &Lock, head: Option<u64>) {
    const NAMES: [&str; 3] = ["VALIDATOR_NONCE", "VALIDATOR_POWER", "VALIDATOR_CURRENT"];
    // While exiting, the nonce still agrees; power and membership are over. Afterwards nothing is relayed.
    let names = match lock.status {
        Status::Active => &NAMES[..],
        Status::Inactive => &NAMES[..1],
        Status::Unlocked => return,
    };
    let known = match known {
        Ok(Some(known)) => known,
        Ok(None) => {
            for name in names {
                checks.add(name, so_far(head, lock.changed), "themis knows no validator with this signer");
            }
            return;
        }
        Err(why) => {
            for name in names {
                checks.add(name, Verdict::Unknown, format!("themis REST does not answer: {why}"));
            }
            return;
        }
    };
    let late = so_far(head, lock.changed);
    let (theirs, ours) = (known.nonce, lock.nonce);
    match theirs.cmp(&ours) {
        std::cmp::Ordering::Equal => checks.add(NAMES[0], Verdict::Pass, "themis has the nonce of L1"),
        std::cmp::Ordering::Less => {
            checks.add(NAMES[0], late, format!("themis has applied nonce {theirs}, L1 is at {ours}"));
        }
        std::cmp::Ordering::Greater => {
            let message = format!("themis has applied nonce {theirs}, the index has only {ours}");
            checks.add(NAMES[0], Verdict::Warn, message);
        }
    }
    checks.fact("themis", theirs);
    checks.fact("l1", ours);
    if lock.status != Status::Active {
        return;
    }
    let (theirs, ours): (u64, u64) = (known.power, (lock.amount / WEI_PER_UNIT).saturating_to());
    if theirs == ours || theirs == ours.min(POWER_MAX) {
        checks.add(NAMES[1], Verdict::Pass, "the power is that of the lock");
    } else {
        checks.add(NAMES[1], late, format!("themis has power {theirs}, the lock gives {ours}"));
    }
    checks.fact("themis", theirs);
    checks.fact("l1", ours);
    match known.current {
        _ if known.jailed => checks.add(NAMES[2], Verdict::Fail, "the validator is jailed"),
        Some(true) => checks.add(NAMES[2], Verdict::Pass, "the validator is in the current set"),
        Some(false) => checks.add(NAMES[2], late, "the validator is not in the current set"),
        None => checks.add(NAMES[2], Verdict::Unknown, "themis does not tell whether it is in the set"),
    }
}

fn recognised(checks: &mut Checks, told: Option<&Recognition>, lock: &Lock, head: Option<u64>) {
    const NAME: &str = "LOCK_RECOGNISED";
    let (Some(told), Some((block, _, log_index))) = (told, lock.locked) else { return };
    match told {
        Recognition::Yes => checks.add(NAME, Verdict::Pass, "themis has processed the lock"),
        Recognition::NotYet => checks.add(NAME, so_far(head, block), "themis has not processed the lock"),
        // It says the same when something else fails, so that our own count decides.
        Recognition::NotConfirmed => match head {
            Some(head) if head.saturating_sub(block) <= THEMIS_CONFIRMATIONS => {
                checks.add(NAME, Verdict::Warn, "the lock has fewer than 12 confirmations");
            }
            _ => checks.add(NAME, Verdict::Unknown, "themis cannot say whether it has processed the lock"),
        },
        Recognition::Unknown(why) => {
            checks.add(NAME, Verdict::Unknown, format!("themis REST does not answer: {why}"));
        }
    }
    checks.fact("block", block);
    checks.fact("log_index", log_index);
}

fn turns(checks: &mut Checks, missed: Option<&MissedTurn>, now: OffsetDateTime) {
    const NAME: &str = "TURN_KEPT";
    let recent = |missed: &&MissedTurn| missed.time.is_none_or(|time| now - time <= MISSED_TURN_AGE_MAX);
    match missed.filter(recent) {
        None => checks.add(NAME, Verdict::Pass, "no turn was lost within a day"),
        Some(MissedTurn { block, time: _, blocks_lost }) => {
            let message = format!("a turn of {blocks_lost} blocks went to another at L2 block {block}");
            checks.add(NAME, Verdict::Warn, message);
            checks.fact("block", block);
            checks.fact("blocks_lost", blocks_lost);
        }
    }
}

fn scan(checks: &mut Checks, seconds: Option<u64>) {
    const NAME: &str = "BRIDGE_SCAN";
    match seconds {
        None => checks.add(NAME, Verdict::Unknown, "how far the bridge has read L1 cannot be estimated"),
        Some(0) => checks.add(NAME, Verdict::Pass, "the bridge should have read all of L1 (an estimate)"),
        Some(seconds) => {
            let message = format!(
                "the bridge may need up to {} more minutes to read all of L1 (an estimate), and sees a lock only then",
                seconds.div_ceil(60)
            );
            checks.add(NAME, Verdict::Warn, message);
            checks.fact("seconds_max", seconds);
        }
    }
}

/// Only a proposer that has asked once tells something: before that its zeros are what it began with.
fn signing(checks: &mut Checks, bridge: &Bridge) {
    const NAME: &str = "MPC_SIGNING";
    if !bridge.mpc_proposer || bridge.mpc_time.is_none() {
        return;
    }
    if bridge.mpc_sign_success {
        // The bridge never takes it back, so that later failures show only as silence.
        checks.add(NAME, Verdict::Pass, "the MPC has signed for this bridge");
    } else {
        checks.add(NAME, Verdict::Fail, "the MPC has not signed what this bridge asked for");
    }
    checks.fact("sign_id", &bridge.mpc_sign_id);
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00:00 UTC);

    fn known(nonce: u64, power: u64) -> Validator {
        Validator { nonce, power, jailed: false, current: Some(true), updated_block: Some(900) }
    }

    fn world() -> (Facts, Standing, Expected) {
        let away = || "not asked".to_owned();
        let facts = Facts {
            themis: Err(away()),
            bridge: Ok(Bridge::default()),
            l2geth: Err(away()),
            dtl: Err(away()),
            validator: Ok(Some(known(3, 20_000))),
            lock: Some(Recognition::Yes),
        };
        let lock = Lock {
            current: true,
            status: Status::Active,
            amount: U256::from(20_000_u64) * WEI_PER_UNIT + U256::from(9),
            nonce: 3,
            changed: 900,
            locked: Some((900, B256::repeat_byte(7), 4)),
        };
        let standing =
            Standing { lock: Some(lock), producing: Some(false), scan_start: 0, ..Standing::default() };
        (facts, standing, Expected { l1_head: Some(1_000), ..Expected::default() })
    }

    fn verdict(name: &str, facts: &Facts, standing: &Standing, expected: &Expected) -> Option<Verdict> {
        let checks = checks(facts, standing, expected, NOW);
        checks.iter().find(|check| check.name == name).map(Check::verdict)
    }

    #[test]
    fn before_a_lock_nothing_of_the_validator_is_asked_for() {
        let (mut facts, _, expected) = world();
        (facts.validator, facts.lock) = (Ok(None), None);
        let names: Vec<String> = checks(&facts, &Standing::default(), &expected, NOW)
            .into_iter()
            .map(|check| check.name)
            .collect();
        assert_eq!(names, ["BRIDGE_SCAN"]);
    }

    #[test]
    fn the_validator_is_compared_with_l1() {
        type Case = (&'static str, fn(&mut Facts, &mut Standing), Verdict);
        let late: fn(&mut Facts, &mut Standing) = |facts, _| facts.validator = Ok(Some(known(2, 20_000)));
        let cases: [Case; 15] = [
            ("VALIDATOR_NONCE", |_, _| {}, Verdict::Pass),
            ("VALIDATOR_POWER", |_, _| {}, Verdict::Pass),
            ("VALIDATOR_CURRENT", |_, _| {}, Verdict::Pass),
            ("VALIDATOR_NONCE", late, Verdict::Fail),
            ("VALIDATOR_NONCE", |facts, _| facts.validator = Ok(Some(known(4, 20_000))), Verdict::Warn),
            ("VALIDATOR_NONCE", |facts, _| facts.validator = Err(String::new()), Verdict::Unknown),
            ("VALIDATOR_NONCE", |facts, _| facts.validator = Ok(None), Verdict::Fail),
            ("VALIDATOR_POWER", |facts, _| facts.validator = Ok(Some(known(3, 19_999))), Verdict::Fail),
            (
                "VALIDATOR_CURRENT",
                |facts, _| facts.validator = Ok(Some(Validator { jailed: true, ..known(3, 20_000) })),
                Verdict::Fail,
            ),
            (
                "VALIDATOR_CURRENT",
                |facts, _| facts.validator = Ok(Some(Validator { current: None, ..known(3, 20_000) })),
                Verdict::Unknown,
            ),
            ("LOCK_RECOGNISED", |_, _| {}, Verdict::Pass),
            ("LOCK_RECOGNISED", |facts, _| facts.lock = Some(Recognition::NotYet), Verdict::Fail),
            ("LOCK_RECOGNISED", |facts, _| facts.lock = Some(Recognition::NotConfirmed), Verdict::Unknown),
            (
                "VALIDATOR_NONCE",
                |_, standing| standing.lock.iter_mut().for_each(|lock| lock.status = Status::Inactive),
                Verdict::Pass,
            ),
            (
                "SIGNER_CURRENT",
                |_, standing| standing.lock.iter_mut().for_each(|lock| lock.current = false),
                Verdict::Fail,
            ),
        ];
        for (name, change, wanted) in cases {
            let (mut facts, mut standing, expected) = world();
            change(&mut facts, &mut standing);
            assert_eq!(verdict(name, &facts, &standing, &expected), Some(wanted), "{name}");
        }
    }

    #[test]
    fn what_is_fresh_on_l1_has_time_to_arrive() {
        let (mut facts, standing, _) = world();
        (facts.validator, facts.lock) = (Ok(None), Some(Recognition::NotConfirmed));
        let at = |head| Expected { l1_head: head, ..Expected::default() };
        let of = |name, head| verdict(name, &facts, &standing, &at(head));
        assert_eq!(of("VALIDATOR_NONCE", Some(950)), Some(Verdict::Warn));
        assert_eq!(of("VALIDATOR_NONCE", Some(951)), Some(Verdict::Fail));
        assert_eq!(of("VALIDATOR_NONCE", None), Some(Verdict::Unknown));
        assert_eq!(of("LOCK_RECOGNISED", Some(912)), Some(Verdict::Warn));
        assert_eq!(of("LOCK_RECOGNISED", Some(913)), Some(Verdict::Unknown));
    }

    #[test]
    fn the_scan_of_a_fresh_bridge_takes_half_a_second_for_each_17_blocks() {
        let (mut facts, mut standing, _) = world();
        (facts.lock, standing.scan_start) = (None, 19_430_344);
        let expected = Expected { l1_head: Some(24_030_356), ..Expected::default() };
        let left = |facts: &Facts, standing: &Standing| scan_seconds_max(facts, standing, &expected, NOW);
        assert_eq!(left(&facts, &standing), None, "it is not known since when it scans");
        standing.bridge_since = Some(NOW);
        assert_eq!(left(&facts, &standing), Some(9_200 * 15), "about 38 hours, as P 3.4 has it");
        standing.bridge_since = Some(NOW - Duration::hours(38));
        assert_eq!(left(&facts, &standing), Some(9_200 * 15 - 38 * 3_600));
        standing.bridge_since = Some(NOW - Duration::hours(40));
        assert_eq!(left(&facts, &standing), Some(0));
        facts.bridge = Err("away".to_owned());
        assert_eq!(left(&facts, &standing), None);
    }

    #[test]
    fn a_lost_turn_warns_for_a_day() {
        let (facts, mut standing, expected) = world();
        let mut at = |time| {
            standing.missed = Some(MissedTurn { block: 7, time, blocks_lost: 60 });
            verdict("TURN_KEPT", &facts, &standing, &expected)
        };
        assert_eq!(at(Some(NOW - Duration::hours(24))), Some(Verdict::Warn));
        assert_eq!(at(None), Some(Verdict::Warn));
        assert_eq!(at(Some(NOW - Duration::hours(25))), Some(Verdict::Pass));
    }

    #[test]
    fn the_mpc_is_judged_only_for_a_proposer_that_has_asked() {
        let (mut facts, standing, expected) = world();
        let mut of = |proposer, asked: bool, success| {
            facts.bridge = Ok(Bridge {
                mpc_proposer: proposer,
                mpc_time: asked.then_some(NOW),
                mpc_sign_success: success,
                ..Bridge::default()
            });
            verdict("MPC_SIGNING", &facts, &standing, &expected)
        };
        assert_eq!(of(false, true, false), None);
        assert_eq!(of(true, false, false), None);
        assert_eq!(of(true, true, false), Some(Verdict::Fail));
        assert_eq!(of(true, true, true), Some(Verdict::Pass));
    }
}
