//! See `keys::fuzzing::der`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keys::fuzzing::der(bytes));
