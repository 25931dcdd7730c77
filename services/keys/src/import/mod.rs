//! Keys made elsewhere: the three forms in which they are taken in.

pub mod keystore;
pub mod priv_validator;
