//! Tensor operations of the models with hand-written CPU kernels and hand-written gradients, and the devices and precisions
//! that they compute on.
//!
//! Each operation has a body composed of the tensor library's own operations, which every backend but the CPU
//! one uses and which the kernels are tested against, and a gradient of its own.

#![cfg_attr(
    not(feature = "train"),
    allow(
        dead_code,
        reason = "what gradients alone ask for stands beside what both ask for"
    )
)]

mod attention;
#[cfg(feature = "train")]
mod autodiff;
#[cfg(feature = "gpu")]
mod cube;
mod device;
mod error;
mod finer_head;
mod flex;
mod flex_gradients;
mod fused;
#[cfg(all(test, feature = "gpu"))]
mod gpu_tests;
mod gradients;
mod kernels;
mod mask_scores;
mod precision;
mod sampling;
mod select_rows;
mod two_way;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{FloatDType, Shape, Tensor};

pub use burn::tensor::Device;
pub use device::{DeviceChoice, DeviceInfo, OpenDevice, devices};
pub use error::{Error, Result};
pub use fused::{FusedGradients, GradientOf, Recorded};
pub use kernels::{
    Activation, Arithmetic, Lanes, MaskLossWeights, SETS, ValueGrid, exp_of_negated,
    multiplies_bf16, two_in_bands,
};
pub use precision::PrecisionChoice;
pub use sampling::Sampling;

