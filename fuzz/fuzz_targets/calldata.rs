//! See `keys::fuzzing::calldata`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keys::fuzzing::calldata(bytes));
