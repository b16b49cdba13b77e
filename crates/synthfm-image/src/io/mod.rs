//! Files in and out: pictures, arrays, volumes, DICOM.
//!
//! The format is told by a file's content, not by its name. Nothing is allocated from a file's word:
//! declared sizes are checked against the limit and against the bytes that are there. Every file is
//! written beside its final name and renamed when it is complete.

mod ahead;
mod atomic;
mod bmp;
pub(crate) mod dicom;
mod element;
mod giving_up;
mod gzip;
mod jpeg;
mod meta_image;
mod nifti;
mod nifti_header;
mod npy;
mod npz;
mod nrrd;
mod nrrd_header;
mod orientation;
mod pages;
mod payload;
mod png_read;
mod png_write;
mod source;
mod text;
mod text_header;
mod tiff;
mod write;

use std::path::{Path, PathBuf};

pub use atomic::{
    avoid_device_name, is_special, remove_leftovers, sync_folder, write_atomically,
    write_atomically_unsynced,
};
pub use dicom::SeriesSummary;
pub use giving_up::reading_until;
pub use nifti::{encode_label_nifti_gz, write_label_nifti};
pub use orientation::Orientation;
pub use png_write::{
    GreyDepth, encode_grey_png, encode_label_png, encode_mask_png, encode_rgb_png, write_grey_png,
    write_label_png, write_mask_png, write_rgb_png,
};
pub use text::{create_folder, escaped, one_line, printable, tell, write_json};
pub use write::{check_source, write_segmentation};

use crate::scan::{FileFormat, Scan, ScanInfo};
use crate::{Error, Image, LabelMap, LabelVolume, Result, RgbImage, Segmentation, Size, Volume};
use npy::ArrayBytes;
use source::Source;

/// Limits on what a file may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Largest size of a file, and of its values once decoded.
    pub max_bytes: u64,
}

impl Default for ReadOptions {
    /// 2 GiB.
    fn default() -> Self {
        Self { max_bytes: 2 << 30 }
    }
}

/// Which image or volume of a file or folder to open, and limits on its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Limits on sizes.
    pub read: ReadOptions,
    /// For a folder of DICOM files: the number in the list of [`list_series`], or a Series Instance UID. By default the
    /// image with most slices. For a NIfTI file with a series of volumes (four dimensions) the number of one, from 1;
    /// there is no default. NRRD files with four dimensions likewise; of a TIFF stack with channels the first is the
    /// default.
    pub series: Option<String>,
    /// Takes the first volume of a file with several where `series` does not choose one, which is an error otherwise.
    pub first_of_several: bool,
    /// Folder in which the data files of detached headers (`.nhdr`, `.mhd`) must lie, with links resolved. By default
    /// links are followed.
    pub data_root: Option<PathBuf>,
}

/// A two-dimensional image as it lies in its file.
#[derive(Debug, Clone, PartialEq)]
pub enum Picture {
    /// One channel; PNG values are 0..=255 or 0..=65535 after their bit depth.
    Grey(Image),
    /// Three channels of 8 bits.
    Rgb(RgbImage),
}

impl Picture {
    /// Rows and columns.
    pub const fn size(&self) -> Size {
        match self {
            Self::Grey(image) => image.size(),
            Self::Rgb(image) => image.size(),
        }
    }
}

/// The content of an image file.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageFile {
    /// PNG, a 2-D array, or an `[H, W, 3]` array of bytes.
    Picture(Picture),
    /// NIfTI, or any other 3-D array: `[k, j, i]`, spacing 1, axes `LPS`.
    Volume(Volume),
}

/// The content of a file of labels.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelFile {
    /// PNG or a 2-D array.
    Map(LabelMap),
    /// NIfTI or a 3-D array.
    Volume(LabelVolume),
}

