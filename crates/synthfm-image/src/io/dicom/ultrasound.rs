//! Calibrated regions of ultrasound images (PS3.3, C.8.5.5).

use super::data_set::{DataSet, Problem};
use super::tags;
use super::values::Kind;
use crate::scan::UltrasoundRegion;
use crate::{BoxXyxy, Point2};

/// Code of centimetres in the physical units.
const CENTIMETRES: f64 = 3.0;
const MM_PER_CM: f64 = 10.0;

pub(super) fn regions(data: &DataSet) -> Result<Vec<UltrasoundRegion>, Problem> {
    let items = data.items(tags::SEQUENCE_OF_ULTRASOUND_REGIONS)?;
    Ok(items.iter().filter_map(region).collect())
}

fn region(item: &DataSet) -> Option<UltrasoundRegion> {
    let corner = |x, y| {
        let (x, y) = (item.number(x, Kind::U32)?, item.number(y, Kind::U32)?);
        Some(Point2::new(x, y))
    };
    Some(UltrasoundRegion {
        bounds: BoxXyxy {
            min: corner(tags::REGION_MIN_X0, tags::REGION_MIN_Y0)?,
            max: corner(tags::REGION_MAX_X1, tags::REGION_MAX_Y1)?,
        },
        kind: kind(item),
        spacing_mm: spacing(item),
    })
}

fn spacing(item: &DataSet) -> Option<[f64; 2]> {
    let axis = |unit, delta| {
        let unit = item.number(unit, Kind::U16)?;
        let mm = item.number(delta, Kind::F64)?.abs() * MM_PER_CM;
        let usable = (unit - CENTIMETRES).abs() < 0.5 && mm > 0.0 && mm.is_finite();
        usable.then_some(mm)
    };
    Some([
        axis(tags::PHYSICAL_UNITS_Y, tags::PHYSICAL_DELTA_Y)?,
        axis(tags::PHYSICAL_UNITS_X, tags::PHYSICAL_DELTA_X)?,
    ])
}

fn kind(item: &DataSet) -> String {
    let format = item
        .number(tags::REGION_SPATIAL_FORMAT, Kind::U16)
        .unwrap_or(0.0);
    let data = item
        .number(tags::REGION_DATA_TYPE, Kind::U16)
        .unwrap_or(0.0);
    let format = match format as u16 {
        1 => "2D",
        2 => "M-mode",
        3 => "spectral",
        4 => "waveform",
        5 => "graphics",
        _ => "unspecified",
    };
    let data = match data as u16 {
        1 => "tissue",
        2 => "colour flow",
        3 => "PW spectral Doppler",
        4 => "CW spectral Doppler",
        _ => return format.to_owned(),
    };
    format!("{format} {data}")
}
