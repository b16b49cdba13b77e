//! Draws recipes: every random choice of the generator is made here.
//!
//! A sample is a kind of scene (what lies where) and a look (how a modality would show it), drawn
//! independently of each other only sometimes, because scanners and anatomy go together. The paper
//! gives ingredients without numbers; ranges come from [`GeneratorConfig`].

mod abdomen;
mod acquisition;
mod body;
mod boundary;
mod cells;
mod close_up;
mod clusters;
mod contour;
mod embryos;
mod fibres;
mod head;
mod heart;
mod layered;
mod limb;
mod look;
mod noise;
mod organs;
mod paint;
mod paired;
mod pathology;
mod plain;
mod pose;
mod regions;
mod segments;
mod sonography;
mod template;
mod thorax;
mod tissues;
mod vessels;
mod view;
mod volume;

use acquisition::Cast;

use crate::config::GeneratorConfig;
use crate::params::{
    Blend, DeformationParams, EdgeParams, Effect, LabelMapParams, Mark, Modality, Outline, Paint,
    SampleParams, SceneKind, SegmentParams, StructureParams, TargetKind, TargetParams, TargetRule,
    TextureParams, Vec2, ViewParams,
};
use crate::rng::{Branch, Draw};

impl SampleParams {
    /// Draws the recipe of sample `index` of the data set `seed`. The configuration must be valid
    /// ([`GeneratorConfig::validate`]).
    pub fn draw(config: &GeneratorConfig, seed: u64, index: u64) -> Self {
        let mut scene = Scene::new(config, seed, index);
        let kind = scene.draw_kind();
        scene.draw_look(kind);
        scene.draw_textures();
        match kind {
            SceneKind::LabelMap => scene.draw_label_map(),
            SceneKind::CloseUp => scene.draw_close_up(),
            SceneKind::Body => scene.draw_body(),
            SceneKind::Sonogram => scene.draw_layered(),
            SceneKind::Cells => scene.draw_cells(),
            SceneKind::ChestRadiograph => scene.draw_pair(),
            SceneKind::Vessels => scene.draw_vessels(),
            SceneKind::Heart => scene.draw_heart(),
            SceneKind::Head => scene.draw_head(),
            SceneKind::Limb => scene.draw_limb(),
        }
        scene.draw_boundaries();
        scene.draw_deformation();
        scene.draw_acquisition(kind);
        scene.draw_view(kind);
        scene.draw_overlay();
        scene.limit_targets();
        // Streams of their own: what they draw leaves the rest of the recipe as it is.
        scene.rng = Draw::branch(seed, index, Branch::Plain);
        scene.draw_plain();
        scene.rng = Draw::branch(seed, index, Branch::Clusters);
        scene.draw_clusters();
        scene.rng = Draw::branch(seed, index, Branch::Segments);
        scene.draw_segments();
        scene.finish(kind, seed, index)
    }
}

/// A recipe while it is drawn.
struct Scene<'a> {
    config: &'a GeneratorConfig,
    rng: Draw,
    look: Modality,
    /// Whether the image is formed along ultrasound beams.
    beams: bool,
    /// Width and height in units of the shorter side.
    extent: Vec2,
    ground: Paint,
    label_map: Option<LabelMapParams>,
    target_regions: Vec<u16>,
    structures: Vec<StructureParams>,
    deformation: Option<DeformationParams>,
    textures: Vec<TextureParams>,
    casts: Vec<Cast>,
    effects: Vec<Effect>,
    view: ViewParams,
    overlay: Vec<Mark>,
    segments: Option<SegmentParams>,
}

/// Identifiers of structures start here, above those of regions.
const FIRST_STRUCTURE: u16 = 256;

impl<'a> Scene<'a> {
    fn new(config: &'a GeneratorConfig, seed: u64, index: u64) -> Self {
        let (height, width) = (config.size.height as f32, config.size.width as f32);
        let unit = height.min(width);
        Self {
            config,
            rng: Draw::new(seed, index),
            look: Modality::Free,
            beams: false,
            extent: [width / unit, height / unit],
            ground: plain(0.0),
            label_map: None,
            target_regions: Vec::new(),
            structures: Vec::new(),
            deformation: None,
            textures: Vec::new(),
            casts: Vec::new(),
            effects: Vec::new(),
            view: ViewParams::default(),
            overlay: Vec::new(),
            segments: None,
        }
    }

    fn draw_kind(&mut self) -> SceneKind {
        let mixture = &self.config.mixture;
        if self.rng.chance(mixture.boundary_aware) {
            return SceneKind::LabelMap;
        }
        [
            SceneKind::CloseUp,
            SceneKind::Body,
            SceneKind::Sonogram,
            SceneKind::Cells,
            SceneKind::ChestRadiograph,
            SceneKind::Vessels,
            SceneKind::Heart,
            SceneKind::Head,
            SceneKind::Limb,
        ][self.rng.pick(&mixture.weights())]
    }

