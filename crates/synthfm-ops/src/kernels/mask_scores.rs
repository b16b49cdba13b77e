//! Losses of masks and the counts behind their overlap, in one pass over logits and targets, and the gradient in another.
//!
//! Formulas and signs are those of [`crate::ops::mask_scores`]. Sums are taken in sixteen interleaved partial sums: always
//! the same.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::activation::exp_nonpositive;
use super::isa::{Isa, multiversion};
use super::norm::total;
use super::tile::LANES;
use super::uninit;

/// Weight of the foreground in the focal loss; the background has the rest.
const ALPHA: f32 = 0.25;
/// Scores of a mask: the loss, and the pixels of its answer, of its target and of both.
pub(crate) const SCORES: usize = 4;

/// Weights of the losses of a mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskLossWeights {
    /// Weight of the soft Dice loss.
    pub dice: f32,
    /// Weight of the sigmoid focal loss.
    pub focal: f32,
    /// Weight of the class-balanced cross entropy: foreground and background count the same.
    pub balanced: f32,
}

/// Logits and targets of N masks of P pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskScores<'a> {
    /// `[N, P]`
    pub(crate) logits: &'a [f32],
    /// `[N, P]`, 0 to 1.
    pub(crate) target: &'a [f32],
    /// P
    pub(crate) pixels: usize,
    pub(crate) weights: MaskLossWeights,
}

/// A pixel's probability, and `log(1 + e^-|x|)` of its logit.
#[inline(always)]
fn probability(x: f32) -> (f32, f32) {
    let e = exp_nonpositive(-x.abs());
    let r = 1.0 / (1.0 + e);
    let p = if x >= 0.0 { r } else { e * r };
    // log(1 + e) = 2 artanh(z); z is at most 1/3.
    let z = e / (2.0 + e);
    let s = z * z;
    let series = 1.0 / 11.0 + s * (1.0 / 13.0 + s * (1.0 / 15.0));
    let series = 1.0 / 5.0 + s * (1.0 / 7.0 + s * (1.0 / 9.0 + s * series));
    let series = 1.0 + s * (1.0 / 3.0 + s * series);
    // What is not a number stays so.
    (if x.is_nan() { x } else { p }, 2.0 * z * series)
}

/// Sums over the pixels of a mask.
#[derive(Debug, Clone, Copy)]
struct Sums {
    /// Σ p·t
    overlap: f32,
    /// Σ p
    predicted: f32,
    /// Σ t
    target: f32,
    /// Σ of the focal terms.
    focal: f32,
    /// Σ t·CE and Σ (1 - t)·CE, of foreground and background.
    foreground: f32,
    background: f32,
    /// Pixels of the answer, of the target, and of both, each thresholded.
    answered: f32,
    marked: f32,
    both: f32,
}

/// Partial sums of [`Sums`].
type Lanes = [[f32; LANES]; 9];

/// Adds a pixel to the sums of lane `i`.
#[inline(always)]
fn add(sums: &mut Lanes, i: usize, x: f32, t: f32) {
    let (p, tail) = probability(x);
    let cross_entropy = x.max(0.0) - x * t + tail;
    let miss = p + t - 2.0 * p * t;
    let alpha = t * (2.0 * ALPHA - 1.0) + (1.0 - ALPHA);
    let answered = if x > 0.0 { 1.0 } else { 0.0 };
    let marked = if t > 0.5 { 1.0 } else { 0.0 };
    sums[0][i] += p * t;
    sums[1][i] += p;
    sums[2][i] += t;
    sums[3][i] += alpha * miss * miss * cross_entropy;
    sums[4][i] += t * ((-x).max(0.0) + tail);
    sums[5][i] += (1.0 - t) * (x.max(0.0) + tail);
    sums[6][i] += answered;
    sums[7][i] += marked;
    sums[8][i] += answered * marked;
}

multiversion! {
    fn sums(isa: Isa, logits: &[f32], target: &[f32]) -> Lanes {
        let mut sums = [[0.0; LANES]; 9];
        let ((x, x_rest), (t, t_rest)) = (logits.as_chunks::<LANES>(), target.as_chunks::<LANES>());
        for (x, t) in x.iter().zip(t) {
            for i in 0..LANES {
                add(&mut sums, i, x[i], t[i]);
            }
        }
        for (i, (&x, &t)) in x_rest.iter().zip(t_rest).enumerate() {
            add(&mut sums, i, x, t);
        }
        sums
    }
}

