//! Configurations that have a name.
//!
//! `any` is the default mixture; `paper` has only what the paper describes: Bézier close-ups and label
//! maps, contrast modulation and the noise library. The others show one modality each, with the kinds
//! of scene that it shows.

use super::{
    AcquisitionConfig, AppearanceConfig, BoundaryConfig, ClustersConfig, DeformationConfig,
    GeneratorConfig, LooksConfig, MixtureConfig, ShapesConfig, TargetsConfig,
};
use crate::{Error, Result};

/// Names that [`GeneratorConfig::preset`] knows.
const PRESETS: &str = "\"any\", \"paper\", \"ct\", \"mr\", \"us\", \"xray\", \"micro\", \"retina\"";

/// No kind of scene but label maps; a preset sets those that it wants.
const NO_SHAPES: MixtureConfig = MixtureConfig {
    boundary_aware: 0.2,
    close_up: 0.0,
    body: 0.0,
    layered: 0.0,
    scattered: 0.0,
    paired: 0.0,
    vessels: 0.0,
    heart: 0.0,
    head: 0.0,
    limb: 0.0,
    free_appearance: 0.0,
    plain: 0.0,
    label_map_ground: 0.35,
};

impl GeneratorConfig {
    /// The configuration of a name: `any` (the default mixture), `paper` (only what the paper
    /// describes), `ct`, `mr`, `us` (ultrasound), `xray` (projections), `micro` (microscopy) or `retina` (fundus
    /// photographs and OCT angiography).
    pub fn preset(name: &str) -> Result<Self> {
        match name {
            "any" => Ok(Self::default()),
            "paper" => Ok(Self::paper()),
            "ct" => Ok(Self::ct()),
            "mr" => Ok(Self::mr()),
            "us" => Ok(Self::us()),
            "xray" => Ok(Self::xray()),
            "micro" => Ok(Self::micro()),
            "retina" => Ok(Self::retina()),
            other => Err(Error::UnknownPreset {
                known: PRESETS,
                got: other.to_owned(),
            }),
        }
    }

    fn paper() -> Self {
        Self {
            mixture: MixtureConfig {
                boundary_aware: 0.5,
                close_up: 1.0,
                free_appearance: 1.0,
                label_map_ground: 0.0,
                ..NO_SHAPES
            },
            shapes: ShapesConfig {
                pathology: 0.0,
                ..ShapesConfig::default()
            },
            boundary: BoundaryConfig {
                uneven: 0.0,
                fade: 0.0,
                clearance: 0.0,
                ..BoundaryConfig::default()
            },
            deformation: DeformationConfig {
                probability: 0.0,
                ..DeformationConfig::default()
            },
            appearance: AppearanceConfig {
                rim: 0.0,
                field_of_view: 0.0,
                ..AppearanceConfig::default()
            },
            clusters: ClustersConfig::none(),
            acquisition: AcquisitionConfig::off(),
            targets: TargetsConfig::structures(),
            ..Self::default()
        }
    }

    fn ct() -> Self {
        Self {
            mixture: MixtureConfig {
                close_up: 0.15,
                body: 1.0,
                vessels: 0.05,
                heart: 0.15,
                head: 0.15,
                limb: 0.15,
                ..NO_SHAPES
            },
            looks: LooksConfig {
                ct: 1.0,
                ..LooksConfig::none()
            },
            targets: TargetsConfig::structures(),
            ..Self::default()
        }
    }

    fn mr() -> Self {
        Self {
            mixture: MixtureConfig {
                close_up: 0.4,
                body: 0.8,
                vessels: 0.1,
                heart: 0.4,
                head: 0.6,
                limb: 0.2,
                ..NO_SHAPES
            },
            looks: LooksConfig {
                mr: 1.0,
                ..LooksConfig::none()
            },
            targets: TargetsConfig::structures(),
            ..Self::default()
        }
    }

    fn us() -> Self {
        Self {
            mixture: MixtureConfig {
                close_up: 0.4,
                layered: 1.0,
                ..NO_SHAPES
            },
            looks: LooksConfig {
                ultrasound: 1.0,
                ..LooksConfig::none()
            },
            targets: TargetsConfig::structures(),
            ..Self::default()
        }
    }

    fn xray() -> Self {
        Self {
            mixture: MixtureConfig {
                boundary_aware: 0.1,
                close_up: 0.3,
                paired: 1.0,
                vessels: 0.1,
                ..NO_SHAPES
            },
            looks: LooksConfig {
                xray: 1.0,
                ..LooksConfig::none()
            },
            targets: TargetsConfig::structures(),
            ..Self::default()
        }
    }

    fn retina() -> Self {
        Self {
            mixture: MixtureConfig {
                boundary_aware: 0.05,
                close_up: 0.1,
                vessels: 1.0,
                ..NO_SHAPES
            },
            looks: LooksConfig {
                free: 0.3,
                microscopy: 1.0,
                ..LooksConfig::none()
            },
            targets: TargetsConfig::structures(),
            ..Self::default()
        }
    }

    fn micro() -> Self {
        Self {
            mixture: MixtureConfig {
                boundary_aware: 0.15,
                close_up: 0.2,
                scattered: 1.0,
                vessels: 0.3,
                ..NO_SHAPES
            },
            looks: LooksConfig {
                microscopy: 1.0,
                ..LooksConfig::none()
            },
            targets: TargetsConfig {
                clump: 0.45,
                min_area: 0.0003,
                ..TargetsConfig::structures()
            },
            ..Self::default()
        }
    }
}
