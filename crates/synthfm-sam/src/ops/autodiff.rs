//! Gradients of the operations that have hand-written ones; the others take those of their composed bodies.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};

use super::{Activation, Arithmetic, SamOps, activate};

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

/// What the backward pass of a linear layer keeps: input and weight.
#[derive(Debug)]
struct AffineBackward;

impl<B: SamOps> Backward<B, 3> for AffineBackward {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let (x, weight) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, B::sum_of_rows(grad.clone()));
        }
        if let Some(node) = weight_node {
            grads.register::<B>(node.id, B::transposed_product(x, grad.clone()));
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::float_matmul(grad, B::float_transpose(weight)));
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

    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight, bias) = (
            x.into_primitive(),
            weight.into_primitive(),
            bias.into_primitive(),
        );
        let plain = Activation::None;
        let output = B::affine(x.clone(), weight.clone(), bias, plain, arithmetic);
        let output = match AffineBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x, weight), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        };
        activate::<Self>(output, activation)
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
