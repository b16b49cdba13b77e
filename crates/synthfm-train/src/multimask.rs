//! Best-of-three training for ambiguous prompts (Kirillov et al. 2023, section 3 and appendix A): of the masks that one
//! click gives, the one with the smallest loss is trained, so that whole, part and subpart can each have a mask; the
//! `IoU` head learns to rank them and is trained on all (`supervise_all_iou` of SAM 2's `training/loss_fns.py`).

use burn::tensor::{Int, Tensor, TensorData};

use crate::gradients::host_values;
use crate::loss::{LossConfig, iou_loss, mask_loss};

/// Smallest loss over the masks of each object, with the mean error of their `IoU` estimates.
///
/// # Shapes
/// `logits`: `[N, K, H, W]`, `target`: `[N, H, W]`, `iou`: `[N, K]` -> `[N]`
pub fn multimask_loss(
    config: LossConfig,
    logits: Tensor<4>,
    target: Tensor<3>,
    iou: Tensor<2>,
) -> Tensor<1> {
    let [n, k, h, w] = logits.dims();
    let logits = logits.reshape([n * k, h, w]);
    let target = target.unsqueeze_dim::<4>(1).repeat_dim(1, k);
    let target = target.reshape([n * k, h, w]);
    let of_masks = mask_loss(config, logits.clone(), target.clone()).reshape([n, k]);
    let best = of_masks.clone().detach().argmin(1); // [N, 1]
    let mut total = of_masks.gather(1, best).reshape([n]);
    if config.iou > 0.0 {
        let errors = iou_loss(iou.reshape([n * k]), logits, target);
        let mean = errors.reshape([n, k]).mean_dim(1).reshape([n]);
        total = total + mean * config.iou;
    }
    total
}

/// The mask of the highest estimated `IoU` of each object, the first of equals.
///
/// # Shapes
/// `logits`: `[N, K, H, W]`, `iou`: `[N, K]` -> `[N, 1, H, W]`
pub(crate) fn most_confident(logits: Tensor<4>, iou: Tensor<2>) -> Tensor<4> {
    let [n, k, h, w] = logits.dims();
    if k == 1 {
        return logits;
    }
    let best = |scores: &[f32]| (1..k).fold(0, |b, i| if scores[i] > scores[b] { i } else { b });
    let scores = host_values(iou);
    let rows = scores.chunks_exact(k).enumerate();
    let rows: Vec<i64> = rows.map(|(i, row)| (i * k + best(row)) as i64).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n]), &logits.device());
    let chosen = logits.reshape([n * k, h * w]).select(0, rows);
    chosen.reshape([n, 1, h, w])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::Value;

    use super::*;

    fn numbers(record: &Value, name: &str) -> Vec<f32> {
        let list = record[name].as_array().unwrap();
        list.iter().map(|v| v.as_f64().unwrap() as f32).collect()
    }

    fn close(name: &str, got: &[f32], expected: &[f32]) {
        assert_eq!(got.len(), expected.len());
        for (a, b) in got.iter().zip(expected) {
            assert!(
                (a - b).abs() < 1e-6 + 1e-5 * b.abs(),
                "{name}: {a}, expected {b}"
            );
        }
    }

    #[test]
    fn loss_and_gradients_equal_pytorch() {
        let text = include_str!("../tests/fixtures/multimask.json");
        let record: Value = serde_json::from_str(text).unwrap();
        let [n, k, h, w] = [0, 1, 2, 3].map(|i| numbers(&record, "shape")[i] as usize);
        let device = Device::flex().autodiff();
        let data = |name: &str| numbers(&record, name);
        let tensor = |name: &str, shape: [usize; 4]| {
            Tensor::<4>::from_data(TensorData::new(data(name), shape), &device)
        };
        let logits = tensor("logits", [n, k, h, w]).require_grad();
        let target = tensor("target", [1, n, h, w]).reshape([n, h, w]);
        let iou = Tensor::<2>::from_data(TensorData::new(data("iou"), [n, k]), &device);
        let iou = iou.require_grad();
        let config = LossConfig {
            dice: 1.0,
            focal: 20.0,
            iou: 0.5,
            ..LossConfig::default()
        };
        let losses = multimask_loss(config, logits.clone(), target, iou.clone());
        close(
            "losses",
            &host_values(losses.clone().inner()),
            &data("losses"),
        );
        let gradients = losses.mean().backward();
        let by_logits = host_values(logits.grad(&gradients).unwrap());
        close("logits", &by_logits, &data("grad_logits"));
        let by_iou = host_values(iou.grad(&gradients).unwrap());
        close("IoU", &by_iou, &data("grad_iou"));
        // Only the best mask of each object has a gradient.
        for (object, &best) in data("best").iter().enumerate() {
            for mask in 0..k {
                let of_mask = &by_logits[(object * k + mask) * h * w..][..h * w];
                let any = of_mask.iter().any(|&g| g != 0.0);
                assert_eq!(any, mask == best as usize);
            }
        }
    }

    #[test]
    fn the_most_confident_mask_is_the_first_of_equals() {
        let device = Device::flex();
        let logits = TensorData::new((0..12u8).map(f32::from).collect::<Vec<_>>(), [2, 3, 1, 2]);
        let iou = Tensor::<2>::from_floats([[0.1, 0.9, 0.9], [0.3, 0.2, 0.1]], &device);
        let chosen = most_confident(Tensor::from_data(logits, &device), iou);
        assert_eq!(chosen.dims(), [2, 1, 1, 2]);
        assert_eq!(host_values(chosen), [2.0, 3.0, 6.0, 7.0]);
    }
}
