//! The end of our own mask decoder, see [`SamOps::finer_head`]: composed of the tensor library's own operations, and on
//! the CPU as kernels for both passes.

use std::ops::Range;

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{Shape, Slice};

use super::flex::{shaped, tensor, values};
use super::fused::{GradientOf, Recorded};
use super::{Activation, Arithmetic, SamOps};
use crate::kernels::{FinerHead, Isa};

/// Tensors of the operation.
pub(super) const INPUTS: usize = 11;

/// See [`SamOps::finer_head`] for the order of `inputs`.
pub(super) fn composed<B: SamOps>(
    inputs: [FloatTensor<B>; INPUTS],
    image_of_object: &[usize],
    epsilon: f64,
    arithmetic: Arithmetic,
) -> FloatTensor<B> {
    let [
        map,
        first_weight,
        first_bias,
        half,
        gamma,
        beta,
        second_weight,
        second_bias,
        quarter,
        added,
        tokens,
    ] = inputs;
    let ([objects, n, c], [_, side, _, c1]) = (map.shape().dims(), half.shape().dims());
    let (g, c2) = (side / 2, second_bias.shape()[0] / 4);
    let masks = tokens.shape()[1];
    let of_objects = |map: FloatTensor<B>| {
        let shape = map.shape();
        let rest = (1..4).map(|axis| Slice::from(0..shape[axis]));
        let rest: Vec<Slice> = rest.collect();
        let of = |&image: &usize| {
            let image: Range<usize> = image..image + 1;
            let slices: Vec<Slice> = std::iter::once(image.into()).chain(rest.clone()).collect();
            B::float_slice(map.clone(), &slices)
        };
        B::float_cat(image_of_object.iter().map(of).collect(), 0)
    };
    let x = B::float_reshape(map, Shape::from([objects * n, c]));
    let x = B::affine(x, first_weight, first_bias, Activation::None, arithmetic);
    let x = B::float_reshape(x, Shape::from([objects * g, g, 2, 2, c1]));
    let half = B::float_reshape(of_objects(half), Shape::from([objects * g, 2, g, 2, c1]));
    let x = B::float_add(x, B::float_permute(half, &[0, 2, 1, 3, 4]));
    let x = B::float_reshape(x, Shape::from([objects * n * 4, c1]));
    let x = B::exact_gelu(B::fused_layer_norm(x, gamma, beta, epsilon));
    let x = B::affine(x, second_weight, second_bias, Activation::None, arithmetic);
    // [N g, g, 2, 2, 2, 2, C2] -> [N g, 2, 2, g, 2, 2, C2]: rows outer and inner, then columns
    let x = B::float_reshape(x, Shape::from([objects * g, g, 2, 2, 2, 2, c2]));
    let x = B::float_permute(x, &[0, 2, 4, 1, 3, 5, 6]);
    let x = B::float_reshape(x, Shape::from([objects, 4 * g, 4 * g, c2]));
    let x = B::exact_gelu(B::float_add(B::float_add(x, of_objects(quarter)), added));
    let x = B::float_reshape(x, Shape::from([objects, 16 * n, c2]));
    let out = B::float_matmul(tokens, B::float_swap_dims(x, 1, 2));
    B::float_reshape(out, Shape::from([objects, masks, 4 * g, 4 * g]))
}

/// See [`SamOps::finer_head`] for the order of `inputs`, which are contiguous.
fn finer_head<'a>(
    inputs: &'a [FloatTensor<Flex>; INPUTS],
    image_of_object: &'a [usize],
    epsilon: f64,
) -> FinerHead<'a> {
    let half = inputs[3].shape();
    let of = |i: usize| values(&inputs[i]);
    FinerHead {
        map: of(0),
        first: [of(1), of(2)],
        half: of(3),
        norm: [of(4), of(5)],
        epsilon: epsilon as f32,
        second: [of(6), of(7)],
        quarter: of(8),
        added: of(9),
        tokens: of(10),
        image_of_object,
        side: half[1] / 2,
    }
}

