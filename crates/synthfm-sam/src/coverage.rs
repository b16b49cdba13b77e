//! Masks on the grid of the low-resolution logits.

use synthfm_image::{Mask, Size};

use crate::preprocess::InputTransform;

impl InputTransform {
    /// Share of each cell of the low-resolution logits `[m, m]` that `mask`, a mask of the original image, covers, in
    /// `[0, 1]`. Cells of the padding are 0.
    ///
    /// # Panics
    ///
    /// If `mask` is not of the size of the original image.
    pub fn coverage(&self, mask: &Mask, m: usize) -> Vec<f32> {
        let Size { height, width } = mask.size();
        assert_eq!(mask.size(), self.original(), "a mask of the original image");
        let cells_per_pixel = |resized: usize, side: usize| {
            resized as f64 / side as f64 * m as f64 / self.side() as f64
        };
        let Size {
            height: rows,
            width: cols,
        } = self.resized();
        let (rows, cols) = (
            overlaps(height, cells_per_pixel(rows, height), m),
            overlaps(width, cells_per_pixel(cols, width), m),
        );
        let mut out = vec![0.0_f32; m * m];
        let mut line = vec![0.0_f32; m];
        for (y, pixels) in mask.data().chunks_exact(width).enumerate() {
            line.fill(0.0);
            for (x, _) in pixels.iter().enumerate().filter(|&(_, &v)| v) {
                cols[x]
                    .iter()
                    .for_each(|&(cell, share)| line[cell] += share);
            }
            for &(cell, share) in &rows[y] {
                out[cell * m..][..m]
                    .iter_mut()
                    .zip(&line)
                    .for_each(|(o, l)| *o += share * l);
            }
        }
        out
    }
}

/// For each of `pixels` pixels, the cells that it overlaps and by how much of the cell.
fn overlaps(pixels: usize, cells_per_pixel: f64, cells: usize) -> Vec<Vec<(usize, f32)>> {
    let one = |pixel: usize| {
        let (from, to) = (
            pixel as f64 * cells_per_pixel,
            (pixel + 1) as f64 * cells_per_pixel,
        );
        let range = from as usize..(to.ceil() as usize).min(cells);
        range
            .map(|cell| (cell, to.min((cell + 1) as f64) - from.max(cell as f64)))
            .filter(|&(_, share)| share > 1e-9)
            .map(|(cell, share)| (cell, share as f32))
            .collect()
    };
    (0..pixels).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Preparation, SamConfig};

    fn padded(mask: &Mask, side: usize) -> InputTransform {
        InputTransform::longest_side(mask.size(), side).expect("an image with pixels")
    }

    #[test]
    fn a_stretched_image_fills_the_grid() {
        // MedSAM's preparation stretches 2 × 4 pixels over 8 × 8, so that a pixel covers two rows of one column.
        let config = SamConfig {
            image_size: 8,
            preparation: Preparation::MedSam,
            ..SamConfig::vit_b()
        };
        let size = Size::new(2, 4);
        let transform = InputTransform::new(size, &config).expect("an image with pixels");
        let data = vec![false, true, false, false, false, false, false, true];
        let mask = Mask::new(size, data).expect("eight pixels");
        let mut expected = [0.0; 16];
        for cell in [1, 5, 11, 15] {
            expected[cell] = 1.0;
        }
        assert_eq!(transform.coverage(&mask, 4), expected);
    }

    #[test]
    fn coverage_of_a_non_square_mask() {
        // 2 × 4 pixels into an input of side 8 and 4 × 4 cells: one pixel is one cell, two rows of padding.
        let mask = Mask::new(
            Size::new(2, 4),
            vec![false, true, true, false, false, false, true, false],
        );
        let mask = mask.expect("eight pixels");
        let out = padded(&mask, 8).coverage(&mask, 4);
        assert_eq!(out[..8], [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert!(out[8..].iter().all(|&v| v == 0.0));
    }

    #[test]
    fn coverage_is_fractional_and_keeps_the_area() {
        let size = Size::new(96, 128);
        let data = (0..size.area())
            .map(|i| (i / 128 + i % 128) % 7 < 3)
            .collect();
        let mask = Mask::new(size, data).expect("as many pixels as the size");
        let out = padded(&mask, 64).coverage(&mask, 16); // one cell is 8 × 8 pixels
        let total: f32 = out.iter().sum();
        assert!((total * 64.0 - mask.area() as f32).abs() < 0.05, "{total}");
        assert!(
            out[12 * 16..].iter().all(|&v| v == 0.0),
            "rows beyond the image are padding"
        );
        assert!(out.iter().any(|&v| v > 0.1 && v < 0.9));
    }
}
