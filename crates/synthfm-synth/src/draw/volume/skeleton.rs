//! Bones of a trunk: spine, ribs, pelvis.

use super::shapes::{ColumnPlan, UPRIGHT, carved, ellipsoid, lobe, mirrored};
use super::torso::Trunk;
use super::{Plan, plain};
use crate::params::{TargetKind, TargetRule};
use crate::volume::{Form, Lobe};

impl Plan<'_> {
    /// Hip bones with the heads of the thigh bones, muscles on either side, and the bladder.
    pub(super) fn pelvis(&mut self, trunk: &Trunk) {
        let Trunk {
            tissues,
            depth,
            diaphragm,
            body,
            cavity,
            ..
        } = *trunk;
        let z = diaphragm - 2.0;
        let muscle = self.scene.textured(tissues.muscle);
        let marrow = self.scene.textured(tissues.marrow);
        let bone = plain(tissues.bone);
        let flesh = self.blob([0.55, 0.25 * depth, z - 0.1], [0.3, 0.3, 0.5]);
        let psoas = ellipsoid([0.36, 0.3 * depth, z + 0.45], [0.13, 0.13, 0.75], UPRIGHT);
        let wing = Form::Lobes {
            lobes: vec![
                lobe([0.6, 0.25 * depth, z], [0.36, 0.42, 0.5], UPRIGHT),
                carved(lobe(
                    [0.48, 0.12 * depth, z + 0.08],
                    [0.36, 0.42, 0.52],
                    UPRIGHT,
                )),
                lobe([0.52, 0.1 * depth, z - 0.5], [0.16, 0.16, 0.2], UPRIGHT),
            ],
            blend: 0.04,
        };
        let head = ellipsoid([0.55, 0.1 * depth, z - 0.62], [0.13; 3], UPRIGHT);
        for (form, paint, core) in [
            (flesh, muscle, None),
            (psoas, muscle, None),
            (wing, bone, Some(marrow)),
            (head, bone, Some(marrow)),
        ] {
            for form in [mirrored(&form), form] {
                let id = self.add(TargetKind::Organ, Some(body), form, paint);
                if let Some(core) = core {
                    self.last().target = TargetRule::Whole;
                    self.add_quiet(Some(id), Form::Inset { depth: 0.025 }, core);
                }
            }
        }
        if self.scene.rng.chance(0.8) {
            let at = self.near([0.0, -0.25 * depth, z - 0.35], 0.04);
            let radii = self.varied([0.26, 0.2, 0.22], 0.25);
            let form = ellipsoid(at, radii, UPRIGHT);
            let wall = self.add(TargetKind::Wall, Some(cavity), form, muscle);
            self.last().target = TargetRule::Whole;
            let fluid = self.scene.textured(tissues.fluid);
            self.add(
                TargetKind::Lumen,
                Some(wall),
                Form::Inset { depth: 0.035 },
                fluid,
            );
        }
    }

    /// Spine, and ribs where there is a chest.
    pub(super) fn skeleton(&mut self, trunk: &Trunk) {
        self.spine(trunk);
        if trunk.diaphragm < trunk.high + 0.5 && self.scene.rng.chance(0.85) {
            self.ribs(trunk);
        }
    }

    /// Vertebrae with discs between them, and the canal behind.
    fn spine(&mut self, trunk: &Trunk) {
        let Trunk {
            tissues,
            depth,
            low,
            high,
            body,
            ..
        } = *trunk;
        let spacing = self.scene.rng.uniform(0.17, 0.23);
        let width = self.scene.rng.uniform(0.14, 0.17);
        let y = 0.6 * depth;
        let curve = self.scene.rng.uniform(-0.05, 0.05);
        let muscle = self.scene.textured(tissues.muscle);
        for side in [1.0, -1.0] {
            let plan = ColumnPlan {
                low: low - 0.3,
                high: high + 0.3,
                centre: [side * 0.22, y + 0.12],
                axes: [0.17, 0.13],
                angle: side * 0.3,
                spread: 0.1,
                drift: 0.01,
                period: 0.4,
                waves: 0.05,
                pointed: 0.0,
            };
            let form = self.column(&plan);
            self.add(TargetKind::Organ, Some(body), form, muscle);
        }
        let disc_mean = self.scene.organ_mean(&tissues);
        let disc = self.scene.textured(disc_mean);
        let count = ((high - low + 0.4) / spacing).ceil().min(60.0) as usize;
        let phase = self.scene.rng.unit();
        let bone = plain(tissues.bone);
        let marrow = self.scene.textured(tissues.marrow);
        let discs = Self::spine_column(low - 0.3, high + 0.3, [0.0, y], width * 0.92, curve);
        self.add_quiet(Some(body), discs, disc);
        let fluid = self.scene.textured(tissues.fluid);
        let canal: Vec<[f32; 4]> = (0..8)
            .map(|k| {
                let z = low - 0.3 + (high - low + 0.6) * k as f32 / 7.0;
                let bow = curve * (z * z).min(1.0);
                [0.0, y + width + 0.07 + bow, z, 0.055]
            })
            .collect();
        let arches = self.scene.rng.chance(0.9);
        for k in 0..count {
            let z = low - 0.2 + (k as f32 + phase) * spacing;
            let bow = curve * (z * z).min(1.0);
            let mut form = Self::spine_column(
                z - 0.4 * spacing,
                z + 0.4 * spacing,
                [0.0, y + bow],
                width,
                0.0,
            );
            if let Form::Column { sections, .. } = &mut form {
                // A waist between the end plates.
                for (section, waist) in sections.iter_mut().zip([1.0, 0.9, 1.0]) {
                    section.axes = section.axes.map(|axis| axis * waist);
                }
            }
            let id = self.add(TargetKind::Organ, Some(body), form, bone);
            self.last().target = TargetRule::Whole;
            let inset = Form::Inset {
                depth: (0.022_f32).max(0.4 * self.pixel),
            };
            self.add_quiet(Some(id), inset, marrow);
            if arches {
                let form = Self::arch(y + bow, z, width, spacing);
                self.add(TargetKind::Organ, Some(body), form, bone);
                self.last().target = TargetRule::Whole;
                let id = self.last().id;
                self.add_quiet(Some(id), Form::Inset { depth: 0.02 }, marrow);
            }
        }
        let branches = vec![canal];
        self.add(
            TargetKind::Lumen,
            Some(body),
            Form::Tubes { branches },
            fluid,
        );
    }

    /// Three sections of a column along the spine.
    fn spine_column(low: f32, high: f32, centre: [f32; 2], width: f32, bow: f32) -> Form {
        let sections = (0..3)
            .map(|k| {
                let at = low + (high - low) * k as f32 / 2.0;
                crate::volume::Section {
                    at,
                    centre: [centre[0], centre[1] + bow * (at * at).min(1.0)],
                    axes: [width, width * 0.8],
                    angle: 0.0,
                    waves: vec![[0.0, 0.0], [0.05, 1.57]],
                }
            })
            .collect();
        Form::Column { axis: 2, sections }
    }

    /// The arch behind a vertebra: pedicles, transverse and spinous processes.
    fn arch(y: f32, z: f32, width: f32, spacing: f32) -> Form {
        let thick = 0.32 * spacing;
        let piece = |x: f32, dy: f32, radii: [f32; 3]| lobe([x, y + dy, z], radii, UPRIGHT);
        let mut lobes: Vec<Lobe> = Vec::new();
        for side in [1.0, -1.0] {
            lobes.push(piece(side * 0.1, width + 0.02, [0.03, 0.08, thick]));
            lobes.push(piece(side * 0.2, width + 0.08, [0.14, 0.032, thick * 0.8]));
            lobes.push(piece(side * 0.06, width + 0.14, [0.07, 0.035, thick]));
        }
        lobes.push(lobe(
            [0.0, y + width + 0.26, z - 0.15 * spacing],
            [0.026, 0.14, thick],
            UPRIGHT,
        ));
        lobes.push(carved(lobe(
            [0.0, y + width + 0.065, z],
            [0.06, 0.055, spacing],
            UPRIGHT,
        )));
        Form::Lobes { lobes, blend: 0.03 }
    }

    /// Ribs from the spine around the sides, sloping down to the front.
    fn ribs(&mut self, trunk: &Trunk) {
        let Trunk {
            tissues,
            depth,
            low,
            high,
            diaphragm,
            body,
            ..
        } = *trunk;
        let bone = plain(tissues.bone);
        let spacing = self.scene.rng.uniform(0.17, 0.22);
        let from = low.max(diaphragm - 0.5);
        let count = (((high - from) / spacing).ceil().max(0.0) as usize + 3).min(24);
        let inside = self.scene.rng.uniform(0.8, 0.87);
        let thin = self.scene.rng.uniform(0.02, 0.03);
        for k in 0..count {
            let top = from + k as f32 * spacing;
            let slope = self.scene.rng.uniform(0.25, 0.4);
            let line: Vec<[f32; 4]> = (0..9)
                .map(|j| {
                    let t = j as f32 / 8.0;
                    // From behind (a little off the midline) to the front.
                    let angle = 1.45 - 2.75 * t;
                    let (sin, cos) = libm::sincosf(angle);
                    [
                        inside * cos,
                        inside * depth * sin,
                        top - slope * t * 1.2,
                        thin,
                    ]
                })
                .collect();
            let form = Form::Tubes {
                branches: vec![line],
            };
            for form in [mirrored(&form), form] {
                self.add(TargetKind::Organ, Some(body), form, bone);
            }
        }
        // The breast bone in front.
        let front = lobe(
            [0.0, -0.86 * depth, diaphragm + 0.7],
            [0.1, 0.035, 0.6],
            UPRIGHT,
        );
        let form = Form::Lobes {
            lobes: vec![front],
            blend: 0.0,
        };
        let id = self.add(TargetKind::Organ, Some(body), form, bone);
        let marrow = self.scene.textured(tissues.marrow);
        self.add_quiet(Some(id), Form::Inset { depth: 0.018 }, marrow);
    }
}
