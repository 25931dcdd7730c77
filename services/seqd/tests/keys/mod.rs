//! `seqd keys` as a process of its own: killed in the middle of a rotation, and searched for secrets.

mod process;
mod rotation;
mod secrecy;
