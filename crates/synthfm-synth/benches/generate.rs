//! How long samples and single stages take: the paper's modules and the default mixture, 256 x 256 and
//! 1024 x 1024, one and two threads; then the other presets and single stages at 1024 x 1024.
//!
//! Stages are recipes with nothing but the stage in question. `flat` has none: what it takes is in all
//! of them.

use std::sync::atomic::{AtomicU64, Ordering};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use synthfm_synth::params::{
    BlurParams, Effect, ErosionParams, NoiseParams, SpeckleLaw, TextureParams, ViewParams,
};
use synthfm_synth::{
    GeneratorConfig, SampleParams, VolumeConfig, VolumeParams, generate, generate_volume, render,
    render_slices,
};

fn main() {
    divan::main();
}

const SIDES: [usize; 3] = [256, 384, 1024];

fn config(preset: &str, side: usize) -> GeneratorConfig {
    let mut config = GeneratorConfig::preset(preset).expect("a preset of the crate");
    config.size.height = side;
    config.size.width = side;
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
fn paper(bencher: Bencher, side: usize) {
    measure(bencher, &config("paper", side));
}

#[divan::bench(args = SIDES, threads = [1, 2], sample_count = 200, sample_size = 1)]
fn any(bencher: Bencher, side: usize) {
    measure(bencher, &config("any", side));
}

const SCENES: [&str; 8] = [
    "any",
    "label map",
    "torso",
    "head",
    "limb",
    "close-up",
    "vessels",
    "layered",
];

/// Volumes of 64 x 128 x 128, and single slices of them.
fn volumes(scene: &str) -> GeneratorConfig {
    let weight = |name: &str, all: f32| {
        if scene == "any" {
            all
        } else {
            f32::from(u8::from(scene == name))
        }
    };
    let all = VolumeConfig::default();
    let volume = VolumeConfig {
        boundary_aware: weight("label map", all.boundary_aware),
        torso: weight("torso", all.torso),
        head: weight("head", all.head),
        limb: weight("limb", all.limb),
        close_up: weight("close-up", all.close_up),
        vessels: weight("vessels", all.vessels),
        layered: weight("layered", all.layered),
        ..all
    };
    GeneratorConfig {
        volume: Some(volume),
        ..GeneratorConfig::default()
    }
}

#[divan::bench(args = SCENES, sample_count = 60, sample_size = 1)]
fn volume(bencher: Bencher, scene: &str) {
    let (config, next) = (volumes(scene), AtomicU64::new(0));
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let index = next.fetch_add(1, Ordering::Relaxed);
        black_box(generate_volume(black_box(&config), 1, index))
    });
}

#[divan::bench(args = SCENES, sample_count = 60, sample_size = 1)]
fn four_slices(bencher: Bencher, scene: &str) {
    let (config, next) = (volumes(scene), AtomicU64::new(0));
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let params = VolumeParams::draw(black_box(&config), 1, index);
        black_box(render_slices(&params, 30..34))
    });
}

#[divan::bench(args = ["ct", "mr", "us", "micro"], sample_count = 200, sample_size = 1)]
fn modality(bencher: Bencher, preset: &str) {
    measure(bencher, &config(preset, 1024));
}

#[divan::bench(args = SIDES, threads = [1, 2], sample_count = 200, sample_size = 1)]
fn shape_aware(bencher: Bencher, side: usize) {
    let mut config = config("paper", side);
    config.mixture.boundary_aware = 0.0;
    measure(bencher, &config);
}

#[divan::bench(args = SIDES, threads = [1, 2], sample_count = 200, sample_size = 1)]
fn boundary_aware(bencher: Bencher, side: usize) {
    let mut config = config("paper", side);
    config.mixture.boundary_aware = 1.0;
    measure(bencher, &config);
}

