//! Windows that a DICOM file recommends (PS3.3, C.11.2).
//!
//! The ends of a window are those of the file's function, so that black and white are where the standard puts them. A
//! sigmoid is replaced by the line through its steepest part, a lookup table by the range of values that it maps.

use std::sync::Arc;

use super::data_set::DataSet;
use super::file::Header;
use super::lut::Descriptor;
use super::tags;
use super::values::Kind;
use crate::Result;
use crate::scan::Window;

/// Characters of a window's name (LO).
const MAX_NAME: usize = 64;

/// Windows that a file recommends for all of its frames.
pub(super) fn of_file(header: &Header) -> Result<Arc<[Window]>> {
    let data = &header.data;
    let mut windows = of_data_set(data);
    if windows.is_empty()
        && let Some(item) = header.check(data.item_of(tags::VOI_LUT_SEQUENCE))?
    {
        let is_signed = data.u16(tags::PIXEL_REPRESENTATION) == Some(1);
        let intercept = data.number(tags::RESCALE_INTERCEPT, Kind::Text);
        let may_be_negative = is_signed || intercept.is_some_and(|v| v < 0.0);
        windows.extend(of_table(&item, may_be_negative));
    }
    Ok(windows.into())
}

/// Windows of a functional group; `None` if it has none.
pub(super) fn of_group(header: &Header, group: &DataSet) -> Result<Option<Arc<[Window]>>> {
    let item = header.check(group.item_of(tags::FRAME_VOI_LUT_SEQUENCE))?;
    let windows = item.map(|item| of_data_set(&item)).unwrap_or_default();
    Ok((!windows.is_empty()).then(|| windows.into()))
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
            window.name = names
                .get(n)
                .map(|name| name.chars().take(MAX_NAME).collect());
            Some(window)
        })
        .collect()
}

/// The range of values that a table maps.
fn of_table(item: &DataSet, may_be_negative: bool) -> Option<Window> {
    let table = Descriptor::read(item, tags::LUT_DESCRIPTOR, may_be_negative)?;
    let width = table.count as f64 - 1.0;
    let mut window = Window::of_width_level(width, table.first as f64 + width / 2.0).ok()?;
    window.name = Some("VOI LUT (its range)".to_owned());
    Some(window)
}
