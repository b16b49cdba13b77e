//! Trunks: skin, fat, muscle, spine and ribs around a cavity with lungs, heart and vessels above a diaphragm and the
//! organs of the belly below it.
//!
//! In the body's frame the half width of the trunk is about 1 (some 17 cm); z runs to the head.

use super::shapes::{ColumnPlan, CurvePlan, TreePlan, UPRIGHT, carved, ellipsoid, lobe, mirrored};
use super::{Plan, plain};
use crate::draw::tissues::Tissues;
use crate::params::{TargetKind, TargetRule};
use crate::volume::{Form, Lobe};

/// What organs are placed by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trunk {
    pub(super) tissues: Tissues,
    /// Half depth; the half width is 1.
    pub(super) depth: f32,
    /// Ends of what the volume shows, along z.
    pub(super) low: f32,
    pub(super) high: f32,
    /// Height of the diaphragm.
    pub(super) diaphragm: f32,
    pub(super) body: u16,
    pub(super) cavity: u16,
}

impl Plan<'_> {
    pub(super) fn draw_torso(&mut self) {
        let cropped = self.scene.rng.chance(0.3);
        let scale = if cropped {
            self.scene.rng.uniform(0.5, 0.95)
        } else {
            self.scene.rng.uniform(0.4, 0.5)
        };
        let mut pose = self.pose(scale, 0.15);
        if cropped {
            for k in 0..2 {
                pose.to[pose.order[k]] += scale * self.scene.rng.uniform(-0.4, 0.4);
            }
        }
        let half = self.half_length(&pose);
        let tissues = self.scene.tissues();
        self.ground = plain(tissues.air);
        let trunk = self.shell(half, tissues);
        self.organs(&trunk);
        self.skeleton(&trunk);
        if self.scene.rng.chance(0.25) && !cropped {
            self.couch(&trunk);
        }
        self.place(&pose);
    }

    /// Skin with fat, muscle, and the cavity inside.
    fn shell(&mut self, half: f32, tissues: Tissues) -> Trunk {
        let depth = self.scene.rng.uniform(0.6, 0.82);
        let plan = ColumnPlan {
            low: -half - 1.0,
            high: half + 1.0,
            centre: [0.0, 0.0],
            axes: [1.0, depth],
            angle: 0.0,
            spread: 0.028,
            drift: 0.02,
            period: 0.7,
            waves: 0.016,
            pointed: 0.0,
        };
        let outline = self.column(&plan);
        let fat = self.scene.textured(tissues.fat);
        let body = self.add(TargetKind::Body, None, outline, fat);
        self.last().target = TargetRule::Whole;
        let wall = self.scene.rng.log_uniform(0.035, 0.22);
        let muscle = self.scene.textured(tissues.muscle);
        let inset = Form::Inset { depth: wall };
        let wall = self.add(TargetKind::Wall, Some(body), inset, muscle);
        let bumps = self.bumps(0.3, 0.06);
        self.roughen(bumps);
        let thickness = self.scene.rng.uniform(0.06, 0.13);
        let inner = self.scene.textured(tissues.fat);
        let inset = Form::Inset { depth: thickness };
        let cavity = self.add_quiet(Some(wall), inset, inner);
        let bumps = self.bumps(0.3, 0.07);
        self.roughen(bumps);
        // The trunk reaches from 2.4 below the diaphragm to 1.4 above; short volumes show any part of it.
        let (lowest, highest) = (half - 1.4, 2.4 - half);
        let diaphragm = if lowest < highest {
            self.scene.rng.uniform(lowest, highest)
        } else {
            0.5 * (lowest + highest)
        };
        Trunk {
            tissues,
            depth,
            low: -half,
            high: half,
            diaphragm,
            body,
            cavity,
        }
    }

    fn organs(&mut self, trunk: &Trunk) {
        if trunk.diaphragm < trunk.high + 0.4 {
            self.chest(trunk);
        }
        self.great_vessels(trunk);
        if trunk.diaphragm > trunk.low - 0.2 {
            self.belly(trunk);
        }
        if trunk.diaphragm - 1.5 > trunk.low {
            self.pelvis(trunk);
        }
        for _ in 0..self.scene.rng.int(0, 3) {
            self.stray(trunk);
        }
    }

    /// Lungs with their vessels, heart, airways.
    fn chest(&mut self, trunk: &Trunk) {
        let Trunk {
            tissues,
            depth,
            diaphragm,
            cavity,
            ..
        } = *trunk;
        let muscle = self.scene.textured(tissues.muscle);
        // What fills the space between the lungs hides the belly's fat.
        let middle = ellipsoid(
            [0.0, 0.05, diaphragm + 0.9],
            [0.35, depth * 0.75, 1.1],
            UPRIGHT,
        );
        self.add_quiet(Some(cavity), middle, muscle);
        let shoulders = ellipsoid([0.0, 0.0, diaphragm + 1.9], [1.4, 1.4, 0.75], UPRIGHT);
        self.add_quiet(Some(cavity), shoulders, muscle);
        self.lungs(trunk);
        let heart = [0.12, -0.22 * depth, diaphragm + 0.25];
        let heart = self.near(heart, 0.05);
        self.heart(heart, 0.36, Some(cavity), &tissues);
        // Airway: down the middle, then one branch into either lung.
        let fork = diaphragm + self.scene.rng.uniform(0.75, 0.95);
        let radius = self.scene.rng.uniform(0.05, 0.075);
        let trunk_line = vec![
            [0.0, 0.1, diaphragm + 2.4, radius],
            [0.02, 0.12, fork + 0.5, radius],
            [0.0, 0.12, fork, radius * 0.95],
        ];
        let side = |x: f32| {
            vec![
                [0.0, 0.12, fork, radius * 0.8],
                [x * 0.18, 0.13, fork - 0.15, radius * 0.7],
                [x * 0.4, 0.12, fork - 0.3, radius * 0.5],
            ]
        };
        let branches = vec![trunk_line, side(1.0), side(-1.0)];
        let wall = self.scene.textured(tissues.muscle);
        let form = Form::Tubes { branches };
        let airway = self.add(TargetKind::Tube, Some(trunk.body), form, wall);
        self.last().target = TargetRule::Whole;
        let inset = Form::Inset { depth: 0.015 };
        self.add(TargetKind::Lumen, Some(airway), inset, plain(tissues.air));
    }

    fn lungs(&mut self, trunk: &Trunk) {
        let Trunk {
            tissues,
            depth,
            diaphragm,
            cavity,
            ..
        } = *trunk;
        let air = tissues.air + self.scene.rng.uniform(0.02, 0.1);
        let paint = self.scene.textured(air);
        let height = self.scene.rng.uniform(1.1, 1.5);
        for side in [1.0, -1.0] {
            let raise = self.scene.rng.uniform(-0.05, 0.12);
            let main = lobe(
                [side * 0.6, 0.03, diaphragm + 0.42 * height],
                [0.5, depth * 1.05, 0.68 * height],
                UPRIGHT,
            );
            let dome_at = [side * 0.5, 0.0, diaphragm - 0.45 + raise];
            let dome = carved(lobe(dome_at, [0.6, depth * 1.1, 0.55], UPRIGHT));
            let heart = [0.12, -0.25 * depth, diaphragm + 0.25];
            let notch = carved(lobe(heart, [0.42, 0.4, 0.45], UPRIGHT));
            let form = Form::Lobes {
                lobes: vec![main, dome, notch],
                blend: 0.08,
            };
            let lung = self.add(TargetKind::Organ, Some(cavity), form, paint);
            self.last().target = TargetRule::Whole;
            let bumps = self.bumps(0.25, 0.08);
            self.roughen(bumps);
            let blood = self.scene.textured(tissues.blood);
            let plan = TreePlan {
                radius: 0.07,
                length: 0.3,
                generations: 4,
                wander: 0.3,
                thinnest: (0.4 * self.pixel).max(0.008),
                most: 60,
            };
            let root = [side * 0.15, 0.06, diaphragm + 0.62];
            let tree = self.tree(root, [side, 0.0, -0.2], &plan);
            self.add(TargetKind::Tube, Some(lung), tree, blood);
            if self.scene.rng.chance(0.25) {
                let at = self.near([side * 0.55, 0.0, diaphragm + 0.5], 0.2);
                let size = self.scene.rng.log_uniform(0.03, 0.15);
                self.lesion(at, size, lung, air);
            }
        }
    }

    /// Main artery and vein along the spine, with branches to the sides.
    fn great_vessels(&mut self, trunk: &Trunk) {
        let Trunk {
            tissues,
            depth,
            low,
            high,
            body,
            diaphragm,
            ..
        } = *trunk;
        let back = 0.32 * depth;
        let blood = self.scene.textured(tissues.blood);
        let length = high - low + 0.6;
        let pieces = ((length / 0.5).ceil() as usize + 1).min(24);
        for (x, radius) in [(0.06, 0.085), (-0.13, 0.095)] {
            let radius = radius * self.scene.rng.uniform(0.75, 1.2);
            let mut line = Vec::new();
            for k in 0..pieces {
                let z = low - 0.3 + length * k as f32 / (pieces - 1) as f32;
                let off = self.near([x, back, z], 0.018);
                let uneven = self.scene.rng.uniform(0.85, 1.1);
                line.push([off[0], off[1], z, radius * uneven]);
            }
            let mut branches = vec![line];
            for side in [1.0, -1.0] {
                let z = diaphragm - self.scene.rng.uniform(0.6, 0.85);
                let curve = CurvePlan {
                    length: 0.45,
                    radii: [0.035, 0.025],
                    wander: 0.15,
                    knots: 4,
                };
                let towards = [side, 0.25, self.scene.rng.uniform(-0.2, 0.1)];
                branches.push(self.curve([x, back, z], towards, &curve));
            }
            for _ in 0..self.scene.rng.int(1, 3) {
                let z = diaphragm - self.scene.rng.uniform(0.1, 1.2);
                let curve = CurvePlan {
                    length: self.scene.rng.uniform(0.3, 0.7),
                    radii: [0.04, 0.02],
                    wander: 0.35,
                    knots: 5,
                };
                let side = self.scene.rng.uniform(-0.6, 0.6);
                branches.push(self.curve([x, back, z], [side, -1.0, -0.5], &curve));
            }
            let form = Form::Tubes { branches };
            self.add(TargetKind::Tube, Some(body), form, blood);
        }
    }

    /// Something small that lies anywhere.
    fn stray(&mut self, trunk: &Trunk) {
        let z = self.scene.rng.uniform(trunk.low, trunk.high);
        let angle = self.scene.rng.angle();
        let (sin, cos) = libm::sincosf(angle);
        let out = self.scene.rng.uniform(0.2, 0.75);
        let at = [out * cos, out * trunk.depth * sin, z];
        let size = self.scene.rng.log_uniform(0.03, 0.14);
        self.lesion(at, size, trunk.cavity, trunk.tissues.fat);
    }

    /// Hip bones with the heads of the thigh bones, muscles on either side, and the bladder.
    fn pelvis(&mut self, trunk: &Trunk) {
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

    fn skeleton(&mut self, trunk: &Trunk) {
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
        let discs = self.spine_column(low - 0.3, high + 0.3, [0.0, y], width * 0.92, curve);
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
            let mut form = self.spine_column(
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
                let form = self.arch(y + bow, z, width, spacing);
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
    fn spine_column(
        &mut self,
        low: f32,
        high: f32,
        centre: [f32; 2],
        width: f32,
        bow: f32,
    ) -> Form {
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
    fn arch(&mut self, y: f32, z: f32, width: f32, spacing: f32) -> Form {
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

    /// The couch of a scanner: a thin curved plate behind the body.
    fn couch(&mut self, trunk: &Trunk) {
        let y = trunk.depth * self.scene.rng.uniform(1.12, 1.3);
        let length = trunk.high - trunk.low + 2.0;
        let plate = |dy: f32, carve: bool| Lobe {
            carve,
            ..lobe(
                [0.0, y - 0.9 + dy, 0.0],
                [1.25, 0.95, 4.0 * length],
                UPRIGHT,
            )
        };
        let above = Lobe {
            carve: true,
            ..lobe([0.0, y - 1.05, 0.0], [2.5, 1.0, 8.0 * length], UPRIGHT)
        };
        let form = Form::Lobes {
            lobes: vec![plate(0.03, false), plate(0.0, true), above],
            blend: 0.0,
        };
        let mean = self.scene.rng.uniform(0.15, 0.5);
        self.add_quiet(None, form, plain(mean));
    }
}
