//! Painting: ground, regions and structures, one over the other, and who owns each pixel.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use synthfm_image::Size;

use crate::boundary::{Contour, clip};
use crate::coverage::Layer;
use crate::deformation::Deformation;
use crate::field::Field;
use crate::params::{Blend, LabelMapParams, Paint, RimParams, SampleParams, StructureParams};
use crate::{label_map, texture, wide};

/// The image while it is painted.
pub(crate) struct Canvas<'a> {
    params: &'a SampleParams,
    pub(crate) size: Size,
    pub(crate) unit_px: f32,
    pub(crate) data: Vec<f32>,
    pub(crate) labels: Vec<u16>,
    deformation: Option<Deformation>,
    /// `None` where no paint uses the texture.
    textures: Vec<Option<Field>>,
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(params: &'a SampleParams) -> Self {
        let size = params.size();
        let unit_px = size.height.min(size.width) as f32;
        let textures = params.textures.iter().enumerate();
        let paints: Vec<Paint> = paints(params).collect();
        let used = |position: usize| {
            let uses =
                |paint: &Paint| paint.amplitude != 0.0 && usize::from(paint.texture) == position;
            paints.iter().any(uses)
        };
        Self {
            params,
            size,
            unit_px,
            data: vec![0.0; size.area()],
            labels: vec![0; size.area()],
            deformation: params
                .deformation
                .as_ref()
                .map(|params| Deformation::new(params, size)),
            textures: textures
                .map(|(position, params)| {
                    used(position).then(|| texture::render(params, size, unit_px))
                })
                .collect(),
        }
    }

    pub(crate) fn paint(&mut self) {
        let ground = self.params.ground;
        Brush::new(ground, &self.textures).fill(&mut self.data);
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
        let mut polygon = structure.outline.polygon(self.unit_px);
        if let Some(deformation) = &self.deformation {
            for point in &mut polygon {
                *point = deformation.moved(*point);
            }
        }
        let contour = Contour::new(&polygon, self.unit_px, self.size);
        let mut layer = contour.cover(&structure.edge, structure.inset)?;
        let parent = match structure.parent {
            Some(id) => Some(layers.get(&id)?),
            None => None,
        };
        if let Some(parent) = parent {
            clip(&mut layer, parent);
        }
        self.clear_around(structure, &contour, parent);
        let mut alpha = contour.alpha(&layer, &structure.edge);
        if let (Some(parent), Cow::Owned(alpha)) = (parent, &mut alpha) {
            clip(alpha, parent);
        }
        self.blend(&alpha, structure.paint, structure.blend);
        if structure.blend == Blend::Replace {
            self.mark(&layer, structure.id);
        }
        if let Some(rim) = &structure.rim {
            self.paint_rim(rim, &contour, parent);
        }
        Some(layer)
    }

    /// Gives a band around a structure back to its parent, or to the ground.
    fn clear_around(
        &mut self,
        structure: &StructureParams,
        contour: &Contour<'_>,
        parent: Option<&Layer>,
    ) {
        let Some(mut band) = contour.clearance(&structure.edge) else {
            return;
        };
        if let Some(parent) = parent {
            clip(&mut band, parent);
        }
        let holder = self
            .params
            .structures
            .iter()
            .find(|holder| Some(holder.id) == structure.parent);
        let paint = holder.map_or(self.params.ground, |holder| holder.paint);
        self.blend(&band, paint, Blend::Replace);
        self.mark(&band, holder.map_or(0, |holder| holder.id));
    }

    fn blend(&mut self, alpha: &Layer, paint: Paint, blend: Blend) {
        let brush = Brush::new(paint, &self.textures);
        let (data, width) = (&mut self.data, self.size.width);
        wide::run(
            #[inline(always)]
            || {
                for (start, alpha) in alpha.lines(width) {
                    let pixels = &mut data[start..start + alpha.len()];
                    match blend {
                        Blend::Replace => brush.visit(
                            start,
                            pixels,
                            alpha,
                            #[inline(always)]
                            |value, a, paint| (1.0 - a) * value + a * paint,
                        ),
                        Blend::Add => brush.visit(
                            start,
                            pixels,
                            alpha,
                            #[inline(always)]
                            |value, a, paint| value + a * paint,
                        ),
                    }
                }
            },
        );
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

    fn paint_rim(&mut self, rim: &RimParams, contour: &Contour<'_>, parent: Option<&Layer>) {
        let Some(mut alpha) = contour.rim(rim) else {
            return;
        };
        if let Some(parent) = parent {
            clip(&mut alpha, parent);
        }
        let paint = Paint {
            mean: rim.mean,
            amplitude: 0.0,
            texture: 0,
        };
        self.blend(&alpha, paint, Blend::Replace);
    }

    /// Paints the label map over the image or inside a structure; gaps keep what is below.
    fn paint_regions(&mut self, map: &LabelMapParams, inside: Option<&Layer>) {
        let regions = label_map::regions(map, self.deformation.as_ref(), self.size);
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

/// Every paint of a recipe that may have a texture.
fn paints(params: &SampleParams) -> impl Iterator<Item = Paint> {
    let regions = params.label_map.iter().flat_map(|map| &map.paints).copied();
    let structures = params.structures.iter().map(|structure| structure.paint);
    std::iter::once(params.ground)
        .chain(regions)
        .chain(structures)
}

/// Evaluates a paint at pixels: `base + factor v`, v the texture's source.
struct Brush<'a> {
    base: f32,
    factor: f32,
    texture: Option<&'a [f32]>,
}

impl<'a> Brush<'a> {
    fn new(paint: Paint, textures: &'a [Option<Field>]) -> Self {
        let texture = textures
            .get(usize::from(paint.texture))
            .and_then(Option::as_ref)
            .filter(|_| paint.amplitude != 0.0);
        let factor = texture.map_or(0.0, |texture| paint.amplitude * texture.scale);
        Self {
            base: paint.mean - texture.map_or(0.0, |texture| factor * texture.mean),
            factor,
            texture: texture.and_then(Field::plane),
        }
    }

    fn at(&self, pixel: usize) -> f32 {
        match self.texture {
            Some(texture) => self.base + self.factor * texture[pixel],
            None => self.base,
        }
    }

    /// Paints all pixels of the image.
    fn fill(&self, image: &mut [f32]) {
        match self.texture {
            Some(texture) => {
                for (value, &t) in image.iter_mut().zip(texture) {
                    *value = self.base + self.factor * t;
                }
            }
            None => image.fill(self.base),
        }
    }

    /// Replaces the values of consecutive pixels from `start` on by `mix(value, alpha, paint)`.
    #[inline(always)]
    fn visit(
        &self,
        start: usize,
        pixels: &mut [f32],
        alpha: &[f32],
        mix: impl Fn(f32, f32, f32) -> f32,
    ) {
        let pixels = pixels.iter_mut().zip(alpha);
        match self.texture {
            Some(texture) => {
                for ((value, &a), &t) in pixels.zip(&texture[start..]) {
                    *value = mix(*value, a, self.base + self.factor * t);
                }
            }
            None => {
                for (value, &a) in pixels {
                    *value = mix(*value, a, self.base);
                }
            }
        }
    }
}
