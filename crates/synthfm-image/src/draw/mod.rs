//! Pictures for people: overlays, clicks, boxes, thumbnails and contact sheets.
//!
//! Everything is drawn in the pixel grid of the image, and what lies outside is cut. Nothing here
//! feeds a model.

mod resize;
mod text;

pub use resize::resize_rgb;
pub use text::text;

use crate::{BoxXyxy, Error, Mask, Point2, Result, RgbImage, Size, outline};

/// Red, green, blue.
pub type Colour = [u8; 3];

/// Colour of positive clicks.
pub const POSITIVE: Colour = [40, 220, 60];
/// Colour of negative clicks.
pub const NEGATIVE: Colour = [235, 50, 40];

const WHITE: Colour = [255; 3];
/// Between the pictures of a sheet.
const GAP: u8 = 24;

/// Sets one pixel, if it is inside.
fn paint(image: &mut RgbImage, row: i64, col: i64, colour: Colour) {
    let size = image.size();
    let inside = (0..size.height as i64).contains(&row) && (0..size.width as i64).contains(&col);
    if inside {
        let at = 3 * size.index(row as usize, col as usize);
        image.data_mut()[at..at + 3].copy_from_slice(&colour);
    }
}

fn same_size(image: &RgbImage, mask: &Mask) -> Result<()> {
    if image.size() == mask.size() {
        return Ok(());
    }
    let (image, mask) = (image.size(), mask.size());
    let problem = format!("a mask of {mask} cannot be drawn on an image of {image}");
    Err(Error::Parameter(problem))
}

/// Lays `mask` over `image`: a fill of opacity `alpha` (0 to 1) and an opaque outline.
pub fn overlay(image: &RgbImage, mask: &Mask, colour: Colour, alpha: f32) -> Result<RgbImage> {
    same_size(image, mask)?;
    let mut out = image.clone();
    let alpha = alpha.clamp(0.0, 1.0);
    let pixels = out.data_mut().chunks_exact_mut(3).zip(mask.data());
    for (pixel, _) in pixels.filter(|&(_, &inside)| inside) {
        for (value, target) in pixel.iter_mut().zip(colour) {
            let (from, to) = (f32::from(*value), f32::from(target));
            *value = (from + alpha * (to - from)).round() as u8;
        }
    }
    outline_on(&mut out, mask, colour)?;
    Ok(out)
}

/// Draws the outline of `mask`: one pixel wide, two on images of 768 pixels and more.
pub fn outline_on(image: &mut RgbImage, mask: &Mask, colour: Colour) -> Result<()> {
    same_size(image, mask)?;
    let Size { height, width } = mask.size();
    let mut edge = outline(mask);
    if height.min(width) >= 768 {
        let mut inner = mask.clone();
        for (out, &on_edge) in inner.data_mut().iter_mut().zip(edge.data()) {
            *out &= !on_edge;
        }
        for (out, &second) in edge.data_mut().iter_mut().zip(outline(&inner).data()) {
            *out |= second;
        }
    }
    let pixels = image.data_mut().chunks_exact_mut(3).zip(edge.data());
    for (pixel, _) in pixels.filter(|&(_, &on_edge)| on_edge) {
        pixel.copy_from_slice(&colour);
    }
    Ok(())
}

/// Fills the disc of `radius_px` around `centre`.
pub fn disc(image: &mut RgbImage, centre: Point2, radius_px: f64, colour: Colour) {
    let Some(window) = Window::around(image.size(), centre, radius_px) else {
        return;
    };
    for (row, col) in window.pixels() {
        let (dy, dx) = (row as f64 - centre.y, col as f64 - centre.x);
        if dx * dx + dy * dy <= radius_px * radius_px {
            paint(image, row, col, colour);
        }
    }
}

/// Draws a diagonal cross with arms of `radius_px` around `centre`.
pub fn cross(image: &mut RgbImage, centre: Point2, radius_px: f64, colour: Colour) {
    let Some(window) = Window::around(image.size(), centre, radius_px) else {
        return;
    };
    let half_width = (radius_px / 4.0).max(0.5);
    for (row, col) in window.pixels() {
        let (dy, dx) = (row as f64 - centre.y, col as f64 - centre.x);
        if (dx.abs() - dy.abs()).abs() <= half_width {
            paint(image, row, col, colour);
        }
    }
}

