//! Changes of a map's resolution around a convolution, composed of the tensor library's own operations.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::Shape;

/// How the pixels of a convolution's result lie to those of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// A pixel for each pixel, with zero padding. `weight`: `[s, s, C, O]`, s odd.
    Same,
    /// A pixel for each 2 × 2 pixels of the input. `weight`: `[2, 2, C, O]`.
    Patches,
    /// Each pixel of the input becomes 2 × 2 pixels, row by row. `weight`: `[1, 1, C, 4·O]`, `bias`: `[4·O]`.
    Spread,
}

/// `[B, H, W, C]` -> `[B, H/2, W/2, 4·C]`
pub(super) fn to_depth<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [b, h, w, c] = x.shape().dims();
    let x = B::float_reshape(x, Shape::from([b, h / 2, 2, w / 2, 2, c]));
    let x = B::float_permute(x, &[0, 1, 3, 2, 4, 5]);
    B::float_reshape(x, Shape::from([b, h / 2, w / 2, 4 * c]))
}

/// `[B, H, W, 4·C]` -> `[B, 2·H, 2·W, C]`
pub(super) fn to_space<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [b, h, w, c] = x.shape().dims();
    let x = B::float_reshape(x, Shape::from([b, h, w, 2, 2, c / 4]));
    let x = B::float_permute(x, &[0, 1, 3, 2, 4, 5]);
    B::float_reshape(x, Shape::from([b, 2 * h, 2 * w, c / 4]))
}

impl Sampling {
    /// The input of the convolution that [`Self::convolved`] is the result of, and whose weight is [`Self::flat`].
    pub(super) fn gathered<B: Backend>(self, x: FloatTensor<B>) -> FloatTensor<B> {
        match self {
            Self::Patches => to_depth::<B>(x),
            Self::Same | Self::Spread => x,
        }
    }

    /// The gradient by the input from that by [`Self::gathered`].
    pub(super) fn scattered<B: Backend>(self, grad: FloatTensor<B>) -> FloatTensor<B> {
        match self {
            Self::Patches => to_space::<B>(grad),
            Self::Same | Self::Spread => grad,
        }
    }

    /// The map from the convolution's result.
    pub(super) fn placed<B: Backend>(self, out: FloatTensor<B>) -> FloatTensor<B> {
        match self {
            Self::Spread => to_space::<B>(out),
            Self::Same | Self::Patches => out,
        }
    }

    /// The convolution's result, or its gradient, from the map's.
    pub(super) fn convolved<B: Backend>(self, out: FloatTensor<B>) -> FloatTensor<B> {
        match self {
            Self::Spread => to_depth::<B>(out),
            Self::Same | Self::Patches => out,
        }
    }

    /// The weight of a convolution that keeps the size.
    pub(super) fn flat<B: Backend>(self, weight: FloatTensor<B>) -> FloatTensor<B> {
        let [s, _, c, o] = weight.shape().dims();
        match self {
            Self::Patches => B::float_reshape(weight, Shape::from([1, 1, s * s * c, o])),
            Self::Same | Self::Spread => weight,
        }
    }
}
