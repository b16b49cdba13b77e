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
        Self {
            windows,
            slice_windows: if agree { Vec::new() } else { shown },
            padding: compact(padding),
            inverted: inverted == all.len(),
            are_mixed,
            warnings,
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
