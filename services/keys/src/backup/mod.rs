//! Archives that leave the service: only ever encrypted, to recipients that the operator named.

pub mod age_file;
pub mod archive;
pub mod node;
pub mod tar;
