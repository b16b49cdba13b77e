//! Attention between tokens and an image map composed of the tensor library's own operations, which project
//! the map (`segment_anything/modeling/transformer.py`, `Attention`).

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::Shape;

use super::{Arithmetic, product};

/// See [`super::SamOps::tokens_to_image`]; `weights`: key, value and their biases.
pub(super) fn tokens_to_image<B: Backend>(
    query: FloatTensor<B>,
    map: FloatTensor<B>,
    position: FloatTensor<B>,
    weights: [FloatTensor<B>; 4],
    heads: usize,
    arithmetic: Arithmetic,
) -> FloatTensor<B> {
    let [key_weight, key_bias, value_weight, value_bias] = weights;
    let key = B::float_add(map.clone(), position);
    let key = project::<B>(key, key_weight, key_bias, arithmetic);
    let value = project::<B>(map, value_weight, value_bias, arithmetic);
    attend::<B>(query, key, value, heads)
}

/// See [`super::SamOps::image_to_tokens`]; `weights`: query, its bias, output, its bias.
pub(super) fn image_to_tokens<B: Backend>(
    map: FloatTensor<B>,
    position: FloatTensor<B>,
    [key, value]: [FloatTensor<B>; 2],
    weights: [FloatTensor<B>; 4],
    heads: usize,
    arithmetic: Arithmetic,
) -> FloatTensor<B> {
    let [query_weight, query_bias, out_weight, out_bias] = weights;
    let query = project::<B>(
        B::float_add(map.clone(), position),
        query_weight,
        query_bias,
        arithmetic,
    );
    let attended = attend::<B>(query, key, value, heads);
    B::float_add(
        map,
        project::<B>(attended, out_weight, out_bias, arithmetic),
    )
}

/// `[N, n, K] · [K, M] + [M]`
fn project<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    arithmetic: Arithmetic,
) -> FloatTensor<B> {
    let ([objects, n, k], [_, m]) = (x.shape().dims(), weight.shape().dims());
    let x = B::float_reshape(x, Shape::from([objects * n, k]));
    let out = B::float_add(
        product::<B>(x, weight, arithmetic),
        B::float_reshape(bias, Shape::from([1, m])),
    );
    B::float_reshape(out, Shape::from([objects, n, m]))
}

/// `[N, Q, I]`, `[N, K, I]`, `[N, K, I]` -> `[N, Q, I]`; N may be 1 on one side.
pub(super) fn attend<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    heads: usize,
) -> FloatTensor<B> {
    // [N, T, heads d] -> [N, heads, T, d]
    let split = |x: FloatTensor<B>| {
        let [objects, tokens, inner] = x.shape().dims();
        let x = B::float_reshape(x, Shape::from([objects, tokens, heads, inner / heads]));
        B::float_swap_dims(x, 1, 2)
    };
    let (q, k, v) = (split(query), split(key), split(value));
    let scale = (q.shape()[3] as f64).powf(-0.5);
    let scores = B::float_matmul(
        B::float_mul_scalar(q, scale.into()),
        B::float_swap_dims(k, 2, 3),
    );
    let attended = B::float_swap_dims(B::float_matmul(B::softmax(scores, 3), v), 1, 2);
    let [objects, tokens, _, d] = attended.shape().dims();
    B::float_reshape(attended, Shape::from([objects, tokens, heads * d]))
}
