//! Heterogeneous insides, plain Gaussian mixtures and targets from the picture: what they change, and what not.

use synthfm_image::{Connectivity, connected_components};
use synthfm_synth::params::{ClusterForm, Effect, TextureParams};
use synthfm_synth::{GeneratorConfig, Modality, SampleParams, Target, TargetKind, render};

/// The default mixture with these probabilities of clusters, plain mixtures and segments.
fn config(clusters: f32, plain: f32, segments: f32) -> GeneratorConfig {
    let mut config = GeneratorConfig::default();
    (config.size.height, config.size.width) = (150, 211);
    (config.clusters.structures, config.clusters.regions) = (clusters, clusters);
    config.mixture.plain = plain;
    config.targets.segments.probability = segments;
    config
}

/// Takes clusters and segments out of a recipe.
fn without(mut params: SampleParams) -> SampleParams {
    for structure in &mut params.structures {
        structure.clusters = None;
    }
    if let Some(map) = &mut params.label_map {
        map.clusters = None;
    }
    params.targets.segments = None;
    params
}

#[test]
fn at_zero_share_recipes_hold_nothing_of_it_and_nothing_else_changes() {
    for index in 0..40 {
        let bare = SampleParams::draw(&config(0.0, 0.0, 0.0), 2, index);
        let json = serde_json::to_string(&bare).unwrap();
        assert!(!json.contains("clusters") && !json.contains("segments"));
        let full = SampleParams::draw(&config(1.0, 0.0, 1.0), 2, index);
        assert_eq!(bare, without(full), "sample {index}");
    }
}

#[test]
fn clusters_leave_labels_alone_and_change_the_image() {
    let mut config = config(1.0, 0.0, 0.0);
    config.targets.min_visibility = 0.0;
    let (mut changed, mut forms) = (0, [false; 3]);
    for index in 0..60 {
        let params = SampleParams::draw(&config, 3, index);
        params.validate().unwrap();
        for structure in &params.structures {
            let pattern = structure.clusters.as_ref().map(|c| &c.pattern.form);
            match pattern {
                Some(ClusterForm::Patches) => forms[0] = true,
                Some(ClusterForm::Bands { .. }) => forms[1] = true,
                Some(ClusterForm::Core { .. }) => forms[2] = true,
                None => {}
            }
        }
        let (split, whole) = (render(&params), render(&without(params)));
        assert_eq!(split.label_map, whole.label_map, "sample {index}");
        assert_eq!(split.targets, whole.targets, "sample {index}");
        changed += usize::from(split.image != whole.image);
    }
    assert!(changed > 50, "{changed}");
    assert_eq!(forms, [true; 3]);
}

/// With clusters of full contrast everywhere, most targets of the same scenes can still be seen.
#[test]
fn outer_boundaries_stay_visible() {
    let config = config(1.0, 0.0, 0.0);
    let (mut split, mut whole) = (0, 0);
    for index in 0..60 {
        let params = SampleParams::draw(&config, 4, index);
        split += render(&params).targets.len();
        whole += render(&without(params)).targets.len();
    }
    assert!(10 * split > 9 * whole, "{split} of {whole}");
}

#[test]
fn plain_mixtures_have_blur_and_nothing_else_of_a_scanner() {
    for index in 0..60 {
        let params = SampleParams::draw(&config(0.3, 1.0, 0.3), 5, index);
        params.validate().unwrap();
        assert_eq!(params.look, Modality::Free);
        assert!(matches!(params.acquisition[..], [Effect::Blur(_)]));
        assert!(params.overlay.is_empty());
        assert!(matches!(params.textures[..], [TextureParams::Grain { .. }]));
        let anatomy = SampleParams::draw(&config(0.3, 0.0, 0.3), 5, index);
        assert_eq!(params.scene, anatomy.scene);
        let outlines = |params: &SampleParams| -> Vec<_> {
            let structures = params.structures.iter();
            structures.map(|s| (s.id, s.outline.clone())).collect()
        };
        assert_eq!(outlines(&params), outlines(&anatomy));
    }
}

/// Means of regions fill the range evenly, whatever the look's tissue is like.
#[test]
fn plain_means_are_uniform() {
    let mut thirds = [0; 3];
    for index in 0..200 {
        let params = SampleParams::draw(&config(0.0, 1.0, 0.0), 6, index);
        for paint in params.label_map.iter().flat_map(|map| &map.paints) {
            thirds[((paint.mean * 3.0) as usize).min(2)] += 1;
        }
    }
    let total: i32 = thirds.iter().sum();
    assert!(total > 300, "{total}");
    assert!(
        thirds.iter().all(|&n| n * 4 > total && n * 5 < 2 * total),
        "{thirds:?}"
    );
}

#[test]
fn segments_are_whole_and_different_parts_of_the_image() {
    let config = config(0.3, 0.1, 1.0);
    let mut count = 0;
    for index in 0..80 {
        let params = SampleParams::draw(&config, 7, index);
        params.validate().unwrap();
        let most = params.targets.segments.as_ref().unwrap().count as usize;
        let sample = render(&params);
        assert!(sample.targets.len() <= config.targets.max_count as usize);
        let segments: Vec<&Target> = sample
            .targets
            .iter()
            .filter(|target| target.kind == TargetKind::Segment)
            .collect();
        assert!(segments.len() <= most, "sample {index}");
        for (k, segment) in segments.iter().enumerate() {
            assert_eq!(segment.id, 0);
            let area = segment.mask.area();
            assert!(area >= 12 && area as f32 <= 0.6 * 150.0 * 211.0, "{area}");
            let parts = connected_components(&segment.mask, Connectivity::Four);
            assert_eq!(parts.areas().len(), 1, "sample {index}");
            let mut outside = segment.mask.clone();
            outside.data_mut().iter_mut().for_each(|v| *v = !*v);
            let holes = connected_components(&outside, Connectivity::Four);
            assert!(
                holes.areas().iter().all(|hole| 20 * hole >= area),
                "{index}"
            );
            assert!(segments[..k].iter().all(|other| other.mask != segment.mask));
        }
        count += segments.len();
    }
    assert!(count > 80, "{count}");
}

#[test]
fn hostile_clusters_and_segments_are_refused_by_name() {
    let config = config(1.0, 0.0, 1.0);
    let find = |wanted: &dyn Fn(&SampleParams) -> bool| {
        let mut all = (0..200).map(|index| SampleParams::draw(&config, 8, index));
        all.find(wanted).expect("such a recipe")
    };
    let refusal = |params: &SampleParams| params.validate().unwrap_err().to_string();
    let mut params = find(&|p| p.structures.iter().any(|s| s.clusters.is_some()));
    let mut structures = params.structures.iter_mut();
    let clusters = structures.find_map(|s| s.clusters.as_mut()).unwrap();
    clusters.pattern.scale = [0.0; 2];
    assert!(refusal(&params).starts_with("structures.clusters"));
    let mut params = find(&|p| p.label_map.as_ref().is_some_and(|m| m.clusters.is_some()));
    let map = params.label_map.as_mut().unwrap();
    map.clusters.as_mut().unwrap().paints.pop();
    assert!(refusal(&params).starts_with("label_map.clusters"));
    let mut params = find(&|_| true);
    params.targets.segments.as_mut().unwrap().picks[0].octave = f32::NAN;
    assert!(refusal(&params).starts_with("targets.segments"));
}
