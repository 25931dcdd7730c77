//! Where calldata departs from the one canonical encoding of its call.
//!
//! Decoding is done by alloy and checked by encoding again; this only finds the words for what is wrong, and knows
//! calls that carry other calls.

use super::call::Unknown;

/// Calls that wrap other calls: `multicall` in its forms, the aggregates of Multicall3, `execTransaction` of Safe.
/// No contract of ours has them; whoever sends one wants rules to look at the wrapping.
const WRAPPING: [[u8; 4]; 9] = [
    [0xac, 0x96, 0x50, 0xd8], // multicall(bytes[])
    [0x5a, 0xe4, 0x01, 0xdc], // multicall(uint256,bytes[])
    [0x1f, 0x04, 0x64, 0xd1], // multicall(bytes32,bytes[])
    [0x25, 0x2d, 0xba, 0x42], // aggregate((address,bytes)[])
    [0x82, 0xad, 0x56, 0xcb], // aggregate3((address,bool,bytes)[])
    [0x17, 0x4d, 0xea, 0x71], // aggregate3Value((address,bool,uint256,bytes)[])
    [0xbc, 0xe3, 0x8b, 0xd7], // tryAggregate(bool,(address,bytes)[])
    [0x6a, 0x76, 0x12, 0x02], // execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)
    [0x8d, 0x80, 0xff, 0x0a], // multiSend(bytes)
];

/// Bytes of a word of the encoding.
const WORD: usize = 32;
/// A public key in calldata: x and y without prefix.
pub const PUBKEY_BYTES: usize = 64;

/// How an argument is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Address,
    Bool,
    Uint32,
    Uint256,
    /// At most one, the last: its offset is the end of the head.
    Bytes,
}

/// Whether this selector wraps other calls.
pub fn wraps(selector: [u8; 4]) -> bool {
    WRAPPING.contains(&selector)
}

/// What is wrong with calldata that did not survive decoding and encoding. `signature` is that of the function as
/// alloy has it, `names` those of its arguments.
pub fn fault(signature: &'static str, names: &[&'static str], data: &[u8]) -> Unknown {
    let (function, kinds) = parse(signature);
    let argument =
        |at: usize| Unknown::Argument { function, argument: names.get(at).copied().unwrap_or("an argument") };
    let body = data.get(4..).unwrap_or_default();
    let head = kinds.len() * WORD;
    if body.len() < head {
        return Unknown::TooShort { function, bytes: data.len(), least: 4 + head };
    }
    for (at, (kind, word)) in kinds.iter().zip(body.chunks_exact(WORD)).enumerate() {
        let zeros = match kind {
            Kind::Address => 12,
            Kind::Bool => 31,
            Kind::Uint32 => 28,
            Kind::Uint256 => 0,
            Kind::Bytes => match tail(body, head, word) {
                Some(end) if end == body.len() => continue,
                Some(end) if end < body.len() => {
                    return Unknown::Trailing { function, bytes: body.len() - end };
                }
                _ => return argument(at),
            },
        };
        if word.iter().take(zeros).any(|byte| *byte != 0) {
            return argument(at);
        }
        if *kind == Kind::Bool && word.last().is_some_and(|byte| *byte > 1) {
            return argument(at);
        }
    }
    match body.len() - head {
        0 => argument(kinds.len()),
        bytes if kinds.last() != Some(&Kind::Bytes) => Unknown::Trailing { function, bytes },
        _ => argument(kinds.len()),
    }
}

/// Where the bytes argument ends, if it begins where it must and is padded with zeros.
fn tail(body: &[u8], head: usize, offset: &[u8]) -> Option<usize> {
    if small(offset)? != head {
        return None;
    }
    let length = small(body.get(head..head.checked_add(WORD)?)?)?;
    let begin = head + WORD;
    let end = begin.checked_add(length.checked_next_multiple_of(WORD)?)?;
    let padding = body.get(begin.checked_add(length)?..end)?;
    padding.iter().all(|byte| *byte == 0).then_some(end)
}

/// A word that counts bytes.
fn small(word: &[u8]) -> Option<usize> {
    let (zeros, last) = word.split_last_chunk::<4>()?;
    zeros.iter().all(|byte| *byte == 0).then(|| usize::try_from(u32::from_be_bytes(*last)).ok())?
}

/// Name and kinds of `name(type,…)`.
fn parse(signature: &'static str) -> (&'static str, Vec<Kind>) {
    let (name, types) = signature.split_once('(').unwrap_or((signature, ""));
    let kinds = types.trim_end_matches(')').split(',').filter_map(|kind| match kind {
        "address" => Some(Kind::Address),
        "bool" => Some(Kind::Bool),
        "uint32" => Some(Kind::Uint32),
        "uint256" => Some(Kind::Uint256),
        "bytes" => Some(Kind::Bytes),
        _ => None,
    });
    (name, kinds.collect())
}
