//! Random label maps (boundary-aware module).
//!
//! Numbers of labels, scales and warps as in `SynthMorph`'s demo and around it; the erosion that the
//! paper names is drawn per image: for all regions, for those that become targets, or for none.

use super::{New, Scene};
use crate::params::{ErosionParams, LabelMapParams, Paint, TargetKind, TargetRule};

impl Scene<'_> {
    /// The boundary-aware scene: regions that fill the image or a body.
    pub(super) fn draw_label_map(&mut self) {
        let ground = self.tissue_mean();
        self.ground = if self.rng.chance(0.5) {
            super::plain(0.0)
        } else {
            self.textured(ground)
        };
        let mut map = self.regions();
        let mut indices: Vec<u16> = (0..map.paints.len() as u16).collect();
        self.rng.shuffle(&mut indices);
        indices.truncate(self.rng.int(1, indices.len() as u32) as usize);
        self.target_regions = indices;
        map.erosion = self.erosion();
        if self.rng.chance(self.config.mixture.label_map_ground * 0.6) {
            map.inside = Some(self.holder());
        }
        self.label_map = Some(map);
    }

    /// A body or an organ that the regions fill.
    fn holder(&mut self) -> u16 {
        let [width, height] = self.extent;
        let centre = [
            width * self.rng.uniform(0.4, 0.6),
            height * self.rng.uniform(0.4, 0.6),
        ];
        let axes = [
            width * self.rng.uniform(0.25, 0.5),
            height * self.rng.uniform(0.25, 0.5),
        ];
        let outline = if self.rng.chance(0.6) {
            self.rounded_at(centre, axes, 0.0, 0.15)
        } else {
            let area = self.rng.uniform(0.2, 0.6) * self.area();
            self.blob(centre, area)
        };
        let mean = self.tissue_mean();
        let paint = self.textured(mean);
        self.ground = super::plain(self.rng.uniform(0.0, 0.06));
        let id = self.add(New::of(TargetKind::Body, outline, paint).target(TargetRule::Whole));
        if self.rng.chance(self.config.appearance.rim) {
            let rim = self.rim(mean, [0.004, 0.03]);
            self.last().rim = Some(rim);
        }
        id
    }

    /// A label map without erosion that fills the image.
    pub(super) fn regions(&mut self) -> LabelMapParams {
        let config = &self.config.label_map;
        let count = if self.rng.chance(config.demo_labels) {
            16
        } else {
            let [low, high] = config.labels;
            self.rng.int(low, high)
        };
        let scale = self.rng.log_within(config.noise_scale);
        let stretch = self.rng.log_within(config.stretch).sqrt();
        LabelMapParams {
            seed: self.rng.seed(),
            noise_scale: [scale / stretch, scale * stretch],
            noise_std: [self.rng.uniform(0.1, 1.0), self.rng.uniform(0.1, 1.0)],
            warp_scale: self.rng.within(config.warp_scale),
            warp_std: [(); 3].map(|()| self.rng.within(config.warp_std)),
            paints: self.region_paints(count as usize),
            erosion: None,
            inside: None,
            clusters: None,
        }
    }

    fn region_paints(&mut self, count: usize) -> Vec<Paint> {
        let config = &self.config.label_map;
        let centre = self.tissue_mean();
        let band = self
            .rng
            .chance(config.near_equal)
            .then(|| self.rng.within(config.near_equal_band));
        // Regions of one image usually share a texture: their borders are then hard to see.
        let shared = self.textured(centre);
        let same_texture = self.rng.chance(0.5);
        (0..count)
            .map(|_| {
                let mean = match band {
                    Some(band) => (centre + self.rng.uniform(-band, band)).clamp(0.0, 1.0),
                    None => self.tissue_mean(),
                };
                let own = self.textured(mean);
                if same_texture {
                    Paint { mean, ..shared }
                } else {
                    own
                }
            })
            .collect()
    }

    fn erosion(&mut self) -> Option<ErosionParams> {
        let config = &self.config.label_map;
        let choice = self.rng.unit();
        let all = choice < config.erode_all;
        if !all && choice >= config.erode_all + config.erode_picked {
            return None;
        }
        Some(ErosionParams {
            radius: self.rng.within(config.erosion_radius),
            variation: if self.rng.chance(0.5) {
                self.rng.unit()
            } else {
                0.0
            },
            seed: self.rng.seed(),
            regions: (!all).then(|| self.target_regions.clone()),
        })
    }
}
