//! Smooth noise without the creases of linear interpolation: uniform cubic B-splines over white noise.

use synthfm_image::Size;

use crate::rng::RowRng;

/// White noise on knots `scale_px` apart, as the coefficients of a uniform cubic B-spline.
pub(crate) fn b_spline(seed: u32, scale_px: [f32; 2], size: Size, grid: Size) -> Vec<f32> {
    let cells = [
        size.height as f32 / scale_px[0],
        size.width as f32 / scale_px[1],
    ];
    // The warp must not meet a border: two more knots than cells on either side.
    let count = cells.map(|c| c.ceil().clamp(1.0, 512.0) as usize + 4);
    let coarse: Vec<Vec<f32>> = (0..count[0])
        .map(|row| {
            let mut line = vec![0.0; count[1]];
            RowRng::new(seed.rotate_left(8), row).fill_normal(&mut line);
            line
        })
        .collect();
    let columns = weights(cells[1], grid.width);
    let mut out = vec![0.0; grid.area()];
    let mut line = vec![0.0; count[1]];
    let rows = weights(cells[0], grid.height);
    for (out, (row, w)) in out.chunks_exact_mut(grid.width).zip(rows) {
        for (col, value) in line.iter_mut().enumerate() {
            *value = (0..4).map(|k| coarse[row + k][col] * w[k]).sum();
        }
        for (value, (col, w)) in out.iter_mut().zip(&columns) {
            *value = (0..4).map(|k| line[col + k] * w[k]).sum();
        }
    }
    out
}

/// First knot and the four B-spline weights of each of `many` samples over `cells` cells.
pub(crate) fn weights(cells: f32, many: usize) -> Vec<(usize, [f32; 4])> {
    let cells = cells.min(512.0);
    let sample = |k: usize| {
        let position = k as f32 * cells / (many.max(2) - 1) as f32;
        let knot = (position as usize).min(cells.ceil() as usize);
        let t = position - knot as f32;
        let s = 1.0 - t;
        let w = [
            s * s * s,
            3.0 * t * t * t - 6.0 * t * t + 4.0,
            3.0 * s * s * s - 6.0 * s * s + 4.0,
            t * t * t,
        ];
        (knot, w.map(|w| w / 6.0))
    };
    (0..many).map(sample).collect()
}
