//! See `keys::fuzzing::keystore`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keys::fuzzing::keystore(bytes));
