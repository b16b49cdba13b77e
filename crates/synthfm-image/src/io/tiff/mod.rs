//! TIFF in: integers of 1 to 64 bits and floats, grey, palettes or RGB; several pages of one size are a volume.
//!
//! A page is `[row, col]`; pages follow each other along `k`. Of a stack with channels or frames, as `ImageJ` and OME
//! write it, one volume is read. Spacing is not read, for few programs write one that means millimetres.

mod directory;
mod page;
mod stack;
mod strips;

use super::element::label;
use super::orientation::Orientation;
use super::source::Source;
use super::{LabelFile, Picture, pages, payload};
use crate::scan::{FileFormat, Scan, ScanInfo};
use crate::{
    Image, ImageFile, LabelMap, LabelVolume, Result, RgbImage, Size, Volume, VolumeGeometry,
};
pub(super) use directory::TiffFile;
use page::{Meaning, Page, is_secondary};
use stack::Stack;
use strips::SampleType;

/// Pages that are one picture or volume.
struct Pages {
    pages: Vec<Page>,
    /// How they were chosen among more.
    notes: Vec<String>,
}

/// Reads a picture or a volume; of a stack with channels or frames the `chosen` volume, counted from 1.
pub(super) fn read_scan(source: &Source, chosen: Option<&str>) -> Result<Scan> {
    let (all, stack, mut notes) = directories(source)?;
    let pages = choose(source, all, stack, chosen)?;
    check_same(source, &pages.pages, |page| {
        matches!(page.meaning, Meaning::Grey { .. })
    })?;
    notes.extend(pages.notes);
    let first = &pages.pages[0];
    let content = match first.meaning {
        Meaning::Rgb => ImageFile::Picture(colours(source, first)?),
        Meaning::Palette(ref palette) => ImageFile::Picture(resolved(source, first, palette)?),
        Meaning::Grey { .. } => grey(source, &pages.pages)?,
    };
    let content = match (content, first.orientation) {
        (ImageFile::Picture(picture), Some(orientation)) => {
            notes.push(orientation.note());
            ImageFile::Picture(orientation.upright_picture(&picture)?)
        }
        (content, _) => content,
    };
    let mut info = ScanInfo::of_format(FileFormat::Tiff);
    info.warnings = notes;
    Ok(Scan { content, info })
}

/// Reads labels: grey values, or indices of a palette.
pub(super) fn read_labels(source: &Source) -> Result<(LabelFile, Vec<String>)> {
    let (all, stack, mut notes) = directories(source)?;
    let volumes = stack.as_ref().map_or(1, Stack::volumes);
    if volumes > 1 {
        return Err(source.unsupported(format!("labels in {volumes} channels or frames; one is")));
    }
    let Pages { pages, .. } = choose(source, all, stack, None)?;
    check_same(source, &pages, |page| page.meaning != Meaning::Rgb)?;
    if pages[0].meaning == Meaning::Rgb {
        return Err(source.unsupported("labels in a TIFF of RGB; store them as grey values"));
    }
    let labels = values(source, &pages, label)?;
    let size = pages[0].size;
    let labels = if pages.len() > 1 {
        LabelFile::Volume(LabelVolume::new(geometry(size, pages.len())?, labels)?)
    } else {
        let map = LabelMap::new(size, labels)?;
        LabelFile::Map(match pages[0].orientation {
            Some(orientation) => {
                notes.push(orientation.note());
                orientation.upright_labels(&map)?
            }
            None => map,
        })
    };
    Ok((labels, notes))
}

/// Number of volumes in the file, of which one is read.
pub(super) fn volume_count(source: &Source) -> Result<u64> {
    let (_, stack, _) = directories(source)?;
    Ok(stack.map_or(1, |stack| stack.volumes() as u64))
}

/// The orientation of the first page.
pub(super) fn orientation(source: &Source) -> Option<Orientation> {
    let directory = TiffFile::of(source.bytes())?.first()?;
    Orientation::of_tag(directory.number(super::orientation::ORIENTATION_TAG)?)
}

