//! Draws the recipes of volumes: every random choice is made here.
//!
//! Looks, tissues, paints and the acquisition are those of single images; scenes are built in the body's own frame from
//! forms in three dimensions, and then posed in the volume.

mod close_up;
mod head;
mod layered;
mod limb;
mod pose;
mod regions;
mod scanner;
mod shapes;
mod skeleton;
mod torso;
mod viscera;

use super::{Scene, plain};
use crate::config::{GeneratorConfig, VolumeConfig};
use crate::params::{
    DeformationParams, Effect, Modality, Paint, SceneKind, TargetKind, TargetRule,
};
use crate::rng::{Branch, Draw};
use crate::volume::{
    Bumps, FIRST_STRUCTURE, Form, RegionsParams, SolidParams, VolumeParams, VolumeScene,
    VolumeTargetParams,
};
use pose::Pose;

impl VolumeParams {
    /// Draws the recipe of volume `index` of the data set `seed`. The configuration must be valid
    /// ([`GeneratorConfig::validate`]); without a section for volumes its defaults hold.
    pub fn draw(config: &GeneratorConfig, seed: u64, index: u64) -> Self {
        let own = config.volume.clone().unwrap_or_default();
        let mut plan = Plan::new(config, &own, seed, index);
        plan.scene.draw_textures();
        match plan.kind {
            VolumeScene::LabelMap => plan.draw_regions(),
            VolumeScene::Torso => plan.draw_torso(),
            VolumeScene::Head => plan.draw_head(),
            VolumeScene::Limb => plan.draw_limb(),
            VolumeScene::CloseUp => plan.draw_close_up(),
            VolumeScene::Vessels => plan.draw_vessel_trees(),
            VolumeScene::Layered => plan.draw_layers(),
        }
        plan.limit_targets();
        plan.finish(seed, index)
    }
}

/// A volume's recipe while it is drawn.
struct Plan<'a> {
    scene: Scene<'a>,
    config: &'a VolumeConfig,
    kind: VolumeScene,
    spacing_mm: [f32; 3],
    /// Lengths of the volume along x, y and z, in units.
    extent: [f32; 3],
    /// Size of a pixel in units.
    pixel: f32,
    ground: Paint,
    regions: Option<RegionsParams>,
    target_regions: Vec<u16>,
    solids: Vec<SolidParams>,
}

impl<'a> Plan<'a> {
    fn new(config: &'a GeneratorConfig, own: &'a VolumeConfig, seed: u64, index: u64) -> Self {
        let mut scene = Scene::new(config, seed, index);
        scene.rng = Draw::branch(seed, index, Branch::Volume);
        let kind = draw_kind(&mut scene.rng, own);
        let spacing_mm = draw_spacing(&mut scene.rng, own, kind);
        let [z, y, x] = spacing_mm;
        let size = own.size;
        let lengths = [
            x * size.width as f32,
            y * size.height as f32,
            z * size.depth as f32,
        ];
        let unit = lengths[0].min(lengths[1]);
        let extent = lengths.map(|length| length / unit);
        scene.extent = [extent[0], extent[1]];
        let mut plan = Self {
            scene,
            config: own,
            kind,
            spacing_mm,
            extent,
            pixel: x / unit,
            ground: plain(0.0),
            regions: None,
            target_regions: Vec::new(),
            solids: Vec::new(),
        };
        plan.draw_look();
        plan
    }

