//! Weights files: good ones of both formats, wrong ones, and hostile ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::unused::{Required, is_unused, required};
use super::*;
use crate::testing::{TINY, assert_close, filled, fixture, sam_tiny, small_config};
use crate::{
    EncoderConfig, Error, KeyDifferences, MaskOutput, Misshapen, Preparation, Sam, SamConfig,
    SmallEncoderConfig, VitConfig,
};

/// A tensor of a file under construction.
type Raw = (Vec<usize>, Vec<u8>);

fn tiny_tensors() -> BTreeMap<String, Raw> {
    let bytes = fs::read(fixture("sam_tiny.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors()
        .into_iter()
        .map(|(key, t)| (key, (t.shape().to_vec(), t.data().to_vec())))
        .collect()
}

fn write(folder: &Path, tensors: &BTreeMap<String, Raw>) -> PathBuf {
    let views = tensors.iter().map(|(key, (shape, data))| {
        (
            key,
            TensorView::new(Dtype::F32, shape.clone(), data).unwrap(),
        )
    });
    let path = folder.join("weights.safetensors");
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

fn load(path: &Path) -> crate::Result<Sam> {
    ModelFile::open_with(path, &TINY)?.load(&Device::flex())
}

#[test]
fn keys_and_shapes_are_those_of_metas_checkpoints() {
    let text = fs::read_to_string(fixture("sam_keys.json")).unwrap();
    let recorded: BTreeMap<String, BTreeMap<String, Vec<usize>>> =
        serde_json::from_str(&text).unwrap();
    let models = [
        ("vit_b", SamConfig::vit_b(), 314),
        ("vit_l", SamConfig::vit_l(), 482),
        ("vit_h", SamConfig::vit_h(), 594),
    ];
    for (name, config, count) in models {
        let expected = expected_keys(&config).unwrap();
        assert_eq!(expected.len(), count, "{name}");
        assert_eq!(expected, recorded[name], "{name}");
    }
}

#[test]
fn keys_and_shapes_are_those_of_mobile_sam() {
    let text = fs::read_to_string(fixture("sam_keys.json")).unwrap();
    let recorded: BTreeMap<String, BTreeMap<String, Vec<usize>>> =
        serde_json::from_str(&text).unwrap();
    let config = SamConfig::vit_t();
    let expected = expected_keys(&config).unwrap();
    let parameters = expected
        .iter()
        .filter(|(key, _)| key.starts_with("image_encoder.") && !is_buffer(key));
    let count: usize = parameters
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    assert_eq!(count, 5_743_892);
    // Beside our own keys, MobileSAM's strict loader asks for exactly what we can make up.
    let required = required(&config, expected.keys().map(String::as_str));
    assert!(required.keys().all(|key| is_unused(&config, key)));
    let required = required.into_iter().map(|(key, what)| match what {
        Required::Zeros(shape) => (key, shape),
        Required::Counter => (key, vec![]),
    });
    let all: BTreeMap<String, Vec<usize>> = expected.into_iter().chain(required).collect();
    assert_eq!(all, recorded["vit_t"]);
}

#[test]
fn mobile_sam_loads_with_its_unused_keys() {
    let file = ModelFile::open_with(&fixture("mobile_sam_tiny.pth"), &TINY).unwrap();
    let report = file.report().unwrap();
    assert_eq!(report.kind, "tiny_vit");
    assert!(report.differences.is_empty(), "{}", report.differences);
    let counters = report
        .unused
        .iter()
        .filter(|k| k.ends_with("num_batches_tracked"));
    assert_eq!((counters.count(), report.unused.len()), (18, 22));
    let used: usize = expected_keys(file.config())
        .unwrap()
        .iter()
        .filter(|(key, _)| key.starts_with("image_encoder."))
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    assert_eq!(report.image_encoder_parameters, used);
    // The same keys are unexpected in a model without batch normalisation.
    assert!(!is_unused(&SamConfig::vit_b(), "image_encoder.head.weight"));
}

#[test]
fn every_parameter_has_one_key_and_linear_weights_are_turned() {
    let sam = sam_tiny();
    let keys = parameter_keys(&sam);
    let names: std::collections::BTreeSet<&str> = keys.iter().map(|k| k.key.as_str()).collect();
    assert_eq!(names.len(), keys.len());
    let find = |key: &str| keys.iter().find(|k| k.key == key).unwrap();
    let linear = find("image_encoder.blocks.0.mlp.lin1.weight");
    assert!(linear.transposed);
    assert_eq!(linear.shape, [192, 48]);
    assert!(!find("image_encoder.blocks.0.attn.rel_pos_h").transposed);
    assert!(!find("prompt_encoder.point_embeddings.0.weight").transposed);
}

#[test]
fn both_formats_give_the_same_model() {
    let pth = load(&fixture("sam_tiny.pth")).unwrap();
    let safetensors = sam_tiny();
    assert_eq!(weights_sha256(&pth), weights_sha256(&safetensors));
    assert_eq!(pth.config(), safetensors.config());
    assert_ne!(
        weights_sha256(&pth.mask_decoder),
        weights_sha256(&pth.image_encoder)
    );
}

#[test]
fn the_configuration_of_a_bare_checkpoint_shows_in_its_keys() {
    let config = SamConfig {
        prompt_embed_dim: 32,
        decoder_heads: 4,
        decoder_mlp_dim: 64,
        iou_head_hidden_dim: 32,
        ..SamConfig::with_encoder(
            128,
            EncoderConfig::Vit(VitConfig {
                patch_size: 16,
                embed_dim: 48,
                depth: 4,
                num_heads: 3,
                mlp_ratio: 4.0,
                window_size: 3,
                global_attn_indexes: vec![1, 3],
            }),
        )
    };
    assert_eq!(sam_tiny().config(), &config);
}

#[test]
fn saved_models_load_with_their_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let sam = sam_tiny();
    save(&sam, Precision::F32, &path).unwrap();
    // No hint is needed: the configuration is in the file.
    let file = ModelFile::open(&path).unwrap();
    assert_eq!(file.config(), sam.config());
    let loaded = file.load(&Device::flex()).unwrap();
    assert_eq!(weights_sha256(&loaded), weights_sha256(&sam));
    let first = fs::read(&path).unwrap();
    save(&loaded, Precision::F32, &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
    // The same tensors as Meta's, byte for byte.
    let saved = SafeTensors::deserialize(&first).unwrap();
    for (key, (shape, data)) in tiny_tensors() {
        let tensor = saved.tensor(&key).unwrap();
        assert_eq!(
            (tensor.shape(), tensor.data()),
            (&shape[..], &data[..]),
            "{key}"
        );
    }
    // As a folder and from memory too.
    fs::write(folder.path().join("config.json"), sam.config().to_json()).unwrap();
    let from_folder = ModelFile::open(folder.path()).unwrap();
    assert_eq!(from_folder.sha256().unwrap(), file.sha256().unwrap());
    let from_memory = ModelFile::from_bytes(first).unwrap();
    assert_eq!(from_memory.sha256().unwrap(), file.sha256().unwrap());
    let loaded = from_memory.load(&Device::flex()).unwrap();
    assert_eq!(weights_sha256(&loaded), weights_sha256(&sam));
}

#[test]
fn half_precision_keeps_three_digits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    save(&sam_tiny(), Precision::F16, &path).unwrap();
    let full = fs::metadata(fixture("sam_tiny.safetensors")).unwrap().len();
    assert!(fs::metadata(&path).unwrap().len() < full * 6 / 10);
    let half = TensorStore::open(&path).unwrap();
    let exact = TensorStore::open(&fixture("sam_tiny.safetensors")).unwrap();
    for key in exact.tensors().keys() {
        let (a, b) = (half.read(key).unwrap(), exact.read(key).unwrap());
        let worst = a
            .iter()
            .zip(&b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(worst <= largest / 2048.0, "{key}");
    }
    ModelFile::open(&path)
        .unwrap()
        .load(&Device::flex())
        .unwrap();
}

#[test]
fn the_small_encoder_saves_and_loads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    let small = SmallEncoderConfig {
        channels: [8, 8, 16, 16],
        blocks: [1, 1, 1],
        attention_blocks: 1,
        num_heads: 2,
    };
    let config = SamConfig {
        high_res_features: true,
        prompt_embed_dim: 32,
        decoder_heads: 2,
        ..SamConfig::with_encoder(64, EncoderConfig::Small(small))
    };
    let sam = Sam::new(&config, &Device::flex());
    save(&sam, Precision::F32, &path).unwrap();
    let file = ModelFile::open(&path).unwrap();
    assert_eq!(file.config(), &config);
    let loaded = file.load(&Device::flex()).unwrap();
    assert_eq!(weights_sha256(&loaded), weights_sha256(&sam));
    let report = file.report().unwrap();
    assert_eq!(report.kind, "small");
    assert!(report.differences.is_empty());
    assert_eq!(
        expected_keys(&config).unwrap().len(),
        parameter_keys(&loaded).len()
    );
}

#[test]
fn a_model_from_before_gets_parts_without_a_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("before.safetensors");
    let config = SamConfig {
        click_reach: false,
        mask_refiner: 0,
        ..small_config()
    };
    let before = filled(&config);
    save(&before, Precision::F32, &path).unwrap();
    let device = Device::flex();
    let file = ModelFile::open(&path).unwrap();
    // The parts that are new keep what they have: zeros.
    let after = file
        .load_over(Sam::new(&small_config(), &device), &device)
        .unwrap();
    let image = burn::tensor::Tensor::<4>::random(
        [1, 3, 64, 64],
        burn::tensor::Distribution::Default,
        &device,
    );
    let prompts = crate::PromptBatch::from_points(
        burn::tensor::Tensor::from_floats([[[40.0, 21.0]]], &device),
        burn::tensor::Tensor::<2, burn::tensor::Int>::from_ints([[1]], &device),
    );
    let masks = |sam: &Sam| {
        let answer = sam.decode(
            &sam.encode(image.clone()),
            &prompts,
            &[0],
            MaskOutput::Single,
        );
        crate::testing::values(answer.low_res_logits)
    };
    assert_eq!(masks(&before), masks(&after));
    // With a say, they change the answer; and the other way round something is missing.
    assert_ne!(masks(&filled(&small_config())), masks(&before));
    let other = SamConfig {
        dense_prompts: 2,
        ..small_config()
    };
    let error = file
        .load_over(Sam::new(&other, &device), &device)
        .unwrap_err();
    assert!(
        error.to_string().contains("dense_prompts.blocks.1"),
        "{error}"
    );
}

#[test]
fn pth_files_hold_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["sam_tiny.pth", "mobile_sam_tiny.pth"] {
        let sam = load(&fixture(name)).unwrap();
        let path = folder.path().join(name);
        save_pth(&sam, &path).unwrap();
        assert_eq!(weights_sha256(&load(&path).unwrap()), weights_sha256(&sam));
        let keys = |path: &Path| {
            let store = TensorStore::open(path).unwrap();
            let shapes = store.tensors().iter();
            shapes
                .map(|(key, info)| (key.clone(), info.shape.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        let (written, original) = (keys(&path), keys(&fixture(name)));
        // The classifier's head of the small recording has 7 classes.
        let head = |key: &&String| !key.starts_with("image_encoder.head.");
        assert!(written.keys().eq(original.keys()), "{name}");
        for key in written.keys().filter(head) {
            assert_eq!(written[key], original[key], "{key}");
        }
        let first = fs::read(&path).unwrap();
        save_pth(&sam, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        // safetensors hold the same keys.
        save(&sam, Precision::F32, &path).unwrap();
        assert_eq!(keys(&path), written);
    }
}

#[test]
fn medsam_shows_in_the_name_of_a_bare_checkpoint_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("MedSAM_vit_b.pth");
    fs::copy(fixture("sam_tiny.pth"), &path).unwrap();
    let file = ModelFile::open_with(&path, &TINY).unwrap();
    assert_eq!(file.report().unwrap().kind, "medsam");
    assert_eq!(file.config().preparation, Preparation::MedSam);
    let sam = file.load(&Device::flex()).unwrap();
    // Saved models carry it with them.
    let saved = folder.path().join("other.safetensors");
    save(&sam, Precision::F32, &saved).unwrap();
    assert_eq!(ModelFile::open(&saved).unwrap().config(), file.config());
    // And one of another preparation keeps its own, whatever its name.
    let renamed = folder.path().join("not_medsam.safetensors");
    save(&sam_tiny(), Precision::F32, &renamed).unwrap();
    assert_eq!(
        ModelFile::open(&renamed).unwrap().config().preparation,
        Preparation::Sam
    );
}

#[test]
fn our_own_encoder_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let config = SamConfig {
        high_res_features: true,
        ..SamConfig::with_encoder(64, EncoderConfig::Small(SmallEncoderConfig::default()))
    };
    let path = folder.path().join("small.pth");
    let error = save_pth(&Sam::new(&config, &Device::flex()), &path).unwrap_err();
    assert!(matches!(error, Error::NotPublished), "{error}");
    assert!(!path.exists());
}

#[test]
fn loading_counts_its_values() {
    let file = ModelFile::open_with(&fixture("mobile_sam_tiny.pth"), &TINY).unwrap();
    let mut read = 0;
    file.load_with(&Device::flex(), &mut |values| read += values)
        .unwrap();
    assert_eq!(read, file.parameters());
}

#[test]
fn all_wrong_keys_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = tiny_tensors();
    for key in ["iou_token", "mask_tokens"] {
        let key = format!("mask_decoder.{key}.weight");
        if key.contains("iou") {
            tensors.remove(&key).unwrap();
        }
    }
    tensors
        .remove("prompt_encoder.no_mask_embed.weight")
        .unwrap();
    tensors.insert("optimizer.step".to_owned(), (vec![1], vec![0; 4]));
    let bias = "image_encoder.blocks.2.attn.qkv.bias";
    tensors.insert(bias.to_owned(), (vec![2], vec![0; 8]));
    let path = write(folder.path(), &tensors);

    let error = load(&path).unwrap_err();
    let Error::Keys { differences, .. } = &error else {
        panic!("{error}");
    };
    let expected = KeyDifferences {
        missing: vec![
            "mask_decoder.iou_token.weight".to_owned(),
            "prompt_encoder.no_mask_embed.weight".to_owned(),
        ],
        unexpected: vec!["optimizer.step".to_owned()],
        misshapen: vec![Misshapen {
            key: bias.to_owned(),
            expected: vec![144],
            found: vec![2],
        }],
    };
    assert_eq!(differences, &expected);
    let text = error.to_string();
    for part in [
        "2 missing: mask_decoder.iou",
        "1 unexpected: optimizer.step",
        "[144]",
        "[2]",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // The report shows the same without failing.
    let report = ModelFile::open_with(&path, &TINY)
        .unwrap()
        .report()
        .unwrap();
    assert_eq!(report.differences, expected);
}

#[test]
fn a_checkpoint_without_the_telling_keys_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = tiny_tensors();
    tensors.remove("image_encoder.pos_embed");
    let text = load(&write(folder.path(), &tensors))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("image_encoder.pos_embed is missing"),
        "{text}"
    );
}

