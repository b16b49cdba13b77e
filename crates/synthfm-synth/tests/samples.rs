//! What is true of every sample, whatever was drawn.

use std::collections::BTreeSet;

use synthfm_image::{Connectivity, Mask, Size, connected_components};
use synthfm_synth::params::{
    Blend, EdgeParams, Effect, Mark, Outline, StructureParams, TargetRule, ViewParams,
};
use synthfm_synth::{
    GeneratorConfig, Modality, SampleParams, SceneKind, TargetKind, generate, render,
};

fn config(height: usize, width: usize) -> GeneratorConfig {
    let mut config = GeneratorConfig::default();
    config.size.height = height;
    config.size.width = width;
    config
}

/// Without texture, softness, rims, noise and optics: every pixel is a mean or a mixture of means.
fn flat(mut params: SampleParams) -> SampleParams {
    params.textures.clear();
    for structure in &mut params.structures {
        structure.edge = EdgeParams::default();
        structure.rim = None;
        structure.clusters = None;
    }
    if let Some(map) = &mut params.label_map {
        map.clusters = None;
    }
    params.targets.segments = None;
    // Overlays add to what is below, and thin tubes tint pixels that they do not own.
    let thin = |s: &StructureParams| matches!(s.outline, Outline::Tubes { .. });
    params
        .structures
        .retain(|s| s.blend == Blend::Replace && !thin(s));
    params.acquisition.clear();
    params.view = ViewParams::default();
    params.overlay.clear();
    params
}

/// Whether all pixels within two of this one are in the mask; those outside the image are not.
fn well_inside(mask: &Mask, at: usize) -> bool {
    let Size { height, width } = mask.size();
    let (row, col) = (at / width, at % width);
    let framed = row >= 2 && col >= 2 && row + 2 < height && col + 2 < width;
    framed && (row - 2..row + 3).all(|r| (col - 2..col + 3).all(|c| mask.at(r, c)))
}

