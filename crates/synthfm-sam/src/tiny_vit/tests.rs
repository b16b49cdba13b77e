//! Against what MobileSAM's code computed (`tests/fixtures/make_mobile_sam_fixtures.py`).

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::*;
use crate::image_encoder::ImageEncoder;
use crate::layers::channels_first;
use crate::testing::{Recorded, TINY, every_device, fixture};
use crate::{EncoderConfig, MaskOutput, ModelFile, PromptBatch, Sam};

fn mobile_sam_tiny() -> Sam {
    mobile_sam_tiny_on(&Device::flex())
}

fn mobile_sam_tiny_on(device: &Device) -> Sam {
    ModelFile::open_with(&fixture("mobile_sam_tiny.pth"), &TINY)
        .unwrap()
        .at_image_size(96)
        .unwrap()
        .load(device)
        .unwrap()
}

fn recorded() -> Recorded {
    Recorded::of("mobile_sam_tiny_io.safetensors")
}

fn encoder(sam: &Sam) -> &TinyVit {
    match &sam.image_encoder {
        ImageEncoder::TinyVit(encoder) => encoder,
        _ => panic!("mobile_sam_tiny has a TinyViT"),
    }
}

/// MobileSAM keeps its tokens as `[B, h w, D]`.
fn assert_tokens(io: &Recorded, name: &str, map: Tensor<4>) {
    io.assert_tensor(name, map.flatten::<3>(1, 2));
}

/// The stem and the first stage are channels-first there.
fn assert_map(io: &Recorded, name: &str, map: Tensor<4>) {
    io.assert_tensor(name, channels_first(map));
}

#[test]
fn the_configuration_shows_in_the_keys() {
    let expected = TinyVitConfig {
        embed_dims: [12, 16, 20, 24],
        depths: [1, 2, 1, 1],
        num_heads: [2, 5, 3],
        window_sizes: [5, 6, 4],
        mlp_ratio: 2.0,
        mbconv_expand_ratio: 3.0,
        local_conv_size: 5,
    };
    assert_eq!(
        mobile_sam_tiny().config().encoder,
        EncoderConfig::TinyVit(expected)
    );
    let file = ModelFile::open_with(&fixture("mobile_sam_tiny.pth"), &TINY).unwrap();
    assert_eq!(file.config().image_size, 1024);
}

#[test]
fn every_block_matches_mobile_sam() {
    for device in every_device() {
        check_every_block(&device);
    }
}

fn check_every_block(device: &Device) {
    let (io, sam) = (recorded().on(device), mobile_sam_tiny_on(device));
    let encoder = encoder(&sam);
    let mut x = encoder
        .patch_embed
        .forward(io.tensor("input"), Arithmetic::F32);
    assert_map(&io, "patch_embed", x.clone());
    for (i, stage) in encoder.layers.iter().enumerate() {
        let name = |j: usize| format!("layers.{i}.blocks.{j}");
        let mut inside = x.clone();
        match stage {
            Stage::Conv(stage) => {
                for (j, block) in stage.blocks.iter().enumerate() {
                    inside = block.forward(inside, Arithmetic::F32);
                    assert_map(&io, &name(j), inside.clone());
                }
            }
            Stage::Attention(stage) => {
                for (j, block) in stage.blocks.iter().enumerate() {
                    inside = block.forward(inside, Arithmetic::F32);
                    assert_tokens(&io, &name(j), inside.clone());
                }
            }
        }
        x = stage.forward(x, Arithmetic::F32);
        assert_tokens(&io, &format!("layers.{i}"), x.clone());
    }
    io.assert_tensor("image_embedding", encoder.neck.forward(x, Arithmetic::F32));
}

#[test]
fn the_whole_model_matches_mobile_sam() {
    for device in every_device() {
        check_whole_model(&device);
    }
}

fn check_whole_model(device: &Device) {
    let (io, sam) = (recorded().on(device), mobile_sam_tiny_on(device));
    let embedding = sam.encode(io.tensor("input"));
    io.assert_tensor("image_embedding", embedding.image_embedding.clone());
    assert!(embedding.high_res.is_none());
    let click = PromptBatch::from_points(
        Tensor::from_floats([[[40.0, 31.0]]], device),
        Tensor::<2, Int>::ones([1, 1], device),
    );
    // The recorded call has no padding point, which a click on its own gets in `predict`.
    let got = sam.decode(&embedding, &click, &[0], MaskOutput::Multi);
    io.assert_tensor("low_res", got.low_res_logits);
    io.assert_tensor("iou", got.iou);
}

#[test]
fn images_of_a_batch_do_not_see_each_other() {
    let (io, sam) = (recorded(), mobile_sam_tiny());
    let image = io.tensor::<4>("input");
    let other = image.clone().flip([3]) * 0.5;
    let both = sam.encode(Tensor::cat(vec![other, image], 0));
    let [_, c, h, w] = both.image_embedding.dims();
    let second = both.image_embedding.slice([1..2, 0..c, 0..h, 0..w]);
    io.assert_tensor("image_embedding", second);
}

#[test]
fn trained_biases_have_gradients_and_statistics_have_none() {
    let device = Device::flex().autodiff();
    let sam = ModelFile::open_with(&fixture("mobile_sam_tiny.pth"), &TINY)
        .unwrap()
        .at_image_size(32)
        .unwrap()
        .load(&device)
        .unwrap();
    let values: Vec<f32> = (0..3 * 32 * 32).map(|i| (i as f32 * 0.37).sin()).collect();
    let image = Tensor::from_data(TensorData::new(values, [1, 3, 32, 32]), &device);
    let weight = Tensor::<4>::random([1, 32, 2, 2], burn::tensor::Distribution::Default, &device);
    let loss = (sam.encode(image).image_embedding * weight).sum();
    let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &sam);
    for key in crate::parameter_keys(&sam.image_encoder) {
        let found = match key.shape.len() {
            1 => gradients
                .get::<1>(key.id)
                .map(|g| g.abs().sum().into_scalar::<f32>()),
            2 => gradients
                .get::<2>(key.id)
                .map(|g| g.abs().sum().into_scalar::<f32>()),
            _ => gradients
                .get::<4>(key.id)
                .map(|g| g.abs().sum().into_scalar::<f32>()),
        };
        assert_eq!(found.is_none(), crate::is_buffer(&key.key), "{}", key.key);
        assert!(found.is_none_or(f32::is_finite), "{}", key.key);
    }
}
