//! Choice of the pixels that count as one object to segment.
//! Differs from the paper (arXiv 2504.08177) in that targets may be single components or instances, because one click
//! cannot mean both kidneys.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use synthfm_image::{Components, Connectivity, LabelMap, Mask, connected_components};

use crate::dataset::{Structure, View};

/// The pixels that count as one object to segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// All pixels of the structure.
    Label,
    /// The structure's largest 8-connected component, or its largest instance where the labels number instances.
    Largest,
    /// Each of its 8-connected components, or each instance where the labels number instances.
    Components,
    /// Each object that the labels tell apart: each instance where they number instances, however many pieces it is
    /// in, otherwise the whole structure.
    Instances,
}

/// One object to segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Number of the component or value of the instance, from 1; 0 where the target is the whole structure.
    pub(crate) number: u32,
    pub(crate) area_px: usize,
}

/// Where the objects of a structure are found. Masks are made one at a time, because an image may hold thousands.
#[derive(Debug, Clone)]
pub(crate) enum Parts<'a> {
    Whole(Mask),
    Components(Components),
    /// The values that number the instances of the structure.
    Instances(&'a LabelMap, BTreeSet<u16>),
}

impl<'a> Parts<'a> {
    /// Finds the objects of a structure of `view`.
    pub(crate) fn new(view: &'a View, structure: &Structure, target: Target) -> Self {
        let labels = &view.labels;
        let instances: Option<BTreeSet<u16>> = view.instance_of.as_ref().map(|owners| {
            let own = owners
                .iter()
                .filter(|&(_, &owner)| owner == structure.label);
            own.map(|(&value, _)| value).collect()
        });
        let whole = || match &instances {
            Some(values) => {
                let data = labels.data().iter().map(|v| values.contains(v)).collect();
                Mask::new(labels.size(), data).expect("one value per label")
            }
            None => labels.mask_of(structure.label),
        };
        match (target, &instances) {
            (Target::Label, _) | (Target::Instances, None) => Self::Whole(whole()),
            (_, Some(values)) => Self::Instances(labels, values.clone()),
            _ => Self::Components(connected_components(&whole(), Connectivity::Eight)),
        }
    }

    /// The objects in the order of their numbers, or the largest one (the first of equals); none if the structure is
    /// absent.
    pub(crate) fn list(&self, target: Target) -> Vec<Part> {
        let mut parts: Vec<Part> = match self {
            Self::Whole(mask) => vec![Part {
                number: 0,
                area_px: mask.area(),
            }],
            Self::Components(components) => (1..)
                .zip(components.areas())
                .map(|(number, &area_px)| Part { number, area_px })
                .collect(),
            Self::Instances(labels, values) => {
                let mut areas = vec![0; usize::from(u16::MAX) + 1];
                for &value in labels.data() {
                    areas[usize::from(value)] += 1;
                }
                let part = |&value: &u16| Part {
                    number: u32::from(value),
                    area_px: areas[usize::from(value)],
                };
                values.iter().map(part).collect()
            }
        };
        parts.retain(|part| part.area_px > 0);
        if target == Target::Largest {
            // `max_by_key` takes the last of equals.
            let largest = parts.into_iter().rev().max_by_key(|part| part.area_px);
            parts = largest.into_iter().collect();
        }
        parts
    }

    pub(crate) fn mask(&self, part: Part) -> Mask {
        match self {
            Self::Whole(mask) => mask.clone(),
            Self::Components(components) => components.mask(part.number as usize - 1),
            Self::Instances(labels, _) => labels.mask_of(part.number as u16),
        }
    }
}

#[cfg(test)]
mod tests {
    use synthfm_image::{RgbImage, Size};

    use super::*;

    fn structure(label: u16) -> Structure {
        Structure {
            name: "a".to_owned(),
            label,
        }
    }

    fn view(lines: &[&str], instance_of: &[(u16, u16)]) -> View {
        let size = Size::new(lines.len(), lines[0].len());
        let digits = lines.concat();
        let labels = digits.bytes().map(|b| u16::from(b - b'0')).collect();
        View {
            image: RgbImage::zeros(size),
            labels: LabelMap::new(size, labels).unwrap(),
            slice: None,
            spacing_mm: None,
            structures: vec![structure(2)],
            instance_of: (!instance_of.is_empty()).then(|| instance_of.iter().copied().collect()),
            ignored: None,
        }
    }

    #[test]
    fn targets_are_labels_components_or_instances() {
        let lines = ["2200222", "2010000", "0020022"];
        let of = |view: &View, target| -> Vec<(u32, usize)> {
            let parts = Parts::new(view, &structure(2), target);
            let list = parts.list(target);
            for &part in &list {
                assert_eq!(parts.mask(part).area(), part.area_px);
            }
            list.iter().map(|p| (p.number, p.area_px)).collect()
        };
        let labels = view(&lines, &[]);
        assert_eq!(of(&labels, Target::Label), [(0, 9)]);
        assert_eq!(of(&labels, Target::Instances), [(0, 9)]);
        assert_eq!(of(&labels, Target::Largest), [(1, 3)]);
        let components = [(1, 3), (2, 3), (3, 1), (4, 2)];
        assert_eq!(of(&labels, Target::Components), components);
        let instances = view(&lines, &[(1, 2), (2, 2)]);
        assert_eq!(of(&instances, Target::Label), [(0, 10)]);
        assert_eq!(of(&instances, Target::Largest), [(2, 9)]);
        for target in [Target::Components, Target::Instances] {
            assert_eq!(of(&instances, target), [(1, 1), (2, 9)]);
        }
        // The same numbers, but 1 belongs to another structure.
        let two = view(&lines, &[(1, 7), (2, 2)]);
        assert_eq!(of(&two, Target::Label), [(0, 9)]);
        assert_eq!(of(&two, Target::Instances), [(2, 9)]);
        let absent = view(&["1100"], &[]);
        for target in [Target::Label, Target::Largest, Target::Components] {
            assert_eq!(of(&absent, target), []);
        }
    }
}
