//! How the slices of a stack are to be shown, where they agree and where they do not.

use super::folder::FrameId;
use super::frame_header::FrameHeader;
use super::header::FileHeader;
use super::samples::mirror_sum;
use crate::scan::Window;

/// Windows, polarity and padding of a stack, as in [`crate::ScanInfo`].
pub(super) struct Display {
    pub(super) windows: Vec<Window>,
    pub(super) slice_windows: Vec<Option<Window>>,
    pub(super) padding: Vec<Option<[f32; 2]>>,
    pub(super) inverted: bool,
    /// Some frames have MONOCHROME1, others not: the values of the former are mirrored.
    pub(super) are_mixed: bool,
    /// By slice: what a mirrored value and the stored one add up to.
    pub(super) mirrored: Vec<Option<f32>>,
    pub(super) warnings: Vec<String>,
}

impl Display {
    pub(super) fn of(files: &[FileHeader], frames: &[FrameId]) -> Self {
        let of = |&(file, frame): &FrameId| (&files[file], &files[file].frames[frame]);
        let all: Vec<(&FileHeader, &FrameHeader)> = frames.iter().map(of).collect();
        let inverted = all
            .iter()
            .filter(|(file, _)| file.format.inverted())
            .count();
        let are_mixed = inverted > 0 && inverted < all.len();
        let mut warnings = Vec::new();
        if are_mixed {
            warnings.push(format!(
                "{inverted} of {} slices are MONOCHROME1, the others not: the values of these are mirrored",
                all.len()
            ));
        }
        let is_mirrored = |file: &FileHeader| are_mixed && file.format.inverted();
        let shown: Vec<Option<Window>> = all
            .iter()
            .map(|&(file, frame)| {
                let window = frame.windows.first()?.clone();
                Some(if is_mirrored(file) {
                    let sum = mirror_sum(file, frame);
                    Window {
                        low: sum - window.high,
                        high: sum - window.low,
                        name: window.name,
                    }
                } else {
                    window
                })
            })
            .collect();
        let agree = agreement(&shown);
        if !agree {
            warnings.push(
                "the slices recommend different windows: none holds for all of them".to_owned(),
            );
        }
        let common = all
            .iter()
            .find(|(file, frame)| !frame.windows.is_empty() && !is_mirrored(file));
        let windows = match common {
            Some((_, frame)) if agree => frame.windows.to_vec(),
            // Only mirrored slices have windows.
            None if agree => shown.iter().flatten().take(1).cloned().collect(),
            _ => Vec::new(),
        };
        let padding: Vec<Option<[f32; 2]>> = all
            .iter()
            .map(|&(file, frame)| {
                let [low, high] = file.padding?.of_values(file, frame);
                Some(if is_mirrored(file) {
                    let sum = mirror_sum(file, frame);
                    [sum - high, sum - low]
                } else {
                    [low, high]
                })
            })
            .collect();
        let mirrored = all
            .iter()
            .map(|&(file, frame)| is_mirrored(file).then(|| mirror_sum(file, frame)))
            .collect();
        Self {
            windows,
            slice_windows: if agree { Vec::new() } else { shown },
            padding: compact(padding),
            inverted: inverted == all.len(),
            are_mixed,
            mirrored,
            warnings,
        }
    }

    /// Where no slice recommends a window, nothing says about which value the mirrored ones were turned. They are moved so
    /// that all slices lie in the range of the stored values, as if each were shown from its lowest to its highest.
    pub(super) fn settle(&mut self, data: &mut [f32]) {
        if !self.are_mixed || !self.windows.is_empty() || !self.slice_windows.is_empty() {
            return;
        }
        let pixels = (data.len() / self.mirrored.len().max(1)).max(1);
        let padding_of = |padding: &[Option<[f32; 2]>], k: usize| match padding.len() {
            0 | 1 => padding.first().copied().flatten(),
            _ => padding[k],
        };
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for (k, (slice, sum)) in data.chunks(pixels).zip(&self.mirrored).enumerate() {
            let padding = padding_of(&self.padding, k);
            let is_padding = |v: f32| padding.is_some_and(|[low, high]| (low..=high).contains(&v));
            for &value in slice.iter().filter(|v| v.is_finite() && !is_padding(**v)) {
                let stored = sum.map_or(value, |sum| sum - value);
                (low, high) = (low.min(stored), high.max(stored));
            }
        }
        if low > high {
            return;
        }
        for (k, (slice, sum)) in data.chunks_mut(pixels).zip(&self.mirrored).enumerate() {
            let Some(sum) = sum else { continue };
            let shift = low + high - sum;
            for value in slice {
                *value += shift;
            }
            if self.padding.len() > 1
                && let Some(range) = &mut self.padding[k]
            {
                *range = range.map(|end| end + shift);
            }
        }
    }
}

/// Whether all slices that recommend a window recommend the same.
fn agreement(windows: &[Option<Window>]) -> bool {
    let mut known = windows.iter().flatten();
    let Some(first) = known.next() else {
        return true;
    };
    known.all(|window| {
        window.low.to_bits() == first.low.to_bits() && window.high.to_bits() == first.high.to_bits()
    })
}

/// One value if all are the same, none if there is none.
fn compact(padding: Vec<Option<[f32; 2]>>) -> Vec<Option<[f32; 2]>> {
    let first = padding.first().copied().flatten();
    let bits = |range: Option<[f32; 2]>| range.map(|ends| ends.map(f32::to_bits));
    if padding.iter().all(|&other| bits(other) == bits(first)) {
        return first.map(|range| vec![Some(range)]).unwrap_or_default();
    }
    padding
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn mirrored_slices_without_windows_lie_in_the_range_of_the_others() {
        // Stored: 30 to 770 in both slices; the second is MONOCHROME1 of 16 bits, 5 is its padding.
        let mut display = Display {
            windows: Vec::new(),
            slice_windows: Vec::new(),
            padding: vec![None, Some([65_530.0; 2])],
            inverted: false,
            are_mixed: true,
            mirrored: vec![None, Some(65_535.0)],
            warnings: Vec::new(),
        };
        let mut data = [30.0, 770.0, 400.0, 65_505.0, 64_765.0, 65_530.0];
        display.settle(&mut data);
        assert_eq!(data, [30.0, 770.0, 400.0, 770.0, 30.0, 795.0]);
        assert_eq!(display.padding[1], Some([795.0; 2]));
        display.slice_windows = vec![None, None];
        let before = data;
        display.settle(&mut data);
        assert_eq!(data, before, "windows say where they lie");
    }
}
