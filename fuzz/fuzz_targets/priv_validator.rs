//! See `keys::fuzzing::priv_validator`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keys::fuzzing::priv_validator(bytes));
