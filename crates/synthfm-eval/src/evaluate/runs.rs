//! A mask in little memory, to be drawn once the worst and the median case are known.

use serde::{Deserialize, Serialize};
use synthfm_image::{Mask, Size};

/// Lengths of the runs of equal pixels in raster order, the first of background (possibly 0).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Runs {
    height: usize,
    width: usize,
    lengths: Vec<u32>,
}

impl Runs {
    pub(crate) fn encode(mask: &Mask) -> Self {
        let Size { height, width } = mask.size();
        Self {
            height,
            width,
            lengths: mask.to_run_lengths(),
        }
    }

    pub(crate) fn decode(&self) -> Mask {
        let size = Size::new(self.height, self.width);
        Mask::from_run_lengths(&self.lengths, size).unwrap_or_else(|_| Mask::zeros(size))
    }

    /// Whether the runs cover the mask, as those of a damaged file may not.
    pub(crate) fn is_whole(&self) -> bool {
        let area = self.height.checked_mul(self.width);
        let covered: u64 = self.lengths.iter().map(|&n| u64::from(n)).sum();
        area.is_some_and(|area| area as u64 == covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_come_back() {
        for bits in 0..64 {
            let data = (0..6).map(|i| bits >> i & 1 == 1).collect();
            let mask = Mask::new(Size::new(2, 3), data).unwrap();
            assert_eq!(Runs::encode(&mask).decode(), mask);
        }
    }
}
