//! Losses of masks and the counts behind their overlap, see [`SamOps::mask_scores`]: composed of the tensor library's own
//! operations, and on the CPU as kernels for both passes.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::Shape;

use super::flex::{tensor, values};
use super::fused::{GradientOf, Recorded};
use super::{MaskLossWeights, SamOps};
use crate::kernels::{Isa, MaskScores, SCORES};

/// Weight of the foreground in the focal loss; the background has the rest.
const ALPHA: f32 = 0.25;

/// See [`SamOps::mask_scores`].
pub(super) fn composed<B: SamOps>(
    logits: &FloatTensor<B>,
    target: &FloatTensor<B>,
    weights: MaskLossWeights,
) -> FloatTensor<B> {
    let [n, pixels] = logits.shape().dims();
    let (x, t) = (|| logits.clone(), || target.clone());
    let plus = |a, b: f32| B::float_add_scalar(a, b.into());
    let times = |a, b: f32| B::float_mul_scalar(a, b.into());
    let less_than_one = |a| plus(times(a, -1.0), 1.0);
    let sum = |a| B::float_sum_dim(a, 1);
    let p = B::sigmoid(x());
    let tail = B::float_log1p(B::float_exp(times(B::float_abs(x()), -1.0)));
    let area = sum(t());

    let overlap = sum(B::float_mul(p.clone(), t()));
    let both_areas = plus(B::float_add(sum(p.clone()), area.clone()), 1.0);
    let dice = less_than_one(B::float_div(plus(times(overlap, 2.0), 1.0), both_areas));

    let cross_entropy = B::float_sub(B::relu(x()), B::float_mul(x(), t()));
    let cross_entropy = B::float_add(cross_entropy, tail.clone());
    // 1 - p_t = p + t - 2·p·t
    let miss = B::float_sub(
        B::float_add(p.clone(), t()),
        times(B::float_mul(p, t()), 2.0),
    );
    let alpha = plus(times(t(), 2.0 * ALPHA - 1.0), 1.0 - ALPHA);
    let focal = B::float_mul(
        B::float_mul(miss.clone(), miss),
        B::float_mul(alpha, cross_entropy),
    );
    let focal = times(sum(focal), 1.0 / pixels as f32);

    let mean = |loss, weight: FloatTensor<B>, area| {
        let loss = sum(B::float_mul(loss, weight));
        B::float_div(loss, B::float_clamp_min(area, 1.0.into()))
    };
    let outside = plus(times(area.clone(), -1.0), pixels as f32);
    let inside = mean(
        B::float_add(B::relu(times(x(), -1.0)), tail.clone()),
        t(),
        area,
    );
    let outside = mean(
        B::float_add(B::relu(x()), tail),
        less_than_one(t()),
        outside,
    );
    let balanced = times(B::float_add(inside, outside), 0.5);

    let parts = [
        (weights.dice, dice),
        (weights.focal, focal),
        (weights.balanced, balanced),
    ];
    // A loss without weight counts nothing, even where it is not finite.
    let weighed = parts.into_iter().filter(|(weight, _)| *weight > 0.0);
    let loss = weighed
        .map(|(weight, loss)| times(loss, weight))
        .reduce(B::float_add)
        .unwrap_or_else(|| times(sum(t()), 0.0));

    let positive = |a| B::relu(B::float_sign(a));
    let (answered, marked) = (positive(x()), positive(plus(t(), -0.5)));
    let both = sum(B::float_mul(answered.clone(), marked.clone()));
    let columns = vec![loss, sum(answered), sum(marked), both];
    let columns = columns
        .into_iter()
        .map(|column| B::float_reshape(column, Shape::from([n, 1])));
    B::float_cat(columns.collect(), 1)
}

fn scores([logits, target]: [&FloatTensor<Flex>; 2], weights: MaskLossWeights) -> MaskScores<'_> {
    MaskScores {
        logits: values(logits),
        target: values(target),
        pixels: logits.shape()[1],
        weights,
    }
}

/// The operation on the CPU, without a record.
pub(super) fn run(inputs: [FloatTensor<Flex>; 2], weights: MaskLossWeights) -> FloatTensor<Flex> {
    let [logits, target] = inputs.map(|t| t.to_contiguous());
    let out = scores([&logits, &target], weights).run(Isa::best());
    tensor(out, [logits.shape()[0], SCORES])
}

/// The operation on the CPU, with the gradient of its losses by the logits.
pub(super) fn recorded(inputs: [FloatTensor<Flex>; 2], weights: MaskLossWeights) -> Recorded<Flex> {
    let [logits, target] = inputs.map(|t| t.to_contiguous());
    let out = run([logits.clone(), target.clone()], weights);
    let gradient = GradientOf::new(move |grad: FloatTensor<Flex>| {
        let grad = grad.to_contiguous();
        let by_loss: Vec<f32> = values(&grad).iter().step_by(SCORES).copied().collect();
        let by_logits = scores([&logits, &target], weights).grad(Isa::best(), &by_loss);
        vec![tensor::<2>(by_logits, logits.shape().dims())]
    });
    (out, gradient)
}

#[cfg(test)]
mod tests {
    use burn::backend::Dispatch;
    use burn::tensor::{Device, Tensor, TensorData};

    use super::super::mask_scores as fused;
    use super::*;

    const WEIGHTS: MaskLossWeights = MaskLossWeights {
        dice: 1.0,
        focal: 5.0,
        balanced: 0.2,
    };

    fn tensor_of(value: impl Fn(usize) -> f32, device: &Device) -> Tensor<2> {
        let values: Vec<f32> = (0..3 * 35).map(value).collect();
        Tensor::from_data(TensorData::new(values, [3, 35]), device)
    }

    /// Scores, and the gradient by the logits of a sum of losses that counts each differently.
    fn of(
        scores: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>,
        device: &Device,
    ) -> (Vec<f32>, Vec<f32>) {
        let logits = tensor_of(|i| ((i * 37 % 101) as f32 - 50.5) / 9.0, device).require_grad();
        let target = tensor_of(
            |i| ((i * 53 % 97) as f32 / 48.0 - 0.5).clamp(0.0, 1.0),
            device,
        );
        let scores = scores(logits.clone(), target);
        let weights = Tensor::<1>::from_floats([1.0, -0.5, 2.0], device).reshape([3, 1]);
        let sum = (scores.clone().narrow(1, 0, 1) * weights).sum();
        let gradient = logits.grad(&sum.backward()).unwrap();
        let values = |t: Tensor<2>| t.into_data().iter::<f32>().collect();
        (values(scores.inner()), values(gradient))
    }

    #[test]
    fn kernels_equal_the_composed_body() {
        let device = Device::flex().autodiff();
        let (scores, gradient) = of(|x, t| fused(x, t, WEIGHTS), &device);
        let composed = |x: Tensor<2>, t: Tensor<2>| {
            let (x, t) = (x.into_dispatch(), t.into_dispatch());
            Tensor::from_dispatch(composed::<Dispatch>(&x, &t, WEIGHTS))
        };
        let (expected, expected_gradient) = of(composed, &device);
        let pairs = scores.iter().zip(&expected);
        for (got, expected) in pairs.chain(gradient.iter().zip(&expected_gradient)) {
            let close = (got - expected).abs() <= 1e-6 + 1e-5 * expected.abs();
            assert!(close, "{got}, expected {expected}");
        }
        assert!(gradient.iter().any(|g| g.abs() > 1e-3));
    }
}