#[test]
fn relative_position_tables_of_another_length_are_interpolated() {
    let folder = tempfile::tempdir().unwrap();
    let sam = sam_tiny();
    let mut tensors = tiny_tensors();
    // A constant table stays constant whatever its length.
    let key = "image_encoder.blocks.1.attn.rel_pos_h";
    let constant = |rows: usize| (vec![rows, 16], 0.25f32.to_le_bytes().repeat(rows * 16));
    let encode = |tensors: &BTreeMap<String, Raw>| {
        let path = write(folder.path(), tensors);
        fs::write(folder.path().join("config.json"), sam.config().to_json()).unwrap();
        fs::rename(path, folder.path().join("model.safetensors")).unwrap();
        let sam = ModelFile::open(folder.path())
            .unwrap()
            .load(&Device::flex())
            .unwrap();
        let image = crate::testing::Recorded::open().tensor("preprocessed");
        crate::testing::values(sam.encode(image).image_embedding)
    };
    tensors.insert(key.to_owned(), constant(15));
    let expected = encode(&tensors);
    tensors.insert(key.to_owned(), constant(7));
    assert_close("embedding", &encode(&tensors), &expected);
}

#[test]
fn reports_count_and_name() {
    let file = ModelFile::open_with(&fixture("sam_tiny.pth"), &TINY).unwrap();
    let report = file.report().unwrap();
    assert_eq!((report.kind, report.format), ("vit", WeightsFormat::Pth));
    assert!(report.differences.is_empty());
    let total: usize = tiny_tensors()
        .values()
        .map(|(_, data)| data.len() / 4)
        .sum();
    let parts = report.image_encoder_parameters
        + report.prompt_encoder_parameters
        + report.mask_decoder_parameters;
    assert_eq!(parts, total);
    assert_eq!(report.sha256.len(), 64);
}

