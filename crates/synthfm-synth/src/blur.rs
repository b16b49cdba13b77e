//! Gaussian blur of a plane, separable, with replicated edges.
//!
//! Narrow kernels are summed directly; wide ones are three box means whose variances add up to the
//! Gaussian's (Wells 1986), with fractional box ends so that any width is met.

/// A writable plane of `width` columns.
pub(crate) struct Plane<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) width: usize,
}

/// Blurs with the standard deviations `[vertical, horizontal]` in pixels; 0 leaves an axis alone.
pub(crate) fn gaussian(plane: &mut Plane<'_>, sigma_px: [f32; 2]) {
    if plane.data.is_empty() || plane.width == 0 {
        return;
    }
    let mut scratch = vec![0.0; plane.data.len()];
    for (axis, sigma) in [vertical as Pass, horizontal as Pass]
        .into_iter()
        .zip(sigma_px)
    {
        for kernel in kernels(sigma) {
            axis(plane.data, &mut scratch, plane.width, &kernel);
            plane.data.copy_from_slice(&scratch);
        }
    }
}

type Pass = fn(&[f32], &mut [f32], usize, &Kernel);

/// A symmetric kernel.
enum Kernel {
    /// Weights of the middle and of each pair of neighbours.
    Taps(Vec<f32>),
    /// A mean over `2 reach + 1` pixels and a share of one more on either side.
    Box { reach: usize, share: f32 },
}

/// Widest Gaussian that is summed directly.
const DIRECT_SIGMA: f32 = 2.5;

fn kernels(sigma: f32) -> Vec<Kernel> {
    if sigma < 0.05 {
        return Vec::new();
    }
    if sigma <= DIRECT_SIGMA {
        return vec![Kernel::Taps(taps(sigma))];
    }
    (0..3).map(|_| box_kernel(sigma * sigma / 3.0)).collect()
}

fn taps(sigma: f32) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as usize;
    let weight = |k: usize| libm::expf(-0.5 * (k as f32 / sigma) * (k as f32 / sigma));
    let mut taps: Vec<f32> = (0..=reach).map(weight).collect();
    let total = taps[0] + 2.0 * taps[1..].iter().sum::<f32>();
    for tap in &mut taps {
        *tap /= total;
    }
    taps
}

/// The box of a given variance: the largest whole reach below it, and the share that fills it up.
fn box_kernel(variance: f32) -> Kernel {
    let of = |reach: f32| reach * (reach + 1.0) / 3.0;
    let mut reach = 0;
    while of(reach as f32 + 1.0) <= variance {
        reach += 1;
    }
    // Variance with ends of weight a: (sum k^2 + 2 a (r+1)^2) / (2 r + 1 + 2 a), solved for a.
    let r = reach as f32;
    let squares = r * (r + 1.0) * (2.0 * r + 1.0) / 3.0;
    let ends = (r + 1.0) * (r + 1.0);
    let share = (variance * (2.0 * r + 1.0) - squares) / (2.0 * (ends - variance));
    Kernel::Box {
        reach,
        share: share.clamp(0.0, 1.0),
    }
}

fn vertical(from: &[f32], to: &mut [f32], width: usize, kernel: &Kernel) {
    let height = from.len() / width;
    let row = |r: isize| {
        let r = r.clamp(0, height as isize - 1) as usize;
        &from[r * width..(r + 1) * width]
    };
    match kernel {
        Kernel::Taps(taps) => {
            for (r, out) in to.chunks_exact_mut(width).enumerate() {
                let r = r as isize;
                scale_into(out, row(r), taps[0]);
                for (k, &tap) in taps.iter().enumerate().skip(1) {
                    add_pair(out, row(r - k as isize), row(r + k as isize), tap);
                }
            }
        }
        Kernel::Box { reach, share } => {
            let reach = *reach as isize;
            let mut sum = vec![0.0; width];
            (-reach..=reach).for_each(|r| add_pair(&mut sum, row(r), &[], 1.0));
            let norm = 1.0 / (2.0 * reach as f32 + 1.0 + 2.0 * share);
            for (r, out) in to.chunks_exact_mut(width).enumerate() {
                let r = r as isize;
                let (before, after) = (row(r - reach - 1), row(r + reach + 1));
                let leaving = row(r - reach);
                for c in 0..width {
                    out[c] = (sum[c] + share * (before[c] + after[c])) * norm;
                    sum[c] += after[c] - leaving[c];
                }
            }
        }
    }
}

