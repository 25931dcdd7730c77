//! EIP-712 typed data, strictly: every member that its types name, no other, each exactly of its type.
//!
//! Lenient encoders leave out what they do not know, so that what is shown and what is signed differ; this one
//! refuses. The domain must name chain and contract, because rules speak of them.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, I256, U256, keccak256};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Preimage;
use crate::policy::document;

/// As a text may have; typed data of contracts in use has a few KB.
pub const JSON_BYTES_MAX: usize = 64 * 1024;
/// Types, and members of each: far more than any contract has.
const TYPES_MAX: usize = 64;
/// How deep structs and arrays may stand in each other.
const DEPTH_MAX: usize = 16;
/// The type of the domain.
const DOMAIN: &str = "EIP712Domain";
/// What a domain may say, in this order.
const DOMAIN_MEMBERS: [(&str, &str); 5] = [
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
    ("salt", "bytes32"),
];

/// Typed data that may be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// What rules look at.
    pub data: document::TypedData,
    pub preimage: Preimage,
}

/// Why a document is no typed data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Malformed {
    /// Where, for example `message.to.wallets`.
    pub path: String,
    pub problem: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    types: BTreeMap<String, Vec<Member>>,
    #[serde(rename = "primaryType")]
    primary_type: String,
    domain: Map<String, Value>,
    message: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

fn malformed(path: impl Into<String>, problem: &'static str) -> Malformed {
    Malformed { path: path.into(), problem }
}

impl Typed {
    /// Reads a document in JSON.
    pub fn parse(json: &str) -> Result<Self, Malformed> {
        if json.len() > JSON_BYTES_MAX {
            return Err(malformed("json", "more than 64 KiB"));
        }
        let document: Document = serde_json::from_str(json)
            .map_err(|_| malformed("json", "an object with types, primaryType, domain and message"))?;
        let Document { types, primary_type, domain, message } = document;
        let types = Types::checked(types)?;
        types.check_domain(&domain)?;
        if primary_type == DOMAIN || !types.members.contains_key(&primary_type) {
            return Err(malformed("primaryType", "names one of the types, and not the domain"));
        }
        let word = types.word("uint256", domain.get("chainId"), "domain.chainId", 0)?;
        let chain_id = u64::try_from(U256::from_be_bytes(word.0))
            .map_err(|_| malformed("domain.chainId", "a chain id has at most 64 bits"))?;
        let contract =
            types.word("address", domain.get("verifyingContract"), "domain.verifyingContract", 0)?;
        let domain_separator = types.hash_struct(DOMAIN, &domain, "domain", 0)?;
        let struct_hash = types.hash_struct(&primary_type, &message, "message", 0)?;
        Ok(Self {
            data: document::TypedData {
                chain_id,
                verifying_contract: Address::from_word(contract),
                primary_type,
            },
            preimage: Preimage::of_typed(domain_separator, struct_hash),
        })
    }
}

struct Types {
    members: BTreeMap<String, Vec<Member>>,
    /// Made once: a short document may have thousands of values of one long type.
    hashes: BTreeMap<String, B256>,
}

impl Types {
    fn checked(members: BTreeMap<String, Vec<Member>>) -> Result<Self, Malformed> {
        let mut types = Self { members, hashes: BTreeMap::new() };
        types.check()?;
        types.hashes =
            types.members.keys().map(|kind| (kind.clone(), keccak256(types.encode_type(kind)))).collect();
        Ok(types)
    }

    fn check(&self) -> Result<(), Malformed> {
        if self.members.len() > TYPES_MAX || self.members.values().any(|members| members.len() > TYPES_MAX) {
            return Err(malformed("types", "more than 64 types, or members of one"));
        }
        for (name, members) in &self.members {
            let path = format!("types.{name}");
            if !is_name(name) || Atom::of(name).is_some() {
                return Err(malformed(path, "a type of one's own has a name of its own"));
            }
            let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
            if names.len() != members.len() || !names.iter().all(|name| is_name(name)) {
                return Err(malformed(path, "members have names, each its own"));
            }
            for member in members {
                let base = member.kind.split('[').next().unwrap_or_default();
                if Atom::of(base).is_none() && !self.members.contains_key(base) {
                    return Err(malformed(format!("{path}.{}", member.name), "a type that is not defined"));
                }
            }
        }
        Ok(())
    }

