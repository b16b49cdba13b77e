//! From a recipe to pixels, without another random choice.
//!
//! Contrast modulation, where the paper gives no formula:
//!
//! ```text
//! J(x) = sum over structures k in painting order: (1 - a_k) J + a_k (m_k + s_k T_k(x))
//! I(x) = V( N( B(x) · (G * J)(x) ) )
//! ```
//!
//! with, per structure, the coverage `a_k` (softened by its own blur), the mean
//! `m_k = m_parent ± Δ_k` (Δ from near-equal to almost full scale, either sign), texture `T_k` of unit
//! variance and amplitude `s_k`; then the point spread function G, the bias field B = exp(smooth), the
//! noise sequence N, and the view V: stretch, window, gamma, grey levels, field of view.

use std::collections::{BTreeMap, BTreeSet};

use synthfm_image::{Image, LabelMap, Size};

use crate::blur::{self, Plane};
use crate::components::{self, Component, Components};
use crate::coverage::{self, Filler, Layer};
use crate::params::{
    Blend, LabelMapParams, Paint, RimParams, SampleParams, StructureParams, TargetKind, TargetRule,
    Vec2,
};
use crate::sample::{Sample, Target};
use crate::{label_map, noise, optics, texture, view};

/// Smallest target in pixels, whatever the recipe says.
const MIN_TARGET_PX: usize = 12;

/// Renders a recipe that [`SampleParams::draw`] made or [`SampleParams::validate`] passed. The same
/// recipe gives the same bytes everywhere.
///
/// # Panics
/// Never for such a recipe.
pub fn render(params: &SampleParams) -> Sample {
    let mut canvas = Canvas::new(params);
    canvas.paint();
    let Canvas {
        size,
        unit_px,
        mut data,
        mut labels,
        ..
    } = canvas;
    optics::apply(&params.optics, &mut data, size, unit_px);
    for noise in &params.noise {
        noise::apply(noise, &mut data, size, unit_px);
    }
    if let Some(shares) = params.view.stretch {
        view::stretch(shares, &mut data);
    }
    view::window(&params.view, &mut data);
    if let Some(visible) = view::visible(&params.view.field_of_view, size, unit_px) {
        let pixels = data.iter_mut().zip(&mut labels);
        for ((value, label), _) in pixels.zip(visible).filter(|(_, visible)| !visible) {
            *value = params.view.outside.clamp(0.0, 1.0);
            *label = 0;
        }
    }
    let targets = targets(params, &labels, size);
    Sample {
        image: Image::new(size, data).expect("one value per pixel"),
        label_map: LabelMap::new(size, labels).expect("one label per pixel"),
        targets,
    }
}

/// The image while it is painted.
struct Canvas<'a> {
    params: &'a SampleParams,
    size: Size,
    unit_px: f32,
    data: Vec<f32>,
    labels: Vec<u16>,
    textures: Vec<Vec<f32>>,
}

impl<'a> Canvas<'a> {
    fn new(params: &'a SampleParams) -> Self {
        let size = params.size();
        let unit_px = size.height.min(size.width) as f32;
        let textures = params.textures.iter();
        Self {
            params,
            size,
            unit_px,
            data: vec![0.0; size.area()],
            labels: vec![0; size.area()],
            textures: textures
                .map(|params| texture::render(params, size, unit_px))
                .collect(),
        }
    }

    fn paint(&mut self) {
        let ground = self.params.ground;
        let brush = Brush::new(ground, &self.textures);
        brush.fill(0, &mut self.data);
        let map = self.params.label_map.as_ref();
        if let Some(map) = map.filter(|map| map.inside.is_none()) {
            self.paint_regions(map, None);
        }
        let parents: BTreeSet<u16> = self
            .params
            .structures
            .iter()
            .filter_map(|s| s.parent)
            .collect();
        let mut layers = BTreeMap::new();
        for structure in &self.params.structures {
            let Some(layer) = self.paint_structure(structure, &layers) else {
                continue;
            };
            if let Some(map) = map.filter(|map| map.inside == Some(structure.id)) {
                self.paint_regions(map, Some(&layer));
            }
            if parents.contains(&structure.id) {
                layers.insert(structure.id, layer);
            }
        }
    }

    /// Paints one contour and its rim; returns its coverage.
    fn paint_structure(
        &mut self,
        structure: &StructureParams,
        layers: &BTreeMap<u16, Layer>,
    ) -> Option<Layer> {
        let polygon = structure.outline.polygon(self.unit_px);
        let blur_px = structure.softness * self.unit_px;
        let mut layer = coverage::fill(&polygon, margin(blur_px), self.size)?;
        let parent = structure.parent.map(|id| layers.get(&id));
        match parent {
            Some(Some(parent)) => clip(&mut layer, parent),
            Some(None) => return None,
            None => {}
        }
        let mut alpha = softened(&layer, blur_px);
        if let (Some(Some(parent)), true) = (parent, blur_px > 0.0) {
            clip(&mut alpha, parent);
        }
        self.blend(&alpha, structure.paint, structure.blend);
        if structure.blend == Blend::Replace {
            self.mark(&layer, structure.id);
        }
        if let Some(rim) = &structure.rim {
            self.paint_rim(rim, &polygon, parent.flatten());
        }
        Some(layer)
    }

