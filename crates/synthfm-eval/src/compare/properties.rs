//! The properties that are compared, with their scales.
//!
//! Intensities are shares of full scale, lengths pixels of the comparison. What spans orders of magnitude is compared by
//! its logarithm, from the least value that the grid and 8 bits can show.

use synthfm_image::{Image, PowerSpectrum, StructureProperties};

/// One property.
pub(super) struct Property {
    /// Name of the property in files.
    pub(super) key: &'static str,
    /// Name of the property in the report.
    pub(super) title: &'static str,
    pub(super) scale: Scale,
}

/// How values are spread out.
#[derive(Clone, Copy)]
pub(super) enum Scale {
    Linear,
    /// Base 10, of values from this one on.
    Logarithmic(f64),
}

const fn property(key: &'static str, title: &'static str, scale: Scale) -> Property {
    Property { key, title, scale }
}

/// Properties of a structure.
pub(super) const STRUCTURE: [Property; 8] = [
    property("intensity", "mean intensity", Scale::Linear),
    property("contrast", "local contrast", Scale::Linear),
    property("edge_width_px", "edge width (px)", Scale::Logarithmic(0.5)),
    property("noise", "noise level", Scale::Logarithmic(1e-3)),
    property(
        "grain_px",
        "noise correlation length (px)",
        Scale::Logarithmic(0.4),
    ),
    property(
        "area",
        "area (share of the image)",
        Scale::Logarithmic(1e-5),
    ),
    property("compactness", "compactness", Scale::Linear),
    property(
        "visibility",
        "boundary visibility",
        Scale::Logarithmic(0.05),
    ),
];

/// Properties of an image.
pub(super) const IMAGE: [Property; 5] = [
    property("mean", "mean intensity", Scale::Linear),
    property("deviation", "standard deviation", Scale::Linear),
    property("black", "share of black (below 2 %)", Scale::Linear),
    property("slope", "spectral slope", Scale::Linear),
    property(
        "fine_power",
        "power of the finest half octave",
        Scale::Logarithmic(1e-9),
    ),
];

/// In the order of [`STRUCTURE`].
pub(super) fn of_structure(p: &StructureProperties) -> Vec<f64> {
    vec![
        p.intensity,
        p.contrast,
        p.edge_width_px,
        p.noise,
        p.grain_px,
        p.area,
        p.compactness,
        p.visibility,
    ]
}

/// In the order of [`IMAGE`]; an image too narrow for a spectrum has none.
pub(super) fn of_image(image: &Image, spectrum: &PowerSpectrum) -> Vec<f64> {
    let count = image.data().len() as f64;
    let values = || image.data().iter().map(|&v| f64::from(v));
    let mean = values().sum::<f64>() / count;
    let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    let black = values().filter(|&v| v < 0.02).count() as f64 / count;
    let finest = spectrum.power().last().copied().unwrap_or_default();
    vec![mean, variance.sqrt(), black, spectrum.slope(), finest]
}

impl Scale {
    pub(super) fn apply(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic(least) => value.max(least).log10(),
        }
    }

    /// The value at a place of the scale.
    pub(super) fn invert(self, place: f64) -> f64 {
        match self {
            Self::Linear => place,
            Self::Logarithmic(_) => 10f64.powf(place),
        }
    }
}

/// Values on the scales of their properties.
pub(super) fn scaled(table: &[Property], values: &[f64]) -> Vec<f64> {
    let pairs = table.iter().zip(values);
    pairs
        .map(|(property, &value)| property.scale.apply(value))
        .collect()
}
