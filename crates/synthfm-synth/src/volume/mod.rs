//! Synthetic volumes: the two modules of the crate in three dimensions.
//!
//! `(config, seed, index)` determines a volume: [`VolumeParams::draw`] makes every random choice and returns it as a
//! recipe; [`render_volume`] turns a recipe into voxels, and [`render_slices`] into a few of its slices. Distances are
//! isotropic in mm whatever the spacing.

mod canvas;
mod column;
mod form;
mod grid;
mod params;
mod plane;
mod regions;
mod render;
mod sample;
mod solid;
mod targets;
mod texture;
mod warp;

pub(crate) use form::Vec3;
pub use form::{Bumps, Form, Lobe, Section};
pub(crate) use params::FIRST_STRUCTURE;
pub use params::{
    JitterParams, RegionsParams, SliceProfile, SolidParams, VolumeParams, VolumeScene,
    VolumeTargetParams,
};
pub use render::{VolumeRenderer, render_slices, render_volume};
pub use sample::{VolumeSample, VolumeSlice, VolumeTarget};

use crate::GeneratorConfig;

/// Draws the recipe of volume `index` and renders it.
pub fn generate_volume(config: &GeneratorConfig, seed: u64, index: u64) -> VolumeSample {
    render_volume(&VolumeParams::draw(config, seed, index))
}
