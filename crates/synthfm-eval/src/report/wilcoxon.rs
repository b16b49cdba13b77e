//! Wilcoxon's signed-rank test for pairs (Biometrics Bulletin 1(6), 1945), with the choices of `SciPy`'s `wilcoxon`:
//! two-sided, zero differences left out, no continuity correction; exact over all signs for up to 50 pairs without
//! ties and zeros and for up to 13 with them, otherwise the normal approximation corrected for ties.
//! Differs: pairs without any difference give p = 1, where `SciPy` gives 1 or NaN.

/// Up to so many pairs without ties and zeros the test is exact.
const EXACT_PAIRS: usize = 50;
/// Most pairs with ties or zeros whose distribution is counted exactly.
const EXACT_PAIRS_WITH_TIES: usize = 13;

/// The result of the test on a sample of differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wilcoxon {
    /// Sum of the ranks of positive differences.
    pub(super) rank_sum_plus: f64,
    /// Sum of the ranks of negative differences.
    pub(super) rank_sum_minus: f64,
    /// Two-sided.
    pub(super) p: f64,
    pub(super) exact: bool,
}

impl Wilcoxon {
    /// `(R+ - R-) / (R+ + R-)`, -1 to 1 (Kerby 2014): the matched-pairs rank-biserial correlation; 0 without any
    /// difference.
    pub(super) fn rank_biserial(self) -> f64 {
        let total = self.rank_sum_plus + self.rank_sum_minus;
        if total > 0.0 {
            (self.rank_sum_plus - self.rank_sum_minus) / total
        } else {
            0.0
        }
    }
}

/// Tests whether finite differences are symmetric around zero.
pub(super) fn wilcoxon(differences: &[f64]) -> Wilcoxon {
    let nonzero: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
    let Ranks { ranks, ties } = Ranks::of(&nonzero);
    let sum = |positive: bool| -> f64 {
        let signed = nonzero.iter().zip(&ranks);
        let own = signed.filter(|&(&d, _)| (d > 0.0) == positive);
        own.map(|(_, rank)| rank).sum()
    };
    let (rank_sum_plus, rank_sum_minus) = (sum(true), sum(false));
    let plain = ties.is_empty() && nonzero.len() == differences.len();
    let limit = if plain {
        EXACT_PAIRS
    } else {
        EXACT_PAIRS_WITH_TIES
    };
    let exact = differences.len() <= limit;
    let p = if nonzero.is_empty() {
        1.0
    } else if exact {
        exact_p(&ranks, rank_sum_plus)
    } else {
        normal_p(nonzero.len(), &ties, rank_sum_plus)
    };
    Wilcoxon {
        rank_sum_plus,
        rank_sum_minus,
        p,
        exact,
    }
}

/// Ranks of absolute values from 1, equal ones sharing their mean, and the sizes of the groups of equal ones.
struct Ranks {
    ranks: Vec<f64>,
    ties: Vec<usize>,
}

impl Ranks {
    fn of(values: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()));
        let (mut ranks, mut ties) = (vec![0.0; values.len()], Vec::new());
        let same = |a: &usize, b: &usize| values[*a].abs().total_cmp(&values[*b].abs()).is_eq();
        let mut before = 0;
        for group in order.chunk_by(same) {
            let n = group.len();
            for &index in group {
                ranks[index] = before as f64 + (n + 1) as f64 / 2.0;
            }
            if n > 1 {
                ties.push(n);
            }
            before += n;
        }
        Self { ranks, ties }
    }
}

/// Twice the smaller tail of the sum over all equally likely signs; the sums are counted in half ranks, so that those
/// of ties stay whole, and the counts, up to 2^50, are exact in `f64`.
fn exact_p(ranks: &[f64], rank_sum_plus: f64) -> f64 {
    let halves: Vec<usize> = ranks.iter().map(|rank| (2.0 * rank) as usize).collect();
    let mut ways = vec![0.0; halves.iter().sum::<usize>() + 1];
    ways[0] = 1.0;
    let mut highest = 0;
    for rank in halves {
        for sum in (0..=highest).rev() {
            ways[sum + rank] += ways[sum];
        }
        highest += rank;
    }
    let at = (2.0 * rank_sum_plus) as usize;
    let (lower, upper): (f64, f64) = (ways[..=at].iter().sum(), ways[at..].iter().sum());
    let all = 2f64.powi(ranks.len() as i32);
    (2.0 * lower.min(upper) / all).min(1.0)
}

/// `z = (R+ - n (n + 1) / 4) / sqrt((n (n + 1) (2 n + 1) - Σ (t³ - t) / 2) / 24)`.
fn normal_p(n: usize, ties: &[usize], rank_sum_plus: f64) -> f64 {
    let n = n as f64;
    let cubes = ties.iter().map(|&t| (t as f64).powi(3) - t as f64);
    let tie_term: f64 = cubes.sum();
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - tie_term / 2.0) / 24.0;
    let z = (rank_sum_plus - n * (n + 1.0) / 4.0) / variance.sqrt();
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_equal_signs_have_a_quarter() {
        // Ranks 1, 2, 3 all positive: one of 8 ways in each tail.
        let test = wilcoxon(&[0.1, 0.3, 0.2]);
        assert_eq!((test.rank_sum_plus, test.rank_sum_minus), (6.0, 0.0));
        assert!(test.exact && (test.p - 0.25).abs() < 1e-15);
        assert!((test.rank_biserial() - 1.0).abs() < 1e-15);
    }

    #[test]
    fn nothing_differs() {
        for n in [0, 1, 20] {
            let test = wilcoxon(&vec![0.0; n]);
            assert!((test.p - 1.0).abs() < 1e-15 && test.rank_biserial().abs() < 1e-15);
        }
    }

    #[test]
    fn swapping_the_models_changes_the_sign_alone() {
        let d = [0.3, -0.1, 0.25, 0.1, 0.0, -0.02, 0.07];
        let swapped: Vec<f64> = d.iter().map(|v| -v).collect();
        let (a, b) = (wilcoxon(&d), wilcoxon(&swapped));
        assert!((a.p - b.p).abs() < 1e-15);
        assert!((a.rank_biserial() + b.rank_biserial()).abs() < 1e-15);
    }
}
