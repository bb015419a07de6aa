#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skillsctl::fuzzing::expressions(bytes));