/// SAM's hot operations. Tensors are channels-last; weights as the modules store them.
#[cfg_attr(
    all(feature = "gpu", feature = "train"),
    backend_extension(Flex, Cube, Autodiff)
)]
#[cfg_attr(
    all(feature = "gpu", not(feature = "train")),
    backend_extension(Flex, Cube)
)]
#[cfg_attr(
    all(not(feature = "gpu"), feature = "train"),
    backend_extension(Flex, Autodiff)
)]
#[cfg_attr(not(any(feature = "gpu", feature = "train")), backend_extension(Flex))]
pub trait SamOps: Backend {
    /// Convolution, bias, and `ReLU` if asked; `x`: `[B, H, W, C]`, weight, bias and result see [`Sampling`].
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sampling: Sampling,
        relu: bool,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let _ = arithmetic;
        let (x, weight) = (sampling.gathered::<Self>(x), sampling.flat::<Self>(weight));
        sampling.placed::<Self>(Self::plain_conv(x, weight, bias, relu))
    }

    /// [`SamOps::conv`] without `ReLU`, plus a residual, which has the result's shape.
    fn conv_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        sampling: Sampling,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let out = Self::conv(x, weight, bias, sampling, false, arithmetic);
        Self::float_add(out, residual)
    }

    /// `x`: `[B, H, W, C]`, `weight`: `[s, s, C, O]`, `bias`: `[O]` -> `[B, H, W, O]`; `ReLU` if asked.
    fn plain_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        let out = Self::conv2d(
            nchw::<Self>(x),
            oihw::<Self>(weight.clone()),
            Some(bias),
            options(&weight.shape()),
        );
        let out = Self::float_permute(out, &[0, 2, 3, 1]);
        if relu { Self::relu(out) } else { out }
    }

    /// Convolution with an output pixel for every `stride`-th of the input and any nonlinearity; `x`, `weight` and `bias` as
    /// in [`SamOps::plain_conv`]
    /// -> `[B, ceil(H / stride), ceil(W / stride), O]`.
    fn strided_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let reach = weight.shape()[0] / 2;
        let options = ConvOptions::new([stride; 2], [reach; 2], [1, 1], 1);
        let out = Self::conv2d(nchw::<Self>(x), oihw::<Self>(weight), Some(bias), options);
        activate::<Self>(Self::float_permute(out, &[0, 2, 3, 1]), activation)
    }

    /// Convolution of each channel with a kernel of its own, as [`SamOps::strided_conv`] otherwise; `weight`:
    /// `[s, s, C]`, `bias`: `[C]`.
    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let [side, _, channels] = weight.shape().dims();
        let weight = Self::float_reshape(weight, Shape::from([side, side, 1, channels]));
        let options = ConvOptions::new([stride; 2], [side / 2; 2], [1, 1], channels);
        let out = Self::conv2d(nchw::<Self>(x), oihw::<Self>(weight), Some(bias), options);
        activate::<Self>(Self::float_permute(out, &[0, 2, 3, 1]), activation)
    }

    /// Gradient of [`SamOps::plain_conv`] (without `ReLU`) by its input; `grad`: `[B, H, W, O]`.
    fn plain_conv_input_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let options = options(&weight.shape());
        let grad = Self::conv2d_x_backward(
            nchw::<Self>(x),
            oihw::<Self>(weight),
            nchw::<Self>(grad),
            options,
        );
        Self::float_permute(grad, &[0, 2, 3, 1])
    }

    /// Gradients of [`SamOps::plain_conv`] by weight, flattened, and bias, one after the other.
    fn plain_conv_param_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [s, _, c, o] = weight.shape().dims();
        let options = options(&weight.shape());
        let rows = x.shape().num_elements() / c;
        let by_bias = Self::sum_of_rows(Self::float_reshape(grad.clone(), Shape::from([rows, o])));
        let by_weight = Self::conv2d_weight_backward(
            nchw::<Self>(x),
            oihw::<Self>(weight),
            nchw::<Self>(grad),
            options,
        );
        let by_weight = Self::float_permute(by_weight, &[2, 3, 1, 0]);
        let by_weight = Self::float_reshape(by_weight, Shape::from([s * s * c * o]));
        Self::float_cat(vec![by_weight, by_bias], 0)
    }

    /// Layer normalisation over the last axis; `x`: `[M, C]`, `gamma`, `beta`: `[C]`.
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let c = gamma.shape()[0];
        let (centred, scale) = standardise::<Self>(x, epsilon);
        let normal = Self::float_mul(centred, scale);
        let row = |t| Self::float_reshape(t, Shape::from([1, c]));
        Self::float_add(Self::float_mul(normal, row(gamma)), row(beta))
    }

    /// Gradient of [`SamOps::fused_layer_norm`] by its input.
    fn channel_norm_input_grad(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let c = gamma.shape()[0];
        let (centred, scale) = standardise::<Self>(x, epsilon);
        let normal = Self::float_mul(centred, scale.clone());
        let grad = Self::float_mul(grad, Self::float_reshape(gamma, Shape::from([1, c])));
        let mean = Self::float_mean_dim(grad.clone(), 1);
        let dot = Self::float_mean_dim(Self::float_mul(grad.clone(), normal.clone()), 1);
        let grad = Self::float_sub(Self::float_sub(grad, mean), Self::float_mul(normal, dot));
        Self::float_mul(grad, scale)
    }

    /// Gradients of [`SamOps::fused_layer_norm`] by `gamma` and `beta`, one after the other: `[2·C]`.
    fn channel_norm_param_grad(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (centred, scale) = standardise::<Self>(x, epsilon);
        let by_gamma = Self::float_mul(Self::float_mul(centred, scale), grad.clone());
        Self::float_cat(
            vec![Self::sum_of_rows(by_gamma), Self::sum_of_rows(grad)],
            0,
        )
    }

    /// `aᵀ · b`, the gradient of a linear layer's weight; `a`: `[M, K]`, `b`: `[M, N]` -> `[K, N]`.
    fn transposed_product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(Self::float_transpose(a), b)
    }

    /// The sum over the first axis, the gradient of a bias; `x`: `[M, N]` -> `[N]`.
    fn sum_of_rows(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let n = x.shape()[1];
        Self::float_reshape(Self::float_sum_dim(x, 0), Shape::from([n]))
    }

    /// `activation(x · weight + bias)`; `x`: `[M, K]`, `weight`: `[K, N]`, `bias`: `[N]` -> `[M, N]`.
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let n = bias.shape()[0];
        let bias = Self::float_reshape(bias, Shape::from([1, n]));
        let out = Self::float_add(product::<Self>(x, weight, arithmetic), bias);
        activate::<Self>(out, activation)
    }

    /// `x · weight + bias + residual`, see [`SamOps::affine`]; `residual`: `[M, N]`.
    fn affine_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let out = Self::affine(x, weight, bias, Activation::None, arithmetic);
        Self::float_add(out, residual)
    }

    /// Attention inside the windows of a map with decomposed relative positions (Li et al. 2022, eq. 4):
    /// `softmax(q·k / √d + q·rows[yq - yk + wh - 1] + q·columns[xq - xk + ww - 1]) v`.
    ///
    /// `qkv`: `[B, H, W, 3·C]`; a map that is no whole number of windows is filled up with tokens of which
    /// `padding`, `[3·C]`, are queries, keys and values; `rows`: `[2·wh - 1, d]`, `columns`: `[2·ww - 1, d]`
    /// give the windows' sides -> `[B, H, W, C]`.
    fn window_attention(
        qkv: FloatTensor<Self>,
        padding: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        columns: FloatTensor<Self>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        attention::relative::<Self>(qkv, &padding, rows, columns, arithmetic)
    }

    /// Attention within windows of n tokens with a table of what is added to the scores, `[heads, n, n]` by head, query and
    /// key; `qkv` holds query, key and value head by head, as `TinyViT`'s does.
    fn table_attention(
        qkv: FloatTensor<Self>,
        padding: FloatTensor<Self>,
        table: FloatTensor<Self>,
        window: [usize; 2],
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        attention::with_table::<Self>(qkv, &padding, table, window, arithmetic)
    }

    /// Attention within windows without positions, as Hiera's (Ryali et al. 2023); see [`PlainWindows`]. `qkv` is as in
    /// [`SamOps::window_attention`] -> `[B, H, W, C]`, or `[B, H/2, W/2, C]` where queries are pooled.
    fn plain_attention(
        qkv: FloatTensor<Self>,
        padding: FloatTensor<Self>,
        windows: PlainWindows,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        attention::plain::<Self>(qkv, &padding, windows, arithmetic)
    }

    /// Attention of all tokens of an image among themselves, without positions; `qkv`: `[B, n, 3·C]`, which holds queries,
    /// keys and values, each head by head -> `[B, n, C]`.
    fn self_attention(
        qkv: FloatTensor<Self>,
        heads: usize,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        attention::among_tokens::<Self>(qkv, heads, arithmetic)
    }

    /// Tokens attend to a map whose keys and values are projected here; keys get a position code.
    ///
    /// `query`: `[N, T, I]`, projected; `map`: `[N, n, C]` or `[1, n, C]`; `position`: `[1, n, C]`; weights
    /// `[C, I]` and biases `[I]` -> `[N, T, I]`.
    #[allow(
        clippy::too_many_arguments,
        reason = "an operation names its tensors one by one; generated code repeats this attribute"
    )]
    fn tokens_to_image(
        query: FloatTensor<Self>,
        map: FloatTensor<Self>,
        position: FloatTensor<Self>,
        key_weight: FloatTensor<Self>,
        key_bias: FloatTensor<Self>,
        value_weight: FloatTensor<Self>,
        value_bias: FloatTensor<Self>,
        heads: usize,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let weights = [key_weight, key_bias, value_weight, value_bias];
        two_way::tokens_to_image::<Self>(query, map, position, weights, heads, arithmetic)
    }

    /// Tokens attend to a map whose keys and values are projected already.
    ///
    /// `query`: `[N, T, I]`; `key`, `value`: `[1, n, I]` -> `[N, T, I]`.
    fn tokens_to_projected(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        two_way::attend::<Self>(query, key, value, heads)
    }

    /// A map attends to tokens and is added to the result; its queries, which get a position code, and the
    /// result are projected here.
    ///
    /// `map`: `[N, n, C]` or `[1, n, C]`; `position`: `[1, n, C]`; `key`, `value`: `[N, T, I]`, projected;
    /// `query_weight`: `[C, I]`, `query_bias`: `[I]`, `out_weight`: `[I, C]`, `out_bias`: `[C]` ->
    /// `[N, n, C]`.
    #[allow(
        clippy::too_many_arguments,
        reason = "an operation names its tensors one by one; generated code repeats this attribute"
    )]
    fn image_to_tokens(
        map: FloatTensor<Self>,
        position: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        query_weight: FloatTensor<Self>,
        query_bias: FloatTensor<Self>,
        out_weight: FloatTensor<Self>,
        out_bias: FloatTensor<Self>,
        heads: usize,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let weights = [query_weight, query_bias, out_weight, out_bias];
        two_way::image_to_tokens::<Self>(map, position, [key, value], weights, heads, arithmetic)
    }

    /// SAM's upscaling and its product with the mask tokens: two transposed convolutions of stride 2 (pixels nested in
    /// their cells), layer normalisation and GELU after the first, GELU after the second.
    ///
    /// `map`: `[N, n, C]`; `first_weight`: `[C, 4·C1]`; `gamma`, `beta`: `[C1]`; `second_weight`: `[C1, 4·C2]`;
    /// `tokens`: `[N, K, C2]` -> `[N, K, 16·n]`.
    #[allow(
        clippy::too_many_arguments,
        reason = "an operation names its tensors one by one; generated code repeats this attribute"
    )]
    fn mask_head(
        map: FloatTensor<Self>,
        first_weight: FloatTensor<Self>,
        first_bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        second_weight: FloatTensor<Self>,
        second_bias: FloatTensor<Self>,
        tokens: FloatTensor<Self>,
        epsilon: f64,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let ([objects, n, c], [c1]) = (map.shape().dims(), gamma.shape().dims());
        let c2 = second_bias.shape()[0] / 4;
        let x = Self::float_reshape(map, Shape::from([objects * n, c]));
        let x = Self::affine(x, first_weight, first_bias, Activation::None, arithmetic);
        let x = Self::float_reshape(x, Shape::from([objects * n * 4, c1]));
        let x = Self::exact_gelu(Self::fused_layer_norm(x, gamma, beta, epsilon));
        let x = Self::affine(x, second_weight, second_bias, Activation::Gelu, arithmetic);
        let x = Self::float_reshape(x, Shape::from([objects, 16 * n, c2]));
        Self::float_matmul(tokens, Self::float_swap_dims(x, 1, 2))
    }

    /// [`SamOps::mask_head`] with finer maps added: `half` before the normalisation, `quarter`, and what each object
    /// adds to it, before the last GELU. Object `i` is on image `image_of_object[i]`.
    ///
    /// `map`: `[N, g·g, C]`; `half`: `[B, 2·g, 2·g, C1]`; `quarter`: `[B, 4·g, 4·g, C2]`; `added`: `[N, 4·g, 4·g, C2]`
    /// or `[1, 1, 1, C2]`; `tokens`: `[N, K, C2]` -> `[N, K, 4·g, 4·g]`, row by row.
    #[allow(
        clippy::too_many_arguments,
        reason = "an operation names its tensors one by one; generated code repeats this attribute"
    )]
    fn finer_head(
        map: FloatTensor<Self>,
        first_weight: FloatTensor<Self>,
        first_bias: FloatTensor<Self>,
        half: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        second_weight: FloatTensor<Self>,
        second_bias: FloatTensor<Self>,
        quarter: FloatTensor<Self>,
        added: FloatTensor<Self>,
        tokens: FloatTensor<Self>,
        image_of_object: Vec<usize>,
        epsilon: f64,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let inputs = [
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
        ];
        finer_head::composed::<Self>(inputs, &image_of_object, epsilon, arithmetic)
    }

    /// Scores of masks of P pixels whose probabilities are p = σ(x) and whose targets t are 0 to 1: the weighted sum of the
    /// soft Dice loss, `1 - (2 Σ p·t + 1) / (Σ p + Σ t + 1)`, the focal loss, `Σ α·(1 - p_t)²·CE / P` with α from 1/4 on the
    /// target to 3/4 outside it, and the balanced cross entropy, `Σ t·CE / (2 Σ t) + Σ (1 - t)·CE / (2 Σ (1 - t))`; and the
    /// pixels where x > 0, where t > 1/2, and both, which have no gradient.
    ///
    /// `logits`, `target`: `[N, P]` -> `[N, 4]`; nothing flows back into the target.
    fn mask_scores(
        logits: FloatTensor<Self>,
        target: FloatTensor<Self>,
        weights: MaskLossWeights,
    ) -> FloatTensor<Self> {
        mask_scores::composed::<Self>(&logits, &target, weights)
    }

    /// Row `of[i]` of `x` for each i; `x`: `[B, n]` -> `[N, n]`.
    fn select_rows(x: FloatTensor<Self>, of: Vec<usize>) -> FloatTensor<Self> {
        select_rows::composed::<Self>(&x, &of)
    }

    /// GELU with the error function; any shape.
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::gelu(x)
    }

    /// Gradient of [`SamOps::exact_gelu`]: (Φ(x) + x·φ(x)) · grad.
    fn exact_gelu_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let erf = Self::float_erf(Self::float_mul_scalar(
            x.clone(),
            std::f64::consts::FRAC_1_SQRT_2.into(),
        ));
        let cdf = Self::float_mul_scalar(Self::float_add_scalar(erf, 1.0.into()), 0.5.into());
        let square = Self::float_mul(x.clone(), x.clone());
        let pdf = Self::float_exp(Self::float_mul_scalar(square, (-0.5).into()));
        let slope = Self::float_mul_scalar(Self::float_mul(x, pdf), 0.398_942_280_401_432_7.into());
        Self::float_mul(Self::float_add(cdf, slope), grad)
    }
}

