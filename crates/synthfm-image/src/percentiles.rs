//! Robust extremes of an image's values, as in MedSAM (Ma et al. 2024): the 0.5 and 99.5 percentiles. Differs: those of
//! the nearest rank, without interpolation.
//!
//! Values are counted rather than copied and sorted: first by the upper half of their bits, then, within the two places
//! that matter, by the lower half.

use rayon::prelude::*;

/// Share of the values that becomes black, and the same share white.
const TAIL: f64 = 0.005;
/// Places of half a value's bits.
const PLACES: usize = 1 << 16;
/// Values that one thread counts at a time.
const PIECE: usize = 1 << 22;

/// The percentiles of the finite values outside of `padding`: one range for all, or one for each of as many equal
/// parts; `(0, 0)` if there are none.
pub(crate) fn percentile_window(values: &[f32], padding: &[Option<[f32; 2]>]) -> (f32, f32) {
    let parts = match padding.len() {
        0 => 1,
        count => count,
    };
    let parts = values.chunks(values.len().div_ceil(parts).max(1));
    let ranges = padding.iter().copied().chain(std::iter::repeat(None));
    let pieces: Vec<(&[f32], Option<[f32; 2]>)> = parts
        .zip(ranges)
        .flat_map(|(part, range)| part.chunks(PIECE).map(move |piece| (piece, range)))
        .collect();
    let upper = counts(&pieces, |key| Some((key >> 16) as usize));
    let Some(last) = upper.iter().sum::<u64>().checked_sub(1) else {
        return (0.0, 0.0);
    };
    let rank = (TAIL * last as f64).round() as u64;
    let value = |rank: u64| {
        let (high, left) = place(&upper, rank);
        let lower = counts(&pieces, |key| {
            (key >> 16 == high as u32).then_some((key & 0xffff) as usize)
        });
        let (low, _) = place(&lower, left);
        value_of((high as u32) << 16 | low as u32)
    };
    (value(rank), value(last - rank))
}

/// How many values have each place.
fn counts(
    pieces: &[(&[f32], Option<[f32; 2]>)],
    place: impl Fn(u32) -> Option<usize> + Sync,
) -> Vec<u64> {
    let count = |&(piece, padding): &(&[f32], Option<[f32; 2]>)| {
        let mut counts = vec![0u64; PLACES];
        for &value in piece {
            let is_padding = padding.is_some_and(|[low, high]| (low..=high).contains(&value));
            if value.is_finite()
                && !is_padding
                && let Some(place) = place(key_of(value))
            {
                counts[place] += 1;
            }
        }
        counts
    };
    let together = |mut a: Vec<u64>, b: Vec<u64>| {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
        a
    };
    pieces
        .par_iter()
        .map(count)
        .reduce(|| vec![0; PLACES], together)
}

/// The place of the value with this rank, and its rank among those there.
fn place(counts: &[u64], rank: u64) -> (usize, u64) {
    let mut left = rank;
    for (place, &count) in counts.iter().enumerate() {
        if left < count {
            return (place, left);
        }
        left -= count;
    }
    (counts.len() - 1, 0)
}

/// A number that is ordered as the values are (`f32::total_cmp`).
fn key_of(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

fn value_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 {
        key & !(1 << 31)
    } else {
        !key
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The percentiles by sorting.
    fn sorted(values: &[f32]) -> (f32, f32) {
        let mut values: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
        values.sort_by(f32::total_cmp);
        let Some(last) = values.len().checked_sub(1) else {
            return (0.0, 0.0);
        };
        let rank = (TAIL * last as f64).round() as usize;
        (values[rank], values[last - rank])
    }

    #[test]
    fn outliers_padding_and_nan_do_not_count() {
        let mut values: Vec<f32> = (0..=1000u16).rev().map(f32::from).collect();
        values.push(f32::NAN);
        assert_eq!(percentile_window(&values, &[]), (5.0, 995.0));
        values.extend([f32::INFINITY; 20]);
        values.extend([-2000.0; 500]);
        assert_eq!(percentile_window(&values, &[]), (-2000.0, 992.0));
        let padding = [Some([-2000.0, -2000.0])];
        assert_eq!(percentile_window(&values, &padding), (5.0, 995.0));
        assert_eq!(percentile_window(&[7.0], &[]), (7.0, 7.0));
        assert_eq!(percentile_window(&[7.0], &[Some([6.0, 8.0])]), (0.0, 0.0));
        assert_eq!(percentile_window(&[], &[]), (0.0, 0.0));
    }

    #[test]
    fn each_slice_has_its_own_padding() {
        let values = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0];
        let padding = [Some([0.0, 2.0]), Some([3.0, 9.0])];
        assert_eq!(percentile_window(&values, &padding), (1.0, 3.0));
        let padding = [Some([0.0, 2.0]), Some([1.0, 2.0])];
        assert_eq!(percentile_window(&values, &padding), (3.0, 3.0));
        assert_eq!(
            percentile_window(&values, &[None, Some([3.0, 3.0]), None]),
            (1.0, 3.0)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn counting_finds_what_sorting_finds(
            values in prop::collection::vec(any::<f32>(), 0..700),
        ) {
            let (low, high) = percentile_window(&values, &[]);
            let (want_low, want_high) = sorted(&values);
            prop_assert_eq!(low.to_bits(), want_low.to_bits());
            prop_assert_eq!(high.to_bits(), want_high.to_bits());
        }
    }
}
