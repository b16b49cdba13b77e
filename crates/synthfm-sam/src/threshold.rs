//! Where to cut a map of logits, so that the mask's Dice is the best to be expected.

/// Smallest and largest probability at which masks are cut.
const RANGE: [f64; 2] = [0.27, 0.5];
/// Logits are counted from minus this to this; beyond, pixels are certain.
const CERTAIN: f32 = 4.0;
/// Counts per unit of the logits.
const PER_UNIT: f32 = 32.0;
const BINS: usize = (2.0 * CERTAIN * PER_UNIT) as usize;

/// The logit above which pixels make the mask of the best expected Dice, if each pixel is inside with the probability that
/// the model gives it: half that Dice, as a probability (Lipton, Elkan and Naryanaswamy 2014). An unsure model's masks would
/// be too small at one half. Never above 0, nor below -1.
pub(crate) fn best_threshold(logits: &[f32]) -> f32 {
    let mut counts = [0_u32; BINS];
    for &logit in logits.iter().filter(|&&logit| logit > -CERTAIN) {
        let bin = ((logit + CERTAIN) * PER_UNIT) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    let lower_edge = |bin: usize| f64::from(bin as f32 / PER_UNIT - CERTAIN);
    let probability = |logit: f64| 1.0 / (1.0 + (-logit).exp());
    let half_a_bin = 0.5 / f64::from(PER_UNIT);
    let inside = |bin: usize| f64::from(counts[bin]) * probability(lower_edge(bin) + half_a_bin);
    let expected_area: f64 = (0..BINS).map(inside).sum();

    let (mut overlap, mut area, mut best_dice, mut best) = (0.0, 0.0, 0.0, 0.5);
    for bin in (0..BINS).rev().filter(|&bin| counts[bin] > 0) {
        overlap += inside(bin);
        area += f64::from(counts[bin]);
        let dice = 2.0 * overlap / (area + expected_area);
        if dice > best_dice {
            (best_dice, best) = (dice, probability(lower_edge(bin)));
        }
    }
    let cut = best.clamp(RANGE[0], RANGE[1]);
    (cut / (1.0 - cut)).ln() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` pixels of each logit, and ten thousand that are surely outside.
    fn map(parts: &[(f32, usize)]) -> Vec<f32> {
        let mut logits = vec![-20.0; 10_000];
        for &(logit, count) in parts {
            logits.extend(vec![logit; count]);
        }
        logits
    }

    #[test]
    fn sure_maps_are_cut_at_one_half() {
        // Dice 1: half of it is one half.
        let sure = map(&[(9.0, 500)]);
        assert!(best_threshold(&sure).abs() < 1e-6);
        // With 100 pixels at p = 0.38: Dice 2 · 500 / (500 + 538) = 0.963 without them, 2 · 538 / (600 + 538) = 0.946 with.
        let doubtful = map(&[(9.0, 500), (-0.49, 100)]);
        assert!(best_threshold(&doubtful) > -0.49);
        assert!(best_threshold(&map(&[])).abs() < 1e-6);
    }

    #[test]
    fn unsure_maps_are_cut_below() {
        // 500 pixels at p = 0.38 beside 50 sure ones: Dice 2 · 50 / (50 + 240) = 0.34 without them, and with them
        // 2 · 240 / (550 + 240) = 0.61.
        let unsure = map(&[(9.0, 50), (-0.49, 500)]);
        let cut = best_threshold(&unsure);
        assert!((-0.56..-0.49).contains(&cut), "{cut}");
        // However unsure, not below p = 0.27.
        let lost = map(&[(-1.5, 5000)]);
        assert!((best_threshold(&lost) - (0.27_f32 / 0.73).ln()).abs() < 1e-5);
    }

    #[test]
    fn what_is_no_number_is_outside() {
        assert!(best_threshold(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 30.0]).abs() < 1e-6);
    }
}
