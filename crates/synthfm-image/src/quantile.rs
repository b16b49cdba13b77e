//! Order statistics.

/// The quantile of ascending values at `share`, 0 to 1, with linear interpolation, as `numpy.quantile`; NaN of nothing.
///
/// ```
/// assert_eq!(synthfm_image::quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
/// ```
pub fn quantile(ascending: &[f64], share: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = share * last as f64;
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    ascending[low] + (ascending[high] - ascending[low]) * position.fract()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "halves are exact")]
mod tests {
    use super::*;

    #[test]
    fn values_between_are_interpolated() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0];
        let found = [0.0, 0.125, 0.5, 0.75, 1.0].map(|share| quantile(&values, share));
        assert_eq!(found, [1.0, 1.5, 4.0, 8.0, 16.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