/// The matrix product of the last two axes. In half precision, operands and result are rounded, and the tensor
/// library sums in single precision; what lies between products is single precision throughout.
fn product<B: Backend>(
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    arithmetic: Arithmetic,
) -> FloatTensor<B> {
    match arithmetic {
        // Sums of bf16 products are a kernel of the CPU's.
        Arithmetic::F32 | Arithmetic::Bf16 => B::float_matmul(a, b),
        Arithmetic::F16 => {
            let [a, b] = [a, b].map(|x| B::float_cast(x, FloatDType::F16));
            B::float_cast(B::float_matmul(a, b), FloatDType::F32)
        }
    }
}

fn activate<B: SamOps>(x: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
    match activation {
        Activation::None => x,
        Activation::Relu => B::relu(x),
        Activation::Gelu => B::exact_gelu(x),
    }
}

fn nchw<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_permute(x, &[0, 3, 1, 2])
}

fn oihw<B: Backend>(weight: FloatTensor<B>) -> FloatTensor<B> {
    B::float_permute(weight, &[3, 2, 0, 1])
}

fn options(weight: &Shape) -> ConvOptions<2> {
    let reach = weight[0] / 2;
    ConvOptions::new([1, 1], [reach, reach], [1, 1], 1)
}

/// `x` less its mean over the last axis, and the reciprocal standard deviation.
fn standardise<B: Backend>(x: FloatTensor<B>, epsilon: f64) -> (FloatTensor<B>, FloatTensor<B>) {
    let centred = B::float_sub(x.clone(), B::float_mean_dim(x, 1));
    let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), 1);
    let scale = B::float_recip(B::float_sqrt(B::float_add_scalar(variance, epsilon.into())));
    (centred, scale)
}

