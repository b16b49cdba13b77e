//! Size of the samples.

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use crate::Result;
use crate::check::check;

/// Smallest height and width.
const MIN_SIDE: usize = 128;
/// Largest height and width.
const MAX_SIDE: usize = 2048;

/// Size of the samples in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SizeConfig {
    /// Rows, 128 to 2048. The paper: 1024.
    pub height: usize,
    /// Columns, 128 to 2048. The paper: 1024.
    pub width: usize,
}

impl Default for SizeConfig {
    fn default() -> Self {
        Self {
            height: 1024,
            width: 1024,
        }
    }
}

impl From<SizeConfig> for Size {
    fn from(size: SizeConfig) -> Self {
        Self::new(size.height, size.width)
    }
}

impl SizeConfig {
    pub(crate) fn validate(self) -> Result<()> {
        let side = |field, value: usize| {
            let ok = (MIN_SIDE..=MAX_SIDE).contains(&value);
            check(ok, field, "128 to 2048 pixels", value.to_string())
        };
        side("size.height", self.height)?;
        side("size.width", self.width)
    }
}
