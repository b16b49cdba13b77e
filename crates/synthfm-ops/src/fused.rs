//! Operations whose gradients are kernels of their own where a backend has them.

use std::fmt;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::autodiff::{
    checkpoint::base::Checkpointer,
    grads::Gradients,
    ops::{Backward, Ops},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};

use super::flex::{image_keys, tensor, values};
use super::{Arithmetic, MaskLossWeights, SamOps, finer_head, mask_scores, select_rows};
use crate::kernels::{Isa, MapToTokens, TokensToMap};

/// Gradients of an operation by its inputs, from the gradient of its output.
pub struct GradientOf<B: Backend>(Arc<dyn Fn(FloatTensor<B>) -> Vec<FloatTensor<B>> + Send + Sync>);

impl<B: Backend> GradientOf<B> {
    pub(super) fn new(
        f: impl Fn(FloatTensor<B>) -> Vec<FloatTensor<B>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(f))
    }
}

impl<B: Backend> Clone for GradientOf<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> fmt::Debug for GradientOf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GradientOf")
    }
}

/// An operation's output and how its gradients are computed.
pub type Recorded<B> = (FloatTensor<B>, GradientOf<B>);

/// Operations with fused gradients; `None` where a backend has none, so that those of the composed body serve.
pub trait FusedGradients: SamOps {
    /// [`SamOps::tokens_to_image`] of its tensors in order. Gradients: of the query, the map, and both layers, in that
    /// order; none of the position code.
    fn tokens_to_image_recorded(
        inputs: [FloatTensor<Self>; 7],
        heads: usize,
        arithmetic: Arithmetic,
    ) -> Option<Recorded<Self>> {
        let _ = (inputs, heads, arithmetic);
        None
    }

    /// [`SamOps::image_to_tokens`] of its tensors in order. Gradients: of the map, key, value, and both layers, in that
    /// order; none of the position code.
    fn image_to_tokens_recorded(
        inputs: [FloatTensor<Self>; 8],
        heads: usize,
        arithmetic: Arithmetic,
    ) -> Option<Recorded<Self>> {
        let _ = (inputs, heads, arithmetic);
        None
    }

    /// [`SamOps::finer_head`] of its tensors in order. Gradients: of all of them, in that order.
    fn finer_head_recorded(
        inputs: [FloatTensor<Self>; 11],
        image_of_object: &[usize],
        epsilon: f64,
        arithmetic: Arithmetic,
    ) -> Option<Recorded<Self>> {
        let _ = (inputs, image_of_object, epsilon, arithmetic);
        None
    }

    /// [`SamOps::mask_scores`] of its tensors in order. Gradient: of the logits.
    fn mask_scores_recorded(
        inputs: [FloatTensor<Self>; 2],
        weights: MaskLossWeights,
    ) -> Option<Recorded<Self>> {
        let _ = (inputs, weights);
        None
    }

    /// [`SamOps::select_rows`], with its gradient.
    fn select_rows_recorded(x: &FloatTensor<Self>, of: &[usize]) -> Option<Recorded<Self>> {
        let _ = (x, of);
        None
    }
}

#[cfg(feature = "gpu")]
impl FusedGradients for burn_cubecl::CubeBackend {}

impl FusedGradients for Flex {
    fn tokens_to_image_recorded(
        inputs: [FloatTensor<Self>; 7],
        heads: usize,
        arithmetic: Arithmetic,
    ) -> Option<Recorded<Self>> {
        let inputs = inputs.map(|t| t.to_contiguous());
        let (out, projected) = tokens_to_map(&inputs, heads).forward(Isa::best(), arithmetic);
        let out = tensor::<3>(out, inputs[0].shape().dims());
        let gradient = GradientOf::new(move |grad: FloatTensor<Self>| {
            let (attention, grad) = (tokens_to_map(&inputs, heads), grad.to_contiguous());
            let by = attention.backward(Isa::best(), arithmetic, &projected, values(&grad));
            let [[key, key_bias], [value, value_bias]] = [by.key, by.value];
            let by = [by.query, by.map, key, key_bias, value, value_bias];
            as_shaped(by, &inputs, [0, 1, 3, 4, 5, 6])
        });
        Some((out, gradient))
    }

