//! Which intensities of a volume or a 16-bit image become black and white: for CT the abdominal soft-tissue window of
//! radiology, for everything else percentiles.

use synthfm_image::{FileFormat, ScanInfo};

/// Level 40 HU, width 400 HU.
pub(super) const CT_ABDOMEN_HU: [f32; 2] = [-160.0, 240.0];

/// The intensities shown as black and white: the window for `CT`, otherwise the 0.5 and 99.5 percentiles.
pub(super) fn display_window(modality: &str, values: &[f32], ct_window: [f32; 2]) -> (f32, f32) {
    if modality == "CT" {
        ct_window.into()
    } else {
        percentile_window(values)
    }
}

/// The 0.5 and 99.5 percentiles of the finite values; `(0, 0)` if there is none.
pub(super) fn percentile_window(values: &[f32]) -> (f32, f32) {
    ScanInfo::of_format(FileFormat::Npy).percentile_window(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ct_has_a_window_of_its_own() {
        let values: Vec<f32> = (0..=1000u16).map(f32::from).collect();
        let shown = |modality| display_window(modality, &values, CT_ABDOMEN_HU);
        assert_eq!(shown("CT"), (-160.0, 240.0));
        assert_eq!(shown("MR"), (5.0, 995.0));
    }
}
