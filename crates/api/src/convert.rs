//! Fields as they cross the wire, to and from `domain`: strict on the way in, naming the field and
//! the rule that broke; canonical on the way out.

use std::fmt::Display;

use alloy_primitives::{Address, B256};
use domain::amount::{self, Eth, Metis};
use domain::ids::{NetworkName, SequencerId, Timestamp};
use domain::preflight::{Check, Verdict};
use domain::pubkey::{self, PublicKey};
use domain::{address, phase::Phase};
use prost_types::Timestamp as WireTime;
use runtime::errors::{Reason, Refusal};

use crate::lifecycle::v1 as lifecycle;
use crate::reasons;
use crate::types::v1 as types;

/// Longest name of a key, node or sequencer: a DNS label, so that it can be one.
pub const NAME_CHARS_MAX: usize = 63;

/// A refusal of one field.
pub fn bad(reason: &'static Reason, field: &str, why: impl Display) -> Refusal {
    let why = why.to_string();
    Refusal::new(reason, format!("{field}: {why}")).field(field, why)
}

/// An amount of METIS in wei.
///
/// # Errors
/// Anything but a plain decimal number below 2^256.
pub fn metis(field: &str, text: &str) -> Result<Metis, Refusal> {
    Metis::parse_wei(text).map_err(|malformed| amount_refusal(field, malformed))
}

/// An amount of ETH in wei.
///
/// # Errors
/// Anything but a plain decimal number below 2^256.
pub fn eth(field: &str, text: &str) -> Result<Eth, Refusal> {
    Eth::parse_wei(text).map_err(|malformed| amount_refusal(field, malformed))
}

/// Why an amount cannot be taken, in the registry's terms.
pub fn amount_refusal(field: &str, malformed: amount::Malformed) -> Refusal {
    use amount::Malformed::{Empty, FractionalWei, Negative, NotANumber, TooLarge, TooManyDecimals};
    let reason = match malformed {
        Empty => &reasons::FIELD_REQUIRED,
        NotANumber => &reasons::AMOUNT_MALFORMED,
        Negative => &reasons::AMOUNT_NEGATIVE,
        FractionalWei | TooManyDecimals => &reasons::AMOUNT_FRACTIONAL_WEI,
        TooLarge => &reasons::AMOUNT_TOO_LARGE,
    };
    bad(reason, field, malformed)
}

/// An address; the zero address is allowed.
///
/// # Errors
/// A wrong form or a wrong checksum.
pub fn address(field: &str, text: &str) -> Result<Address, Refusal> {
    address::parse(text).map_err(|malformed| address_refusal(field, &malformed))
}

/// An address that somebody can own.
///
/// # Errors
/// A wrong form, a wrong checksum, or the zero address.
pub fn address_nonzero(field: &str, text: &str) -> Result<Address, Refusal> {
    address::parse_nonzero(text).map_err(|malformed| address_refusal(field, &malformed))
}

fn address_refusal(field: &str, malformed: &address::Malformed) -> Refusal {
    let reason = match malformed {
        address::Malformed::Form => &reasons::ADDRESS_MALFORMED,
        address::Malformed::Checksum { .. } => &reasons::ADDRESS_CHECKSUM,
        address::Malformed::Zero => &reasons::ADDRESS_ZERO,
    };
    bad(reason, field, malformed)
}

/// A public key in any form of P 3.2.
///
/// # Errors
/// A wrong length, prefix or point.
pub fn pubkey(field: &str, text: &str) -> Result<PublicKey, Refusal> {
    PublicKey::from_hex(text).map_err(|malformed| {
        let reason = match malformed {
            pubkey::Malformed::Hex | pubkey::Malformed::Length(_) => &reasons::PUBKEY_MALFORMED,
            pubkey::Malformed::Prefix(_) => &reasons::PUBKEY_PREFIX,
            pubkey::Malformed::NotOnCurve => &reasons::PUBKEY_NOT_ON_CURVE,
        };
        bad(reason, field, malformed)
    })
}

/// A sequencer id as the contract counts them.
///
/// # Errors
/// Anything but a positive decimal number.
pub fn sequencer_id(field: &str, text: &str) -> Result<SequencerId, Refusal> {
    text.parse::<SequencerId>()
        .ok()
        .filter(|id| id.get() > 0)
        .ok_or_else(|| bad(&reasons::ID_MALFORMED, field, "a sequencer id is a decimal number from 1"))
}

/// The name of a network, by form only.
///
/// # Errors
/// A name that no network can have.
pub fn network(field: &str, text: &str) -> Result<NetworkName, Refusal> {
    required(field, text)?;
    text.parse::<NetworkName>().map_err(|malformed| bad(&reasons::NETWORK_NOT_FOUND, field, malformed))
}

