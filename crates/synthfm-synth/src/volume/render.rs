//! From a volume's recipe to voxels, slice by slice, without another random choice.
//!
//! A slice is the mean of a few planes over its thickness (partial volume). On each plane regions and structures are
//! painted in order, by the formula of the crate's `render` module; their coverage is that of a surface whose signed
//! distance is known. Then the acquisition acts on the slice. Every step depends on the recipe and the number of the
//! slice alone, so that a slice that is rendered by itself has the bytes that it has in the whole volume.

use std::ops::Range;

use synthfm_image::{Image, LabelMap, Size};

use super::form::Form;
use super::grid::{Axis, Grid3, Tile};
use super::params::{JitterParams, SolidParams, VolumeParams};
use super::plane::{Rect, SlicePlane};
use super::regions::Regions;
use super::sample::{VolumeSample, VolumeSlice};
use super::solid::{FAR, Solid};
use super::targets;
use super::texture::Texture;
use super::warp::Warp;
use crate::acquisition::{self, Effect};
use crate::params::Paint;
use crate::rng::RowRng;
use crate::scratch::Buffer;

/// Renders slices of one recipe; what they share is made once.
pub struct VolumeRenderer<'a> {
    params: &'a VolumeParams,
    size: Size,
    /// Distance between neighbouring voxels along x, y and z in units.
    steps: [f32; 3],
    warp: Option<Warp>,
    tile: Tile,
    regions: Option<Regions>,
    solids: Vec<Painted<'a>>,
    textures: Vec<Texture>,
    /// The bias fields among the effects, in their order.
    biases: Vec<Grid3>,
    visible: Option<Vec<bool>>,
}

/// A structure with its place in the order of painting.
struct Painted<'a> {
    params: &'a SolidParams,
    solid: Solid,
    parent: Option<usize>,
    /// Whether others are clipped to it.
    holds: bool,
    /// Paint of its parent or of the ground, for the band around it.
    around: Paint,
}

impl<'a> VolumeRenderer<'a> {
    /// Prepares a recipe that [`VolumeParams::draw`] made or [`VolumeParams::validate`] passed.
    pub fn new(params: &'a VolumeParams) -> Self {
        let (size, steps, extent) = (params.slice_size(), params.steps(), params.extent());
        let budget = params.size.voxels().max(1 << 16);
        let biases = params.acquisition.iter().filter_map(|effect| match effect {
            Effect::Bias(bias) => {
                let axes = Axis::all(extent, bias.scale, 3.0, budget / 8);
                let mut field = Grid3::smooth(bias.seed, axes);
                field.data.iter_mut().for_each(|v| *v *= bias.std);
                Some(field)
            }
            _ => None,
        });
        let step = steps[0].min(steps[1]);
        let textures = params.textures.iter();
        Self {
            params,
            size,
            steps,
            warp: params
                .warp
                .and_then(|warp| Warp::new(&warp, extent, budget / 8)),
            tile: Tile::new(params.bumps_seed),
            regions: params
                .regions
                .as_ref()
                .map(|regions| Regions::new(regions, extent, budget)),
            solids: painted(params),
            textures: textures.map(|t| Texture::new(t, size, step)).collect(),
            biases: biases.collect(),
            visible: acquisition::visible(&params.view.field_of_view, size, unit_px(size)),
        }
    }

    /// Renders one slice; slices from the last on are like the last.
    pub fn slice(&self, slice: usize) -> VolumeSlice {
        let slice = slice.min(self.params.size.depth - 1);
        let jitter = self
            .params
            .jitter
            .map_or([0.0; 3], |jitter| drift(&jitter, slice));
        let planes = usize::from(self.params.profile.planes.max(1));
        let mut sum: Option<Buffer> = None;
        let mut labels = Vec::new();
        for k in 0..planes {
            let share = (k as f32 + 0.5) / planes as f32 - 0.5;
            let z = slice as f32 + 0.5 + share * self.params.profile.thickness;
            let origin = [
                0.5 * self.steps[0] + jitter[0],
                0.5 * self.steps[1] + jitter[1],
                z * self.steps[2],
            ];
            let plane = SlicePlane::new(
                self.size,
                [self.steps[0], self.steps[1]],
                origin,
                self.warp.as_ref(),
            );
            let mut canvas = Canvas::new(self, &plane);
            canvas.paint();
            if k == planes / 2 {
                labels = canvas.labels;
            }
            sum = Some(match sum {
                None => canvas.data,
                Some(mut sum) => {
                    for (sum, &v) in sum.iter_mut().zip(&*canvas.data) {
                        *sum += v;
                    }
                    sum
                }
            });
        }
        let mut data = sum.map_or_else(Vec::new, |sum| sum.to_vec());
        if planes > 1 {
            let share = 1.0 / planes as f32;
            data.iter_mut().for_each(|v| *v *= share);
        }
        self.acquire(slice, jitter[2], &mut data);
        self.view(&mut data, &mut labels);
        VolumeSlice {
            image: Image::new(self.size, data).expect("one value per pixel"),
            labels: LabelMap::new(self.size, labels).expect("one label per pixel"),
        }
    }

