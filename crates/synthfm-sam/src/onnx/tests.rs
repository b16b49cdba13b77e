//! Exported files: read back field by field, compared with the weights, and with what ONNX Runtime computed
//! from the very same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use burn::tensor::{Int, Tensor, TensorData};
use prost::Message;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};
use synthfm_image::Size;

use super::*;
use crate::testing::{Recorded, assert_close, fixture, values};
use crate::{
    ImageEmbedding, InputTransform, LABEL_PADDING, MaskOutput, MaskPrediction, PointPrompts,
    PromptBatch, Sam,
};
use synthfm_image::hex;

const MODELS: [&str; 2] = ["sam_tiny", "mobile_sam_tiny"];
const BEST: OnnxOptions = OnnxOptions {
    masks: OnnxMasks::Best,
    input: OnnxInput::Tensor,
};
const ALL: OnnxOptions = OnnxOptions {
    masks: OnnxMasks::All,
    input: OnnxInput::Image,
};

/// A recorded model; MobileSAM's weights do not tell their input's side.
fn model(name: &str) -> ModelFile {
    let file = ModelFile::open(&fixture(&format!("{name}.pth"))).unwrap();
    match name {
        "mobile_sam_tiny" => file.at_image_size(96).unwrap(),
        _ => file,
    }
}

/// Encoder and decoder of `file` in `folder`.
fn export(file: &ModelFile, options: OnnxOptions, folder: &Path) -> OnnxFiles {
    let files = OnnxFiles::named(&folder.join("sam.onnx"));
    let written = file.export_onnx(options, &files, &mut |_| ()).unwrap();
    assert_eq!(written, [files.encoder.clone(), files.decoder.clone()]);
    files
}

