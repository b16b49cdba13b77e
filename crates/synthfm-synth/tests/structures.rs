//! What is true of the drawn structures: nesting, rings, gaps, sizes.

use synthfm_synth::params::{EdgeParams, StructureParams, TargetRule, ViewParams};
use synthfm_synth::{GeneratorConfig, SampleParams, SceneKind, TargetKind, generate, render};

fn config(height: usize, width: usize) -> GeneratorConfig {
    let mut config = GeneratorConfig::default();
    config.size.height = height;
    config.size.width = width;
    config
}

/// The recipe with these structures only, nothing cut off by the field of view.
fn only(params: &SampleParams, ids: &[u16]) -> SampleParams {
    let mut params = params.clone();
    params.structures.retain(|s| ids.contains(&s.id));
    params.label_map = None;
    params.view = ViewParams::default();
    params
}

/// Identifiers of a structure and of all that hold it.
fn lineage(params: &SampleParams, structure: &StructureParams) -> Vec<u16> {
    let mut ids = vec![structure.id];
    let mut parent = structure.parent;
    while let Some(id) = parent {
        ids.push(id);
        parent = params
            .structures
            .iter()
            .find(|s| s.id == id)
            .and_then(|s| s.parent);
    }
    ids
}

#[test]
fn what_is_nested_lies_in_its_parent() {
    let config = config(140, 171);
    let (mut nested, mut scenes) = (0, Vec::new());
    for index in 0..60 {
        let params = SampleParams::draw(&config, 21, index);
        let children = params.structures.iter().filter(|s| s.parent.is_some());
        for child in children.step_by(5) {
            let ids = lineage(&params, child);
            let with = render(&only(&params, &ids));
            let mut ancestors = only(&params, &ids[1..]);
            // What a child clears around itself belongs to its parent already.
            ancestors.targets.max_count = 0;
            let without = render(&ancestors);
            let pixels = with.label_map.data().iter().zip(without.label_map.data());
            for (&with, &without) in pixels.filter(|(label, _)| **label == child.id) {
                assert_eq!(Some(without), child.parent, "sample {index}, {with}");
                nested += 1;
            }
        }
        if !scenes.contains(&params.scene) {
            scenes.push(params.scene);
        }
    }
    assert!(nested > 10_000 && scenes.len() > 5, "{nested} {scenes:?}");
}

#[test]
fn walls_of_even_width_close_around_their_lumen() {
    let mut config = config(150, 190);
    config.mixture.boundary_aware = 0.0;
    config.mixture.close_up = 10.0;
    config.boundary.fade = 0.0;
    let (height, width) = (150, 190);
    let mut rings = 0;
    for index in 0..200 {
        let params = SampleParams::draw(&config, 22, index);
        let lumens = params
            .structures
            .iter()
            .filter(|s| s.kind == TargetKind::Lumen && s.inset > 0.0);
        for lumen in lumens {
            let wall = params
                .structures
                .iter()
                .find(|s| Some(s.id) == lumen.parent);
            let Some(wall) = wall.filter(|s| s.kind == TargetKind::Wall && s.parent.is_none())
            else {
                continue;
            };
            let labels = render(&only(&params, &[wall.id, lumen.id])).label_map;
            let own = |row: usize, col: usize| labels.at(row, col);
            let inner = |at: &usize| labels.data()[*at] == lumen.id;
            let pixels: Vec<usize> = (0..height * width).filter(inner).collect();
            if pixels.len() < 50 {
                continue;
            }
            let framed = |at: &usize| {
                let (row, col) = (at / width, at % width);
                row > 0 && col > 0 && row + 1 < height && col + 1 < width
            };
            for at in pixels.iter().filter(|at| framed(at)) {
                let (row, col) = (at / width, at % width);
                let around = [
                    own(row - 1, col),
                    own(row + 1, col),
                    own(row, col - 1),
                    own(row, col + 1),
                ];
                assert!(
                    around.iter().all(|&id| id == wall.id || id == lumen.id),
                    "sample {index}"
                );
            }
            rings += 1;
        }
    }
    assert!(rings > 10, "{rings}");
}

#[test]
fn a_gap_separates_a_structure_from_those_before_it() {
    let mut config = config(160, 160);
    config.mixture.boundary_aware = 0.0;
    config.deformation.probability = 0.0;
    let mut gaps = 0;
    for index in 0..200 {
        let mut params = SampleParams::draw(&config, 23, index);
        if params.structures.len() < 2 || params.scene != SceneKind::CloseUp {
            continue;
        }
        params.label_map = None;
        params.view = ViewParams::default();
        params.structures.truncate(2);
        let [first, second] = [0, 1].map(|k| params.structures[k].id);
        for structure in &mut params.structures {
            structure.parent = None;
            structure.edge = EdgeParams::default();
            structure.inset = 0.0;
        }
        params.structures[1].edge.clearance = 0.03;
        let labels = render(&params).label_map;
        for row in 0..160 {
            for col in 1..160 {
                let pair = [labels.at(row, col - 1), labels.at(row, col)];
                assert!(
                    pair != [first, second] && pair != [second, first],
                    "sample {index}"
                );
                gaps += usize::from(pair == [0, second]);
            }
        }
    }
    assert!(gaps > 200, "{gaps}");
}

#[test]
fn targets_have_all_sizes() {
    let config = config(160, 160);
    let mut areas: Vec<f32> = Vec::new();
    for index in 0..150 {
        let sample = generate(&config, 24, index);
        let share = |target: &synthfm_synth::Target| target.mask.area() as f32 / (160.0 * 160.0);
        areas.extend(sample.targets.iter().map(share));
    }
    let count = |low: f32, high: f32| areas.iter().filter(|a| (low..high).contains(*a)).count();
    let decades = [
        count(0.0005, 0.002),
        count(0.002, 0.01),
        count(0.01, 0.05),
        count(0.05, 0.2),
        count(0.2, 0.61),
    ];
    assert!(decades.iter().all(|&n| n > areas.len() / 50), "{decades:?}");
}

#[test]
fn invisible_targets_are_left_out_and_others_stay_as_they_are() {
    let mut all = config(160, 160);
    all.targets.min_visibility = 0.0;
    all.targets.max_count = 256;
    let mut visible = all.clone();
    visible.targets.min_visibility = 0.5;
    let mut dropped = 0;
    for index in 0..60 {
        let (before, after) = (generate(&all, 25, index), generate(&visible, 25, index));
        assert_eq!(before.image, after.image);
        if before.targets.len() == all.targets.max_count as usize {
            // Full: visible ones may take the place of others.
            continue;
        }
        assert!(
            after
                .targets
                .iter()
                .all(|target| before.targets.contains(target))
        );
        dropped += before.targets.len() - after.targets.len();
    }
    assert!(dropped > 10, "{dropped}");
}

#[test]
fn abnormal_structures_are_targets_and_can_be_turned_off() {
    let mut config = config(160, 160);
    config.mixture.boundary_aware = 0.0;
    let lesions = |config: &GeneratorConfig| {
        let targets = |index: u64| {
            let params = SampleParams::draw(config, 26, index);
            let is_lesion =
                |s: &&StructureParams| s.kind == TargetKind::Lesion && s.target != TargetRule::No;
            params.structures.iter().filter(is_lesion).count()
        };
        (0..80).map(targets).sum::<usize>()
    };
    let some = lesions(&config);
    config.shapes.pathology = 0.0;
    config.shapes.nesting = 0.0;
    assert!(some > 60 && lesions(&config) < some / 2);
}
