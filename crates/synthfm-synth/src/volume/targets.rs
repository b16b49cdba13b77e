//! Which parts of a rendered volume are targets: one visible connected component each.

use std::collections::BTreeSet;

use synthfm_image::{Image, Mask, Size};

use super::params::{SolidParams, VolumeParams};
use super::sample::VolumeTarget;
use crate::components::{self, Component, Components};
use crate::params::{TargetKind, TargetRule};
use crate::targets::{is_visible, region_components};

/// Smallest target in voxels, whatever the recipe says.
const MIN_TARGET_VOXELS: usize = 27;

/// The targets of a rendered volume.
pub(super) fn find(params: &VolumeParams, image: &[f32], labels: &[u16]) -> Vec<VolumeTarget> {
    let voxels = labels.len() as f32;
    let least = ((params.targets.min_share * voxels) as usize).max(MIN_TARGET_VOXELS);
    let sizes = least..=(params.targets.max_share * voxels) as usize;
    let size = params.slice_size();
    let visible = Components::of_volume(labels, size, |label| label);
    let all = visible.all();
    let mut found = Found {
        params,
        image,
        targets: Vec::new(),
    };
    for component in region_components(&all, &params.targets.regions, &sizes) {
        let pieces = || visible.pieces(component);
        found.accept(TargetKind::Region, component.label, pieces);
    }
    for solid in &params.structures {
        let fits = |c: &Component| sizes.contains(&c.area);
        match solid.target {
            TargetRule::No => {}
            TargetRule::Visible => {
                let own = all.iter().copied().filter(|c| c.label == solid.id);
                if let Some(component) = components::largest(own).filter(fits) {
                    found.accept(solid.kind, solid.id, || visible.pieces(component));
                }
            }
            TargetRule::Whole | TargetRule::Clump => {
                let together = family(&params.structures, solid);
                let rename = |label| u16::from(together.contains(&label));
                let whole = Components::of_volume(labels, size, rename);
                if let Some(component) = components::largest(whole.all().into_iter()).filter(fits) {
                    found.accept(solid.kind, solid.id, || whole.pieces(component));
                }
            }
        }
    }
    found.targets
}

/// Identifiers of what belongs to a target: a structure and all that lies in it, or all of a clump's kind.
fn family(structures: &[SolidParams], solid: &SolidParams) -> BTreeSet<u16> {
    let mut family = BTreeSet::from([solid.id]);
    for other in structures {
        let nested = other.parent.is_some_and(|parent| family.contains(&parent));
        let alike = solid.target == TargetRule::Clump && other.kind == solid.kind;
        if nested || alike && other.parent == solid.parent {
            family.insert(other.id);
        }
    }
    family
}

struct Found<'a> {
    params: &'a VolumeParams,
    image: &'a [f32],
    targets: Vec<VolumeTarget>,
}

impl Found<'_> {
    /// Takes a target if there is room and its boundary can be seen in the slice where it is largest.
    fn accept(&mut self, kind: TargetKind, id: u16, pieces: impl FnOnce() -> Vec<[u32; 3]>) {
        if self.targets.len() >= self.params.targets.max_count as usize {
            return;
        }
        let target = VolumeTarget::new(id, kind, self.params.slice_size(), pieces());
        let least = self.params.targets.min_visibility;
        if least <= 0.0 || self.is_visible(&target, least) {
            self.targets.push(target);
        }
    }

    fn is_visible(&self, target: &VolumeTarget, least: f32) -> bool {
        let size: Size = self.params.slice_size();
        let slice = target.largest_slice();
        let start = slice * size.area();
        let pixels = self.image[start..start + size.area()].to_vec();
        let image = Image::new(size, pixels).expect("one value per pixel");
        let mask: Mask = target.slice(slice);
        is_visible(&image, &mask, least)
    }
}
