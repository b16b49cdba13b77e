//! Heads: scalp, skull, fluid, a folded brain with ventricles and nuclei, eyes, air in the face, tumours.
//!
//! In the body's frame the half length of the head from front to back is about 1 (some 9.5 cm).

use super::shapes::{CurvePlan, UPRIGHT, add, ellipsoid, lobe, mirrored};
use super::{Plan, plain};
use crate::draw::tissues::Tissues;
use crate::params::{TargetKind, TargetRule};
use crate::volume::{Bumps, Form, Vec3};

impl Plan<'_> {
    pub(super) fn draw_head(&mut self) {
        let scale = self.scene.rng.uniform(0.38, 0.5);
        let mut pose = self.pose(scale, 0.4);
        // Brain alone, face and neck too, or somewhere between.
        pose.to[pose.order[2]] += scale * self.scene.rng.uniform(-0.5, 0.5);
        let tissues = self.scene.tissues();
        self.ground = plain(tissues.air);
        let width = self.scene.rng.uniform(0.74, 0.84);
        let fat = self.scene.textured(tissues.fat);
        let muscle = self.scene.textured(tissues.muscle);
        let outline = Form::Lobes {
            lobes: vec![
                lobe([0.0, 0.0, 0.15], [width, 1.0, 0.9], UPRIGHT),
                lobe([0.0, -0.5, -0.6], [0.55 * width, 0.45, 0.7], UPRIGHT),
                lobe([0.0, 0.15, -1.6], [0.6 * width, 0.55, 1.2], UPRIGHT),
                lobe([0.0, -1.0, -0.55], [0.12, 0.17, 0.2], UPRIGHT),
            ],
            blend: 0.35,
        };
        let head = self.add(TargetKind::Body, None, outline, fat);
        self.last().target = TargetRule::Whole;
        let scalp = self.scene.rng.uniform(0.04, 0.09);
        let flesh = self.add_quiet(Some(head), Form::Inset { depth: scalp * 0.6 }, muscle);
        self.face(flesh, width, &tissues);
        let skull_radii = [width - scalp, 1.0 - scalp, 0.9 - scalp];
        let skull = self.cranium(flesh, skull_radii, &tissues);
        self.brain(skull, skull_radii, &tissues);
        self.place(&pose);
    }

    /// Bone around the fluid that the brain lies in; returns the space inside.
    fn cranium(&mut self, parent: u16, radii: Vec3, tissues: &Tissues) -> u16 {
        let form = Form::Lobes {
            lobes: vec![
                lobe([0.0, 0.0, 0.17], radii, UPRIGHT),
                lobe([0.0, 0.35, -0.3], [0.75 * radii[0], 0.5, 0.45], UPRIGHT),
            ],
            blend: 0.15,
        };
        let bone = self.add(TargetKind::Organ, Some(parent), form, plain(tissues.bone));
        let thickness = self.scene.rng.uniform(0.06, 0.11);
        if self.scene.rng.chance(0.6) {
            // Marrow between two plates.
            let marrow = self.scene.textured(tissues.marrow);
            let depth = 0.3 * thickness;
            self.add_quiet(Some(bone), Form::Inset { depth }, marrow);
            let depth = 0.7 * thickness;
            self.add_quiet(Some(bone), Form::Inset { depth }, plain(tissues.bone));
        }
        let fluid = self.scene.textured(tissues.fluid);
        self.add(
            TargetKind::Lumen,
            Some(bone),
            Form::Inset { depth: thickness },
            fluid,
        );
        self.last().target = TargetRule::Whole;
        self.last().id
    }

    fn folds(&mut self, amplitude: f32, scale: f32) -> Bumps {
        let rng = &mut self.scene.rng;
        Bumps {
            amplitude,
            scale,
            offset: [0.0; 3].map(|_: f32| rng.uniform(0.0, 16.0)),
            folded: true,
        }
    }

    fn brain(&mut self, space: u16, radii: Vec3, tissues: &Tissues) {
        let grey_mean = self.scene.organ_mean(tissues);
        let white_mean = self.scene.contrasting(grey_mean);
        // Both are brain: never as far apart as bone and air.
        let white_mean = grey_mean + (white_mean - grey_mean).clamp(-0.3, 0.3);
        let (grey, white) = (
            self.scene.textured(grey_mean),
            self.scene.textured(white_mean),
        );
        let fluid = self.scene.textured(tissues.fluid);
        let gap = self.scene.rng.uniform(0.02, 0.06);
        let shrink = 0.1 + gap;
        let cerebrum = Form::Lobes {
            lobes: [1.0, -1.0]
                .map(|side| {
                    let half = [0.56 * radii[0], radii[1] - shrink, radii[2] - shrink];
                    lobe([side * 0.42 * radii[0], -0.02, 0.2], half, UPRIGHT)
                })
                .to_vec(),
            blend: 0.02,
        };
        let scale = self.scene.rng.uniform(0.14, 0.22);
        let folds = self.folds(self.pixel.max(0.028), scale);
        let cortex = self.add(TargetKind::Organ, Some(space), cerebrum, grey);
        self.last().target = TargetRule::Whole;
        self.roughen(folds);
        let depth = self.scene.rng.uniform(0.07, 0.11);
        let inner = self.add(
            TargetKind::Organ,
            Some(cortex),
            Form::Inset { depth },
            white,
        );
        self.last().target = TargetRule::Whole;
        let mut deeper = folds;
        deeper.amplitude *= 1.6;
        self.roughen(deeper);
        // The fissure between the halves.
        let thin = self.scene.rng.uniform(0.008, 0.02);
        let fissure = ellipsoid([0.0, 0.0, 0.75], [thin, 1.2, 0.62], UPRIGHT);
        self.add_quiet(Some(space), fissure, fluid);
        self.hindbrain(space, grey, white);
        self.deep_nuclei(inner, grey_mean);
        self.ventricles(cortex, tissues);
        for _ in 0..self.scene.rng.pick(&[0.5, 0.3, 0.2]) {
            let at = self.near([0.0, 0.0, 0.3], 0.35);
            let size = self.scene.rng.log_uniform(0.06, 0.3);
            self.tumour(at, size, space, white_mean);
        }
    }

    fn hindbrain(&mut self, space: u16, grey: crate::params::Paint, white: crate::params::Paint) {
        let lobes =
            [1.0, -1.0].map(|side| lobe([side * 0.2, 0.42, -0.32], [0.28, 0.28, 0.2], UPRIGHT));
        let form = Form::Lobes {
            lobes: lobes.to_vec(),
            blend: 0.08,
        };
        let id = self.add(TargetKind::Organ, Some(space), form, grey);
        self.last().target = TargetRule::Whole;
        let folds = self.folds(0.015, 0.06);
        self.roughen(folds);
        self.add_quiet(Some(id), Form::Inset { depth: 0.08 }, white);
        let folds = self.folds(0.03, 0.07);
        self.roughen(folds);
        let stem = vec![
            [0.0, 0.05, 0.0, 0.13],
            [0.0, 0.08, -0.2, 0.16],
            [0.0, 0.14, -0.45, 0.11],
            [0.0, 0.2, -1.0, 0.075],
            [0.0, 0.22, -2.6, 0.07],
        ];
        // It leaves the skull: its parent is the flesh.
        let flesh = self.solids[1].id;
        self.add(
            TargetKind::Tube,
            Some(flesh),
            Form::Tubes {
                branches: vec![stem],
            },
            white,
        );
    }

    /// Pairs of nuclei beside the ventricles.
    fn deep_nuclei(&mut self, parent: u16, grey: f32) {
        let places = [
            ([0.14, 0.12, 0.08], [0.1, 0.18, 0.1]),
            ([0.3, -0.05, 0.1], [0.07, 0.22, 0.14]),
            ([0.17, -0.25, 0.25], [0.06, 0.16, 0.1]),
        ];
        for (at, radii) in places {
            if self.scene.rng.chance(0.2) {
                continue;
            }
            let mean = grey + 0.05 * self.scene.rng.normal();
            let paint = self.scene.textured(mean.clamp(0.02, 0.98));
            let at = self.near(at, 0.02);
            let radii = self.varied(radii, 0.12);
            let tilt = self.tilt(0.2);
            let form = self.blob_along(at, radii, tilt);
            for form in [mirrored(&form), form] {
                self.add(TargetKind::Organ, Some(parent), form, paint);
            }
        }
    }

    /// A horned pair of fluid spaces, and one in the middle.
    fn ventricles(&mut self, parent: u16, tissues: &Tissues) {
        let fluid = self.scene.textured(tissues.fluid);
        let wide = self.scene.rng.log_uniform(0.05, 0.12);
        let horn = vec![
            [0.14, -0.5, 0.22, 0.5 * wide],
            [0.1, -0.3, 0.3, wide],
            [0.1, 0.05, 0.36, 0.8 * wide],
            [0.22, 0.38, 0.25, 1.2 * wide],
            [0.32, 0.3, 0.0, 0.7 * wide],
            [0.36, 0.05, -0.08, 0.4 * wide],
        ];
        let tip = vec![[0.22, 0.38, 0.25, wide], [0.24, 0.62, 0.22, 0.4 * wide]];
        let form = Form::Tubes {
            branches: vec![horn, tip],
        };
        for form in [mirrored(&form), form] {
            self.add(TargetKind::Lumen, Some(parent), form, fluid);
            let bumps = self.bumps(0.1, 0.08);
            self.roughen(bumps);
        }
        let form = ellipsoid([0.0, 0.08, 0.12], [0.4 * wide, 0.2, 0.12], UPRIGHT);
        self.add(TargetKind::Lumen, Some(parent), form, fluid);
    }

    /// Swelling, tumour, dead core: each inside the other.
    fn tumour(&mut self, at: Vec3, size: f32, parent: u16, surroundings: f32) {
        let swelling = self.scene.contrasting_paint(surroundings);
        let radii = self.varied([1.5 * size; 3], 0.2);
        let form = self.blob(at, radii);
        let id = self.add(TargetKind::Lesion, Some(parent), form, swelling);
        self.last().target = TargetRule::Whole;
        let bumps = self.bumps(size, 0.3);
        self.roughen(bumps);
        self.lesion(at, size, id, swelling.mean);
    }

    /// Eyes, air in the nose and its sinuses, jaw and vertebrae.
    fn face(&mut self, parent: u16, width: f32, tissues: &Tissues) {
        let bone = plain(tissues.bone);
        let jaw: Vec<[f32; 4]> = (0..7)
            .map(|k| {
                let angle = -2.6 + 2.1 * k as f32 / 6.0;
                let (sin, cos) = libm::sincosf(angle);
                [0.48 * width * cos * 1.1, -0.35 + 0.5 * sin, -1.0, 0.07]
            })
            .collect();
        self.add(
            TargetKind::Organ,
            Some(parent),
            Form::Tubes {
                branches: vec![jaw],
            },
            bone,
        );
        for k in 0..6 {
            let z = -0.75 - 0.24 * k as f32;
            let body = lobe([0.0, 0.12, z], [0.17, 0.13, 0.1], UPRIGHT);
            let arch = lobe([0.0, 0.38, z - 0.05], [0.2, 0.08, 0.07], UPRIGHT);
            let form = Form::Lobes {
                lobes: vec![body, arch],
                blend: 0.05,
            };
            let id = self.add(TargetKind::Organ, Some(parent), form, bone);
            let marrow = self.scene.textured(tissues.marrow);
            self.add_quiet(Some(id), Form::Inset { depth: 0.03 }, marrow);
        }
        let air = plain(tissues.air);
        let nose = ellipsoid([0.0, -0.62, -0.55], [0.08, 0.3, 0.28], UPRIGHT);
        self.add(TargetKind::Lumen, Some(parent), nose, air);
        let curve = CurvePlan {
            length: 1.6,
            radii: [0.12, 0.1],
            wander: 0.08,
            knots: 5,
        };
        let line = self.curve([0.0, -0.22, -0.7], [0.0, 0.05, -1.0], &curve);
        self.add(
            TargetKind::Tube,
            Some(parent),
            Form::Tubes {
                branches: vec![line],
            },
            air,
        );
        let at = self.near([0.24, -0.62, -0.5], 0.02);
        let radii = self.varied([0.12, 0.16, 0.16], 0.15);
        let sinus = self.blob(at, radii);
        let eye_fluid = self.scene.textured(tissues.fluid);
        let lens = self.scene.contrasting_paint(eye_fluid.mean);
        let orbit = self.scene.textured(tissues.fat);
        for side in [1.0, -1.0] {
            let form = if side > 0.0 {
                sinus.clone()
            } else {
                mirrored(&sinus)
            };
            self.add(TargetKind::Lumen, Some(parent), form, air);
            let eye = [side * 0.36 * width / 0.8, -0.78, -0.2];
            let socket = ellipsoid(add(eye, [0.0, 0.12, 0.0]), [0.19, 0.28, 0.19], UPRIGHT);
            self.add_quiet(Some(parent), socket, orbit);
            let id = self.add(
                TargetKind::Organ,
                Some(parent),
                ellipsoid(eye, [0.135; 3], UPRIGHT),
                eye_fluid,
            );
            self.last().target = TargetRule::Whole;
            let front = ellipsoid(add(eye, [0.0, -0.09, 0.0]), [0.055, 0.03, 0.055], UPRIGHT);
            self.add(TargetKind::Organ, Some(id), front, lens);
        }
    }
}
