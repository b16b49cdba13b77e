//! Random targets from the picture.

use super::Scene;
use crate::params::{SegmentParams, SegmentPick};

/// Candidates that are drawn for each target: segments that cannot be seen or are drawn twice drop out.
const TRIES: u32 = 3;

impl Scene<'_> {
    pub(super) fn draw_segments(&mut self) {
        let config = &self.config.targets.segments;
        if !self.rng.chance(config.probability) {
            return;
        }
        let [low, high] = config.count;
        let count = self.rng.int(low, high).min(self.config.targets.max_count);
        let pick = |_| SegmentPick {
            octave: self.rng.unit(),
            position: self.rng.unit(),
            merged: if self.rng.chance(config.merge) {
                self.rng.int(1, 2) as u8
            } else {
                0
            },
        };
        let picks = (0..TRIES * count).map(pick).collect();
        self.segments = Some(SegmentParams {
            scale: self.rng.log_within(config.scale),
            sigma_px: self.rng.within(config.sigma_px),
            min_area: self.rng.log_within(config.min_area),
            count,
            picks,
        });
    }
}