    /// The domain is of the standard's members in the standard's order, chain and contract among them.
    fn check_domain(&self, domain: &Map<String, Value>) -> Result<(), Malformed> {
        let members = self
            .members
            .get(DOMAIN)
            .ok_or_else(|| malformed("types.EIP712Domain", "the domain has a type"))?;
        let mut standard = DOMAIN_MEMBERS.iter();
        for Member { name, kind } in members {
            if !standard.any(|(standard, of)| standard == name && of == kind) {
                let path = format!("types.EIP712Domain.{name}");
                return Err(malformed(path, "not a member of the standard, in its order, with its type"));
            }
        }
        for needed in ["chainId", "verifyingContract"] {
            if !domain.contains_key(needed) {
                return Err(malformed(format!("domain.{needed}"), "must be given: rules ask for it"));
            }
        }
        Ok(())
    }

    fn hash_struct(
        &self,
        kind: &str,
        value: &Map<String, Value>,
        path: &str,
        depth: usize,
    ) -> Result<B256, Malformed> {
        let (Some(members), Some(hash)) = (self.members.get(kind), self.hashes.get(kind)) else {
            return Err(malformed(path, "a type that is not defined"));
        };
        if let Some(extra) = value.keys().find(|name| !members.iter().any(|member| member.name == **name)) {
            return Err(malformed(format!("{path}.{extra}"), "the type has no such member"));
        }
        let mut encoded = hash.to_vec();
        for Member { name, kind } in members {
            let path = format!("{path}.{name}");
            encoded.extend_from_slice(self.word(kind, value.get(name), &path, depth + 1)?.as_slice());
        }
        Ok(keccak256(encoded))
    }

    /// `Mail(Person from,Person to)Person(string name)`: the type, then those it uses, by name.
    fn encode_type(&self, kind: &str) -> String {
        let mut used = BTreeSet::new();
        let mut open = vec![kind];
        while let Some(next) = open.pop() {
            for member in self.members.get(next).into_iter().flatten() {
                let base = member.kind.split('[').next().unwrap_or_default();
                if base != kind && self.members.contains_key(base) && used.insert(base) {
                    open.push(base);
                }
            }
        }
        let written = |name: &str| {
            let members = self.members.get(name).into_iter().flatten();
            let members: Vec<String> =
                members.map(|Member { name, kind }| format!("{kind} {name}")).collect();
            format!("{name}({})", members.join(","))
        };
        std::iter::once(kind).chain(used).map(written).collect()
    }

    /// The 32 bytes that stand for a value.
    fn word(&self, kind: &str, value: Option<&Value>, path: &str, depth: usize) -> Result<B256, Malformed> {
        let Some(value) = value else { return Err(malformed(path, "is missing")) };
        if depth > DEPTH_MAX {
            return Err(malformed(path, "structs and arrays stand too deep in each other"));
        }
        if let Some((base, length)) = kind.strip_suffix(']').and_then(|kind| kind.rsplit_once('[')) {
            return self.hash_array(base, length, value, path, depth);
        }
        match (Atom::of(kind), value) {
            (Some(atom), value) => atom.word(value).ok_or_else(|| malformed(path, atom.problem())),
            (None, Value::Object(value)) => self.hash_struct(kind, value, path, depth),
            (None, _) => Err(malformed(path, "an object of its type")),
        }
    }