#[test]
fn parameter_counts_are_those_of_the_paper() {
    let keys = expected_keys(&SamConfig::vit_b()).unwrap();
    let count = |part: &str| -> usize {
        let of_part = keys.iter().filter(|(key, _)| key.starts_with(part));
        of_part
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    };
    assert_eq!(count("image_encoder."), 89_670_912);
    assert_eq!(count("prompt_encoder."), 6_220 + 256);
    assert_eq!(count("mask_decoder."), 4_058_340);
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = tiny_tensors();
    let key = "mask_decoder.iou_token.weight";
    tensors.get_mut(key).unwrap().1[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let text = load(&write(folder.path(), &tensors))
        .unwrap_err()
        .to_string();
    assert!(text.contains(key) && text.contains("finite"), "{text}");
}

#[test]
fn a_bad_configuration_names_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let good = sam_tiny().config().to_json();
    fs::copy(
        fixture("sam_tiny.safetensors"),
        folder.path().join("model.safetensors"),
    )
    .unwrap();
    let cases = [
        (
            good.replace("\"decoder_heads\": 4", "\"decoder_heads\": 0"),
            "decoder_heads",
        ),
        (
            good.replace("\"image_size\": 128", "\"image_size\": 9999999"),
            "image_size",
        ),
        (
            good.replace("\"num_heads\": 3", "\"num_heads\": 5"),
            "encoder.num_heads",
        ),
        (good.replace("\"depth\": 4", "\"depths\": 4"), "depth"),
        ("{".to_owned(), "config.json"),
    ];
    for (text, field) in cases {
        fs::write(folder.path().join("config.json"), text).unwrap();
        let error = ModelFile::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains(field), "{field}: {error}");
    }
    fs::remove_file(folder.path().join("config.json")).unwrap();
    let error = ModelFile::open(folder.path()).err().unwrap();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn header_lengths_that_look_like_other_formats_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("look-alike");
    // 0x80 starts a pickle, "PK" (0x4b50) a zip.
    for size in [0x80, 0x4b50] {
        let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut bytes = (size as u64).to_le_bytes().to_vec();
        bytes.extend(format!("{header:<size$}").as_bytes());
        bytes.extend(2.5f32.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let store = TensorStore::open(&path).unwrap();
        assert_eq!(store.read("a").unwrap(), [2.5], "header of {size} bytes");
    }
}

