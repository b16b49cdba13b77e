//! The whole model (Kirillov et al. 2023, Fig. 4): image encoder, prompt encoder, mask decoder.
//!
//! The image encoder runs once per image; prompt encoder and mask decoder once per prompt. Images
//! enter as [`crate::preprocess`] leaves them and prompts in the same frame.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::config::SamConfig;
use crate::geodesic_clicks::{GeodesicMaps, geodesic_maps};
use crate::image_encoder::{ImageEmbedding, ImageEncoder};
use crate::mask_decoder::{DecoderImage, MaskDecoder, MaskOutput, MaskPrediction};
use crate::memory::Memory;
use crate::ops::Arithmetic;
use crate::prompt_encoder::{PromptBatch, PromptEmbedding, PromptEncoder};
use crate::transformer::PrecomputedImageTokens;

/// Segment Anything.
#[derive(Module, Debug)]
pub struct Sam {
    /// Image to embedding.
    pub image_encoder: ImageEncoder,
    /// Clicks, boxes and masks to tokens.
    pub prompt_encoder: PromptEncoder,
    /// Embedding and tokens to masks.
    pub mask_decoder: MaskDecoder,
    /// SAM 2's memory of earlier frames.
    pub memory: Option<Memory>,
    #[module(skip)]
    config: SamConfig,
}

impl Sam {
    /// A model whose parameters are zero until they are loaded or drawn. Nothing is allocated before a parameter is
    /// first used.
    pub fn new(config: &SamConfig, device: &Device) -> Self {
        Self {
            image_encoder: ImageEncoder::new(config, device),
            prompt_encoder: PromptEncoder::new(config, device),
            mask_decoder: MaskDecoder::new(config, device),
            memory: config
                .memory
                .as_ref()
                .map(|memory| Memory::new(memory, config.prompt_embed_dim, device)),
            config: config.clone(),
        }
    }

    /// The sizes this model was built with.
    pub fn config(&self) -> &SamConfig {
        &self.config
    }

    /// The weights under other settings.
    #[cfg(test)]
    pub(crate) fn with_config(self, config: SamConfig) -> Self {
        Self { config, ..self }
    }

    /// # Shapes
    /// Normalised and padded images `[B, 3, S, S]` -> embedding `[B, C, g, g]`
    pub fn encode(&self, images: Tensor<4>) -> ImageEmbedding {
        self.encode_in(images, Arithmetic::F32)
    }

    /// [`Self::encode`] with products in the given arithmetic, where the encoder and the device know it.
    pub fn encode_in(&self, images: Tensor<4>, arithmetic: Arithmetic) -> ImageEmbedding {
        self.image_encoder.forward(images, arithmetic)
    }

    /// Masks for `BN` prompted objects on `B` encoded images; object `i` is on image
    /// `image_of_object[i]`.
    ///
    /// # Shapes
    /// `[B, C, g, g]` and `BN` prompts -> masks `[BN, K, m, m]` and scores `[BN, K]`
    ///
    /// # Panics
    /// If the number of prompts and of `image_of_object` differ.
    pub fn decode(
        &self,
        embedding: &ImageEmbedding,
        prompts: &PromptBatch,
        image_of_object: &[usize],
        output: MaskOutput,
    ) -> MaskPrediction {
        self.decode_in(embedding, prompts, image_of_object, output, Arithmetic::F32)
    }

    /// [`Self::decode`] with products with the image in the given arithmetic.
    ///
    /// # Panics
    /// If the number of prompts and of `image_of_object` differ.
    pub fn decode_in(
        &self,
        embedding: &ImageEmbedding,
        prompts: &PromptBatch,
        image_of_object: &[usize],
        output: MaskOutput,
        arithmetic: Arithmetic,
    ) -> MaskPrediction {
        let image_pe = self.prompt_encoder.dense_pe_tokens();
        let image = DecoderImage {
            embedding,
            image_pe: &image_pe,
            image_of_object,
            image_tokens: None,
        };
        self.decode_on(&image, prompts, output, arithmetic)
    }

