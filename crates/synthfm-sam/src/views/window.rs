//! Windows of an image: which pixels a crop shows, and how prompts, logits and answers pass between the two grids.
//!
//! A window holds whole pixels, so that its grid is the image's, shifted: pasting is exact.

use synthfm_image::{BoxXyxy, Image, Mask, Point2, RgbImage, Size};

use crate::predictor::Prompts;
use crate::preprocess::InputTransform;

/// A rectangle of an image's pixels: rows from `top`, columns from `left`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows and columns, at least one each.
    pub size: Size,
}

impl Window {
    /// The whole image.
    pub(crate) const fn whole(image: Size) -> Self {
        Self {
            top: 0,
            left: 0,
            size: image,
        }
    }

    /// The square of `side` pixels around `centre`, moved to lie inside the image, and cut where the image is narrower.
    pub(crate) fn square(centre: Point2, side: usize, image: Size) -> Self {
        let along = |centre: f64, pixels: usize| {
            let length = side.clamp(1, pixels);
            let first = (centre + 0.5 - length as f64 / 2.0).round();
            (first.clamp(0.0, (pixels - length) as f64) as usize, length)
        };
        let (top, height) = along(centre.y, image.height);
        let (left, width) = along(centre.x, image.width);
        Self {
            top,
            left,
            size: Size::new(height, width),
        }
    }

    /// Whether the pixel nearest to a point of the image lies in the window.
    pub(crate) fn holds(&self, point: Point2) -> bool {
        self.size.contains(self.in_window(point))
    }

    /// A point of the image in pixels of the window.
    pub(crate) fn in_window(&self, point: Point2) -> Point2 {
        Point2::new(point.x - self.left as f64, point.y - self.top as f64)
    }

    /// The window's pixels of `image`.
    pub(crate) fn cut(&self, image: &RgbImage) -> RgbImage {
        let mut out = RgbImage::zeros(self.size);
        let (from, to) = (3 * image.size().width, 3 * self.size.width);
        let rows = image.data().chunks_exact(from).skip(self.top);
        for (line, row) in out.data_mut().chunks_exact_mut(to).zip(rows) {
            line.copy_from_slice(&row[3 * self.left..][..to]);
        }
        out
    }

    /// Prompts of the image in pixels of the window, without the negative clicks outside it; `None` where a positive
    /// click or the box lies outside. A box that reaches over the window's border is kept as it is.
    pub(crate) fn prompts(&self, prompts: &Prompts) -> Option<Prompts> {
        let mut points = Vec::with_capacity(prompts.points.len());
        for &(point, on_object) in &prompts.points {
            match self.holds(point) {
                true => points.push((self.in_window(point), on_object)),
                false if on_object => return None,
                false => {}
            }
        }
        let box_ = prompts.box_.map(|BoxXyxy { min, max }| BoxXyxy {
            min: self.in_window(min),
            max: self.in_window(max),
        });
        let last = Point2::new(self.size.width as f64 - 1.0, self.size.height as f64 - 1.0);
        let apart =
            |b: &BoxXyxy| b.max.x < 0.0 || b.max.y < 0.0 || b.min.x > last.x || b.min.y > last.y;
        if box_.as_ref().is_some_and(apart) {
            return None;
        }
        Some(Prompts {
            points,
            box_,
            mask_input: None,
            earlier: None,
        })
    }

    /// Writes the window's values into a map on the image's grid.
    pub(crate) fn paste(&self, values: &Image, map: &mut Image) {
        let width = map.size().width;
        let rows = values.data().chunks_exact(self.size.width);
        for (row, line) in rows.zip(map.data_mut().chunks_exact_mut(width).skip(self.top)) {
            line[self.left..][..self.size.width].copy_from_slice(row);
        }
    }

    /// [`Self::paste`] for masks.
    pub(crate) fn paste_mask(&self, part: &Mask, mask: &mut Mask) {
        let width = mask.size().width;
        let rows = part.data().chunks_exact(self.size.width);
        for (row, line) in rows.zip(mask.data_mut().chunks_exact_mut(width).skip(self.top)) {
            line[self.left..][..self.size.width].copy_from_slice(row);
        }
    }

