//! The layers as one tree, in which every value remembers where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::Error;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(String),
}

/// A value and its origin.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub value: Value,
    pub origin: Origin,
}

/// What a layer can hold.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Text from a variable or a flag; what it means depends on who reads it.
    Text(String),
    /// A typed value of TOML that is neither list nor table.
    Scalar(toml::Value),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    /// The tree of a TOML value.
    pub fn of_toml(value: toml::Value, origin: &Origin) -> Self {
        let value = match value {
            toml::Value::Array(items) => {
                Value::List(items.into_iter().map(|item| Self::of_toml(item, origin)).collect())
            }
            toml::Value::Table(table) => {
                Value::Table(table.into_iter().map(|(key, v)| (key, Self::of_toml(v, origin))).collect())
            }
            scalar => Value::Scalar(scalar),
        };
        Self { value, origin: origin.clone() }
    }

    /// A tree with one text at the end of a path.
    pub fn at(keys: &[&str], text: &str, origin: &Origin) -> Result<Self, Error> {
        if keys.iter().any(|key| key.is_empty()) {
            return Err(Error::Path(keys.join(".")));
        }
        let leaf = Self { value: Value::Text(text.to_owned()), origin: origin.clone() };
        Ok(keys.iter().rev().fold(leaf, |inner, key| Self {
            value: Value::Table(BTreeMap::from([((*key).to_owned(), inner)])),
            origin: origin.clone(),
        }))
    }

    /// Lays `over` on top: tables join key by key, everything else is replaced.
    pub fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(mine), Value::Table(theirs)) => {
                for (key, node) in theirs {
                    match mine.get_mut(&key) {
                        Some(existing) => existing.merge(node),
                        None => {
                            mine.insert(key, node);
                        }
                    }
                }
                self.origin = over.origin;
            }
            (_, value) => *self = Self { value, origin: over.origin },
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Flag(path) => write!(f, "the flag for {path}"),
        }
    }
}
