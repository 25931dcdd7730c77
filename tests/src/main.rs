//! The journeys: the whole system through its public APIs, with real Postgres, real chains and real contracts.
//!
//! `stage` is the world with an operator in it, `process` is `seqd all` as a process of its own, `jsonrpc` a
//! frontend, `sink` a collector of traces, `cable` a line to Postgres that can be cut. Everything else is one scenario for each file. Scenarios run beside each
//! other: each has its own ports, database and chains.

mod cable;
mod jsonrpc;
mod process;
mod sink;
mod stage;

mod bad_input;
mod cli;
mod deep_reorg;
mod handover;
mod journey;
mod kill;
mod leaving;
mod networks;
mod outage;
mod reorg;
mod trace;
