//! Chain values as columns: exact, with the type of the column fixed by the type in Rust.

use std::fmt;

use alloy_primitives::{Address, B256, U256};
use bigdecimal::{
    BigDecimal,
    num_bigint::{BigInt, Sign},
};
use sea_orm::{
    ColIdx, DbErr, QueryResult, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr, value::postgres_array::NotU8},
};

/// Digits of 2^256 - 1.
const U256_DIGITS: u32 = 78;

/// An amount in wei: `numeric(78,0)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wei(pub U256);

/// An address: `bytea` of 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Addr(pub Address);

/// A block, transaction or other hash: `bytea` of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub B256);

/// Why a stored value is not what its column type in Rust promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The number is negative, has a fraction or is above 2^256 - 1.
    #[error("{0} is not an amount in wei")]
    Amount(String),
    /// The bytes have another length.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// Bytes of the type.
        expected: usize,
        /// Bytes in the column.
        found: usize,
    },
}

/// A type in Rust and the plain value that the driver knows.
trait Stored: Sized {
    type Plain: Into<Value> + TryGetable + ValueType + Nullable;

    fn to_plain(self) -> Self::Plain;
    fn from_plain(plain: Self::Plain) -> Result<Self, Unreadable>;
}

impl Stored for Wei {
    type Plain = BigDecimal;

    fn to_plain(self) -> BigDecimal {
        BigDecimal::new(BigInt::from_bytes_be(Sign::Plus, &self.0.to_be_bytes::<32>()), 0)
    }

    fn from_plain(plain: BigDecimal) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable::Amount(plain.to_plain_string());
        let (whole, exponent) = plain.with_scale(0).into_bigint_and_exponent();
        debug_assert_eq!(exponent, 0, "with_scale(0) leaves no exponent");
        if !plain.is_integer() || whole.sign() == Sign::Minus {
            return Err(unreadable());
        }
        let (_, bytes) = whole.to_bytes_be();
        U256::try_from_be_slice(&bytes).map(Wei).ok_or_else(unreadable)
    }
}

impl Stored for Addr {
    type Plain = Vec<u8>;

    fn to_plain(self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn from_plain(plain: Vec<u8>) -> Result<Self, Unreadable> {
        Address::try_from(plain.as_slice())
            .map(Addr)
            .map_err(|_| Unreadable::Length { expected: Address::len_bytes(), found: plain.len() })
    }
}

impl Stored for Hash {
    type Plain = Vec<u8>;

    fn to_plain(self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn from_plain(plain: Vec<u8>) -> Result<Self, Unreadable> {
        B256::try_from(plain.as_slice())
            .map(Hash)
            .map_err(|_| Unreadable::Length { expected: B256::len_bytes(), found: plain.len() })
    }
}

macro_rules! column {
    ($column:ident, $inner:ty, $type:expr) => {
        impl From<$inner> for $column {
            fn from(inner: $inner) -> Self {
                Self(inner)
            }
        }

        impl From<$column> for $inner {
            fn from(column: $column) -> Self {
                column.0
            }
        }

        impl fmt::Display for $column {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$column> for Value {
            fn from(column: $column) -> Self {
                column.to_plain().into()
            }
        }

        impl TryGetable for $column {
            fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
                let plain = <$column as Stored>::Plain::try_get_by(row, index)?;
                $column::from_plain(plain).map_err(|error| TryGetError::DbErr(DbErr::Type(error.to_string())))
            }
        }

        impl ValueType for $column {
            fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
                let plain = <<$column as Stored>::Plain as ValueType>::try_from(value)?;
                $column::from_plain(plain).map_err(|_| ValueTypeErr)
            }

            fn type_name() -> String {
                stringify!($column).to_owned()
            }

            fn array_type() -> ArrayType {
                <<$column as Stored>::Plain as ValueType>::array_type()
            }

            fn column_type() -> ColumnType {
                $type
            }
        }

        impl Nullable for $column {
            fn null() -> Value {
                <<$column as Stored>::Plain as Nullable>::null()
            }
        }

        /// Lets `Vec` of it be bound as an array, for `UNNEST($1::…[])`.
        impl NotU8 for $column {}
    };
}

column!(Wei, U256, ColumnType::Decimal(Some((U256_DIGITS, 0))));
column!(Addr, Address, ColumnType::Blob);
column!(Hash, B256, ColumnType::Blob);
