//! Where the pixels and the truth of a case lie, and how stored values become labels.
//! Data sets store truth as label maps, grey bands, one binary file per structure or object, outlines, or COCO
//! objects; each becomes one label map (or volume) here, so that the rest of the evaluation knows only these.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use synthfm_image::{
    ImageFile, LabelFile, LabelMap, LabelVolume, Mask, OpenOptions, Picture, Plane, ReadOptions,
    Scan, ScanInfo, Size, Volume, VolumeGeometry, fill_holes, open_scan, picture_orientation,
    read_image, read_labels, read_segmentation, volume_count,
};

use super::coco_objects::CocoImages;
use crate::Result;
use crate::error::problem;

/// The files of a case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    pub(crate) image: ImageSource,
    pub(crate) truth: Truth,
    /// Distance between rows and columns of a picture, from a table beside it.
    pub(crate) spacing_mm: Option<[f64; 2]>,
}

impl Source {
    /// An image with a file of labels.
    pub(crate) fn of(image: PathBuf, labels: PathBuf, values: Values) -> Self {
        Self {
            image: ImageSource::File(image),
            truth: Truth::Labels(labels, values),
            spacing_mm: None,
        }
    }

    /// Every file that the case is read from.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = match &self.image {
            ImageSource::File(path) | ImageSource::FirstSlice(path) => vec![path],
            ImageSource::Slices(paths) => paths.iter().map(PathBuf::as_path).collect(),
        };
        match &self.truth {
            Truth::Labels(path, _) | Truth::Outline(path) => paths.push(path),
            Truth::Slices(more, _) | Truth::Objects(more) => {
                paths.extend(more.iter().map(PathBuf::as_path));
            }
            Truth::Masks(masks) => paths.extend(masks.iter().map(|(path, _)| path.as_path())),
            Truth::Coco(images, _) => paths.push(images.path()),
        }
        paths
    }
}

/// The image of a case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ImageSource {
    /// A picture, a volume, or a folder that is one (a DICOM series).
    File(PathBuf),
    /// The first slice of a volume whose slices are colour channels.
    FirstSlice(PathBuf),
    /// One file per slice, in order.
    Slices(Vec<PathBuf>),
}

/// The truth of a case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Truth {
    /// Label maps or volumes.
    Labels(PathBuf, Values),
    /// One label map per slice, in order.
    Slices(Vec<PathBuf>, Values),
    /// Binary files, each with its label; where they overlap, the later one counts.
    Masks(Vec<(PathBuf, u16)>),
    /// One binary picture per object of the first structure.
    Objects(Vec<PathBuf>),
    /// A closed outline, whose inside is structure 1.
    Outline(PathBuf),
    /// An image of a COCO file, by its place in the list.
    Coco(Arc<CocoImages>, usize),
}

/// The meaning of the values in a label file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// They are the labels.
    Labels,
    /// All but 0 are label 1.
    NonZero,
    /// Lowest and highest value of each label; all others are background.
    Bands(&'static [(u16, u16, u16)]),
}

impl Values {
    fn label(self, value: u16) -> u16 {
        match self {
            Self::Labels => value,
            Self::NonZero => u16::from(value != 0),
            Self::Bands(bands) => bands
                .iter()
                .find(|&&(low, high, _)| (low..=high).contains(&value))
                .map_or(0, |&(_, _, label)| label),
        }
    }
}

/// Labels that were read. `instance_of` tells the structure of each value where values number objects.
pub(super) struct TruthFile {
    pub(super) labels: LabelFile,
    pub(super) instance_of: Option<BTreeMap<u16, u16>>,
    pub(super) notes: Vec<String>,
}

impl TruthFile {
    fn plain(labels: LabelFile) -> Self {
        Self {
            labels,
            instance_of: None,
            notes: Vec::new(),
        }
    }
}

/// Which channel of an image is read, counted from 0, and what the data set calls the channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel<'a> {
    pub(super) number: usize,
    pub(super) names: &'a [String],
}

impl Channel<'_> {
    /// A remark for readers on the channel that was taken from an image with `count` channels.
    fn note(self, count: usize) -> String {
        let number = self.number;
        let name = self
            .names
            .get(number)
            .map_or_else(String::new, |name| format!(" ({name})"));
        format!("channel {number}{name} of {count} was read; --channel takes another number from 0")
    }
}

