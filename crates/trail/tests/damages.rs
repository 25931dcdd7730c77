//! Random damages: each is found, and called by its name and place.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use trail::{Head, Kind, Place, Record, Trusted, Unfit, verify};

use crate::log::{body, file, head, lines, records};

const RECORDS: u64 = 64;
/// A sample for each change; `TRAIL_DAMAGES=10000` (`make test-long`) for the figure of the anchors (K9).
const DAMAGES: u64 = 2_000;

/// Two records, the earlier one first.
fn two(rng: &mut StdRng) -> (usize, usize) {
    let a = rng.random_range(1..=RECORDS as usize);
    let b = (a + rng.random_range(1..RECORDS as usize) - 1) % RECORDS as usize + 1;
    (a.min(b), a.max(b))
}

struct Damaged {
    what: &'static str,
    file: Vec<u8>,
    /// Any of these is right.
    expected: Vec<(Kind, Place)>,
}

fn damaged(rng: &mut StdRng, log: &[Record]) -> Damaged {
    let whole = lines(log, head(log));
    match rng.random_range(0..=9) {
        0 | 1 => flipped(rng, &whole),
        2 => cut(rng, &whole),
        3 => {
            let (from, to) = two(rng);
            let to = if rng.random_range(0..=3) == 0 { from } else { to };
            let mut left = whole.clone();
            left.drain(from..=to);
            let kind = if to == log.len() { Kind::Truncated } else { Kind::Deleted };
            Damaged::of("delete", left, kind, from)
        }
        4..=6 => inserted(rng, log, whole),
        7 | 8 => reordered(rng, whole),
        _ => replaced(rng, log, whole),
    }
}

impl Damaged {
    fn of(what: &'static str, lines: Vec<String>, kind: Kind, number: usize) -> Self {
        Self { what, file: file(&lines), expected: vec![(kind, Place::Record(number as u64))] }
    }
}

/// The place of a byte: the line that it is in, with its newline.
fn place_of(whole: &[String], mut at: usize) -> Place {
    for (number, line) in whole.iter().enumerate() {
        if at <= line.len() {
            return match number {
                0 => Place::Header,
                end if end == whole.len() - 1 => Place::End,
                number => Place::Record(number as u64),
            };
        }
        at -= line.len() + 1;
    }
    Place::End
}

fn flipped(rng: &mut StdRng, whole: &[String]) -> Damaged {
    let mut file = file(whole);
    let at = rng.random_range(0..=file.len() - 1);
    file[at] ^= 1 << rng.random_range(0..=7);
    Damaged { what: "flip", file, expected: vec![(Kind::Changed, place_of(whole, at))] }
}

fn cut(rng: &mut StdRng, whole: &[String]) -> Damaged {
    let mut file = file(whole);
    let at = rng.random_range(0..=file.len() - 1);
    file.truncate(at);
    let mut expected = vec![(Kind::Truncated, place_of(whole, at))];
    if expected[0].1 == Place::End {
        // The first bytes of the end could be those of another record.
        expected.push((Kind::Truncated, Place::Record(RECORDS + 1)));
    }
    Damaged { what: "cut", file, expected }
}

fn inserted(rng: &mut StdRng, log: &[Record], mut whole: Vec<String>) -> Damaged {
    // Before this record; one more than there are: before the end.
    let at = rng.random_range(1..=RECORDS as usize + 1);
    let previous = head(&log[..at - 1]);
    let forged = body(at as u64, ", forged");
    let (what, line) = match rng.random_range(0..=4) {
        0 => ("insert garbage", "nothing".to_owned()),
        1 => ("insert an empty line", String::new()),
        2 => {
            let other = (at + rng.random_range(1..=RECORDS as usize - 1) - 1) % RECORDS as usize + 1;
            let other = if other == at { at % RECORDS as usize + 1 } else { other };
            ("insert a copy", log[other - 1].line())
        }
        3 => ("insert a forgery", Record { sequence: at as u64, body: forged, hash: [7; 32] }.line()),
        _ => {
            let Head { sequence, hash } = previous.after(&forged);
            ("insert a chained forgery", Record { sequence, body: forged, hash }.line())
        }
    };
    whole.insert(at, line);
    Damaged::of(what, whole, Kind::Inserted, at)
}

