//! Tensor operations with hand-written CPU kernels and hand-written gradients.
//!
//! Each has a body composed of the tensor library's own operations, which every backend but the CPU
//! one uses and which the kernels are tested against, and a gradient of its own.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Shape, Tensor, TensorData};

use crate::kernels::{self, ConvShape};

/// SAM's hot operations. Tensors are channels-last; weights as the modules store them.
#[cfg_attr(feature = "gpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "gpu"), backend_extension(Flex, Autodiff))]
pub trait SamOps: Backend {
    /// `x`: `[B, H, W, C]`, `weight`: `[s, s, C, O]`, `bias`: `[O]` -> `[B, H, W, O]`; `ReLU` if asked.
    fn conv(
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

    /// Gradient of [`SamOps::conv`] (without `ReLU`) by its input; `grad`: `[B, H, W, O]`.
    fn conv_input_grad(
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

    /// Gradients of [`SamOps::conv`] by weight, flattened, and bias, one after the other.
    fn conv_param_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [s, _, c, o] = weight.shape().dims();
        let options = options(&weight.shape());
        let rows = x.shape().num_elements() / c;
        let by_bias = Self::float_reshape(grad.clone(), Shape::from([rows, o]));
        let by_bias = Self::float_reshape(Self::float_sum_dim(by_bias, 0), Shape::from([o]));
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
    fn channel_norm(
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

    /// Gradient of [`SamOps::channel_norm`] by its input.
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

    /// Gradients of [`SamOps::channel_norm`] by `gamma` and `beta`, one after the other: `[2·C]`.
    fn channel_norm_param_grad(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let c = x.shape()[1];
        let (centred, scale) = standardise::<Self>(x, epsilon);
        let by_gamma = Self::float_mul(Self::float_mul(centred, scale), grad.clone());
        let total = |t| Self::float_reshape(Self::float_sum_dim(t, 0), Shape::from([c]));
        Self::float_cat(vec![total(by_gamma), total(grad)], 0)
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

/// The values of a CPU tensor; the modules of this crate compute in `f32`.
fn values(tensor: &FloatTensor<Flex>) -> &[f32] {
    tensor.as_slice().expect("a contiguous f32 tensor")
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

fn conv_shape(x: &Shape, weight: &Shape) -> ConvShape {
    let ([batch, height, width, input], [side, _, _, output]) = (x.dims(), weight.dims());
    ConvShape {
        batch,
        height,
        width,
        input,
        output,
        side,
    }
}

impl SamOps for Flex {
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        let (x, weight, bias) = (
            x.to_contiguous(),
            weight.to_contiguous(),
            bias.to_contiguous(),
        );
        let s = conv_shape(&x.shape(), &weight.shape());
        let out = kernels::conv(s, values(&x), values(&weight), values(&bias), relu);
        tensor(out, [s.batch, s.height, s.width, s.output])
    }

    fn conv_input_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (weight, grad) = (weight.to_contiguous(), grad.to_contiguous());
        let s = conv_shape(&x.shape(), &weight.shape());
        tensor(
            kernels::conv_input_grad(s, values(&grad), values(&weight)),
            [s.batch, s.height, s.width, s.input],
        )
    }

    fn conv_param_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, grad) = (x.to_contiguous(), grad.to_contiguous());
        let out = kernels::conv_param_grad(
            conv_shape(&x.shape(), &weight.shape()),
            values(&x),
            values(&grad),
        );
        let len = out.len();
        tensor(out, [len])
    }

    fn channel_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (x, gamma, beta) = (
            x.to_contiguous(),
            gamma.to_contiguous(),
            beta.to_contiguous(),
        );
        let out = kernels::layer_norm(values(&x), values(&gamma), values(&beta), epsilon as f32);
        tensor::<2>(out, x.shape().dims())
    }

    fn channel_norm_input_grad(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (x, gamma, grad) = (
            x.to_contiguous(),
            gamma.to_contiguous(),
            grad.to_contiguous(),
        );
        let out = kernels::layer_norm_input_grad(
            values(&x),
            values(&gamma),
            values(&grad),
            epsilon as f32,
        );
        tensor::<2>(out, x.shape().dims())
    }

    fn channel_norm_param_grad(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (x, grad) = (x.to_contiguous(), grad.to_contiguous());
        let c = x.shape()[1];
        tensor(
            kernels::layer_norm_param_grad(values(&x), values(&grad), c, epsilon as f32),
            [2 * c],
        )
    }

    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        FloatTensor::<Self>::from_data(TensorData::new(kernels::gelu(values(&x)), x.shape()))
    }