/// Reads the image, with what a reader should know about it.
pub(super) fn read_pixels(source: &ImageSource, channel: Channel) -> Result<(Scan, Vec<String>)> {
    match source {
        ImageSource::File(path) => read_channel(path, channel),
        ImageSource::FirstSlice(path) => {
            let mut scan = open_scan(path, &OpenOptions::default())?;
            if let ImageFile::Volume(volume) = &scan.content {
                let [ni, nj, _] = volume.geometry().shape();
                let affine = volume.geometry().patient_from_voxel();
                let geometry = VolumeGeometry::new([ni, nj, 1], affine)?;
                let first = volume.data()[..ni * nj].to_vec();
                scan.content = ImageFile::Volume(Volume::new(geometry, first)?);
            }
            Ok((scan, Vec::new()))
        }
        ImageSource::Slices(paths) => {
            let first = open_scan(&paths[0], &OpenOptions::default())?;
            let scan = Scan {
                content: ImageFile::Volume(stacked_image(paths)?),
                info: ScanInfo {
                    modality: first.info.modality,
                    ..ScanInfo::of_format(first.info.format)
                },
            };
            Ok((scan, Vec::new()))
        }
    }
}

/// One channel of an image: a volume of a file with several, or a file of its own (`CASE_0001.EXT` beside
/// `CASE_0000.EXT`).
fn read_channel(path: &Path, channel: Channel) -> Result<(Scan, Vec<String>)> {
    let mut options = OpenOptions::default();
    if channel.number == 0 {
        options.first_of_several = true;
        return first_channel(path, channel, &options);
    }
    let volumes = if path.is_dir() {
        1
    } else {
        usize::try_from(volume_count(path, &options)?).unwrap_or(usize::MAX)
    };
    let absent = |count: usize| {
        let text = format!(
            "channel {} does not exist: the image has {count} (counted from 0)",
            channel.number
        );
        problem(path, text)
    };
    let mut notes = Vec::new();
    let mut file = path.to_owned();
    if volumes > 1 {
        if channel.number >= volumes {
            return Err(absent(volumes));
        }
        options.series = Some((channel.number + 1).to_string());
        notes.push(channel.note(volumes));
    } else if let Some(other) = file_of_channel(path, channel.number) {
        if !other.exists() {
            return Err(absent(channel.names.len().max(1)));
        }
        if channel.names.len() > 1 {
            notes.push(channel.note(channel.names.len()));
        }
        file = other;
    } else {
        return Err(absent(1));
    }
    let scan = open_scan(&file, &options)?;
    notes.extend(scan.info.warnings.iter().cloned());
    Ok((scan, notes))
}

/// The usual channel, which is read without asking first how many there are.
fn first_channel(
    path: &Path,
    channel: Channel,
    options: &OpenOptions,
) -> Result<(Scan, Vec<String>)> {
    let scan = open_scan(path, options)?;
    let volumes = usize::try_from(scan.info.volumes).unwrap_or(usize::MAX);
    let named = file_of_channel(path, 0).map_or(0, |_| channel.names.len());
    let mut notes = Vec::new();
    if volumes.max(named) > 1 {
        notes.push(channel.note(if volumes > 1 { volumes } else { named }));
    }
    notes.extend(scan.info.warnings.iter().cloned());
    Ok((scan, notes))
}

/// `CASE_000N.EXT` for `CASE_0000.EXT`; `None` for other names.
fn file_of_channel(path: &Path, number: usize) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let at = name.rfind("_0000.")?;
    let ending = &name[at + "_0000".len()..];
    Some(path.with_file_name(format!("{}_{number:04}{ending}", &name[..at])))
}

/// Reads the truth of a case whose image is `image`.
pub(super) fn read_truth(source: &Source, image: &ImageFile) -> Result<TruthFile> {
    let options = ReadOptions::default();
    match &source.truth {
        Truth::Labels(path, values) => {
            let (segmentation, notes) = read_segmentation(path, &options)?;
            Ok(TruthFile {
                notes,
                ..TruthFile::plain(mapped(segmentation.labels, *values)?)
            })
        }
        Truth::Slices(paths, values) => {
            let labels = stacked_labels(paths, *values)?;
            Ok(TruthFile::plain(LabelFile::Volume(labels)))
        }
        Truth::Masks(masks) => merged(masks, Some(image)),
        Truth::Outline(path) => {
            let LabelFile::Map(outline) = read_labels(path, &options)? else {
                return Err(problem(path, "a picture expected, got a volume".to_owned()));
            };
            let filled = inside_of(&outline)?;
            Ok(TruthFile::plain(LabelFile::Map(filled)))
        }
        Truth::Objects(paths) => numbered_objects(paths),
        Truth::Coco(images, index) => {
            let ImageFile::Picture(picture) = image else {
                let text = "a picture expected for its objects, got a volume".to_owned();
                return Err(problem(images.path(), text));
            };
            let (labels, instance_of, notes) = coco_labels(source, images, *index, picture.size())?;
            Ok(TruthFile {
                labels: LabelFile::Map(labels),
                instance_of: Some(instance_of),
                notes,
            })
        }
    }
}