/// A recipe for 1024 x 1024 pixels of one intensity, 0.5.
fn flat(boundary_aware: f32) -> SampleParams {
    let mut config = config("paper", 1024);
    config.mixture.boundary_aware = boundary_aware;
    let mut params = SampleParams::draw(&config, 1, 0);
    params.ground.mean = 0.5;
    params.ground.amplitude = 0.0;
    params.structures.clear();
    params.textures.clear();
    params.acquisition.clear();
    params.view = ViewParams::default();
    params.overlay.clear();
    params
}

fn noisy(noise: NoiseParams) -> SampleParams {
    let mut params = flat(0.0);
    params.acquisition.push(Effect::Noise(noise));
    params
}

fn textured(texture: TextureParams) -> SampleParams {
    let mut params = flat(0.0);
    params.textures.push(texture);
    params.ground.amplitude = 0.1;
    params
}

fn poisson(counts: f32) -> SampleParams {
    noisy(NoiseParams::Poisson { seed: 1, counts })
}

fn blurred(sigma: f32) -> SampleParams {
    let mut params = flat(0.0);
    let sigma = [sigma / 1024.0; 2];
    params.acquisition.push(Effect::Blur(BlurParams { sigma }));
    params
}

/// Regions, with or without erosion, and no texture.
fn regions(radius: f32) -> SampleParams {
    let mut params = flat(1.0);
    if let Some(map) = &mut params.label_map {
        map.erosion = (radius > 0.0).then_some(ErosionParams {
            radius,
            variation: 0.5,
            seed: 1,
            regions: None,
        });
    }
    params
}

fn stages() -> Vec<(&'static str, SampleParams)> {
    let (seed, sigma) = (1, 0.05);
    let fine = [0.004, 0.004];
    let fractal = |octaves| NoiseParams::Perlin {
        seed,
        sigma,
        scale: 0.2,
        octaves,
        persistence: 0.6,
    };
    let speckle = |grain| NoiseParams::Speckle {
        seed,
        sigma,
        grain,
        law: SpeckleLaw::Rayleigh,
    };
    let mut viewed = flat(0.0);
    viewed.view.stretch = Some([0.01, 0.99]);
    viewed.view.gamma = 1.3;
    viewed.view.levels = 256;
    viewed.acquisition.push(Effect::Noise(fractal(1)));
    let ridges = TextureParams::Ridges {
        seed,
        scale: [0.1, 0.1],
        octaves: 4,
        persistence: 0.6,
    };
    let white = NoiseParams::Gaussian {
        seed,
        sigma,
        grain: [0.0; 2],
    };
    let grainy = NoiseParams::Gaussian {
        seed,
        sigma,
        grain: fine,
    };
    let rician = NoiseParams::Rician {
        seed,
        sigma,
        grain: fine,
    };
    vec![
        ("flat", flat(0.0)),
        ("Poisson, mean 2", poisson(4.0)),
        ("Poisson, mean 20", poisson(40.0)),
        ("Poisson, mean 200", poisson(400.0)),
        ("Gaussian, white", noisy(white)),
        ("Gaussian, grain 4 px", noisy(grainy)),
        ("fractal, 5 octaves", noisy(fractal(5))),
        ("speckle, white", noisy(speckle([0.0; 2]))),
        ("speckle, grain 4 px", noisy(speckle(fine))),
        ("Rician, grain 4 px", noisy(rician)),
        ("texture, ridges", textured(ridges)),
        ("blur, 2 px", blurred(2.0)),
        ("blur, 6 px", blurred(6.0)),
        ("regions", regions(0.0)),
        ("regions, eroded by 10 px", regions(0.01)),
        ("fractal, 1 octave, and view", viewed),
    ]
}

#[divan::bench(args = stages().into_iter().map(|stage| stage.0), sample_count = 100, sample_size = 1)]
fn stage(bencher: Bencher, name: &str) {
    let stage = stages().into_iter().find(|stage| stage.0 == name);
    let (_, params) = stage.expect("names come from the list");
    bencher.bench(|| black_box(render(black_box(&params))));
}