    /// See [`geodesic_maps`]; for models that take them.
    fn click_reach(&self, image: &DecoderImage<'_>, prompts: &PromptBatch) -> Option<GeodesicMaps> {
        let maps = image.embedding.high_res.as_ref();
        let guidance = maps.filter(|_| self.config.click_reach)?.guidance();
        let (objects, side) = (image.image_of_object, self.config.image_size);
        let device = self.prompt_encoder.device();
        Some(geodesic_maps(guidance, prompts, objects, side, &device))
    }

    /// See [`MaskDecoder::image_tokens`].
    pub(crate) fn image_tokens(
        &self,
        image: &ImageEmbedding,
        image_pe: &Tensor<3>,
    ) -> Option<PrecomputedImageTokens> {
        self.mask_decoder
            .image_tokens(image, image_pe, self.prompt_encoder.no_mask())
    }

    /// [`Self::decode`] with a position code that was computed before, and with products with the image in the given
    /// arithmetic.
    pub(crate) fn decode_on(
        &self,
        image: &DecoderImage<'_>,
        prompts: &PromptBatch,
        output: MaskOutput,
        arithmetic: Arithmetic,
    ) -> MaskPrediction {
        assert_eq!(
            prompts.len(),
            image.image_of_object.len(),
            "one image index per prompted object"
        );
        let reach = self.click_reach(image, prompts);
        let prompts = PromptEmbedding {
            reach,
            ..self.prompt_encoder.forward(prompts)
        };
        self.mask_decoder
            .forward(image, prompts, output, arithmetic)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, TensorData};

    use super::*;
    use crate::testing::{Recorded, assert_close, every_device, sam_tiny, sam_tiny_on, values};

    /// Original pixels to the input frame of the recorded 75x100 image at 128.
    const SCALE: f32 = 1.28;

    fn points(coords: &[f32], labels: &[i64]) -> PromptBatch {
        points_on(&Device::flex(), coords, labels)
    }

    fn points_on(device: &Device, coords: &[f32], labels: &[i64]) -> PromptBatch {
        let coords: Vec<f32> = coords.iter().map(|v| v * SCALE).collect();
        let count = labels.len();
        PromptBatch::from_points(
            Tensor::from_data(TensorData::new(coords, [1, count, 2]), device),
            Tensor::<2, Int>::from_data(TensorData::new(labels.to_vec(), [1, count]), device),
        )
    }

    fn boxes(device: &Device, corners: &[f32]) -> Tensor<2> {
        let corners: Vec<f32> = corners.iter().map(|v| v * SCALE).collect();
        let count = corners.len() / 4;
        Tensor::from_data(TensorData::new(corners, [count, 4]), device)
    }

    fn embedding(io: &Recorded) -> ImageEmbedding {
        ImageEmbedding {
            image_embedding: io.tensor("image_embedding"),
            high_res: None,
        }
    }

    #[test]
    fn dense_position_code_matches_meta() {
        for device in every_device() {
            let got = sam_tiny_on(&device).prompt_encoder.dense_pe();
            Recorded::open().assert_tensor("dense_pe", got);
        }
    }

    #[test]
    fn every_recorded_prompt_matches_meta() {
        for device in every_device() {
            check_every_prompt(&device);
        }
    }

    fn check_every_prompt(device: &Device) {
        let (io, sam) = (Recorded::open().on(device), sam_tiny_on(device));
        let points = |coords: &[f32], labels: &[i64]| points_on(device, coords, labels);
        let with_box = |mut prompts: PromptBatch| {
            prompts.boxes = Some(boxes(device, &[28.0, 18.0, 72.0, 57.0]));
            prompts
        };
        let prompts = [
            ("one_point", points(&[50.0, 35.0], &[1])),
            (
                "three_positive",
                points(&[50.0, 35.0, 35.5, 25.0, 66.0, 50.25], &[1, 1, 1]),
            ),
            (
                "one_positive_two_negative",
                points(&[50.0, 35.0, 2.0, 70.0, 97.0, 3.0], &[1, 0, 0]),
            ),
            ("box", with_box(PromptBatch::default())),
            (
                "box_and_points",
                with_box(points(&[50.0, 35.0, 10.0, 10.0], &[1, 0])),
            ),
        ];
        for (name, prompts) in prompts {
            for (kind, output) in [("single", MaskOutput::Single), ("multi", MaskOutput::Multi)] {
                let got = sam.decode(&embedding(&io), &prompts, &[0], output);
                let tag = format!("{name}.{kind}");
                io.assert_tensor(
                    &format!("{tag}.low_res"),
                    got.low_res_logits.squeeze_dim::<3>(0),
                );
                io.assert_tensor(&format!("{tag}.iou"), got.iou.squeeze_dim::<1>(0));
            }
        }
    }