    /// Area of the image in squared units.
    fn area(&self) -> f32 {
        self.extent[0] * self.extent[1]
    }

    /// A point of the image, at least `margin` (negative: at most) from its border.
    fn point(&mut self, margin: f32) -> Vec2 {
        self.extent.map(|length| {
            let low = margin.min(length / 2.0);
            self.rng.uniform(low, length - low)
        })
    }

    /// Adds a structure and returns its identifier.
    fn add(&mut self, structure: New) -> u16 {
        let id = FIRST_STRUCTURE + self.structures.len() as u16;
        let New {
            kind,
            parent,
            outline,
            paint,
            blend,
            target,
        } = structure;
        let softness = self.rng.within(self.config.appearance.softness);
        let softness = if self.rng.chance(0.5) { softness } else { 0.0 };
        self.structures.push(StructureParams {
            id,
            kind,
            parent,
            outline,
            inset: 0.0,
            paint,
            clusters: None,
            edge: EdgeParams {
                softness,
                far_softness: softness,
                ..EdgeParams::default()
            },
            blend,
            rim: None,
            target,
        });
        id
    }

    /// The structure that was added last.
    fn last(&mut self) -> &mut StructureParams {
        self.structures
            .last_mut()
            .expect("called after an addition")
    }

    /// Gives the structure that was added last this blur all around.
    fn soften(&mut self, softness: f32) {
        let edge = &mut self.last().edge;
        (edge.softness, edge.far_softness) = (softness, softness);
    }

    /// The rule for a structure that holds others.
    fn holder_rule(&mut self) -> TargetRule {
        if self.rng.chance(self.config.targets.whole) {
            TargetRule::Whole
        } else {
            TargetRule::Visible
        }
    }

    /// Makes the clumps of a kind the target instead of its single structures.
    fn target_clumps(&mut self, kind: TargetKind) {
        let mut rule = TargetRule::Clump;
        let own = self.structures.iter_mut();
        for structure in own.filter(|s| s.kind == kind && s.parent.is_none()) {
            structure.target = std::mem::replace(&mut rule, TargetRule::No);
        }
    }

    /// Keeps a random choice of the structures that are targets, so that few masks are made.
    fn limit_targets(&mut self) {
        let is_target = |s: &StructureParams| s.target != TargetRule::No;
        let mut targets: Vec<usize> = (0..self.structures.len())
            .filter(|&k| is_target(&self.structures[k]))
            .collect();
        self.rng.shuffle(&mut targets);
        // Hidden and tiny structures drop out later: keep half as many again.
        let most = self.config.targets.max_count as usize * 3 / 2;
        for &index in targets.iter().skip(most) {
            self.structures[index].target = TargetRule::No;
        }
    }

    fn finish(self, scene: SceneKind, seed: u64, index: u64) -> SampleParams {
        let targets = &self.config.targets;
        SampleParams {
            seed,
            index,
            size: self.config.size,
            scene,
            look: self.look,
            ground: self.ground,
            label_map: self.label_map,
            structures: self.structures,
            deformation: self.deformation,
            textures: self.textures,
            acquisition: self.effects,
            view: self.view,
            overlay: self.overlay,
            targets: TargetParams {
                max_count: targets.max_count,
                min_area: targets.min_area,
                max_area: targets.max_area,
                min_visibility: targets.min_visibility,
                regions: self.target_regions,
                segments: self.segments,
            },
        }
    }
}

/// A structure to be added.
struct New {
    kind: TargetKind,
    parent: Option<u16>,
    outline: Outline,
    paint: Paint,
    blend: Blend,
    target: TargetRule,
}

impl New {
    fn of(kind: TargetKind, outline: Outline, paint: Paint) -> Self {
        Self {
            kind,
            parent: None,
            outline,
            paint,
            blend: Blend::Replace,
            target: TargetRule::Visible,
        }
    }

    fn inside(self, parent: u16) -> Self {
        Self {
            parent: Some(parent),
            ..self
        }
    }

    fn target(self, target: TargetRule) -> Self {
        Self { target, ..self }
    }

    /// Adds to what is below instead of hiding it.
    fn overlay(self) -> Self {
        Self {
            blend: Blend::Add,
            target: TargetRule::No,
            ..self
        }
    }
}

/// A paint without texture.
fn plain(mean: f32) -> Paint {
    Paint {
        mean,
        amplitude: 0.0,
        texture: 0,
    }
}
