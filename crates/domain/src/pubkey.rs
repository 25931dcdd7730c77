//! A sequencer's public key in every form that Metis uses (P 3.2), from one strict reading.
//!
//! The upstream helper strips "04" from 64-byte keys too, which ruins one key in 256. Here only the
//! length decides: 65 bytes carry a prefix, 64 never do.

use alloy_primitives::Address;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use k256::elliptic_curve::sec1::ToEncodedPoint;
use serde::{Deserialize, Serialize};

/// Bytes of x and y.
const RAW: usize = 64;
/// Bytes with the uncompressed prefix.
const UNCOMPRESSED: usize = 65;
/// Bytes of x with the compressed prefix.
const COMPRESSED: usize = 33;
/// First byte of an uncompressed point.
const PREFIX: u8 = 0x04;

/// Why bytes or text are no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not hex digits in pairs.
    #[error("the public key is not hex")]
    Hex,
    /// A length that no form has; the number of bytes.
    #[error("a public key has 64 bytes, 65 with prefix 04 or 33 compressed, not {0}")]
    Length(usize),
    /// A first byte that the length does not allow.
    #[error("prefix {0:02x} does not fit the length of the public key")]
    Prefix(u8),
    /// Coordinates that are no point of secp256k1.
    #[error("the coordinates are no point of secp256k1")]
    NotOnCurve,
}

/// A point of secp256k1, not the one at infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    /// x and y. The point was checked when it was read.
    xy: [u8; RAW],
}

impl PublicKey {
    /// Reads hex, with or without `0x`.
    ///
    /// # Errors
    /// [`Malformed`], as for [`PublicKey::from_bytes`] and for what is not hex.
    pub fn from_hex(text: &str) -> Result<Self, Malformed> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        // The longest form is known, so endless input is not decoded first.
        if digits.len() > 2 * UNCOMPRESSED {
            return Err(Malformed::Length(digits.len() / 2));
        }
        Self::from_bytes(&hex::decode(digits).map_err(|_| Malformed::Hex)?)
    }

    /// Reads 64 raw bytes, 65 with prefix 04, or 33 compressed ones.
    ///
    /// # Errors
    /// [`Malformed::Length`], [`Malformed::Prefix`] or [`Malformed::NotOnCurve`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let point = match (bytes.len(), bytes.first()) {
            (RAW, _) => {
                let mut prefixed = [PREFIX; UNCOMPRESSED];
                prefixed[1..].copy_from_slice(bytes);
                k256::PublicKey::from_sec1_bytes(&prefixed)
            }
            (UNCOMPRESSED, Some(&PREFIX)) | (COMPRESSED, Some(0x02 | 0x03)) => {
                k256::PublicKey::from_sec1_bytes(bytes)
            }
            (UNCOMPRESSED | COMPRESSED, Some(&prefix)) => return Err(Malformed::Prefix(prefix)),
            (length, _) => return Err(Malformed::Length(length)),
        };
        Ok(point.map_err(|_| Malformed::NotOnCurve)?.into())
    }

    /// The Ethereum address, which is also tendermint's and the L2 sequencer's.
    pub fn address(&self) -> Address {
        Address::from_raw_public_key(&self.xy)
    }

    /// x and y without prefix, as the L1 contract takes them.
    pub fn bytes64(&self) -> [u8; RAW] {
        self.xy
    }

    /// The listing's form: `0x` and 128 lower-case digits.
    pub fn listing(&self) -> String {
        format!("0x{}", hex::encode(self.xy))
    }

    /// The form of themis: `0x04` and 128 lower-case digits.
    pub fn themis(&self) -> String {
        format!("0x04{}", hex::encode(self.xy))
    }

    /// The form of tendermint's key files: base64 of 65 bytes.
    pub fn tendermint_base64(&self) -> String {
        BASE64.encode(self.bytes65())
    }

    /// The form of the MPC set: base64 of the compressed point.
    pub fn compressed_base64(&self) -> String {
        BASE64.encode(self.compressed())
    }

    /// Parity of y and x: 33 bytes.
    pub fn compressed(&self) -> [u8; COMPRESSED] {
        let mut bytes = [0x02 | (self.xy[RAW - 1] & 1); COMPRESSED];
        bytes[1..].copy_from_slice(&self.xy[..RAW / 2]);
        bytes
    }

    /// x and y behind prefix 04.
    pub fn bytes65(&self) -> [u8; UNCOMPRESSED] {
        let mut bytes = [PREFIX; UNCOMPRESSED];
        bytes[1..].copy_from_slice(&self.xy);
        bytes
    }
}

