//! SAM 2's weights files: their keys, every format, and what is wrong with incomplete and foreign ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};

use super::*;
use crate::testing::fixture;
use crate::{Error, KeyDifferences, SamConfig};

/// A tensor of a file under construction.
type Raw = (Vec<usize>, Vec<u8>);

fn write(folder: &Path, tensors: &BTreeMap<String, Raw>, dtype: Dtype) -> PathBuf {
    let view = |(shape, data)| TensorView::new(dtype, Vec::clone(shape), data).unwrap();
    let views = tensors
        .iter()
        .map(|(key, (shape, data))| (key, view((shape, data))));
    let path = folder.join("weights.safetensors");
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

#[test]
fn keys_and_shapes_are_those_of_sam_2() {
    let text = fs::read_to_string(fixture("sam2_keys.json")).unwrap();
    let recorded: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let models = SamConfig::published().into_iter();
    let models: Vec<_> = models.filter(|(_, config)| config.is_sam2()).collect();
    assert_eq!(models.len(), recorded.len());
    for (name, config) in models {
        let keys = expected_keys(&config).unwrap();
        let values: usize = keys
            .values()
            .map(|shape| shape.iter().product::<usize>())
            .sum();
        let mut hasher = Sha256::new();
        for (key, shape) in &keys {
            hasher.update(format!("{key} {shape:?}\n"));
        }
        let found = serde_json::json!({
            "keys": keys.len(),
            "values": values,
            "sha256": synthfm_image::hex(&hasher.finalize()),
        });
        assert_eq!(found, recorded[name], "{name}");
    }
}

/// The tiny SAM 2 as tensors, without its configuration.
fn sam2_tensors() -> BTreeMap<String, Raw> {
    let file = ModelFile::open(&fixture("sam2_tiny.safetensors")).unwrap();
    let store = file.store();
    let tensors = store.tensors().iter();
    tensors
        .map(|(key, info)| {
            let values = store.read(key).unwrap();
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (key.clone(), (info.shape.clone(), bytes))
        })
        .collect()
}

#[test]
fn sam_2_survives_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let original = fixture("sam2_tiny.safetensors");
    let file = ModelFile::open(&original).unwrap();
    let sam = file.load(&Device::flex()).unwrap();
    let report = file.report().unwrap();
    assert_eq!(report.kind, "hiera");
    assert!(report.differences.is_empty(), "{}", report.differences);
    let parts = report.image_encoder_parameters
        + report.prompt_encoder_parameters
        + report.mask_decoder_parameters
        + report.memory_parameters;
    assert_eq!(parts, file.parameters());
    assert!(report.memory_parameters > 0);
    let keys = |path: &Path| -> BTreeMap<String, Vec<usize>> {
        let store = TensorStore::open(path).unwrap();
        let shapes = store.tensors().iter();
        shapes
            .map(|(key, info)| (key.clone(), info.shape.clone()))
            .collect()
    };
    let safetensors = folder.path().join("sam2.safetensors");
    save(&sam, Precision::F32, &safetensors).unwrap();
    assert_eq!(keys(&safetensors), keys(&original));
    let again = ModelFile::open(&safetensors)
        .unwrap()
        .load(&Device::flex())
        .unwrap();
    assert_eq!(weights_sha256(&again), weights_sha256(&sam));
    let pt = folder.path().join("sam2.pt");
    save_pth(&sam, &pt).unwrap();
    assert_eq!(keys(&pt), keys(&original));
    let store = TensorStore::open(&pt).unwrap();
    for (key, (_, bytes)) in sam2_tensors() {
        let values = store.read(&key).unwrap();
        let written: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(written, bytes, "{key}");
    }
    // SAM 2's code looks for the state dict under this key.
    let raw = fs::read(&pt).unwrap();
    assert!(raw.windows(11).any(|bytes| bytes == b"}X\x05\0\0\0model"));
}

#[test]
fn published_sizes_of_sam_2_show_in_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    for (name, config) in SamConfig::published() {
        // Sizes alone are read; those of the larger models would take hundreds of megabytes.
        if !config.is_sam2() || !name.ends_with("tiny") {
            continue;
        }
        let keys = expected_keys(&config).unwrap().into_iter();
        let zeros = |shape: Vec<usize>| {
            let bytes = vec![0; shape.iter().product::<usize>()];
            (shape, bytes)
        };
        let tensors = keys.map(|(key, shape)| (key, zeros(shape))).collect();
        let path = write(folder.path(), &tensors, Dtype::U8);
        let file = ModelFile::open(&path).unwrap();
        assert_eq!(file.config(), &config, "{name}");
        assert_eq!(file.report().unwrap().kind, name);
    }
}

#[test]
fn foreign_and_incomplete_sam_2s_say_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let open = |tensors: &BTreeMap<String, Raw>| {
        ModelFile::open(&write(folder.path(), tensors, Dtype::F32))
    };
    // Sizes that nobody published do not tell their windows.
    let text = open(&sam2_tensors()).err().unwrap().to_string();
    assert!(text.contains("8 channels and 7 blocks"), "{text}");
    let mut tensors = sam2_tensors();
    tensors.remove("maskmem_tpos_enc");
    tensors.remove("sam_mask_decoder.obj_score_token.weight");
    tensors.insert("criterion.weight".to_owned(), (vec![1], vec![0; 4]));
    let path = write(folder.path(), &tensors, Dtype::F32);
    let whole = ModelFile::open(&fixture("sam2_tiny.safetensors")).unwrap();
    let incomplete = whole.with_weights_of(&path);
    let Error::Keys { differences, .. } = incomplete.load(&Device::flex()).unwrap_err() else {
        panic!("the keys differ");
    };
    let expected = KeyDifferences {
        missing: vec![
            "maskmem_tpos_enc".to_owned(),
            "sam_mask_decoder.obj_score_token.weight".to_owned(),
        ],
        unexpected: vec!["criterion.weight".to_owned()],
        misshapen: vec![],
    };
    assert_eq!(differences, expected);
}
