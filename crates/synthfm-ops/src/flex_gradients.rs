//! The gradients on the CPU: tensors as slices, for the kernels.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};

use super::flex::{conv_shape, placed, self_attention, tensor, values};
use super::gradients::SamGradients;
use super::{Activation, Arithmetic, Sampling};
use crate::kernels::{self, Conv, ConvShape, Isa, Kernel, ParamGrad, Placement};

/// Rows of a linear layer as the pixels of a map.
const fn pointwise(rows: usize, input: usize, output: usize) -> ConvShape {
    ConvShape {
        batch: 1,
        height: 1,
        width: rows,
        input,
        output,
        side: 1,
        stride: 1,
    }
}

impl SamGradients for Flex {
    fn conv_input_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        output: Option<FloatTensor<Self>>,
        sampling: Sampling,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let (weight, grad) = (weight.to_contiguous(), grad.to_contiguous());
        let output = output.map(|t| t.to_contiguous());
        let (forward, _) = conv_shape(&x.shape(), &weight.shape(), sampling);
        let ConvShape {
            input, output: o, ..
        } = forward;
        let [height, width] = forward.grid();
        let back = ConvShape {
            height,
            width,
            input: o,
            output: input,
            stride: 1,
            ..forward
        };
        let weight = values(&weight);
        let (shape, weight, placement) = match sampling {
            Sampling::Same => (back, Kernel::Turned(weight), Placement::Pixels),
            Sampling::Patches => {
                let side = forward.side;
                let back = ConvShape {
                    output: side * side * input,
                    side: 1,
                    ..back
                };
                (back, Kernel::Transposed(weight), Placement::Spread)
            }
            Sampling::Spread => {
                let back = ConvShape {
                    height: 2 * height,
                    width: 2 * width,
                    input: o / 4,
                    side: 2,
                    stride: 2,
                    ..back
                };
                (back, Kernel::Transposed(weight), Placement::Pixels)
            }
        };
        let conv = Conv {
            shape,
            x: values(&grad),
            cut: output.as_ref().map(values),
            weight,
            bias: &[],
            activation: Activation::None,
            residual: None,
            placement,
        };
        placed(conv.run(Isa::best(), arithmetic), shape, placement)
    }

    fn conv_param_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        output: Option<FloatTensor<Self>>,
        sampling: Sampling,
        arithmetic: Arithmetic,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, grad) = (x.to_contiguous(), grad.to_contiguous());
        let output = output.map(|t| t.to_contiguous());
        let (shape, placement) = conv_shape(&x.shape(), &weight.shape(), sampling);
        let gradient = ParamGrad {
            shape,
            x: values(&x),
            grad: values(&grad),
            output: output.as_ref().map(values),
            placement,
        };
        let [by_weight, by_bias] = gradient.run(Isa::best(), arithmetic);
        (
            tensor::<4>(by_weight, weight.shape().dims()),
            tensor(by_bias, [shape.output]),
        )
    }

    fn affine_input_grad(
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        output: Option<FloatTensor<Self>>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let (weight, grad) = (weight.to_contiguous(), grad.to_contiguous());
        let output = output.map(|t| t.to_contiguous());
        let ([m, n], [k, _]) = (grad.shape().dims(), weight.shape().dims());
        let conv = Conv {
            shape: pointwise(m, n, k),
            x: values(&grad),
            cut: output.as_ref().map(values),
            weight: Kernel::Transposed(values(&weight)),
            bias: &[],
            activation: Activation::None,
            residual: None,
            placement: Placement::Pixels,
        };
        tensor(conv.run(Isa::best(), arithmetic), [m, k])
    }

    fn affine_param_grad(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        output: Option<FloatTensor<Self>>,
        arithmetic: Arithmetic,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, grad) = (x.to_contiguous(), grad.to_contiguous());
        let output = output.map(|t| t.to_contiguous());
        let ([m, k], [_, n]) = (x.shape().dims(), grad.shape().dims());
        let gradient = ParamGrad {
            shape: pointwise(m, k, n),
            x: values(&x),
            grad: values(&grad),
            output: output.as_ref().map(values),
            placement: Placement::Pixels,
        };
        let [by_weight, by_bias] = gradient.run(Isa::best(), arithmetic);
        (tensor(by_weight, [k, n]), tensor(by_bias, [n]))
    }

    fn channel_norm_grads(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> [FloatTensor<Self>; 3] {
        let [x, gamma, grad] = [x, gamma, grad].map(|t| t.to_contiguous());
        let [m, c] = x.shape().dims();
        let (x, gamma, grad) = (values(&x), values(&gamma), values(&grad));
        let [by_x, by_gamma, by_beta] =
            kernels::layer_norm_grads(Isa::best(), x, gamma, grad, epsilon as f32);
        [
            tensor(by_x, [m, c]),
            tensor(by_gamma, [c]),
            tensor(by_beta, [c]),
        ]
    }

    fn self_attention_grad(
        qkv: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        heads: usize,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let (qkv, grad) = (qkv.to_contiguous(), grad.to_contiguous());
        let by_qkv = self_attention(&qkv, heads).grad(Isa::best(), values(&grad), arithmetic);
        tensor::<3>(by_qkv, qkv.shape().dims())
    }
}
