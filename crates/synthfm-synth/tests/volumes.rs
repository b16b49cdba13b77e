//! What is true of every volume, whatever was drawn.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use rayon::prelude::*;
use synthfm_synth::params::{
    DeformationParams, Effect, ErosionParams, NoiseParams, Paint, TargetRule, ViewParams,
};
use synthfm_synth::{
    Form, GeneratorConfig, JitterParams, Lobe, SliceProfile, SolidParams, TargetKind, VolumeConfig,
    VolumeParams, VolumeRenderer, VolumeSample, VolumeScene, VolumeSize, generate_volume,
    render_slices, render_volume,
};

fn config(depth: usize, height: usize, width: usize) -> GeneratorConfig {
    let size = VolumeSize {
        depth,
        height,
        width,
    };
    GeneratorConfig {
        volume: Some(VolumeConfig {
            size,
            ..VolumeConfig::default()
        }),
        ..GeneratorConfig::default()
    }
}

/// A configuration of one kind of scene.
fn only(kind: VolumeScene, [depth, height, width]: [usize; 3]) -> GeneratorConfig {
    let mut config = config(depth, height, width);
    let volume = config.volume.as_mut().expect("a section for volumes");
    let weight = |own| f32::from(u8::from(kind == own));
    volume.boundary_aware = weight(VolumeScene::LabelMap);
    volume.torso = weight(VolumeScene::Torso);
    volume.head = weight(VolumeScene::Head);
    volume.limb = weight(VolumeScene::Limb);
    volume.close_up = weight(VolumeScene::CloseUp);
    volume.vessels = weight(VolumeScene::Vessels);
    volume.layered = weight(VolumeScene::Layered);
    config
}

const SCENES: [VolumeScene; 7] = [
    VolumeScene::LabelMap,
    VolumeScene::Torso,
    VolumeScene::Head,
    VolumeScene::Limb,
    VolumeScene::CloseUp,
    VolumeScene::Vessels,
    VolumeScene::Layered,
];

/// FNV-1a over the bits of the image, the label map and the targets.
fn checksum(sample: &VolumeSample) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |value: u32| {
        for byte in value.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    sample.image.iter().for_each(|v| add(v.to_bits()));
    sample.labels.iter().for_each(|&v| add(u32::from(v)));
    for target in &sample.targets {
        add(u32::from(target.id));
        for range in target.ranges() {
            add(range.start as u32);
            add(range.end as u32);
        }
    }
    hash
}

/// Without texture, blur, noise, view: every voxel that only one paint covers has its mean.
fn bare(mut params: VolumeParams) -> VolumeParams {
    params.textures.clear();
    params.acquisition.clear();
    params.view = ViewParams::default();
    params.jitter = None;
    params.profile.planes = 1;
    for solid in &mut params.structures {
        solid.softness = 0.0;
    }
    params.targets.min_visibility = 0.0;
    params
}

#[test]
fn json_round_trip_renders_the_same_bytes() {
    let config = config(7, 40, 51);
    for index in 0..25 {
        let params = VolumeParams::draw(&config, 5, index);
        params.validate().unwrap();
        let json = serde_json::to_string(&params).unwrap();
        let read: VolumeParams = serde_json::from_str(&json).unwrap();
        assert_eq!(params, read, "index {index}");
        assert_eq!(
            render_volume(&params),
            render_volume(&read),
            "index {index}"
        );
    }
}

#[test]
fn threads_and_order_do_not_matter() {
    let config = config(6, 48, 37);
    let indices: Vec<u64> = (0..24).collect();
    let backwards: Vec<VolumeSample> = indices
        .iter()
        .rev()
        .map(|&i| generate_volume(&config, 9, i))
        .collect();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let samples: Vec<VolumeSample> = pool.install(|| {
            let all = indices.par_iter();
            all.map(|&i| generate_volume(&config, 9, i)).collect()
        });
        assert!(
            samples.iter().eq(backwards.iter().rev()),
            "{threads} threads"
        );
    }
}

