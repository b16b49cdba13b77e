//! `MetaImage` in (`.mha`, `.mhd`): raw, zlib or text values, in the file or in one beside it, in ITK's LPS coordinates.
//!
//! Keys come in any order; `ElementDataFile` ends the header, as in `MetaIO`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::element::{ByteOrder, Element, label};
use super::gzip::Trailing;
use super::payload::{self, Layout, Packing, count};
use super::source::Source;
use super::text_header::{
    MAX_HEADER_BYTES, check_text, detached, exactly, lengths, numbers, text_values,
};
use super::{LabelFile, Picture};
use crate::scan::{FileFormat, Scan, ScanInfo};
use crate::{
    Image, ImageFile, LabelMap, LabelVolume, Result, RgbImage, Size, Volume, VolumeGeometry,
};

/// Bytes in which the last key of a header is looked for, to tell the format.
const SEARCHED_BYTES: usize = 64 << 10;

/// How values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    Binary(Packing),
    /// Numbers apart by blanks.
    Text,
}

/// A checked header with the bytes of its values.
struct File<'a> {
    shape: Vec<usize>,
    channels: usize,
    spacing: Vec<f64>,
    origin: Vec<f64>,
    /// Directions of the axes, one after the other.
    matrix: Vec<f64>,
    layout: Layout,
    storage: Storage,
    bytes: Cow<'a, [u8]>,
    /// Where the values begin in `bytes`.
    start: usize,
}

/// Whether a file begins with a header: a key with its value, and the key that ends every header.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(SEARCHED_BYTES)];
    let word = start
        .iter()
        .position(|b| !b.is_ascii_alphanumeric())
        .unwrap_or(0);
    let after = start[word..].trim_ascii_start().first();
    let last: &[u8] = b"\nElementDataFile";
    word > 0 && after == Some(&b'=') && start.windows(last.len()).any(|bytes| bytes == last)
}

pub(super) fn read_scan(source: &Source) -> Result<Scan> {
    let file = open(source)?;
    let values = file.values(source)?;
    let mut info = ScanInfo::of_format(FileFormat::MetaImage);
    let content = match (&file.shape[..], file.channels) {
        (&[width, height], 3) => {
            let data = values.iter().map(|&v| v.clamp(0.0, 255.0) as u8).collect();
            ImageFile::Picture(Picture::Rgb(RgbImage::new(Size::new(height, width), data)?))
        }
        (&[width, height], 1) => {
            ImageFile::Picture(Picture::Grey(Image::new(Size::new(height, width), values)?))
        }
        (_, 1) => ImageFile::Volume(Volume::new(file.geometry(source)?, values)?),
        _ => return Err(file.channels_error(source)),
    };
    if let [x, y] = file.spacing[..] {
        info.pixel_spacing_mm = Some([y, x]);
    }
    Ok(Scan { content, info })
}

pub(super) fn read_labels(source: &Source) -> Result<LabelFile> {
    let file = open(source)?;
    if file.channels != 1 {
        return Err(file.channels_error(source));
    }
    let labels = file.labels(source)?;
    Ok(match file.shape[..] {
        [width, height] => LabelFile::Map(LabelMap::new(Size::new(height, width), labels)?),
        _ => LabelFile::Volume(LabelVolume::new(file.geometry(source)?, labels)?),
    })
}

