//! An image as it is compared, and what is measured on it.

use serde::Serialize;
use synthfm_image::draw::resize_rgb;
use synthfm_image::{Image, Mask, PowerSpectrum, RgbImage, Size, StructureProperties};
use synthfm_sam::InputTransform;

use super::properties;

/// Bins of the distribution of intensities.
pub(super) const INTENSITY_BINS: usize = 32;

/// Which structure it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Subject {
    Real {
        dataset: String,
        modality: String,
        case: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        slice: Option<usize>,
        #[serde(skip_serializing_if = "String::is_empty")]
        structure: String,
        component: u32,
        /// Data set, case and view, to read the image again.
        #[serde(skip)]
        place: [usize; 3],
    },
    /// A sample and the number of the target on it.
    Synthetic {
        index: u64,
        target: usize,
        #[serde(skip)]
        size: [usize; 2],
    },
}

/// A structure or an image with its properties.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) subject: Subject,
    pub(super) values: Vec<f64>,
}

/// Intensities and spectrum of one image.
#[derive(Debug, Clone)]
pub(super) struct ImageCurves {
    pub(super) modality: String,
    pub(super) intensities: [f64; INTENSITY_BINS],
    pub(super) power: Vec<f64>,
}

/// An image on the grid of the comparison.
pub(super) struct Compared {
    pub(super) picture: RgbImage,
    grey: Image,
    side: usize,
}

/// The size on the grid of the comparison.
pub(super) fn compared_size(original: Size, side: usize) -> Size {
    let longest = original.height.max(original.width).max(1);
    let scaled = |n: usize| ((n as f64 * side as f64 / longest as f64).round() as usize).max(1);
    Size::new(scaled(original.height), scaled(original.width))
}

impl Compared {
    /// The longest side becomes `side`, colours their luma (ITU-R BT.601).
    pub(super) fn new(image: &RgbImage, side: usize) -> Self {
        let size = compared_size(image.size(), side);
        let picture = if size == image.size() {
            image.clone()
        } else {
            resize_rgb(image, size)
        };
        let luma = |rgb: &[u8]| {
            let [red, green, blue] = [rgb[0], rgb[1], rgb[2]].map(f32::from);
            (0.299 * red + 0.587 * green + 0.114 * blue) / 255.0
        };
        let grey = picture.data().chunks_exact(3).map(luma).collect();
        let grey = Image::new(size, grey).expect("one value per pixel");
        Self {
            picture,
            grey,
            side,
        }
    }

    /// A mask of the original image: pixels that it covers at least by half.
    pub(super) fn mask(&self, mask: &Mask) -> Mask {
        let size = self.picture.size();
        if mask.size() == size {
            return mask.clone();
        }
        let grid = InputTransform::longest_side(mask.size(), self.side);
        let grid = grid.expect("the image has pixels");
        let cells = grid.coverage(mask, self.side);
        let lines = cells.chunks_exact(self.side).take(size.height);
        let data = lines
            .flat_map(|line| &line[..size.width])
            .map(|&share| share >= 0.5);
        Mask::new(size, data.collect()).expect("one value per pixel")
    }

    /// The properties of a structure in the order of the table.
    pub(super) fn structure(&self, mask: &Mask) -> Option<Vec<f64>> {
        let found = StructureProperties::of(&self.grey, mask);
        found.map(|found| properties::of_structure(&found))
    }

    /// The properties of the image and its curves; `None` if it is too narrow.
    pub(super) fn image(&self, modality: &str) -> Option<(Vec<f64>, ImageCurves)> {
        let spectrum = PowerSpectrum::of(&self.grey)?;
        let mut intensities = [0.0; INTENSITY_BINS];
        let one = 1.0 / self.grey.data().len() as f64;
        for &value in self.grey.data() {
            let bin = (value * INTENSITY_BINS as f32) as usize;
            intensities[bin.min(INTENSITY_BINS - 1)] += one;
        }
        let values = properties::of_image(&self.grey, &spectrum);
        let curves = ImageCurves {
            modality: modality.to_owned(),
            intensities,
            power: spectrum.power().to_vec(),
        };
        Some((values, curves))
    }
}
