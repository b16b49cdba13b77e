//! Random numbers: a `ChaCha8` stream for drawing recipes, and counter-based streams for pixels.
//!
//! Drawing uses one stream per `(seed, index)`. Pixel noise uses `SplitMix64` (Steele et al., OOPSLA
//! 2014), seeded per row, with normal numbers from a tabulated inverse distribution function, so that
//! no transcendental function runs per pixel.

use std::sync::LazyLock;

use rand::rand_core::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Makes the random choices of one sample.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream of sample `index` of the data set `seed`.
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        let mut key = *b"________________synthfm sample  ";
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A sub-seed.
    pub(crate) fn seed(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / 16_777_216.0
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in a range.
    pub(crate) fn within(&mut self, [low, high]: [f32; 2]) -> f32 {
        self.uniform(low, high)
    }

    /// Uniform in the logarithm; `low > 0`.
    pub(crate) fn log_uniform(&mut self, low: f32, high: f32) -> f32 {
        libm::expf(self.uniform(libm::logf(low), libm::logf(high)))
    }

    /// Log-uniform in a range of positive numbers.
    pub(crate) fn log_within(&mut self, [low, high]: [f32; 2]) -> f32 {
        self.log_uniform(low, high)
    }

    /// Standard normal.
    pub(crate) fn normal(&mut self) -> f32 {
        NORMAL.at(self.0.next_u32())
    }

    /// An integer from `low` to `high`, both included.
    pub(crate) fn int(&mut self, low: u32, high: u32) -> u32 {
        let span = u64::from(high.max(low) - low) + 1;
        low + ((u64::from(self.0.next_u32()) * span) >> 32) as u32
    }

    /// An integer log-uniformly between two positive ones, both included.
    pub(crate) fn log_int(&mut self, [low, high]: [u32; 2]) -> u32 {
        let value = self.log_uniform(low as f32, high as f32 + 1.0);
        (value as u32).clamp(low, high)
    }

    /// True with probability `p`.
    pub(crate) fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// -1 or 1.
    pub(crate) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// An angle in `[0, 2 pi)`.
    pub(crate) fn angle(&mut self) -> f32 {
        self.uniform(0.0, std::f32::consts::TAU)
    }

    /// A position with probability proportional to its weight; 0 if all weights are 0.
    pub(crate) fn pick(&mut self, weights: &[f32]) -> usize {
        let total: f32 = weights.iter().sum();
        let mut left = self.unit() * total;
        for (position, &weight) in weights.iter().enumerate() {
            if left < weight {
                return position;
            }
            left -= weight;
        }
        weights.iter().position(|&weight| weight > 0.0).unwrap_or(0)
    }

    /// Puts the items in random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.int(0, last as u32) as usize);
        }
    }
}

/// The stream of one row of one random field.
pub(crate) struct RowRng(u64);

impl RowRng {
    pub(crate) fn new(seed: u32, row: usize) -> Self {
        let mut rng = Self((u64::from(seed) << 32) ^ row as u64);
        Self(rng.next())
    }

    /// 64 random bits.
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Fills a row with standard normal numbers.
    pub(crate) fn fill_normal(&mut self, row: &mut [f32]) {
        let table = &*NORMAL;
        for pair in row.chunks_mut(2) {
            let bits = self.next();
            pair[0] = table.at(bits as u32);
            if let Some(second) = pair.get_mut(1) {
                *second = table.at((bits >> 32) as u32);
            }
        }
    }
}

/// The inverse distribution function of the standard normal law, linear between 4096 quantiles and
/// scaled to unit variance; it reaches from -4 to 4.
pub(crate) struct NormalTable(Vec<f32>);

/// The one table.
pub(crate) static NORMAL: LazyLock<NormalTable> = LazyLock::new(NormalTable::new);

const CELLS: usize = 4096;

impl NormalTable {
    fn new() -> Self {
        let mut quantiles = vec![0.0; CELLS + 1];
        for k in CELLS / 2 + 1..CELLS {
            let upper = 1.0 - k as f64 / CELLS as f64;
            quantiles[k] = newton(quantiles[k - 1], upper);
        }
        // The last cell is unbounded: its line has the mean of the tail that it replaces.
        let edge = quantiles[CELLS - 1];
        quantiles[CELLS] = 2.0 * density(edge) * CELLS as f64 - edge;
        for k in 0..CELLS / 2 {
            quantiles[k] = -quantiles[CELLS - k];
        }
        let square =
            |pair: &[f64]| (pair[0] * pair[0] + pair[0] * pair[1] + pair[1] * pair[1]) / 3.0;
        let variance = quantiles.windows(2).map(square).sum::<f64>() / CELLS as f64;
        let scale = 1.0 / libm::sqrt(variance);
        Self(quantiles.iter().map(|&z| (z * scale) as f32).collect())
    }

    /// The normal number that belongs to 32 uniform bits.
    #[inline]
    pub(crate) fn at(&self, bits: u32) -> f32 {
        let cell = (bits >> 20) as usize;
        let share = (bits & 0xf_ffff) as f32 * (1.0 / 1_048_576.0);
        let (low, high) = (self.0[cell], self.0[cell + 1]);
        low + (high - low) * share
    }
}

/// The quantile whose upper tail is `upper`, by Newton steps from a nearby one.
fn newton(start: f64, upper: f64) -> f64 {
    let mut z = start;
    for _ in 0..8 {
        let tail = 0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2);
        z += (tail - upper) / density(z);
    }
    z
}

fn density(z: f64) -> f64 {
    libm::exp(-0.5 * z * z) / libm::sqrt(std::f64::consts::TAU)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_the_moments_of_the_law() {
        let mut row = vec![0.0; 1 << 20];
        RowRng::new(7, 3).fill_normal(&mut row);
        let moment = |power: i32| {
            row.iter().map(|&z| f64::from(z).powi(power)).sum::<f64>() / row.len() as f64
        };
        // Standard errors at 2^20 numbers: 0.001, 0.0014, 0.004, 0.01.
        assert!(moment(1).abs() < 0.004);
        assert!((moment(2) - 1.0).abs() < 0.006);
        assert!(moment(3).abs() < 0.016);
        assert!((moment(4) - 3.0).abs() < 0.05);
    }

    #[test]
    fn quantiles_are_those_of_the_law() {
        let at = |share: f64| NORMAL.at((share * 4_294_967_296.0) as u32);
        assert!((at(0.975) - 1.96).abs() < 2e-3);
        assert!((at(0.841_345) - 1.0).abs() < 2e-3);
        assert!(at(0.5).abs() < 1e-6);
    }

    #[test]
    fn rows_and_seeds_give_different_streams() {
        let first = |seed, row| RowRng::new(seed, row).next();
        assert_ne!(first(1, 2), first(2, 1));
        assert_ne!(first(1, 2), first(1, 3));
    }

    #[test]
    fn integers_cover_their_range() {
        let mut draw = Draw::new(1, 2);
        let mut seen = [0_u32; 4];
        for _ in 0..400 {
            seen[draw.int(3, 6) as usize - 3] += 1;
        }
        assert!(seen.iter().all(|&count| count > 60), "{seen:?}");
    }
}
