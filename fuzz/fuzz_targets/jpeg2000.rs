#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synthfm_fuzz::read_frame("1.2.840.10008.1.2.4.90", data));