/// A name of something of ours: 1 to 63 of `a-z`, `0-9` and `-`.
///
/// # Errors
/// Any other text.
pub fn name(field: &str, text: &str) -> Result<String, Refusal> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.chars().all(allowed) {
        return Err(bad(&reasons::NAME_MALFORMED, field, "a name is 1 to 63 of a-z, 0-9 and -"));
    }
    Ok(text.to_owned())
}

/// A request id: a UUID in its usual text form.
///
/// # Errors
/// An empty or any other text.
pub fn request_id(field: &str, text: &str) -> Result<String, Refusal> {
    required(field, text)?;
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let hex = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if lengths != [8, 4, 4, 4, 12] || !hex {
        return Err(bad(&reasons::REQUEST_ID_MALFORMED, field, "a request id is a UUID"));
    }
    Ok(text.to_ascii_lowercase())
}

/// A 32-byte hash.
///
/// # Errors
/// Anything but 0x and 64 hex digits.
pub fn hash(field: &str, text: &str) -> Result<B256, Refusal> {
    text.strip_prefix("0x")
        .and_then(|_| text.parse().ok())
        .ok_or_else(|| bad(&reasons::HASH_MALFORMED, field, "a hash is 0x and 64 hex digits"))
}

/// A field that must not be empty.
///
/// # Errors
/// An empty text.
pub fn required(field: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(bad(&reasons::FIELD_REQUIRED, field, "must be set"));
    }
    Ok(())
}

/// A message field that must be there.
///
/// # Errors
/// An absent one.
pub fn present<T>(field: &str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| bad(&reasons::FIELD_REQUIRED, field, "must be set"))
}

/// Chain time for the wire.
pub fn wire_time(time: Timestamp) -> WireTime {
    WireTime { seconds: i64::try_from(time.0).unwrap_or(i64::MAX), nanos: 0 }
}

/// Chain time from the wire.
///
/// # Errors
/// A time before 1970.
pub fn chain_time(field: &str, time: &WireTime) -> Result<Timestamp, Refusal> {
    u64::try_from(time.seconds)
        .map(Timestamp)
        .map_err(|_| bad(&runtime::errors::generic::INVALID_ARGUMENT, field, "a time after 1970"))
}

/// A check for the wire.
pub fn wire_check(check: Check) -> types::Check {
    let Check { name, verdict, reason, message, facts } = check;
    let verdict = match verdict {
        Verdict::Pass => types::Verdict::Pass,
        Verdict::Warn => types::Verdict::Warn,
        Verdict::Fail => types::Verdict::Fail,
        Verdict::Unknown => types::Verdict::Unknown,
    };
    types::Check {
        name: name.to_owned(),
        verdict: verdict.into(),
        reason: reason.to_owned(),
        message,
        facts: facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}

/// A phase for the wire; the time of EXITING travels in its own field.
pub fn wire_phase(phase: Phase) -> lifecycle::Phase {
    match phase {
        Phase::Registered => lifecycle::Phase::Registered,
        Phase::Whitelisted => lifecycle::Phase::Whitelisted,
        Phase::Locked => lifecycle::Phase::Locked,
        Phase::Active => lifecycle::Phase::Active,
        Phase::Exiting { .. } => lifecycle::Phase::Exiting,
        Phase::Withdrawable => lifecycle::Phase::Withdrawable,
        Phase::Withdrawn => lifecycle::Phase::Withdrawn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^256.
    const TOO_LARGE: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639936";

    #[test]
    fn a_bad_amount_is_refused_with_its_rule_and_its_field() {
        let cases = [
            ("", "FIELD_REQUIRED"),
            ("-1", "AMOUNT_NEGATIVE"),
            ("1.5", "AMOUNT_FRACTIONAL_WEI"),
            ("1e18", "AMOUNT_MALFORMED"),
            (TOO_LARGE, "AMOUNT_TOO_LARGE"),
        ];
        for (text, reason) in cases {
            let refusal = metis("lock.amount_wei", text).unwrap_err();
            assert_eq!(refusal.reason.name, reason, "{text}");
            assert_eq!(refusal.fields[0].0, "lock.amount_wei");
        }
    }

    #[test]
    fn a_request_id_is_a_uuid_in_either_case() {
        let upper = "0192F3A0-0000-7000-8000-00000000000A";
        assert_eq!(request_id("request_id", upper).unwrap(), upper.to_lowercase());
        for text in ["", "1", "0192f3a0-0000-7000-8000-00000000000", "0192f3a0x0000-7000-8000-00000000000a"] {
            assert!(request_id("request_id", text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_dns_labels() {
        assert!(name("name", "alpha-1").is_ok());
        for text in ["", "Alpha", "a b", "a_b", &"a".repeat(64)] {
            assert_eq!(name("name", text).unwrap_err().reason.name, "NAME_MALFORMED", "{text}");
        }
    }
}
