//! Modality lookup tables (PS3.3, C.11.1): stored values to the modality's unit where no line does it.

use super::file::Header;
use super::tags;
use super::values::Kind;
use crate::Result;

/// Values from a first stored value on; values beyond either end get that of the end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModalityLut {
    first: f64,
    values: Vec<f32>,
}

impl ModalityLut {
    pub(super) fn read(header: &Header) -> Result<Option<Self>> {
        let Some(item) = header.check(header.data.item_of(tags::MODALITY_LUT_SEQUENCE))? else {
            return Ok(None);
        };
        let descriptor = item.numbers(tags::LUT_DESCRIPTOR, Kind::U16);
        let values = item.numbers(tags::LUT_DATA, Kind::U16);
        let &[count, first, _] = &descriptor[..] else {
            return Err(header.damaged("a modality lookup table without descriptor"));
        };
        let count = if count < 1.0 { 65536 } else { count as usize };
        let values: Vec<f32> = values.iter().take(count).map(|&v| v as f32).collect();
        if values.is_empty() {
            return Err(header.damaged("the modality lookup table is empty"));
        }
        Ok(Some(Self { first, values }))
    }

    pub(super) fn apply(&self, stored: f32) -> f32 {
        let last = (self.values.len() - 1) as f64;
        let index = (f64::from(stored) - self.first).clamp(0.0, last);
        self.values[index as usize]
    }
}