#[test]
fn a_slice_alone_has_the_bytes_that_it_has_in_the_volume() {
    let config = config(9, 44, 52);
    for index in 0..30 {
        let params = VolumeParams::draw(&config, 11, index);
        let whole = render_volume(&params);
        let area = params.slice_size().area();
        let slices = render_slices(&params, 3..6);
        assert_eq!(slices.len(), 3);
        let renderer = VolumeRenderer::new(&params);
        // Backwards, so that nothing is carried from a slice to the next.
        for k in (3..6).rev() {
            let own = renderer.slice(k);
            assert_eq!(own, slices[k - 3]);
            assert_eq!(
                own.image.data(),
                &whole.image[k * area..(k + 1) * area],
                "index {index}"
            );
            assert_eq!(own.labels.data(), &whole.labels[k * area..(k + 1) * area]);
            assert_eq!(own.image, whole.slice(k));
        }
    }
    let params = VolumeParams::draw(&config, 11, 0);
    assert_eq!(render_slices(&params, 7..20).len(), 2);
    assert!(render_slices(&params, 9..20).is_empty());
}

/// Remade by `UPDATE_GOLDEN=1 cargo test --release -p synthfm-synth --test volumes` when volumes are meant to change.
#[test]
fn golden_volumes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_volumes.txt");
    let mut text = "# Checksums of volumes (12 x 48 x 56, seed 2024): scene, index, FNV-1a.\n\
        # Written by: UPDATE_GOLDEN=1 cargo test --release -p synthfm-synth --test volumes\n"
        .to_owned();
    for kind in SCENES {
        for index in 0..2 {
            let sample = generate_volume(&only(kind, [12, 48, 56]), 2024, index);
            writeln!(text, "{kind:?} {index} {:016x}", checksum(&sample)).unwrap();
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn zero_strength_changes_nothing() {
    let config = config(5, 40, 44);
    for index in 0..20 {
        let mut params = VolumeParams::draw(&config, 2, index);
        params.warp = None;
        params.jitter = None;
        if let Some(regions) = &mut params.regions {
            regions.erosion = None;
        }
        params
            .acquisition
            .retain(|e| !matches!(e, Effect::Noise(_)));
        let plain = render_volume(&params);
        params.warp = Some(DeformationParams {
            seed: 3,
            scale: 0.3,
            std: 0.0,
        });
        params.jitter = Some(JitterParams {
            seed: 4,
            shift: 0.0,
            gain: 0.0,
        });
        if let Some(regions) = &mut params.regions {
            regions.erosion = Some(ErosionParams {
                radius: 0.0,
                variation: 0.5,
                seed: 1,
                regions: None,
            });
        }
        params
            .acquisition
            .push(Effect::Noise(NoiseParams::Gaussian {
                seed: 1,
                sigma: 0.0,
                grain: [0.0; 2],
            }));
        for solid in &mut params.structures {
            if let Some(bumps) = &mut solid.bumps
                && bumps.amplitude.abs() <= 0.0
            {
                solid.bumps = None;
            }
        }
        assert_eq!(render_volume(&params), plain, "index {index}");
        // The planes of a slice without thickness are one plane.
        params.profile = SliceProfile {
            thickness: 0.0,
            planes: 3,
        };
        let thick = render_volume(&params);
        assert_eq!(thick.labels, {
            params.profile.planes = 1;
            render_volume(&params).labels
        });
    }
}

#[test]
fn each_of_them_changes_something() {
    let config = only(VolumeScene::LabelMap, [5, 40, 44]);
    let mut params = VolumeParams::draw(&config, 2, 1);
    (params.warp, params.jitter) = (None, None);
    let regions = params.regions.as_mut().unwrap();
    regions.erosion = None;
    let plain = render_volume(&params).labels;
    let changed = |change: &dyn Fn(&mut VolumeParams)| {
        let mut params = params.clone();
        change(&mut params);
        render_volume(&params).labels != plain
    };
    assert!(changed(&|p| {
        p.warp = Some(DeformationParams {
            seed: 3,
            scale: 0.3,
            std: 0.05,
        });
    }));
    assert!(changed(&|p| {
        p.jitter = Some(JitterParams {
            seed: 4,
            shift: 0.05,
            gain: 0.0,
        });
    }));
    assert!(changed(&|p| {
        p.regions.as_mut().unwrap().erosion = Some(ErosionParams {
            radius: 0.05,
            variation: 0.5,
            seed: 1,
            regions: None,
        });
    }));
}

#[test]
fn erosion_never_grows_a_region() {
    let config = only(VolumeScene::LabelMap, [8, 50, 60]);
    let mut removed = 0;
    for index in 0..12 {
        let mut params = VolumeParams::draw(&config, 3, index);
        params.view = ViewParams::default();
        let with = |radius: f32, chosen: Option<Vec<u16>>| {
            let mut params = params.clone();
            params.regions.as_mut().unwrap().erosion = Some(ErosionParams {
                radius,
                variation: 0.6,
                seed: 9,
                regions: chosen,
            });
            render_volume(&params).labels
        };
        let [before, small, large] = [0.0, 0.02, 0.05].map(|radius| with(radius, None));
        for ((&a, &b), &c) in before.iter().zip(&small).zip(&large) {
            assert!(b == a || b == 0);
            assert!(c == b || c == 0);
            removed += usize::from(c == 0 && a != 0);
        }
        let chosen = with(0.05, Some(vec![0]));
        for (&a, &b) in before.iter().zip(&chosen) {
            assert!(b == a || b == 0 && a == 1);
        }
    }
    assert!(removed > 10_000, "{removed}");
}

fn ball(centre: [f32; 3], radius: f32) -> SolidParams {
    let axis = |k: usize| {
        let mut axis = [0.0; 3];
        axis[k] = radius;
        axis
    };
    SolidParams {
        id: 256,
        kind: TargetKind::Organ,
        parent: None,
        form: Form::Lobes {
            lobes: vec![Lobe {
                centre,
                axes: [axis(0), axis(1), axis(2)],
                carve: false,
            }],
            blend: 0.0,
        },
        bumps: None,
        clearance: 0.0,
        paint: Paint {
            mean: 0.8,
            amplitude: 0.0,
            texture: 0,
        },
        softness: 0.0,
        target: TargetRule::Visible,
    }
}

/// A ball alone in a volume of this size and spacing.
fn ball_alone(size: [usize; 3], spacing_mm: [f32; 3], radius: f32) -> VolumeParams {
    let config = only(VolumeScene::CloseUp, size);
    let mut params = bare(VolumeParams::draw(&config, 1, 0));
    params.spacing_mm = spacing_mm;
    params.warp = None;
    let side = |k: usize| size[k] as f32 * spacing_mm[k];
    let unit = side(1).min(side(2));
    let centre = [side(2), side(1), side(0)].map(|length| 0.5 * length / unit);
    params.structures = vec![ball(centre, radius)];
    params
}

#[test]
fn a_ball_in_mm_has_its_extent_along_every_axis() {
    for (size, spacing) in [
        ([61, 81, 81], [1.0, 1.0, 1.0]),
        ([21, 81, 97], [4.0, 1.0, 1.0]),
        ([15, 120, 101], [8.0, 1.0, 1.0]),
        ([31, 64, 121], [2.0, 1.5, 0.75]),
    ] {
        let params = ball_alone(size, spacing, 0.3);
        let sample = render_volume(&params);
        let [target] = &sample.targets[..] else {
            panic!("one target expected");
        };
        let unit = (size[1] as f32 * spacing[1]).min(size[2] as f32 * spacing[2]);
        let radius_mm = 0.3 * unit;
        let [first, last] = target.extent();
        let expected = 2.0 * radius_mm / spacing[0];
        assert!(
            ((last - first + 1) as f32 - expected).abs() <= 1.5,
            "{size:?} {spacing:?}"
        );
        let middle = target.slice(target.largest_slice());
        let region = middle.bounding_box().unwrap();
        let rows = (region.max.y - region.min.y + 1.0) as f32;
        let columns = (region.max.x - region.min.x + 1.0) as f32;
        assert!((rows - 2.0 * radius_mm / spacing[1]).abs() <= 1.5, "{rows}");
        assert!(
            (columns - 2.0 * radius_mm / spacing[2]).abs() <= 1.5,
            "{columns}"
        );
        let volume = target.voxels as f32 * spacing.iter().product::<f32>();
        let expected = 4.0 / 3.0 * std::f32::consts::PI * radius_mm.powi(3);
        assert!(
            (volume / expected - 1.0).abs() < 0.03,
            "{volume} {expected}"
        );
    }
}

#[test]
fn partial_volume_keeps_the_sum_of_a_ball() {
    let mut params = ball_alone([21, 81, 81], [4.0, 1.0, 1.0], 0.3);
    params.ground.mean = 0.0;
    let sum = |params: &VolumeParams| render_volume(params).image.iter().sum::<f32>();
    let thin = sum(&params);
    params.profile = SliceProfile {
        thickness: 1.0,
        planes: 5,
    };
    let thick = sum(&params);
    let expected = 0.8 * 4.0 / 3.0 * std::f32::consts::PI * (0.3 * 81.0_f32).powi(3) / 4.0;
    assert!((thin / expected - 1.0).abs() < 0.03, "{thin} {expected}");
    assert!((thick / expected - 1.0).abs() < 0.01, "{thick} {expected}");
}

/// Identifiers of a structure and of what is nested in it.
fn family(params: &VolumeParams, id: u16) -> BTreeSet<u16> {
    let mut family = BTreeSet::from([id]);
    for solid in &params.structures {
        if solid.parent.is_some_and(|parent| family.contains(&parent)) {
            family.insert(solid.id);
        }
    }
    family
}

#[test]
fn targets_agree_with_the_label_map() {
    let mut found = 0;
    for kind in SCENES {
        let config = only(kind, [12, 64, 70]);
        for index in 0..8 {
            let params = VolumeParams::draw(&config, 4, index);
            let sample = render_volume(&params);
            for target in &sample.targets {
                let solid = params.structures.iter().find(|s| s.id == target.id);
                let ids = match solid.map(|s| s.target) {
                    Some(TargetRule::Whole) => family(&params, target.id),
                    _ => BTreeSet::from([target.id]),
                };
                let voxels: Vec<usize> = target.ranges().flatten().collect();
                assert!(voxels.iter().all(|&at| ids.contains(&sample.labels[at])));
                assert_eq!(voxels.len(), target.voxels);
                assert_eq!(solid.map_or(TargetKind::Region, |s| s.kind), target.kind);
                let areas = target.areas();
                assert_eq!(areas.iter().sum::<usize>(), target.voxels);
                for (k, slice) in (target.extent()[0]..).zip(&areas) {
                    assert_eq!(target.slice(k).area(), *slice);
                }
                assert!(target.voxels >= 27);
                found += 1;
            }
            let labels = sample.target_labels();
            let most = labels.iter().copied().max().unwrap_or(0);
            assert!(usize::from(most) <= sample.targets.len());
        }
    }
    assert!(found > 200, "{found}");
}

/// Inside of a structure, away from its surface, a voxel has the structure's mean.
#[test]
#[expect(clippy::float_cmp, reason = "a covered voxel has the mean's very bits")]
fn what_was_painted_is_what_the_labels_say() {
    let (mut checked, mut painted) = (0, 0);
    for kind in [VolumeScene::CloseUp, VolumeScene::LabelMap] {
        let mut config = only(kind, [6, 72, 80]);
        config.volume.as_mut().unwrap().anisotropy = [1.0, 1.0];
        for index in 0..8 {
            let mut params = bare(VolumeParams::draw(&config, 6, index));
            // Thin tubes tint voxels that they do not own.
            let mut left_out = BTreeSet::new();
            params.structures.retain(|solid| {
                let thin = matches!(solid.form, Form::Tubes { .. });
                let out = thin || solid.parent.is_some_and(|id| left_out.contains(&id));
                if out {
                    left_out.insert(solid.id);
                }
                !out
            });
            let sample = render_volume(&params);
            let mean = |label: u16| {
                let solid = params.structures.iter().find(|s| s.id == label);
                match (solid, &params.regions) {
                    (Some(solid), _) => solid.paint.mean,
                    (None, Some(regions)) if label > 0 => {
                        regions.paints[usize::from(label) - 1].mean
                    }
                    _ => params.ground.mean,
                }
            };
            let (height, width) = (72, 80);
            let area = height * width;
            for at in area..5 * area {
                let (row, col) = (at / width % height, at % width);
                if row < 2 || col < 2 || row + 2 >= height || col + 2 >= width {
                    continue;
                }
                let label = sample.labels[at];
                let alone = [1, 2, width, 2 * width, area].iter().all(|step| {
                    sample.labels[at - step] == label && sample.labels[at + step] == label
                });
                if alone {
                    checked += 1;
                    painted += usize::from(sample.image[at] == mean(label).clamp(0.0, 1.0));
                }
            }
        }
    }
    // Distances are exact to first order only: where surfaces crowd, a ramp may be wider than a voxel.
    assert!(painted * 100 > 99 * checked, "{painted} of {checked}");
    assert!(checked > 100_000, "{checked}");
}

#[test]
fn any_size_will_do() {
    for size in [[2, 16, 16], [3, 17, 131], [5, 129, 18], [1024, 16, 16]] {
        for (index, kind) in (0..).zip(SCENES) {
            let params = VolumeParams::draw(&only(kind, size), 7, index);
            params.validate().unwrap();
            let few = render_slices(&params, 0..3);
            for slice in few {
                let data = slice.image.data();
                assert!(
                    data.iter().all(|v| (0.0..=1.0).contains(v)),
                    "{size:?} {kind:?}"
                );
            }
        }
    }
    let sample = generate_volume(&config(3, 21, 33), 1, 1);
    assert_eq!(sample.image.len(), 3 * 21 * 33);
}

#[test]
fn neighbouring_slices_are_alike() {
    let mut config = config(16, 64, 64);
    let volume = config.volume.as_mut().unwrap();
    (volume.anisotropy, volume.jitter) = ([1.0, 1.0], 0.0);
    let mut distances = [0.0_f64; 2];
    for index in 0..40 {
        let mut params = VolumeParams::draw(&config, 8, index);
        params.acquisition.clear();
        let sample = render_volume(&params);
        for (sum, step) in distances.iter_mut().zip([1, 8]) {
            let (a, b) = (sample.slice(4), sample.slice(4 + step));
            let pairs = a.data().iter().zip(b.data());
            *sum += pairs.map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
        }
    }
    assert!(distances[1] > 2.0 * distances[0], "{distances:?}");
}

#[test]
fn hostile_configurations_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut VolumeConfig), name: &str| {
        let mut config = config(8, 32, 32);
        change(config.volume.as_mut().unwrap());
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    };
    refused(
        &|v| v.size.depth = 0,
        "volume.size.depth: expected 2 to 1024",
    );
    refused(&|v| v.size.height = usize::MAX, "volume.size.height");
    refused(&|v| v.size.width = 15, "volume.size.width");
    let huge = VolumeSize {
        depth: 1024,
        height: 1024,
        width: 1024,
    };
    refused(&|v| v.size = huge, "volume.size: expected at most");
    refused(&|v| v.spacing_mm = [0.0, 1.0], "volume.spacing_mm");
    refused(&|v| v.spacing_mm = [f32::NAN, 1.0], "volume.spacing_mm");
    refused(&|v| v.spacing_mm = [2.0, 1.0], "volume.spacing_mm");
    refused(&|v| v.anisotropy = [1.0, 9.0], "volume.anisotropy");
    refused(&|v| v.anisotropy = [0.5, 2.0], "volume.anisotropy");
    refused(
        &|v| v.slice_thickness = [0.0, f32::INFINITY],
        "volume.slice_thickness",
    );
    refused(&|v| v.isotropic = -0.1, "volume.isotropic");
    refused(&|v| v.warp_std = [0.0, 1.0], "volume.warp_std");
    refused(&|v| v.warp_scale = [0.0, 1.0], "volume.warp_scale");
    refused(&|v| v.jitter = 1.5, "volume.jitter");
    refused(&|v| v.jitter_shift = [0.0, 0.2], "volume.jitter_shift");
    refused(&|v| v.head = f32::NAN, "volume.head");
    refused(&|v| v.max_target = 2.0, "volume.min_target");
    let nothing = |v: &mut VolumeConfig| {
        (v.torso, v.head, v.limb) = (0.0, 0.0, 0.0);
        (v.close_up, v.vessels, v.layered) = (0.0, 0.0, 0.0);
    };
    refused(&nothing, "volume.torso: expected at least one scene");
}

