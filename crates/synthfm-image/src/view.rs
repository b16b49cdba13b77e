//! Which intensities of a file become black and white.
//!
//! 8-bit pictures are shown as they are. Everything else passes through a window; where none is asked for or stored in
//! the file, through robust extremes as in `MedSAM` (Ma et al. 2024). Differs: percentiles are those of the nearest
//! rank, without interpolation.

use crate::Image;

/// Share of the values that becomes black, and the same share white.
const TAIL: f64 = 0.005;

/// The 0.5 and 99.5 percentiles of the finite values; `(0, 0)` if there is none.
pub fn percentile_window(values: &[f32]) -> (f32, f32) {
    let mut finite: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let Some(last) = finite.len().checked_sub(1) else {
        return (0.0, 0.0);
    };
    let rank = (TAIL * last as f64).round() as usize;
    let mut at_rank = |rank: usize| *finite.select_nth_unstable_by(rank, f32::total_cmp).1;
    (at_rank(rank), at_rank(last - rank))
}

impl Image {
    /// Whether all values are whole numbers from 0 to 255, as in an 8-bit picture.
    pub fn is_8_bit(&self) -> bool {
        let mut values = self.data().iter();
        values.all(|&v| (0.0..=255.0).contains(&v) && v.fract() == 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    #[test]
    fn percentiles_ignore_outliers_and_nan() {
        let mut values: Vec<f32> = (0..=1000u16).rev().map(f32::from).collect();
        values.push(f32::NAN);
        assert_eq!(percentile_window(&values), (5.0, 995.0));
        values.extend([f32::INFINITY; 20]);
        assert_eq!(percentile_window(&values), (5.0, 995.0));
        assert_eq!(percentile_window(&[7.0]), (7.0, 7.0));
        assert_eq!(percentile_window(&[f32::NAN]), (0.0, 0.0));
    }

    #[test]
    fn bytes_are_told_from_other_values() {
        let is_8_bit = |values: Vec<f32>| {
            let image = Image::new(Size::new(1, values.len()), values);
            image.expect("one value per pixel").is_8_bit()
        };
        assert!(is_8_bit(vec![0.0, 255.0]));
        for values in [[0.0, 0.5], [-1.0, 0.0], [0.0, 256.0], [f32::NAN, 0.0]] {
            assert!(!is_8_bit(values.to_vec()), "{values:?}");
        }
    }
}
