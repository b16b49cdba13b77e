//! Configurations: documented defaults, refusals that name the field.

use synthfm_synth::{GeneratorConfig, NoiseRange};

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
    let noise = NoiseRange {
        probability: 0.5,
        strength: [-0.1, 0.1],
    };
    starts(refusal(|c| c.noise.rician = noise), "noise.rician");
    starts(refusal(|c| c.targets.max_count = 0), "targets.max_count");
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
    for name in ["any", "paper"] {
        GeneratorConfig::preset(name).unwrap().validate().unwrap();
    }
    let error = GeneratorConfig::preset("cat").unwrap_err().to_string();
    assert!(error.contains("any") && error.contains("cat"), "{error}");
}