/// Pixels near a point, cut to the image.
struct Window {
    rows: (i64, i64),
    cols: (i64, i64),
}

impl Window {
    /// `None` if the point or the radius is not finite.
    fn around(size: Size, centre: Point2, radius_px: f64) -> Option<Self> {
        let finite = centre.x.is_finite() && centre.y.is_finite() && radius_px.is_finite();
        let range = |at: f64, length: usize| {
            let first = (at - radius_px).floor().max(0.0) as i64;
            let last = (at + radius_px).ceil().min(length as f64 - 1.0) as i64;
            (first, last)
        };
        finite.then(|| Self {
            rows: range(centre.y, size.height),
            cols: range(centre.x, size.width),
        })
    }

    fn pixels(self) -> impl Iterator<Item = (i64, i64)> {
        let Self { rows, cols } = self;
        (rows.0..=rows.1).flat_map(move |row| (cols.0..=cols.1).map(move |col| (row, col)))
    }
}

/// Marks a positive click: a green disc with a white rim, sized to the image.
pub fn positive_click(image: &mut RgbImage, at: Point2) {
    let radius = marker_radius(image.size());
    disc(image, at, radius + 1.0, WHITE);
    disc(image, at, radius, POSITIVE);
}

/// Marks a negative click: a red disc with a white rim and a white cross, sized to the image.
pub fn negative_click(image: &mut RgbImage, at: Point2) {
    let radius = marker_radius(image.size());
    disc(image, at, radius + 1.0, WHITE);
    disc(image, at, radius, NEGATIVE);
    cross(image, at, radius / 2.0, WHITE);
}

fn marker_radius(size: Size) -> f64 {
    (size.height.min(size.width) as f64 / 80.0).max(2.0)
}

/// Draws the border of a box, one pixel wide, through its corners.
pub fn box_outline(image: &mut RgbImage, region: BoxXyxy, colour: Colour) {
    let Size { height, width } = image.size();
    let near = |v: f64, length: usize| (v + 0.5).floor().clamp(-1.0, length as f64) as i64;
    let (top, bottom) = (near(region.min.y, height), near(region.max.y, height));
    let (left, right) = (near(region.min.x, width), near(region.max.x, width));
    for col in left..=right {
        paint(image, top, col, colour);
        paint(image, bottom, col, colour);
    }
    for row in top..=bottom {
        paint(image, row, left, colour);
        paint(image, row, right, colour);
    }
}