/// The objects of an image of a COCO file. Where the picture was turned by its EXIF orientation and the file states the
/// stored size, the objects were drawn on the stored picture and are turned as well.
fn coco_labels(
    source: &Source,
    images: &CocoImages,
    index: usize,
    size: Size,
) -> Result<(LabelMap, BTreeMap<u16, u16>, Vec<String>)> {
    let stated = images.images[index].stated_size();
    let turned = Size::new(size.width, size.height);
    if let (true, ImageSource::File(path)) =
        (stated == Some(turned) && turned != size, &source.image)
        && let Some(orientation) = picture_orientation(path, &ReadOptions::default())?
        && orientation.upright_size(turned) == size
    {
        let (labels, instance_of, mut notes) = images.labels(index, turned)?;
        notes.push("the objects were turned as the picture was".to_owned());
        return Ok((orientation.upright_labels(&labels)?, instance_of, notes));
    }
    images.labels(index, size)
}

/// Labels on the grid of the image, with a note if they were on another one.
fn placed(
    path: &Path,
    labels: LabelFile,
    image: &ImageFile,
) -> Result<(LabelFile, Option<String>)> {
    let (LabelFile::Volume(volume), ImageFile::Volume(image)) = (&labels, image) else {
        return Ok((labels, None));
    };
    let (placed, note) = volume
        .on_grid(image.geometry())
        .map_err(|error| problem(path, error.to_string()))?;
    Ok((LabelFile::Volume(placed), note))
}

fn mapped(labels: LabelFile, values: Values) -> Result<LabelFile> {
    if values == Values::Labels {
        return Ok(labels);
    }
    let map = |data: &[u16]| data.iter().map(|&v| values.label(v)).collect::<Vec<u16>>();
    Ok(match labels {
        LabelFile::Map(labels) => LabelFile::Map(LabelMap::new(labels.size(), map(labels.data()))?),
        LabelFile::Volume(labels) => {
            let data = map(labels.data());
            LabelFile::Volume(LabelVolume::new(labels.geometry().clone(), data)?)
        }
    })
}

/// Binary files of one size as one; the first decides whether they are pictures or volumes. Volumes are brought onto the
/// grid of the `image`.
fn merged(masks: &[(PathBuf, u16)], image: Option<&ImageFile>) -> Result<TruthFile> {
    let mut all: Option<LabelFile> = None;
    let mut notes = Vec::new();
    for (path, label) in masks {
        let (segmentation, warnings) = read_segmentation(path, &ReadOptions::default())?;
        let mut next = segmentation.labels;
        let mut moved = None;
        if let Some(image) = image {
            (next, moved) = placed(path, next, image)?;
        }
        for note in warnings.into_iter().chain(moved) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        let mark = |out: &mut [u16], data: &[u16]| {
            for (out, _) in out.iter_mut().zip(data).filter(|&(_, &v)| v != 0) {
                *out = *label;
            }
        };
        let first = match (&next, all.take()) {
            (_, Some(all)) => all,
            (LabelFile::Map(map), None) => LabelFile::Map(LabelMap::zeros(map.size())),
            (LabelFile::Volume(volume), None) => {
                LabelFile::Volume(LabelVolume::zeros(volume.geometry().clone()))
            }
        };
        all = Some(match (first, next) {
            (LabelFile::Map(mut all), LabelFile::Map(next)) if all.size() == next.size() => {
                mark(all.data_mut(), next.data());
                LabelFile::Map(all)
            }
            (LabelFile::Volume(mut all), LabelFile::Volume(next))
                if all.geometry().shape() == next.geometry().shape() =>
            {
                mark(all.data_mut(), next.data());
                LabelFile::Volume(all)
            }
            _ => {
                let text =
                    "the size of the other masks of its case expected, got another".to_owned();
                return Err(problem(path, text));
            }
        });
    }
    let labels = all.ok_or_else(|| crate::Error::Parameter("a case without masks".to_owned()))?;
    Ok(TruthFile {
        notes,
        ..TruthFile::plain(labels)
    })
}