    fn image_to_tokens_recorded(
        inputs: [FloatTensor<Self>; 8],
        heads: usize,
        arithmetic: Arithmetic,
    ) -> Option<Recorded<Self>> {
        let inputs = inputs.map(|t| t.to_contiguous());
        let (out, queries) = map_to_tokens(&inputs, heads).forward(Isa::best(), arithmetic);
        let ([objects, _, _], [_, n, c]) = (inputs[2].shape().dims(), inputs[0].shape().dims());
        let gradient = GradientOf::new(move |grad: FloatTensor<Self>| {
            let (attention, grad) = (map_to_tokens(&inputs, heads), grad.to_contiguous());
            let by = attention.backward(Isa::best(), arithmetic, &queries, values(&grad));
            let [[query, query_bias], [out, out_bias]] = [by.query, by.out];
            let by = [by.map, by.key, by.value, query, query_bias, out, out_bias];
            as_shaped(by, &inputs, [0, 2, 3, 4, 5, 6, 7])
        });
        Some((tensor(out, [objects, n, c]), gradient))
    }

    fn finer_head_recorded(
        inputs: [FloatTensor<Self>; 11],
        image_of_object: &[usize],
        epsilon: f64,
        arithmetic: Arithmetic,
    ) -> Option<Recorded<Self>> {
        let of = image_of_object.to_vec();
        Some(finer_head::recorded(inputs, of, epsilon, arithmetic))
    }

    fn mask_scores_recorded(
        inputs: [FloatTensor<Self>; 2],
        weights: MaskLossWeights,
    ) -> Option<Recorded<Self>> {
        Some(mask_scores::recorded(inputs, weights))
    }

    fn select_rows_recorded(x: &FloatTensor<Self>, of: &[usize]) -> Option<Recorded<Self>> {
        Some(select_rows::recorded(x, of.to_vec()))
    }
}

/// Gradients as tensors of the shapes of the inputs that `of` names.
fn as_shaped<const N: usize>(
    gradients: [Vec<f32>; N],
    inputs: &[FloatTensor<Flex>],
    of: [usize; N],
) -> Vec<FloatTensor<Flex>> {
    let pairs = gradients.into_iter().zip(of);
    pairs
        .map(|(gradient, input)| super::flex::shaped(gradient, inputs[input].shape()))
        .collect()
}

/// See [`SamOps::tokens_to_image`] for the order of `inputs`, which are contiguous.
pub(super) fn tokens_to_map(inputs: &[FloatTensor<Flex>; 7], heads: usize) -> TokensToMap<'_> {
    let [query, map, position, key, key_bias, value, value_bias] = inputs;
    TokensToMap {
        query: values(query),
        image: image_keys(map, position),
        key: [values(key), values(key_bias)],
        value: [values(value), values(value_bias)],
        objects: query.shape()[0],
        heads,
    }
}

/// See [`SamOps::image_to_tokens`] for the order of `inputs`, which are contiguous.
pub(super) fn map_to_tokens(inputs: &[FloatTensor<Flex>; 8], heads: usize) -> MapToTokens<'_> {
    let [map, position, key, value, query, query_bias, out, out_bias] = inputs;
    MapToTokens {
        image: image_keys(map, position),
        key: values(key),
        value: values(value),
        query: [values(query), values(query_bias)],
        out: [values(out), values(out_bias)],
        objects: key.shape()[0],
        heads,
    }
}

/// The backward pass of an operation with `N` inputs that may have gradients.
#[derive(Debug)]
pub(super) struct FusedBackward<const N: usize>;

impl<B: SamOps, const N: usize> Backward<B, N> for FusedBackward<N> {
    type State = GradientOf<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        for (node, grad) in ops.parents.into_iter().zip(ops.state.0(grad)) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}
