//! Random clusters inside structures and regions.
//!
//! Means differ from the structure's by a share of the strength of its own edge, so that slight borders inside go with
//! slight outer ones. What touches the contour differs less towards the surroundings than away from them: the contour
//! stays visible.

use super::Scene;
use super::contour::middle;
use crate::config::ClustersConfig;
use crate::params::{
    Blend, ClusterForm, ClusterParams, ClusterPattern, Outline, Paint, RegionClusterParams,
    StructureParams, TargetKind, Vec2,
};

/// Largest step of a mean towards the surroundings, as a share of the edge's strength, of clusters that touch the contour.
const TOWARDS: f32 = 0.6;

/// Least strength of an edge that contrasts are taken from.
const LEAST_EDGE: f32 = 0.03;

/// Share of the regions of a map with clusters that have them.
const REGIONS: f32 = 2.0 / 3.0;

/// Parameters drawn once for all clusters of a structure, or for all cells of an image.
#[derive(Clone)]
struct Style {
    kind: Kind,
    /// Scale of the noise as a share of a length, vertically and horizontally.
    scale: Vec2,
    softness: f32,
    roughness: f32,
    /// Thresholds of bands and cores.
    thresholds: Vec<f32>,
    /// Steps of the means of clusters after the first in units of the edge's strength; positive: away from the
    /// surroundings.
    steps: Vec<f32>,
    own_texture: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Patches,
    Bands,
    Core,
}

