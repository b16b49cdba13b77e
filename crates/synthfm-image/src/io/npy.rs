//! NumPy's array files (NEP 1, versions 1.0 to 3.0).
//!
//! Two dimensions are an image `[H, W]`. Three are a volume `[k, j, i]`, except `[H, W, 3]` of
//! unsigned bytes, which is a colour image.

use std::io::Read;

use super::element::{ByteOrder, Element};
use super::payload::{self, Layout, Packing, Stream};
use super::source::Source;
use super::text_header::MAX_HEADER_BYTES;
use super::{ImageFile, LabelFile, Picture};
use crate::{Image, LabelMap, LabelVolume, Result, RgbImage, Size, Volume, VolumeGeometry};

/// Shape and type of an array.
struct Array {
    shape: Vec<usize>,
    layout: Layout,
    fortran: bool,
}

/// The bytes of an array file: a file of its own, or a member of an archive.
pub(super) struct ArrayBytes<'a> {
    pub(super) stream: Stream<'a>,
    /// Bytes of the array file once decompressed.
    pub(super) length: u64,
    /// Bytes that it takes in the file.
    pub(super) stored: u64,
    pub(super) packing: Packing,
}

impl<'a> ArrayBytes<'a> {
    /// A file that is one array.
    pub(super) fn of(source: &'a Source) -> Self {
        let length = source.bytes().len() as u64;
        Self {
            stream: Stream::Raw(source.bytes()),
            length,
            stored: length,
            packing: Packing::Raw,
        }
    }
}

pub(super) fn read_image(source: &Source, mut bytes: ArrayBytes) -> Result<ImageFile> {
    let array = parse(source, &mut bytes)?;
    let values = payload::read_values(source, bytes.stream, &array.layout)?;
    if let [height, width, 3] = array.shape[..]
        && array.layout.element == Element::U8
    {
        let data = array.in_order(values).iter().map(|&v| v as u8).collect();
        let image = RgbImage::new(Size::new(height, width), data)?;
        return Ok(ImageFile::Picture(Picture::Rgb(image)));
    }
    let data = array.in_order(values);
    Ok(match array.shape[..] {
        [height, width] => {
            let image = Image::new(Size::new(height, width), data)?;
            ImageFile::Picture(Picture::Grey(image))
        }
        _ => ImageFile::Volume(Volume::new(array.geometry()?, data)?),
    })
}

pub(super) fn read_labels(source: &Source, mut bytes: ArrayBytes) -> Result<LabelFile> {
    let array = parse(source, &mut bytes)?;
    let data = array.in_order(payload::read_labels(source, bytes.stream, &array.layout)?);
    Ok(match array.shape[..] {
        [height, width] => LabelFile::Map(LabelMap::new(Size::new(height, width), data)?),
        _ => LabelFile::Volume(LabelVolume::new(array.geometry()?, data)?),
    })
}

impl Array {
    /// The values with the last axis fastest.
    fn in_order<T: Copy>(&self, values: Vec<T>) -> Vec<T> {
        if self.fortran {
            last_axis_fastest(&values, &self.shape)
        } else {
            values
        }
    }

    fn geometry(&self) -> Result<VolumeGeometry> {
        let mut shape = [1; 3];
        for (out, &length) in shape.iter_mut().zip(self.shape.iter().rev()) {
            *out = length;
        }
        Ok(VolumeGeometry::with_spacing(shape, [1.0; 3])?.without_place())
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

/// Reads the header; the stream then stands at the first value.
fn parse(source: &Source, bytes: &mut ArrayBytes) -> Result<Array> {
    let truncated = |_| source.format_error("NPY header is truncated");
    let mut start = [0; 8];
    bytes.stream.read_exact(&mut start).map_err(truncated)?;
    let (start, length) = match start[6] {
        1 => {
            let mut raw = [0; 2];
            bytes.stream.read_exact(&mut raw).map_err(truncated)?;
            (10, u64::from(u16::from_le_bytes(raw)))
        }
        2 | 3 => {
            let mut raw = [0; 4];
            bytes.stream.read_exact(&mut raw).map_err(truncated)?;
            (12, u64::from(u32::from_le_bytes(raw)))
        }
        other => return Err(source.unsupported(format!("NPY version {other}; 1 to 3 are"))),
    };
    if length > MAX_HEADER_BYTES as u64 || length > bytes.length {
        return Err(source.format_error("NPY header is truncated"));
    }
    let mut header = vec![0; length as usize];
    bytes.stream.read_exact(&mut header).map_err(truncated)?;
    let header =
        std::str::from_utf8(&header).map_err(|_| source.format_error("NPY header is not text"))?;
    let array = parse_header(source, header)?;
    let after = bytes.length.saturating_sub(start + length);
    check_payload(source, &array, after)?;
    let stored = match bytes.packing {
        Packing::Raw => after,
        _ => bytes.stored,
    };
    array.layout.check(source, stored, bytes.packing)?;
    Ok(array)
}

fn parse_header(source: &Source, header: &str) -> Result<Array> {
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
    let layout = Layout {
        element,
        order,
        count: payload::count(&shape).unwrap_or(usize::MAX),
        tail: 0,
        scaling: None,
    };
    Ok(Array {
        shape,
        layout,
        fortran,
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
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        _ => {
            let problem =
                format!("NPY type {code:?}; bool, integers and floats of 16 to 64 bits are");
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

/// Refuses values over the limit, and a number of bytes that is not the shape's.
fn check_payload(source: &Source, array: &Array, got: u64) -> Result<()> {
    let Array { shape, layout, .. } = array;
    let count = payload::count(shape).map(|n| n as u64);
    let size = layout.element.size();
    let stored = count.and_then(|n| n.checked_mul(size as u64));
    source.check_bytes(count.and_then(|n| n.checked_mul(size.max(4) as u64)))?;
    if shape.contains(&0) {
        return Err(source.format_error(format!("the array of shape {shape:?} is empty")));
    }
    // Values with the first axis fastest are held twice while they change places.
    let copies = if array.fortran { 2 } else { 1 };
    source.check_with_file(count.unwrap_or(u64::MAX).saturating_mul(4 * copies))?;
    if stored == Some(got) {
        Ok(())
    } else {
        Err(source.format_error(format!(
            "shape {shape:?} needs {} bytes of values, the file has {got}",
            stored.unwrap_or(u64::MAX)
        )))
    }
}
