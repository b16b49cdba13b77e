//! Rendering a volume needs at most six times the memory of its image.
//!
//! This test is alone in its file because the allocator counts for the whole process.

#![expect(
    unsafe_code,
    reason = "a counting allocator has to implement an unsafe trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use synthfm_synth::{GeneratorConfig, VolumeConfig, VolumeParams, render_volume};

struct Counting;

/// Bytes that are allocated, and the most that ever were.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
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

#[test]
fn a_volume_needs_at_most_six_times_its_image() {
    let config = GeneratorConfig {
        volume: Some(VolumeConfig::default()),
        ..GeneratorConfig::default()
    };
    let mut most = 0;
    for index in 0..12 {
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let params = VolumeParams::draw(&config, 3, index);
        let sample = render_volume(&params);
        let peak = PEAK.load(Ordering::Relaxed);
        let image = 4 * sample.image.len();
        assert!(peak <= 6 * image, "index {index}: {peak} bytes of {image}");
        most = most.max(peak);
    }
    println!("at most {most} bytes");
}