fn reordered(rng: &mut StdRng, mut whole: Vec<String>) -> Damaged {
    let (first, second) = two(rng);
    let what = match rng.random_range(0..=3) {
        0 => {
            whole.swap(first, second);
            "swap"
        }
        1 => {
            let line = whole.remove(first);
            whole.insert(second, line);
            "move down"
        }
        2 => {
            let line = whole.remove(second);
            whole.insert(first, line);
            "move up"
        }
        _ => {
            let end = whole.pop().unwrap();
            whole.insert(first, end);
            "move the end up"
        }
    };
    Damaged::of(what, whole, Kind::Reordered, first)
}

/// Another text in a record, with the old hash or with one that fits.
fn replaced(rng: &mut StdRng, log: &[Record], mut whole: Vec<String>) -> Damaged {
    let at = rng.random_range(1..=RECORDS as usize);
    let (sequence, body) = (at as u64, body(at as u64, ", replaced"));
    if rng.random_range(0..=1) == 0 {
        whole[at] = Record { sequence, body, hash: log[at - 1].hash }.line();
        return Damaged::of("replace a body", whole, Kind::Changed, at);
    }
    let hash = head(&log[..at - 1]).after(&body).hash;
    whole[at] = Record { sequence, body, hash }.line();
    let mut damaged = Damaged::of("replace body and hash", whole, Kind::Changed, at);
    // No file can tell this from a change of the next one.
    damaged.expected = vec![if at == log.len() {
        (Kind::Changed, Place::End)
    } else {
        (Kind::Changed, Place::Record(sequence + 1))
    }];
    damaged
}

#[test]
fn every_random_damage_is_found_and_called_by_its_name_and_place() {
    let wanted =
        std::env::var("TRAIL_DAMAGES").ok().and_then(|number| number.parse().ok()).unwrap_or(DAMAGES);
    let log = records(RECORDS);
    assert!(verify(file(&lines(&log, head(&log))).as_slice(), Trusted::default()).is_ok());
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..wanted {
        let Damaged { what, file, expected } = damaged(&mut StdRng::seed_from_u64(seed), &log);
        let named = match verify(file.as_slice(), Trusted::default()) {
            Err(Unfit::Damaged(damage)) => (damage.kind, damage.place),
            other => panic!("seed {seed}, {what}: {other:?}"),
        };
        assert!(expected.contains(&named), "seed {seed}, {what}: {named:?} instead of {expected:?}");
        *counted.entry(what).or_default() += 1;
    }
    assert_eq!(counted.len(), 14, "each kind was among them: {counted:?}");
}

#[test]
fn each_bit_of_a_small_export_matters() {
    let log = records(3);
    let whole = lines(&log, head(&log));
    let export = file(&whole);
    for at in 0..export.len() {
        for bit in 0..8 {
            let mut changed = export.clone();
            changed[at] ^= 1 << bit;
            let damage = match verify(changed.as_slice(), Trusted::default()) {
                Err(Unfit::Damaged(damage)) => damage,
                other => panic!("byte {at}, bit {bit}: {other:?}"),
            };
            assert_eq!(
                (damage.kind, damage.place),
                (Kind::Changed, place_of(&whole, at)),
                "byte {at}, bit {bit}"
            );
        }
    }
}

#[test]
fn an_empty_log_has_an_export_too() {
    let empty = file(&lines(&[], Head::START));
    assert_eq!(verify(empty.as_slice(), Trusted::default()).unwrap().head, Head::START);
    assert!(verify(&b""[..], Trusted::default()).is_err());
}
