//! From ABI values to ours, strictly; and numbers as decimal strings in JSON.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolEvent;
use domain::amount::Metis;
use domain::ids::{BatchId, EpochId, Height, Nonce, SequencerId, Timestamp};

/// Conversion of one field. Counters, heights and times are 64 bits here although the chain has 256:
/// more cannot be true, and is said rather than cut.
pub(super) trait Read<From>: Sized {
    fn read(from: From, field: &str) -> Result<Self, String>;
}

macro_rules! read_as_is {
    ($($type:ty),+) => {
        $(impl Read<$type> for $type {
            fn read(from: $type, _field: &str) -> Result<Self, String> {
                Ok(from)
            }
        })+
    };
}

read_as_is!(Address, Bytes, bool, u8);

impl Read<U256> for Metis {
    fn read(from: U256, _field: &str) -> Result<Self, String> {
        Ok(Self(from))
    }
}

macro_rules! read_number {
    ($($type:ty),+) => {
        $(impl Read<U256> for $type {
            fn read(from: U256, field: &str) -> Result<Self, String> {
                from.try_into().map_err(|_| format!("{field} is {from}, which cannot be"))
            }
        })+
    };
}

read_number!(u64, SequencerId, BatchId, EpochId, Height, Timestamp, Nonce);

/// Decodes an event whose topics and data are exactly what the event would be encoded to.
pub(super) fn strict<E: SolEvent>(topics: &[B256], data: &[u8]) -> Result<E, String> {
    let event =
        E::decode_raw_log_validate(topics.iter().copied(), data).map_err(|error| error.to_string())?;
    let encoded = event.encode_log_data();
    if encoded.topics() != topics {
        return Err("the topics are not in their canonical encoding".to_owned());
    }
    if *encoded.data != *data {
        return Err("the data is not in its canonical encoding".to_owned());
    }
    Ok(event)
}

/// Numbers as decimal strings: JSON readers lose digits of anything larger than 2^53.
pub(super) mod decimal {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<T: Display, S: Serializer>(number: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(serde::de::Error::custom("not a decimal number"));
        }
        text.parse().map_err(serde::de::Error::custom)
    }
}