/// Opens an image of any format: a file, or a folder of DICOM files, with what is known about it.
///
/// PNG: any colour type and bit depth; transparency is dropped, palettes are resolved. EXIF orientations are applied. NPY and NPZ: two or three
/// dimensions. NIfTI (`.nii`, `.nii.gz`): a volume, or one of a series. NRRD, `MetaImage`: up to three dimensions. TIFF: a picture, or a volume of
/// its pages. DICOM: a file or a series.
pub fn open_scan(path: &Path, options: &OpenOptions) -> Result<Scan> {
    source::check_regular(path)?;
    let mut scan = open_content(path, options)?;
    let has_number = match &scan.content {
        ImageFile::Picture(Picture::Rgb(_)) => true,
        ImageFile::Picture(Picture::Grey(image)) => any_finite(image.data()),
        ImageFile::Volume(volume) => any_finite(volume.data()),
    };
    if !has_number {
        let warning = "no value of the image is a finite number";
        scan.info.warnings.push(warning.to_owned());
    }
    Ok(scan)
}

fn any_finite(values: &[f32]) -> bool {
    values.is_empty() || values.iter().any(|value| value.is_finite())
}

fn open_content(path: &Path, options: &OpenOptions) -> Result<Scan> {
    if path.is_dir() || dicom::is_dicom_file(path) {
        source::refuse_dicomdir(path)?;
        return dicom::open(path, options);
    }
    let source = Source::open(path, options.read)?.with_data_root(options.data_root.as_deref());
    let format = source.format()?;
    if format == FileFormat::Dicom {
        return dicom::open(path, options);
    }
    let volumes = volumes_of(&source, format)?;
    let wanted = options.series.as_deref();
    if let Some(wanted) = wanted.filter(|&wanted| wanted != "1" && volumes == 1) {
        return Err(Error::Parameter(format!(
            "{}: there is no number {wanted}: the file holds one image",
            path.display()
        )));
    }
    let first = (options.first_of_several && volumes > 1).then_some("1");
    let mut scan = read_scan(&source, format, wanted.or(first))?;
    scan.info.volumes = volumes;
    Ok(scan)
}

/// Reads a file that is no DICOM file; `series` is the number of a volume, where there are several.
fn read_scan(source: &Source, format: FileFormat, series: Option<&str>) -> Result<Scan> {
    let content = match format {
        FileFormat::Nrrd => return nrrd::read_scan(source, series),
        FileFormat::MetaImage => return meta_image::read_scan(source),
        FileFormat::Nifti1 | FileFormat::Nifti2 => return nifti::read_scan(source, series),
        FileFormat::Dicom => return Err(source.unsupported("DICOM as a plain file")),
        FileFormat::Tiff => return tiff::read_scan(source, series),
        FileFormat::Png => return upright(format, png_read::read_picture(source)?),
        FileFormat::Jpeg => return upright(format, jpeg::read_picture(source)?),
        FileFormat::Bmp => ImageFile::Picture(bmp::read_picture(source)?),
        FileFormat::Npy => npy::read_image(source, ArrayBytes::of(source))?,
        FileFormat::Npz => npz::read_image(source)?,
    };
    Ok(Scan {
        content,
        info: ScanInfo::of_format(format),
    })
}

/// Whether a file begins as a DICOM file does, whatever its name is. `false` also for one that cannot be read.
pub fn is_dicom_file(path: &Path) -> bool {
    dicom::is_dicom_file(path)
}

/// A picture turned upright, with a note.
fn upright(
    format: FileFormat,
    (picture, orientation): (Picture, Option<Orientation>),
) -> Result<Scan> {
    let mut info = ScanInfo::of_format(format);
    let picture = match orientation {
        Some(orientation) => {
            info.warnings.push(orientation.note());
            orientation.upright_picture(&picture)?
        }
        None => picture,
    };
    Ok(Scan {
        content: ImageFile::Picture(picture),
        info,
    })
}

/// The orientation that a picture was turned by when it was read; `None` for pictures that are stored upright.
pub fn picture_orientation(path: &Path, options: &ReadOptions) -> Result<Option<Orientation>> {
    let source = Source::open(path, *options)?;
    Ok(match source.format()? {
        FileFormat::Png => png_read::read_picture(&source)?.1,
        FileFormat::Jpeg => jpeg::read_picture(&source)?.1,
        FileFormat::Tiff => tiff::orientation(&source),
        _ => None,
    })
}

