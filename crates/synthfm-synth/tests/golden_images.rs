//! Small pictures of each preset, as the command line wrote them (`tools/golden_images`), drawn again by the library.
//!
//! The checksums of `recipe.rs` say that something changed; these show what.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use synthfm_image::{
    GreyDepth, LabelMap, Picture, ReadOptions, read_image, read_labels, write_grey_png,
};
use synthfm_synth::{GeneratorConfig, Sample, generate};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Presets, each with the index of its sample.
const SAMPLES: [(&str, u64); 8] = [
    ("any", 43),
    ("paper", 40),
    ("ct", 40),
    ("mr", 40),
    ("us", 40),
    ("xray", 40),
    ("micro", 40),
    ("retina", 42),
];

fn sample(preset: &str, index: u64) -> Sample {
    let mut config = GeneratorConfig::preset(preset).expect("the name is known");
    (config.size.height, config.size.width) = (128, 150);
    generate(&config, 2024, index)
}

/// Targets numbered from 1, smaller ones above larger ones.
fn labels(sample: &Sample) -> LabelMap {
    let mut order: Vec<_> = (1_u16..).zip(&sample.targets).collect();
    order.sort_by_key(|(label, target)| (Reverse(target.mask.area()), *label));
    let mut labels = LabelMap::zeros(sample.image.size());
    for (label, target) in order {
        for (value, &inside) in labels.data_mut().iter_mut().zip(target.mask.data()) {
            *value = if inside { label } else { *value };
        }
    }
    labels
}

fn recorded_image(preset: &str) -> Vec<f32> {
    let path = golden(&format!("{preset}.png"));
    match read_image(&path, &ReadOptions::default()).expect("a golden image") {
        synthfm_image::ImageFile::Picture(Picture::Grey(image)) => image.into_data(),
        other => panic!("{} is grey: {other:?}", path.display()),
    }
}

fn recorded_labels(preset: &str) -> Vec<u16> {
    let path = golden(&format!("{preset}-labels.png"));
    match read_labels(&path, &ReadOptions::default()).expect("golden labels") {
        synthfm_image::LabelFile::Map(labels) => labels.into_data(),
        other @ synthfm_image::LabelFile::Volume(_) => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn presets_draw_their_golden_images() {
    for (preset, index) in SAMPLES {
        let sample = sample(preset, index);
        let image: Vec<f32> = sample
            .image
            .data()
            .iter()
            .map(|v| (v * 255.0).round())
            .collect();
        let labels = labels(&sample).into_data();
        let changed = |here: usize| here.to_string() + " pixels differ from tests/golden";
        let pixels = image
            .iter()
            .zip(&recorded_image(preset))
            .filter(|(a, b)| (**a - **b).abs() > 0.5)
            .count();
        if pixels > 0 {
            let now = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{preset}.png"));
            write_grey_png(&now, &sample.image, 0.0..=1.0, GreyDepth::Eight).unwrap();
            panic!("{preset}: {}; now it is {}", changed(pixels), now.display());
        }
        let pixels = labels
            .iter()
            .zip(&recorded_labels(preset))
            .filter(|(a, b)| a != b)
            .count();
        assert_eq!(pixels, 0, "{preset}: labels: {}", changed(pixels));
        assert!(
            labels.iter().any(|&label| label > 0),
            "{preset} has targets"
        );
    }
}
