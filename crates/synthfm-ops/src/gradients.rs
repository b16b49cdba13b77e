//! Gradients of the operations, as the backward passes of [`super::autodiff`] ask for them: composed bodies, which the
//! CPU's kernels replace.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};

use super::{Arithmetic, SamOps, Sampling, attention, product};

/// Gradients of [`SamOps`]. Where `output` is given, it is the operation's result and a rectifier made it: the gradient
/// is zero where that is.
pub trait SamGradients: SamOps {
    /// By the input of [`SamOps::conv`]; `grad` and `output` are as its result -> as `x`.
    fn conv_input_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        output: Option<FloatTensor<Self>>,
        sampling: Sampling,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let _ = arithmetic;
        let grad = sampling.convolved::<Self>(cut::<Self>(grad, output));
        let (x, weight) = (sampling.gathered::<Self>(x), sampling.flat::<Self>(weight));
        sampling.scattered::<Self>(Self::plain_conv_input_grad(x, weight, grad))
    }

    /// By weight and bias of [`SamOps::conv`], see [`Self::conv_input_grad`].
    fn conv_param_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        output: Option<FloatTensor<Self>>,
        sampling: Sampling,
        arithmetic: Arithmetic,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _ = arithmetic;
        let shape = weight.shape();
        let (weights, outputs) = (shape.num_elements(), shape[3]);
        let grad = sampling.convolved::<Self>(cut::<Self>(grad, output));
        let (x, weight) = (sampling.gathered::<Self>(x), sampling.flat::<Self>(weight));
        let both = Self::plain_conv_param_grad(x, weight, grad);
        let by_weight = Self::float_slice(both.clone(), &[(0..weights).into()]);
        let by_bias = Self::float_slice(both, &[(weights..weights + outputs).into()]);
        (Self::float_reshape(by_weight, shape), by_bias)
    }

    /// By the input of [`SamOps::affine`] without GELU; `grad`, `output`: `[M, N]`, `weight`: `[K, N]` -> `[M, K]`.
    fn affine_input_grad(
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        output: Option<FloatTensor<Self>>,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let grad = cut::<Self>(grad, output);
        product::<Self>(grad, Self::float_transpose(weight), arithmetic)
    }

    /// By weight and bias of [`SamOps::affine`] without GELU; `x`: `[M, K]`, `grad`, `output`: `[M, N]` -> `[K, N]` and
    /// `[N]`.
    fn affine_param_grad(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        output: Option<FloatTensor<Self>>,
        arithmetic: Arithmetic,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _ = arithmetic;
        let grad = cut::<Self>(grad, output);
        let by_weight = Self::transposed_product(x, grad.clone());
        (by_weight, Self::sum_of_rows(grad))
    }

    /// By input, gamma and beta of [`SamOps::fused_layer_norm`]; `x`, `grad`: `[M, C]` -> `[M, C]`, `[C]` and `[C]`.
    fn channel_norm_grads(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> [FloatTensor<Self>; 3] {
        let c = gamma.shape()[0];
        let both = Self::channel_norm_param_grad(x.clone(), grad.clone(), epsilon);
        let by_gamma = Self::float_slice(both.clone(), &[(0..c).into()]);
        let by_beta = Self::float_slice(both, &[(c..2 * c).into()]);
        let by_x = Self::channel_norm_input_grad(x, gamma, grad, epsilon);
        [by_x, by_gamma, by_beta]
    }

    /// By the input of [`SamOps::self_attention`]; `grad`: `[B, n, C]` -> `[B, n, 3·C]`.
    fn self_attention_grad(
        qkv: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        heads: usize,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        attention::among_tokens_grad::<Self>(qkv, grad, heads, arithmetic)
    }
}

/// The gradient where a rectifier let its input through, if there was one; `output` is the rectifier's.
fn cut<B: Backend>(grad: FloatTensor<B>, output: Option<FloatTensor<B>>) -> FloatTensor<B> {
    match output {
        Some(output) => B::relu_backward(output, grad),
        None => grad,
    }
}