/// Number of volumes in a NIfTI, NRRD or TIFF file, of which [`OpenOptions::series`] takes one; 1 for everything else.
pub fn volume_count(path: &Path, options: &OpenOptions) -> Result<u64> {
    source::check_regular(path)?;
    if path.is_dir() || dicom::is_dicom_file(path) {
        return Ok(1);
    }
    let source = Source::open(path, options.read)?;
    volumes_of(&source, source.format()?)
}

fn volumes_of(source: &Source, format: FileFormat) -> Result<u64> {
    match format {
        FileFormat::Nrrd => nrrd::volume_count(source),
        FileFormat::Tiff => tiff::volume_count(source),
        FileFormat::Nifti1 | FileFormat::Nifti2 => nifti::volume_count(source),
        _ => Ok(1),
    }
}

/// The images in a DICOM file or in a folder and those below it.
pub fn list_series(path: &Path, options: &OpenOptions) -> Result<Vec<SeriesSummary>> {
    dicom::list_series(path, options)
}

/// Reads the values of an image as [`open_scan`] does.
pub fn read_image(path: &Path, options: &ReadOptions) -> Result<ImageFile> {
    let options = OpenOptions {
        read: *options,
        ..OpenOptions::default()
    };
    open_scan(path, &options).map(|scan| scan.content)
}

/// Reads labels from the same formats. Labels are integers from 0 to 65535; anything else is an
/// error that names the value. In a PNG with a palette the label is the index of the colour, and an
/// RGB PNG must be grey. Of a DICOM Segmentation the labels are the segments' numbers.
pub fn read_labels(path: &Path, options: &ReadOptions) -> Result<LabelFile> {
    read_segmentation(path, options).map(|(segmentation, _)| segmentation.labels)
}

/// Reads labels as [`read_labels`], with their names and colours where the file has them. The second value says what
/// could not be kept, such as overlaps.
pub fn read_segmentation(
    path: &Path,
    options: &ReadOptions,
) -> Result<(Segmentation, Vec<String>)> {
    let options = OpenOptions {
        read: *options,
        ..OpenOptions::default()
    };
    open_segmentation(path, &options)
}

/// Reads labels as [`read_segmentation`]; `options.series` is not used.
pub fn open_segmentation(
    path: &Path,
    options: &OpenOptions,
) -> Result<(Segmentation, Vec<String>)> {
    let source = Source::open(path, options.read)?.with_data_root(options.data_root.as_deref());
    let mut warnings = Vec::new();
    let labels = match source.format()? {
        FileFormat::Nrrd => return nrrd::read_segmentation(&source),
        FileFormat::Dicom => return dicom::read_segmentation(path, options.read.max_bytes),
        FileFormat::Png => {
            let (map, orientation) = png_read::read_label_map(&source)?;
            warnings.extend(orientation.map(Orientation::note));
            LabelFile::Map(orientation.map_or(Ok(map.clone()), |o| o.upright_labels(&map))?)
        }
        FileFormat::Bmp => LabelFile::Map(bmp::read_label_map(&source)?),
        FileFormat::Jpeg => {
            let problem = "labels in a JPEG, which changes values; store them as PNG";
            return Err(source.unsupported(problem));
        }
        FileFormat::Tiff => {
            let (labels, notes) = tiff::read_labels(&source)?;
            warnings = notes;
            labels
        }
        FileFormat::Npy => npy::read_labels(&source, ArrayBytes::of(&source))?,
        FileFormat::Npz => npz::read_labels(&source)?,
        FileFormat::MetaImage => meta_image::read_labels(&source)?,
        FileFormat::Nifti1 | FileFormat::Nifti2 => {
            let (volume, notes) = nifti::read_label_volume(&source)?;
            warnings = notes;
            LabelFile::Volume(volume)
        }
    };
    let segments = Vec::new();
    Ok((Segmentation { labels, segments }, warnings))
}