    fn blend(&mut self, alpha: &Layer, paint: Paint, blend: Blend) {
        let brush = Brush::new(paint, &self.textures);
        let mut line_of_paint = vec![0.0; alpha.size.width];
        for (start, alpha) in alpha.lines(self.size.width) {
            brush.fill(start, &mut line_of_paint);
            let pixels = self.data[start..].iter_mut().zip(alpha).zip(&line_of_paint);
            match blend {
                Blend::Replace => {
                    pixels
                        .for_each(|((value, &a), &paint)| *value = (1.0 - a) * *value + a * paint);
                }
                Blend::Add => pixels.for_each(|((value, &a), &paint)| *value += a * paint),
            }
        }
    }

    /// Writes a label where at least half of the pixel is covered.
    fn mark(&mut self, layer: &Layer, id: u16) {
        for (start, coverage) in layer.lines(self.size.width) {
            for (label, &coverage) in self.labels[start..].iter_mut().zip(coverage) {
                if coverage >= 0.5 {
                    *label = id;
                }
            }
        }
    }

    fn paint_rim(&mut self, rim: &RimParams, polygon: &[Vec2], parent: Option<&Layer>) {
        let width_px = rim.width * self.unit_px;
        let blur_px = rim.softness * self.unit_px;
        let Some(layer) = rim_layer(rim, polygon, width_px, blur_px, self.size) else {
            return;
        };
        let paint = Paint {
            mean: rim.mean,
            amplitude: 0.0,
            texture: 0,
        };
        let mut alpha = softened(&layer, blur_px);
        if let Some(parent) = parent {
            clip(&mut alpha, parent);
        }
        self.blend(&alpha, paint, Blend::Replace);
    }

    /// Paints the label map over the image or inside a structure; gaps keep what is below.
    fn paint_regions(&mut self, map: &LabelMapParams, inside: Option<&Layer>) {
        let regions = label_map::regions(map, self.size);
        let brushes: Vec<Brush> = map
            .paints
            .iter()
            .map(|&paint| Brush::new(paint, &self.textures))
            .collect();
        for (at, &region) in regions.iter().enumerate() {
            let Some(brush) = brushes.get(usize::from(region)) else {
                continue;
            };
            let alpha = match inside {
                Some(layer) => layer.at(at / self.size.width, at % self.size.width),
                None => 1.0,
            };
            self.data[at] = (1.0 - alpha) * self.data[at] + alpha * brush.at(at);
            if alpha >= 0.5 {
                self.labels[at] = region + 1;
            }
        }
    }
}

/// Evaluates a paint at pixels.
struct Brush<'a> {
    paint: Paint,
    texture: Option<&'a [f32]>,
}

impl<'a> Brush<'a> {
    fn new(paint: Paint, textures: &'a [Vec<f32>]) -> Self {
        let texture = textures
            .get(usize::from(paint.texture))
            .filter(|_| paint.amplitude != 0.0);
        Self {
            paint,
            texture: texture.map(Vec::as_slice),
        }
    }

    fn at(&self, pixel: usize) -> f32 {
        match self.texture {
            Some(texture) => self.paint.mean + self.paint.amplitude * texture[pixel],
            None => self.paint.mean,
        }
    }

    /// The paint of consecutive pixels from `start` on.
    fn fill(&self, start: usize, out: &mut [f32]) {
        let Paint {
            mean, amplitude, ..
        } = self.paint;
        match self.texture {
            Some(texture) => {
                for (value, &t) in out.iter_mut().zip(&texture[start..]) {
                    *value = mean + amplitude * t;
                }
            }
            None => out.fill(mean),
        }
    }
}

/// Pixels that a blur reaches.
fn margin(blur_px: f32) -> f32 {
    3.0 * blur_px.clamp(0.0, 1e4) + 1.0
}

fn clip(layer: &mut Layer, parent: &Layer) {
    let (row, col, width) = (layer.row, layer.col, layer.size.width);
    for (at, value) in layer.data.iter_mut().enumerate() {
        *value *= parent.at(row + at / width, col + at % width);
    }
}

fn softened(layer: &Layer, blur_px: f32) -> Layer {
    let mut soft = layer.clone();
    let width = soft.size.width;
    blur::gaussian(
        &mut Plane {
            data: &mut soft.data,
            width,
        },
        [blur_px; 2],
    );
    soft
}

