//! Limits on recipes that come from outside, so that rendering one ends soon and in little memory.
//!
//! Counts are limited, and every number must be finite and no larger than any recipe needs; inside
//! those limits the renderer itself clamps what it must.

use crate::params::{
    FieldOfView, LabelMapParams, NoiseParams, OpticsParams, Outline, SampleParams, StructureParams,
    TextureParams, ViewParams,
};
use crate::{Error, Result};

/// Largest magnitude of a number.
const LIMIT: f32 = 1000.0;

fn numbers(field: &'static str, values: &[f32]) -> Result<()> {
    within(field, values, LIMIT, "numbers of at most 1000")
}

fn within(field: &'static str, values: &[f32], limit: f32, expected: &'static str) -> Result<()> {
    match values.iter().find(|v| v.is_nan() || v.abs() > limit) {
        None => Ok(()),
        Some(value) => Err(Error::OutOfRange {
            field,
            expected,
            got: value.to_string(),
        }),
    }
}

fn count(field: &'static str, got: usize, most: usize, expected: &'static str) -> Result<()> {
    if got <= most {
        return Ok(());
    }
    Err(Error::OutOfRange {
        field,
        expected,
        got: got.to_string(),
    })
}

impl SampleParams {
    /// Checks a recipe from a file before it is rendered; the message names the field.
    pub fn validate(&self) -> Result<()> {
        self.size.validate()?;
        numbers("ground", &[self.ground.mean, self.ground.amplitude])?;
        count("structures", self.structures.len(), 4096, "at most 4096")?;
        self.structures.iter().try_for_each(structure)?;
        self.label_map.as_ref().map_or(Ok(()), label_map)?;
        count("textures", self.textures.len(), 16, "at most 16")?;
        self.textures.iter().try_for_each(texture)?;
        optics(&self.optics)?;
        count("noise", self.noise.len(), 16, "at most 16")?;
        self.noise.iter().try_for_each(noise)?;
        view(&self.view)?;
        numbers("targets", &[self.targets.min_area, self.targets.max_area])?;
        count(
            "targets.regions",
            self.targets.regions.len(),
            256,
            "at most 256",
        )?;
        count(
            "targets.max_count",
            self.targets.max_count as usize,
            256,
            "at most 256",
        )
    }
}

fn structure(structure: &StructureParams) -> Result<()> {
    let paint = structure.paint;
    numbers("structures.paint", &[paint.mean, paint.amplitude])?;
    within(
        "structures.softness",
        &[structure.softness],
        1.0,
        "at most 1",
    )?;
    if let Some(rim) = &structure.rim {
        numbers("structures.rim", &[rim.mean, rim.directionality, rim.beam])?;
        within(
            "structures.rim",
            &[rim.width, rim.softness],
            1.0,
            "widths of at most 1",
        )?;
        count("structures.rim.gaps", rim.gaps.len(), 64, "at most 64")?;
        numbers("structures.rim.gaps", rim.gaps.as_flattened())?;
    }
    let field = "structures.outline";
    match &structure.outline {
        Outline::Bezier {
            anchors,
            radius,
            edginess,
        } => {
            count(field, anchors.len(), 256, "at most 256 anchors")?;
            numbers(field, anchors.as_flattened())?;
            numbers(field, &[*radius, *edginess])
        }
        Outline::Radial {
            centre,
            axes,
            angle,
            waves,
        } => {
            count(field, waves.len(), 64, "at most 64 waves")?;
            numbers(field, &[centre[0], centre[1], axes[0], axes[1], *angle])?;
            waves
                .iter()
                .try_for_each(|wave| numbers(field, &[wave.1, wave.2]))
        }
        Outline::Tubes { branches } => {
            let knots = branches.iter().map(Vec::len).sum();
            count(field, branches.len().max(knots), 4096, "at most 4096 knots")?;
            branches
                .iter()
                .try_for_each(|branch| numbers(field, branch.as_flattened()))
        }
    }
}