    fn hash_array(
        &self,
        base: &str,
        length: &str,
        value: &Value,
        path: &str,
        depth: usize,
    ) -> Result<B256, Malformed> {
        let Value::Array(items) = value else { return Err(malformed(path, "an array")) };
        let fits = length.is_empty() || length == items.len().to_string();
        if !fits {
            return Err(malformed(path, "an array of the length of its type"));
        }
        let mut encoded = Vec::with_capacity(32 * items.len());
        for (at, item) in items.iter().enumerate() {
            let path = format!("{path}[{at}]");
            encoded.extend_from_slice(self.word(base, Some(item), &path, depth + 1)?.as_slice());
        }
        Ok(keccak256(encoded))
    }
}

/// A type that is not made of others.
#[derive(Debug, Clone, Copy)]
enum Atom {
    Text,
    Bytes,
    Bool,
    Address,
    /// So many bytes.
    Fixed(usize),
    /// So many bits.
    Uint(usize),
    Int(usize),
}

impl Atom {
    fn of(name: &str) -> Option<Self> {
        let number = |text: &str, most: usize| {
            let number: usize = text.parse().ok()?;
            (number.to_string() == text && (1..=most).contains(&number)).then_some(number)
        };
        let bits = |text: &str| number(text, 256).filter(|bits| bits % 8 == 0);
        match name {
            "string" => Some(Self::Text),
            "bytes" => Some(Self::Bytes),
            "bool" => Some(Self::Bool),
            "address" => Some(Self::Address),
            _ => None
                .or_else(|| name.strip_prefix("bytes").and_then(|n| number(n, 32)).map(Self::Fixed))
                .or_else(|| name.strip_prefix("uint").and_then(bits).map(Self::Uint))
                .or_else(|| name.strip_prefix("int").and_then(bits).map(Self::Int)),
        }
    }

    fn problem(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Bytes | Self::Fixed(_) => "0x and hex digits, as many as the type has",
            Self::Bool => "true or false",
            Self::Address => "an address",
            Self::Uint(_) | Self::Int(_) => "a whole number within its type, decimal or 0x hex",
        }
    }

    fn word(self, value: &Value) -> Option<B256> {
        match (self, value) {
            (Self::Text, Value::String(text)) => Some(keccak256(text)),
            (Self::Bytes, Value::String(text)) => {
                Some(keccak256(hex::decode(text.strip_prefix("0x")?).ok()?))
            }
            (Self::Bool, Value::Bool(value)) => Some(B256::with_last_byte(u8::from(*value))),
            (Self::Address, Value::String(text)) => Some(domain::address::parse(text).ok()?.into_word()),
            (Self::Fixed(size), Value::String(text)) => {
                let bytes = hex::decode(text.strip_prefix("0x")?).ok()?;
                (bytes.len() == size).then(|| B256::right_padding_from(&bytes))
            }
            (Self::Uint(bits), value) => {
                let number = uint(&text_of(value)?)?;
                (number.bit_len() <= bits).then(|| number.into())
            }
            (Self::Int(bits), value) => {
                let text = text_of(value)?;
                let (negative, digits) =
                    text.strip_prefix('-').map_or((false, text.as_str()), |digits| (true, digits));
                let amount = uint(digits)?;
                let half = U256::ONE << (bits - 1);
                let fits = if negative { amount <= half } else { amount < half };
                let number = I256::from_raw(if negative { amount.wrapping_neg() } else { amount });
                fits.then(|| number.into_raw().into())
            }
            _ => None,
        }
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        // A number with a fraction or an exponent does not parse as digits.
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn uint(text: &str) -> Option<U256> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    let plain = !digits.is_empty() && digits.bytes().all(|b| char::from(b).is_digit(radix));
    plain.then(|| U256::from_str_radix(digits, radix.into()).ok()).flatten()
}

fn is_name(text: &str) -> bool {
    let allowed = |(at, c): (usize, char)| {
        c == '_' || c == '$' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit())
    };
    !text.is_empty() && text.len() <= 100 && text.chars().enumerate().all(allowed)
}