    fn draw_look(&mut self) {
        // Free, CT, MR, ultrasound.
        let weights = match self.kind {
            VolumeScene::LabelMap => [1.0, 1.0, 1.5, 0.8],
            VolumeScene::Torso => [0.3, 3.0, 2.0, 0.0],
            VolumeScene::Head => [0.2, 1.0, 3.0, 0.0],
            VolumeScene::Limb => [0.2, 1.0, 2.0, 0.0],
            VolumeScene::CloseUp => [0.8, 1.5, 2.0, 1.0],
            VolumeScene::Vessels => [0.5, 1.5, 1.5, 0.3],
            VolumeScene::Layered => [0.2, 0.0, 0.3, 4.0],
        };
        let looks = [
            Modality::Free,
            Modality::Ct,
            Modality::Mr,
            Modality::Ultrasound,
        ];
        let wanted = self.scene.config.looks.weights();
        let both: [f32; 4] = std::array::from_fn(|look| weights[look] * wanted[look]);
        let some = |weights: &[f32]| weights.iter().any(|weight| *weight > 0.0);
        let fitting = if some(&both) {
            both
        } else if some(&wanted[..4]) {
            [wanted[0], wanted[1], wanted[2], wanted[3]]
        } else {
            weights
        };
        let free = self.scene.config.mixture.free_appearance;
        self.scene.look = if self.scene.rng.chance(free) {
            Modality::Free
        } else {
            looks[self.scene.rng.pick(&fitting)]
        };
        let beams = self.scene.config.acquisition.ultrasound.beams;
        let ultrasound = self.scene.look == Modality::Ultrasound;
        self.scene.beams = ultrasound && self.scene.rng.chance(beams);
    }

    /// Adds a structure and returns its identifier.
    fn add(&mut self, kind: TargetKind, parent: Option<u16>, form: Form, paint: Paint) -> u16 {
        let id = FIRST_STRUCTURE + self.solids.len() as u16;
        let softness = self.scene.rng.within(self.scene.config.appearance.softness);
        let softness = if self.scene.rng.chance(0.5) {
            softness
        } else {
            0.0
        };
        self.solids.push(SolidParams {
            id,
            kind,
            parent,
            form,
            bumps: None,
            clearance: 0.0,
            paint,
            softness,
            target: TargetRule::Visible,
        });
        id
    }

    /// Adds a structure that is painted like its parent and only clips others, or that nobody points at.
    fn add_quiet(&mut self, parent: Option<u16>, form: Form, paint: Paint) -> u16 {
        let id = self.add(TargetKind::Organ, parent, form, paint);
        self.last().target = TargetRule::No;
        id
    }

    /// The structure that was added last.
    fn last(&mut self) -> &mut SolidParams {
        self.solids.last_mut().expect("called after an addition")
    }

    /// Gives the structure that was added last an uneven surface.
    fn roughen(&mut self, bumps: Bumps) {
        self.last().bumps = Some(bumps);
    }

    /// Puts all structures from the body's frame into the volume.
    fn place(&mut self, pose: &Pose) {
        for solid in &mut self.solids {
            pose.apply(solid);
        }
    }

    /// A pose for something that is `extent` units long along the body's z axis, sliced across, or along a side axis if
    /// it may be; mirrored and turned a little.
    fn pose(&mut self, scale: f32, sideways: f32) -> Pose {
        let order = if self.scene.rng.chance(sideways) {
            // Sagittal or coronal slices: the body runs along rows or columns.
            [[2, 0, 1], [1, 2, 0], [2, 1, 0], [0, 2, 1]][self.scene.rng.int(0, 3) as usize]
        } else {
            [0, 1, 2]
        };
        let rng = &mut self.scene.rng;
        let turn = 0.12 * rng.normal() + if rng.chance(0.1) { rng.angle() } else { 0.0 };
        let mirror = [rng.chance(0.5), rng.chance(0.5), rng.chance(0.5)];
        let to = self.extent.map(|length| 0.5 * length + 0.02 * rng.normal());
        Pose {
            scale,
            turn,
            mirror,
            order,
            to,
        }
    }

    /// Half length of the volume along the body's z axis in the body's frame, with a margin for the warp.
    fn half_length(&self, pose: &Pose) -> f32 {
        0.5 * self.extent[pose.order[2]] / pose.scale + 0.15
    }

