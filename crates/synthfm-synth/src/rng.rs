//! Random numbers: a `ChaCha8` stream for drawing recipes, and counter-based streams for pixels.
//!
//! Drawing uses one stream per `(seed, index)`. Pixel noise uses `SplitMix64` (Steele et al., OOPSLA
//! 2014), seeded per row and addressed by column, with normal numbers from an inverse distribution
//! function without branches, so that loops over pixels become vector instructions.

use rand::rand_core::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::simd_math;

/// Makes the random choices of one sample.
pub(crate) struct Draw(ChaCha8Rng);

/// A part of a sample with a stream of random choices of its own, beside the sample's main stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Branch {
    /// Plain Gaussian mixtures.
    Plain = 1,
    /// Heterogeneous insides.
    Clusters = 2,
    /// Targets from the picture.
    Segments = 3,
    /// Volumes.
    Volume = 4,
}

impl Draw {
    /// A stream beside the main one of the same sample.
    pub(crate) fn branch(seed: u64, index: u64, branch: Branch) -> Self {
        let mut main = Self::new(seed, index);
        main.0.set_stream(branch as u64);
        main
    }

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
        normals([self.0.next_u32()])[0]
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

/// The stream of one row of one random field: number k depends on seed, row and k alone.
#[derive(Clone, Copy)]
pub(crate) struct RowRng(u64);

/// The increment of `SplitMix64`.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Numbers that are made at once: enough to fill the widest vectors.
pub(crate) const LANES: usize = 16;

impl RowRng {
    pub(crate) fn new(seed: u32, row: usize) -> Self {
        Self(mix(
            ((u64::from(seed) << 32) ^ row as u64).wrapping_add(STEP)
        ))
    }

    /// The 64 random bits at a position of the stream.
    #[inline(always)]
    pub(crate) fn at(self, position: usize) -> u64 {
        mix(self
            .0
            .wrapping_add((position as u64 + 1).wrapping_mul(STEP)))
    }

    /// 32 random bits for each of sixteen lanes, the lower halves of eight numbers first.
    #[inline(always)]
    pub(crate) fn words(self, chunk: usize) -> [u32; LANES] {
        let bits: [u64; LANES / 2] = array(|k| self.at(chunk * (LANES / 2) + k));
        let mut words = [0; LANES];
        for k in 0..LANES / 2 {
            words[k] = bits[k] as u32;
            words[k + LANES / 2] = (bits[k] >> 32) as u32;
        }
        words
    }

    /// Fills a row with standard normal numbers.
    #[inline(always)]
    pub(crate) fn fill_normal(self, row: &mut [f32]) {
        let (chunks, rest) = row.as_chunks_mut::<LANES>();
        let whole = chunks.len();
        for (index, chunk) in chunks.iter_mut().enumerate() {
            *chunk = normals(self.words(index));
        }
        rest.copy_from_slice(&normals(self.words(whole))[..rest.len()]);
    }
}

/// The finaliser of `SplitMix64`.
#[inline(always)]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `std::array::from_fn`, inlined wherever it stands.
#[inline(always)]
fn array<T: Copy + Default, const N: usize>(of: impl Fn(usize) -> T) -> [T; N] {
    let mut values = [T::default(); N];
    for (k, value) in values.iter_mut().enumerate() {
        *value = of(k);
    }
    values
}

/// Where the approximation of the tail begins: 0.34 % of the numbers.
const TAIL: f32 = 5.0;

/// The standard normal numbers that belong to 32 uniform bits each: the law's inverse distribution
/// function after Giles (Approximating the erfinv function, 2011), to 2e-6 out to 5.2 standard
/// deviations and to 2e-3 out to the largest, 6.3.
#[inline(always)]
pub(crate) fn normals<const N: usize>(bits: [u32; N]) -> [f32; N] {
    // The upper bit is the sign; the others give P(|z| > result).
    let outside: [f32; N] =
        array(|k| ((bits[k] & 0x7fff_ffff) as i32 as f32 + 0.5) * (1.0 / 2_147_483_648.0));
    let w: [f32; N] = array(|k| -simd_math::ln(outside[k] * (2.0 - outside[k])));
    let mut shape: [f32; N] = array(|k| middle(w[k]));
    let mut any = false;
    for &w in &w {
        any |= w >= TAIL;
    }
    if any {
        for k in 0..N {
            shape[k] = if w[k] >= TAIL { tail(w[k]) } else { shape[k] };
        }
    }
    array(|k| {
        let z = (1.0 - outside[k]) * (std::f32::consts::SQRT_2 * shape[k]);
        f32::from_bits(z.to_bits() ^ (bits[k] & 0x8000_0000))
    })
}

/// `erfinv(x) / x` by `w = -ln(1 - x²) < 5`.
#[inline(always)]
fn middle(w: f32) -> f32 {
    let w = w - 2.5;
    let mut p = 2.810_226_4e-8;
    p = 3.432_739_4e-7 + p * w;
    p = -3.523_387_7e-6 + p * w;
    p = -4.391_506_5e-6 + p * w;
    p = 0.000_218_580_87 + p * w;
    p = -0.001_253_725 + p * w;
    p = -0.004_177_681_6 + p * w;
    p = 0.246_640_73 + p * w;
    1.501_409_4 + p * w
}

/// `erfinv(x) / x` by `w = -ln(1 - x²) >= 5`.
#[inline(always)]
fn tail(w: f32) -> f32 {
    let w = w.sqrt() - 3.0;
    let mut p = -0.000_200_214_26;
    p = 0.000_100_950_56 + p * w;
    p = 0.001_349_343_2 + p * w;
    p = -0.003_673_428_4 + p * w;
    p = 0.005_739_507_7 + p * w;
    p = -0.007_622_461_3 + p * w;
    p = 0.009_438_870_5 + p * w;
    p = 1.001_674 + p * w;
    2.832_976_8 + p * w
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
    #[expect(clippy::float_cmp, reason = "only the sign differs")]
    fn quantiles_are_those_of_the_law() {
        for k in 0..(1_u32 << 16) {
            // Bits from the middle of the law far into the tail.
            let bits = (1 << 31 | k << 15 | 7) >> (k % 24) & 0x7fff_ffff;
            let [z] = normals([bits]);
            let outside = (f64::from(bits) + 0.5) / 2_147_483_648.0;
            let z = f64::from(z);
            let got = libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2);
            let error = (got - outside) / (2.0 * density(z));
            let tolerance = if z < 5.2 { 2e-6 } else { 2e-3 };
            assert!(error.abs() < tolerance, "{bits:x} {z} {error}");
            assert_eq!(normals([bits | 1 << 31]), normals([bits]).map(|z| -z));
        }
    }

    fn density(z: f64) -> f64 {
        libm::exp(-0.5 * z * z) / libm::sqrt(std::f64::consts::TAU)
    }

    #[test]
    fn rows_and_seeds_give_different_streams() {
        let first = |seed, row| RowRng::new(seed, row).at(0);
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