impl Scene<'_> {
    /// Splits the insides of some structures and regions.
    pub(super) fn draw_clusters(&mut self) {
        let config = &self.config.clusters;
        let cells = self.rng.chance(config.structures);
        let cells = cells.then(|| self.style(true));
        for index in 0..self.structures.len() {
            let StructureParams { kind, blend, .. } = self.structures[index];
            if blend == Blend::Add {
                continue;
            }
            let style = if kind == TargetKind::Cell {
                cells.clone()
            } else if self.rng.chance(config.structures) {
                let tubes = matches!(self.structures[index].outline, Outline::Tubes { .. });
                Some(self.style(!tubes && kind != TargetKind::Body))
            } else {
                None
            };
            if let Some(style) = style {
                let clusters = self.clusters(index, &style);
                self.structures[index].clusters = Some(clusters);
            }
        }
        if self.label_map.is_some() && self.rng.chance(config.regions) {
            self.split_regions();
        }
    }

    fn style(&mut self, core: bool) -> Style {
        let config: &ClustersConfig = &self.config.clusters;
        let [low, high] = config.count;
        let weights = [0.4, 0.3, if core { 0.3 } else { 0.0 }];
        let kind = [Kind::Patches, Kind::Bands, Kind::Core][self.rng.pick(&weights)];
        // Rings of many cores look like targets to shoot at.
        let most = if kind == Kind::Core {
            high.min(3)
        } else {
            high
        };
        let others = self.rng.int(low.min(most), most) as usize - 1;
        let scale = self.rng.log_within(config.scale);
        let stretch = self.rng.log_uniform(0.6, 1.7).sqrt();
        let soft = self.rng.chance(0.5);
        let softness = self.rng.within(config.softness);
        Style {
            kind,
            scale: [scale * stretch, scale / stretch],
            softness: if soft { softness } else { 0.0 },
            roughness: self.rng.uniform(0.02, 0.25),
            thresholds: self.thresholds(kind, others),
            steps: (0..others).map(|_| self.step(kind)).collect(),
            own_texture: self.rng.chance(0.5),
        }
    }

    /// Ascending thresholds, in standard deviations of noise or as depths below the contour.
    fn thresholds(&mut self, kind: Kind, count: usize) -> Vec<f32> {
        let range = match kind {
            Kind::Patches => return Vec::new(),
            Kind::Bands => [-1.2, 1.2],
            Kind::Core => [0.15, 0.75],
        };
        let mut thresholds: Vec<f32> = (0..count).map(|_| self.rng.within(range)).collect();
        thresholds.sort_by(f32::total_cmp);
        thresholds
    }

    fn step(&mut self, kind: Kind) -> f32 {
        let share = self.rng.log_within(self.config.clusters.contrast);
        if self.rng.chance(0.5) {
            share
        } else if kind == Kind::Core {
            -share
        } else {
            -share.min(TOWARDS)
        }
    }

    fn clusters(&mut self, index: usize, style: &Style) -> ClusterParams {
        let structure = &self.structures[index];
        let (centre, near) = middle(&structure.outline);
        let paint = structure.paint;
        let edge = self.edge_of(index);
        let length = self.length_of(index, near);
        ClusterParams {
            pattern: self.pattern(style, length, centre),
            paints: self.cluster_paints(paint, edge, style),
        }
    }

    /// The length that a structure's clusters scale with.
    fn length_of(&self, index: usize, near: f32) -> f32 {
        match &self.structures[index].outline {
            Outline::Tubes { branches } => {
                let widths = branches.iter().flatten().map(|knot| knot[2]);
                4.0 * widths.fold(0.0, f32::max)
            }
            _ => near.abs(),
        }
    }

    /// How far a structure's mean differs from what it lies on, with sign, or as far as its rim does.
    fn edge_of(&self, index: usize) -> f32 {
        let structure = &self.structures[index];
        let holder = self
            .structures
            .iter()
            .find(|s| Some(s.id) == structure.parent);
        let below = match (holder, &self.label_map) {
            (Some(holder), _) => holder.paint.mean,
            (None, Some(map)) if map.inside.is_none() => mean_of(&map.paints),
            (None, _) => self.ground.mean,
        };
        let step = structure.paint.mean - below;
        let rim = structure.rim.as_ref();
        let rim = rim.map_or(0.0, |rim| (rim.mean - structure.paint.mean).abs());
        step.abs().max(rim).max(LEAST_EDGE).copysign(step)
    }

    fn pattern(&mut self, style: &Style, length: f32, centre: Vec2) -> ClusterPattern {
        let scale = style.scale.map(|share| (share * length).max(0.004));
        let thresholds = style.thresholds.clone();
        let form = match style.kind {
            Kind::Patches => ClusterForm::Patches,
            Kind::Bands => ClusterForm::Bands { thresholds },
            Kind::Core => ClusterForm::Core {
                centre: centre.map(|v| v + 0.2 * length * self.rng.uniform(-1.0, 1.0)),
                radius: length.max(0.002),
                roughness: style.roughness,
                thresholds,
            },
        };
        ClusterPattern {
            seed: self.rng.seed(),
            scale,
            softness: style.softness,
            form,
        }
    }

    fn cluster_paints(&mut self, own: Paint, edge: f32, style: &Style) -> Vec<Paint> {
        let steps = style.steps.iter();
        let paint = |&step: &f32| {
            // Where there is no room, the other way.
            let wanted = own.mean + step * edge;
            let mean = if (0.0..=1.0).contains(&wanted) {
                wanted
            } else {
                (own.mean - step.clamp(-1.0, TOWARDS) * edge).clamp(0.0, 1.0)
            };
            let textured = self.textured(mean);
            if style.own_texture {
                textured
            } else {
                Paint { mean, ..own }
            }
        };
        steps.map(paint).collect()
    }

    fn split_regions(&mut self) {
        let style = self.style(false);
        let Some(map) = &self.label_map else {
            return;
        };
        let (own, scale) = (map.paints.clone(), map.noise_scale);
        let mean = mean_of(&own);
        let spread = own.iter().map(|paint| (paint.mean - mean).abs());
        let edge = (spread.sum::<f32>() / own.len() as f32).max(LEAST_EDGE);
        let pattern = self.pattern(&style, scale[0].min(scale[1]), [0.0; 2]);
        let paints = own.into_iter().map(|paint| {
            let split = self.rng.chance(REGIONS);
            let edge = edge * self.rng.sign();
            let paints = self.cluster_paints(paint, edge, &style);
            if split { paints } else { Vec::new() }
        });
        let paints = paints.collect();
        if let Some(map) = &mut self.label_map {
            map.clusters = Some(RegionClusterParams { pattern, paints });
        }
    }
}

fn mean_of(paints: &[Paint]) -> f32 {
    paints.iter().map(|paint| paint.mean).sum::<f32>() / paints.len().max(1) as f32
}