/// Convolution; `ReLU` if asked.
///
/// # Shapes
/// `x`: `[B, H, W, C]`, the others see [`Sampling`]
pub fn conv(
    x: Tensor<4>,
    (weight, bias): (Tensor<4>, Tensor<1>),
    sampling: Sampling,
    relu: bool,
    arithmetic: Arithmetic,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as SamOps>::conv(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        sampling,
        relu,
        arithmetic,
    ))
}

/// Convolution plus `residual`.
///
/// # Shapes
/// `x`: `[B, H, W, C]`, the others see [`Sampling`]; `residual` as the result
pub fn conv_residual(
    x: Tensor<4>,
    (weight, bias): (Tensor<4>, Tensor<1>),
    residual: Tensor<4>,
    sampling: Sampling,
    arithmetic: Arithmetic,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as SamOps>::conv_residual(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        residual.into_dispatch(),
        sampling,
        arithmetic,
    ))
}

/// Convolution with zero padding and any stride, and a nonlinearity.
///
/// # Shapes
/// `x`: `[B, H, W, C]`, `weight`: `[s, s, C, O]` (s odd), `bias`: `[O]` ->
/// `[B, ceil(H / stride), ceil(W / stride), O]`
pub fn strided_conv(
    x: Tensor<4>,
    (weight, bias): (Tensor<4>, Tensor<1>),
    stride: usize,
    activation: Activation,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as SamOps>::strided_conv(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        stride,
        activation,
    ))
}

