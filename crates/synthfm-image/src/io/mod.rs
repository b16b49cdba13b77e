//! Files in and out: PNG, NPY and NIfTI-1.
//!
//! The format is told by a file's content, not by its name. Nothing is allocated from a file's word:
//! declared sizes are checked against the limit and against the bytes that are there. Every file is
//! written beside its final name and renamed when it is complete.

mod atomic;
mod element;
mod nifti;
mod nifti_header;
mod npy;
mod png_read;
mod png_write;
mod source;

use std::path::Path;

pub use atomic::write_atomically;
pub use nifti::write_label_nifti;
pub use png_write::{
    GreyDepth, encode_grey_png, encode_label_png, encode_mask_png, encode_rgb_png, write_grey_png,
    write_label_png, write_mask_png, write_rgb_png,
};

use crate::{Image, LabelMap, LabelVolume, Result, RgbImage, Size, Volume};
use source::{Format, Source};

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

/// Reads an image: PNG (any colour type and bit depth; transparency is dropped, palettes are
/// resolved), NPY (2-D or 3-D) or NIfTI-1 (`.nii`, `.nii.gz`, up to three dimensions).
pub fn read_image(path: &Path, options: &ReadOptions) -> Result<ImageFile> {
    let source = Source::open(path, *options)?;
    match source.format()? {
        Format::Png => png_read::read_picture(&source).map(ImageFile::Picture),
        Format::Npy => npy::read_image(&source),
        Format::Nifti => nifti::read_volume(&source).map(ImageFile::Volume),
    }
}

/// Reads labels from the same formats. Labels are integers from 0 to 65535; anything else is an
/// error that names the value. In a PNG with a palette the label is the index of the colour, and an
/// RGB PNG must be grey.
pub fn read_labels(path: &Path, options: &ReadOptions) -> Result<LabelFile> {
    let source = Source::open(path, *options)?;
    match source.format()? {
        Format::Png => png_read::read_label_map(&source).map(LabelFile::Map),
        Format::Npy => npy::read_labels(&source),
        Format::Nifti => nifti::read_label_volume(&source).map(LabelFile::Volume),
    }
}
