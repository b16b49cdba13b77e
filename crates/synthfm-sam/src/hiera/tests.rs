//! Against what SAM 2's code computed (`tests/fixtures/make_sam2_fixtures.py`).

use burn::tensor::{Device, Int, Tensor, TensorData};
use synthfm_image::{BoxXyxy, Point2, RgbImage, Size};

use super::*;
use crate::image_encoder::ImageEncoder;
use crate::testing::{Recorded, assert_close, every_device, fixture};
use crate::{
    InputTransform, MaskOutput, ModelFile, Predictor, PromptBatch, Prompts, Sam, parameter_keys,
};

fn sam2_tiny(device: &Device) -> Sam {
    let file = ModelFile::open(&fixture("sam2_tiny.safetensors")).unwrap();
    file.load(device).unwrap()
}

fn recorded() -> Recorded {
    Recorded::of("sam2_tiny_io.safetensors")
}

fn encoder(sam: &Sam) -> &Hiera {
    match &sam.image_encoder {
        ImageEncoder::Hiera(encoder) => encoder,
        _ => panic!("sam2_tiny has a Hiera"),
    }
}

fn image(io: &Recorded) -> RgbImage {
    let shape = io.shape("image");
    let bytes = io.values("image").into_iter().map(|v| v as u8).collect();
    RgbImage::new(Size::new(shape[0], shape[1]), bytes).unwrap()
}

#[test]
fn the_input_matches_sam_2() {
    let (io, sam) = (recorded(), sam2_tiny(&Device::flex()));
    let image = image(&io);
    let transform = InputTransform::new(image.size(), sam.config()).unwrap();
    io.assert_close("preprocessed", &transform.preprocess(&image, sam.config()));
}

#[test]
fn every_block_and_level_matches_sam_2() {
    for device in every_device() {
        let (io, sam) = (recorded().on(&device), sam2_tiny(&device));
        let Hiera { trunk, neck, .. } = encoder(&sam);
        let mut x = trunk.tokens(io.tensor("preprocessed"), Arithmetic::F32);
        let tables = [trunk.pos_embed.val(), trunk.pos_embed_window.val()];
        let [_, height, width, _] = x.dims();
        io.assert_tensor("positions", window_positions(tables, [height, width]));
        assert_eq!(trunk.blocks.len(), 7);
        for (i, block) in trunk.blocks.iter().enumerate() {
            x = block.forward(x, Arithmetic::F32);
            io.assert_tensor(&format!("block{i}"), x.clone());
        }
        let levels = trunk.forward(io.tensor("preprocessed"), Arithmetic::F32);
        let levels = neck.forward(levels, Arithmetic::F32);
        for (i, level) in levels.into_iter().enumerate() {
            io.assert_tensor(&format!("neck{i}"), channels_first(level));
        }
        let whole = sam.encode(io.tensor("preprocessed"));
        io.assert_tensor("image_embedding", whole.image_embedding);
        let finer = whole.high_res.unwrap();
        io.assert_tensor("feat_s0", finer.feat_s0);
        io.assert_tensor("feat_s1", finer.feat_s1);
        io.assert_tensor("dense_pe", sam.prompt_encoder.dense_pe());
    }
}

#[test]
fn images_of_a_batch_do_not_see_each_other() {
    let (io, sam) = (recorded(), sam2_tiny(&Device::flex()));
    let image = io.tensor::<4>("preprocessed");
    let other = image.clone().flip([3]) * 0.5;
    let both = sam.encode(Tensor::cat(vec![other, image], 0));
    let second = both.map(|maps| maps.narrow(0, 1, 1));
    io.assert_tensor("image_embedding", second.image_embedding);
    io.assert_tensor("feat_s0", second.high_res.unwrap().feat_s0);
}

/// What was asked under a name.
fn prompts(io: &Recorded, name: &str) -> Prompts {
    let names = io.names();
    let given = |what: &str| {
        let name = format!("{name}.{what}");
        names.contains(&name).then(|| io.values(&name))
    };
    let mut prompts = Prompts::default();
    if let (Some(coords), Some(labels)) = (given("point_coords"), given("point_labels")) {
        let points = coords.chunks_exact(2).zip(labels);
        prompts.points = points
            .map(|(at, label)| (Point2::new(at[0].into(), at[1].into()), label > 0.5))
            .collect();
    }
    if let Some(corners) = given("box") {
        let [x0, y0, x1, y1] = [0, 1, 2, 3].map(|i| f64::from(corners[i]));
        prompts.box_ = Some(BoxXyxy {
            min: Point2::new(x0, y0),
            max: Point2::new(x1, y1),
        });
    }
    prompts
}

