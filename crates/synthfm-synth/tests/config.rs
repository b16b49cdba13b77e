//! Configurations: documented defaults, refusals that name the field.

use synthfm_synth::{EffectRange, GeneratorConfig};

fn refusal(change: impl Fn(&mut GeneratorConfig)) -> String {
    let mut config = GeneratorConfig::default();
    config.validate().expect("the default is valid");
    change(&mut config);
    let error = config.validate().expect_err("the change makes it invalid");
    error.to_string()
}

#[test]
fn validation_names_the_field_and_what_it_got() {
    let message = refusal(|c| c.size.width = 64);
    assert!(
        message.starts_with("size.width: expected 128 to 2048"),
        "{message}"
    );
    assert!(message.contains("64"), "{message}");
    let starts = |message: String, field: &str| assert!(message.starts_with(field), "{message}");
    starts(
        refusal(|c| c.mixture.boundary_aware = 1.5),
        "mixture.boundary_aware",
    );
    starts(refusal(|c| c.mixture.body = f32::NAN), "mixture.body");
    starts(
        refusal(|c| c.shapes.control_points = [2, 5]),
        "shapes.control_points",
    );
    starts(refusal(|c| c.shapes.radius = [0.5, 0.1]), "shapes.radius");
    starts(
        refusal(|c| c.label_map.erode_all = 0.9),
        "label_map.erode_all",
    );
    starts(
        refusal(|c| c.label_map.warp_std = [0.0, f32::NAN]),
        "label_map.warp_std",
    );
    starts(
        refusal(|c| c.appearance.contrast = [0.0, 0.5]),
        "appearance.contrast",
    );
    starts(
        refusal(|c| c.appearance.gamma = [0.0, 1.0]),
        "appearance.gamma",
    );
    let noise = EffectRange {
        probability: 0.5,
        strength: [-0.1, 0.1],
    };
    starts(refusal(|c| c.noise.rician = noise), "noise.rician");
    starts(refusal(|c| c.targets.max_count = 0), "targets.max_count");
    starts(
        refusal(|c| c.acquisition.foreign = 2.0),
        "acquisition.foreign",
    );
    starts(
        refusal(|c| c.acquisition.ultrasound.axial = [0.01, 0.001]),
        "acquisition.ultrasound.axial",
    );
    starts(
        refusal(|c| c.acquisition.mr.truncation.strength = [0.5, 1.0]),
        "acquisition.mr.truncation",
    );
    starts(
        refusal(|c| c.acquisition.ct.rings.probability = -0.1),
        "acquisition.ct.rings",
    );
    starts(
        refusal(|c| c.acquisition.overlay.text = f32::NAN),
        "acquisition.overlay.text",
    );
    starts(refusal(|c| c.looks.mr = -1.0), "looks.mr");
    starts(
        refusal(|c| c.targets.min_visibility = -1.0),
        "targets.min_visibility",
    );
    starts(refusal(|c| c.shapes.pathology = 2.0), "shapes.pathology");
    starts(refusal(|c| c.boundary.fade = -0.1), "boundary.fade");
    starts(
        refusal(|c| c.boundary.clearance_width = [0.0, 0.01]),
        "boundary.clearance_width",
    );
    starts(
        refusal(|c| c.deformation.scale = [0.0, 0.3]),
        "deformation.scale",
    );
    starts(refusal(|c| c.mixture.limb = -1.0), "mixture.limb");
}

#[test]
fn validation_names_the_fields_of_clusters_and_segments() {
    let starts = |message: String, field: &str| assert!(message.starts_with(field), "{message}");
    starts(refusal(|c| c.mixture.plain = 1.1), "mixture.plain");
    starts(
        refusal(|c| c.clusters.structures = -0.1),
        "clusters.structures",
    );
    starts(refusal(|c| c.clusters.regions = 2.0), "clusters.regions");
    starts(refusal(|c| c.clusters.count = [1, 3]), "clusters.count");
    starts(
        refusal(|c| c.clusters.contrast = [0.5, 0.1]),
        "clusters.contrast",
    );
    starts(refusal(|c| c.clusters.scale = [0.0, 1.0]), "clusters.scale");
    starts(
        refusal(|c| c.clusters.softness = [-1.0, 1.0]),
        "clusters.softness",
    );
    starts(
        refusal(|c| c.targets.segments.probability = f32::NAN),
        "targets.segments.probability",
    );
    starts(
        refusal(|c| c.targets.segments.count = [0, 3]),
        "targets.segments.count",
    );
    starts(
        refusal(|c| c.targets.segments.scale = [0.0, 3.0]),
        "targets.segments.scale",
    );
    starts(
        refusal(|c| c.targets.segments.sigma_px = [1.0, 11.0]),
        "targets.segments.sigma_px",
    );
    starts(
        refusal(|c| c.targets.segments.min_area = [0.0, 0.1]),
        "targets.segments.min_area",
    );
    starts(
        refusal(|c| c.targets.segments.merge = 1.5),
        "targets.segments.merge",
    );
}

#[test]
fn toml_fills_in_defaults_and_round_trips() {
    let config: GeneratorConfig = toml::from_str("[size]\nheight = 512\nwidth = 768\n").unwrap();
    assert_eq!((config.size.height, config.size.width), (512, 768));
    assert_eq!(config.noise, GeneratorConfig::default().noise);
    let text = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<GeneratorConfig>(&text).unwrap(), config);
}

#[test]
fn unknown_keys_are_refused_by_name() {
    for text in [
        "sizes = 3",
        "[size]\nheigth = 512",
        "[noise.gaussian]\nprobability = 1\nstrength = [0.1, 0.2]\nscale = 2",
    ] {
        let error = toml::from_str::<GeneratorConfig>(text)
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown field"), "{error}");
    }
}

#[test]
fn presets_are_valid_and_others_refused() {
    for name in ["any", "paper", "ct", "mr", "us", "xray", "micro", "retina"] {
        GeneratorConfig::preset(name).unwrap().validate().unwrap();
    }
    let error = GeneratorConfig::preset("cat").unwrap_err().to_string();
    assert!(error.contains("any") && error.contains("cat"), "{error}");
}