/// Pixels of the outline and what it encloses: all that cannot be reached from the border of the image.
fn inside_of(outline: &LabelMap) -> Result<LabelMap> {
    let size = outline.size();
    let drawn = outline.data().iter().map(|&v| v != 0).collect();
    let inside = fill_holes(&Mask::new(size, drawn)?, usize::MAX, &[]);
    let labels = inside.data().iter().map(|&v| u16::from(v)).collect();
    Ok(LabelMap::new(size, labels)?)
}

/// One picture per object, numbered from 1; later ones lie on top.
fn numbered_objects(paths: &[PathBuf]) -> Result<TruthFile> {
    if paths.len() > usize::from(u16::MAX) {
        let text = format!("{} objects in one image, more than 65535", paths.len());
        return Err(crate::Error::Parameter(text));
    }
    let masks: Vec<(PathBuf, u16)> = paths.iter().cloned().zip(1..).collect();
    let instance_of = masks.iter().map(|&(_, number)| (number, 1)).collect();
    Ok(TruthFile {
        instance_of: Some(instance_of),
        ..merged(&masks, None)?
    })
}

/// The rows and columns of each file as a slice of a volume of axes `LPS`; the distance between slices is not known
/// and of no use here.
fn stacked_image(paths: &[PathBuf]) -> Result<Volume> {
    let (mut data, mut size, mut spacing) = (Vec::new(), None, [1.0; 2]);
    for path in paths {
        let (slice, own_spacing) = match read_image(path, &ReadOptions::default())? {
            ImageFile::Picture(Picture::Grey(image)) => (image, None),
            ImageFile::Volume(volume) if volume.geometry().shape()[2] == 1 => {
                let [ni, nj, _] = volume.geometry().shape();
                let [x, y, _] = volume.geometry().spacing_mm();
                let image = synthfm_image::Image::new(Size::new(nj, ni), volume.data().to_vec())?;
                (image, Some([y, x]))
            }
            _ => {
                let text = "one grey slice expected, got colours or several slices".to_owned();
                return Err(problem(path, text));
            }
        };
        spacing = own_spacing.unwrap_or(spacing);
        same_size(path, &mut size, slice.size())?;
        data.extend_from_slice(slice.data());
    }
    let geometry = stack_geometry(size, paths.len(), spacing)?;
    Ok(Volume::new(geometry, data)?)
}

fn stacked_labels(paths: &[PathBuf], values: Values) -> Result<LabelVolume> {
    let (mut data, mut size) = (Vec::new(), None);
    for path in paths {
        let slice = match read_labels(path, &ReadOptions::default())? {
            LabelFile::Map(map) => map,
            LabelFile::Volume(volume) => volume.slice(Plane::Axial, 0)?,
        };
        same_size(path, &mut size, slice.size())?;
        data.extend(slice.data().iter().map(|&v| values.label(v)));
    }
    let geometry = stack_geometry(size, paths.len(), [1.0; 2])?;
    Ok(LabelVolume::new(geometry, data)?)
}

/// The grid of a stack, which does not say where it lies in the patient.
fn stack_geometry(
    size: Option<Size>,
    count: usize,
    [row, col]: [f64; 2],
) -> Result<VolumeGeometry> {
    let Size { height, width } = size.unwrap_or(Size::new(0, 0));
    let geometry = VolumeGeometry::with_spacing([width, height, count], [col, row, 1.0])?;
    Ok(geometry.without_place())
}

fn same_size(path: &Path, size: &mut Option<Size>, own: Size) -> Result<()> {
    let expected = *size.get_or_insert(own);
    if expected == own {
        return Ok(());
    }
    let text = format!("{expected} expected, as the slices before, got {own}");
    Err(problem(path, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_are_filled() {
        let size = Size::new(5, 6);
        let lines = ["......", "..##..", ".#..#.", "..##..", "....#."];
        let text = lines.concat();
        let values = text.bytes().map(|b| u16::from(b == b'#') * 255);
        let outline = LabelMap::new(size, values.collect()).unwrap();
        let filled = inside_of(&outline).unwrap();
        // The two pixels inside and the eight drawn ones, among them the loose end.
        assert_eq!(filled.data().iter().filter(|&&v| v == 1).count(), 9);
        assert_eq!(
            (filled.at(2, 2), filled.at(2, 0), filled.at(0, 0)),
            (1, 0, 0)
        );
    }

    #[test]
    fn bands_name_labels() {
        let bands = Values::Bands(&[(55, 70, 1), (110, 135, 2)]);
        let labels: Vec<u16> = [0, 54, 55, 63, 70, 71, 126, 255]
            .map(|v| bands.label(v))
            .into();
        assert_eq!(labels, [0, 0, 1, 1, 1, 0, 2, 0]);
        assert_eq!(Values::NonZero.label(255), 1);
    }
}