impl From<k256::PublicKey> for PublicKey {
    fn from(point: k256::PublicKey) -> Self {
        let mut xy = [0; RAW];
        // A public key is never the point at infinity, so its encoding has all 65 bytes.
        xy.copy_from_slice(&point.to_encoded_point(false).as_bytes()[1..]);
        Self { xy }
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.listing())
    }
}

impl std::str::FromStr for PublicKey {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::from_hex(text)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Self::from_hex(&text)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.listing()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: &str = "2e1a3735f93ddbad4f697dc576e37b159f31f344808bff2a18269b228fc83663\
                         cfb66da6462fd258b5ef09d4a532a41ef96d0d589f1e0401317c21534c0239ad";
    const K1: &str = "4d5e02936a222d68b5d423e566828d8c67ca2290cf428254c44c7be458b33dec\
                      ec1fe85d900756811366e2d19baeb2fe81b46ce10c1863e00d811e68a4e76c9f";

    #[test]
    fn golden_keys_have_their_golden_addresses() {
        let table = [
            (FIRST, "0xBF578472333179247657a6023D7418D6Dc792Ef3"),
            (K1, "0xEcA7Ae7dE0d1978DF299a547Ee66c4503fBa474D"),
        ];
        for (hex, address) in table {
            let key = PublicKey::from_hex(hex).expect("a golden vector");
            assert_eq!(key.address().to_checksum(None), address);
            assert_eq!(key.listing(), format!("0x{hex}"));
            assert_eq!(key.themis(), format!("0x04{hex}"));
        }
    }

    #[test]
    fn sixty_four_bytes_that_begin_with_04_are_left_alone() {
        // Found by counting up secrets until x began with 04.
        let key = (1..=u8::MAX)
            .flat_map(|high| (0..=u8::MAX).map(move |low| key_of(high, low)))
            .find(|key| key.bytes64()[0] == PREFIX)
            .expect("one key in 256 begins so");
        assert_eq!(PublicKey::from_bytes(&key.bytes64()), Ok(key));
        assert_eq!(PublicKey::from_hex(&key.listing()), Ok(key));
    }

    #[test]
    fn other_shapes_are_refused() {
        let without_last = &FIRST[..126];
        let table = [
            (String::new(), Malformed::Length(0)),
            ("0x".to_owned(), Malformed::Length(0)),
            (format!("05{FIRST}"), Malformed::Prefix(5)),
            (format!("06{FIRST}"), Malformed::Prefix(6)),
            (format!("04{}", &FIRST[..64]), Malformed::Prefix(4)),
            (without_last.to_owned(), Malformed::Length(63)),
            (format!("0404{FIRST}"), Malformed::Length(66)),
            (format!("{FIRST}{FIRST}{FIRST}"), Malformed::Length(192)),
            (format!("{without_last}z0"), Malformed::Hex),
            (format!("{without_last}0"), Malformed::Hex),
            (format!("0x0x{without_last}"), Malformed::Hex),
            (format!("{without_last}ae"), Malformed::NotOnCurve),
            ("00".repeat(64), Malformed::NotOnCurve),
            ("ff".repeat(64), Malformed::NotOnCurve),
            (format!("02{}", "ff".repeat(32)), Malformed::NotOnCurve),
        ];
        for (text, expected) in table {
            assert_eq!(PublicKey::from_hex(&text), Err(expected), "{text}");
        }
    }

    fn key_of(high: u8, low: u8) -> PublicKey {
        let mut secret = [0; 32];
        secret[30..].copy_from_slice(&[high, low]);
        k256::SecretKey::from_slice(&secret).expect("a small nonzero number").public_key().into()
    }

    proptest! {
        #[test]
        fn every_form_leads_back_to_the_key(secret in any::<[u8; 32]>()) {
            let Ok(secret) = k256::SecretKey::from_slice(&secret) else { return Ok(()) };
            let key = PublicKey::from(secret.public_key());
            prop_assert_eq!(PublicKey::from_bytes(&key.bytes64()), Ok(key));
            prop_assert_eq!(PublicKey::from_hex(&key.listing()), Ok(key));
            prop_assert_eq!(PublicKey::from_hex(&key.themis()), Ok(key));
            let tendermint = BASE64.decode(key.tendermint_base64()).expect("our own base64");
            prop_assert_eq!(PublicKey::from_bytes(&tendermint), Ok(key));
            let compressed = BASE64.decode(key.compressed_base64()).expect("our own base64");
            prop_assert_eq!(PublicKey::from_bytes(&compressed), Ok(key));
            prop_assert_eq!(key.address(), Address::from_public_key(&secret.public_key().into()));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            let _ = PublicKey::from_bytes(&bytes);
        }
    }
}
