//! NRRD in (`.nrrd`, `.nhdr`; <http://teem.sourceforge.net/nrrd/format.html>): raw, gzip and text encodings, values in
//! the file or in one beside it, every space, and 3D Slicer's segmentations with names and colours.
//!
//! Volumes have three axes in space; one more axis may hold the samples of a colour, or the layers of a segmentation,
//! which are merged.

use std::borrow::Cow;

use super::element::label;
use super::gzip::Trailing;
use super::nrrd_header::Header;
use super::payload::{self, Layout, Packing, Stream, Wanted};
use super::source::Source;
use super::text_header::{check_text, detached, text_values};
use super::{LabelFile, Picture};
use crate::scan::{FileFormat, Scan, ScanInfo};
use crate::{
    Image, ImageFile, LabelMap, LabelVolume, Result, RgbImage, Segmentation, Size, Volume,
};

/// Header and values, before anything is decoded.
struct File<'a> {
    header: Header,
    data: Cow<'a, [u8]>,
    packing: Packing,
    /// All values of the file.
    layout: Layout,
    trailing: Trailing,
}

/// Reads a picture or a volume; of a series of volumes the `chosen` one, counted from 1.
pub(super) fn read_scan(source: &Source, chosen: Option<&str>) -> Result<Scan> {
    let file = open(source)?;
    let header = &file.header;
    let shape = header.spatial_shape();
    let is_colour = shape.len() == 2 && header.layers() == 3;
    let values = if is_colour {
        file.values(source, 0, file.layout.count)?
    } else {
        file.one_volume(source, chosen)?
    };
    let content = match shape[..] {
        [width, height] if is_colour => {
            let bytes = values.iter().map(|&v| v.clamp(0.0, 255.0) as u8);
            let image = RgbImage::new(Size::new(height, width), header.interleaved(bytes))?;
            ImageFile::Picture(Picture::Rgb(image))
        }
        [width, height] => {
            let image = Image::new(Size::new(height, width), values)?;
            ImageFile::Picture(Picture::Grey(image))
        }
        _ => ImageFile::Volume(Volume::new(header.geometry(source)?, values)?),
    };
    let mut info = ScanInfo::of_format(FileFormat::Nrrd);
    info.warnings = file.warnings();
    info.pixel_spacing_mm = header.pixel_spacing_mm();
    Ok(Scan { content, info })
}

/// Labels, with names and colours of a segmentation.
pub(super) fn read_segmentation(source: &Source) -> Result<(Segmentation, Vec<String>)> {
    let file = open(source)?;
    let stored = file.labels(source)?;
    let header = &file.header;
    let mut warnings = file.warnings();
    let (data, segments) = header.merged(stored, &mut warnings);
    let labels = match header.spatial_shape()[..] {
        [width, height] => LabelFile::Map(LabelMap::new(Size::new(height, width), data)?),
        _ => LabelFile::Volume(LabelVolume::new(header.geometry(source)?, data)?),
    };
    Ok((Segmentation { labels, segments }, warnings))
}

/// Number of volumes in the file; 1 for pictures and single volumes.
pub(super) fn volume_count(source: &Source) -> Result<u64> {
    let (header, _) = Header::parse(source)?;
    let is_colour = header.spatial_shape().len() == 2 && header.layers() == 3;
    Ok(if is_colour { 1 } else { header.layers() as u64 })
}

