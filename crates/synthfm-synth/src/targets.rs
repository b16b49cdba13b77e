//! Which parts of a painted label map are targets: one visible connected component each.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use synthfm_image::{Image, Mask};

use crate::components::{self, Component, Components};
use crate::params::{SampleParams, StructureParams, TargetKind, TargetRule};
use crate::sample::Target;
use crate::visibility::is_visible;

/// Smallest target in pixels, whatever the recipe says.
const MIN_TARGET_PX: usize = 12;

/// The targets of a finished image and its label map.
pub(crate) fn find(params: &SampleParams, image: &Image, labels: &[u16]) -> Vec<Target> {
    let mut search = Search::new(params, image, labels);
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
        let (components, candidates) = if structure.target == TargetRule::Whole {
            let family = family(self.params, structure.id);
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
fn region_components(
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
