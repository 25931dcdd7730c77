//! Hex as nodes write it, read from the answer without a copy: answers of 60 MB consist of little else.

use std::fmt;
use std::marker::PhantomData;

use alloy_primitives::{Address, B256, Bytes, hex};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::types::Topics;

struct Number;

impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity like 0x1f")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        let digits = text.strip_prefix("0x").ok_or_else(|| E::custom("a quantity starts with 0x"))?;
        u64::from_str_radix(digits, 16).map_err(E::custom)
    }
}

/// A quantity: nodes give `0x1f`, and some numbers as plain JSON numbers.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Number)
}

/// A quantity or null.
pub(super) fn number_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Form(u64);
    impl<'de> Deserialize<'de> for Form {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            number(deserializer).map(Self)
        }
    }
    Ok(Option::<Form>::deserialize(deserializer)?.map(|form| form.0))
}

/// Bytes of a known number, made into `T`.
struct Fixed<T, const N: usize>(PhantomData<T>);

impl<T: From<[u8; N]>, const N: usize> Visitor<'_> for Fixed<T, N> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes in hex")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        hex::decode_to_array::<_, N>(text).map(T::from).map_err(E::custom)
    }
}

/// A hash.
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<B256, D::Error> {
    deserializer.deserialize_str(Fixed::<B256, 32>(PhantomData))
}

/// An address.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
    deserializer.deserialize_str(Fixed::<Address, 20>(PhantomData))
}

struct AnyBytes;

impl Visitor<'_> for AnyBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes in hex")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        hex::decode(text).map(Bytes::from).map_err(E::custom)
    }
}

/// Bytes of any number.
pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    deserializer.deserialize_str(AnyBytes)
}

struct Word(B256);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        word(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Topics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seq;
        impl<'de> Visitor<'de> for Seq {
            type Value = Topics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("at most four topics")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut found: A) -> Result<Topics, A::Error> {
                let mut topics = Topics::default();
                while let Some(Word(topic)) = found.next_element()? {
                    topics.push(topic).map_err(A::Error::custom)?;
                }
                Ok(topics)
            }
        }
        deserializer.deserialize_seq(Seq)
    }
}