#[test]
fn truncated_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    for name in [
        "sam_tiny.safetensors",
        "sam_tiny.pth",
        "sam2_tiny.safetensors",
    ] {
        let bytes = fs::read(fixture(name)).unwrap();
        let lengths = (0..40)
            .map(|i| bytes.len() * i / 40)
            .chain([1, 7, 8, 9, bytes.len() - 1]);
        for length in lengths {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(load(&path).is_err(), "{name} cut to {length} bytes");
        }
    }
}

#[test]
fn damaged_and_random_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    for name in ["sam_tiny.safetensors", "sam_tiny.pth"] {
        let bytes = fs::read(fixture(name)).unwrap();
        for round in 0..60 {
            let mut damaged = bytes.clone();
            // Headers lie at the start of safetensors and around the ends of a zip.
            let reach = if round % 2 == 0 { 20_000 } else { bytes.len() };
            for _ in 0..8 {
                let at = random() % reach;
                let at = if round % 3 == 0 {
                    bytes.len() - 1 - at
                } else {
                    at
                };
                damaged[at] = random() as u8;
            }
            fs::write(&path, &damaged).unwrap();
            let _ = load(&path);
        }
    }
    for start in [
        &b"PK\x03\x04"[..],
        &[0x80, 2],
        b"",
        &[200, 0, 0, 0, 0, 0, 0, 0, b'{'],
    ] {
        let noise = (0..3000).map(|_| random() as u8);
        let bytes: Vec<u8> = start.iter().copied().chain(noise).collect();
        fs::write(&path, bytes).unwrap();
        assert!(load(&path).is_err());
    }
}