    #[test]
    fn box_corners_as_points_equal_a_box() {
        let (io, sam) = (Recorded::open(), sam_tiny());
        // Two corner labels and the padding a box would not add: compare with box and no padding by
        // giving the padding to both.
        let corners = points(&[28.0, 18.0, 72.0, 57.0], &[2, 3]);
        let as_points = sam.decode(&embedding(&io), &corners, &[0], MaskOutput::Single);
        let mut with_box = points(&[0.0, 0.0], &[-1]);
        with_box.boxes = Some(boxes(&Device::flex(), &[28.0, 18.0, 72.0, 57.0]));
        let as_box = sam.decode(&embedding(&io), &with_box, &[0], MaskOutput::Single);
        assert_close(
            "corners",
            &values(as_points.low_res_logits),
            &values(as_box.low_res_logits),
        );
    }

    #[test]
    fn mask_prompts_match_meta() {
        for device in every_device() {
            check_mask_prompt(&device);
        }
    }

    fn check_mask_prompt(device: &Device) {
        let (io, sam) = (Recorded::open().on(device), sam_tiny_on(device));
        let mut prompts = points_on(device, &[50.0, 35.0], &[1]);
        prompts.masks = Some(io.tensor::<3>("point_and_mask.mask_input").unsqueeze_dim(0));
        let got = sam.decode(&embedding(&io), &prompts, &[0], MaskOutput::Single);
        io.assert_tensor(
            "point_and_mask.single.low_res",
            got.low_res_logits.squeeze_dim::<3>(0),
        );
        io.assert_tensor("point_and_mask.single.iou", got.iou.squeeze_dim::<1>(0));
    }

    #[test]
    fn several_objects_in_one_call_match_meta() {
        for device in every_device() {
            check_several_objects(&device);
        }
    }

    fn check_several_objects(device: &Device) {
        let (io, sam) = (Recorded::open().on(device), sam_tiny_on(device));
        let corners = [28.0, 18.0, 72.0, 57.0, 5.0, 40.0, 30.0, 74.0];
        let prompts = PromptBatch::from_boxes(boxes(device, &corners));
        let got = sam.decode(&embedding(&io), &prompts, &[0, 0], MaskOutput::Multi);
        io.assert_tensor("two_boxes.multi.low_res", got.low_res_logits);
        io.assert_tensor("two_boxes.multi.iou", got.iou);
    }

    #[test]
    fn images_with_different_numbers_of_objects_equal_one_by_one() {
        let (io, sam) = (Recorded::open(), sam_tiny());
        let first = io.tensor::<4>("preprocessed");
        let second = first.clone().flip([2]) * 0.7;
        let both = sam.encode(Tensor::cat(vec![first.clone(), second.clone()], 0));
        let clicks = [[50.0, 35.0], [20.0, 60.0], [80.0, 10.0]];
        let image_of_object = [1, 0, 1];
        let device = Device::flex();
        let coords: Vec<f32> = clicks.iter().flatten().map(|v| v * SCALE).collect();
        let batch = PromptBatch::from_points(
            Tensor::from_data(TensorData::new(coords, [3, 1, 2]), &device),
            Tensor::<2, Int>::ones([3, 1], &device),
        );
        let together = sam.decode(&both, &batch, &image_of_object, MaskOutput::Multi);
        let masks = values(together.low_res_logits);
        let one = masks.len() / 3;
        for (i, &image) in image_of_object.iter().enumerate() {
            let alone = sam.encode([&first, &second][image].clone());
            let prompt = points(&clicks[i], &[1]);
            let alone = sam.decode(&alone, &prompt, &[0], MaskOutput::Multi);
            let expected = values(alone.low_res_logits);
            assert_close("object", &masks[i * one..(i + 1) * one], &expected);
        }
    }
}
