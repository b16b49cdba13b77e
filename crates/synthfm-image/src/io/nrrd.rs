//! NRRD in (`.nrrd`, `.nhdr`; <http://teem.sourceforge.net/nrrd/format.html>): raw, gzip and text encodings, values in
//! the file or in one beside it, every space, and 3D Slicer's segmentations with names and colours.
//!
//! Volumes have three axes in space; one more axis may hold the samples of a colour, or the layers of a segmentation,
//! which are merged.

use super::element::{ByteOrder, Element};
use super::nrrd_header::Header;
use super::payload::{self, Layout, Packing};
use super::source::Source;
use super::text_header::detached;
use super::{LabelFile, Picture};
use crate::scan::{FileFormat, Scan, ScanInfo};
use crate::{
    Image, ImageFile, LabelMap, LabelVolume, Result, RgbImage, Segmentation, Size, Volume,
};

/// Where the values are.
enum Data<'a> {
    Attached(&'a [u8]),
    Detached(Vec<u8>),
}

impl Data<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Attached(bytes) => bytes,
            Self::Detached(bytes) => bytes,
        }
    }
}

/// Header and values, before anything is decoded.
struct File<'a> {
    header: Header,
    data: Data<'a>,
    packing: Packing,
    layout: Layout,
}

pub(super) fn read_scan(source: &Source) -> Result<Scan> {
    let file = open(source)?;
    let values = file.values(source)?;
    let mut info = ScanInfo::of_format(FileFormat::Nrrd);
    info.warnings.clone_from(&file.header.warnings);
    info.pixel_spacing_mm = file.header.pixel_spacing_mm();
    let header = &file.header;
    let content = match header.spatial_shape()[..] {
        [width, height] if header.layers() == 3 => {
            let bytes = values.iter().map(|&v| v.clamp(0.0, 255.0) as u8);
            let image = RgbImage::new(Size::new(height, width), header.interleaved(bytes))?;
            ImageFile::Picture(Picture::Rgb(image))
        }
        _ if header.layers() != 1 => {
            return Err(source.unsupported(format!(
                "{:?} values with {} samples per voxel; one sample is, and three in a picture",
                header.sizes,
                header.layers()
            )));
        }
        [width, height] => {
            let image = Image::new(Size::new(height, width), values)?;
            ImageFile::Picture(Picture::Grey(image))
        }
        _ => ImageFile::Volume(Volume::new(header.geometry(source)?, values)?),
    };
    Ok(Scan { content, info })
}

/// Labels, with names and colours of a segmentation.
pub(super) fn read_segmentation(source: &Source) -> Result<(Segmentation, Vec<String>)> {
    let file = open(source)?;
    let stored = file.labels(source)?;
    let header = &file.header;
    let mut warnings = header.warnings.clone();
    let (data, segments) = header.merged(stored, &mut warnings);
    let labels = match header.spatial_shape()[..] {
        [width, height] => LabelFile::Map(LabelMap::new(Size::new(height, width), data)?),
        _ => LabelFile::Volume(LabelVolume::new(header.geometry(source)?, data)?),
    };
    Ok((Segmentation { labels, segments }, warnings))
}

impl File<'_> {
    fn values(&self, source: &Source) -> Result<Vec<f32>> {
        if self.header.is_text() {
            let numbers = self.text(source)?;
            return Ok(numbers.into_iter().map(|v| v as f32).collect());
        }
        let stream = self.packing.stream(self.data.bytes());
        payload::read_values(source, self.header.skipping(stream), &self.layout)
    }

    fn labels(&self, source: &Source) -> Result<Vec<u16>> {
        if self.header.is_text() {
            let labels: std::result::Result<Vec<u16>, f64> = self
                .text(source)?
                .into_iter()
                .map(super::element::label)
                .collect();
            return labels.map_err(|value| source.bad_label(value));
        }
        let stream = self.packing.stream(self.data.bytes());
        payload::read_labels(source, self.header.skipping(stream), &self.layout)
    }

    fn text(&self, source: &Source) -> Result<Vec<f64>> {
        let bytes = self.data.bytes();
        let text = std::str::from_utf8(bytes)
            .map_err(|_| source.format_error("NRRD values of encoding text are no text"))?;
        let words = text.split_whitespace().take(self.layout.count);
        let numbers: Option<Vec<f64>> = words.map(|word| word.parse().ok()).collect();
        let numbers = numbers.unwrap_or_default();
        if numbers.len() < self.layout.count {
            return Err(source.format_error(format!(
                "truncated NRRD: {} of {} values in text",
                numbers.len(),
                self.layout.count
            )));
        }
        Ok(numbers)
    }
}

fn open<'a>(source: &'a Source) -> Result<File<'a>> {
    let (header, rest) = Header::parse(source)?;
    let data = match &header.data_file {
        None => Data::Attached(rest),
        Some(name) => Data::Detached(detached(source, name)?),
    };
    let packing = header.packing(source)?;
    let count = payload::count(&header.sizes);
    source.check_bytes(count.and_then(|n| (n as u64).checked_mul(4)))?;
    let layout = Layout {
        element: header.element,
        order: header.order,
        count: count.unwrap_or(usize::MAX),
        scaling: None,
    };
    let stored = data.bytes().len() as u64;
    if header.is_text() {
        // A digit and a space each.
        let one_byte = Layout {
            element: Element::U8,
            order: ByteOrder::Little,
            ..layout
        };
        one_byte.check(source, stored, Packing::Raw)?;
    } else {
        layout.check(source, stored, packing)?;
    }
    let mut header = header;
    header.locate(data.bytes(), layout.count);
    Ok(File {
        header,
        data,
        packing,
        layout,
    })
}
