#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synthfm_fuzz::read_from(&[b"NRRD0004\n", b"NRRD000"], data));
