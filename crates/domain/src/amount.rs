//! Money in wei: METIS and ETH, which must never be added to each other.
//!
//! Exact in both directions: nothing is rounded on the way in, and what people see is never more
//! than what is there. There is no `FromStr`, because "5" is five wei to a program and five METIS to
//! a person: callers say which they mean.

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};

/// Decimals of METIS and of ETH.
pub const DECIMALS: usize = 18;

/// Wei in one METIS or one ETH.
pub const WEI_PER_UNIT: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

/// Digits of 2^256 - 1: a longer number cannot fit, so it is not even parsed.
const DIGITS_MAX: usize = 78;

/// Decimals that [`Metis::short`] and [`Eth::short`] show.
const SHORT_DECIMALS: usize = 4;

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Nothing was given.
    #[error("the amount is empty")]
    Empty,
    /// Something else than digits (and one decimal point, where one is allowed).
    #[error("the amount is not a plain decimal number")]
    NotANumber,
    /// A number below zero.
    #[error("the amount is negative")]
    Negative,
    /// A number of wei with a fraction.
    #[error("an amount in wei has no fraction")]
    FractionalWei,
    /// More decimals than the token has: taking it would mean rounding.
    #[error("the amount has more than 18 decimals")]
    TooManyDecimals,
    /// More than 2^256 - 1 wei.
    #[error("the amount does not fit in 256 bits")]
    TooLarge,
}

macro_rules! money {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub U256);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(U256::ZERO);
            /// The largest amount there can be, 2^256 - 1 wei.
            pub const MAX: Self = Self(U256::MAX);

            /// So many whole units, without wei.
            pub fn whole(units: u64) -> Self {
                // 2^64 times 10^18 is below 2^124.
                Self(U256::from(units) * WEI_PER_UNIT)
            }

            /// So many wei.
            pub fn wei(wei: u64) -> Self {
                Self(U256::from(wei))
            }

            /// Reads a decimal number of wei, as APIs carry it.
            ///
            /// # Errors
            /// [`Malformed`] unless the text is digits only and fits in 256 bits.
            pub fn parse_wei(text: &str) -> Result<Self, Malformed> {
                parse_wei(text).map(Self)
            }

            /// Reads whole units with up to 18 decimals, as people write them ("20000", "0.5").
            ///
            /// # Errors
            /// [`Malformed`] if the text is no such number, or could only be taken by rounding.
            pub fn parse(text: &str) -> Result<Self, Malformed> {
                parse_units(text).map(Self)
            }

            /// True if there is nothing.
            pub fn is_zero(self) -> bool {
                self.0.is_zero()
            }

            /// The sum, if it fits.
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// What is left, if there is enough.
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }

            /// So many times this amount, if it fits.
            pub fn checked_mul(self, times: U256) -> Option<Self> {
                self.0.checked_mul(times).map(Self)
            }

            /// What is left, or nothing.
            pub fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// How far apart the two amounts are, whichever is larger.
            pub fn abs_diff(self, other: Self) -> Self {
                Self(self.0.abs_diff(other.0))
            }

            /// The sum of all, if it fits.
            pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
                amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
            }

            /// Four decimals, cut off and never rounded up: for tables that people read.
            pub fn short(self) -> String {
                short(self.0)
            }

            /// The decimal number of wei.
            pub fn wei_string(self) -> String {
                self.0.to_string()
            }

            /// The JSON-RPC quantity: `0x` and lower-case hex without leading zeros.
            pub fn hex_quantity(self) -> String {
                format!("{:#x}", self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                // Numbers stand at the right of a column.
                f.pad_integral(true, "", &exact(self.0))
            }
        }

        impl From<U256> for $name {
            fn from(wei: U256) -> Self {
                Self(wei)
            }
        }

        impl From<$name> for String {
            fn from(amount: $name) -> Self {
                amount.wei_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = Malformed;

            fn try_from(wei: String) -> Result<Self, Malformed> {
                Self::parse_wei(&wei)
            }
        }
    };
}

