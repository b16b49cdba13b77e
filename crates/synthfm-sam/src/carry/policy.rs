//! How a structure is carried from slice to slice: the constants, with names, so that they can be measured again for
//! other weights (`synthfm evaluate --protocol volume --carry`).

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::constants::{Constant, expected, read_changed, real, whole, write_changed};
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

/// Every constant of the policy. The last three bound how long a slice takes: with all of them at their upper end, some
/// seconds.
const CONSTANTS: [Constant<CarryPolicy>; 5] = [
    whole!(least_area_px, 0.0..=1e6),
    real!(least_likeness, -100.0..=100.0),
    whole!(steps, 0.0..=200.0),
    real!(smoothing, 0.0..=4.0),
    whole!(longest_side, 8.0..=512.0),
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
        let unknown = |(part, expected)| Error::UnknownCarry { part, expected };
        let mut parts = text.split(',');
        match parts.next() {
            Some("auto") => read_changed(parts, &CONSTANTS).map_err(unknown),
            other => {
                let part = other.unwrap_or_default().to_owned();
                Err(unknown((part, expected(&CONSTANTS))))
            }
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
        for text in ["", "carry", "auto,", "auto,speed=3"] {
            let error = text.parse::<CarryPolicy>().unwrap_err().to_string();
            assert!(error.contains("least_likeness"), "{text}: {error}");
        }
    }

    #[test]
    fn every_constant_has_bounds_that_are_named() {
        for Constant { name, range, .. } in &CONSTANTS {
            for end in [*range.start(), *range.end()] {
                assert!(end.is_finite(), "{name}");
                let text = format!("auto,{name}={end}");
                let read: CarryPolicy = text.parse().unwrap();
                assert_eq!(read.to_string(), text);
            }
            for wrong in ["", "x", "NaN", "inf", "-1e9", "1e9", "1e999"] {
                let text = format!("auto,{name}={wrong}");
                let error = text.parse::<CarryPolicy>().unwrap_err().to_string();
                let expected = format!("from {} to {} expected", range.start(), range.end());
                assert!(error.contains(&expected), "{text}: {error}");
            }
        }
        for text in ["auto,smoothing=9999", "auto,steps=9999", "auto,steps=1.5"] {
            let error = text.parse::<CarryPolicy>().unwrap_err().to_string();
            assert!(error.contains(&text[5..]), "{text}: {error}");
        }
    }
}
