//! From a volume's recipe to voxels, slice by slice, without another random choice.
//!
//! A slice is the mean of a few planes over its thickness (partial volume). On each plane regions and structures are
//! painted in order, by the formula of the crate's `render` module; their coverage is that of a surface whose signed
//! distance is known. Then the acquisition acts on the slice. Every step depends on the recipe and the number of the
//! slice alone, so that a slice that is rendered by itself has the bytes that it has in the whole volume.

use std::ops::Range;

use synthfm_image::{Image, LabelMap, Size};

use super::canvas::{Canvas, Painted, painted};
use super::grid::{Axis, Grid3, Tile};
use super::params::{JitterParams, VolumeParams};
use super::plane::SlicePlane;
use super::regions::Regions;
use super::sample::{VolumeSample, VolumeSlice};
use super::targets;
use super::texture::Texture;
use super::warp::Warp;
use crate::acquisition::{self, Effect};
use crate::rng::RowRng;
use crate::scratch::Buffer;

/// Renders slices of one recipe; what they share is made once.
pub struct VolumeRenderer<'a> {
    pub(super) params: &'a VolumeParams,
    pub(super) size: Size,
    /// Distance between neighbouring voxels along x, y and z in units.
    pub(super) steps: [f32; 3],
    warp: Option<Warp>,
    pub(super) tile: Tile,
    pub(super) regions: Option<Regions>,
    pub(super) solids: Vec<Painted<'a>>,
    pub(super) textures: Vec<Texture>,
    /// The bias fields among the effects, in their order.
    biases: Vec<Grid3>,
    visible: Option<Vec<bool>>,
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
    ///
    /// # Panics
    /// Never for a recipe as [`VolumeRenderer::new`] expects it.
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
            for v in &mut data {
                *v *= share;
            }
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
            for v in data {
                *v *= factor;
            }
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
