//! See `keys::fuzzing::audit_export`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keys::fuzzing::audit_export(bytes));