    /// Mean of a map on the image's grid over each of `m × m` cells of the window's model input, `padding` where a cell
    /// shows no pixel. `transform` is the window's own.
    pub(crate) fn cells(
        &self,
        map: &Image,
        transform: &InputTransform,
        m: usize,
        padding: f32,
    ) -> Vec<f32> {
        let (resized, side) = (transform.resized(), transform.side() as f64);
        let shares = |pixels: usize, resized: usize| {
            shares(pixels, resized as f64 / pixels as f64 * m as f64 / side, m)
        };
        let rows = shares(self.size.height, resized.height);
        let cols = shares(self.size.width, resized.width);
        let mut out = vec![padding; m * m];
        for (line, row) in out.chunks_exact_mut(m).zip(&rows) {
            for (value, col) in line.iter_mut().zip(&cols) {
                let (mut sum, mut weight) = (0.0, 0.0);
                for &(y, wy) in row {
                    for &(x, wx) in col {
                        sum += wy * wx * map.at(self.top + y, self.left + x);
                        weight += wy * wx;
                    }
                }
                if weight > 0.0 {
                    *value = sum / weight;
                }
            }
        }
        out
    }
}

/// For each cell, the pixels that it overlaps and the lengths of the overlaps in cells.
fn shares(pixels: usize, cells_per_pixel: f64, cells: usize) -> Vec<Vec<(usize, f32)>> {
    let of_cell = |cell: usize| {
        let (from, to) = (
            cell as f64 / cells_per_pixel,
            (cell + 1) as f64 / cells_per_pixel,
        );
        let range = (from as usize).min(pixels)..(to.ceil() as usize).min(pixels);
        let share = |pixel: usize| to.min((pixel + 1) as f64) - from.max(pixel as f64);
        range
            .map(|pixel| (pixel, (share(pixel) * cells_per_pixel) as f32))
            .filter(|&(_, share)| share > 1e-6)
            .collect()
    };
    (0..cells).map(of_cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, small_config};

    /// Rows 3 to 5, columns 4 to 8 of an image of 7 rows and 11 columns.
    const WINDOW: Window = Window {
        top: 3,
        left: 4,
        size: Size::new(3, 5),
    };
    const IMAGE: Size = Size::new(7, 11);

    #[test]
    fn squares_stay_inside_and_are_cut_where_the_image_is_narrow() {
        let square = |x, y, side| Window::square(Point2::new(x, y), side, Size::new(20, 31));
        let window = |top, left, height, width| Window {
            top,
            left,
            size: Size::new(height, width),
        };
        // Five pixels around the centre of a pixel; four around the corner of four.
        assert_eq!(square(10.0, 9.0, 5), window(7, 8, 5, 5));
        assert_eq!(square(10.5, 9.5, 4), window(8, 9, 4, 4));
        assert_eq!(square(0.0, 19.0, 8), window(12, 0, 8, 8));
        assert_eq!(square(30.0, -3.0, 25), window(0, 6, 20, 25));
        assert_eq!(square(5.0, 5.0, 0), window(5, 5, 1, 1));
    }

    #[test]
    fn prompts_pass_to_the_windows_grid() {
        let at = |x, y| Point2::new(x, y);
        let prompts = Prompts {
            points: vec![
                (at(4.0, 3.0), true),
                (at(8.4, 5.4), true),
                (at(9.0, 4.0), false),
            ],
            box_: Some(BoxXyxy {
                min: at(2.0, 4.5),
                max: at(6.0, 6.0),
            }),
            ..Prompts::default()
        };
        let local = WINDOW.prompts(&prompts).unwrap();
        let points = &local.points;
        assert_eq!(points[0], (at(0.0, 0.0), true));
        assert!((points[1].0.x - 4.4).abs() < 1e-12 && (points[1].0.y - 2.4).abs() < 1e-12);
        assert_eq!(
            points.len(),
            2,
            "a negative click outside counts for nothing"
        );
        let b = local.box_.unwrap();
        assert_eq!((b.min, b.max), (at(-2.0, 1.5), at(2.0, 3.0)));
        let outside = |x, y| Prompts {
            points: vec![(at(x, y), true)],
            ..Prompts::default()
        };
        for (x, y) in [(3.0, 3.0), (9.0, 5.0), (4.0, 2.0), (8.0, 6.0)] {
            assert!(WINDOW.prompts(&outside(x, y)).is_none());
        }
        let apart = Prompts {
            box_: Some(BoxXyxy {
                min: at(0.0, 0.0),
                max: at(3.0, 2.0),
            }),
            ..Prompts::default()
        };
        assert!(WINDOW.prompts(&apart).is_none());
    }

    #[test]
    fn cutting_and_pasting_are_exact_and_keep_the_rest() {
        let bytes = (0..3 * IMAGE.area()).map(|i| i as u8).collect();
        let cut = WINDOW.cut(&RgbImage::new(IMAGE, bytes).unwrap());
        assert_eq!(cut.size(), WINDOW.size);
        assert_eq!(cut.data()[..3], [111, 112, 113], "row 3, column 4");
        let last = &cut.data()[3 * 14..];
        assert_eq!(last, [189, 190, 191], "row 5, column 8");
        let mut map = Image::zeros(IMAGE);
        let part: Vec<f32> = (1..=15).map(|v| v as f32).collect();
        WINDOW.paste(&Image::new(WINDOW.size, part).unwrap(), &mut map);
        assert!((map.at(3, 4) - 1.0).abs() < 1e-6 && (map.at(5, 8) - 15.0).abs() < 1e-6);
        let sum: f32 = map.data().iter().sum();
        assert!((sum - 120.0).abs() < 1e-6);
        let mut mask = Mask::zeros(IMAGE);
        let ones = Mask::new(WINDOW.size, vec![true; 15]).unwrap();
        WINDOW.paste_mask(&ones, &mut mask);
        assert_eq!(mask.area(), 15);
        assert!(mask.at(3, 4) && mask.at(5, 8) && !mask.at(2, 4) && !mask.at(5, 9));
    }

    #[test]
    fn cells_are_means_over_pixels() {
        let config = small_config();
        let m = config.low_res_side();
        assert_eq!((config.image_size, m), (64, 32));
        let map = |size: Size| {
            let values = (0..size.area()).map(|i| ((i * 7) % 13) as f32).collect();
            Image::new(size, values).unwrap()
        };
        // A window of 32 pixels: each cell is a pixel. One of 16 rows fills half of the square.
        let image = map(Size::new(40, 50));
        let window = |height| Window {
            top: 5,
            left: 9,
            size: Size::new(height, 32),
        };
        let cells = |window: &Window| {
            let transform = InputTransform::new(window.size, &config).unwrap();
            window.cells(&image, &transform, m, -8.0)
        };
        for (height, padded) in [(32, 0), (16, 16)] {
            let window = window(height);
            let got = cells(&window);
            let expected: Vec<f32> = (0..32 * 32)
                .map(|i| match i / 32 {
                    row if row < 32 - padded => image.at(5 + row, 9 + i % 32),
                    _ => -8.0,
                })
                .collect();
            assert_close("cells", &got, &expected);
        }
        // A whole image of 64 pixels: each cell is the mean of four.
        let image = map(Size::new(64, 64));
        let whole = Window::whole(image.size());
        let transform = InputTransform::new(image.size(), &config).unwrap();
        let got = whole.cells(&image, &transform, m, 0.0);
        let mean = (image.at(6, 4) + image.at(6, 5) + image.at(7, 4) + image.at(7, 5)) / 4.0;
        assert!((got[3 * 32 + 2] - mean).abs() < 1e-5);
    }
}
