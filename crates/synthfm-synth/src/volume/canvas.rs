//! Painting one plane of a volume: the ground, then regions, then structures in their order.

use super::form::Form;
use super::params::{SolidParams, VolumeParams};
use super::plane::{Rect, SlicePlane};
use super::render::VolumeRenderer;
use super::solid::{FAR, Solid};
use crate::params::Paint;
use crate::scratch::Buffer;

/// A structure with its place in the order of painting.
pub(super) struct Painted<'a> {
    pub(super) params: &'a SolidParams,
    pub(super) solid: Solid,
    parent: Option<usize>,
    /// Whether others are clipped to it.
    holds: bool,
    /// Paint of its parent or of the ground, for the band around it.
    around: Paint,
}

/// The structures of a recipe in the order of painting.
pub(super) fn painted(params: &VolumeParams) -> Vec<Painted<'_>> {
    let mut solids: Vec<Painted<'_>> = Vec::with_capacity(params.structures.len());
    for own in &params.structures {
        let parent = own
            .parent
            .and_then(|id| solids.iter().position(|other| other.params.id == id));
        if let Some(parent) = parent {
            solids[parent].holds = true;
        }
        let above = parent.map(|parent| &solids[parent]);
        let around = above.map_or(params.ground, |above| above.params.paint);
        let solid = Solid::new(own, above.map(|above| above.solid.bounds()));
        solids.push(Painted {
            params: own,
            solid,
            parent,
            holds: false,
            around,
        });
    }
    solids
}

/// One plane while it is painted.
pub(super) struct Canvas<'a> {
    of: &'a VolumeRenderer<'a>,
    plane: &'a SlicePlane,
    pub(super) data: Buffer,
    pub(super) labels: Vec<u16>,
    /// Textures on this plane, made when they are first needed.
    textures: Vec<Option<Buffer>>,
    /// Distances from the structures that hold others, as far as they reach the plane.
    distances: Vec<Option<Buffer>>,
}

impl<'a> Canvas<'a> {
    /// An unpainted plane.
    pub(super) fn new(of: &'a VolumeRenderer<'a>, plane: &'a SlicePlane) -> Self {
        let area = of.size.area();
        Self {
            of,
            plane,
            data: Buffer::stale(area),
            labels: vec![0; area],
            textures: of.textures.iter().map(|_| None).collect(),
            distances: of.solids.iter().map(|_| None).collect(),
        }
    }

    /// Paints ground, regions and structures.
    pub(super) fn paint(&mut self) {
        self.ground();
        self.regions();
        let mut scratch = Buffer::stale(self.of.size.area());
        for k in 0..self.of.solids.len() {
            self.solid(k, &mut scratch);
        }
    }

    /// Makes the texture of a paint, if it shows.
    fn prepare(&mut self, paint: &Paint) {
        let k = usize::from(paint.texture);
        if paint.amplitude.abs() <= 0.0 || k >= self.textures.len() || self.textures[k].is_some() {
            return;
        }
        let size = self.of.size;
        let mut buffer = Buffer::stale(size.area());
        let step = self.of.steps[0].min(self.of.steps[1]);
        self.of.textures[k].fill(self.plane.origin[2], size, step, &mut buffer);
        self.textures[k] = Some(buffer);
    }

    fn texture(&self, paint: &Paint) -> Option<&[f32]> {
        if paint.amplitude.abs() <= 0.0 {
            return None;
        }
        let texture = self.textures.get(usize::from(paint.texture))?;
        texture.as_deref()
    }

    fn ground(&mut self) {
        let ground = self.of.params.ground;
        self.prepare(&ground);
        let mut data = std::mem::replace(&mut self.data, Buffer::stale(0));
        let texture = self.texture(&ground);
        for (at, value) in data.iter_mut().enumerate() {
            *value = shade(&ground, texture, at);
        }
        self.data = data;
    }