#[test]
#[expect(clippy::float_cmp, reason = "a covered pixel has the mean's very bits")]
fn without_noise_and_blur_a_target_has_the_mean_of_its_structure() {
    let config = config(150, 211);
    let mut checked = 0;
    for index in 0..60 {
        let params = flat(SampleParams::draw(&config, 3, index));
        let sample = render(&params);
        for target in &sample.targets {
            let structure = params.structures.iter().find(|s| s.id == target.id);
            let together = [TargetRule::Whole, TargetRule::Clump];
            if structure.is_some_and(|s| together.contains(&s.target)) {
                continue;
            }
            let mean = match (structure, &params.label_map) {
                (Some(structure), _) => structure.paint.mean,
                (None, Some(map)) => map.paints[usize::from(target.id) - 1].mean,
                (None, None) => panic!("target {} is nothing's", target.id),
            };
            for at in (0..target.mask.data().len()).filter(|&at| well_inside(&target.mask, at)) {
                assert_eq!(
                    sample.image.data()[at],
                    mean.clamp(0.0, 1.0),
                    "sample {index}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 50_000, "{checked}");
}

/// Identifiers of a structure and of what is nested in it.
fn family(params: &SampleParams, id: u16) -> BTreeSet<u16> {
    let mut family = BTreeSet::from([id]);
    let nested = |s: &&StructureParams, family: &BTreeSet<u16>| {
        s.parent.is_some_and(|parent| family.contains(&parent))
    };
    for structure in &params.structures {
        if nested(&structure, &family) {
            family.insert(structure.id);
        }
    }
    if let Some(map) = &params.label_map
        && map.inside.is_some_and(|id| family.contains(&id))
    {
        family.extend(1..=map.paints.len() as u16);
    }
    family
}

/// Identifiers of the structures of a kind that lie in nothing else.
fn of_kind(params: &SampleParams, kind: TargetKind) -> BTreeSet<u16> {
    let structures = params.structures.iter();
    let own = structures.filter(|s| s.kind == kind && s.parent.is_none());
    own.map(|s| s.id).collect()
}

/// Touching cells of one grey are one target, and as large as all that hang together.
#[test]
fn clumps_hold_all_that_touch() {
    let mut config = GeneratorConfig::preset("micro").unwrap();
    (config.size.height, config.size.width) = (160, 220);
    (config.targets.clump, config.targets.min_visibility) = (1.0, 0.0);
    let (mut clumps, mut larger) = (0, 0);
    for index in 0..150 {
        let params = SampleParams::draw(&config, 8, index);
        let sample = render(&params);
        for target in &sample.targets {
            let structure = params.structures.iter().find(|s| s.id == target.id);
            if structure.is_none_or(|s| s.target != TargetRule::Clump) {
                continue;
            }
            let ids = of_kind(&params, target.kind);
            let labels = sample.label_map.data();
            let all = labels.iter().map(|label| ids.contains(label)).collect();
            let all = Mask::new(sample.label_map.size(), all).unwrap();
            // Components of the generator hang together by edges.
            let parts = connected_components(&all, Connectivity::Four);
            assert_eq!(Some(&target.mask.area()), parts.areas().iter().max());
            clumps += 1;
            let own = labels.iter().filter(|&&label| label == target.id).count();
            larger += usize::from(target.mask.area() > own);
        }
    }
    assert!(clumps > 10 && larger > 5, "{clumps} {larger}");
}

#[test]
fn masks_agree_with_the_label_map() {
    let mut config = config(140, 140);
    config.targets.segments.probability = 0.0;
    for index in 0..60 {
        let params = SampleParams::draw(&config, 4, index);
        let sample = render(&params);
        for target in &sample.targets {
            let structure = params.structures.iter().find(|s| s.id == target.id);
            let ids = match structure.map(|s| s.target) {
                Some(TargetRule::Whole) => family(&params, target.id),
                Some(TargetRule::Clump) => of_kind(&params, target.kind),
                _ => BTreeSet::from([target.id]),
            };
            let pixels = target.mask.data().iter().zip(sample.label_map.data());
            assert!(
                pixels
                    .filter(|(inside, _)| **inside)
                    .all(|(_, label)| ids.contains(label))
            );
            assert_eq!(
                structure.map_or(TargetKind::Region, |s| s.kind),
                target.kind
            );
        }
    }
}

#[test]
fn targets_are_single_components_of_the_configured_areas() {
    let config = config(128, 160);
    let (mut targets, mut empty) = (0, 0);
    for index in 0..100 {
        let sample = generate(&config, 6, index);
        empty += usize::from(sample.targets.is_empty());
        assert!(sample.targets.len() <= config.targets.max_count as usize);
        for target in &sample.targets {
            let (area, pixels) = (target.mask.area(), 128 * 160);
            assert!(area >= 12 && area as f32 <= 0.6 * pixels as f32, "{area}");
            assert_eq!(reached(&target.mask), area);
            targets += 1;
        }
    }
    assert!(targets > 300, "{targets}");
    assert!(empty <= 3, "{empty} samples without a target");
}

/// Pixels that a flood from the first one reaches.
fn reached(mask: &Mask) -> usize {
    let Size { height, width } = mask.size();
    let mut left = mask.data().to_vec();
    let mut queue: Vec<usize> = left.iter().position(|&v| v).into_iter().collect();
    for &at in &queue {
        left[at] = false;
    }
    let mut count = 0;
    while let Some(at) = queue.pop() {
        count += 1;
        let (row, col) = (at / width, at % width);
        let mut visit = |row: usize, col: usize| {
            if row < height && col < width && left[row * width + col] {
                left[row * width + col] = false;
                queue.push(row * width + col);
            }
        };
        visit(row, col + 1);
        visit(row + 1, col);
        visit(row, col.wrapping_sub(1));
        visit(row.wrapping_sub(1), col);
    }
    count
}

#[test]
fn every_size_works_and_intensities_stay_in_range() {
    let sizes = [
        (128, 128),
        (131, 517),
        (2048, 128),
        (300, 256),
        (129, 1024),
        (2048, 2048),
    ];
    for (height, width) in sizes {
        let config = config(height, width);
        let count = if height * width > 1 << 20 { 2 } else { 8 };
        for index in 0..count {
            let sample = generate(&config, 7, index);
            assert_eq!(sample.image.size(), Size::new(height, width));
            assert_eq!(sample.label_map.size(), Size::new(height, width));
            assert!(sample.image.data().iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }
}

#[test]
fn sizes_look_alike_in_kind() {
    let share = |sample: &synthfm_synth::Sample| {
        let covered = sample
            .label_map
            .data()
            .iter()
            .filter(|&&label| label > 0)
            .count();
        covered as f32 / sample.label_map.data().len() as f32
    };
    for index in 0..12 {
        let small = generate(&config(128, 128), 8, index);
        let large = generate(&config(512, 512), 8, index);
        assert!(
            (share(&small) - share(&large)).abs() < 0.06,
            "sample {index}"
        );
    }
}

#[test]
fn all_kinds_of_scene_occur_and_paper_has_only_its_two() {
    let kinds = |config: &GeneratorConfig| -> Vec<SceneKind> {
        let mut seen = Vec::new();
        for index in 0..500 {
            let kind = SampleParams::draw(config, 1, index).scene;
            if !seen.contains(&kind) {
                seen.push(kind);
            }
        }
        seen
    };
    assert_eq!(kinds(&GeneratorConfig::default()).len(), 10);
    let paper = GeneratorConfig::preset("paper").unwrap();
    paper.validate().unwrap();
    let seen = kinds(&paper);
    assert!(seen.len() == 2, "{seen:?}");
    assert!(seen.contains(&SceneKind::LabelMap) && seen.contains(&SceneKind::CloseUp));
}

#[test]
fn presets_show_their_modality_and_every_effect_occurs() {
    let mut effects = BTreeSet::new();
    let mut marks = BTreeSet::new();
    for (name, look) in [
        ("ct", Modality::Ct),
        ("mr", Modality::Mr),
        ("us", Modality::Ultrasound),
        ("xray", Modality::Xray),
        ("micro", Modality::Microscopy),
    ] {
        let config = GeneratorConfig::preset(name).unwrap();
        for index in 0..150 {
            let params = SampleParams::draw(&config, 1, index);
            params.validate().unwrap();
            assert_eq!(params.look, look, "{name} {index}");
            let variant =
                |value: serde_json::Value| value.as_object().unwrap().keys().next().cloned();
            let json = |effect: &Effect| variant(serde_json::to_value(effect).unwrap());
            effects.extend(params.acquisition.iter().filter_map(json));
            let json = |mark: &Mark| variant(serde_json::to_value(mark).unwrap());
            marks.extend(params.overlay.iter().filter_map(json));
        }
    }
    assert_eq!(effects.len(), 15, "{effects:?}");
    assert_eq!(marks.len(), 3, "{marks:?}");
}

#[test]
fn paper_has_no_acquisition_but_blur_bias_and_noise() {
    let config = GeneratorConfig::preset("paper").unwrap();
    for index in 0..100 {
        let params = SampleParams::draw(&config, 1, index);
        assert!(params.overlay.is_empty());
        let basic = |e: &Effect| matches!(e, Effect::Blur(_) | Effect::Bias(_) | Effect::Noise(_));
        assert!(params.acquisition.iter().all(basic), "sample {index}");
    }
}

#[test]
fn erosion_never_grows_a_region() {
    let mut config = config(150, 190);
    config.mixture.boundary_aware = 1.0;
    let mut eroded = 0;
    for index in 0..40 {
        let params = SampleParams::draw(&config, 12, index);
        let mut plain = params.clone();
        let Some(map) = &mut plain.label_map else {
            panic!("a boundary-aware sample has a label map");
        };
        if map.erosion.take().is_none() {
            continue;
        }
        let (before, after) = (render(&plain), render(&params));
        let pixels = before.label_map.data().iter().zip(after.label_map.data());
        for (&before, &after) in pixels {
            let region = |label: u16| (1..256).contains(&label);
            assert!(after == before || (region(before) && !region(after)));
            eroded += usize::from(after != before);
        }
    }
    assert!(eroded > 10_000, "{eroded}");
}
