//! A recipe determines the bytes: through JSON, on any number of threads, in any order, on any
//! machine.

use rayon::prelude::*;
use synthfm_synth::params::{BlurParams, DeformationParams, Effect, FadeParams};
use synthfm_synth::{GeneratorConfig, Sample, SampleParams, generate, render};

fn config(height: usize, width: usize) -> GeneratorConfig {
    let mut config = GeneratorConfig::default();
    config.size.height = height;
    config.size.width = width;
    config
}

/// FNV-1a over the bits of the image, the label map and the masks.
fn checksum(sample: &Sample) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |value: u32| {
        for byte in value.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    sample.image.data().iter().for_each(|v| add(v.to_bits()));
    sample
        .label_map
        .data()
        .iter()
        .for_each(|&v| add(u32::from(v)));
    for target in &sample.targets {
        add(u32::from(target.id));
        target.mask.data().iter().for_each(|&v| add(u32::from(v)));
    }
    hash
}

#[test]
fn json_round_trip_renders_the_same_bytes() {
    let config = config(131, 170);
    for index in 0..40 {
        let params = SampleParams::draw(&config, 5, index);
        let json = serde_json::to_string(&params).unwrap();
        let read: SampleParams = serde_json::from_str(&json).unwrap();
        assert_eq!(params, read, "index {index}");
        assert_eq!(render(&params), render(&read), "index {index}");
    }
}

#[test]
fn threads_and_order_do_not_matter() {
    let config = config(128, 203);
    let indices: Vec<u64> = (0..24).collect();
    let backwards: Vec<Sample> = indices
        .iter()
        .rev()
        .map(|&i| generate(&config, 9, i))
        .collect();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let samples: Vec<Sample> = pool.install(|| {
            indices
                .par_iter()
                .map(|&i| generate(&config, 9, i))
                .collect()
        });
        assert!(
            samples.iter().eq(backwards.iter().rev()),
            "{threads} threads"
        );
    }
}

#[test]
fn seed_and_index_both_matter() {
    let config = config(128, 128);
    let image = |seed, index| generate(&config, seed, index).image;
    assert_ne!(image(1, 2), image(2, 1));
    assert_ne!(image(1, 2), image(1, 3));
    assert_eq!(image(1, 2), image(1, 2));
}

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.txt");

/// The default mixture without heterogeneous insides, plain mixtures and segments.
fn bare() -> GeneratorConfig {
    let mut config = GeneratorConfig::default();
    (config.clusters.structures, config.clusters.regions) = (0.0, 0.0);
    (config.mixture.plain, config.targets.segments.probability) = (0.0, 0.0);
    config
}

/// The file's lines: a header, and a checksum for each of the first samples of every preset.
fn golden() -> Vec<String> {
    let header = [
        "# Checksums of the first samples of each preset (160 x 131, seed 2024): preset, index, FNV-1a.",
        "# bare: `any` without clusters, plain mixtures and segments.",
        "# Written by: UPDATE_GOLDEN=1 cargo test --release -p synthfm-synth --test recipe",
    ];
    let presets = [
        "any", "any", "bare", "bare", "paper", "ct", "mr", "us", "xray", "micro", "retina",
    ];
    let samples = presets.iter().zip([0, 6, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
    let sums = samples.flat_map(|(name, first)| {
        let mut config = match *name {
            "bare" => bare(),
            preset => GeneratorConfig::preset(preset).expect("the name is known"),
        };
        (config.size.height, config.size.width) = (160, 131);
        (first..first + 6).map(move |index| {
            let sum = checksum(&generate(&config, 2024, index));
            format!("{name} {index} {sum:016x}")
        })
    });
    header
        .iter()
        .map(|&line| line.to_owned())
        .chain(sums)
        .collect()
}

#[test]
fn bytes_are_those_of_other_machines() {
    let got = golden();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, got.join("\n") + "\n").unwrap();
    }
    let recorded = std::fs::read_to_string(GOLDEN).unwrap();
    let recorded: Vec<&str> = recorded.lines().collect();
    assert_eq!(got, recorded, "this machine or version gives other bytes");
}

#[test]
fn unknown_keys_of_a_recipe_are_refused() {
    let params = SampleParams::draw(&config(128, 128), 1, 1);
    let mut json = serde_json::to_value(&params).unwrap();
    json["colour"] = 3.into();
    let error = serde_json::from_value::<SampleParams>(json)
        .unwrap_err()
        .to_string();
    assert!(error.contains("colour"), "{error}");
}

/// A recipe that holds at least one structure.
fn recipe_with_structures() -> SampleParams {
    let mut config = config(128, 128);
    config.mixture.boundary_aware = 0.0;
    SampleParams::draw(&config, 1, 1)
}

#[test]
fn hostile_recipes_are_refused_and_name_the_field() {
    let params = SampleParams::draw(&config(128, 128), 1, 1);
    params.validate().unwrap();
    let mut huge = params.clone();
    huge.size.height = 1 << 40;
    assert!(
        huge.validate()
            .unwrap_err()
            .to_string()
            .starts_with("size.height")
    );
    let mut blurred = params.clone();
    let sigma = [f32::INFINITY, 0.0];
    blurred.acquisition = vec![Effect::Blur(BlurParams { sigma })];
    assert!(
        blurred
            .validate()
            .unwrap_err()
            .to_string()
            .starts_with("acquisition.blur")
    );
    let mut endless = params.clone();
    endless.textures = vec![params.textures[0].clone(); 1000];
    assert!(
        endless
            .validate()
            .unwrap_err()
            .to_string()
            .starts_with("textures")
    );
    let mut torn = params.clone();
    torn.deformation = Some(DeformationParams {
        seed: 1,
        scale: 0.0,
        std: 0.1,
    });
    let refusal = torn.validate().unwrap_err().to_string();
    assert!(refusal.starts_with("deformation.scale"), "{refusal}");
    let mut frayed = recipe_with_structures();
    frayed.structures[0].edge.fades = vec![FadeParams {
        start: 0.0,
        length: 0.1,
        depth: f32::NAN,
    }];
    let refusal = frayed.validate().unwrap_err().to_string();
    assert!(refusal.starts_with("structures.edge.fades"), "{refusal}");
    let mut aimless = params;
    aimless.view.window = [f32::NAN, 1.0];
    assert!(
        aimless
            .validate()
            .unwrap_err()
            .to_string()
            .starts_with("view")
    );
}
