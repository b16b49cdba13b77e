//! A file or series of medical images, with what is known about it beside its values.

use std::sync::Arc;

use crate::percentiles::percentile_window;
use crate::{BoxXyxy, Error, Image, ImageFile, Result, RgbImage};

pub use crate::io::dicom::DicomSeries;

/// An image read by [`crate::open_scan`], with facts about its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// The values: a picture, or a volume with its geometry.
    pub content: ImageFile,
    /// Facts about the image beside its values.
    pub info: ScanInfo,
}

/// Facts about an image beside its values; enough to write masks that belong to it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanInfo {
    /// The format that the file or folder has.
    pub format: FileFormat,
    /// DICOM's word for the kind of image, such as `CT`, `MR`, `US`, where it is known.
    pub modality: Option<String>,
    /// Windows that the file recommends, the first one first; those of all slices of a series. None if the slices
    /// recommend different ones, which [`Self::slice_windows`] has: a volume as a whole is then shown by percentiles.
    pub windows: Vec<Window>,
    /// The window that each slice of a DICOM series recommends, by its place along the last axis; empty if the slices
    /// agree.
    pub slice_windows: Vec<Option<Window>>,
    /// Ranges of values that stand for no pixel of the patient (DICOM's `PixelPaddingValue`), ends included, in the
    /// unit of the values: one for the whole image, or one for each slice along the last axis; empty if there are none.
    pub padding: Vec<Option<[f32; 2]>>,
    /// Whether small values are to be shown bright (DICOM's MONOCHROME1).
    pub inverted: bool,
    /// Distance between rows and between columns of a picture, where it is known.
    pub pixel_spacing_mm: Option<[f64; 2]>,
    /// The calibrated parts of an ultrasound picture.
    pub regions: Vec<UltrasoundRegion>,
    /// Warnings for the user: uneven slices, a tilted gantry, a series chosen among several.
    pub warnings: Vec<String>,
    /// Volumes in the file (NIfTI, NRRD, TIFF), of which this is one; 1 for everything else.
    pub volumes: u64,
    /// The DICOM objects that the image was read from.
    pub dicom: Option<Arc<DicomSeries>>,
}

impl ScanInfo {
    /// An image of which only the format is known.
    pub const fn of_format(format: FileFormat) -> Self {
        Self {
            format,
            modality: None,
            windows: Vec::new(),
            slice_windows: Vec::new(),
            padding: Vec::new(),
            inverted: false,
            pixel_spacing_mm: None,
            regions: Vec::new(),
            warnings: Vec::new(),
            volumes: 1,
            dicom: None,
        }
    }

    /// The window that the file recommends for one slice along the last axis: its own where the slices' windows differ.
    pub fn window_of_slice(&self, k: usize) -> Option<&Window> {
        if self.slice_windows.is_empty() {
            return self.windows.first();
        }
        self.slice_windows.get(k)?.as_ref()
    }

    /// The 0.5 and 99.5 percentiles, of the nearest rank, of all finite values of the image (`i` fastest) but those of
    /// [`Self::padding`]; `(0, 0)` if none is left. No copy of the values is made.
    pub fn percentile_window(&self, values: &[f32]) -> (f32, f32) {
        percentile_window(values, &self.padding)
    }
}

/// Formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpeg,
    /// Windows bitmap.
    Bmp,
    /// Tagged Image File Format.
    Tiff,
    /// A NumPy array.
    Npy,
    /// An archive of NumPy arrays.
    Npz,
    /// NIfTI, version 1.
    Nifti1,
    /// NIfTI, version 2.
    Nifti2,
    /// Nearly Raw Raster Data.
    Nrrd,
    /// `MetaImage`.
    MetaImage,
    /// A DICOM file or series.
    Dicom,
}

impl FileFormat {
    /// The format's usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Npy => "NPY",
            Self::Npz => "NPZ",
            Self::Nifti1 => "NIfTI-1",
            Self::Nifti2 => "NIfTI-2",
            Self::Nrrd => "NRRD",
            Self::MetaImage => "MetaImage",
            Self::Dicom => "DICOM",
        }
    }
}

impl std::fmt::Display for FileFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Intensities shown as black and as white.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Shown as black.
    pub low: f32,
    /// Shown as white; above `low`.
    pub high: f32,
    /// Name or explanation of the window in the file.
    pub name: Option<String>,
}

impl Window {
    /// Radiology's windows for CT: name, width, level in Hounsfield units.
    pub const NAMED: [(&'static str, f64, f64); 6] = [
        ("abdomen", 400.0, 40.0),
        ("lung", 1500.0, -600.0),
        ("bone", 1800.0, 400.0),
        ("brain", 80.0, 40.0),
        ("mediastinum", 350.0, 50.0),
        ("liver", 150.0, 30.0),
    ];

    /// One of [`Window::NAMED`].
    pub fn named(name: &str) -> Option<Self> {
        let (name, width, level) = Self::NAMED.iter().find(|(known, ..)| *known == name)?;
        let mut window = Self::of_width_level(*width, *level).ok()?;
        window.name = Some((*name).to_owned());
        Some(window)
    }

    /// `width` intensities around `level`. Fails if they are not a range of finite numbers.
    pub fn of_width_level(width: f64, level: f64) -> Result<Self> {
        let [low, high] = [level - width / 2.0, level + width / 2.0].map(|v| v as f32);
        if low.is_finite() && high.is_finite() && low < high {
            let name = None;
            return Ok(Self { low, high, name });
        }
        let problem = format!(
            "a window of width {width} and level {level} is not a range of finite numbers; \
             the width must be above 0"
        );
        Err(Error::Parameter(problem))
    }

    /// The image in 8 bits, three equal channels; `inverted` as in [`ScanInfo::inverted`].
    pub fn apply(&self, image: &Image, inverted: bool) -> RgbImage {
        let mut rgb = image.to_rgb8(self.low, self.high);
        if inverted {
            for value in rgb.data_mut() {
                *value = 255 - *value;
            }
        }
        rgb
    }
}

/// A calibrated rectangle of an ultrasound picture (PS3.3, C.8.5.5).
#[derive(Debug, Clone, PartialEq)]
pub struct UltrasoundRegion {
    /// Pixels of the region, corners included.
    pub bounds: BoxXyxy,
    /// Content of the region, such as `tissue` or `colour flow`.
    pub kind: String,
    /// Distance between rows and between columns, if both axes are lengths.
    pub spacing_mm: Option<[f64; 2]>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    #[test]
    fn windows_have_names_and_edges() {
        let window = Window::named("abdomen").unwrap();
        assert_eq!((window.low, window.high), (-160.0, 240.0));
        assert_eq!(Window::named("belly"), None);
        for (width, level) in [(0.0, 40.0), (-5.0, 40.0), (1e300, 0.0), (f64::NAN, 0.0)] {
            assert!(Window::of_width_level(width, level).is_err());
        }
    }

    #[test]
    fn inverted_images_are_dark_where_values_are_large() {
        let image = Image::new(Size::new(1, 3), vec![0.0, 50.0, 100.0]).unwrap();
        let window = Window::of_width_level(100.0, 50.0).unwrap();
        let bytes = |inverted| {
            let rgb = window.apply(&image, inverted).into_data();
            [rgb[0], rgb[3], rgb[6]]
        };
        assert_eq!(bytes(false), [0, 128, 255]);
        assert_eq!(bytes(true), [255, 127, 0]);
    }
}
