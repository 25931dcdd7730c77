//! The typed contract between our processes: generated protobuf, the method table, the error
//! registry, and the conversion of what crosses the wire to and from `domain`.
//!
//! Transport belongs to `runtime`, rules belong to `domain`.

#![deny(missing_docs)]

pub mod convert;
pub mod methods;
pub mod reasons;
mod redacted;

/// What all packages share.
pub mod types {
    /// `sequencer.types.v1`.
    pub mod v1 {
        #![allow(missing_docs, clippy::all, clippy::too_many_lines)]
        tonic::include_proto!("sequencer.types.v1");
    }
}

/// `sequencer.indexer.v1`: what is observed.
pub mod indexer {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, clippy::all, clippy::too_many_lines)]
        tonic::include_proto!("sequencer.indexer.v1");
    }
}

/// `sequencer.keys.v1`: what is secret.
pub mod keys {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, clippy::all, clippy::too_many_lines)]
        tonic::include_proto!("sequencer.keys.v1");
    }
}

/// `sequencer.lifecycle.v1`: what is intended.
pub mod lifecycle {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, clippy::all, clippy::too_many_lines)]
        tonic::include_proto!("sequencer.lifecycle.v1");
    }
}

/// `sequencer.rewards.v1`: what is earned.
pub mod rewards {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, clippy::all, clippy::too_many_lines)]
        tonic::include_proto!("sequencer.rewards.v1");
    }
}

/// All packages as an encoded `FileDescriptorSet`, for the reflection service and for tests that walk it.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