#[test]
fn hostile_recipes_are_refused() {
    let good = ball_alone([4, 32, 32], [1.0; 3], 0.2);
    good.validate().unwrap();
    let refused = |change: &dyn Fn(&mut VolumeParams), name: &str| {
        let mut params = good.clone();
        change(&mut params);
        let error = params.validate().unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    };
    refused(&|p| p.spacing_mm = [0.0, 1.0, 1.0], "spacing_mm");
    refused(&|p| p.spacing_mm = [100.0, 1.0, 1.0], "spacing_mm");
    refused(&|p| p.spacing_mm = [f32::NAN, 1.0, 1.0], "spacing_mm");
    refused(&|p| p.size.depth = 1 << 40, "volume.size.depth");
    refused(&|p| p.profile.planes = 2, "profile.planes");
    refused(&|p| p.structures[0].id = 3, "structures.id");
    refused(
        &|p| p.structures.push(p.structures[0].clone()),
        "structures.id",
    );
    refused(&|p| p.structures[0].parent = Some(700), "structures.parent");
    refused(
        &|p| p.structures[0].form = Form::Inset { depth: 0.1 },
        "structures.parent",
    );
    refused(
        &|p| p.structures[0].softness = f32::NAN,
        "structures.softness",
    );
    refused(
        &|p| {
            p.structures[0].form = Form::Column {
                axis: 2,
                sections: Vec::new(),
            }
        },
        "structures.form",
    );
    refused(
        &|p| {
            p.structures[0].form = Form::Tubes {
                branches: vec![vec![[0.0; 4]; 5000]],
            }
        },
        "structures.form",
    );
}
