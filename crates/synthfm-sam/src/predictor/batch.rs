//! Prompts as tensors, and answers from them.

use burn::tensor::{Int, Tensor, TensorData};
use synthfm_image::Point2;

use super::{LowResMask, Predictor, Prompts};
use crate::mask_decoder::MaskPrediction;
use crate::preprocess::InputTransform;
use crate::prompt_encoder::{LABEL_BACKGROUND, LABEL_FOREGROUND, PointPrompts, PromptBatch};

impl Predictor {
    /// Prompts of one kind as tensors in the input frame.
    pub(super) fn batch(
        &self,
        prompts: &[&Prompts],
        transform: &InputTransform,
        side: usize,
    ) -> PromptBatch {
        let objects = prompts.len();
        let place = |point: Point2| {
            let Point2 { x, y } = transform.input_from_pixel(point);
            [x as f32, y as f32]
        };
        let count = prompts[0].points.len();
        let clicks = || prompts.iter().flat_map(|p| &p.points);
        let coords: Vec<f32> = clicks().flat_map(|&(point, _)| place(point)).collect();
        let labels: Vec<i64> = clicks()
            .map(|&(_, on_object)| {
                if on_object {
                    LABEL_FOREGROUND
                } else {
                    LABEL_BACKGROUND
                }
            })
            .collect();
        let points = (count > 0).then(|| PointPrompts {
            coords: Tensor::from_data(TensorData::new(coords, [objects, count, 2]), &self.device),
            labels: Tensor::<2, Int>::from_data(
                TensorData::new(labels, [objects, count]),
                &self.device,
            ),
        });
        let corners: Vec<f32> = prompts
            .iter()
            .filter_map(|p| p.box_)
            .flat_map(|b| [place(b.min), place(b.max)])
            .flatten()
            .collect();
        let boxes = (!corners.is_empty())
            .then(|| Tensor::from_data(TensorData::new(corners, [objects, 4]), &self.device));
        let masks: Vec<f32> = prompts
            .iter()
            .filter_map(|p| p.mask_input.as_deref())
            .flatten()
            .copied()
            .collect();
        let masks = (!masks.is_empty()).then(|| {
            Tensor::from_data(
                TensorData::new(masks, [objects, 1, side, side]),
                &self.device,
            )
        });
        PromptBatch {
            points,
            boxes,
            masks,
        }
    }
}

/// Masks by object.
pub(super) fn on_host(answer: MaskPrediction) -> Vec<Vec<LowResMask>> {
    let [objects, per_object] = answer.iou.dims();
    let host = |data: TensorData| data.iter::<f32>().collect::<Vec<f32>>();
    let scores = host(answer.iou.into_data());
    let logits = host(answer.low_res_logits.into_data());
    let size = logits.len().checked_div(objects * per_object).unwrap_or(0);
    let masks = logits
        .chunks_exact(size.max(1))
        .zip(scores)
        .map(|(logits, iou)| LowResMask {
            logits: logits.to_vec(),
            iou,
        });
    let masks: Vec<LowResMask> = masks.collect();
    masks.chunks(per_object.max(1)).map(<[_]>::to_vec).collect()
}