/// Pages without thumbnails, with their order if it is stated, and notes.
fn directories(source: &Source) -> Result<(Vec<Page>, Option<Stack>, Vec<String>)> {
    let damaged = || source.format_error("damaged TIFF: its directories lie outside the file");
    let file = TiffFile::of(source.bytes()).ok_or_else(damaged)?;
    let directories = file.directories().ok_or_else(damaged)?;
    let mut all = Vec::new();
    let (mut secondary, mut pixels) = (0, 0u64);
    let some_primary = directories.iter().any(|directory| !is_secondary(directory));
    for directory in &directories {
        // Thumbnails may be compressed in ways that are not read.
        if some_primary && is_secondary(directory) {
            secondary += 1;
            continue;
        }
        let page = Page::of(source, file, directory)?;
        pixels = pixels.saturating_add(page.size.area() as u64);
        source.check_bytes(pixels.checked_mul(4))?;
        all.push(page);
    }
    if all.is_empty() {
        return Err(source.format_error("a TIFF without a page"));
    }
    let mut notes = Vec::new();
    if secondary > 0 {
        notes.push(format!(
            "{secondary} pages of reduced size (thumbnails) or masks were left out"
        ));
    }
    let stack = Stack::of(&all[0].description);
    let count = stack.as_ref().and_then(Stack::pages).unwrap_or(1);
    if all.len() == 1 && count > 1 {
        follow(source, &mut all, count)?;
    }
    let stack = stack.filter(|stack| stack.pages() == Some(all.len()));
    Ok((all, stack, notes))
}

/// Adds the pages of `ImageJ`'s large files: they have one directory, and the others' values follow the first page's.
fn follow(source: &Source, all: &mut Vec<Page>, count: usize) -> Result<()> {
    let first = &all[0];
    // As many as the file has bytes are counted before any is described.
    if first.stored_bytes().saturating_mul(count) > source.bytes().len() {
        return Err(source.format_error(format!(
            "truncated TIFF: {count} pages of {} in {} bytes",
            first.size,
            source.bytes().len()
        )));
    }
    if !first.is_contiguous() {
        return Err(source.unsupported(format!(
            "{count} pages in one TIFF directory, compressed or in strips apart"
        )));
    }
    let more: Option<Vec<Page>> = (1..count).map(|n| all[0].following(n)).collect();
    all.extend(more.ok_or_else(|| source.format_error("damaged TIFF: pages without end"))?);
    Ok(())
}

/// The pages of one volume.
fn choose(
    source: &Source,
    all: Vec<Page>,
    stack: Option<Stack>,
    chosen: Option<&str>,
) -> Result<Pages> {
    let mut notes = Vec::new();
    let pages = match stack {
        Some(stack) if stack.volumes() > 1 => {
            let volumes = stack.volumes();
            let number = match chosen {
                None => 1,
                Some(text) => text
                    .parse()
                    .ok()
                    .filter(|n| (1..=volumes).contains(n))
                    .ok_or_else(|| {
                        source.unsupported(format!(
                            "volume {text:?} of a stack of {}; choose one by its number, 1 to {volumes} (`--series` on the command line)",
                            stack.words()
                        ))
                    })?,
            };
            notes.push(format!(
                "a stack of {}: volume {number} of {volumes} was taken, counted by channels, then frames; `--series` \
                 on the command line takes another",
                stack.words()
            ));
            let wanted = stack.pages_of(number - 1);
            let mut all: Vec<Option<Page>> = all.into_iter().map(Some).collect();
            wanted
                .iter()
                .filter_map(|&n| all.get_mut(n)?.take())
                .collect()
        }
        _ => all,
    };
    Ok(Pages { pages, notes })
}