impl File<'_> {
    fn values(&self, source: &Source) -> Result<Vec<f32>> {
        let bytes = &self.bytes[self.start..];
        match self.storage {
            Storage::Text => {
                let numbers =
                    text_values(source, bytes, self.layout.element, 0, self.layout.count)?;
                Ok(numbers.into_iter().map(|v| v as f32).collect())
            }
            Storage::Binary(packing) => {
                let stream = packing.stream(bytes, &Trailing::default());
                payload::read_values(source, stream, &self.layout)
            }
        }
    }

    fn labels(&self, source: &Source) -> Result<Vec<u16>> {
        let bytes = &self.bytes[self.start..];
        match self.storage {
            Storage::Text => {
                let numbers =
                    text_values(source, bytes, self.layout.element, 0, self.layout.count)?;
                let labels: std::result::Result<_, f64> = numbers.into_iter().map(label).collect();
                labels.map_err(|value| source.bad_label(value))
            }
            Storage::Binary(packing) => {
                let stream = packing.stream(bytes, &Trailing::default());
                payload::read_labels(source, stream, &self.layout)
            }
        }
    }

    fn channels_error(&self, source: &Source) -> crate::Error {
        source.unsupported(format!(
            "{:?} values with {} channels; one is, and three in a picture",
            self.shape, self.channels
        ))
    }

    fn geometry(&self, source: &Source) -> Result<VolumeGeometry> {
        let Self {
            shape,
            spacing,
            origin,
            matrix,
            ..
        } = self;
        let affine = [0, 1, 2].map(|row| {
            let direction = |axis: usize| matrix[3 * axis + row] * spacing[axis];
            [direction(0), direction(1), direction(2), origin[row]]
        });
        VolumeGeometry::new([shape[0], shape[1], shape[2]], affine)
            .map_err(|error| source.format_error(error.to_string()))
    }
}

/// Values of the keys.
struct Fields {
    values: BTreeMap<String, String>,
    /// Bytes of the header.
    length: usize,
}

impl Fields {
    /// Reads up to the key that says where the values are; it is the last.
    fn read(source: &Source) -> Result<Self> {
        let bytes = source.bytes();
        let start = &bytes[..bytes.len().min(MAX_HEADER_BYTES)];
        let mut values = BTreeMap::new();
        let mut at = 0;
        while at < start.len() {
            let end = start[at..].iter().position(|&b| b == b'\n').map(|n| at + n);
            let line = String::from_utf8_lossy(&start[at..end.unwrap_or(start.len())]).into_owned();
            at = end.map_or(start.len(), |end| end + 1);
            let Some((key, value)) = line.split_once('=') else {
                if line.trim().is_empty() {
                    continue;
                }
                break;
            };
            let key = key.trim().to_owned();
            let is_last = key == "ElementDataFile";
            values.insert(key, value.trim().to_owned());
            if is_last {
                return Ok(Self { values, length: at });
            }
        }
        Err(source.format_error("MetaImage header without ElementDataFile"))
    }

    fn get(&self, names: &[&str]) -> Option<&str> {
        let mut found = names.iter().filter_map(|&name| self.values.get(name));
        found.next().map(String::as_str)
    }

    /// Truth values begin with T or 1, as `MetaIO` reads them.
    fn is_true(&self, names: &[&str]) -> Option<bool> {
        self.get(names)
            .map(|value| value.starts_with(['T', 't', '1']))
    }

    /// As many numbers as the default has.
    fn vector(&self, source: &Source, names: &[&str], default: Vec<f64>) -> Result<Vec<f64>> {
        match self.get(names) {
            None => Ok(default),
            Some(text) => numbers(text)
                .filter(|all| all.len() == default.len())
                .ok_or_else(|| bad(source, names[0])),
        }
    }

    fn storage(&self) -> Storage {
        if self.is_true(&["BinaryData"]) == Some(false) {
            Storage::Text
        } else if self.is_true(&["CompressedData"]) == Some(true) {
            Storage::Binary(Packing::Zlib)
        } else {
            Storage::Binary(Packing::Raw)
        }
    }

    fn layout(&self, source: &Source, count: usize) -> Result<Layout> {
        let name = self.get(&["ElementType"]);
        let big = self.is_true(&["BinaryDataByteOrderMSB", "ElementByteOrderMSB"]);
        Ok(Layout {
            element: element(source, name.ok_or_else(|| bad(source, "ElementType"))?)?,
            order: if big == Some(true) {
                ByteOrder::Big
            } else {
                ByteOrder::Little
            },
            count,
            tail: 0,
            scaling: None,
        })
    }
}

fn bad(source: &Source, name: &str) -> crate::Error {
    source.format_error(format!("MetaImage header: bad or missing {name}"))
}

