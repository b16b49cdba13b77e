//! Depthwise convolution on channels-last maps: every channel with a kernel of its own.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::activation::gelu_of;
use super::isa::{Isa, multiversion};
use super::linear::Activation;
use super::uninit;

/// Channels whose sums stay in registers.
const LANES: usize = 16;
/// Neighbouring pixels that share the loads of the weights.
const PIXELS: usize = 4;

/// Convolution of each channel with zero padding: an output pixel for every `stride`-th of the input, bias and
/// nonlinearity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Depthwise<'a> {
    /// `[B, H, W, C]`
    pub(crate) x: &'a [f32],
    /// `[side, side, C]`, side odd.
    pub(crate) weight: &'a [f32],
    /// `[C]`
    pub(crate) bias: &'a [f32],
    /// B, H, W and C.
    pub(crate) shape: [usize; 4],
    pub(crate) side: usize,
    pub(crate) stride: usize,
    pub(crate) activation: Activation,
}

impl Depthwise<'_> {
    /// # Shapes
    /// -> `[B, ceil(H / stride), ceil(W / stride), C]`
    pub(crate) fn run(&self, isa: Isa) -> Vec<f32> {
        let [batch, height, width, channels] = self.shape;
        assert_eq!(
            self.x.len(),
            batch * height * width * channels,
            "x is [B, H, W, C]"
        );
        let weights = self.side * self.side * channels;
        assert_eq!(self.weight.len(), weights, "weight is [side, side, C]");
        assert_eq!(self.bias.len(), channels, "bias is [C]");
        let [out_height, out_width] = [height, width].map(|n| n.div_ceil(self.stride));
        let line = out_width * channels;
        let fill = |out: &mut [MaybeUninit<f32>]| {
            out.par_chunks_mut(line.max(1))
                .enumerate()
                .for_each(|(i, out)| {
                    let image = &self.x[i / out_height * height * width * channels..];
                    row(isa, self, image, i % out_height, out);
                });
        };
        #[expect(unsafe_code, reason = "output that is written once")]
        // SAFETY: `row` writes all pixels and channels of every row.
        unsafe {
            uninit::filled(batch * out_height * line, fill)
        }
    }

    /// Offsets inside the kernel that meet the map around `centre`, on an axis of `length` pixels.
    #[inline(always)]
    fn taps(&self, centre: usize, length: usize) -> Range<usize> {
        let reach = self.side / 2;
        reach.saturating_sub(centre)..self.side.min(length + reach - centre)
    }

    /// `N` pixels of output row `y` from column `x` on, in the channels from `c` on; `across`: the taps across.
    #[inline(always)]
    fn pixels<const N: usize>(
        &self,
        image: &[f32],
        [y, x, c]: [usize; 3],
        across: Range<usize>,
        out: &mut [MaybeUninit<f32>],
    ) {
        let [_, height, width, channels] = self.shape;
        let reach = self.side / 2;
        let lanes = LANES.min(channels - c);
        let mut sums = [[0.0_f32; LANES]; N];
        for sum in &mut sums {
            sum[..lanes].copy_from_slice(&self.bias[c..c + lanes]);
        }
        for dy in self.taps(y * self.stride, height) {
            let line = (y * self.stride + dy - reach) * width;
            for dx in across.clone() {
                let weight = &self.weight[(dy * self.side + dx) * channels + c..];
                for (p, sum) in sums.iter_mut().enumerate() {
                    let at = line + (x + p) * self.stride + dx - reach;
                    let x = &image[at * channels + c..];
                    // A constant number of lanes becomes vector instructions.
                    if lanes == LANES {
                        for i in 0..LANES {
                            sum[i] += x[..LANES][i] * weight[..LANES][i];
                        }
                    } else {
                        for i in 0..lanes {
                            sum[i] += x[i] * weight[i];
                        }
                    }
                }
            }
        }
        for (p, mut sum) in sums.into_iter().enumerate() {
            match self.activation {
                Activation::None => {}
                Activation::Relu => sum = sum.map(|v| v.max(0.0)),
                Activation::Gelu => {
                    for v in &mut sum {
                        *v = gelu_of(*v);
                    }
                }
            }
            let out = &mut out[(x + p) * channels + c..][..lanes];
            for (out, v) in out.iter_mut().zip(sum) {
                out.write(v);
            }
        }
    }
}

multiversion! {
    /// Writes output row `y` of an image.
    fn row(isa: Isa, conv: &Depthwise<'_>, image: &[f32], y: usize, out: &mut [MaybeUninit<f32>]) {
        let [_, _, width, channels] = conv.shape;
        let columns = out.len() / channels;
        let whole = 0..conv.side;
        for c in (0..channels).step_by(LANES) {
            let mut x = 0;
            while x < columns {
                let last = (x + PIXELS - 1).min(columns - 1);
                let inside = [x, last].map(|x| conv.taps(x * conv.stride, width) == whole);
                if x + PIXELS <= columns && inside == [true; 2] {
                    conv.pixels::<PIXELS>(image, [y, x, c], whole.clone(), out);
                    x += PIXELS;
                } else {
                    conv.pixels::<1>(image, [y, x, c], conv.taps(x * conv.stride, width), out);
                    x += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, worst};

    /// By the definition, in double precision.
    fn plain(conv: &Depthwise<'_>) -> Vec<f32> {
        let [batch, height, width, channels] = conv.shape;
        let mut out = Vec::new();
        let steps = |length: usize| (0..length).step_by(conv.stride);
        for b in 0..batch {
            for (y, x) in steps(height).flat_map(|y| steps(width).map(move |x| (y, x))) {
                for c in 0..channels {
                    let mut sum = f64::from(conv.bias[c]);
                    for (dy, dx) in (0..conv.side).flat_map(|y| (0..conv.side).map(move |x| (y, x)))
                    {
                        let place = |at: usize, d: usize, length: usize| {
                            (at + d).checked_sub(conv.side / 2).filter(|&v| v < length)
                        };
                        if let (Some(y), Some(x)) = (place(y, dy, height), place(x, dx, width)) {
                            let value = conv.x[((b * height + y) * width + x) * channels + c];
                            let weight = conv.weight[(dy * conv.side + dx) * channels + c];
                            sum += f64::from(value) * f64::from(weight);
                        }
                    }
                    let v = sum as f32;
                    out.push(match conv.activation {
                        Activation::None => v,
                        Activation::Relu => v.max(0.0),
                        Activation::Gelu => gelu_of(v),
                    });
                }
            }
        }
        out
    }

    #[test]
    fn every_shape_is_the_definition_with_every_instruction_set() {
        // Maps smaller than the kernel, odd sizes, channels that are no whole number of vectors.
        let cases = [
            ([1, 1, 1, 1], 3, 1),
            ([2, 5, 9, 17], 3, 1),
            ([1, 2, 3, 16], 5, 1),
            ([2, 7, 14, 33], 3, 2),
            ([1, 12, 11, 32], 5, 2),
        ];
        for (shape @ [b, h, w, c], side, stride) in cases {
            let (x, weight, bias) = (
                noise(b * h * w * c, 1),
                noise(side * side * c, 2),
                noise(c, 3),
            );
            for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
                let conv = Depthwise {
                    x: &x,
                    weight: &weight,
                    bias: &bias,
                    shape,
                    side,
                    stride,
                    activation,
                };
                let expected = plain(&conv);
                for isa in Isa::all() {
                    let error = worst(&conv.run(isa), &expected);
                    assert!(
                        error < 1e-6,
                        "{isa:?} {shape:?} {side} {stride} {activation:?}: {error}"
                    );
                }
            }
        }
    }
}