/// Convolution of each channel with a kernel of its own, and a nonlinearity.
///
/// # Shapes
/// `x`: `[B, H, W, C]`, `weight`: `[s, s, C]` (s odd), `bias`: `[C]` ->
/// `[B, ceil(H / stride), ceil(W / stride), C]`
pub fn depthwise(
    x: Tensor<4>,
    (weight, bias): (Tensor<3>, Tensor<1>),
    stride: usize,
    activation: Activation,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as SamOps>::depthwise(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        stride,
        activation,
    ))
}

/// Layer normalisation over the last axis, biased variance.
///
/// # Shapes
/// `x`: `[.., C]`, `gamma`, `beta`: `[C]` -> as `x`
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    let shape = x.shape();
    let out = <Dispatch as SamOps>::fused_layer_norm(
        rows(x).into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        epsilon,
    );
    Tensor::<2>::from_dispatch(out).reshape(shape)
}

/// GELU with the error function, x·Φ(x), with its exact derivative. Any shape.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as SamOps>::exact_gelu(x.into_dispatch()))
}

/// The rows of a tensor: `[.., C]` -> `[M, C]`.
fn rows<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let shape = x.shape();
    let c = shape[D - 1];
    x.reshape([shape.num_elements() / c.max(1), c])
}

/// The shape with another last axis.
fn with_last(mut shape: Shape, last: usize) -> Shape {
    let rank = shape.rank();
    shape[rank - 1] = last;
    shape
}

