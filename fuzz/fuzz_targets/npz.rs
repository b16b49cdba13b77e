#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synthfm_fuzz::read_from(&[b"PK\x03\x04"], data));
