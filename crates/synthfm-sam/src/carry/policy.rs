//! How a structure is carried from slice to slice: the constants, with names, so that they can be measured again for
//! other weights (`synthfm evaluate --protocol volume --carry`).

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::constants::{Constant, names, read_changed, real, whole, write_changed};
use crate::error::{Error, Result};

/// How a structure is followed, and when it is taken to have ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CarryPolicy {
    /// Masks of fewer pixels are not carried on.
    pub least_area_px: usize,
    /// The structure has ended where the logarithm of how much more often its grey values are found in it than around it, on
    /// the slice where it was marked, is below this in the mean over the mask.
    pub least_likeness: f64,
    /// Steps in which the displacement between two slices is found.
    pub steps: usize,
    /// Standard deviation of the blur of the displacement after each step, in pixels.
    pub smoothing: f64,
    /// Windows with a longer side than this are compared in blocks of pixels, so that their displacement is smoother and does
    /// not take longer.
    pub longest_side: usize,
}

impl Default for CarryPolicy {
    fn default() -> Self {
        Self {
            least_area_px: 3,
            least_likeness: -0.2,
            steps: 30,
            smoothing: 0.7,
            longest_side: 128,
        }
    }
}

/// Every constant of the policy.
const CONSTANTS: [Constant<CarryPolicy>; 5] = [
    whole!(least_area_px),
    real!(least_likeness),
    whole!(steps),
    real!(smoothing),
    whole!(longest_side),
];

impl fmt::Display for CarryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("auto")?;
        write_changed(f, self, &CONSTANTS)
    }
}

impl FromStr for CarryPolicy {
    type Err = Error;

    /// `auto` with any constants as `,name=value`.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = |part: String| Error::UnknownCarry {
            part,
            names: names(&CONSTANTS),
        };
        let mut parts = text.split(',');
        match parts.next() {
            Some("auto") => read_changed(parts, &CONSTANTS).map_err(unknown),
            other => Err(unknown(other.unwrap_or_default().to_owned())),
        }
    }
}

/// Why a structure is not carried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarryEnd {
    /// Next to nothing of the mask is left.
    Vanished,
    /// What the mask covers has other grey values than the structure.
    Unlike,
}

impl fmt::Display for CarryEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vanished => "the structure ends here",
            Self::Unlike => "what the mask covers looks different: the structure seems to end",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_read_and_write_themselves() {
        for text in ["auto", "auto,least_area_px=5,steps=12"] {
            assert_eq!(text.parse::<CarryPolicy>().unwrap().to_string(), text);
        }
        for text in ["", "carry", "auto,", "auto,steps", "auto,smoothing=x"] {
            let error = text.parse::<CarryPolicy>().unwrap_err().to_string();
            assert!(error.contains("least_likeness"), "{text}: {error}");
        }
        for (name, get, set) in CONSTANTS {
            let mut changed = CarryPolicy::default();
            set(&mut changed, 77.0);
            assert!((get(&changed) - 77.0).abs() < f64::EPSILON, "{name}");
        }
    }
}
