//! A random generator for one named thing (a structure of a case), the same on every machine.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The generator for `seed` and a path of names, such as data set, case and structure.
///
/// The key is the SHA-256 of the seed and of every name with its length, so that `["ab", "c"]` and `["a", "bc"]`
/// differ, and a structure's clicks do not depend on which other structures are evaluated.
pub fn seeded_rng(seed: u64, names: &[&str]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for name in names {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
    }
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// A standard normal number (Box and Muller 1958), by `libm` so that every machine draws the same.
pub fn normal(rng: &mut impl Rng) -> f64 {
    let u = 1.0 - rng.random::<f64>(); // (0, 1]: the logarithm stays finite
    let v = rng.random::<f64>();
    libm::sqrt(-2.0 * libm::log(u)) * libm::cos(2.0 * std::f64::consts::PI * v)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn every_part_of_the_path_counts() {
        let first = |seed, names: &[&str]| seeded_rng(seed, names).next_u64();
        let base = first(1, &["ab", "c"]);
        assert_eq!(base, first(1, &["ab", "c"]));
        for other in [
            first(2, &["ab", "c"]),
            first(1, &["a", "bc"]),
            first(1, &["abc"]),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn the_stream_is_fixed() {
        // SHA-256 and ChaCha8 are specified; another number here would change every published table.
        assert_eq!(seeded_rng(0, &[]).next_u64(), 5_365_756_809_105_173_090);
    }
}
