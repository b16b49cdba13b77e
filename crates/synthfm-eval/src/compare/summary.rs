//! Coverage by group: everything, each modality, each data set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::coverage::Space;
use super::properties::{IMAGE, Property, STRUCTURE, scaled};
use super::real::RealSide;
use super::subject::{Measured, Subject};

/// Share inside the synthetic range of one property.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PropertyCoverage {
    /// Name of the property.
    pub property: &'static str,
    /// Share of the group from the 1st to the 99th percentile of the synthetic values.
    pub inside: f64,
}

/// How much of a group of real structures is covered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupCoverage {
    /// `all`, a modality such as `CT`, or a data set's name.
    pub name: String,
    /// `all`, `modality` or `dataset`.
    pub level: &'static str,
    /// Real structures.
    pub structures: usize,
    /// Cases with any of them.
    pub cases: usize,
    /// One property at a time.
    pub properties: Vec<PropertyCoverage>,
    /// All properties together: nearest-neighbour coverage.
    pub joint: f64,
    /// Coverage after Naeem et al. (2020); `None` where the structures are too few.
    pub naeem: Option<f64>,
    /// Images of the group that are wide enough for a spectrum.
    pub images: usize,
    /// One property of the images at a time.
    pub image_properties: Vec<PropertyCoverage>,
    /// All properties of the images together; `None` without images.
    pub image_joint: Option<f64>,
}

/// Everything first, then the modalities, then the data sets in the order of their names.
pub(super) fn groups(real: &RealSide, spaces: [&Space; 2]) -> Vec<GroupCoverage> {
    let mut groups: BTreeMap<(usize, &str), [Vec<&Measured>; 2]> = BTreeMap::new();
    for (kind, all) in [&real.structures, &real.images].into_iter().enumerate() {
        for measured in all {
            let Subject::Real {
                dataset, modality, ..
            } = &measured.subject
            else {
                continue;
            };
            for key in [(0, "all"), (1, modality.as_str()), (2, dataset.as_str())] {
                groups.entry(key).or_default()[kind].push(measured);
            }
        }
    }
    let with_structures = groups
        .into_iter()
        .filter(|(_, members)| !members[0].is_empty());
    with_structures
        .map(|(key, members)| group(key, &members, spaces))
        .collect()
}

fn group(
    (level, name): (usize, &str),
    members: &[Vec<&Measured>; 2],
    spaces: [&Space; 2],
) -> GroupCoverage {
    let [structures, images] = members;
    let [space, image_space] = spaces;
    let case = |measured: &&Measured| match &measured.subject {
        Subject::Real { dataset, case, .. } => Some((dataset.clone(), case.clone())),
        Subject::Synthetic { .. } => None,
    };
    let cases: BTreeSet<_> = structures.iter().filter_map(case).collect();
    let points = scaled_points(structures, &STRUCTURE);
    let image_points = scaled_points(images, &IMAGE);
    GroupCoverage {
        name: name.to_owned(),
        level: ["all", "modality", "dataset"][level],
        structures: structures.len(),
        cases: cases.len(),
        properties: single(&points, space, &STRUCTURE),
        joint: joint(&points, space),
        naeem: space.naeem(&points),
        images: images.len(),
        image_properties: single(&image_points, image_space, &IMAGE),
        image_joint: (!images.is_empty()).then(|| joint(&image_points, image_space)),
    }
}

fn scaled_points(measured: &[&Measured], table: &[Property]) -> Vec<Vec<f64>> {
    measured.iter().map(|m| scaled(table, &m.values)).collect()
}

fn single(points: &[Vec<f64>], space: &Space, table: &[Property]) -> Vec<PropertyCoverage> {
    let inside: Vec<Vec<bool>> = points.iter().map(|point| space.inside(point)).collect();
    let share = |axis: usize| {
        let count = inside.iter().filter(|point| point[axis]).count();
        count as f64 / inside.len().max(1) as f64
    };
    let names = table.iter().map(|property| property.key).enumerate();
    names
        .map(|(axis, property)| PropertyCoverage {
            property,
            inside: share(axis),
        })
        .collect()
}

fn joint(points: &[Vec<f64>], space: &Space) -> f64 {
    let covered = points
        .iter()
        .filter(|p| space.distance(p) <= space.threshold());
    covered.count() as f64 / points.len().max(1) as f64
}

/// The coverage of structures in per cent, one line per group, and the cases that were left out.
pub(super) fn text(groups: &[GroupCoverage], real: &RealSide) -> String {
    let first = groups
        .iter()
        .map(|g| g.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(5);
    let mut text = format!("{:first$} {:>6} {:>6}", "group", "n", "joint");
    for property in &STRUCTURE {
        let _ = write!(text, " {:>13}", property.key);
    }
    let _ = writeln!(text, " {:>6}", "Naeem");
    for group in groups {
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let _ = write!(
            text,
            "{:first$} {:>6} {:>6}",
            group.name,
            group.structures,
            percent(group.joint)
        );
        for property in &group.properties {
            let _ = write!(text, " {:>13}", percent(property.inside));
        }
        let naeem = group.naeem.map_or_else(|| "-".to_owned(), percent);
        let _ = writeln!(text, " {naeem:>6}");
    }
    for (what, notes) in [
        ("left out", &real.skipped),
        ("could not be read", &real.failed),
    ] {
        for note in notes {
            let _ = writeln!(text, "{} {} {what}: {}", note.dataset, note.case, note.text);
        }
    }
    text
}