/// Sets pictures in rows of `columns`, `gap_px` apart, each in the top-left corner of a cell that
/// is as large as the largest. Fails if there is no picture, no column, or the sheet is too large.
pub fn grid(images: &[RgbImage], columns: usize, gap_px: usize) -> Result<RgbImage> {
    let height = images
        .iter()
        .map(|image| image.size().height)
        .max()
        .unwrap_or(0);
    let width = images
        .iter()
        .map(|image| image.size().width)
        .max()
        .unwrap_or(0);
    let columns = columns.min(images.len());
    if columns == 0 {
        return Err(Error::Parameter(
            "a sheet needs a picture and a column".into(),
        ));
    }
    let side = |count: usize, length: usize| {
        length
            .checked_add(gap_px)?
            .checked_mul(count)?
            .checked_add(gap_px)
    };
    let total = side(images.len().div_ceil(columns), height).zip(side(columns, width));
    let bytes = total.and_then(|(h, w)| h.checked_mul(w)?.checked_mul(3));
    let (Some((h, w)), Some(bytes)) = (total, bytes) else {
        return Err(Error::Parameter(format!(
            "a gap of {gap_px} pixels is too wide"
        )));
    };
    let mut sheet = RgbImage::new(Size::new(h, w), vec![GAP; bytes])?;
    for (index, image) in images.iter().enumerate() {
        let top = gap_px + index / columns * (height + gap_px);
        let left = gap_px + index % columns * (width + gap_px);
        let line_bytes = 3 * image.size().width;
        for (line, row) in image.data().chunks_exact(line_bytes.max(1)).zip(top..) {
            let at = 3 * (row * w + left);
            sheet.data_mut()[at..at + line_bytes].copy_from_slice(line);
        }
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::mask_of_text;

    const BLUE: Colour = [0, 0, 200];

    fn pixel(image: &RgbImage, row: usize, col: usize) -> &[u8] {
        let at = 3 * image.size().index(row, col);
        &image.data()[at..at + 3]
    }

    #[test]
    fn overlay_mixes_inside_and_is_opaque_on_the_outline() {
        let mask = mask_of_text(&["......", ".####.", ".####.", ".####.", "......"]);
        let image = RgbImage::new(mask.size(), vec![100; 90]).unwrap();
        let out = overlay(&image, &mask, BLUE, 0.25).unwrap();
        assert_eq!(pixel(&out, 0, 0), [100; 3]);
        assert_eq!(pixel(&out, 1, 1), BLUE);
        assert_eq!(pixel(&out, 2, 2), [75, 75, 125]);
        let other = RgbImage::zeros(Size::new(6, 5));
        assert!(overlay(&other, &mask, BLUE, 0.5).is_err());
    }

    #[test]
    fn outline_is_two_pixels_wide_on_large_images() {
        let size = Size::new(768, 800);
        let mask = Mask::new(size, vec![true; size.area()]).unwrap();
        let mut image = RgbImage::zeros(size);
        outline_on(&mut image, &mask, BLUE).unwrap();
        assert_eq!(pixel(&image, 400, 1), BLUE);
        assert_eq!(pixel(&image, 400, 2), [0; 3]);
    }

    #[test]
    fn markers_are_cut_at_the_edge_and_never_panic() {
        let mut image = RgbImage::zeros(Size::new(12, 20));
        positive_click(&mut image, Point2::new(19.0, 0.0));
        assert_eq!(pixel(&image, 0, 19), POSITIVE);
        assert_eq!(pixel(&image, 0, 16), WHITE);
        negative_click(&mut image, Point2::new(5.0, 6.0));
        assert_eq!(pixel(&image, 6, 5), WHITE);
        assert_eq!(pixel(&image, 6, 7), NEGATIVE);
        let before = image.clone();
        for v in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
            disc(&mut image, Point2::new(v, 3.0), 2.0, BLUE);
            cross(&mut image, Point2::new(3.0, v), 2.0, BLUE);
        }
        assert_eq!(image, before);
    }

    #[test]
    fn boxes_run_through_their_corners() {
        let mut image = RgbImage::zeros(Size::new(6, 9));
        let region = BoxXyxy {
            min: Point2::new(1.0, 2.0),
            max: Point2::new(5.0, 1e9),
        };
        box_outline(&mut image, region, BLUE);
        for (row, col) in [(2, 1), (2, 5), (5, 1), (5, 5)] {
            assert_eq!(pixel(&image, row, col), BLUE);
        }
        assert_eq!(pixel(&image, 5, 3), [0; 3]);
    }

    #[test]
    fn sheet_places_pictures_row_by_row() {
        let picture =
            |value, size: Size| RgbImage::new(size, vec![value; 3 * size.area()]).unwrap();
        let images = [
            picture(1, Size::new(2, 3)),
            picture(2, Size::new(1, 1)),
            picture(3, Size::new(2, 2)),
        ];
        let sheet = grid(&images, 2, 1).unwrap();
        assert_eq!(sheet.size(), Size::new(7, 9));
        for ((row, col), value) in [((1, 1), 1), ((1, 5), 2), ((4, 1), 3), ((2, 5), GAP)] {
            assert_eq!(pixel(&sheet, row, col), [value; 3]);
        }
        assert!(grid(&[], 2, 1).is_err());
        assert!(grid(&images, 0, 1).is_err());
        assert!(grid(&images, 2, usize::MAX).is_err());
    }
}
