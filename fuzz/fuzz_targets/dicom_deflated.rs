#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synthfm_fuzz::read_deflated(data));
