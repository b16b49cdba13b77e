//! Learning rate as a pure function of the step: linear warm-up, then constant, cosine or polynomial.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Shape of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// The peak throughout (the paper names no schedule).
    Constant,
    /// Half a cosine from the peak to the floor.
    Cosine,
    /// (1 − progress)^0.9 from the peak to the floor, as in nnU-Net.
    Poly,
}

/// Learning rate over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Largest learning rate. The paper: 1e-4.
    pub peak: f64,
    /// Steps of linear warm-up from 0.
    pub warmup_steps: u64,
    /// Shape of the learning rate after the warm-up.
    pub decay: Decay,
    /// Learning rate at the end, as a part of the peak.
    pub floor: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            peak: 1e-4,
            warmup_steps: 0,
            decay: Decay::Constant,
            floor: 0.0,
        }
    }
}

impl ScheduleConfig {
    /// Learning rate of `step` (from 0) in a run of `steps`.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let span = steps.saturating_sub(self.warmup_steps).max(1);
        let progress = ((step - self.warmup_steps) as f64 / span as f64).min(1.0);
        let shape = match self.decay {
            Decay::Constant => return self.peak,
            Decay::Cosine => 0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress)),
            Decay::Poly => libm::pow(1.0 - progress, 0.9),
        };
        self.peak * (self.floor + (1.0 - self.floor) * shape)
    }

    /// Checks the ranges.
    pub fn validate(&self) -> Result<()> {
        if !(self.peak.is_finite() && self.peak > 0.0) {
            return Err(Error::Parameter(format!(
                "schedule.peak: {} is not a positive number",
                self.peak
            )));
        }
        if !(0.0..=1.0).contains(&self.floor) {
            return Err(Error::Parameter(format!(
                "schedule.floor: {} is outside 0 to 1",
                self.floor
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::float_cmp,
        reason = "these steps are computed without rounding"
    )]
    fn warms_up_then_decays_to_the_floor() {
        let s = ScheduleConfig {
            peak: 1.0,
            warmup_steps: 4,
            decay: Decay::Cosine,
            floor: 0.1,
        };
        assert_eq!([s.at(0, 104), s.at(3, 104), s.at(4, 104)], [0.25, 1.0, 1.0]);
        assert!(
            (s.at(54, 104) - 0.55).abs() < 1e-12,
            "half way: mean of peak and floor"
        );
        assert!((s.at(104, 104) - 0.1).abs() < 1e-12);
        assert!(
            (s.at(10_000, 104) - 0.1).abs() < 1e-12,
            "past the end: the floor"
        );
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the peak itself")]
    fn constant_is_the_papers() {
        let s = ScheduleConfig::default();
        assert_eq!([s.at(0, 10), s.at(9, 10)], [1e-4, 1e-4]);
    }
}
