//! The end of SAM's mask decoder (`output_upscaling` and the product with the mask tokens), a block of cells at a
//! time: upscaled maps, 24 MB for each object, are never written to memory.

use rayon::prelude::*;

use super::activation::gelu_of;
use super::isa::{Isa, multiversion};
use super::linear::{Activation, Arithmetic, Buffers, Linear, Panels, ROW_BLOCK};
use super::norm::{lane_dot, moments};
use super::tile::{Bf16Pair, Operand};

/// Pixels that one cell becomes in each of the two steps.
const STEP: usize = 4;

/// Two transposed convolutions with stride 2 as products, normalisation and GELU after the first, GELU after the
/// second; pixels nested in their cells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskHead<'a> {
    /// `[N, n, C]`
    pub(crate) map: &'a [f32],
    /// `[C, 4·C1]` and `[4·C1]`
    pub(crate) first: [&'a [f32]; 2],
    /// Scale and shift of the normalisation over C1 channels.
    pub(crate) norm: [&'a [f32]; 2],
    pub(crate) epsilon: f32,
    /// `[C1, 4·C2]` and `[4·C2]`
    pub(crate) second: [&'a [f32]; 2],
    /// `[N, K, C2]`: each mask's weights of the upscaled map's channels.
    pub(crate) masks: &'a [f32],
    /// N, n and K.
    pub(crate) size: [usize; 3],
}

impl MaskHead<'_> {
    /// # Shapes
    /// -> `[N, K, 16·n]`
    pub(crate) fn run(&self, isa: Isa, arithmetic: Arithmetic) -> Vec<f32> {
        match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.run_with::<f32>(isa),
            Arithmetic::Bf16 => self.run_with::<Bf16Pair>(isa),
        }
    }

    fn run_with<T: Operand>(&self, isa: Isa) -> Vec<f32> {
        let [objects, cells, masks] = self.size;
        let [_, c1, _] = self.channels();
        let panels = [self.first, self.second].map(|[weight, bias]| {
            Panels::<T>::pack(weight, weight.len() / bias.len().max(1), bias.len())
        });
        let per_object = cells.div_ceil(ROW_BLOCK);
        let blocks: Vec<Vec<f32>> = (0..objects * per_object)
            .into_par_iter()
            .map_init(
                || Workspace::<T>::new(ROW_BLOCK * STEP * c1),
                |workspace, i| {
                    let (object, first) = (i / per_object, i % per_object * ROW_BLOCK);
                    let range = first..cells.min(first + ROW_BLOCK);
                    self.block(isa, &panels, object, range, workspace)
                },
            )
            .collect();
        // [N, blocks, K, pixels] -> [N, K, blocks, pixels]
        let mut out = Vec::with_capacity(objects * masks * cells * STEP * STEP);
        for blocks in blocks.chunks(per_object.max(1)) {
            for mask in 0..masks {
                for block in blocks {
                    let pixels = block.len() / masks;
                    out.extend_from_slice(&block[mask * pixels..][..pixels]);
                }
            }
        }
        out
    }

    /// C, C1 and C2.
    fn channels(&self) -> [usize; 3] {
        let ([first, _], [_, bias]) = (self.first, self.second);
        let c1 = self.norm[0].len();
        [first.len() / (STEP * c1).max(1), c1, bias.len() / STEP]
    }

    /// A range of cells of one object: `[K, 16·cells]`.
    fn block<T: Operand>(
        &self,
        isa: Isa,
        [first, second]: &[Panels<'_, T>; 2],
        object: usize,
        range: std::ops::Range<usize>,
        workspace: &mut Workspace<T>,
    ) -> Vec<f32> {
        let [_, cells, masks] = self.size;
        let [c, c1, c2] = self.channels();
        let count = range.len();
        let Workspace {
            buffers,
            middle,
            upscaled,
        } = workspace;
        let x = &self.map[(object * cells + range.start) * c..][..count * c];
        let middle = layer(x, self.first, Activation::None).whole(isa, first, buffers, middle);
        norm_gelu(isa, middle, self.norm[0], self.norm[1], self.epsilon);

        let tokens = &self.masks[object * masks * c2..][..masks * c2];
        let mut out = vec![0.0; masks * count * STEP * STEP];
        // As many rows as a task packs at once.
        for (i, part) in middle.chunks(ROW_BLOCK * c1).enumerate() {
            let up = layer(part, self.second, Activation::Gelu);
            let up = up.whole(isa, second, buffers, upscaled);
            let from = i * ROW_BLOCK * STEP;
            for (token, out) in tokens
                .chunks_exact(c2)
                .zip(out.chunks_exact_mut(count * STEP * STEP))
            {
                dots(isa, up, token, &mut out[from..from + up.len() / c2]);
            }
        }
        out
    }
}

/// Memory of a task.
struct Workspace<T> {
    buffers: Buffers<T>,
    middle: Vec<f32>,
    upscaled: Vec<f32>,
}

impl<T: Operand> Workspace<T> {
    fn new(middle: usize) -> Self {
        Self {
            buffers: Buffers::default(),
            middle: Vec::with_capacity(middle),
            upscaled: Vec::new(),
        }
    }
}

/// A product whose weights are packed already.
fn layer<'a>(x: &'a [f32], [weight, bias]: [&'a [f32]; 2], activation: Activation) -> Linear<'a> {
    let n = bias.len();
    let k = weight.len() / n.max(1);
    Linear {
        x,
        offset: None,
        weight,
        bias,
        activation,
        residual: None,
        size: [x.len() / k.max(1), k, n],
    }
}

multiversion! {
    /// Normalisation of each row, then GELU.
    fn norm_gelu(isa: Isa, x: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
        for row in x.chunks_exact_mut(gamma.len()) {
            let (mean, scale) = moments(row, epsilon);
            for (v, (gamma, beta)) in row.iter_mut().zip(gamma.iter().zip(beta)) {
                *v = gelu_of((*v - mean) * scale * gamma + beta);
            }
        }
    }
}

multiversion! {
    /// Each row's product with `weights`.
    fn dots(isa: Isa, rows: &[f32], weights: &[f32], out: &mut [f32]) {
        for (out, row) in out.iter_mut().zip(rows.chunks_exact(weights.len())) {
            *out = lane_dot(row, weights, |v| v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, worst};

    /// `[rows, k] · [k, n] + bias` in double precision.
    fn project(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let (n, k) = (bias.len(), weight.len() / bias.len());
        let dot = |row: &[f32], j: usize| -> f64 {
            let terms = row.iter().zip(weight[j..].iter().step_by(n));
            terms.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
        };
        x.chunks_exact(k)
            .flat_map(|row| (0..n).map(move |j| (dot(row, j) + f64::from(bias[j])) as f32))
            .collect()
    }

    fn check([objects, cells, masks]: [usize; 3], [c, c1, c2]: [usize; 3]) {
        let map = noise(objects * cells * c, 1);
        let (first, first_bias) = (noise(c * 4 * c1, 2), noise(4 * c1, 3));
        let (gamma, beta) = (noise(c1, 4), noise(c1, 5));
        let (second, second_bias) = (noise(c1 * 4 * c2, 6), noise(4 * c2, 7));
        let tokens = noise(objects * masks * c2, 8);
        let head = MaskHead {
            map: &map,
            first: [&first, &first_bias],
            norm: [&gamma, &beta],
            epsilon: 1e-6,
            second: [&second, &second_bias],
            masks: &tokens,
            size: [objects, cells, masks],
        };
        let middle = project(&map, &first, &first_bias);
        let middle = crate::kernels::layer_norm(Isa::Portable, &middle, &gamma, &beta, 1e-6);
        let middle: Vec<f32> = middle.into_iter().map(gelu_of).collect();
        let up = project(&middle, &second, &second_bias);
        let up: Vec<f32> = up.into_iter().map(gelu_of).collect();
        let mut expected = Vec::new();
        for (map, tokens) in up
            .chunks_exact(16 * cells * c2)
            .zip(tokens.chunks_exact(masks * c2))
        {
            for token in tokens.chunks_exact(c2) {
                let dot = |row: &[f32]| row.iter().zip(token).map(|(a, b)| a * b).sum::<f32>();
                expected.extend(map.chunks_exact(c2).map(dot));
            }
        }
        for isa in Isa::all() {
            let error = worst(&head.run(isa, Arithmetic::F32), &expected);
            assert!(error < 1e-5, "{isa:?} {objects} {cells} {masks}: {error}");
            let error = worst(&head.run(isa, Arithmetic::Bf16), &expected);
            assert!(
                error < 5e-2,
                "bf16 {isa:?} {objects} {cells} {masks}: {error}"
            );
        }
    }

    #[test]
    fn blocks_of_cells_equal_the_definition() {
        check([1, 1, 1], [4, 2, 1]);
        // More cells than a block, not a multiple of it; widths that are no multiple of a vector.
        check([2, 131, 3], [20, 9, 5]);
        // SAM's proportions
        check([1, 250, 1], [64, 16, 8]);
    }
}
