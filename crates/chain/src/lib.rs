//! The chains, as the indexer (reads) and lifecycle (reads, simulation, broadcast) see them.
//!
//! In reading order: what the contracts are ([`abi`], [`event`], [`calldata`]), how nodes are asked
//! ([`rpc`], [`pool`]), where else may be connected to ([`outbound`]), and what is asked of the contracts ([`views`], [`verify`]) and made of the answers
//! ([`revert`], [`broadcast`], [`fees`]). Nothing here stores anything or knows a service.
#![deny(missing_docs)]

pub mod abi;
pub mod broadcast;
pub mod calldata;
pub mod config;
pub mod event;
pub mod fees;
pub mod outbound;
pub mod pool;
pub mod revert;
pub mod rpc;
pub mod verify;
pub mod views;
