//! Which intensities of a volume or a 16-bit image become black and white.
//! CT uses the abdominal soft-tissue window of radiology; everything else robust extremes, as in MedSAM
//! (Ma et al. 2024). Differs: percentiles are those of the nearest rank, without interpolation.

/// Level 40 HU, width 400 HU.
pub(super) const CT_ABDOMEN_HU: [f32; 2] = [-160.0, 240.0];
/// Share of the values that becomes black, and the same share white.
const TAIL: f64 = 0.005;

/// The intensities shown as black and white: the window for `CT`, otherwise the 0.5 and 99.5 percentiles.
pub(super) fn display_window(modality: &str, values: &[f32], ct_window: [f32; 2]) -> (f32, f32) {
    if modality == "CT" {
        ct_window.into()
    } else {
        percentile_window(values)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_ignore_outliers_and_nan() {
        let mut values: Vec<f32> = (0..=1000u16).rev().map(f32::from).collect();
        values.push(f32::NAN);
        assert_eq!(percentile_window(&values), (5.0, 995.0));
        values.extend([f32::INFINITY; 20]);
        assert_eq!(percentile_window(&values), (5.0, 995.0));
        assert_eq!(percentile_window(&[7.0]), (7.0, 7.0));
        assert_eq!(percentile_window(&[f32::NAN]), (0.0, 0.0));
        let shown = |modality| display_window(modality, &values, CT_ABDOMEN_HU);
        assert_eq!(shown("CT"), (-160.0, 240.0));
        assert_eq!(shown("MR"), (5.0, 995.0));
    }
}
