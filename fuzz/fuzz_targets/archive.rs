//! See `keys::fuzzing::archive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keys::fuzzing::archive(bytes));
