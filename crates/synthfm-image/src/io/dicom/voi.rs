//! Windows that a DICOM file recommends (PS3.3, C.11.2).
//!
//! The ends of a window are those of the file's function, so that black and white are where the standard puts them. A
//! sigmoid is replaced by the line through its steepest part, a lookup table by the range of values that it maps.

use super::data_set::DataSet;
use super::file::Header;
use super::tags;
use super::values::Kind;
use crate::Result;
use crate::scan::Window;

/// Windows of the file or of its first frame.
pub(super) fn windows(header: &Header) -> Result<Vec<Window>> {
    let data = &header.data;
    let mut windows = of_data_set(data);
    for groups in [
        tags::SHARED_FUNCTIONAL_GROUPS,
        tags::PER_FRAME_FUNCTIONAL_GROUPS,
    ] {
        if !windows.is_empty() {
            break;
        }
        if let Some(group) = header.check(data.item_of(groups))?
            && let Some(item) = header.check(group.item_of(tags::FRAME_VOI_LUT_SEQUENCE))?
        {
            windows = of_data_set(&item);
        }
    }
    if windows.is_empty()
        && let Some(item) = header.check(data.item_of(tags::VOI_LUT_SEQUENCE))?
    {
        windows.extend(of_table(&item));
    }
    Ok(windows)
}

fn of_data_set(data: &DataSet) -> Vec<Window> {
    let centres = data.numbers(tags::WINDOW_CENTER, Kind::Text);
    let widths = data.numbers(tags::WINDOW_WIDTH, Kind::Text);
    let names = data.texts(tags::WINDOW_CENTER_WIDTH_EXPLANATION);
    let function = data.text(tags::VOI_LUT_FUNCTION).unwrap_or_default();
    let pairs = centres.iter().zip(&widths).enumerate();
    pairs
        .filter_map(|(n, (&centre, &width))| {
            let mut window = if matches!(function.as_str(), "LINEAR_EXACT" | "SIGMOID") {
                Window::of_width_level(width, centre).ok()?
            } else {
                // LINEAR: from centre - 0.5 - (width - 1) / 2 to centre - 0.5 + (width - 1) / 2; a width of 1 is a step.
                let width = (width - 1.0).max(if width >= 1.0 { 1e-3 } else { 0.0 });
                Window::of_width_level(width, centre - 0.5).ok()?
            };
            window.name = names.get(n).cloned();
            Some(window)
        })
        .collect()
}

/// The range of values that a table maps.
fn of_table(item: &DataSet) -> Option<Window> {
    let &[count, first, _] = &item.numbers(tags::LUT_DESCRIPTOR, Kind::U16)[..] else {
        return None;
    };
    let count = if count < 1.0 { 65536.0 } else { count };
    let mut window = Window::of_width_level(count - 1.0, first + (count - 1.0) / 2.0).ok()?;
    window.name = Some("VOI LUT (its range)".to_owned());
    Some(window)
}