#[test]
fn every_kind_of_prompt_matches_sam_2() {
    for device in every_device() {
        let io = recorded();
        let sam = sam2_tiny(&device);
        let mut predictor = Predictor::new(&sam, &device);
        predictor.set_image(&image(&io)).unwrap();
        let earlier = io.values("point_and_mask.mask_input");
        let (mut single, mut fallen_back) = (0, 0);
        for (name, of, with_mask) in [
            ("one_point", "one_point", false),
            (
                "one_positive_two_negative",
                "one_positive_two_negative",
                false,
            ),
            ("box", "box", false),
            ("box_and_points", "box_and_points", false),
            ("point_and_mask", "one_point", true),
            ("mask", "mask", true),
        ] {
            let prompts = Prompts {
                mask_input: with_mask.then(|| earlier.clone()),
                ..prompts(&io, of)
            };
            for (kind, output) in [("single", MaskOutput::Single), ("multi", MaskOutput::Multi)] {
                let got = predictor.predict(&prompts, output).unwrap();
                let tag = format!("{name}.{kind}");
                let low_res: Vec<f32> = got
                    .masks
                    .iter()
                    .flat_map(|m| m.low_res_logits.clone())
                    .collect();
                io.assert_close(&format!("{tag}.low_res"), &low_res);
                let iou: Vec<f32> = got.masks.iter().map(|m| m.iou).collect();
                io.assert_close(&format!("{tag}.iou"), &iou);
                if kind == "single" {
                    io.assert_close(&format!("{tag}.logits"), got.masks[0].logits.data());
                }
            }
            // All mask tokens, and whether the object is there.
            let all = predictor.predict(&prompts, MaskOutput::All).unwrap();
            let iou: Vec<f32> = all.masks.iter().map(|m| m.iou).collect();
            io.assert_close(&format!("{name}.ious"), &iou);
            let masks: Vec<f32> = all
                .masks
                .iter()
                .flat_map(|m| m.low_res_logits.clone())
                .collect();
            let expected = io.values(&format!("{name}.masks"));
            let clamped: Vec<f32> = expected.iter().map(|v| v.clamp(-32.0, 32.0)).collect();
            assert_close(name, &masks, &clamped);
            let chosen = io.values(&format!("{name}.single.low_res"));
            if chosen[..] == clamped[..chosen.len()] {
                single += 1;
            } else {
                fallen_back += 1;
            }
        }
        assert!(
            single >= 2 && fallen_back >= 2,
            "both answers of the stability rule are recorded"
        );
    }
}

#[test]
fn object_scores_match_sam_2() {
    for device in every_device() {
        let (io, sam) = (recorded().on(&device), sam2_tiny(&device));
        let embedding = sam.encode(io.tensor("preprocessed"));
        let transform = InputTransform::new(Size::new(75, 100), sam.config()).unwrap();
        let place = |x: f64, y: f64| {
            let Point2 { x, y } = transform.input_from_pixel(Point2::new(x, y));
            [x as f32, y as f32]
        };
        let click = PromptBatch::from_points(
            Tensor::from_data(
                TensorData::new(place(50.0, 35.0).to_vec(), [1, 1, 2]),
                &device,
            ),
            Tensor::<2, Int>::ones([1, 1], &device),
        );
        let corners = [place(28.0, 18.0), place(72.0, 57.0)].concat();
        let in_box =
            PromptBatch::from_boxes(Tensor::from_data(TensorData::new(corners, [1, 4]), &device));
        for (name, prompts) in [("one_point", click), ("box", in_box)] {
            let got = sam.decode(&embedding, &prompts, &[0], MaskOutput::All);
            io.assert_tensor(&format!("{name}.object_score"), got.object_score.unwrap());
            io.assert_tensor(
                &format!("{name}.masks"),
                got.low_res_logits.squeeze_dim::<3>(0),
            );
        }
    }
}

#[test]
fn objects_in_one_call_are_those_of_calls_of_their_own() {
    let (io, device) = (recorded(), Device::flex());
    let mut predictor = Predictor::new(&sam2_tiny(&device), &device);
    predictor.set_image(&image(&io)).unwrap();
    let asked = ["box", "box_and_points", "one_point"].map(|name| prompts(&io, name));
    let together = predictor.predict_many(&asked, MaskOutput::Single).unwrap();
    for (asked, together) in asked.iter().zip(&together) {
        let alone = predictor.predict(asked, MaskOutput::Single).unwrap();
        assert_close(
            "object",
            together.masks[0].logits.data(),
            alone.masks[0].logits.data(),
        );
    }
}

#[test]
fn bf16_moves_the_embedding_little() {
    let device = Device::flex();
    if !crate::ops::multiplies_bf16() {
        return;
    }
    let (io, sam) = (recorded(), sam2_tiny(&device));
    let half = sam.encode_in(io.tensor("preprocessed"), Arithmetic::Bf16);
    let got = crate::testing::values(half.image_embedding);
    let error = crate::testing::worst_difference(&got, &io.values("image_embedding"));
    // Seven blocks of products, each rounded to 2^-9.
    assert!((1e-5..3e-2).contains(&error), "off by {error}");
}

#[test]
fn every_parameter_of_the_encoder_has_a_gradient() {
    let device = Device::flex().autodiff();
    let (io, sam) = (recorded().on(&device), sam2_tiny(&device));
    let embedding = sam.encode(io.tensor("preprocessed"));
    let finer = embedding.high_res.unwrap();
    let wave = |map: Tensor<4>| {
        let count = map.shape().num_elements();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin()).collect();
        let weight = Tensor::<4>::from_data(TensorData::new(values, map.dims()), &device);
        (map * weight).sum()
    };
    let loss = wave(embedding.image_embedding) + wave(finer.feat_s0) + wave(finer.feat_s1);
    let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &sam);
    for key in parameter_keys(&sam.image_encoder) {
        let largest = match key.shape.len() {
            1 => gradients
                .get::<1>(key.id)
                .map(|g| g.abs().max().into_scalar::<f32>()),
            2 => gradients
                .get::<2>(key.id)
                .map(|g| g.abs().max().into_scalar::<f32>()),
            3 => gradients
                .get::<3>(key.id)
                .map(|g| g.abs().max().into_scalar::<f32>()),
            _ => gradients
                .get::<4>(key.id)
                .map(|g| g.abs().max().into_scalar::<f32>()),
        };
        let largest = largest.unwrap_or(0.0);
        assert!(
            largest.is_finite() && largest > 0.0,
            "{}: {largest}",
            key.key
        );
    }
}
