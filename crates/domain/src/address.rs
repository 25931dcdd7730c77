//! Ethereum addresses as people write them, with the EIP-55 checksum taken seriously.

use alloy_primitives::Address;

/// Why a text is not an address that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not `0x` and 40 hex digits.
    #[error("an address is 0x and 40 hex digits")]
    Form,
    /// Mixed case that is not the checksum: most likely a mistyped digit.
    #[error("the checksum is wrong, these digits would be written {expected}")]
    Checksum {
        /// The same digits with the right checksum.
        expected: String,
    },
    /// The zero address, where nobody could act.
    #[error("the zero address is not allowed here")]
    Zero,
}

/// Reads an address: checksummed, or all in one case.
///
/// # Errors
/// [`Malformed::Form`] or [`Malformed::Checksum`].
pub fn parse(text: &str) -> Result<Address, Malformed> {
    let digits = text.strip_prefix("0x").ok_or(Malformed::Form)?;
    let mut bytes = [0; 20];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| Malformed::Form)?;
    let address = Address::from(bytes);
    let mixed =
        digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
    if mixed {
        let expected = address.to_checksum(None);
        if expected != text {
            return Err(Malformed::Checksum { expected });
        }
    }
    Ok(address)
}

/// Reads an address of somebody: as [`parse`], and not zero.
///
/// # Errors
/// [`Malformed`], now with [`Malformed::Zero`].
pub fn parse_nonzero(text: &str) -> Result<Address, Malformed> {
    let address = parse(text)?;
    if address.is_zero() { Err(Malformed::Zero) } else { Ok(address) }
}

/// For `#[serde(with = "domain::address::text")]`: checksummed out, strict in.
pub mod text {
    use alloy_primitives::Address;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the checksummed form.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&address.to_checksum(None))
    }

    /// Reads as [`super::parse_nonzero`] does.
    ///
    /// # Errors
    /// Those of the deserializer, and [`super::Malformed`] in its words.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        super::parse_nonzero(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "0xBF578472333179247657a6023D7418D6Dc792Ef3";

    #[test]
    fn one_case_or_the_right_checksum_is_taken() {
        let expected = parse(GOOD).expect("the golden vector");
        assert_eq!(parse(&GOOD.to_lowercase()), Ok(expected));
        assert_eq!(parse(&format!("0x{}", GOOD[2..].to_uppercase())), Ok(expected));
        assert_eq!(expected.to_checksum(None), GOOD);
    }

    #[test]
    fn a_wrong_checksum_is_refused_with_the_right_one() {
        let wrong = GOOD.replace("BF57", "bF57");
        assert_eq!(parse(&wrong), Err(Malformed::Checksum { expected: GOOD.to_owned() }));
    }

    #[test]
    fn other_forms_are_refused() {
        let no_prefix = &GOOD[2..];
        let upper_prefix = format!("0X{no_prefix}");
        let short = &GOOD[..41];
        let long = format!("{GOOD}0");
        let blank = format!("{GOOD} ");
        for text in
            ["", "0x", no_prefix, &upper_prefix, short, &long, &blank, "XE7338O073KYGTWWZN0F2WZ0R8PX5ZPPZS"]
        {
            assert_eq!(parse(text), Err(Malformed::Form), "{text:?}");
        }
    }

    #[test]
    fn zero_is_an_address_but_nobody() {
        let zero = format!("0x{}", "0".repeat(40));
        assert_eq!(parse(&zero), Ok(Address::ZERO));
        assert_eq!(parse_nonzero(&zero), Err(Malformed::Zero));
    }

    proptest! {
        #[test]
        fn every_address_survives_its_text(bytes in any::<[u8; 20]>()) {
            let address = Address::from(bytes);
            prop_assert_eq!(parse(&address.to_checksum(None)), Ok(address));
            prop_assert_eq!(parse(&format!("{address:#x}")), Ok(address));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = parse_nonzero(&text);
        }
    }
}
