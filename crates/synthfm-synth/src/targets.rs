//! Which parts of a painted label map, and which segments of the finished image, are targets: one visible connected
//! component each.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use synthfm_image::{Image, Mask, boundary_visibility};

use crate::components::{self, Component, Components};
use crate::params::{SampleParams, StructureParams, TargetKind, TargetRule};
use crate::sample::Target;
use crate::segments::Segments;

/// Smallest target in pixels, whatever the recipe says.
const MIN_TARGET_PX: usize = 12;

/// Reach of the comparison across a boundary on either side, as a share of the shorter side.
const REACH: f32 = 0.01;

/// Least visibility of a segment: its border was chosen to follow the differences of this very image.
const SEGMENT_VISIBILITY: f32 = 0.8;

/// The largest such reach.
const WIDE_REACH: f32 = 0.05;

/// The targets of a finished image and its label map.
pub(crate) fn find(params: &SampleParams, image: &Image, labels: &[u16]) -> Vec<Target> {
    let mut search = Search::new(params, image, labels);
    // First, so that structures leave them room.
    search.segments();
    search.regions();
    for structure in &params.structures {
        search.structure(structure);
    }
    search.found
}

/// The targets so far, and what a target must be like.
struct Search<'a> {
    params: &'a SampleParams,
    image: &'a Image,
    labels: &'a [u16],
    visible: Components,
    all: Vec<Component>,
    areas: RangeInclusive<usize>,
    found: Vec<Target>,
}

impl<'a> Search<'a> {
    fn new(params: &'a SampleParams, image: &'a Image, labels: &'a [u16]) -> Self {
        let pixels = image.size().area() as f32;
        let least = ((params.targets.min_area * pixels) as usize).max(MIN_TARGET_PX);
        let visible = Components::new(labels, image.size(), |label| label);
        Self {
            params,
            image,
            labels,
            all: visible.all(),
            visible,
            areas: least..=(params.targets.max_area * pixels) as usize,
            found: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.params.targets.max_count as usize
    }

    fn segments(&mut self) {
        let Some(params) = &self.params.targets.segments else {
            return;
        };
        let least = self.params.targets.min_visibility.max(SEGMENT_VISIBILITY);
        let segments = Segments::new(params, self.image, self.areas.clone());
        for &pick in &params.picks {
            if self.found.len() >= params.count as usize || self.is_full() {
                break;
            }
            let Some(mask) = segments.mask(pick) else {
                continue;
            };
            let twice = self.found.iter().any(|target| target.mask == mask);
            if !twice && is_visible(self.image, &mask, least) {
                let (id, kind) = (0, TargetKind::Segment);
                self.found.push(Target { id, kind, mask });
            }
        }
    }

    fn regions(&mut self) {
        let ranked = region_components(&self.all, &self.params.targets.regions, &self.areas);
        for component in ranked {
            let mask = self.visible.mask(component);
            self.accept(TargetKind::Region, component.label, mask);
        }
    }

    fn structure(&mut self, structure: &StructureParams) {
        if self.is_full() || structure.target == TargetRule::No {
            return;
        }
        let whole;
        let together = match structure.target {
            TargetRule::Whole => Some(family(self.params, structure.id)),
            TargetRule::Clump => Some(of_kind(self.params, structure.kind)),
            TargetRule::No | TargetRule::Visible => None,
        };
        let (components, candidates) = if let Some(family) = together {
            let rename = |label| {
                if family.contains(&label) {
                    structure.id
                } else {
                    0
                }
            };
            whole = Components::new(self.labels, self.image.size(), rename);
            (&whole, whole.all())
        } else {
            (&self.visible, self.all.clone())
        };
        let own = candidates.into_iter().filter(|c| c.label == structure.id);
        let best = components::largest(own).filter(|c| self.areas.contains(&c.area));
        if let Some(component) = best {
            let mask = components.mask(component);
            self.accept(structure.kind, structure.id, mask);
        }
    }

    /// Takes a target if there is room and its boundary can be seen.
    fn accept(&mut self, kind: TargetKind, id: u16, mask: Mask) {
        let least = self.params.targets.min_visibility;
        if !self.is_full() && (least <= 0.0 || is_visible(self.image, &mask, least)) {
            self.found.push(Target { id, kind, mask });
        }
    }
}

/// The largest component of each region in the recipe's order, then the second largest, and so on.
pub(crate) fn region_components(
    all: &[Component],
    regions: &[u16],
    areas: &RangeInclusive<usize>,
) -> Vec<Component> {
    let mut ranked = Vec::new();
    for (order, &region) in regions.iter().enumerate() {
        let of_region = all.iter().filter(|c| c.label == region.saturating_add(1));
        let mut own: Vec<Component> = of_region
            .copied()
            .filter(|c| areas.contains(&c.area))
            .collect();
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

/// Identifiers of the structures of a kind that lie in nothing else.
fn of_kind(params: &SampleParams, kind: TargetKind) -> BTreeSet<u16> {
    let structures = params.structures.iter();
    let own = structures.filter(|s| s.kind == kind && s.parent.is_none());
    own.map(|s| s.id).collect()
}

/// Whether the boundary of a mask has at least this visibility: next to it, or, in noise that hides it
/// there, over a quarter of the mask's radius.
pub(crate) fn is_visible(image: &Image, mask: &Mask, least: f32) -> bool {
    let size = image.size();
    let shorter = size.height.min(size.width) as f32;
    if boundary_visibility(image, mask, REACH * shorter) >= least {
        return true;
    }
    let radius = (mask.area() as f32 / std::f32::consts::PI).sqrt();
    let wide = (radius / 4.0).min(WIDE_REACH * shorter);
    wide > REACH * shorter && boundary_visibility(image, mask, wide) >= least
}

#[cfg(test)]
mod tests {
    use synthfm_image::Size;

    use super::*;
    use crate::rng::RowRng;

    #[test]
    fn a_large_structure_is_seen_through_noise_that_hides_its_edge() {
        let size = Size::new(128, 150);
        let disc = |contrast: f32| {
            let inside = |at: usize| {
                let (row, col) = ((at / size.width) as f32, (at % size.width) as f32);
                (row - 60.0).hypot(col - 80.0) < 30.0
            };
            let mut data = vec![0.0; size.area()];
            RowRng::new(3, 0).fill_normal(&mut data);
            let mask = Mask::new(size, (0..size.area()).map(inside).collect()).unwrap();
            for (value, &inside) in data.iter_mut().zip(mask.data()) {
                *value = 0.5 + 0.6 * *value + contrast * f32::from(u8::from(inside));
            }
            (Image::new(size, data).unwrap(), mask)
        };
        let (image, mask) = disc(0.12);
        assert!(boundary_visibility(&image, &mask, 2.0) < 0.25);
        assert!(is_visible(&image, &mask, 0.25));
        let (image, mask) = disc(0.0);
        assert!(!is_visible(&image, &mask, 0.25));
    }
}