impl File<'_> {
    fn warnings(&self) -> Vec<String> {
        let own = self.header.warnings.iter().cloned();
        own.chain(self.trailing.note()).collect()
    }

    /// The values of the chosen volume of a series, or of the only one.
    fn one_volume(&self, source: &Source, chosen: Option<&str>) -> Result<Vec<f32>> {
        let volumes = self.header.layers();
        let sizes: Vec<u64> = self.header.sizes.iter().map(|&n| n as u64).collect();
        let Some(number) =
            payload::chosen_volume(source, &sizes, volumes as u64, Wanted::Volume(chosen))?
        else {
            return self.values(source, 0, self.layout.count);
        };
        let (number, voxels) = (number as usize, self.layout.count / volumes);
        if self.header.layers_are_last() {
            return self.values(source, number * voxels, voxels);
        }
        let interleaved = self.values(source, 0, self.layout.count)?;
        Ok(interleaved
            .into_iter()
            .skip(number)
            .step_by(volumes)
            .collect())
    }

    /// `count` values from the one with the number `first` on.
    fn values(&self, source: &Source, first: usize, count: usize) -> Result<Vec<f32>> {
        if self.header.is_text() {
            let bytes = self.text(source)?;
            let numbers = text_values(source, bytes, self.layout.element, first, count)?;
            return Ok(numbers.into_iter().map(|v| v as f32).collect());
        }
        let (stream, layout) = self.stream(source, first, count)?;
        payload::read_values(source, stream, &layout)
    }

    fn labels(&self, source: &Source) -> Result<Vec<u16>> {
        if self.header.is_text() {
            let bytes = self.text(source)?;
            let numbers = text_values(source, bytes, self.layout.element, 0, self.layout.count)?;
            let labels: std::result::Result<_, f64> = numbers.into_iter().map(label).collect();
            return labels.map_err(|value| source.bad_label(value));
        }
        let (stream, layout) = self.stream(source, 0, self.layout.count)?;
        payload::read_labels(source, stream, &layout)
    }

    /// The stored values of encoding text, after the lines and bytes to skip.
    fn text(&self, source: &Source) -> Result<&[u8]> {
        let (rest, skip) = self.header.skips(source, &self.data, 0)?;
        Ok(rest.get(skip as usize..).unwrap_or_default())
    }

    /// The bytes of `count` values from the one with the number `first` on, with their layout.
    fn stream(&self, source: &Source, first: usize, count: usize) -> Result<(Stream<'_>, Layout)> {
        let size = self.layout.element.size() as u64;
        let (stored, gap) = self.header.skips(source, &self.data, self.layout.bytes())?;
        let before = first as u64 * size;
        let layout = Layout {
            count,
            tail: self
                .layout
                .bytes()
                .saturating_sub(before + count as u64 * size),
            ..self.layout
        };
        if self.packing == Packing::Raw {
            let start = usize::try_from(gap.saturating_add(before)).unwrap_or(usize::MAX);
            let values = stored.get(start..).unwrap_or_default();
            return Ok((Stream::Raw(values), layout));
        }
        let mut stream = self.packing.stream(stored, &self.trailing);
        payload::skip(source, &mut stream, gap, before, &layout)?;
        Ok((stream, layout))
    }
}

fn open<'a>(source: &'a Source) -> Result<File<'a>> {
    let (header, rest) = Header::parse(source)?;
    let data = match &header.data_file {
        None => Cow::Borrowed(rest),
        Some(name) if is_list(name) => {
            let problem =
                "NRRD values in lists of data files (LIST, or a name with %); one data file is";
            return Err(source.unsupported(problem));
        }
        Some(name) => Cow::Owned(detached(source, name)?),
    };
    let packing = header.packing(source)?;
    let count = payload::count(&header.sizes);
    source.check_bytes(count.and_then(|n| (n as u64).checked_mul(4)))?;
    let layout = Layout {
        element: header.element,
        order: header.order,
        count: count.unwrap_or(usize::MAX),
        tail: 0,
        scaling: None,
    };
    let stored = data.len() as u64;
    if header.is_text() {
        check_text(source, &layout, stored)?;
    } else {
        layout.check(source, stored, packing)?;
    }
    Ok(File {
        header,
        data,
        packing,
        layout,
        trailing: Trailing::default(),
    })
}

/// Whether a data file's name stands for several files.
fn is_list(name: &str) -> bool {
    let first = name.split_whitespace().next().unwrap_or_default();
    first == "LIST" || name.contains('%')
}