/// `[N, K, 4·g, 4·g]`
fn out_shape(inputs: &[FloatTensor<Flex>; INPUTS]) -> [usize; 4] {
    let ([objects, masks, _], half) = (inputs[10].shape().dims(), inputs[3].shape());
    [objects, masks, 2 * half[1], 2 * half[2]]
}

/// The operation on the CPU, without a record.
pub(super) fn run(
    inputs: [FloatTensor<Flex>; INPUTS],
    image_of_object: &[usize],
    epsilon: f64,
    arithmetic: Arithmetic,
) -> FloatTensor<Flex> {
    let inputs = inputs.map(|t| t.to_contiguous());
    let out = finer_head(&inputs, image_of_object, epsilon).run(Isa::best(), arithmetic);
    tensor(out, out_shape(&inputs))
}

/// The operation on the CPU, with its gradients by all of its tensors in order.
pub(super) fn recorded(
    inputs: [FloatTensor<Flex>; INPUTS],
    image_of_object: Vec<usize>,
    epsilon: f64,
    arithmetic: Arithmetic,
) -> Recorded<Flex> {
    let inputs = inputs.map(|t| t.to_contiguous());
    let head = finer_head(&inputs, &image_of_object, epsilon);
    let (out, sums) = head.forward(Isa::best(), arithmetic);
    let out = tensor(out, out_shape(&inputs));
    let gradient = GradientOf::new(move |grad: FloatTensor<Flex>| {
        let grad = grad.to_contiguous();
        let head = finer_head(&inputs, &image_of_object, epsilon);
        let by = head.backward(Isa::best(), arithmetic, &sums, values(&grad));
        let ([first, first_bias], [gamma, beta]) = (by.first, by.norm);
        let [second, second_bias] = by.second;
        let by = [
            by.map,
            first,
            first_bias,
            by.half,
            gamma,
            beta,
            second,
            second_bias,
            by.quarter,
            by.added,
            by.tokens,
        ];
        let pairs = by.into_iter().zip(&inputs);
        pairs.map(|(by, input)| shaped(by, input.shape())).collect()
    });
    (out, gradient)
}

#[cfg(test)]
mod tests {
    use burn::backend::Dispatch;
    use burn::tensor::{Device, Tensor, TensorData};

    use super::super::finer_head as fused;
    use super::*;

