//! Types of the elements of an array, by the names that NumPy gives them.

use half::f16;

use super::{ArrayError, Result};

/// A NumPy type whose values become 32-bit floating-point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElementType {
    /// One byte, 0 or not.
    Bool,
    /// `int8`.
    I8,
    /// `uint8`.
    U8,
    /// `int16`.
    I16,
    /// `uint16`.
    U16,
    /// `int32`.
    I32,
    /// `uint32`.
    U32,
    /// `int64`.
    I64,
    /// `uint64`.
    U64,
    /// `float16`.
    F16,
    /// `float32`.
    F32,
    /// `float64`.
    F64,
}

impl ElementType {
    const NAMED: [(&'static str, Self); 12] = [
        ("bool", Self::Bool),
        ("int8", Self::I8),
        ("uint8", Self::U8),
        ("int16", Self::I16),
        ("uint16", Self::U16),
        ("int32", Self::I32),
        ("uint32", Self::U32),
        ("int64", Self::I64),
        ("uint64", Self::U64),
        ("float16", Self::F16),
        ("float32", Self::F32),
        ("float64", Self::F64),
    ];

    pub(super) fn of_name(name: &[u8]) -> Result<Self> {
        let found = Self::NAMED
            .iter()
            .find(|(known, _)| known.as_bytes() == name);
        found.map(|(_, element)| *element).ok_or_else(|| {
            let name = String::from_utf8_lossy(&name[..name.len().min(20)]);
            ArrayError::new(format!("values of type {name:?}"))
        })
    }

    /// Bytes of one element.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Reads little-endian elements, as many as there are places for.
    pub(super) fn read<T>(self, bytes: &[u8], values: &mut [T], convert: &impl Fn(f32) -> T) {
        match self {
            Self::Bool => each(bytes, values, |[b]| convert(f32::from(u8::from(b != 0)))),
            Self::I8 => each(bytes, values, |b| convert(f32::from(i8::from_le_bytes(b)))),
            Self::U8 => each(bytes, values, |[b]| convert(f32::from(b))),
            Self::I16 => each(bytes, values, |b| convert(f32::from(i16::from_le_bytes(b)))),
            Self::U16 => each(bytes, values, |b| convert(f32::from(u16::from_le_bytes(b)))),
            Self::I32 => each(bytes, values, |b| convert(i32::from_le_bytes(b) as f32)),
            Self::U32 => each(bytes, values, |b| convert(u32::from_le_bytes(b) as f32)),
            Self::I64 => each(bytes, values, |b| convert(i64::from_le_bytes(b) as f32)),
            Self::U64 => each(bytes, values, |b| convert(u64::from_le_bytes(b) as f32)),
            Self::F16 => each(bytes, values, |b| convert(f16::from_le_bytes(b).to_f32())),
            Self::F32 => each(bytes, values, |b| convert(f32::from_le_bytes(b))),
            Self::F64 => each(bytes, values, |b| convert(f64::from_le_bytes(b) as f32)),
        }
    }
}

fn each<T, const N: usize>(bytes: &[u8], values: &mut [T], read: impl Fn([u8; N]) -> T) {
    let (elements, _) = bytes.as_chunks::<N>();
    for (value, element) in values.iter_mut().zip(elements) {
        *value = read(*element);
    }
}