fn open<'a>(source: &'a Source) -> Result<File<'a>> {
    let fields = Fields::read(source)?;
    let shape = fields
        .get(&["DimSize"])
        .and_then(lengths)
        .ok_or_else(|| bad(source, "DimSize"))?;
    let axes = shape.len();
    if !(2..=3).contains(&axes) {
        return Err(source.unsupported(format!("{shape:?} voxels; two and three dimensions are")));
    }
    let channels = match fields.get(&["ElementNumberOfChannels"]) {
        None => 1,
        Some(text) => text
            .parse()
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| bad(source, "ElementNumberOfChannels"))?,
    };
    let identity = match axes {
        2 => vec![1.0, 0.0, 0.0, 1.0],
        _ => vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    };
    let total = count(&shape).and_then(|n| n.checked_mul(channels));
    source.check_bytes(total.and_then(|n| (n as u64).checked_mul(4)))?;
    let layout = fields.layout(source, total.unwrap_or(usize::MAX))?;
    let storage = fields.storage();
    let (bytes, start) = values(source, &fields, &layout, storage)?;
    check(source, &layout, storage, bytes.len() - start)?;
    let vector = |names: &[&str], default| fields.vector(source, names, default);
    Ok(File {
        channels,
        spacing: vector(&["ElementSpacing", "ElementSize"], vec![1.0; axes])?,
        origin: vector(&["Offset", "Position", "Origin"], vec![0.0; axes])?,
        matrix: vector(&["TransformMatrix", "Rotation", "Orientation"], identity)?,
        shape,
        layout,
        storage,
        bytes,
        start,
    })
}

/// Refuses more values than `stored` bytes can hold.
fn check(source: &Source, layout: &Layout, storage: Storage, stored: usize) -> Result<()> {
    match storage {
        Storage::Binary(packing) => layout.check(source, stored as u64, packing),
        Storage::Text => check_text(source, layout, stored as u64),
    }
}

/// The bytes of the file that holds the values, and where they begin there.
fn values<'a>(
    source: &'a Source,
    fields: &Fields,
    layout: &Layout,
    storage: Storage,
) -> Result<(Cow<'a, [u8]>, usize)> {
    let name = fields.get(&["ElementDataFile"]).unwrap_or_default();
    let first_word = name.split_whitespace().next().unwrap_or_default();
    let (bytes, after_header) = if name.eq_ignore_ascii_case("local") {
        (Cow::Borrowed(source.bytes()), fields.length)
    } else if first_word.eq_ignore_ascii_case("list") || name.contains('%') {
        let problem = "MetaImage values in lists of data files; one data file is";
        return Err(source.unsupported(problem));
    } else {
        (Cow::Owned(detached(source, name)?), 0)
    };
    // HeaderSize counts from the start of the file with the values, also where that is the header's own file.
    let skip: Option<[f64; 1]> = fields.get(&["HeaderSize"]).and_then(exactly);
    let start = match skip {
        Some([skip]) if skip < 0.0 && storage == Storage::Binary(Packing::Raw) => {
            let size = layout.count.saturating_mul(layout.element.size());
            bytes.len().saturating_sub(size)
        }
        Some([skip]) if skip > 0.0 => skip as usize,
        _ => after_header,
    };
    let start = start.min(bytes.len());
    Ok((bytes, start))
}

fn element(source: &Source, name: &str) -> Result<Element> {
    Ok(match name {
        "MET_CHAR" => Element::I8,
        "MET_UCHAR" => Element::U8,
        "MET_SHORT" => Element::I16,
        "MET_USHORT" => Element::U16,
        "MET_INT" | "MET_LONG" => Element::I32,
        "MET_UINT" | "MET_ULONG" => Element::U32,
        "MET_LONG_LONG" => Element::I64,
        "MET_ULONG_LONG" => Element::U64,
        "MET_FLOAT" => Element::F32,
        "MET_DOUBLE" => Element::F64,
        _ => {
            let problem =
                format!("MetaImage type {name:?}; integers, MET_FLOAT and MET_DOUBLE are");
            return Err(source.unsupported(problem));
        }
    })
}
