//! Gradients of the operations that have hand-written ones; the others take those of their composed bodies.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, NodeGuard, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

use super::finer_head::{self, INPUTS};
use super::fused::FusedBackward;
use super::gradients::SamGradients;
use super::{
    Activation, Arithmetic, FusedGradients, GradientOf, MaskLossWeights, SamOps, Sampling,
    activate, mask_scores, select_rows, two_way,
};

/// What the backward pass of a convolution keeps; its parents are input, weight, bias and, if there is one, the
/// residual.
#[derive(Debug, Clone)]
struct ConvState<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    /// If a rectifier cut it.
    output: Option<FloatTensor<B>>,
    sampling: Sampling,
    arithmetic: Arithmetic,
}

#[derive(Debug)]
struct ConvBackward;

impl<B: SamGradients, const N: usize> Backward<B, N> for ConvBackward {
    type State = ConvState<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut parents = ops.parents.into_iter();
        let mut next = || parents.next().flatten();
        let [x_node, weight_node, bias_node, residual_node] = [next(), next(), next(), next()];
        let ConvState {
            x,
            weight,
            output,
            sampling,
            arithmetic,
        } = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        if let Some(node) = x_node {
            let by_x = B::conv_input_grad(
                x.clone(),
                weight.clone(),
                grad.clone(),
                output.clone(),
                sampling,
                arithmetic,
            );
            grads.register::<B>(node.id, by_x);
        }
        if weight_node.is_some() || bias_node.is_some() {
            let (by_weight, by_bias) =
                B::conv_param_grad(x, weight, grad.clone(), output, sampling, arithmetic);
            if let Some(node) = weight_node {
                grads.register::<B>(node.id, by_weight);
            }
            if let Some(node) = bias_node {
                grads.register::<B>(node.id, by_bias);
            }
        }
        if let Some(node) = residual_node {
            grads.register::<B>(node.id, grad);
        }
    }
}

/// What the backward pass of a layer normalisation keeps: input, gamma, epsilon.
#[derive(Debug)]
struct ChannelNormBackward;

impl<B: SamGradients> Backward<B, 3> for ChannelNormBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, gamma, epsilon) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let by_parent = B::channel_norm_grads(x, gamma, grad, epsilon);
        for (node, gradient) in ops.parents.into_iter().zip(by_parent) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

/// What the backward pass of a linear layer keeps: input, weight, and the output if a rectifier cut it.
#[derive(Debug)]
struct AffineBackward(Arithmetic);

impl<B: SamGradients> Backward<B, 3> for AffineBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let (x, weight, output) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        if weight_node.is_some() || bias_node.is_some() {
            let (by_weight, by_bias) =
                B::affine_param_grad(x, grad.clone(), output.clone(), self.0);
            if let Some(node) = weight_node {
                grads.register::<B>(node.id, by_weight);
            }
            if let Some(node) = bias_node {
                grads.register::<B>(node.id, by_bias);
            }
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::affine_input_grad(weight, grad, output, self.0));
        }
    }
}

/// What the backward pass of [`SamOps::self_attention`] keeps: its input.
#[derive(Debug)]
struct SelfAttentionBackward {
    heads: usize,
    arithmetic: Arithmetic,
}

impl<B: SamGradients> Backward<B, 1> for SelfAttentionBackward {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        if let Some(node) = node {
            let by_qkv = B::self_attention_grad(ops.state, grad, self.heads, self.arithmetic);
            grads.register::<B>(node.id, by_qkv);
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

impl<B: SamGradients + FusedGradients, C: CheckpointStrategy> SamOps for Autodiff<B, C> {
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sampling: Sampling,
        relu: bool,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let output = B::conv(
            x.clone(),
            weight.clone(),
            bias.into_primitive(),
            sampling,
            relu,
            arithmetic,
        );
        match ConvBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = ConvState {
                    x,
                    weight,
                    output: relu.then(|| output.clone()),
                    sampling,
                    arithmetic,
                };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn conv_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        sampling: Sampling,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node(), residual.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let output = B::conv_residual(
            x.clone(),
            weight.clone(),
            bias.into_primitive(),
            residual.into_primitive(),
            sampling,
            arithmetic,
        );
        match ConvBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = ConvState {
                    x,
                    weight,
                    output: None,
                    sampling,
                    arithmetic,
                };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
        let output = B::fused_layer_norm(x.clone(), gamma.clone(), beta.into_primitive(), epsilon);
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
        // The gradient of GELU needs its input.
        let (inner, outer) = match activation {
            Activation::Gelu => (Activation::None, activation),
            Activation::None | Activation::Relu => (activation, Activation::None),
        };
        let output = B::affine(x.clone(), weight.clone(), bias, inner, arithmetic);
        let output = match AffineBackward(arithmetic)
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let kept = (inner == Activation::Relu).then(|| output.clone());
                prep.finish((x, weight, kept), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        };
        activate::<Self>(output, outer)
    }