/// Refuses pages that are not the slices of one volume, and sizes that the file cannot hold.
fn check_same(source: &Source, pages: &[Page], may_be_slice: impl Fn(&Page) -> bool) -> Result<()> {
    let first = &pages[0];
    let mut values = Some(0u64);
    for page in pages {
        let differs = page.size != first.size || page.kind != first.kind;
        if differs || (pages.len() > 1 && !may_be_slice(page)) {
            return Err(source.unsupported(format!(
                "TIFF pages that differ ({} and {}) or have colours; pages of a volume are grey and of one size",
                first.size, page.size
            )));
        }
        let own = payload::count(&[page.size.width, page.size.height, page.channels()]);
        values = values
            .zip(own)
            .and_then(|(all, own)| all.checked_add(own as u64));
        source.check_bytes(values.and_then(|n| n.checked_mul(4)))?;
        page.check(source)?;
    }
    // The values, and what is decompressed at a time.
    let strip = pages.iter().map(Page::strip_bytes).max().unwrap_or(0);
    let values = values.unwrap_or(u64::MAX).saturating_mul(4);
    source.check_with_file(values.saturating_add(strip))
}

/// Values of all pages, one after the other.
fn values<T: Clone + Default>(
    source: &Source,
    all: &[Page],
    convert: impl Fn(f64) -> Result<T, f64>,
) -> Result<Vec<T>> {
    let length = all[0].size.area() * all[0].channels();
    let mut out = pages::try_zeroed(length * all.len()).map_err(|error| source.io_error(error))?;
    for (page, out) in all.iter().zip(out.chunks_exact_mut(length.max(1))) {
        page.read(source, out, &convert)?;
    }
    Ok(out)
}

fn geometry(size: Size, count: usize) -> Result<VolumeGeometry> {
    let shape = [size.width, size.height, count];
    Ok(VolumeGeometry::with_spacing(shape, [1.0; 3])?.without_place())
}

fn grey(source: &Source, pages: &[Page]) -> Result<ImageFile> {
    let first = &pages[0];
    let inverted = first.meaning == Meaning::Grey { inverted: true };
    let unsigned = unsigned_maximum(first.kind);
    // Samples of less than a byte are widened, as in PNG.
    let scale = match first.kind {
        SampleType::Bits(bits) => 255.0 / f64::from((1u8 << bits) - 1),
        SampleType::Element(_) => 1.0,
    };
    let values = values(source, pages, |v| {
        let v = match unsigned {
            Some(maximum) if inverted => maximum - v,
            _ => v,
        };
        Ok((v * scale) as f32)
    })?;
    Ok(match pages.len() {
        1 => ImageFile::Picture(Picture::Grey(Image::new(first.size, values)?)),
        count => ImageFile::Volume(Volume::new(geometry(first.size, count)?, values)?),
    })
}

/// Largest value of an unsigned type.
fn unsigned_maximum(kind: SampleType) -> Option<f64> {
    use super::element::Element;
    match kind {
        SampleType::Bits(_) | SampleType::Element(Element::U8 | Element::U16 | Element::U32) => {
            Some((kind.bits() as f64).exp2() - 1.0)
        }
        SampleType::Element(_) => None,
    }
}

fn colours(source: &Source, page: &Page) -> Result<Picture> {
    let scale = match page.kind.bits() {
        8 => 1.0,
        16 => 257.0,
        bits => {
            return Err(source.unsupported(format!("an RGB TIFF of {bits} bits; 8 and 16 are")));
        }
    };
    let pages = std::slice::from_ref(page);
    let data = values(source, pages, |v| {
        Ok((v / scale).round().clamp(0.0, 255.0) as u8)
    })?;
    Ok(Picture::Rgb(RgbImage::new(page.size, data)?))
}

/// The colours of a palette's indices; grey where every colour is.
fn resolved(source: &Source, page: &Page, palette: &[[u16; 3]]) -> Result<Picture> {
    let indices = values(source, std::slice::from_ref(page), label)?;
    let byte = |v: u16| ((u32::from(v) + 128) / 257) as u8;
    let colour = |&index: &u16| {
        let colour = palette.get(usize::from(index)).copied();
        colour.unwrap_or_default().map(byte)
    };
    if palette.iter().all(|[r, g, b]| r == g && g == b) {
        let data = indices.iter().map(|index| f32::from(colour(index)[0]));
        return Ok(Picture::Grey(Image::new(page.size, data.collect())?));
    }
    let data = indices.iter().flat_map(colour).collect();
    Ok(Picture::Rgb(RgbImage::new(page.size, data)?))
}
