//! Painting: ground, regions and structures, one over the other, and who owns each pixel.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use synthfm_image::Size;

use crate::boundary::{Contour, clip};
use crate::brush::Brush;
use crate::clusters::{Weights, Window};
use crate::coverage::Layer;
use crate::deformation::Deformation;
use crate::field::Field;
use crate::params::{
    Blend, ClusterParams, ClusterPattern, LabelMapParams, Paint, RimParams, SampleParams,
    StructureParams,
};
use crate::scratch::Buffer;
use crate::{label_map, simd_dispatch, texture};

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
        Brush::new(ground, &self.textures).put(0, &mut self.data);
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
        match &structure.clusters {
            Some(clusters) if structure.blend == Blend::Replace => {
                self.blend_clusters(&alpha, structure.paint, clusters);
            }
            _ => self.blend(&alpha, structure.paint, structure.blend),
        }
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
        simd_dispatch::run(
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

    /// Weights of clusters in a part of the image.
    fn weights(&self, pattern: &ClusterPattern, others: usize, window: Window) -> Weights {
        let deformation = self.deformation.as_ref();
        let moved = |point| deformation.map_or(point, |deformation| deformation.moved(point));
        Weights::new(pattern, others, window, self.unit_px, moved)
    }

    /// Paints a structure whose inside is split into clusters.
    fn blend_clusters(&mut self, alpha: &Layer, paint: Paint, clusters: &ClusterParams) {
        let Layer { row, col, size, .. } = *alpha;
        let window = Window { row, col, size };
        let weights = self.weights(&clusters.pattern, clusters.paints.len(), window);
        let brush = |&paint: &Paint| Brush::new(paint, &self.textures);
        let (own, parts) = (brush(&paint), clusters.paints.iter().map(brush));
        let parts: Vec<Brush> = parts.collect();
        let (data, width) = (&mut self.data, self.size.width);
        let mut inside = Buffer::stale(size.width);
        simd_dispatch::run(
            #[inline(always)]
            || {
                for (line, (start, alpha)) in alpha.lines(width).enumerate() {
                    own.put(start, &mut inside);
                    let at = line * size.width;
                    let weights = weights.stretch(at..at + size.width);
                    for (part, weights) in parts.iter().zip(weights) {
                        part.mix(start, weights, &own, &mut inside);
                    }
                    let pixels = data[start..].iter_mut().zip(alpha);
                    for ((value, &a), &paint) in pixels.zip(&*inside) {
                        *value = (1.0 - a) * *value + a * paint;
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
        let weights = map.clusters.as_ref().map(|clusters| {
            let (row, col, size) = (0, 0, self.size);
            self.weights(
                &clusters.pattern,
                clusters.others(),
                Window { row, col, size },
            )
        });
        let brush = |&paint: &Paint| Brush::new(paint, &self.textures);
        let brushes: Vec<Brush> = map.paints.iter().map(brush).collect();
        let split = map.clusters.iter().flat_map(|clusters| &clusters.paints);
        let parts: Vec<Vec<Brush>> = split
            .map(|paints| paints.iter().map(brush).collect())
            .collect();
        for (at, &region) in regions.iter().enumerate() {
            let Some(brush) = brushes.get(usize::from(region)) else {
                continue;
            };
            let alpha = match inside {
                Some(layer) => layer.at(at / self.size.width, at % self.size.width),
                None => 1.0,
            };
            let mut paint = brush.at(at);
            if let Some(weights) = &weights {
                let parts = parts[usize::from(region)].iter();
                for (part, weight) in parts.zip(weights.at(at)) {
                    paint += weight * (part.at(at) - brush.at(at));
                }
            }
            self.data[at] = (1.0 - alpha) * self.data[at] + alpha * paint;
            if alpha >= 0.5 {
                self.labels[at] = region + 1;
            }
        }
    }
}

/// Every paint of a recipe that may have a texture.
fn paints(params: &SampleParams) -> impl Iterator<Item = Paint> {
    let regions = params.label_map.iter().flat_map(|map| &map.paints).copied();
    let split = params
        .label_map
        .iter()
        .filter_map(|map| map.clusters.as_ref());
    let split = split.flat_map(|clusters| clusters.paints.iter().flatten().copied());
    let structures = params.structures.iter().map(|structure| structure.paint);
    let inside = params.structures.iter().filter_map(|s| s.clusters.as_ref());
    let inside = inside.flat_map(|clusters| clusters.paints.iter().copied());
    std::iter::once(params.ground)
        .chain(regions)
        .chain(split)
        .chain(structures)
        .chain(inside)
}
