//! See `keys::fuzzing::transaction`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keys::fuzzing::transaction(bytes));
