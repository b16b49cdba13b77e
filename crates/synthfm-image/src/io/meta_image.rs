//! `MetaImage` in (`.mha`, `.mhd`): raw or zlib values, in the file or in one beside it, in ITK's LPS coordinates.

use std::collections::BTreeMap;

use super::element::{ByteOrder, Element};
use super::payload::{self, Layout, Packing, count};
use super::source::Source;
use super::text_header::{MAX_HEADER_BYTES, detached, exactly, lengths, numbers};
use super::{LabelFile, Picture};
use crate::scan::{FileFormat, Scan, ScanInfo};
use crate::{
    Image, ImageFile, LabelMap, LabelVolume, Result, RgbImage, Size, Volume, VolumeGeometry,
};

/// A checked header with the bytes of its values.
struct File {
    shape: Vec<usize>,
    channels: usize,
    spacing: Vec<f64>,
    origin: Vec<f64>,
    /// Directions of the axes, one after the other.
    matrix: Vec<f64>,
    layout: Layout,
    packing: Packing,
    bytes: Vec<u8>,
}

pub(super) fn read_scan(source: &Source) -> Result<Scan> {
    let file = open(source)?;
    let stream = file.packing.stream(&file.bytes);
    let values = payload::read_values(source, stream, &file.layout)?;
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
    let stream = file.packing.stream(&file.bytes);
    let labels = payload::read_labels(source, stream, &file.layout)?;
    Ok(match file.shape[..] {
        [width, height] => LabelFile::Map(LabelMap::new(Size::new(height, width), labels)?),
        _ => LabelFile::Volume(LabelVolume::new(file.geometry(source)?, labels)?),
    })
}

impl File {
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

type Fields = BTreeMap<String, String>;

/// Fields up to the one that says where the values are; it is the last.
fn fields<'a>(source: &'a Source) -> Result<(Fields, &'a [u8])> {
    let bytes = source.bytes();
    let start = &bytes[..bytes.len().min(MAX_HEADER_BYTES)];
    let mut fields = Fields::new();
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
        fields.insert(key, value.trim().to_owned());
        if is_last {
            return Ok((fields, &bytes[at..]));
        }
    }
    Err(source.format_error("MetaImage header without ElementDataFile"))
}

fn open(source: &Source) -> Result<File> {
    let (fields, rest) = fields(source)?;
    let field = |names: &[&str]| {
        names
            .iter()
            .find_map(|&name| fields.get(name).map(String::as_str))
    };
    let bad = |name: &str| source.format_error(format!("MetaImage header: bad or missing {name}"));
    let is_true = |names: &[&str]| field(names).is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let shape = field(&["DimSize"])
        .and_then(lengths)
        .ok_or_else(|| bad("DimSize"))?;
    let axes = shape.len();
    if !(2..=3).contains(&axes) {
        return Err(source.unsupported(format!("{shape:?} voxels; two and three dimensions are")));
    }
    let channels = match field(&["ElementNumberOfChannels"]) {
        None => 1,
        Some(text) => text
            .parse()
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| bad("ElementNumberOfChannels"))?,
    };
    let vector = |names: &[&str], default: Vec<f64>| match field(names) {
        None => Ok(default),
        Some(text) => numbers(text)
            .filter(|all| all.len() == default.len())
            .ok_or_else(|| bad(names[0])),
    };
    let identity = match axes {
        2 => vec![1.0, 0.0, 0.0, 1.0],
        _ => vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    };
    let big = is_true(&["BinaryDataByteOrderMSB", "ElementByteOrderMSB"]);
    let packing = if is_true(&["CompressedData"]) {
        Packing::Zlib
    } else {
        Packing::Raw
    };
    let total = count(&shape).and_then(|n| n.checked_mul(channels));
    source.check_bytes(total.and_then(|n| (n as u64).checked_mul(4)))?;
    let layout = Layout {
        element: element(
            source,
            field(&["ElementType"]).ok_or_else(|| bad("ElementType"))?,
        )?,
        order: if big {
            ByteOrder::Big
        } else {
            ByteOrder::Little
        },
        count: total.unwrap_or(usize::MAX),
        scaling: None,
    };
    let bytes = values(source, &fields, rest, &layout, packing)?;
    layout.check(source, bytes.len() as u64, packing)?;
    Ok(File {
        channels,
        spacing: vector(&["ElementSpacing", "ElementSize"], vec![1.0; axes])?,
        origin: vector(&["Offset", "Position", "Origin"], vec![0.0; axes])?,
        matrix: vector(&["TransformMatrix", "Rotation", "Orientation"], identity)?,
        shape,
        layout,
        packing,
        bytes,
    })
}

/// The bytes of the values, after the header's own size in a file of its own.
fn values(
    source: &Source,
    fields: &Fields,
    rest: &[u8],
    layout: &Layout,
    packing: Packing,
) -> Result<Vec<u8>> {
    let name = fields.get("ElementDataFile").map_or("", String::as_str);
    if name.eq_ignore_ascii_case("local") {
        return Ok(rest.to_vec());
    }
    if name.eq_ignore_ascii_case("list") || name.contains('%') {
        return Err(source.unsupported("MetaImage values in many files; one file is"));
    }
    let mut bytes = detached(source, name)?;
    let skip: Option<[f64; 1]> = fields.get("HeaderSize").and_then(|text| exactly(text));
    let skip = match skip {
        Some([skip]) if skip < 0.0 && packing == Packing::Raw => bytes
            .len()
            .saturating_sub(layout.count.saturating_mul(layout.element.size())),
        Some([skip]) => skip.max(0.0) as usize,
        None => 0,
    };
    Ok(bytes.split_off(skip.min(bytes.len())))
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
