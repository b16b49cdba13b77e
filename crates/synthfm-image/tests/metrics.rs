//! Metrics against published implementations.
//!
//! `fixtures/make_metric_fixtures.py` recorded MONAI 1.6.1 and `DeepMind`'s surface-distance for ten
//! pairs of masks, 2-D and anisotropic 3-D. They compute distances in `f32`, hence the tolerance.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use safetensors::SafeTensors;
use synthfm_image::{LabelVolume, Mask, MaskPair, Size, VolumeGeometry};

const TOLERANCE: f64 = 1e-5;

fn pair(tensors: &SafeTensors, name: &str, spacing: &[f64]) -> MaskPair {
    let load = |which: &str| tensors.tensor(&format!("{name}.{which}")).unwrap();
    let (prediction, truth) = (load("pred"), load("gt"));
    if let [height, width] = *truth.shape() {
        let mask = |data: &[u8]| {
            let data = data.iter().map(|&v| v != 0).collect();
            Mask::new(Size::new(height, width), data).unwrap()
        };
        let spacing = [spacing[0], spacing[1]];
        return MaskPair::new(&mask(prediction.data()), &mask(truth.data()), spacing).unwrap();
    }
    let [nk, nj, ni] = *truth.shape() else {
        panic!("{name} has {:?} values", truth.shape());
    };
    let spacing = [spacing[2], spacing[1], spacing[0]];
    let geometry = VolumeGeometry::with_spacing([ni, nj, nk], spacing).unwrap();
    let volume = |data: &[u8]| {
        let labels = data.iter().map(|&v| u16::from(v)).collect();
        LabelVolume::new(geometry.clone(), labels).unwrap()
    };
    MaskPair::of_label(&volume(prediction.data()), &volume(truth.data()), 1).unwrap()
}

#[test]
fn equal_to_monai_and_surface_distance() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let bytes = std::fs::read(format!("{folder}/metrics.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let json = std::fs::read(format!("{folder}/metrics.json")).unwrap();
    let cases: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&json).unwrap();
    assert_eq!(cases.len(), 10);
    for (name, case) in &cases {
        let numbers = case["spacing_mm"].as_array().unwrap().iter();
        let spacing: Vec<f64> = numbers.map(|v| v.as_f64().unwrap()).collect();
        let pair = pair(&tensors, name, &spacing);
        let elements = pair.surface_elements().unwrap();
        let (one, two) = (pair.scores(1.0).unwrap(), pair.scores(2.0).unwrap());
        for (key, got) in [
            ("dice", one.dice),
            ("iou", one.iou),
            ("hd_mm", one.hd_mm),
            ("hd95_mm", one.hd95_mm),
            ("assd_mm", one.assd_mm),
            ("nsd_1mm_monai", one.nsd),
            ("nsd_2mm_monai", two.nsd),
            ("nsd_1mm_deepmind", elements.nsd(1.0)),
            ("nsd_2mm_deepmind", elements.nsd(2.0)),
        ] {
            let want = case[key].as_f64().unwrap();
            assert!(
                (got - want).abs() <= TOLERANCE,
                "{name} {key}: {got}, recorded {want}"
            );
        }
    }
}