money! {
    /// An amount of METIS, in wei.
    Metis
}

money! {
    /// An amount of ETH on L1, in wei: gas and bridge fees.
    Eth
}

fn parse_wei(text: &str) -> Result<U256, Malformed> {
    match sign_and_parts(text)? {
        (digits, None) => number(digits, ""),
        (_, Some(_)) => Err(Malformed::FractionalWei),
    }
}

fn parse_units(text: &str) -> Result<U256, Malformed> {
    let (whole, fraction) = sign_and_parts(text)?;
    let fraction = fraction.unwrap_or("");
    if fraction.len() > DECIMALS {
        return Err(Malformed::TooManyDecimals);
    }
    number(whole, &format!("{fraction:0<DECIMALS$}"))
}

/// Splits `digits[.digits]`. A minus sign is told apart only before an otherwise good number.
fn sign_and_parts(text: &str) -> Result<(&str, Option<&str>), Malformed> {
    if text.is_empty() {
        return Err(Malformed::Empty);
    }
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = match rest.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (rest, None),
    };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !fraction.is_none_or(is_digits) {
        return Err(Malformed::NotANumber);
    }
    if negative { Err(Malformed::Negative) } else { Ok((whole, fraction)) }
}

/// The number written by two runs of digits, one after the other.
fn number(high: &str, low: &str) -> Result<U256, Malformed> {
    let high = high.trim_start_matches('0');
    if high.len() + low.len() > DIGITS_MAX {
        return Err(Malformed::TooLarge);
    }
    // An empty run is the number zero; digits were checked, so only the size can be wrong.
    U256::from_str_radix(&format!("0{high}{low}"), 10).map_err(|_| Malformed::TooLarge)
}

fn exact(wei: U256) -> String {
    let (whole, fraction) = parts(wei);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") }
}

fn short(wei: U256) -> String {
    let (whole, fraction) = parts(wei);
    format!("{whole}.{}", &fraction[..SHORT_DECIMALS])
}

