//! Names of things: sequencers, networks, batches, epochs, heights, moments and nonces.
//!
//! Each is its own type, so that a batch is never taken for an epoch or a height for a time.

use std::{borrow::Borrow, fmt, str::FromStr};

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};

/// Longest name of a network, so that it fits in labels and lock names.
const NETWORK_NAME_MAX: usize = 32;

/// Why a text or number is none of these ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Something else than decimal digits.
    #[error("not a plain decimal number")]
    NotANumber,
    /// More than 64 bits, which no chain that we follow has ever reached.
    #[error("the number does not fit in 64 bits")]
    TooLarge,
    /// No name of a network.
    #[error("a network name is 1 to 32 of a-z, 0-9 and -")]
    NetworkName,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number itself.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The number as Postgres' `bigint` holds it.
            ///
            /// # Errors
            /// [`Malformed::TooLarge`] from 2^63 on.
            pub fn to_i64(self) -> Result<i64, Malformed> {
                i64::try_from(self.0).map_err(|_| Malformed::TooLarge)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                // `u64::from_str` alone would take a leading plus.
                if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Malformed::NotANumber);
                }
                text.parse().map(Self).map_err(|_| Malformed::TooLarge)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }

        impl TryFrom<U256> for $name {
            type Error = Malformed;

            fn try_from(number: U256) -> Result<Self, Malformed> {
                u64::try_from(number).map(Self).map_err(|_| Malformed::TooLarge)
            }
        }

        impl TryFrom<i64> for $name {
            type Error = Malformed;

            fn try_from(number: i64) -> Result<Self, Malformed> {
                u64::try_from(number).map(Self).map_err(|_| Malformed::NotANumber)
            }
        }

        impl From<$name> for U256 {
            fn from(id: $name) -> Self {
                U256::from(id.0)
            }
        }
    };
}

number! {
    /// A sequencer on its network: `seqId`, from 1 on and never reused.
    SequencerId
}
number! {
    /// An L1 reward batch, the unit in which throttles count.
    BatchId
}
number! {
    /// An L2 epoch (themis: span): a range of blocks with one producer.
    EpochId
}
number! {
    /// A block number.
    Height
}
number! {
    /// A moment of chain time: the seconds since 1970 that a block carries.
    Timestamp
}
number! {
    /// A sequencer's operation counter, 1 at lock.
    Nonce
}

impl Height {
    /// The block after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The block before this one, unless this is the first.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl Timestamp {
    /// So many seconds later. The end of time is where it stays.
    pub fn plus(self, secs: u64) -> Self {
        Self(self.0.saturating_add(secs))
    }

    /// Seconds from `earlier` to this moment; none if it is not earlier.
    pub fn secs_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The name of a configured network: 1 to 32 of a-z, 0-9 and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(String);

impl NetworkName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NetworkName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for NetworkName {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=NETWORK_NAME_MAX).contains(&text.len());
        if fits && text.bytes().all(allowed) { Ok(Self(text)) } else { Err(Malformed::NetworkName) }
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> Self {
        name.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for NetworkName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for NetworkName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain_decimals_of_64_bits() {
        assert_eq!("17".parse(), Ok(SequencerId(17)));
        assert_eq!("18446744073709551615".parse(), Ok(SequencerId(u64::MAX)));
        assert_eq!("18446744073709551616".parse::<SequencerId>(), Err(Malformed::TooLarge));
        for text in ["", "+1", "-1", " 1", "1.0", "0x1"] {
            assert_eq!(text.parse::<SequencerId>(), Err(Malformed::NotANumber), "{text:?}");
        }
        assert_eq!(SequencerId::try_from(U256::MAX), Err(Malformed::TooLarge));
        assert_eq!(SequencerId::try_from(-1_i64), Err(Malformed::NotANumber));
        assert_eq!(SequencerId(u64::MAX).to_i64(), Err(Malformed::TooLarge));
    }

    #[test]
    fn network_names_are_short_and_lower_case() {
        let longest = "n".repeat(32);
        for good in ["devnet", "metis-sepolia", "l1", &longest] {
            assert_eq!(good.parse::<NetworkName>().map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", "Sepolia", "a b", "ä", "a_b", &"n".repeat(33)] {
            assert_eq!(bad.parse::<NetworkName>(), Err(Malformed::NetworkName), "{bad:?}");
        }
    }

    #[test]
    fn time_and_height_stop_at_their_ends() {
        assert_eq!(Timestamp(u64::MAX).plus(1), Timestamp(u64::MAX));
        assert_eq!(Timestamp(5).secs_since(Timestamp(9)), 0);
        assert_eq!(Height(0).previous(), None);
    }
}
