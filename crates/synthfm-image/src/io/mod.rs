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
mod jpeg;
mod meta_image;
mod nifti;
mod nifti_header;
mod npy;
mod npz;
mod nrrd;
mod nrrd_header;
mod pages;
mod payload;
mod png_read;
mod png_write;
mod source;
mod text;
mod text_header;
mod tiff;
mod write;

use std::path::Path;

pub use atomic::{sync_folder, write_atomically, write_atomically_unsynced};
pub use dicom::SeriesSummary;
pub use nifti::write_label_nifti;
pub use png_write::{
    GreyDepth, encode_grey_png, encode_label_png, encode_mask_png, encode_rgb_png, write_grey_png,
    write_label_png, write_mask_png, write_rgb_png,
};
pub use text::{create_folder, one_line, printable, tell, write_json};
pub use write::{check_source, write_segmentation};

use crate::scan::{FileFormat, Scan, ScanInfo};
use crate::{Image, LabelMap, LabelVolume, Result, RgbImage, Segmentation, Size, Volume};
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

/// What to open, and how much of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Limits on sizes.
    pub read: ReadOptions,
    /// Of a folder of DICOM files: the number in the list of [`list_series`], or a Series Instance UID. By default the
    /// image with most slices. Of a NIfTI file with a series of volumes (four dimensions) the number of one, from 1;
    /// there is no default.
    pub series: Option<String>,
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

/// What an image file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageFile {
    /// PNG, a 2-D array, or an `[H, W, 3]` array of bytes.
    Picture(Picture),
    /// NIfTI, or any other 3-D array: `[k, j, i]`, spacing 1, axes `LPS`.
    Volume(Volume),
}

/// What a file of labels holds.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelFile {
    /// PNG or a 2-D array.
    Map(LabelMap),
    /// NIfTI or a 3-D array.
    Volume(LabelVolume),
}

/// Opens an image of any format: a file, or a folder of DICOM files, with what is known about it.
///
/// PNG: any colour type and bit depth; transparency is dropped, palettes are resolved. NPY and NPZ: two or three
/// dimensions. NIfTI (`.nii`, `.nii.gz`): a volume, or one of a series. NRRD, `MetaImage`: up to three dimensions. TIFF: a picture, or a volume of
/// its pages. DICOM: a file or a series.
pub fn open_scan(path: &Path, options: &OpenOptions) -> Result<Scan> {
    if path.is_dir() || dicom::is_dicom_file(path) {
        return dicom::open(path, options);
    }
    let source = Source::open(path, options.read)?;
    let format = source.format()?;
    let content = match format {
        FileFormat::Nrrd => return nrrd::read_scan(&source),
        FileFormat::MetaImage => return meta_image::read_scan(&source),
        FileFormat::Nifti1 | FileFormat::Nifti2 => {
            return nifti::read_scan(&source, options.series.as_deref());
        }
        FileFormat::Dicom => return dicom::open(path, options),
        FileFormat::Png => ImageFile::Picture(png_read::read_picture(&source)?),
        FileFormat::Jpeg => ImageFile::Picture(jpeg::read_picture(&source)?),
        FileFormat::Bmp => ImageFile::Picture(bmp::read_picture(&source)?),
        FileFormat::Tiff => tiff::read_image(&source)?,
        FileFormat::Npy => npy::read_image(&source)?,
        FileFormat::Npz => npz::read_image(&source)?,
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

/// The images in a DICOM file or in a folder and those below it.
pub fn list_series(path: &Path, options: &OpenOptions) -> Result<Vec<SeriesSummary>> {
    dicom::list_series(path, options)
}

/// Reads the values of an image as [`open_scan`] does.
pub fn read_image(path: &Path, options: &ReadOptions) -> Result<ImageFile> {
    let options = OpenOptions {
        read: *options,
        series: None,
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
    let source = Source::open(path, *options)?;
    let labels = match source.format()? {
        FileFormat::Nrrd => return nrrd::read_segmentation(&source),
        FileFormat::Dicom => return dicom::read_segmentation(path, options.max_bytes),
        FileFormat::Png => LabelFile::Map(png_read::read_label_map(&source)?),
        FileFormat::Bmp => LabelFile::Map(bmp::read_label_map(&source)?),
        FileFormat::Jpeg => {
            let problem = "labels in a JPEG, which changes values; store them as PNG";
            return Err(source.unsupported(problem));
        }
        FileFormat::Tiff => tiff::read_labels(&source)?,
        FileFormat::Npy => npy::read_labels(&source)?,
        FileFormat::Npz => npz::read_labels(&source)?,
        FileFormat::MetaImage => meta_image::read_labels(&source)?,
        FileFormat::Nifti1 | FileFormat::Nifti2 => {
            LabelFile::Volume(nifti::read_label_volume(&source)?)
        }
    };
    let segments = Vec::new();
    Ok((Segmentation { labels, segments }, Vec::new()))
}