#[test]
fn absurd_headers_allocate_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absurd");
    let with_header = |header: &str, size: u64| {
        let mut bytes = size.to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes
    };
    let huge = r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#;
    let past_the_end = r#"{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}"#;
    let backwards = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#;
    for (header, size) in [
        ("{}", u64::MAX),
        ("{}", 1 << 40),
        ("{}", 2),
        (huge, huge.len() as u64),
        (past_the_end, past_the_end.len() as u64),
        (backwards, backwards.len() as u64),
        ("not json", 8),
    ] {
        fs::write(&path, with_header(header, size)).unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("absurd"), "names the file: {error}");
        assert!(ModelFile::from_bytes(with_header(header, size)).is_err());
    }
    assert!(matches!(load(Path::new("/nowhere")), Err(Error::Io { .. })));
}

#[test]
fn nothing_half_written_stays() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no such folder/model.safetensors");
    let error = save(&sam_tiny(), Precision::F32, &missing).unwrap_err();
    assert!(
        matches!(error, Error::Image(synthfm_image::Error::Io { .. })),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn loaded_parameters_train_and_the_position_matrix_does_not() {
    let device = Device::flex().autodiff();
    let sam = ModelFile::open_with(&fixture("sam_tiny.safetensors"), &TINY)
        .unwrap()
        .load(&device)
        .unwrap();
    let io = crate::testing::Recorded::open();
    let embedding = crate::ImageEmbedding {
        image_embedding: io.tensor::<4>("image_embedding").to_device(&device),
        high_res: None,
    };
    let boxes = burn::tensor::Tensor::from_floats([[10.0, 10.0, 90.0, 80.0]], &device);
    let prompts = crate::PromptBatch::from_boxes(boxes);
    let answer = sam.decode(&embedding, &prompts, &[0], MaskOutput::Single);
    let gradients = answer.low_res_logits.sum().backward();
    let mut gradients = burn::optim::GradientsParams::from_grads(gradients, &sam);
    let mut has_gradient = |key: &str| {
        let keys = parameter_keys(&sam);
        let parameter = keys.iter().find(|k| k.key == key).unwrap();
        gradients.remove::<2>(parameter.id).is_some()
    };
    assert!(has_gradient("mask_decoder.mask_tokens.weight"));
    assert!(has_gradient("prompt_encoder.point_embeddings.2.weight"));
    assert!(!has_gradient(
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    ));
}
