//! NumPy's array files (NEP 1, versions 1.0 to 3.0).
//!
//! Two dimensions are an image `[H, W]`. Three are a volume `[k, j, i]`, except `[H, W, 3]` of
//! unsigned bytes, which is a colour image.

use std::convert::Infallible;

use super::element::{ByteOrder, Element, label};
use super::source::Source;
use super::{ImageFile, LabelFile, Picture};
use crate::{Image, LabelMap, LabelVolume, Result, RgbImage, Size, Volume, VolumeGeometry};

/// Shape, type and bytes of an array.
struct Array<'a> {
    shape: Vec<usize>,
    element: Element,
    order: ByteOrder,
    fortran: bool,
    payload: &'a [u8],
}

pub(super) fn read_image(source: &Source) -> Result<ImageFile> {
    let array = parse(source)?;
    if let [height, width, 3] = array.shape[..]
        && array.element == Element::U8
    {
        let Ok(data) = array.values(|v| Ok::<u8, Infallible>(v as u8));
        let image = RgbImage::new(Size::new(height, width), data)?;
        return Ok(ImageFile::Picture(Picture::Rgb(image)));
    }
    let Ok(data) = array.values(|v| Ok::<f32, Infallible>(v as f32));
    Ok(match array.shape[..] {
        [height, width] => {
            let image = Image::new(Size::new(height, width), data)?;
            ImageFile::Picture(Picture::Grey(image))
        }
        _ => ImageFile::Volume(Volume::new(array.geometry()?, data)?),
    })
}

pub(super) fn read_labels(source: &Source) -> Result<LabelFile> {
    let array = parse(source)?;
    let data = array.values(label).map_err(|v| source.bad_label(v))?;
    Ok(match array.shape[..] {
        [height, width] => LabelFile::Map(LabelMap::new(Size::new(height, width), data)?),
        _ => LabelFile::Volume(LabelVolume::new(array.geometry()?, data)?),
    })
}

impl Array<'_> {
    /// The values with the last axis fastest.
    fn values<T: Copy, E>(&self, convert: impl Fn(f64) -> Result<T, E>) -> Result<Vec<T>, E> {
        let values = self.element.decode(self.order, self.payload, convert)?;
        Ok(if self.fortran {
            last_axis_fastest(&values, &self.shape)
        } else {
            values
        })
    }

    fn geometry(&self) -> Result<VolumeGeometry> {
        let mut shape = [1; 3];
        for (out, &length) in shape.iter_mut().zip(self.shape.iter().rev()) {
            *out = length;
        }
        VolumeGeometry::with_spacing(shape, [1.0; 3])
    }
}

/// Reorders values whose first axis is the fastest.
fn last_axis_fastest<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let (rows, cols) = (shape[0], shape.get(1).copied().unwrap_or(1));
    let depth = shape.get(2).copied().unwrap_or(1);
    let at = move |row: usize, col: usize, k: usize| row + rows * (col + cols * k);
    (0..rows)
        .flat_map(|row| (0..cols).flat_map(move |col| (0..depth).map(move |k| at(row, col, k))))
        .map(|index| values[index])
        .collect()
}

fn parse<'a>(source: &'a Source) -> Result<Array<'a>> {
    let bytes = source.bytes();
    let truncated = || source.format_error("NPY header is truncated");
    let version = *bytes.get(6).ok_or_else(truncated)?;
    let (start, length) = match version {
        1 => {
            let raw = bytes
                .get(8..)
                .and_then(|b| b.first_chunk())
                .ok_or_else(truncated)?;
            (10, usize::from(u16::from_le_bytes(*raw)))
        }
        2 | 3 => {
            let raw = bytes
                .get(8..)
                .and_then(|b| b.first_chunk())
                .ok_or_else(truncated)?;
            (12, u32::from_le_bytes(*raw) as usize)
        }
        other => return Err(source.unsupported(format!("NPY version {other}; 1 to 3 are"))),
    };
    let rest = bytes.get(start..).ok_or_else(truncated)?;
    let (header, payload) = rest.split_at_checked(length).ok_or_else(truncated)?;
    let header =
        std::str::from_utf8(header).map_err(|_| source.format_error("NPY header is not text"))?;
    let array = parse_header(source, header, payload)?;
    check_payload(source, &array)?;
    Ok(array)
}

fn parse_header<'a>(source: &Source, header: &str, payload: &'a [u8]) -> Result<Array<'a>> {
    let field = |name: &str| {
        value_of(header, name)
            .ok_or_else(|| source.format_error(format!("NPY header has no {name}: {header:?}")))
    };
    let (element, order) = descr(source, field("descr")?)?;
    let fortran = field("fortran_order")?.starts_with("True");
    let shape_text = field("shape")?;
    let shape = parse_shape(shape_text)
        .ok_or_else(|| source.format_error(format!("NPY header: bad shape in {header:?}")))?;
    if !(2..=3).contains(&shape.len()) {
        let problem = format!("an array of {} dimensions; 2 and 3 are", shape.len());
        return Err(source.unsupported(problem));
    }
    Ok(Array {
        shape,
        element,
        order,
        fortran,
        payload,
    })
}

/// The text after `'name':`.
fn value_of<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    ['\'', '"'].iter().find_map(|quote| {
        let (_, rest) = header.split_once(&format!("{quote}{name}{quote}"))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    })
}

fn descr(source: &Source, text: &str) -> Result<(Element, ByteOrder)> {
    let quoted = text
        .strip_prefix(['\'', '"'])
        .and_then(|t| t.split(['\'', '"']).next());
    let code = quoted.ok_or_else(|| source.unsupported("NPY arrays of records"))?;
    let order = if code.starts_with('>') {
        ByteOrder::Big
    } else {
        ByteOrder::Little
    };
    let element = match code.trim_start_matches(['<', '>', '|', '=']) {
        "b1" => Element::Bool,
        "u1" => Element::U8,
        "i1" => Element::I8,
        "u2" => Element::U16,
        "i2" => Element::I16,
        "u4" => Element::U32,
        "i4" => Element::I32,
        "u8" => Element::U64,
        "i8" => Element::I64,
        "f4" => Element::F32,
        "f8" => Element::F64,
        _ => {
            let problem = format!("NPY type {code:?}; bool, integers, float32 and float64 are");
            return Err(source.unsupported(problem));
        }
    };
    Ok((element, order))
}

fn parse_shape(text: &str) -> Option<Vec<usize>> {
    let (inside, _) = text.strip_prefix('(')?.split_once(')')?;
    let lengths = inside.split(',').map(str::trim).filter(|t| !t.is_empty());
    lengths.map(|t| t.parse().ok()).collect()
}

fn check_payload(source: &Source, array: &Array) -> Result<()> {
    let Array { shape, element, .. } = array;
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
    let stored = count.and_then(|n| n.checked_mul(element.size() as u64));
    source.check_bytes(count.and_then(|n| n.checked_mul(element.size().max(4) as u64)))?;
    let got = array.payload.len() as u64;
    if shape.contains(&0) {
        return Err(source.format_error(format!("the array of shape {shape:?} is empty")));
    }
    if stored == Some(got) {
        Ok(())
    } else {
        Err(source.format_error(format!(
            "shape {shape:?} needs {} bytes of values, the file has {got}",
            stored.unwrap_or(u64::MAX)
        )))
    }
}
