#![no_main]

// The module is the server's own; the crate around it would bring the tensor library.
#[path = "../../crates/synthfm-serve/src/viewers/nnia/mod.rs"]
mod nnia;

/// Waking other threads would take longer than reading a small array.
fn on_this_thread() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    pool.build_global().expect("the first pool of the process");
}

/// Elements that an array may have here.
const MOST: usize = 100_000;

libfuzzer_sys::fuzz_target!(init: on_this_thread(), |data: &[u8]| {
    let Ok(array) = nnia::PackedArray::parse(data, MOST) else { return };
    let count: usize = array.shape().iter().product();
    assert!((1..=MOST).contains(&count));
    // Either outcome is right; a panic, a hang or too much memory is not.
    let Ok(values) = array.unpack(|value| u8::from(value != 0.0)) else { return };
    assert_eq!(values.len(), count);
    // What is written is read.
    let packed = nnia::pack_bytes([1, 1, count], &values);
    let again = nnia::PackedArray::parse(&packed, MOST).and_then(|array| array.unpack(|value| value as u8));
    assert!(again.is_ok_and(|again| again == values));
});
