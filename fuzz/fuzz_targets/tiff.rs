#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synthfm_fuzz::read_from(&[b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"], data));