/// `activation(x · weight + bias)`.
///
/// # Shapes
/// `x`: `[.., K]`, `weight`: `[K, N]`, `bias`: `[N]` -> `[.., N]`
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    activation: Activation,
    arithmetic: Arithmetic,
) -> Tensor<D> {
    let shape = with_last(x.shape(), weight.dims()[1]);
    let out = <Dispatch as SamOps>::affine(
        rows(x).into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        activation,
        arithmetic,
    );
    Tensor::<2>::from_dispatch(out).reshape(shape)
}

/// `x · weight + bias + residual`.
///
/// # Shapes
/// `x`: `[.., K]`, `weight`: `[K, N]`, `bias`: `[N]`, `residual`: `[.., N]` -> `[.., N]`
pub fn linear_residual<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    residual: Tensor<D>,
    arithmetic: Arithmetic,
) -> Tensor<D> {
    let shape = residual.shape();
    let out = <Dispatch as SamOps>::affine_residual(
        rows(x).into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        rows(residual).into_dispatch(),
        arithmetic,
    );
    Tensor::<2>::from_dispatch(out).reshape(shape)
}

/// Attention inside windows of a map with decomposed relative positions, see
/// [`SamOps::window_attention`].
///
/// # Shapes
/// `qkv`: `[B, H, W, 3·C]`, `padding`: `[3·C]`, `rows`: `[2·wh - 1, d]`, `columns`: `[2·ww - 1, d]` ->
/// `[B, H, W, C]`
pub fn window_attention(
    qkv: Tensor<4>,
    padding: Tensor<1>,
    rows: Tensor<2>,
    columns: Tensor<2>,
    arithmetic: Arithmetic,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as SamOps>::window_attention(
        qkv.into_dispatch(),
        padding.into_dispatch(),
        rows.into_dispatch(),
        columns.into_dispatch(),
        arithmetic,
    ))
}