fn read(path: &Path) -> proto::Model {
    proto::Model::decode(&fs::read(path).unwrap()[..]).unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let values = bytes.chunks_exact(4);
    values
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

#[test]
fn names_follow_the_given_one() {
    for given in ["out/vit.b", "out/vit.b.onnx"] {
        let files = OnnxFiles::named(Path::new(given));
        assert_eq!(files.encoder, Path::new("out/vit.b.encoder.onnx"));
        assert_eq!(files.decoder, Path::new("out/vit.b.decoder.onnx"));
    }
}

#[test]
fn files_are_those_that_onnxruntime_ran() {
    let bytes = fs::read(fixture("onnx_io.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let recorded = header.metadata().clone().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        for (variant, options) in [("best", BEST), ("all", ALL)] {
            let files = export(&model(name), options, folder.path());
            for (part, path) in [("encoder", files.encoder), ("decoder", files.decoder)] {
                let hash = hex(&Sha256::digest(fs::read(path).unwrap()));
                assert_eq!(
                    recorded[&format!("{name}.{variant}.{part}")],
                    hash,
                    "{name}.{variant}.{part}: exports have changed: run make_onnx_fixtures.py"
                );
            }
        }
    }
}

#[test]
fn encoders_equal_onnxruntime() {
    let io = Recorded::of("onnx_io.safetensors");
    for name in MODELS {
        let sam = model(name).load(&Device::flex()).unwrap();
        let (recording, input) = match name {
            "sam_tiny" => ("sam_tiny_io.safetensors", "preprocessed"),
            _ => ("mobile_sam_tiny_io.safetensors", "input"),
        };
        let image = Recorded::of(recording).tensor(input);
        io.assert_tensor(
            &format!("{name}.embedding"),
            sam.encode(image).image_embedding,
        );
        // The plain image, 3/4 as high as wide, is normalised and filled up inside the graph.
        let pixels = format!("{name}.pixels");
        let [height, width, _] = io.shape(&pixels)[..] else {
            panic!("{pixels} has three sides");
        };
        let bytes = io.values(&pixels).into_iter().map(|v| v as u8).collect();
        let image = synthfm_image::RgbImage::new(Size::new(height, width), bytes).unwrap();
        let transform = InputTransform::new(image.size(), sam.config()).unwrap();
        assert_eq!(transform.resized(), image.size());
        let input = transform.preprocess(&image, sam.config());
        let input = TensorData::new(input, [1, 3, width, width]);
        let got = sam.encode(Tensor::from_data(input, &Device::flex()));
        io.assert_tensor(&format!("{pixels}.embedding"), got.image_embedding);
    }
}

/// The recorded prompt in our form: a padding point at the end is made by our prompt encoder itself, two
/// corners are a box.
fn prompt(io: &Recorded, name: &str, mask: Tensor<4>) -> (PromptBatch, usize) {
    let (coords, labels) = (
        io.values(&format!("{name}.coords")),
        io.values(&format!("{name}.labels")),
    );
    let mut prompts = PromptBatch::default();
    let (mut clicks, mut kinds, mut corners) = (Vec::new(), Vec::new(), Vec::new());
    for (point, &label) in coords.chunks_exact(2).zip(&labels) {
        match label as i64 {
            LABEL_PADDING => (),
            label @ 0..2 => {
                clicks.extend_from_slice(point);
                kinds.push(label);
            }
            _ => corners.extend_from_slice(point),
        }
    }
    let (device, count) = (Device::flex(), kinds.len());
    if count > 0 {
        prompts.points = Some(PointPrompts {
            coords: Tensor::from_data(TensorData::new(clicks, [1, count, 2]), &device),
            labels: Tensor::<2, Int>::from_data(TensorData::new(kinds, [1, count]), &device),
        });
    }
    if !corners.is_empty() {
        prompts.boxes = Some(Tensor::from_data(TensorData::new(corners, [1, 4]), &device));
    }
    if name.ends_with("mask") {
        prompts.masks = Some(mask);
    }
    (prompts, labels.len())
}

#[test]
fn decoders_equal_onnxruntime() {
    let io = Recorded::of("onnx_io.safetensors");
    for name in MODELS {
        let sam = model(name).load(&Device::flex()).unwrap();
        let embedding = ImageEmbedding {
            image_embedding: io.tensor(&format!("{name}.embedding")),
            high_res: None,
        };
        let mask = io.tensor(&format!("{name}.mask_input"));
        for kind in ["click", "clicks", "box", "box_and_click", "mask"] {
            let tag = format!("{name}.{kind}");
            let (prompts, points) = prompt(&io, &tag, mask.clone());
            let [single, several] = [MaskOutput::Single, MaskOutput::Multi]
                .map(|output| sam.decode(&embedding, &prompts, &[0], output));
            let joined = |of: fn(&MaskPrediction) -> Vec<f32>| [of(&single), of(&several)].concat();
            let iou = joined(|p| values(p.iou.clone()));
            let low_res = joined(|p| values(p.low_res_logits.clone()));
            io.assert_close(&format!("{tag}.all.iou"), &iou);
            io.assert_close(&format!("{tag}.all.low_res"), &low_res);
            check_best(&io, &sam, &tag, (&iou, &low_res, points));
        }
    }
}

/// The one mask: the single one from three points on, the best alternative for fewer.
fn check_best(io: &Recorded, sam: &Sam, tag: &str, found: (&[f32], &[f32], usize)) {
    let (iou, low_res, points) = found;
    let best = if points >= 3 {
        0
    } else {
        (1..iou.len())
            .max_by(|&a, &b| iou[a].total_cmp(&iou[b]))
            .unwrap()
    };
    let side = sam.config().low_res_side();
    let low_res = &low_res[best * side * side..(best + 1) * side * side];
    io.assert_close(&format!("{tag}.best.iou"), &iou[best..=best]);
    io.assert_close(&format!("{tag}.best.low_res"), low_res);
    let shape = io.shape(&format!("{tag}.best.masks"));
    let size = Size::new(shape[2], shape[3]);
    let transform = InputTransform::new(size, sam.config()).unwrap();
    let full = transform.postprocess(low_res, side);
    io.assert_close(&format!("{tag}.best.masks"), full.data());
}

/// Name and sides of every input or output.
fn signature(values: &[proto::ValueInfo]) -> Vec<(String, Vec<String>)> {
    let side = |dim: &proto::Dimension| match (&dim.value, &dim.param) {
        (Some(length), None) => length.to_string(),
        (None, Some(name)) => name.clone(),
        other => panic!("a side is a number or a name: {other:?}"),
    };
    let one = |value: &proto::ValueInfo| {
        let tensor = value.r#type.clone().unwrap().tensor.unwrap();
        assert_eq!(tensor.elem_type, proto::FLOAT);
        let sides = tensor.shape.unwrap().dim.iter().map(side).collect();
        (value.name.clone(), sides)
    };
    values.iter().map(one).collect()
}

fn described(sides: &[(&str, &str)]) -> Vec<(String, Vec<String>)> {
    sides
        .iter()
        .map(|(name, sides)| {
            let sides = sides.split(' ').map(ToOwned::to_owned).collect();
            ((*name).to_owned(), sides)
        })
        .collect()
}

#[test]
fn the_interface_is_that_of_metas_decoder() {
    let folder = tempfile::tempdir().unwrap();
    let files = export(&model("sam_tiny"), BEST, folder.path());
    let decoder = read(&files.decoder);
    assert_eq!(
        (decoder.ir_version, decoder.opset_import[0].version),
        (8, 17)
    );
    let graph = decoder.graph.unwrap();
    let inputs = described(&[
        ("image_embeddings", "1 32 8 8"),
        ("point_coords", "1 num_points 2"),
        ("point_labels", "1 num_points"),
        ("mask_input", "1 1 32 32"),
        ("has_mask_input", "1"),
        ("orig_im_size", "2"),
    ]);
    assert_eq!(signature(&graph.input), inputs);
    let outputs = described(&[
        ("masks", "1 1 height width"),
        ("iou_predictions", "1 1"),
        ("low_res_masks", "1 1 32 32"),
    ]);
    assert_eq!(signature(&graph.output), outputs);

    let encoder = read(&files.encoder).graph.unwrap();
    assert_eq!(
        signature(&encoder.input),
        described(&[("x", "1 3 128 128")])
    );
    let embedding = described(&[("image_embeddings", "1 32 8 8")]);
    assert_eq!(signature(&encoder.output), embedding);

    let files = export(&model("sam_tiny"), ALL, folder.path());
    let plain = read(&files.encoder).graph.unwrap();
    let image = described(&[("input_image", "image_height image_width 3")]);
    assert_eq!(signature(&plain.input), image);
    let every = read(&files.decoder).graph.unwrap();
    assert_eq!(signature(&every.output)[1].1, ["1", "4"]);
}

#[test]
fn every_weight_is_in_one_of_the_files_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let model = model(name);
        let files = export(&model, BEST, folder.path());
        let mut left: BTreeSet<String> = crate::expected_keys(model.config())
            .unwrap()
            .into_keys()
            .collect();
        for path in [files.encoder, files.decoder] {
            let graph = read(&path).graph.unwrap();
            check_order(&graph);
            for tensor in &graph.initializer {
                let key = tensor.name.trim_end_matches(".transposed");
                if !model.store().tensors().contains_key(key) {
                    continue;
                }
                let mut shape = model.store().tensors()[key].shape.clone();
                let mut expected = model.store().read(key).unwrap();
                if key != tensor.name {
                    expected = transpose(&expected, shape[0], shape[1]);
                    shape.reverse();
                }
                let dims: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
                assert_eq!(dims, shape, "{key}");
                assert_eq!(floats(&tensor.raw_data), expected, "{key}");
                left.remove(key);
            }
        }
        assert!(left.is_empty(), "{name}: not exported: {left:?}");
    }
}

