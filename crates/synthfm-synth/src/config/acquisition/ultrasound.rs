//! Ultrasound: probes, beams, gains.

use serde::{Deserialize, Serialize};

use super::GAIN;
use crate::Result;
use crate::check::{check, count_range, probability, range};
use crate::config::EffectRange;

/// Imaging along beams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UltrasoundConfig {
    /// Probability that an image with the look of ultrasound is formed along beams.
    pub beams: f32,
    /// Weight of linear probes.
    pub linear: f32,
    /// Weight of curved probes.
    pub curved: f32,
    /// Weight of phased (sector) probes.
    pub phased: f32,
    /// Standard deviation of the point spread along the beam, drawn log-uniformly.
    pub axial: [f32; 2],
    /// Lateral over axial width in the focus.
    pub lateral: [f32; 2],
    /// Relative growth of the lateral width per depth away from the focus.
    pub divergence: [f32; 2],
    /// Decibels between black and white.
    pub dynamic_range_db: [f32; 2],
    /// Share of random scattering; 1: fully developed speckle.
    pub speckle: [f32; 2],
    /// Strength of echoes from boundaries that face the beam.
    pub specular: [f32; 2],
    /// Decibels lost per depth behind the brightest matter.
    pub shadowing_db: [f32; 2],
    /// Decibels won per depth behind black matter.
    pub enhancement_db: [f32; 2],
    /// Standard deviation of the error of the time-gain compensation, decibels.
    pub gain_db: [f32; 2],
    /// Reverberation below the probe; strength: amplitude.
    pub near_field: EffectRange,
    /// Number of shadows from outside the image.
    pub shadows: [u32; 2],
}

impl Default for UltrasoundConfig {
    fn default() -> Self {
        Self {
            beams: 0.9,
            linear: 1.0,
            curved: 1.0,
            phased: 0.5,
            axial: [0.0012, 0.005],
            lateral: [1.2, 3.5],
            divergence: [0.0, 4.0],
            dynamic_range_db: [35.0, 80.0],
            speckle: [0.3, 1.0],
            specular: [0.0, 0.9],
            shadowing_db: [0.0, 150.0],
            enhancement_db: [0.0, 40.0],
            gain_db: [0.0, 6.0],
            near_field: EffectRange::new(0.3, 0.05, 1.0),
            shadows: [0, 2],
        }
    }
}

impl UltrasoundConfig {
    pub(super) fn validate(&self) -> Result<()> {
        probability("acquisition.ultrasound.beams", self.beams)?;
        let weights = [
            ("acquisition.ultrasound.linear", self.linear),
            ("acquisition.ultrasound.curved", self.curved),
            ("acquisition.ultrasound.phased", self.phased),
        ];
        for (field, weight) in weights {
            let ok = (0.0..=1e6).contains(&weight);
            check(ok, field, "a weight from 0 to 1e6", weight.to_string())?;
        }
        check(
            self.beams == 0.0 || weights.iter().any(|(_, weight)| *weight > 0.0),
            "acquisition.ultrasound.linear",
            "at least one kind of probe with a weight above 0",
            "all 0".to_owned(),
        )?;
        let ranges = [
            (
                "acquisition.ultrasound.axial",
                self.axial,
                [0.0005, 0.05],
                "two ascending numbers from 0.0005 to 0.05",
            ),
            (
                "acquisition.ultrasound.lateral",
                self.lateral,
                [0.2, 20.0],
                "two ascending numbers from 0.2 to 20",
            ),
            (
                "acquisition.ultrasound.divergence",
                self.divergence,
                [0.0, 20.0],
                "two ascending numbers from 0 to 20",
            ),
            (
                "acquisition.ultrasound.dynamic_range_db",
                self.dynamic_range_db,
                [10.0, 200.0],
                "two ascending numbers from 10 to 200",
            ),
            (
                "acquisition.ultrasound.speckle",
                self.speckle,
                [0.0, 1.0],
                "two ascending numbers from 0 to 1",
            ),
            (
                "acquisition.ultrasound.specular",
                self.specular,
                [0.0, 10.0],
                "two ascending numbers from 0 to 10",
            ),
            (
                "acquisition.ultrasound.shadowing_db",
                self.shadowing_db,
                [0.0, 1000.0],
                "two ascending numbers from 0 to 1000",
            ),
            (
                "acquisition.ultrasound.enhancement_db",
                self.enhancement_db,
                [0.0, 1000.0],
                "two ascending numbers from 0 to 1000",
            ),
            (
                "acquisition.ultrasound.gain_db",
                self.gain_db,
                [0.0, 40.0],
                "two ascending numbers from 0 to 40",
            ),
        ];
        for (field, value, within, expected) in ranges {
            range(field, value, within, expected)?;
        }
        self.near_field
            .validate("acquisition.ultrasound.near_field", 10.0, GAIN)?;
        let field = "acquisition.ultrasound.shadows";
        let expected = "two ascending numbers from 0 to 16";
        count_range(field, self.shadows, [0, 16], expected)
    }
}
