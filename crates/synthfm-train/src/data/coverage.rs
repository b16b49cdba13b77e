//! Masks on the grid of the logits.

use synthfm_image::{Mask, Size};

/// Share of each of `m × m` cells of the input frame (side `input_side`) that `mask` covers, after the
/// resize of the longest side. Cells of the padding are 0.
pub fn coverage(mask: &Mask, input_side: usize, m: usize) -> Vec<f32> {
    let Size { height, width } = mask.size();
    let scale = input_side as f64 / height.max(width) as f64;
    let cells_per_pixel = |side: usize| {
        let resized = (side as f64 * scale + 0.5).floor();
        resized / side as f64 * m as f64 / input_side as f64
    };
    let (rows, cols) = (
        overlaps(height, cells_per_pixel(height), m),
        overlaps(width, cells_per_pixel(width), m),
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

    #[test]
    fn coverage_of_a_non_square_mask() {
        // 2 × 4 pixels into an input of side 8 and 4 × 4 cells: one pixel is one cell, two rows of padding.
        let mask = Mask::new(
            Size::new(2, 4),
            vec![false, true, true, false, false, false, true, false],
        );
        let out = coverage(&mask.expect("eight pixels"), 8, 4);
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
        let out = coverage(&mask, 64, 16); // one cell is 8 × 8 pixels
        let total: f32 = out.iter().sum();
        assert!((total * 64.0 - mask.area() as f32).abs() < 0.05, "{total}");
        assert!(
            out[12 * 16..].iter().all(|&v| v == 0.0),
            "rows beyond the image are padding"
        );
        assert!(out.iter().any(|&v| v > 0.1 && v < 0.9));
    }
}