fn horizontal(from: &[f32], to: &mut [f32], width: usize, kernel: &Kernel) {
    let reach = match kernel {
        Kernel::Taps(taps) => taps.len() - 1,
        Kernel::Box { reach, .. } => reach + 1,
    };
    let mut padded = vec![0.0; width + 2 * reach];
    for (row, out) in from.chunks_exact(width).zip(to.chunks_exact_mut(width)) {
        padded[..reach].fill(row[0]);
        padded[reach..reach + width].copy_from_slice(row);
        padded[reach + width..].fill(row[width - 1]);
        match kernel {
            Kernel::Taps(taps) => {
                scale_into(out, row, taps[0]);
                for (k, &tap) in taps.iter().enumerate().skip(1) {
                    add_pair(out, &padded[reach - k..], &padded[reach + k..], tap);
                }
            }
            Kernel::Box { reach, share } => box_row(&padded, out, *reach, *share),
        }
    }
}

/// `padded` has `reach + 1` pixels more than `out` on either side.
fn box_row(padded: &[f32], out: &mut [f32], reach: usize, share: f32) {
    let span = 2 * reach + 1;
    let norm = 1.0 / (span as f32 + 2.0 * share);
    let mut sum: f32 = padded[1..=span].iter().sum();
    for (c, value) in out.iter_mut().enumerate() {
        let after = padded[c + span + 1];
        *value = (sum + share * (padded[c] + after)) * norm;
        sum += after - padded[c + 1];
    }
}

fn scale_into(out: &mut [f32], row: &[f32], weight: f32) {
    for (value, &from) in out.iter_mut().zip(row) {
        *value = from * weight;
    }
}

/// Adds `weight (a + b)`; `b` may be empty.
fn add_pair(out: &mut [f32], a: &[f32], b: &[f32], weight: f32) {
    if b.is_empty() {
        for (value, &a) in out.iter_mut().zip(a) {
            *value += a * weight;
        }
        return;
    }
    for ((value, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *value += (a + b) * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blurs an impulse in the middle of a 101 x 141 plane.
    fn impulse(sigma_px: [f32; 2]) -> Vec<f32> {
        let (height, width) = (101, 141);
        let mut data = vec![0.0; height * width];
        data[50 * width + 70] = 1.0;
        gaussian(
            &mut Plane {
                data: &mut data,
                width,
            },
            sigma_px,
        );
        data
    }

    #[test]
    fn impulse_gets_the_variance_asked_for() {
        for sigma_px in [[0.6, 1.3], [2.5, 2.6], [4.0, 7.3], [9.0, 3.0]] {
            let data = impulse(sigma_px);
            let moment = |of: &dyn Fn(f32, f32) -> f32| -> f32 {
                let value = |(i, v): (usize, &f32)| {
                    v * of((i / 141) as f32 - 50.0, (i % 141) as f32 - 70.0)
                };
                data.iter().enumerate().map(value).sum()
            };
            assert!((moment(&|_, _| 1.0) - 1.0).abs() < 1e-3);
            // A kernel cut at three standard deviations has 1 to 3 % less variance.
            let (rows, cols) = (moment(&|r, _| r * r), moment(&|_, c| c * c));
            assert!(
                (rows / sigma_px[0].powi(2) - 1.0).abs() < 0.04,
                "{rows} {sigma_px:?}"
            );
            assert!(
                (cols / sigma_px[1].powi(2) - 1.0).abs() < 0.04,
                "{cols} {sigma_px:?}"
            );
        }
    }

    #[test]
    fn zero_sigma_is_identity_and_constants_stay() {
        let data: Vec<f32> = (0..35).map(|v| v as f32).collect();
        let mut same = data.clone();
        gaussian(
            &mut Plane {
                data: &mut same,
                width: 7,
            },
            [0.0, 0.0],
        );
        assert_eq!(data, same);
        for sigma in [1.0, 6.0] {
            let mut flat = vec![0.25; 35];
            gaussian(
                &mut Plane {
                    data: &mut flat,
                    width: 7,
                },
                [sigma, sigma],
            );
            assert!(flat.iter().all(|v| (v - 0.25).abs() < 1e-6));
        }
    }
}
