//! Rows of a matrix by their numbers, such as the images of objects, and the gradient.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::isa::{Isa, multiversion};
use super::map_blocks::add_to;
use super::{CHUNK, uninit};

/// Row `of[i]` of `x` for each i: `[B, n]` -> `[N, n]`.
///
/// # Panics
/// If `x` has no such row.
pub(crate) fn select_rows(isa: Isa, x: &[f32], n: usize, of: &[usize]) -> Vec<f32> {
    multiversion! {
        fn copy(isa: Isa, from: &[f32], to: &mut [MaybeUninit<f32>]) {
            for (to, from) in to.iter_mut().zip(from) {
                to.write(*from);
            }
        }
    }
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let rows = out.par_chunks_exact_mut(n.max(1)).zip(of);
        rows.for_each(|(out, &row)| {
            let from = &x[row * n..][..n];
            let parts = out.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
            parts.for_each(|(out, from)| copy(isa, from, out));
        });
    };
    #[expect(unsafe_code, reason = "output that is written once")]
    // SAFETY: there are as many rows of `n` values as `of` has, and all of each are written.
    unsafe {
        uninit::filled(n * of.len(), fill)
    }
}

/// Gradient of [`select_rows`] by its input of `rows` rows, `[N, n]` -> `[B, n]`; sums are taken in order.
pub(crate) fn select_rows_grad(
    isa: Isa,
    grad: &[f32],
    n: usize,
    of: &[usize],
    rows: usize,
) -> Vec<f32> {
    assert_eq!(grad.len(), n * of.len(), "grad is [N, n]");
    let mut sums = vec![0.0; rows * n];
    let all = sums.par_chunks_exact_mut(n.max(1)).enumerate();
    all.for_each(|(row, sums)| {
        let parts = sums.par_chunks_mut(CHUNK).enumerate();
        parts.for_each(|(part, sums)| {
            for (i, _) in of.iter().enumerate().filter(|&(_, &of)| of == row) {
                let from = i * n + part * CHUNK;
                add_to(isa, sums, &grad[from..from + sums.len()]);
            }
        });
    });
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_and_gradients_summed() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let of = [2, 0, 2];
        for isa in Isa::all() {
            let chosen = select_rows(isa, &x, 2, &of);
            assert_eq!(chosen, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
            // The first and last row chose the third, none the second.
            let grad = [1.0, 10.0, 2.0, 20.0, 4.0, 40.0];
            let by_x = select_rows_grad(isa, &grad, 2, &of, 3);
            assert_eq!(by_x, [2.0, 20.0, 0.0, 0.0, 5.0, 50.0]);
        }
    }

    #[test]
    fn rows_longer_than_a_task_are_whole() {
        let n = 2 * CHUNK + 3;
        let x: Vec<f32> = (0..2 * n).map(|i| i as f32).collect();
        let chosen = select_rows(Isa::best(), &x, n, &[1, 0]);
        assert!(chosen[..n] == x[n..] && chosen[n..] == x[..n]);
        let by_x = select_rows_grad(Isa::best(), &chosen, n, &[1, 0], 2);
        assert!(by_x == x);
    }
}
