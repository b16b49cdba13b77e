//! Organs: heart, liver, spleen, kidneys, stomach, bowel, lesions.

use super::shapes::{TreePlan, UPRIGHT, add, carved, ellipsoid, lobe, mirrored, scaled, unit};
use super::torso::Trunk;
use super::{Plan, plain};
use crate::draw::tissues::Tissues;
use crate::params::{Paint, TargetKind, TargetRule};
use crate::volume::{Form, Vec3};

impl Plan<'_> {
    /// Organs of the belly, from the diaphragm downward.
    pub(super) fn belly(&mut self, trunk: &Trunk) {
        let z = trunk.diaphragm;
        self.bowel(trunk);
        if self.scene.rng.chance(0.85) {
            self.stomach(trunk);
        }
        self.kidneys(trunk);
        if self.scene.rng.chance(0.8) {
            let at = self.near([0.08, -0.05 * trunk.depth, z - 0.55], 0.06);
            let tilt = self.tilt(0.3);
            let radii = self.varied([0.4, 0.07, 0.08], 0.2);
            let form = self.bean(at, radii, tilt, -0.3);
            self.organ(form, 0.1, trunk);
        }
        if self.scene.rng.chance(0.9) {
            let at = self.near([0.68, 0.25 * trunk.depth, z - 0.25], 0.05);
            let tilt = self.tilt(0.35);
            let radii = self.varied([0.3, 0.14, 0.22], 0.15);
            let form = self.bean(at, radii, tilt, 0.35);
            self.organ(form, 0.15, trunk);
        }
        self.liver(trunk);
    }

    /// A solid organ of the belly with an uneven surface and a thin rim of fat around it.
    fn organ(&mut self, form: Form, size: f32, trunk: &Trunk) -> u16 {
        let mean = self.scene.organ_mean(&trunk.tissues);
        let paint = self.scene.textured(mean);
        let id = self.add(TargetKind::Organ, Some(trunk.cavity), form, paint);
        let rule = self.scene.holder_rule();
        self.last().target = rule;
        self.last().clearance = self.scene.rng.uniform(0.0, 0.03);
        let bumps = self.bumps(size, 0.1);
        self.roughen(bumps);
        id
    }

    fn liver(&mut self, trunk: &Trunk) {
        let z = trunk.diaphragm;
        let depth = trunk.depth;
        let tilt = self.tilt(0.15);
        let right = self.varied([0.52, 0.62 * depth, 0.55], 0.12);
        let left = self.varied([0.4, 0.35 * depth, 0.25], 0.2);
        let at = self.near([-0.45, -0.02, z - 0.35], 0.04);
        let lobes = vec![
            lobe(at, right, tilt),
            lobe(add(at, [0.5, -0.28 * depth, 0.12]), left, tilt),
            // The hollow below, where the other organs lie.
            carved(lobe(
                add(at, [0.45, 0.3 * depth, -0.5]),
                [0.5, 0.5, 0.5],
                UPRIGHT,
            )),
        ];
        let blend = self.scene.rng.uniform(0.08, 0.2);
        let id = self.organ(Form::Lobes { lobes, blend }, 0.3, trunk);
        let blood = self.scene.textured(trunk.tissues.blood);
        if self.scene.rng.chance(0.75) {
            let plan = TreePlan {
                radius: self.scene.rng.uniform(0.035, 0.06),
                length: 0.28,
                generations: 3,
                wander: 0.3,
                thinnest: (0.4 * self.pixel).max(0.008),
                most: 30,
            };
            let tree = self.tree(add(at, [0.25, 0.1, -0.1]), [-1.0, 0.0, 0.2], &plan);
            self.add(TargetKind::Tube, Some(id), tree, blood);
        }
        let own = self
            .solids
            .iter()
            .find(|s| s.id == id)
            .map_or(0.5, |s| s.paint.mean);
        for _ in 0..self.scene.rng.pick(&[0.5, 0.25, 0.15, 0.1]) {
            let place = self.near(at, 0.22);
            let size = self.scene.rng.log_uniform(0.03, 0.2);
            self.lesion(place, size, id, own);
        }
        if self.scene.rng.chance(0.7) {
            let place = self.near(add(at, [0.3, -0.25 * depth, -0.3]), 0.04);
            let radii = self.varied([0.09, 0.1, 0.14], 0.2);
            let form = ellipsoid(place, radii, tilt);
            let bile = self.scene.textured(trunk.tissues.fluid);
            self.add(TargetKind::Organ, Some(trunk.cavity), form, bile);
        }
    }

    /// A pair with cortex, inner zone and fat in the middle; one may be missing or smaller.
    fn kidneys(&mut self, trunk: &Trunk) {
        let cortex = self.scene.organ_mean(&trunk.tissues);
        let inner = self.scene.contrasting(cortex);
        let fat = self.scene.textured(trunk.tissues.fat);
        let cortex = self.scene.textured(cortex);
        let two_zones = self.scene.rng.chance(0.5);
        let inner = self.scene.textured(0.5 * (cortex.mean + inner));
        let place = [0.42, 0.38 * trunk.depth, trunk.diaphragm - 0.75];
        let radii = self.varied([0.34, 0.15, 0.17], 0.1);
        for side in [1.0, -1.0] {
            if self.scene.rng.chance(0.07) {
                continue;
            }
            let at = self.near(place, 0.04);
            let at = [at[0], at[1], at[2] + side * 0.06];
            let radii = self.varied(radii, 0.06);
            // The long axis runs down and out, the hollow faces the midline.
            let long = unit([0.25 + 0.1 * self.scene.rng.normal(), 0.2, -1.0]);
            let aside = unit([-1.0, -0.3, -0.25]);
            let along: f32 = (0..3).map(|k| long[k] * aside[k]).sum();
            let aside = unit(add(aside, scaled(long, -along)));
            let third = [
                long[1] * aside[2] - long[2] * aside[1],
                long[2] * aside[0] - long[0] * aside[2],
                long[0] * aside[1] - long[1] * aside[0],
            ];
            let rotation = [long, aside, third];
            let form = self.bean(at, radii, rotation, 0.25);
            let form = if side > 0.0 { form } else { mirrored(&form) };
            let id = self.add(TargetKind::Organ, Some(trunk.cavity), form, cortex);
            self.last().target = TargetRule::Whole;
            self.last().clearance = 0.03;
            let bumps = self.bumps(0.12, 0.08);
            self.roughen(bumps);
            if two_zones {
                self.add(
                    TargetKind::Lumen,
                    Some(id),
                    Form::Inset { depth: 0.045 },
                    inner,
                );
                let bumps = self.bumps(0.07, 0.2);
                self.roughen(bumps);
            }
            let hollow = add(at, scaled(aside, 0.05));
            let form = ellipsoid(hollow, [0.16, 0.06, 0.06], rotation);
            let form = if side > 0.0 { form } else { mirrored(&form) };
            self.add_quiet(Some(id), form, fat);
            if self.scene.rng.chance(0.2) {
                let size = self.scene.rng.log_uniform(0.04, 0.13);
                let place = self.near(at, 0.1);
                let form = ellipsoid([side * place[0], place[1], place[2]], [size; 3], UPRIGHT);
                let fluid = self.scene.textured(trunk.tissues.fluid);
                self.add(TargetKind::Lesion, Some(trunk.cavity), form, fluid);
            }
        }
    }

    fn stomach(&mut self, trunk: &Trunk) {
        let at = self.near([0.35, -0.3 * trunk.depth, trunk.diaphragm - 0.4], 0.07);
        let tilt = self.tilt(0.5);
        let radii = self.varied([0.4, 0.2, 0.24], 0.2);
        let bend = self.scene.rng.uniform(0.2, 0.5);
        let form = self.bean(at, radii, tilt, bend);
        self.hollow_organ(form, &trunk.tissues, Some(trunk.cavity), 0.03);
    }

    /// A wall around air, fluid or mixed matter.
    pub(super) fn hollow_organ(
        &mut self,
        form: Form,
        tissues: &Tissues,
        parent: Option<u16>,
        wall: f32,
    ) -> u16 {
        let mean = self.scene.organ_mean(tissues);
        let paint = self.scene.textured(mean);
        let id = self.add(TargetKind::Wall, parent, form, paint);
        let whole = self.scene.rng.chance(0.75);
        self.last().target = if whole {
            TargetRule::Whole
        } else {
            TargetRule::Visible
        };
        let bumps = self.bumps(0.12, 0.1);
        self.roughen(bumps);
        let content = self.contents(tissues);
        let depth = wall.max(0.5 * self.pixel);
        self.add(TargetKind::Lumen, Some(id), Form::Inset { depth }, content);
        let bumps = self.bumps(0.1, 0.12);
        self.roughen(bumps);
        id
    }

    fn contents(&mut self, tissues: &Tissues) -> Paint {
        match self.scene.rng.pick(&[0.3, 0.4, 0.3]) {
            0 => plain(tissues.air),
            1 => self.scene.textured(tissues.fluid),
            _ => {
                let mut matter = self.scene.contrasting_paint(tissues.fluid);
                matter.amplitude *= 2.0;
                matter
            }
        }
    }

    /// Loops of bowel: winding tubes with a wall, each with contents of its own.
    fn bowel(&mut self, trunk: &Trunk) {
        let top = trunk.diaphragm - 0.45;
        let bottom = (trunk.low - 0.1).max(trunk.diaphragm - 2.2);
        if top <= bottom {
            return;
        }
        let length = top - bottom;
        let loops = ((length * 4.5).ceil() as u32 + 1).min(10);
        for _ in 0..loops {
            let radius = self.scene.rng.log_uniform(0.06, 0.14);
            let z = self.scene.rng.uniform(bottom, top);
            let x = self.scene.rng.uniform(-0.55, 0.55);
            let y = -self.scene.rng.uniform(-0.05, 0.55) * trunk.depth;
            let line = self.winding([x, y, z], radius, trunk);
            let form = Form::Tubes {
                branches: vec![line],
            };
            let wall = (0.22 * radius).max(0.6 * self.pixel);
            self.hollow_organ(form, &trunk.tissues, Some(trunk.cavity), wall);
        }
    }

    /// A line that winds to and fro and stays in the front of the belly.
    fn winding(&mut self, from: Vec3, radius: f32, trunk: &Trunk) -> Vec<[f32; 4]> {
        let count = self.scene.rng.int(9, 20);
        let step = 2.2 * radius;
        let (mut point, mut heading) = (from, self.direction());
        let mut line = Vec::new();
        for _ in 0..count {
            let own = radius * libm::expf(0.12 * self.scene.rng.normal());
            line.push([point[0], point[1], point[2], own]);
            let off = self.direction();
            // Back towards the middle, the more the farther out.
            let home = [
                -0.6 * point[0],
                -0.6 * (point[1] + 0.25 * trunk.depth),
                0.3 * (from[2] - point[2]),
            ];
            heading = unit(add(add(heading, scaled(off, 0.75)), home));
            point = add(point, scaled(heading, step));
            point[2] = point[2].min(trunk.diaphragm - 0.45);
        }
        line
    }

    /// A heart: muscle around two to four chambers, with the great vessels' roots.
    pub(super) fn heart(&mut self, at: Vec3, size: f32, parent: Option<u16>, tissues: &Tissues) {
        let muscle = self.scene.textured(tissues.muscle);
        let blood = self.scene.textured(tissues.blood);
        let axis = unit([0.6, -0.45, -0.6]);
        let tilt = self.tilt(0.2);
        let point = |along: f32, aside: f32, up: f32| {
            let shift = [
                axis[0] * along + 0.6 * aside,
                axis[1] * along + 0.5 * aside,
                axis[2] * along + up,
            ];
            add(at, scaled(shift, size))
        };
        let ventricle = lobe(
            point(0.25, 0.25, 0.0),
            [0.55 * size, 0.5 * size, 0.55 * size],
            tilt,
        );
        let other = lobe(
            point(0.2, -0.45, 0.0),
            [0.5 * size, 0.4 * size, 0.5 * size],
            tilt,
        );
        let atria = lobe(
            point(-0.5, 0.1, 0.2),
            [0.65 * size, 0.45 * size, 0.4 * size],
            tilt,
        );
        let form = Form::Lobes {
            lobes: vec![ventricle, other, atria],
            blend: 0.25 * size,
        };
        let id = self.add(TargetKind::Organ, parent, form, muscle);
        self.last().target = TargetRule::Whole;
        self.last().clearance = 0.03;
        let chambers = [
            (point(0.25, 0.25, 0.0), [0.33, 0.29, 0.34]),
            (point(0.2, -0.5, 0.0), [0.42, 0.28, 0.4]),
            (point(-0.55, 0.45, 0.2), [0.34, 0.3, 0.28]),
            (point(-0.5, -0.4, 0.2), [0.34, 0.32, 0.3]),
        ];
        for (centre, radii) in chambers {
            let own = self.varied(radii.map(|r| r * size), 0.1);
            let rotation = self.tilt(0.4);
            let form = self.blob_along(centre, own, rotation);
            self.add(TargetKind::Lumen, Some(id), form, blood);
            let bumps = self.bumps(0.4 * size, 0.08);
            self.roughen(bumps);
        }
        let root = point(-0.1, 0.0, 0.1);
        let arch = vec![
            [root[0], root[1], root[2], 0.26 * size],
            [
                root[0] - 0.1 * size,
                root[1],
                root[2] + 0.9 * size,
                0.25 * size,
            ],
            [
                root[0] + 0.1 * size,
                root[1] + 0.6 * size,
                root[2] + 1.6 * size,
                0.25 * size,
            ],
            [
                root[0] + 0.2 * size,
                root[1] + 1.2 * size,
                root[2] + 1.1 * size,
                0.22 * size,
            ],
        ];
        self.add(
            TargetKind::Tube,
            parent,
            Form::Tubes {
                branches: vec![arch],
            },
            blood,
        );
    }

    /// Something abnormal: solid, or with a core of another paint, or with a rim.
    pub(super) fn lesion(&mut self, at: Vec3, size: f32, parent: u16, surroundings: f32) -> u16 {
        let mean = self.scene.contrasting(surroundings);
        let paint = self.scene.textured(mean);
        let radii = self.varied([size; 3], 0.25);
        let form = self.blob(at, radii);
        let id = self.add(TargetKind::Lesion, Some(parent), form, paint);
        let bumps = self.bumps(size, 0.25);
        self.roughen(bumps);
        if self.scene.rng.chance(0.35) {
            self.last().target = TargetRule::Whole;
            let core = self.scene.contrasting_paint(mean);
            let depth = size * self.scene.rng.uniform(0.2, 0.6);
            self.add(TargetKind::Lumen, Some(id), Form::Inset { depth }, core);
            let bumps = self.bumps(size, 0.2);
            self.roughen(bumps);
        }
        id
    }
}
