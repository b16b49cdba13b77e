//! Synthetic medical images and their masks, after SynthFM (arXiv 2504.08177).
//!
//! `(config, seed, index)` determines a sample: [`SampleParams::draw`] makes every random choice and
//! returns it as a recipe; [`render`] turns a recipe into pixels without drawing anything more. The
//! same recipe gives the same bytes on every machine and thread count: transcendental functions come
//! from `libm`, and floating-point operations run in a fixed order.

mod blur;
mod components;
mod config;
mod coverage;
mod draw;
mod error;
mod field;
mod label_map;
mod noise;
mod optics;
mod outline;
pub mod params;
mod preview;
mod recipe_check;
mod render;
mod rng;
mod sample;
mod texture;
mod view;

pub use config::{
    AppearanceConfig, GeneratorConfig, LabelMapConfig, MixtureConfig, NoiseConfig, NoiseRange,
    ShapesConfig, SizeConfig, TargetsConfig,
};
pub use error::{Error, Result};
pub use params::{SampleParams, SceneKind, TargetKind};
pub use preview::preview;
pub use render::render;
pub use sample::{Sample, Target};

/// Draws the recipe of sample `index` and renders it.
pub fn generate(config: &GeneratorConfig, seed: u64, index: u64) -> Sample {
    render(&SampleParams::draw(config, seed, index))
}