/// Coefficients of a mask's gradient.
#[derive(Debug, Clone, Copy)]
struct Slopes {
    /// Coefficient of p·t in the Dice loss; the next is that of p.
    overlap: f32,
    predicted: f32,
    focal: f32,
    /// Weight of a pixel of the target; the next is that of one outside it.
    foreground: f32,
    background: f32,
}

/// The gradient at one pixel.
#[inline(always)]
fn slope(c: &Slopes, x: f32, t: f32) -> f32 {
    let (p, tail) = probability(x);
    let cross_entropy = x.max(0.0) - x * t + tail;
    let by_x = p * (1.0 - p);
    let miss = p + t - 2.0 * p * t;
    let alpha = t * (2.0 * ALPHA - 1.0) + (1.0 - ALPHA);
    let focal = alpha * miss * (2.0 * (1.0 - 2.0 * t) * by_x * cross_entropy + miss * (p - t));
    let balanced = c.foreground * t * (p - 1.0) + c.background * (1.0 - t) * p;
    (c.overlap * t + c.predicted) * by_x + c.focal * focal + balanced
}

multiversion! {
    fn write_slopes(isa: Isa, out: &mut [MaybeUninit<f32>], logits: &[f32], target: &[f32], c: &Slopes) {
        let whole = out.len() - out.len() % LANES;
        let (x, t) = (logits.as_chunks::<LANES>().0, target.as_chunks::<LANES>().0);
        for ((out, x), t) in out.chunks_exact_mut(LANES).zip(x).zip(t) {
            for i in 0..LANES {
                out[i].write(slope(c, x[i], t[i]));
            }
        }
        for i in whole..out.len() {
            out[i].write(slope(c, logits[i], target[i]));
        }
    }
}