    fn regions(&mut self) {
        let (Some(regions), Some(params)) = (&self.of.regions, &self.of.params.regions) else {
            return;
        };
        let ground = self.of.params.ground;
        for paint in &params.paints {
            self.prepare(paint);
        }
        let mut data = std::mem::replace(&mut self.data, Buffer::stale(0));
        let mut labels = std::mem::take(&mut self.labels);
        let sharpness = 1.0 / self.plane.steps[0].max(self.plane.steps[1]);
        regions.visit(self.plane, |at, region| {
            let value = |label: u16| {
                let paint = &params.paints[usize::from(label)];
                shade(paint, self.texture(paint), at)
            };
            let own = value(region.first);
            let eroded = region.eroded > 0.0;
            let distance = region.distance - region.eroded.max(0.0);
            let share = (0.5 + distance * sharpness).clamp(0.0, 1.0);
            data[at] = if share >= 1.0 {
                own
            } else {
                let other = if eroded {
                    shade(&ground, self.texture(&ground), at)
                } else {
                    value(region.second)
                };
                other + (own - other) * share
            };
            labels[at] = if eroded && distance < 0.0 {
                0
            } else {
                region.first + 1
            };
        });
        self.data = data;
        self.labels = labels;
    }

    fn solid(&mut self, k: usize, scratch: &mut Buffer) {
        let own = &self.of.solids[k];
        if own
            .parent
            .is_some_and(|parent| self.distances[parent].is_none())
        {
            return;
        }
        let Some(rect) = self.plane.rect(own.solid.bounds()) else {
            return;
        };
        if own.holds {
            scratch.fill(FAR);
        }
        self.prepare(&own.params.paint);
        if own.params.clearance > 0.0 {
            self.prepare(&own.around);
        }
        let parent = own
            .parent
            .and_then(|parent| self.distances[parent].as_deref());
        own.solid
            .fill(self.plane, &rect, parent, &self.of.tile, scratch);
        let mut data = std::mem::replace(&mut self.data, Buffer::stale(0));
        let mut labels = std::mem::take(&mut self.labels);
        self.cover(own, &rect, parent, scratch, (&mut data, &mut labels));
        self.data = data;
        self.labels = labels;
        if own.holds {
            self.distances[k] = Some(scratch.clone());
        }
    }

    /// Clips the distances to the parent, and paints by them.
    fn cover(
        &self,
        own: &Painted<'_>,
        rect: &Rect,
        parent: Option<&[f32]>,
        distances: &mut [f32],
        (data, labels): (&mut [f32], &mut [u16]),
    ) {
        let SolidParams {
            id,
            form,
            clearance,
            paint,
            softness,
            ..
        } = own.params;
        let step = self.plane.steps[0].max(self.plane.steps[1]);
        // A ramp of this width has the slope of the blurred edge in its middle.
        let width = step.max(2.5 * softness);
        let sharpness = 1.0 / width;
        let (texture, around) = (self.texture(paint), self.texture(&own.around));
        let around_label = own.params.parent.unwrap_or(0);
        let clips = !matches!(form, Form::Inset { .. });
        let reach = clearance + 0.5 * width;
        for row in rect.rows.clone() {
            for at in self.plane.line(row, &rect.columns) {
                let mut d = distances[at];
                if let Some(parent) = parent
                    && clips
                {
                    let outside = parent[at];
                    if d < reach && *clearance > 0.0 {
                        let band = (d - clearance).max(outside);
                        let share = (0.5 - band * sharpness).clamp(0.0, 1.0);
                        blend(&mut data[at], shade(&own.around, around, at), share);
                        labels[at] = if band < 0.0 { around_label } else { labels[at] };
                    }
                    d = d.max(outside);
                    distances[at] = d;
                }
                let share = 0.5 - d * sharpness;
                if share <= 0.0 {
                    continue;
                }
                blend(&mut data[at], shade(paint, texture, at), share);
                labels[at] = if d < 0.0 { *id } else { labels[at] };
            }
        }
    }
}

/// Covers a value; whole coverage gives the paint's very bits.
#[inline(always)]
fn blend(value: &mut f32, paint: f32, share: f32) {
    *value = if share >= 1.0 {
        paint
    } else {
        *value + share * (paint - *value)
    };
}

#[inline(always)]
fn shade(paint: &Paint, texture: Option<&[f32]>, at: usize) -> f32 {
    paint.mean + texture.map_or(0.0, |texture| paint.amplitude * texture[at])
}