/// Every node uses what was there before it, and makes something new.
fn check_order(graph: &proto::Graph) {
    let inputs = graph.input.iter().map(|value| value.name.as_str());
    let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let mut known: BTreeSet<&str> = inputs.chain(constants).chain([""]).collect();
    for node in &graph.node {
        for input in &node.input {
            assert!(known.contains(input.as_str()), "{}: {input}", node.name);
        }
        for output in &node.output {
            assert!(known.insert(output), "{output} is made twice");
        }
    }
    for output in &graph.output {
        assert!(known.contains(output.name.as_str()), "{}", output.name);
    }
}

#[test]
fn weights_beyond_the_limit_lie_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = model("sam_tiny");
    let inside = export(&model, BEST, folder.path());
    let inside = read(&inside.encoder).graph.unwrap();
    let files = OnnxFiles::named(&folder.path().join("large"));
    let written = model
        .export_within(BEST, &files, 100_000, &mut |_| ())
        .unwrap();
    let beside = folder.path().join("large.encoder.onnx.data");
    assert!(written.contains(&beside), "{written:?}");
    let data = fs::read(&beside).unwrap();
    let graph = read(&files.encoder).graph.unwrap();
    assert_eq!(graph.node, inside.node);
    assert_eq!(graph.initializer.len(), inside.initializer.len());
    let mut outside = 0;
    for (tensor, expected) in graph.initializer.iter().zip(&inside.initializer) {
        assert_eq!(
            (&tensor.name, &tensor.dims),
            (&expected.name, &expected.dims)
        );
        let place: BTreeMap<&str, &str> = tensor
            .external_data
            .iter()
            .map(|entry| (entry.key.as_str(), entry.value.as_str()))
            .collect();
        let values = if tensor.data_location == proto::EXTERNAL {
            outside += 1;
            assert_eq!(place["location"], "large.encoder.onnx.data");
            let [offset, length] = ["offset", "length"].map(|k| place[k].parse::<usize>().unwrap());
            assert!(offset.is_multiple_of(4096) && length >= 1024);
            &data[offset..offset + length]
        } else {
            assert!(place.is_empty());
            &tensor.raw_data[..]
        };
        assert_eq!(values, expected.raw_data, "{}", tensor.name);
    }
    assert!(outside >= 20, "{outside} tensors outside");
}

#[test]
fn tables_of_another_length_are_interpolated() {
    let file = model("sam_tiny");
    let key = "image_encoder.blocks.0.attn.rel_pos_h";
    let [length, d] = file.store().tensors()[key].shape[..] else {
        panic!("a table has rows and columns");
    };
    let constant = Constant {
        shape: vec![2 * length - 1, d],
        content: Content::Interpolated(key.to_owned()),
    };
    let stored = file.store().read(key).unwrap();
    let table = TensorData::new(stored, [length, d]);
    let table = Tensor::<2>::from_data(table, &Device::flex());
    let expected = values(interpolate_rows(table, 2 * length - 1));
    let got = floats(&super::values(file.store(), &constant).unwrap());
    assert_close("interpolated", &got, &expected);
}

#[test]
fn our_own_encoder_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("small.safetensors");
    let small = crate::testing::sam_small();
    crate::save(&small, crate::Precision::F32, &weights).unwrap();
    let file = ModelFile::open(&weights).unwrap();
    let files = OnnxFiles::named(&folder.path().join("small"));
    let error = file.export_onnx(BEST, &files, &mut |_| ()).unwrap_err();
    assert!(matches!(error, Error::NotPublished), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