    /// Values in [-1, 1) that look random.
    fn noise<const D: usize>(shape: [usize; D], salt: u32, device: &Device) -> Tensor<D> {
        let value = |i: usize| {
            let mut x = (i as u32).wrapping_mul(0x9E37_79B9) ^ salt.wrapping_mul(0x85EB_CA6B);
            x = (x ^ (x >> 15)).wrapping_mul(0x2C1B_3C6D);
            ((x ^ (x >> 12)) as f32 / u32::MAX as f32) * 2.0 - 1.0
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
        Tensor::from_data(TensorData::new(values, shape), device).require_grad()
    }

    #[derive(Clone)]
    struct Inputs {
        map: Tensor<3>,
        weights: [Tensor<2>; 2],
        vectors: [Tensor<1>; 4],
        maps: [Tensor<4>; 3],
        tokens: Tensor<3>,
    }

    /// Channels before, between and after the steps, none a multiple of a vector.
    const CHANNELS: [usize; 3] = [10, 6, 5];
    const EPSILON: f64 = 1e-6;

    impl Inputs {
        fn new([objects, images, g, masks]: [usize; 4], added: bool, device: &Device) -> Self {
            let [c, c1, c2] = CHANNELS;
            let m = 4 * g;
            let added = if added {
                [objects, m, m, c2]
            } else {
                [1, 1, 1, c2]
            };
            Self {
                map: noise([objects, g * g, c], 1, device),
                weights: [
                    noise([c, 4 * c1], 2, device),
                    noise([c1, 4 * c2], 3, device),
                ],
                vectors: [4 * c1, c1, c1, 4 * c2].map(|n| noise([n], n as u32 + 4, device)),
                maps: [
                    noise([images, 2 * g, 2 * g, c1], 9, device),
                    noise([images, m, m, c2], 10, device),
                    noise(added, 11, device),
                ],
                tokens: noise([objects, masks, c2], 12, device),
            }
        }

        fn fused(self, of: &[usize], arithmetic: Arithmetic) -> Tensor<4> {
            let [first, second] = self.weights;
            let [first_bias, gamma, beta, second_bias] = self.vectors;
            fused(
                self.map,
                (first, first_bias),
                (gamma, beta, EPSILON),
                (second, second_bias),
                self.maps,
                self.tokens,
                of,
                arithmetic,
            )
        }

        fn composed(self, of: &[usize]) -> Tensor<4> {
            let [first, second] = self.weights.map(Tensor::into_dispatch);
            let [first_bias, gamma, beta, second_bias] = self.vectors.map(Tensor::into_dispatch);
            let [half, quarter, added] = self.maps.map(Tensor::into_dispatch);
            let inputs = [
                self.map.into_dispatch(),
                first,
                first_bias,
                half,
                gamma,
                beta,
                second,
                second_bias,
                quarter,
                added,
                self.tokens.into_dispatch(),
            ];
            Tensor::from_dispatch(composed::<Dispatch>(inputs, of, EPSILON, Arithmetic::F32))
        }

        /// Output and gradients of a weighted sum of it, flat.
        fn gradients(&self, out: Tensor<4>) -> Vec<Vec<f32>> {
            let weight = noise(out.dims(), 13, &out.device());
            let value = out.clone().inner();
            let mut all = vec![flat(value)];
            let grads = (out * weight.detach()).sum().backward();
            all.push(flat(self.map.grad(&grads).unwrap()));
            all.extend(self.weights.iter().map(|t| flat(t.grad(&grads).unwrap())));
            all.extend(self.vectors.iter().map(|t| flat(t.grad(&grads).unwrap())));
            all.extend(self.maps.iter().map(|t| flat(t.grad(&grads).unwrap())));
            all.push(flat(self.tokens.grad(&grads).unwrap()));
            all
        }
    }

    fn flat<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().iter::<f32>().collect()
    }

    fn assert_near(got: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32) {
        assert_eq!(got.len(), expected.len());
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            assert_eq!(got.len(), expected.len(), "{i}");
            let size = expected.iter().fold(1e-6_f32, |m, v| m.max(v.abs()));
            let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
            let worst = worst.fold(0.0, f32::max);
            assert!(worst <= tolerance * size, "{i}: {worst} of {size}");
        }
    }

    #[test]
    fn masks_and_gradients_are_those_of_the_composed_operation() {
        let device = Device::flex().autodiff();
        // Objects out of the images' order, an image without one; one mask and several.
        for (size, of, added) in [
            ([1, 1, 1, 1], &[0][..], true),
            ([4, 3, 3, 1], &[2, 0, 2, 2], true),
            ([3, 2, 5, 3], &[1, 0, 1], false),
        ] {
            let inputs = Inputs::new(size, added, &device);
            let expected = inputs.gradients(inputs.clone().composed(of));
            let got = inputs.gradients(inputs.clone().fused(of, Arithmetic::F32));
            assert_near(&got, &expected, 2e-5);
            let rounded = inputs.gradients(inputs.clone().fused(of, Arithmetic::Bf16));
            assert_near(&rounded, &expected, 5e-2);
        }
    }

    #[test]
    fn passes_without_a_record_give_the_same_masks() {
        let device = Device::flex();
        let recording = device.clone().autodiff();
        let (size, of) = ([3, 2, 5, 3], [1, 0, 1]);
        for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
            let recorded = Inputs::new(size, true, &recording).fused(&of, arithmetic);
            let plain = Inputs::new(size, true, &recording);
            let plain = Inputs {
                map: plain.map.inner(),
                weights: plain.weights.map(Tensor::inner),
                vectors: plain.vectors.map(Tensor::inner),
                maps: plain.maps.map(Tensor::inner),
                tokens: plain.tokens.inner(),
            };
            assert_eq!(flat(plain.fused(&of, arithmetic)), flat(recorded.inner()));
        }
    }
}