impl MaskScores<'_> {
    fn masks(&self) -> usize {
        assert_eq!(self.logits.len(), self.target.len(), "target is as logits");
        assert!(
            self.pixels > 0 && self.logits.len().is_multiple_of(self.pixels),
            "logits are [N, P]"
        );
        self.logits.len() / self.pixels
    }

    fn sums(&self, isa: Isa, mask: usize) -> Sums {
        let pixels = mask * self.pixels..(mask + 1) * self.pixels;
        let sums = sums(isa, &self.logits[pixels.clone()], &self.target[pixels]);
        let [
            overlap,
            predicted,
            target,
            focal,
            foreground,
            background,
            answered,
            marked,
            both,
        ] = sums.map(total);
        Sums {
            overlap,
            predicted,
            target,
            focal,
            foreground,
            background,
            answered,
            marked,
            both,
        }
    }

    /// Pixels of the target and those outside it, at least 1 each.
    fn areas(&self, sums: &Sums) -> [f32; 2] {
        [sums.target, self.pixels as f32 - sums.target].map(|area| area.max(1.0))
    }

    /// # Shapes
    /// -> `[N, SCORES]`
    pub(crate) fn run(&self, isa: Isa) -> Vec<f32> {
        let MaskLossWeights {
            dice,
            focal,
            balanced,
        } = self.weights;
        let masks = (0..self.masks()).into_par_iter().map(|mask| {
            let sums = self.sums(isa, mask);
            let [inside, outside] = self.areas(&sums);
            let overlap = (2.0 * sums.overlap + 1.0) / (sums.predicted + sums.target + 1.0);
            let balance = 0.5 * (sums.foreground / inside + sums.background / outside);
            // A loss without weight counts nothing, even where it is not finite.
            let weighed = |weight: f32, loss: f32| if weight > 0.0 { weight * loss } else { 0.0 };
            let loss = weighed(dice, 1.0 - overlap)
                + weighed(focal, sums.focal / self.pixels as f32)
                + weighed(balanced, balance);
            [loss, sums.answered, sums.marked, sums.both]
        });
        masks.collect::<Vec<_>>().into_flattened()
    }

    /// Gradient by the logits, `[N, P]`, from that by the losses, `[N]`.
    pub(crate) fn grad(&self, isa: Isa, by_loss: &[f32]) -> Vec<f32> {
        assert_eq!(self.masks(), by_loss.len(), "a gradient for each mask");
        let fill = |out: &mut [MaybeUninit<f32>]| {
            out.par_chunks_exact_mut(self.pixels)
                .enumerate()
                .for_each(|(mask, out)| {
                    let pixels = mask * self.pixels..(mask + 1) * self.pixels;
                    let slopes = self.slopes(&self.sums(isa, mask), by_loss[mask]);
                    let (logits, target) = (&self.logits[pixels.clone()], &self.target[pixels]);
                    write_slopes(isa, out, logits, target, &slopes);
                });
        };
        #[expect(unsafe_code, reason = "output that is written once")]
        // SAFETY: the chunks are the masks, of which there are whole ones alone, and `write_slopes` writes every pixel.
        unsafe {
            uninit::filled(self.logits.len(), fill)
        }
    }

    fn slopes(&self, sums: &Sums, by_loss: f32) -> Slopes {
        let MaskLossWeights {
            dice,
            focal,
            balanced,
        } = self.weights;
        let [inside, outside] = self.areas(sums);
        let area = sums.predicted + sums.target + 1.0;
        Slopes {
            overlap: -2.0 / area * dice * by_loss,
            predicted: (2.0 * sums.overlap + 1.0) / (area * area) * dice * by_loss,
            focal: focal / self.pixels as f32 * by_loss,
            foreground: 0.5 / inside * balanced * by_loss,
            background: 0.5 / outside * balanced * by_loss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, worst};

    const WEIGHTS: MaskLossWeights = MaskLossWeights {
        dice: 1.0,
        focal: 5.0,
        balanced: 0.2,
    };

    /// The loss of one mask by its definition, in double precision.
    fn defined(logits: &[f64], target: &[f64], weights: MaskLossWeights) -> f64 {
        let (mut overlap, mut predicted, mut focal, mut fore, mut back) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (&x, &t) in logits.iter().zip(target) {
            let p = 1.0 / (1.0 + (-x).exp());
            let ce = -t * p.ln() - (1.0 - t) * (1.0 - p).ln();
            let p_t = p * t + (1.0 - p) * (1.0 - t);
            focal += (0.25 * t + 0.75 * (1.0 - t)) * (1.0 - p_t).powi(2) * ce;
            overlap += p * t;
            predicted += p;
            fore -= t * p.ln();
            back -= (1.0 - t) * (1.0 - p).ln();
        }
        let (pixels, area) = (target.len() as f64, target.iter().sum::<f64>());
        let dice = 1.0 - (2.0 * overlap + 1.0) / (predicted + area + 1.0);
        let balanced = 0.5 * (fore / area.max(1.0) + back / (pixels - area).max(1.0));
        f64::from(weights.dice) * dice
            + f64::from(weights.focal) * focal / pixels
            + f64::from(weights.balanced) * balanced
    }

    /// Logits up to ±12 and fractional targets of masks, the first of which is empty.
    fn masks(count: usize, pixels: usize) -> (Vec<f32>, Vec<f32>) {
        let logits = noise(count * pixels, 1).iter().map(|v| 12.0 * v).collect();
        let target = noise(count * pixels, 2).into_iter().enumerate();
        let target = target.map(|(i, v)| {
            if i < pixels {
                0.0
            } else {
                (3.0 * v).clamp(0.0, 1.0)
            }
        });
        (logits, target.collect())
    }

    fn doubles(values: &[f32]) -> Vec<f64> {
        values.iter().map(|&v| f64::from(v)).collect()
    }

    /// The loss of one mask, and its gradient by central differences times `by_loss`.
    fn differences(
        (logits, target): (&[f32], &[f32]),
        weights: MaskLossWeights,
        by_loss: f32,
    ) -> (f32, Vec<f32>) {
        let (mut x, t) = (doubles(logits), doubles(target));
        let loss = defined(&x, &t, weights) as f32;
        let slope = |i: usize| {
            let at = x[i];
            let mut shifted = |by: f64| {
                x[i] = at + by;
                defined(&x, &t, weights)
            };
            let slope = (shifted(1e-4) - shifted(-1e-4)) / 2e-4;
            x[i] = at;
            (slope * f64::from(by_loss)) as f32
        };
        (loss, (0..logits.len()).map(slope).collect())
    }

    fn part(dice: f32, focal: f32, balanced: f32) -> MaskLossWeights {
        MaskLossWeights {
            dice,
            focal,
            balanced,
        }
    }

    fn check(count: usize, pixels: usize, weights: MaskLossWeights) {
        let (logits, target) = masks(count, pixels);
        let by_loss: Vec<f32> = (0..count).map(|i| 1.0 - 0.3 * i as f32).collect();
        let pairs = logits.chunks(pixels).zip(target.chunks(pixels));
        let expected = pairs
            .zip(&by_loss)
            .map(|(mask, &by_loss)| differences(mask, weights, by_loss));
        let (losses, slopes): (Vec<f32>, Vec<Vec<f32>>) = expected.unzip();
        let scores = MaskScores {
            logits: &logits,
            target: &target,
            pixels,
            weights,
        };
        for isa in Isa::all() {
            let got: Vec<f32> = scores.run(isa).chunks(SCORES).map(|s| s[0]).collect();
            assert!(worst(&got, &losses) < 1e-5, "{isa:?} {got:?} {losses:?}");
            let error = worst(&scores.grad(isa, &by_loss), &slopes.concat());
            assert!(error < 1e-4, "{isa:?} {pixels} {weights:?}: off by {error}");
        }
    }

    #[test]
    fn losses_and_gradients_are_the_definition_with_every_instruction_set() {
        // Fewer pixels than a vector, and numbers that no vector divides.
        for (count, pixels) in [(2, 5), (3, 7 * 9), (1, 33 * 40)] {
            let parts = [
                part(1.0, 0.0, 0.0),
                part(0.0, 1.0, 0.0),
                part(0.0, 0.0, 1.0),
            ];
            for weights in parts.into_iter().chain([WEIGHTS]) {
                check(count, pixels, weights);
            }
        }
    }

    #[test]
    fn one_pixel_is_what_a_hand_computes() {
        // p = 1/2, CE = ln 2: Dice 1 - (2·0.5 + 1) / (0.5 + 1 + 1) = 0.2, focal 0.25·0.25·ln 2, balanced ln 2 / 2.
        let of = |weights| {
            let scores = MaskScores {
                logits: &[0.0],
                target: &[1.0],
                pixels: 1,
                weights,
            };
            scores.run(Isa::best())
        };
        let ln2 = std::f32::consts::LN_2;
        assert!((of(part(1.0, 0.0, 0.0))[0] - 0.2).abs() < 1e-6);
        assert!((of(part(0.0, 1.0, 0.0))[0] - 0.0625 * ln2).abs() < 1e-6);
        assert!((of(part(0.0, 0.0, 1.0))[0] - 0.5 * ln2).abs() < 1e-6);
        // A logit of 0 is no answer.
        assert_eq!(of(WEIGHTS)[1..], [0.0, 1.0, 0.0]);
    }

    #[test]
    fn counts_are_those_of_thresholded_masks() {
        let logits: Vec<f32> = (0..35).map(|i| i as f32 - 20.0).collect();
        let target: Vec<f32> = (0..35).map(|i| if i < 25 { 0.6 } else { 0.4 }).collect();
        let scores = MaskScores {
            logits: &logits,
            target: &target,
            pixels: 35,
            weights: WEIGHTS,
        };
        // Answered from 21 on, marked up to 24.
        assert_eq!(scores.run(Isa::best())[1..], [14.0, 25.0, 4.0]);
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let logits = [1.0, f32::NAN, 2.0];
        let scores = MaskScores {
            logits: &logits,
            target: &[1.0, 0.0, 1.0],
            pixels: 3,
            weights: part(1.0, 0.0, 0.0),
        };
        assert!(scores.run(Isa::best())[0].is_nan());
        assert!(scores.grad(Isa::best(), &[1.0]).iter().all(|g| g.is_nan()));
    }
}
