//! Random label maps of volumes; the ranges are those of single images.

use super::{Plan, plain};
use crate::params::{ErosionParams, Paint};
use crate::volume::RegionsParams;

impl Plan<'_> {
    pub(super) fn draw_regions(&mut self) {
        let config = &self.scene.config.label_map;
        let count = if self.scene.rng.chance(config.demo_labels) {
            16
        } else {
            let [low, high] = config.labels;
            self.scene.rng.int(low, high)
        };
        let noise_scale = self.scene.rng.log_within(config.noise_scale).max(0.1);
        let paints: Vec<Paint> = self.region_paints(count);
        let mean = self.scene.tissue_mean();
        self.ground = if self.scene.rng.chance(0.4) {
            plain(self.scene.rng.uniform(0.0, 0.06))
        } else {
            self.scene.textured(mean)
        };
        let mut order: Vec<u16> = (0..count as u16).collect();
        self.scene.rng.shuffle(&mut order);
        let most = self.scene.config.targets.max_count as usize;
        order.truncate(most);
        let erosion = self.draw_erosion(&order);
        self.regions = Some(RegionsParams {
            seed: self.scene.rng.seed(),
            noise_scale,
            noise_std: [self.scene.rng.unit(), self.scene.rng.uniform(0.1, 1.0)],
            paints,
            erosion,
        });
        self.target_regions = order;
    }

    fn region_paints(&mut self, count: u32) -> Vec<Paint> {
        let config = &self.scene.config.label_map;
        let near = self.scene.rng.chance(config.near_equal);
        let band = self.scene.rng.within(config.near_equal_band);
        let middle = self.scene.tissue_mean();
        (0..count)
            .map(|_| {
                let mean = if near {
                    (middle + band * self.scene.rng.uniform(-1.0, 1.0)).clamp(0.0, 1.0)
                } else {
                    self.scene.tissue_mean()
                };
                self.scene.textured(mean)
            })
            .collect()
    }

    fn draw_erosion(&mut self, picked: &[u16]) -> Option<ErosionParams> {
        let config = &self.scene.config.label_map;
        let choice = self.scene.rng.unit();
        let erosion = ErosionParams {
            radius: self.scene.rng.within(config.erosion_radius),
            variation: self.scene.rng.unit(),
            seed: self.scene.rng.seed(),
            regions: (choice >= config.erode_all).then(|| picked.to_vec()),
        };
        (choice < config.erode_all + config.erode_picked).then_some(erosion)
    }
}
