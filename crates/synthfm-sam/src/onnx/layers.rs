//! Layers that several parts of SAM share, as ONNX operators.
//!
//! Linear layers are products with the transposed weight and a sum, as `PyTorch`'s exporter writes them, so
//! that ONNX Runtime's fusions and quantisation recognise them; GELU is the exact one (erf).

use super::graph::{Conv, Graph, Value};
use crate::image_encoder::EPSILON;

impl Graph<'_> {
    /// `[.., in]` -> `[.., out]`
    pub(super) fn linear(&mut self, x: &Value, layer: &str) -> Value {
        let weight = self.transposed_weight(&format!("{layer}.weight"));
        let bias = self.weight(&format!("{layer}.bias"));
        let product = self.matmul(x, &weight);
        self.add(&product, &bias)
    }

    /// x / 2 · (1 + erf(x / √2))
    pub(super) fn gelu(&mut self, x: &Value) -> Value {
        let scaled = self.div_scalar(x, std::f32::consts::SQRT_2);
        let erf = self.unary("Erf", &scaled);
        let shifted = self.add_scalar(&erf, 1.0);
        let product = self.mul(x, &shifted);
        self.mul_scalar(&product, 0.5)
    }

    /// Meta's `LayerNorm2d`: `[B, C, h, w]`, normalised over the channels.
    pub(super) fn layer_norm_2d(&mut self, x: &Value, layer: &str, epsilon: f64) -> Value {
        let last = self.channels_last(x);
        let normal = self.layer_norm(&last, layer, epsilon);
        self.channels_first(&normal)
    }

    /// `[B, C, h, w]` -> `[B, h, w, C]`
    pub(super) fn channels_last(&mut self, x: &Value) -> Value {
        self.transpose(x, &[0, 2, 3, 1])
    }

    /// `[B, h, w, C]` -> `[B, C, h, w]`
    pub(super) fn channels_first(&mut self, x: &Value) -> Value {
        self.transpose(x, &[0, 3, 1, 2])
    }

    /// q kᵀ / √d for `rank` axes: `[.., n, d]`, `[.., m, d]` -> `[.., n, m]`
    pub(super) fn scores(&mut self, [q, k]: [&Value; 2], rank: i64, d: usize) -> Value {
        let mut order: Vec<i64> = (0..rank).collect();
        order.swap(rank as usize - 2, rank as usize - 1);
        let keys = self.transpose(k, &order);
        let q = self.mul_scalar(q, (d as f32).powf(-0.5));
        self.matmul(&q, &keys)
    }

    /// softmax(scores) v: `[.., n, m]`, `[.., m, d]` -> `[.., n, d]`
    pub(super) fn attend(&mut self, scores: &Value, v: &Value) -> Value {
        let weights = self.softmax(scores);
        self.matmul(&weights, v)
    }

    /// SAM's neck: two convolutions with a normalisation behind each.
    ///
    /// # Shapes
    /// `[1, D, g, g]` -> `[1, C, g, g]`
    pub(super) fn neck(&mut self, x: &Value) -> Value {
        let x = self.conv(x, "image_encoder.neck.0", Conv::POINTWISE);
        let x = self.layer_norm_2d(&x, "image_encoder.neck.1", EPSILON);
        let x = self.conv(&x, "image_encoder.neck.2", Conv::keeping(3));
        self.layer_norm_2d(&x, "image_encoder.neck.3", EPSILON)
    }

    /// A map cut into windows of `side` × `side` tokens, filled up with zeros.
    ///
    /// # Shapes
    /// `[1, g, g, C]` -> `[windows, side · side, C]`
    pub(super) fn windows(&mut self, x: &Value, form: Windows) -> Value {
        let Windows { side, channels, .. } = form;
        let (padding, count) = (form.padding(), form.count());
        let x = if padding > 0 {
            let pads = self.integers(&[0, 0, 0, 0, 0, padding, padding, 0]);
            self.pad(x, &pads)
        } else {
            x.clone()
        };
        let x = self.reshape(&x, &[count, side, count, side, channels]);
        let x = self.transpose(&x, &[0, 2, 1, 3, 4]);
        self.reshape(&x, &[count * count, side * side, channels])
    }

    /// The reverse of [`Self::windows`].
    pub(super) fn joined(&mut self, x: &Value, form: Windows) -> Value {
        let Windows {
            grid,
            side,
            channels,
        } = form;
        let count = form.count();
        let x = self.reshape(x, &[count, count, side, side, channels]);
        let x = self.transpose(&x, &[0, 2, 1, 3, 4]);
        let x = self.reshape(&x, &[1, count * side, count * side, channels]);
        if form.padding() == 0 {
            return x;
        }
        let (starts, ends) = (self.integers(&[0, 0]), self.integers(&[grid, grid]));
        self.slice(&x, [&starts, &ends], &[1, 2])
    }
}

/// How a map of `grid` × `grid` tokens falls into windows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    pub(super) grid: i64,
    pub(super) side: i64,
    pub(super) channels: i64,
}

impl Windows {
    /// Windows along a side of the map.
    pub(super) const fn count(self) -> i64 {
        (self.grid + self.side - 1) / self.side
    }

    /// Tokens that fill up the last window.
    const fn padding(self) -> i64 {
        self.count() * self.side - self.grid
    }
}