/// The band along the inside of a contour, weighted by direction and gaps.
fn rim_layer(
    rim: &RimParams,
    polygon: &[Vec2],
    width_px: f32,
    blur_px: f32,
    size: Size,
) -> Option<Layer> {
    let count = polygon.len();
    let mut filler = Filler::around(polygon, margin(blur_px) + width_px.abs(), size)?;
    let edge = |i: usize| (polygon[i], polygon[(i + 1) % count]);
    let area: f32 = (0..count)
        .map(edge)
        .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
        .sum();
    let inward = if area > 0.0 { width_px } else { -width_px };
    let normal = |i: usize| {
        let (a, b) = (polygon[(i + count - 1) % count], polygon[(i + 1) % count]);
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length = (dx * dx + dy * dy).sqrt().max(1e-6);
        [-dy / length, dx / length]
    };
    let inner = |i: usize| {
        let n = normal(i);
        [polygon[i][0] + n[0] * inward, polygon[i][1] + n[1] * inward]
    };
    let (sin, cos) = libm::sincosf(rim.beam);
    for i in 0..count {
        let share = i as f32 / count as f32;
        if rim
            .gaps
            .iter()
            .any(|gap| (share - gap[0]).rem_euclid(1.0) < gap[1])
        {
            continue;
        }
        let (next, n) = ((i + 1) % count, normal(i));
        let facing = n[0] * cos + n[1] * sin;
        let weight = 1.0 - rim.directionality * (1.0 - facing * facing);
        let quad = [polygon[i], polygon[next], inner(next), inner(i)];
        // The sign makes every quad wind alike, so that neighbours add up instead of cancelling.
        filler.add(&quad, weight.clamp(0.0, 1.0) * area.signum());
    }
    Some(filler.finish())
}

/// The targets of a finished label map.
fn targets(params: &SampleParams, labels: &[u16], size: Size) -> Vec<Target> {
    let wanted = &params.targets;
    let area = size.area() as f32;
    let least = ((wanted.min_area * area) as usize).max(MIN_TARGET_PX);
    let most = (wanted.max_area * area) as usize;
    let fits = |component: &Component| (least..=most).contains(&component.area);
    let visible = Components::new(labels, size, |label| label);
    let all = visible.all();
    let mut found = Vec::new();
    for component in region_components(&all, &wanted.regions, fits) {
        if found.len() < wanted.max_count as usize {
            found.push(target(TargetKind::Region, component, &visible));
        }
    }
    for structure in &params.structures {
        if found.len() >= wanted.max_count as usize {
            break;
        }
        match structure.target {
            TargetRule::No => {}
            TargetRule::Visible => {
                let own = all.iter().copied().filter(|c| c.label == structure.id);
                let best = components::largest(own).filter(|c| fits(c));
                found.extend(best.map(|c| target(structure.kind, c, &visible)));
            }
            TargetRule::Whole => {
                let family = family(params, structure.id);
                let rename = |label| {
                    if family.contains(&label) {
                        structure.id
                    } else {
                        0
                    }
                };
                let whole = Components::new(labels, size, rename);
                let best = components::largest(whole.all().into_iter()).filter(|c| fits(c));
                found.extend(best.map(|c| target(structure.kind, c, &whole)));
            }
        }
    }
    found.truncate(wanted.max_count as usize);
    found
}

/// The largest component of each region in the recipe's order, then the second largest, and so on.
fn region_components(
    all: &[Component],
    regions: &[u16],
    fits: impl Fn(&Component) -> bool,
) -> Vec<Component> {
    let mut ranked = Vec::new();
    for (order, &region) in regions.iter().enumerate() {
        let of_region = all.iter().filter(|c| c.label == region.saturating_add(1));
        let mut own: Vec<Component> = of_region.copied().filter(|c| fits(c)).collect();
        own.sort_by_key(|c| std::cmp::Reverse(c.area));
        ranked.extend(
            own.into_iter()
                .enumerate()
                .map(|(rank, c)| (rank, order, c)),
        );
    }
    ranked.sort_by_key(|&(rank, order, _)| (rank, order));
    ranked
        .into_iter()
        .map(|(.., component)| component)
        .collect()
}

fn target(kind: TargetKind, component: Component, components: &Components) -> Target {
    Target {
        id: component.label,
        kind,
        mask: components.mask(component),
    }
}

/// Identifiers of a structure and of everything nested in it.
fn family(params: &SampleParams, id: u16) -> BTreeSet<u16> {
    let mut family = BTreeSet::from([id]);
    // Children are painted after their parents.
    for structure in &params.structures {
        if structure
            .parent
            .is_some_and(|parent| family.contains(&parent))
        {
            family.insert(structure.id);
        }
    }
    if let Some(map) = params.label_map.as_ref()
        && map.inside.is_some_and(|parent| family.contains(&parent))
    {
        family.extend((0..map.paints.len()).map(|region| region as u16 + 1));
    }
    family
}
