//! Memory does not grow with the number of samples.
//!
//! This test is alone in its file because the allocator counts for the whole process.

#![expect(
    unsafe_code,
    reason = "a counting allocator has to implement an unsafe trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use synthfm_synth::{GeneratorConfig, generate};

struct Counting;

/// Bytes that are allocated.
static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a thread keeps for its next sample is bounded, and the bound is reached soon.
#[test]
fn a_thousand_samples_need_no_more_than_the_first_hundreds() {
    let mut config = GeneratorConfig::default();
    (config.size.height, config.size.width) = (128, 128);
    let most_after = |indices: std::ops::Range<u64>| {
        let after = |index| {
            drop(generate(&config, 1, index));
            LIVE.load(Ordering::Relaxed)
        };
        indices.map(after).max().unwrap_or(0)
    };
    let start = LIVE.load(Ordering::Relaxed);
    let first = most_after(0..400) - start;
    let later = most_after(400..1500) - start;
    // 32 planes, none larger than four images of 4 bytes per pixel.
    let bound = 32 * 4 * 4 * 128 * 128;
    assert!(first < bound, "{first} bytes");
    assert!(later < bound, "{later} bytes");
    assert!(later < first + first / 4, "{first} bytes, then {later}");
}