/// Attention inside windows of a map with a table of biases, see [`SamOps::table_attention`].
///
/// # Shapes
/// `qkv`: `[B, H, W, heads·3·d]`, `padding`: `[heads·3·d]`, `table`: `[heads, n, n]` for windows of n tokens
/// -> `[B, H, W, heads·d]`
pub fn table_attention(
    qkv: Tensor<4>,
    padding: Tensor<1>,
    table: Tensor<3>,
    window: [usize; 2],
    arithmetic: Arithmetic,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as SamOps>::table_attention(
        qkv.into_dispatch(),
        padding.into_dispatch(),
        table.into_dispatch(),
        window,
        arithmetic,
    ))
}

/// Windows whose tokens attend to each other without positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainWindows {
    /// Height and width of a window.
    pub window: [usize; 2],
    /// Attention heads.
    pub heads: usize,
    /// Whether queries are the maxima of 2 × 2 tokens; map and windows must have even sides then.
    pub pooled: bool,
}

/// Attention inside windows of a map without positions, see [`SamOps::plain_attention`].
///
/// # Shapes
/// `qkv`: `[B, H, W, 3·C]`, `padding`: `[3·C]` -> `[B, H, W, C]`, or `[B, H/2, W/2, C]` where queries are pooled
pub fn plain_attention(
    qkv: Tensor<4>,
    padding: Tensor<1>,
    windows: PlainWindows,
    arithmetic: Arithmetic,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as SamOps>::plain_attention(
        qkv.into_dispatch(),
        padding.into_dispatch(),
        windows,
        arithmetic,
    ))
}

/// Attention of all tokens of an image among themselves, see [`SamOps::self_attention`].
///
/// # Shapes
/// `qkv`: `[B, n, 3·C]`, C a multiple of `heads` -> `[B, n, C]`
pub fn self_attention(qkv: Tensor<3>, heads: usize, arithmetic: Arithmetic) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as SamOps>::self_attention(
        qkv.into_dispatch(),
        heads,
        arithmetic,
    ))
}

/// A projection: weight `[in, out]` and bias `[out]`.
pub type Projection = (Tensor<2>, Tensor<1>);

/// Tokens attend to an image map, see [`SamOps::tokens_to_image`].
///
/// # Shapes
/// `query`: `[N, T, I]`, `map`: `[N, n, C]` or `[1, n, C]`, `position`: `[1, n, C]`, `key` and `value` from C
/// to I -> `[N, T, I]`
pub fn tokens_to_image(
    query: Tensor<3>,
    [map, position]: [Tensor<3>; 2],
    key: Projection,
    value: Projection,
    heads: usize,
    arithmetic: Arithmetic,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as SamOps>::tokens_to_image(
        query.into_dispatch(),
        map.into_dispatch(),
        position.into_dispatch(),
        key.0.into_dispatch(),
        key.1.into_dispatch(),
        value.0.into_dispatch(),
        value.1.into_dispatch(),
        heads,
        arithmetic,
    ))
}

/// Tokens attend to an image map whose keys and values are projected already.
///
/// # Shapes
/// `query`: `[N, T, I]`, `key` and `value`: `[1, n, I]` -> `[N, T, I]`
pub fn tokens_to_projected(
    query: Tensor<3>,
    [key, value]: [Tensor<3>; 2],
    heads: usize,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as SamOps>::tokens_to_projected(
        query.into_dispatch(),
        key.into_dispatch(),
        value.into_dispatch(),
        heads,
    ))
}

/// An image map attends to tokens and is added to the result, see [`SamOps::image_to_tokens`].
///
/// # Shapes
/// `map`: `[N, n, C]` or `[1, n, C]`, `position`: `[1, n, C]`, `key_value`: `[N, T, I]` each, `query` from C to
/// I, `out` from I to C -> `[N, n, C]`
pub fn image_to_tokens(
    [map, position]: [Tensor<3>; 2],
    [key, value]: [Tensor<3>; 2],
    query: Projection,
    out: Projection,
    heads: usize,
    arithmetic: Arithmetic,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as SamOps>::image_to_tokens(
        map.into_dispatch(),
        position.into_dispatch(),
        key.into_dispatch(),
        value.into_dispatch(),
        query.0.into_dispatch(),
        query.1.into_dispatch(),
        out.0.into_dispatch(),
        out.1.into_dispatch(),
        heads,
        arithmetic,
    ))
}

