//! Contact sheets: many samples at a glance, targets outlined in colours.

use synthfm_image::draw::{self, Colour};
use synthfm_image::{Mask, RgbImage, Size};

use crate::sample::Sample;

/// Longer side of a tile in pixels.
const TILE_PX: usize = 256;

/// Colours of the outlines, repeated.
const COLOURS: [Colour; 8] = [
    [230, 60, 60],
    [60, 200, 80],
    [80, 140, 255],
    [240, 200, 40],
    [220, 80, 220],
    [60, 210, 210],
    [250, 140, 40],
    [160, 220, 120],
];

/// A sheet of the samples, row by row in a nearly square grid; tiles of larger samples are shrunk to
/// 256 pixels. Fails if their sizes differ.
pub fn preview(samples: &[Sample]) -> synthfm_image::Result<RgbImage> {
    let tiles = samples
        .iter()
        .map(tile)
        .collect::<synthfm_image::Result<Vec<_>>>()?;
    let columns = tiles.len().isqrt();
    let columns = columns + usize::from(columns * columns < tiles.len());
    draw::grid(&tiles, columns, 2)
}

fn tile(sample: &Sample) -> synthfm_image::Result<RgbImage> {
    let size = sample.image.size();
    let longer = size.height.max(size.width).max(TILE_PX);
    let side = |length: usize| (length * TILE_PX / longer).max(1);
    let small = Size::new(side(size.height), side(size.width));
    let mut tile = draw::resize_rgb(&sample.image.to_rgb8(0.0, 1.0), small);
    for (target, &colour) in sample.targets.iter().zip(COLOURS.iter().cycle()) {
        draw::outline_on(&mut tile, &shrunk(&target.mask, small)?, colour)?;
    }
    Ok(tile)
}

/// The mask at the nearest pixels.
fn shrunk(mask: &Mask, small: Size) -> synthfm_image::Result<Mask> {
    let size = mask.size();
    let pixel = |at: usize| {
        let (row, col) = (at / small.width, at % small.width);
        mask.at(
            row * size.height / small.height,
            col * size.width / small.width,
        )
    };
    Mask::new(small, (0..small.area()).map(pixel).collect())
}
