//! Changing what a node said. Pure: values in, values out, chance as an argument.

use std::ops::BitOr;

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::faults::Lost;

/// A number as JSON-RPC writes it.
pub(super) fn quantity(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn block_of(log: &Value) -> Option<u64> {
    log.get("blockNumber").and_then(quantity)
}

/// Loses logs of an answer that has some; returns how many.
pub(super) fn truncate(logs: &mut Vec<Value>, lost: Lost, rng: &mut StdRng) -> usize {
    let before = logs.len();
    if before == 0 {
        return 0;
    }
    match lost {
        Lost::Last(count) => logs.truncate(before.saturating_sub(count)),
        Lost::Suffix => logs.truncate(rng.random_range(0..before)),
        Lost::Random => {
            let (always, mut place) = (rng.random_range(0..before), 0);
            logs.retain(|_| {
                place += 1;
                rng.random_bool(0.5) && place - 1 != always
            });
        }
        Lost::Kind(topic) => logs.retain(|log| log["topics"][0] != topic),
    }
    before - logs.len()
}

/// Takes out what a node at `height_max` does not have; says whether anything went.
pub(super) fn clip(result: &mut Value, height_max: u64) -> bool {
    let is_above = |height: Option<u64>| height.is_some_and(|height| height > height_max);
    match result {
        Value::Array(entries) => {
            let before = entries.len();
            entries.retain(|entry| !is_above(block_of(entry)));
            entries.len() < before
        }
        Value::Object(fields) => {
            let height = fields.get("number").or_else(|| fields.get("blockNumber")).and_then(quantity);
            let gone = is_above(height);
            if gone {
                *result = Value::Null;
            }
            gone
        }
        _ => false,
    }
}

/// The name of a block on the fork for its name on the chain, and the other way round.
pub(super) fn flip(hash: &str) -> String {
    let digits = hash.strip_prefix("0x").unwrap_or(hash);
    let flipped = digits.chars().filter_map(|digit| char::from_digit(digit.to_digit(16)? ^ 0xf, 16));
    "0x".chars().chain(flipped).collect()
}

fn flip_value(hash: &mut Value) {
    if let Value::String(text) = hash {
        *text = flip(text);
    }
}

/// Moves all blocks above a height to the fork, wherever they are named; says whether there was one.
pub(super) fn fork(value: &mut Value, above: u64) -> bool {
    match value {
        Value::Array(entries) => entries.iter_mut().map(|entry| fork(entry, above)).fold(false, BitOr::bitor),
        Value::Object(fields) => {
            let number = |key: &str| fields.get(key).and_then(quantity);
            let is_header = fields.contains_key("parentHash");
            let height = number(if is_header { "number" } else { "blockNumber" });
            let mut any = height.is_some_and(|height| height > above);
            if any && let Some(hash) = fields.get_mut(if is_header { "hash" } else { "blockHash" }) {
                flip_value(hash);
            }
            if height.is_some_and(|height| height > above.saturating_add(1))
                && let Some(parent) = fields.get_mut("parentHash")
            {
                flip_value(parent);
            }
            for field in fields.values_mut().filter(|field| field.is_array() || field.is_object()) {
                any |= fork(field, above);
            }
            any
        }
        _ => false,
    }
}

/// Takes the time out of logs, wherever they are; says whether it was there.
pub(super) fn strip_timestamps(value: &mut Value) -> bool {
    match value {
        Value::Array(entries) => entries.iter_mut().map(strip_timestamps).fold(false, BitOr::bitor),
        Value::Object(fields) => {
            let own = fields.remove("blockTimestamp").is_some();
            fields.values_mut().map(strip_timestamps).fold(own, BitOr::bitor)
        }
        _ => false,
    }
}

/// Flips one bit in the data of one log; says whether any log has data.
pub(super) fn alter_one(logs: &mut [Value], rng: &mut StdRng) -> bool {
    let digits_of = |log: &Value| log["data"].as_str().map_or(0, |data| data.len().saturating_sub(2));
    let with_data: Vec<usize> = (0..logs.len()).filter(|place| digits_of(&logs[*place]) > 0).collect();
    let Some(place) = with_data.choose(rng).copied() else { return false };
    let digit = 2 + rng.random_range(0..digits_of(&logs[place]));
    let Value::String(data) = &mut logs[place]["data"] else { return false };
    *data = data
        .char_indices()
        .filter_map(
            |(at, char)| if at == digit { char::from_digit(char.to_digit(16)? ^ 1, 16) } else { Some(char) },
        )
        .collect();
    true
}

/// Doubles a log, as the last one of its block; says whether there was one to double.
pub(super) fn invent_one(logs: &mut Vec<Value>, rng: &mut StdRng) -> bool {
    let Some(mut invented) = logs.choose(rng).cloned() else { return false };
    let block = block_of(&invented);
    let Some(last) = logs.iter().rposition(|log| block_of(log) == block) else { return false };
    let index = quantity(&logs[last]["logIndex"]).unwrap_or_default() + 1;
    invented["logIndex"] = json!(format!("{index:#x}"));
    logs.insert(last + 1, invented);
    true
}

/// The last block up to which an answer that starts at `from` has at most `results_max` logs, and
/// `from` where even that block has more.
pub(super) fn fits_to(logs: &[Value], from: u64, results_max: usize) -> u64 {
    let first_too_many = logs.get(results_max).and_then(block_of);
    first_too_many.map_or(from, |block| block.saturating_sub(1).max(from))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn logs(count: u64) -> Vec<Value> {
        let log = |n: u64| {
            json!({ "blockNumber": format!("{:#x}", n / 2), "blockHash": "0x0f", "logIndex": format!("{:#x}", n % 2),
                    "topics": [if n.is_multiple_of(2) { "0xaa" } else { "0xbb" }], "data": "0x10",
                    "blockTimestamp": "0x1" })
        };
        (0..count).map(log).collect()
    }

    #[test]
    fn lost_logs_are_those_that_were_named_and_never_none() {
        for seed in 0..100 {
            let rng = &mut StdRng::seed_from_u64(seed);
            let cut = |lost, rng: &mut StdRng| {
                let mut left = logs(10);
                let gone = truncate(&mut left, lost, rng);
                assert_eq!(gone + left.len(), 10);
                (left, gone)
            };
            assert_eq!(cut(Lost::Last(3), rng).0, logs(10)[..7]);
            assert_eq!(cut(Lost::Last(99), rng).1, 10);
            let (left, gone) = cut(Lost::Suffix, rng);
            assert!(gone >= 1 && left == logs(10)[..left.len()]);
            let (left, gone) = cut(Lost::Random, rng);
            assert!(gone >= 1 && left.iter().all(|log| logs(10).contains(log)));
            let (left, gone) = cut(Lost::Kind("0xbb"), rng);
            assert!(gone == 5 && left.iter().all(|log| log["topics"][0] == "0xaa"));
            assert_eq!(truncate(&mut Vec::new(), Lost::Suffix, rng), 0);
        }
    }

    #[test]
    fn a_lagging_node_has_nothing_above_its_head() {
        let mut answer = json!(logs(10));
        assert!(clip(&mut answer, 2));
        assert_eq!(answer, json!(logs(6)));
        assert!(!clip(&mut answer, 2));
        let mut header = json!({ "number": "0x3", "parentHash": "0x02" });
        assert!(!clip(&mut header, 3) && header["number"] == "0x3");
        assert!(clip(&mut header, 2) && header.is_null());
        let mut pending = json!({ "hash": "0x01", "blockNumber": null });
        assert!(!clip(&mut pending, 2));
    }

    #[test]
    fn a_fork_renames_its_blocks_and_keeps_the_parent_below() {
        let header =
            |number: u64| json!({ "number": format!("{number:#x}"), "hash": "0xa0", "parentHash": "0x9f" });
        let forked = |number| {
            let mut header = header(number);
            fork(&mut header, 5);
            (header["hash"].clone(), header["parentHash"].clone())
        };
        assert_eq!(forked(5), (json!("0xa0"), json!("0x9f")));
        assert_eq!(forked(6), (json!("0x5f"), json!("0x9f")));
        assert_eq!(forked(7), (json!("0x5f"), json!("0x60")));
        let mut receipt = json!({ "blockNumber": "0x7", "blockHash": "0x0f", "logs": [logs(16).pop()] });
        assert!(fork(&mut receipt, 5));
        assert_eq!(
            (&receipt["blockHash"], &receipt["logs"][0]["blockHash"]),
            (&json!("0xf0"), &json!("0xf0"))
        );
        assert_eq!(flip(&flip("0x0123456789abcdef")), "0x0123456789abcdef");
    }

    #[test]
    fn an_altered_answer_differs_in_one_log_and_an_invented_log_is_the_last_of_its_block() {
        let rng = &mut StdRng::seed_from_u64(1);
        let mut altered = logs(10);
        assert!(alter_one(&mut altered, rng));
        let differing = altered.iter().zip(logs(10)).filter(|(one, other)| *one != other).count();
        assert_eq!(differing, 1);
        let mut more = logs(10);
        assert!(invent_one(&mut more, rng));
        assert_eq!(more.iter().filter(|log| log["logIndex"] == "0x2").count(), 1);
        let order: Vec<_> = more.iter().map(|log| (block_of(log), quantity(&log["logIndex"]))).collect();
        assert!(order.is_sorted());
        assert!(!invent_one(&mut Vec::new(), rng) && !alter_one(&mut [], rng));
    }

    #[test]
    fn a_suggested_range_holds_at_most_the_results() {
        assert_eq!(fits_to(&logs(10), 0, 4), 1);
        assert_eq!(fits_to(&logs(10), 0, 5), 1);
        assert_eq!(fits_to(&logs(10), 0, 1), 0);
        let mut answer = json!(logs(1));
        assert!(strip_timestamps(&mut answer) && !strip_timestamps(&mut answer));
    }
}