/// The upscaling of a mask decoder and its product with the mask tokens, see [`SamOps::mask_head`].
///
/// # Shapes
/// `map`: `[N, n, C]`, `first` from C to 4·C1, `norm`: `[C1]` each and epsilon, `second` from C1 to 4·C2, `tokens`:
/// `[N, K, C2]` -> `[N, K, 16·n]`, pixels nested in their cells
pub fn mask_head(
    map: Tensor<3>,
    first: Projection,
    (gamma, beta, epsilon): (Tensor<1>, Tensor<1>, f64),
    second: Projection,
    tokens: Tensor<3>,
    arithmetic: Arithmetic,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as SamOps>::mask_head(
        map.into_dispatch(),
        first.0.into_dispatch(),
        first.1.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        second.0.into_dispatch(),
        second.1.into_dispatch(),
        tokens.into_dispatch(),
        epsilon,
        arithmetic,
    ))
}

/// The upscaling of a mask decoder with finer maps and its product with the mask tokens, see [`SamOps::finer_head`].
///
/// # Shapes
/// `map`: `[N, g·g, C]`, `first` from C to 4·C1, `norm`: `[C1]` each and epsilon, `second` from C1 to 4·C2; of B images
/// `half`: `[B, 2·g, 2·g, C1]`, `quarter`: `[B, 4·g, 4·g, C2]`; `added`: `[N, 4·g, 4·g, C2]` or `[1, 1, 1, C2]`;
/// `tokens`: `[N, K, C2]`; the image of each object -> `[N, K, 4·g, 4·g]`
#[allow(
    clippy::too_many_arguments,
    reason = "an operation names its tensors one by one"
)]
pub fn finer_head(
    map: Tensor<3>,
    first: Projection,
    (gamma, beta, epsilon): (Tensor<1>, Tensor<1>, f64),
    second: Projection,
    [half, quarter, added]: [Tensor<4>; 3],
    tokens: Tensor<3>,
    image_of_object: &[usize],
    arithmetic: Arithmetic,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as SamOps>::finer_head(
        map.into_dispatch(),
        first.0.into_dispatch(),
        first.1.into_dispatch(),
        half.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        second.0.into_dispatch(),
        second.1.into_dispatch(),
        quarter.into_dispatch(),
        added.into_dispatch(),
        tokens.into_dispatch(),
        image_of_object.to_vec(),
        epsilon,
        arithmetic,
    ))
}

/// Losses of masks and the counts behind their overlap, see [`SamOps::mask_scores`].
///
/// # Shapes
/// `logits`, `target`: `[N, P]` -> `[N, 4]`: the weighted loss; pixels of the thresholded answer, of the target, and of both
pub fn mask_scores(logits: Tensor<2>, target: Tensor<2>, weights: MaskLossWeights) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as SamOps>::mask_scores(
        logits.into_dispatch(),
        target.into_dispatch(),
        weights,
    ))
}

/// Entry `of[i]` of the first axis for each i.
///
/// # Shapes
/// `[B, ..]` -> `[N, ..]`
///
/// # Panics
/// If there is no such entry.
pub fn select_rows<const D: usize>(x: Tensor<D>, of: &[usize]) -> Tensor<D> {
    let mut shape = x.shape();
    let rows = shape[0];
    if of.iter().copied().eq(0..rows) {
        return x;
    }
    let x = x.reshape([rows, shape.num_elements() / rows.max(1)]);
    let out = <Dispatch as SamOps>::select_rows(x.into_dispatch(), of.to_vec());
    shape[0] = of.len();
    Tensor::<2>::from_dispatch(out).reshape(shape)
}
