//! The part of an image around a structure, at the size of a picture in the report.
//! A window of two and a half times the structure's box keeps small structures visible in large images.
//! Differs: masks are sampled at the nearest pixel, so that outlines drawn afterwards stay one pixel wide.

use synthfm_image::draw::resize_rgb;
use synthfm_image::{BoxXyxy, Mask, Point2, RgbImage, Size};

/// Longer side of a picture.
const SIDE_PX: usize = 256;
/// Side of the window in longer sides of the structure's box.
const CONTEXT: f64 = 2.5;
/// Smallest side of the window.
const MIN_WINDOW_PX: usize = 64;

/// A window of an image and its size when drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Frame {
    row: usize,
    col: usize,
    window: Size,
    drawn: Size,
}

impl Frame {
    /// The window around `structure`, inside its image; the whole image if the structure is empty.
    pub(super) fn around(structure: &Mask) -> Self {
        let image = structure.size();
        let whole = BoxXyxy {
            min: Point2::new(0.0, 0.0),
            max: Point2::from_row_col(image.height, image.width),
        };
        let BoxXyxy { min, max } = structure.bounding_box().unwrap_or(whole);
        let longer = (max.x - min.x).max(max.y - min.y) + 1.0;
        let side = ((CONTEXT * longer) as usize).max(MIN_WINDOW_PX);
        let axis = |low: f64, high: f64, length: usize| {
            let window = side.min(length);
            let first = f64::midpoint(low, high) - window as f64 / 2.0;
            ((first.max(0.0) as usize).min(length - window), window)
        };
        let (row, height) = axis(min.y, max.y, image.height);
        let (col, width) = axis(min.x, max.x, image.width);
        let drawn = |n: usize| (n * SIDE_PX / height.max(width).max(1)).max(1);
        Self {
            row,
            col,
            window: Size::new(height, width),
            drawn: Size::new(drawn(height), drawn(width)),
        }
    }

    /// The window of an image, resized.
    pub(super) fn image(&self, image: &RgbImage) -> RgbImage {
        let mut window = RgbImage::zeros(self.window);
        let lines = window.data_mut().chunks_exact_mut(3 * self.window.width);
        for (row, line) in lines.enumerate() {
            let start = 3 * image.size().index(self.row + row, self.col);
            line.copy_from_slice(&image.data()[start..start + line.len()]);
        }
        resize_rgb(&window, self.drawn)
    }

    /// The window of a mask, resized.
    pub(super) fn mask(&self, mask: &Mask) -> Mask {
        let mut drawn = Mask::zeros(self.drawn);
        for (index, pixel) in drawn.data_mut().iter_mut().enumerate() {
            let (row, col) = (index / self.drawn.width, index % self.drawn.width);
            let row = self.row + (2 * row + 1) * self.window.height / (2 * self.drawn.height);
            let col = self.col + (2 * col + 1) * self.window.width / (2 * self.drawn.width);
            *pixel = mask.at(row, col);
        }
        drawn
    }

    /// A point of the image in the picture.
    pub(super) fn point(&self, point: Point2) -> Point2 {
        let along = |at: f64, first: usize, window: usize, drawn: usize| {
            (at + 0.5 - first as f64) * drawn as f64 / window as f64 - 0.5
        };
        Point2::new(
            along(point.x, self.col, self.window.width, self.drawn.width),
            along(point.y, self.row, self.window.height, self.drawn.height),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(size: Size, row: usize, col: usize) -> Mask {
        let mut mask = Mask::zeros(size);
        mask.data_mut()[size.index(row, col)] = true;
        mask
    }

    #[test]
    fn window_stays_inside_and_keeps_places() {
        let size = Size::new(100, 300);
        for (row, col) in [(50, 150), (0, 0), (99, 299), (3, 290)] {
            let mask = dot(size, row, col);
            let frame = Frame::around(&mask);
            assert_eq!(frame.window, Size::new(64, 64));
            let drawn = frame.mask(&mask);
            assert_eq!(drawn.area(), 16);
            let centre = frame.point(Point2::from_row_col(row, col));
            assert_eq!(drawn.centroid(), Some(centre));
            assert_eq!(frame.image(&RgbImage::zeros(size)).size(), drawn.size());
        }
    }

    #[test]
    fn large_structures_show_the_whole_image() {
        let size = Size::new(90, 200);
        let mask = Mask::new(size, vec![true; size.area()]).unwrap();
        let frame = Frame::around(&mask);
        assert_eq!((frame.row, frame.col, frame.window), (0, 0, size));
        assert_eq!(frame.drawn, Size::new(115, 256));
        assert_eq!(Frame::around(&Mask::zeros(size)).window, size);
    }
}