    /// Keeps a random choice of the targets: half as many again as may be found, since hidden ones drop out.
    fn limit_targets(&mut self) {
        let is_target = |s: &SolidParams| s.target != TargetRule::No;
        let mut targets: Vec<usize> = (0..self.solids.len())
            .filter(|&k| is_target(&self.solids[k]))
            .collect();
        self.scene.rng.shuffle(&mut targets);
        let most = self.scene.config.targets.max_count as usize * 2;
        for &index in targets.iter().skip(most) {
            self.solids[index].target = TargetRule::No;
        }
    }

    fn draw_warp(&mut self) -> Option<DeformationParams> {
        // Bodies are bent less, so that they stay bodies.
        let anatomy = match self.kind {
            VolumeScene::Torso | VolumeScene::Head | VolumeScene::Limb => 0.6,
            _ => 1.0,
        };
        let warp = DeformationParams {
            seed: self.scene.rng.seed(),
            scale: self.scene.rng.within(self.config.warp_scale),
            std: self.scene.rng.within(self.config.warp_std) * anatomy,
        };
        self.scene.rng.chance(self.config.warp).then_some(warp)
    }

    fn finish(mut self, seed: u64, index: u64) -> VolumeParams {
        let warp = self.draw_warp();
        let jitter = self.draw_jitter();
        let profile = self.draw_profile();
        let acquisition: Vec<Effect> = self.draw_scanner();
        let targets = &self.scene.config.targets;
        VolumeParams {
            seed,
            index,
            size: self.config.size,
            spacing_mm: self.spacing_mm,
            scene: self.kind,
            look: self.scene.look,
            ground: self.ground,
            regions: self.regions,
            structures: self.solids,
            warp,
            bumps_seed: self.scene.rng.seed(),
            textures: self.scene.textures,
            profile,
            jitter,
            acquisition,
            view: self.scene.view,
            targets: VolumeTargetParams {
                max_count: targets.max_count,
                min_share: self.config.min_target,
                max_share: self.config.max_target,
                min_visibility: targets.min_visibility,
                regions: self.target_regions,
            },
        }
    }
}

fn draw_kind(rng: &mut Draw, own: &VolumeConfig) -> VolumeScene {
    if rng.chance(own.boundary_aware) {
        return VolumeScene::LabelMap;
    }
    [
        VolumeScene::Torso,
        VolumeScene::Head,
        VolumeScene::Limb,
        VolumeScene::CloseUp,
        VolumeScene::Vessels,
        VolumeScene::Layered,
    ][rng.pick(&own.weights())]
}

/// Spacing along z, y and x in mm: pixels are square, slices farther apart, as far as the scene fills them.
fn draw_spacing(rng: &mut Draw, own: &VolumeConfig, kind: VolumeScene) -> [f32; 3] {
    let pixel = rng.log_within(own.spacing_mm);
    let [low, high] = own.anisotropy;
    let isotropic = rng.chance(own.isotropic) && low <= 1.0;
    let ratio = rng.log_uniform(low, high);
    // Longest volume along z in units of the shorter side of a slice.
    let longest = match kind {
        VolumeScene::Head | VolumeScene::Layered => 1.3,
        VolumeScene::Limb => 2.5,
        _ => 1.5,
    };
    let side = own.size.height.min(own.size.width) as f32;
    let most = (longest * side / own.size.depth as f32).max(low);
    let ratio = if isotropic { 1.0 } else { ratio.min(most) };
    [pixel * ratio, pixel, pixel]
}

/// The kind of single image whose scanner fits a scene.
const fn kind_of_image(kind: VolumeScene) -> SceneKind {
    match kind {
        VolumeScene::LabelMap => SceneKind::LabelMap,
        VolumeScene::Torso => SceneKind::Body,
        VolumeScene::Head => SceneKind::Head,
        VolumeScene::Limb => SceneKind::Limb,
        VolumeScene::CloseUp | VolumeScene::Vessels => SceneKind::CloseUp,
        VolumeScene::Layered => SceneKind::Sonogram,
    }
}