    /// Effects of the acquisition on a slice, and the slice's own gain.
    fn acquire(&self, slice: usize, gain: f32, data: &mut [f32]) {
        let mut biases = self.biases.iter();
        let z = (slice as f32 + 0.5) * self.steps[2];
        for effect in &self.params.acquisition {
            if let Effect::Bias(_) = effect {
                if let Some(field) = biases.next() {
                    let mut gains = field.plane(z);
                    gains.data.iter_mut().for_each(|v| *v = libm::expf(*v));
                    let gains = gains.enlarged(self.size);
                    for (value, &gain) in data.iter_mut().zip(&*gains.data) {
                        *value *= gain;
                    }
                }
                continue;
            }
            let effect = effect.of_slice(slice);
            acquisition::apply(&[effect], data, self.size, unit_px(self.size));
        }
        if gain.abs() > 0.0 {
            let factor = libm::expf(gain);
            data.iter_mut().for_each(|v| *v *= factor);
        }
    }

    fn view(&self, data: &mut [f32], labels: &mut [u16]) {
        acquisition::window(&self.params.view, data);
        let Some(visible) = &self.visible else {
            return;
        };
        let pixels = data.iter_mut().zip(labels).zip(visible);
        for ((value, label), _) in pixels.filter(|(_, visible)| !**visible) {
            *value = self.params.view.outside.clamp(0.0, 1.0);
            *label = 0;
        }
    }
}

fn unit_px(size: Size) -> f32 {
    size.height.min(size.width) as f32
}

/// Displacement along x and y and logarithm of the gain of one slice.
fn drift(jitter: &JitterParams, slice: usize) -> [f32; 3] {
    let mut numbers = [0.0; 3];
    RowRng::new(jitter.seed, slice).fill_normal(&mut numbers);
    let [x, y, gain] = numbers.map(|v| v.clamp(-3.0, 3.0));
    [x * jitter.shift, y * jitter.shift, gain * jitter.gain]
}

fn painted(params: &VolumeParams) -> Vec<Painted<'_>> {
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
struct Canvas<'a> {
    of: &'a VolumeRenderer<'a>,
    plane: &'a SlicePlane,
    data: Buffer,
    labels: Vec<u16>,
    /// Textures on this plane, made when they are first needed.
    textures: Vec<Option<Buffer>>,
    /// Distances from the structures that hold others, as far as they reach the plane.
    distances: Vec<Option<Buffer>>,
}

impl<'a> Canvas<'a> {
    fn new(of: &'a VolumeRenderer<'a>, plane: &'a SlicePlane) -> Self {
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

    fn paint(&mut self) {
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

/// Renders a recipe that [`VolumeParams::draw`] made or [`VolumeParams::validate`] passed. The same recipe gives the
/// same bytes everywhere.
pub fn render_volume(params: &VolumeParams) -> VolumeSample {
    let renderer = VolumeRenderer::new(params);
    let voxels = params.size.voxels();
    let (mut image, mut labels) = (Vec::with_capacity(voxels), Vec::with_capacity(voxels));
    for slice in 0..params.size.depth {
        let slice = renderer.slice(slice);
        image.extend_from_slice(slice.image.data());
        labels.extend_from_slice(slice.labels.data());
    }
    drop(renderer);
    let targets = targets::find(params, &image, &labels);
    VolumeSample {
        size: params.size,
        spacing_mm: params.spacing_mm,
        image,
        labels,
        targets,
    }
}

/// Renders a few neighbouring slices, with the bytes that they have in the whole volume; those beyond the last are left
/// out. To take slices one after the other, keep a [`VolumeRenderer`].
pub fn render_slices(params: &VolumeParams, slices: Range<usize>) -> Vec<VolumeSlice> {
    let renderer = VolumeRenderer::new(params);
    let end = slices.end.min(params.size.depth);
    (slices.start..end)
        .map(|slice| renderer.slice(slice))
        .collect()
}
