//! The tables of the schema `gateway`.

pub mod api_key;
