//! The contracts that emit events.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which of the contracts of a network emitted a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// LockingPool on L1.
    PoolProxy,
    /// LockingInfo on L1.
    InfoProxy,
    /// The METIS token on L1.
    Metis,
    /// MetisSequencerSet on L2.
    SequencerSet,
}

impl Source {
    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PoolProxy => "pool_proxy",
            Self::InfoProxy => "info_proxy",
            Self::Metis => "metis",
            Self::SequencerSet => "sequencer_set",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no name of a [`Source`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no source of events")]
pub struct UnknownSource(pub String);

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        [Self::PoolProxy, Self::InfoProxy, Self::Metis, Self::SequencerSet]
            .into_iter()
            .find(|source| source.as_str() == text)
            .ok_or_else(|| UnknownSource(text.to_owned()))
    }
}
