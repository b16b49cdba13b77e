#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synthfm_fuzz::read_from(&[b"\x5c\x01\0\0", b"\x1c\x02\0\0", b"\0\0\x01\x5c", b"\0\0\x02\x1c", b"\x1f\x8b"], data));