fn label_map(map: &LabelMapParams) -> Result<()> {
    let field = "label_map";
    count("label_map.paints", map.paints.len(), 255, "at most 255")?;
    if map.paints.is_empty() {
        return count("label_map.paints", 1, 0, "at least one");
    }
    numbers(field, &map.noise_std)?;
    numbers(field, &map.warp_std)?;
    let scales = [map.noise_scale[0], map.noise_scale[1], map.warp_scale];
    numbers(field, &scales)?;
    if let Some(scale) = scales.iter().find(|scale| **scale < 0.005) {
        return Err(Error::OutOfRange {
            field,
            expected: "scales of at least 0.005",
            got: scale.to_string(),
        });
    }
    for paint in &map.paints {
        numbers("label_map.paints", &[paint.mean, paint.amplitude])?;
    }
    let Some(erosion) = &map.erosion else {
        return Ok(());
    };
    within(
        "label_map.erosion",
        &[erosion.radius],
        0.1,
        "a radius of at most 0.1",
    )?;
    within(
        "label_map.erosion",
        &[erosion.variation],
        1.0,
        "a variation of at most 1",
    )
}

fn texture(texture: &TextureParams) -> Result<()> {
    match *texture {
        TextureParams::Grain { grain, .. } | TextureParams::Speckle { grain, .. } => {
            numbers("textures.grain", &grain)
        }
        TextureParams::Fractal {
            scale, persistence, ..
        }
        | TextureParams::Ridges {
            scale, persistence, ..
        } => numbers("textures.scale", &[scale[0], scale[1], persistence]),
        TextureParams::Stripes {
            period,
            angle,
            waviness,
            ..
        } => numbers("textures.period", &[period, angle, waviness]),
    }
}

fn optics(optics: &OpticsParams) -> Result<()> {
    within("optics.blur", &optics.blur, 1.0, "at most 1")?;
    numbers("optics.attenuation", &[optics.attenuation])?;
    if let Some(bias) = &optics.bias {
        numbers("optics.bias", &[bias.scale, bias.std])?;
    }
    count("optics.shadows", optics.shadows.len(), 64, "at most 64")?;
    for shadow in &optics.shadows {
        let [x, y] = shadow.start;
        numbers(
            "optics.shadows",
            &[x, y, shadow.half_width, shadow.spread, shadow.gain],
        )?;
    }
    if let Some(relief) = &optics.relief {
        let [x, y] = relief.shift;
        numbers(
            "optics.relief",
            &[x, y, relief.strength, relief.level, relief.keep],
        )?;
    }
    Ok(())
}

fn noise(noise: &NoiseParams) -> Result<()> {
    match *noise {
        NoiseParams::Gaussian { sigma, grain, .. }
        | NoiseParams::Speckle { sigma, grain, .. }
        | NoiseParams::Rician { sigma, grain, .. } => {
            numbers("noise.sigma", &[sigma, grain[0], grain[1]])
        }
        NoiseParams::Poisson { counts, .. } => {
            within("noise.counts", &[counts], 1e6, "at most a million")
        }
        NoiseParams::Perlin {
            sigma,
            scale,
            persistence,
            ..
        } => numbers("noise.sigma", &[sigma, scale, persistence]),
    }
}

fn view(view: &ViewParams) -> Result<()> {
    numbers(
        "view",
        &[view.window[0], view.window[1], view.gamma, view.outside],
    )?;
    numbers("view.stretch", &view.stretch.unwrap_or_default())?;
    let field = "view.field_of_view";
    match view.field_of_view {
        FieldOfView::Full => Ok(()),
        FieldOfView::Circle { centre, radius } => numbers(field, &[centre[0], centre[1], radius]),
        FieldOfView::Strip { min, max } => numbers(field, &[min[0], min[1], max[0], max[1]]),
        FieldOfView::Sector {
            apex,
            half_angle,
            near,
            far,
        } => numbers(field, &[apex[0], apex[1], half_angle, near, far]),
    }
}