/// Whole units, and the 18 digits behind the point.
fn parts(wei: U256) -> (String, String) {
    let (whole, fraction) = wei.div_rem(WEI_PER_UNIT);
    // Padding needs a type that honours width; a remainder below 10^18 fits in u64.
    (whole.to_string(), format!("{:0>DECIMALS$}", fraction.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX_WEI: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

    #[test]
    fn wei_is_read_strictly() {
        let table = [
            ("", Err(Malformed::Empty)),
            ("0", Ok(U256::ZERO)),
            ("0007", Ok(U256::from(7))),
            (MAX_WEI, Ok(U256::MAX)),
            (
                "115792089237316195423570985008687907853269984665640564039457584007913129639936",
                Err(Malformed::TooLarge),
            ),
            (
                "1000000000000000000000000000000000000000000000000000000000000000000000000000000",
                Err(Malformed::TooLarge),
            ),
            ("-1", Err(Malformed::Negative)),
            ("-", Err(Malformed::NotANumber)),
            ("--1", Err(Malformed::NotANumber)),
            ("+1", Err(Malformed::NotANumber)),
            (" 1", Err(Malformed::NotANumber)),
            ("1 ", Err(Malformed::NotANumber)),
            ("1_000", Err(Malformed::NotANumber)),
            ("1,000", Err(Malformed::NotANumber)),
            ("1e18", Err(Malformed::NotANumber)),
            ("0x10", Err(Malformed::NotANumber)),
            ("١", Err(Malformed::NotANumber)),
            ("1.5", Err(Malformed::FractionalWei)),
            ("1.0", Err(Malformed::FractionalWei)),
            ("1.", Err(Malformed::NotANumber)),
        ];
        for (text, expected) in table {
            assert_eq!(Metis::parse_wei(text), expected.map(Metis), "{text:?}");
        }
    }

    #[test]
    fn units_are_read_exactly_or_not_at_all() {
        let table = [
            ("20000", Ok(Metis::whole(20_000))),
            ("0.5", Ok(Metis::wei(500_000_000_000_000_000))),
            ("0.000000000000000001", Ok(Metis::wei(1))),
            ("0.0000000000000000001", Err(Malformed::TooManyDecimals)),
            ("0.0000000000000000010", Err(Malformed::TooManyDecimals)),
            (".5", Err(Malformed::NotANumber)),
            ("5.", Err(Malformed::NotANumber)),
            ("1.2.3", Err(Malformed::NotANumber)),
            ("-0.5", Err(Malformed::Negative)),
            ("", Err(Malformed::Empty)),
            (
                "115792089237316195423570985008687907853269984665640564039457.584007913129639935",
                Ok(Metis::MAX),
            ),
            (
                "115792089237316195423570985008687907853269984665640564039457.584007913129639936",
                Err(Malformed::TooLarge),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(Metis::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_people_see_is_exact_or_cut_off_but_never_more() {
        let table = [
            (Metis::ZERO, "0", "0.0000", "0", "0x0"),
            (Metis::whole(20_000), "20000", "20000.0000", "20000000000000000000000", "0x43c33c1937564800000"),
            (Metis::wei(761_000_000_000_000), "0.000761", "0.0007", "761000000000000", "0x2b4201eac9000"),
            (
                Metis::wei(999_999_999_999_999_999),
                "0.999999999999999999",
                "0.9999",
                "999999999999999999",
                "0xde0b6b3a763ffff",
            ),
        ];
        for (amount, exact, short, wei, quantity) in table {
            assert_eq!(amount.to_string(), exact);
            assert_eq!(amount.short(), short);
            assert_eq!(amount.wei_string(), wei);
            assert_eq!(amount.hex_quantity(), quantity);
        }
        assert_eq!(format!("{:>8}|", Metis::wei(500_000_000_000_000_000)), "     0.5|");
    }

    #[test]
    fn arithmetic_never_wraps() {
        assert_eq!(Metis::MAX.checked_add(Metis::wei(1)), None);
        assert_eq!(Metis::ZERO.checked_sub(Metis::wei(1)), None);
        assert_eq!(Metis::MAX.checked_mul(U256::from(2)), None);
        assert_eq!(Metis::checked_sum([Metis::MAX, Metis::wei(1)]), None);
        assert_eq!(Metis::ZERO.saturating_sub(Metis::MAX), Metis::ZERO);
        assert_eq!(Metis::wei(3).abs_diff(Metis::wei(5)), Metis::wei(2));
        assert_eq!(Eth::whole(u64::MAX).to_string(), u64::MAX.to_string());
    }

    #[test]
    fn json_carries_wei_as_a_string_and_refuses_a_number() {
        let json = serde_json::to_string(&Metis::whole(1)).expect("an amount is JSON");
        assert_eq!(json, "\"1000000000000000000\"");
        assert_eq!(serde_json::from_str::<Metis>(&json).expect("what we wrote"), Metis::whole(1));
        assert!(serde_json::from_str::<Metis>("1").is_err());
        assert!(serde_json::from_str::<Metis>("\"0.5\"").is_err());
    }

    proptest! {
        #[test]
        fn every_amount_survives_each_of_its_texts(limbs in any::<[u64; 4]>()) {
            let amount = Metis(U256::from_limbs(limbs));
            prop_assert_eq!(Metis::parse(&amount.to_string()), Ok(amount));
            prop_assert_eq!(Metis::parse_wei(&amount.wei_string()), Ok(amount));
            prop_assert_eq!(U256::from_str_radix(&amount.hex_quantity()[2..], 16), Ok(amount.0));
            prop_assert!(Metis::parse(&amount.short()).expect("short is a number") <= amount);
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,100}") {
            let _ = Metis::parse(&text);
            let _ = Metis::parse_wei(&text);
        }
    }
}
