//! Samples per second: both modules, 256 x 256 and 1024 x 1024, one and two threads.

use std::sync::atomic::{AtomicU64, Ordering};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use synthfm_synth::{GeneratorConfig, generate};

fn main() {
    divan::main();
}

const SIDES: [usize; 2] = [256, 1024];

fn config(side: usize, boundary_aware: f32) -> GeneratorConfig {
    let mut config = GeneratorConfig::default();
    config.size.height = side;
    config.size.width = side;
    config.mixture.boundary_aware = boundary_aware;
    config
}

/// Each iteration renders the next index, so that the median is one of the mixture.
fn measure(bencher: Bencher, config: &GeneratorConfig) {
    let next = AtomicU64::new(0);
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let index = next.fetch_add(1, Ordering::Relaxed);
        black_box(generate(black_box(config), 1, index))
    });
}

#[divan::bench(args = SIDES, threads = [1, 2], sample_count = 200, sample_size = 1)]
fn shape_aware(bencher: Bencher, side: usize) {
    measure(bencher, &config(side, 0.0));
}

#[divan::bench(args = SIDES, threads = [1, 2], sample_count = 200, sample_size = 1)]
fn boundary_aware(bencher: Bencher, side: usize) {
    measure(bencher, &config(side, 1.0));
}