    fn exact_gelu_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, grad) = (x.to_contiguous(), grad.to_contiguous());
        FloatTensor::<Self>::from_data(TensorData::new(
            kernels::gelu_grad(values(&x), values(&grad)),
            x.shape(),
        ))
    }
}

#[cfg(feature = "gpu")]
impl SamOps for burn::backend::wgpu::CubeBackend {}

/// What the backward pass of a convolution keeps: input, weight, and the output if a rectifier cut it.
#[derive(Debug)]
struct ConvBackward;

impl<B: SamOps> Backward<B, 3> for ConvBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let (x, weight, output) = ops.state;
        let mut grad = grads.consume::<B>(&ops.node);
        if let Some(output) = output {
            grad = B::relu_backward(output, grad);
        }
        if let Some(node) = x_node {
            grads.register::<B>(
                node.id,
                B::conv_input_grad(x.clone(), weight.clone(), grad.clone()),
            );
        }
        if weight_node.is_some() || bias_node.is_some() {
            let shape = weight.shape();
            let (weights, outputs) = (shape.num_elements(), shape[3]);
            let both = B::conv_param_grad(x, weight, grad);
            if let Some(node) = weight_node {
                let by_weight = B::float_slice(both.clone(), &[(0..weights).into()]);
                grads.register::<B>(node.id, B::float_reshape(by_weight, shape));
            }
            if let Some(node) = bias_node {
                grads.register::<B>(
                    node.id,
                    B::float_slice(both, &[(weights..weights + outputs).into()]),
                );
            }
        }
    }
}

/// What the backward pass of a layer normalisation keeps: input, gamma, epsilon.
#[derive(Debug)]
struct ChannelNormBackward;

impl<B: SamOps> Backward<B, 3> for ChannelNormBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, gamma_node, beta_node] = ops.parents;
        let (x, gamma, epsilon) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        if gamma_node.is_some() || beta_node.is_some() {
            let c = gamma.shape()[0];
            let both = B::channel_norm_param_grad(x.clone(), grad.clone(), epsilon);
            if let Some(node) = gamma_node {
                grads.register::<B>(node.id, B::float_slice(both.clone(), &[(0..c).into()]));
            }
            if let Some(node) = beta_node {
                grads.register::<B>(node.id, B::float_slice(both, &[(c..2 * c).into()]));
            }
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::channel_norm_input_grad(x, gamma, grad, epsilon));
        }
    }
}

#[derive(Debug)]
struct GeluBackward;

impl<B: SamOps> Backward<B, 1> for GeluBackward {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        if let Some(node) = node {
            grads.register::<B>(node.id, B::exact_gelu_grad(ops.state, grad));
        }
    }
}

impl<B: SamOps, C: CheckpointStrategy> SamOps for Autodiff<B, C> {
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let output = B::conv(x.clone(), weight.clone(), bias.into_primitive(), relu);
        match ConvBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((x, weight, relu.then(|| output.clone())), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn channel_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
        let output = B::channel_norm(x.clone(), gamma.clone(), beta.into_primitive(), epsilon);
        match ChannelNormBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x, gamma, epsilon), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let node = x.node();
        let x = x.into_primitive();
        let output = B::exact_gelu(x.clone());
        match GeluBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

/// Convolution with stride 1 and zero padding that keeps the size; `ReLU` if asked.
///
/// # Shapes
/// `x`: `[B, H, W, C]`, `weight`: `[s, s, C, O]` (s odd), `bias`: `[O]` -> `[B, H, W, O]`
pub fn conv(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, relu: bool) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as SamOps>::conv(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        relu,
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
    let c = shape[D - 1];
    let rows: Tensor<2> = x.reshape([shape.num_elements() / c.max(1), c]);
    let out = <Dispatch as SamOps>::channel_norm(
        rows.into_dispatch(),
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
