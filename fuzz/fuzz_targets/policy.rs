//! See `keys::fuzzing::policy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keys::fuzzing::policy(bytes));