    fn self_attention(
        qkv: FloatTensor<Self>,
        heads: usize,
        arithmetic: Arithmetic,
    ) -> FloatTensor<Self> {
        let node = qkv.node();
        let qkv = qkv.into_primitive();
        let output = B::self_attention(qkv.clone(), heads, arithmetic);
        let backward = SelfAttentionBackward { heads, arithmetic };
        match backward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(qkv, output),
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
        let inputs = [
            &query,
            &map,
            &position,
            &key_weight,
            &key_bias,
            &value_weight,
            &value_bias,
        ];
        let recorded = (!position.is_tracked())
            .then(|| inputs.map(|input| input.clone().into_primitive()))
            .and_then(|inputs| B::tokens_to_image_recorded(inputs, heads, arithmetic));
        let Some((output, gradient)) = recorded else {
            let weights = [key_weight, key_bias, value_weight, value_bias];
            return two_way::tokens_to_image::<Self>(
                query, map, position, weights, heads, arithmetic,
            );
        };
        let nodes = [
            &query,
            &map,
            &key_weight,
            &key_bias,
            &value_weight,
            &value_bias,
        ];
        record::<B, C, 6>(nodes.map(<FloatTensor<Self>>::node), output, gradient)
    }

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
        let inputs = [
            &map,
            &position,
            &key,
            &value,
            &query_weight,
            &query_bias,
            &out_weight,
            &out_bias,
        ];
        let recorded = (!position.is_tracked())
            .then(|| inputs.map(|input| input.clone().into_primitive()))
            .and_then(|inputs| B::image_to_tokens_recorded(inputs, heads, arithmetic));
        let Some((output, gradient)) = recorded else {
            let weights = [query_weight, query_bias, out_weight, out_bias];
            return two_way::image_to_tokens::<Self>(
                map,
                position,
                [key, value],
                weights,
                heads,
                arithmetic,
            );
        };
        let nodes = [
            &map,
            &key,
            &value,
            &query_weight,
            &query_bias,
            &out_weight,
            &out_bias,
        ];
        record::<B, C, 7>(nodes.map(<FloatTensor<Self>>::node), output, gradient)
    }

    fn mask_scores(
        logits: FloatTensor<Self>,
        target: FloatTensor<Self>,
        weights: MaskLossWeights,
    ) -> FloatTensor<Self> {
        let inputs = [&logits, &target].map(|input| input.clone().into_primitive());
        match B::mask_scores_recorded(inputs, weights) {
            Some((output, gradient)) => record::<B, C, 1>([logits.node()], output, gradient),
            None => mask_scores::composed::<Self>(&logits, &target, weights),
        }
    }

    fn select_rows(x: FloatTensor<Self>, of: Vec<usize>) -> FloatTensor<Self> {
        let node = x.node();
        match B::select_rows_recorded(&x.clone().into_primitive(), &of) {
            Some((output, gradient)) => record::<B, C, 1>([node], output, gradient),
            None => select_rows::composed::<Self>(&x, &of),
        }
    }

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
        let nodes = inputs.each_ref().map(<FloatTensor<Self>>::node);
        let plain = inputs
            .each_ref()
            .map(|input| input.clone().into_primitive());
        match B::finer_head_recorded(plain, &image_of_object, epsilon, arithmetic) {
            Some((output, gradient)) => record::<B, C, INPUTS>(nodes, output, gradient),
            None => finer_head::composed::<Self>(inputs, &image_of_object, epsilon, arithmetic),
        }
    }
}

/// An output with its gradients by the inputs of the `nodes`.
fn record<B: FusedGradients, C: CheckpointStrategy, const N: usize>(
    nodes: [NodeGuard; N],
    output: FloatTensor<B>,
    gradient: GradientOf<B>,
) -> FloatTensor<Autodiff<B, C>> {
    match FusedBackward::<N>
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(gradient, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}
