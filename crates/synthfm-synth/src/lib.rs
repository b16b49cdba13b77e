//! Synthetic medical images and their masks, after SynthFM (arXiv 2504.08177).
//!
//! `(config, seed, index)` determines a sample: [`SampleParams::draw`] makes every random choice and
//! returns it as a recipe; [`render`] turns a recipe into pixels without drawing anything more. The
//! same recipe gives the same bytes on every machine and thread count: transcendental functions come
//! from `libm`, and floating-point operations run in a fixed order.

#![expect(
    clippy::inline_always,
    reason = "a hot loop is compiled for each instruction set that it is inlined into (`wide`)"
)]

mod acquisition;
mod blur;
mod boundary;
mod brush;
mod canvas;
mod check;
mod clusters;
mod components;
mod config;
mod coverage;
mod deformation;
mod draw;
mod erosion;
mod error;
mod field;
mod label_map;
mod noise;
mod outline;
pub mod params;
pub mod preview;
mod render;
mod rng;
mod sample;
mod scratch;
mod segmentation;
mod segments;
mod simd_dispatch;
mod simd_math;
mod spline;
mod targets;
mod texture;
mod volume;

pub use config::{
    AcquisitionConfig, AppearanceConfig, BoundaryConfig, ClustersConfig, CtConfig,
    DeformationConfig, EffectRange, GeneratorConfig, LabelMapConfig, LooksConfig, MicroscopyConfig,
    MixtureConfig, MrConfig, NoiseConfig, OverlayConfig, SegmentsConfig, ShapesConfig, SizeConfig,
    TargetsConfig, UltrasoundConfig, VolumeConfig, VolumeSize, XrayConfig,
};
pub use error::{Error, Result};
pub use params::{Modality, SampleParams, SceneKind, TargetKind};
pub use render::render;
pub use sample::{Sample, Target};
pub use volume::{
    Bumps, Form, JitterParams, Lobe, RegionsParams, Section, SliceProfile, SolidParams,
    VolumeParams, VolumeRenderer, VolumeSample, VolumeScene, VolumeSlice, VolumeTarget,
    VolumeTargetParams, generate_volume, render_slices, render_volume,
};

/// Draws the recipe of sample `index` and renders it.
pub fn generate(config: &GeneratorConfig, seed: u64, index: u64) -> Sample {
    render(&SampleParams::draw(config, seed, index))
}
