//! From an image to SAM's input and from low-resolution logits back to the image's grid
//! (`segment_anything/utils/transforms.py`, `modeling/sam.py`).
//!
//! The longest side is resized to the input's side, channels are normalised, and zeros fill the square
//! at the bottom and right; logits take the reverse way. Sides that would round to nothing become one
//! pixel, where Meta's code fails. For `MedSAM`'s preparation we differ from its code in that images are
//! resized bilinearly instead of by cubic splines, and logits are interpolated instead of probabilities. SAM 2's
//! (`sam2/utils/transforms.py`) stretches images to the square without rounding, and logits go straight to the image's grid.

use std::borrow::Cow;

use synthfm_image::{Image, Mask, Point2, RgbImage, Size};

use crate::config::{Preparation, SamConfig};
use crate::error::{Error, Result};
use crate::resize::{resize_antialiased, resize_antialiased_planes, resize_map, resize_map_into};

/// How pixels of an image and of the model's input correspond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputTransform {
    original: Size,
    resized: Size,
    side: usize,
    /// Whether logits skip the resolution of the input on their way to the image's grid, as SAM 2's do.
    direct: bool,
}

impl InputTransform {
    /// For an image of size `original` and the model's input: `ResizeLongestSide`, or both sides resized
    /// where the model's [`Preparation`] says so. Fails if the image is empty.
    pub fn new(original: Size, config: &SamConfig) -> Result<Self> {
        let side = config.image_size;
        let padded = Self::longest_side(original, side)?;
        if config.preparation == Preparation::Sam {
            return Ok(padded);
        }
        Ok(Self {
            resized: Size::new(side, side),
            direct: config.preparation == Preparation::Sam2,
            ..padded
        })
    }

    /// `ResizeLongestSide` for an input of side `side`. Fails if the image is empty.
    pub fn longest_side(original: Size, side: usize) -> Result<Self> {
        if original.area() == 0 {
            return Err(Error::EmptyImage { size: original });
        }
        let longest = original.height.max(original.width);
        let scale = side as f64 / longest as f64;
        let scaled = |length: usize| ((length as f64 * scale + 0.5) as usize).max(1);
        Ok(Self {
            original,
            resized: Size::new(scaled(original.height), scaled(original.width)),
            side,
            direct: false,
        })
    }

    /// The image's size.
    pub const fn original(&self) -> Size {
        self.original
    }

    /// The size of the image inside the input; zeros fill the rest.
    pub const fn resized(&self) -> Size {
        self.resized
    }

    /// Side of the square input.
    pub const fn side(&self) -> usize {
        self.side
    }

    /// Rows and columns of the low-resolution logits `[m, m]` that show the image; zeros fill the rest.
    pub(crate) fn shown_cells(&self, m: usize) -> Size {
        let cells = |pixels: usize| (pixels * m).div_ceil(self.side).min(m);
        Size::new(cells(self.resized.height), cells(self.resized.width))
    }

    /// A point of the image in the input frame.
    pub fn input_from_pixel(&self, point: Point2) -> Point2 {
        let (x, y) = self.scale();
        Point2::new(point.x * x, point.y * y)
    }

    /// A point of the input frame on the image.
    pub fn pixel_from_input(&self, point: Point2) -> Point2 {
        let (x, y) = self.scale();
        Point2::new(point.x / x, point.y / y)
    }

    fn scale(&self) -> (f64, f64) {
        let Self {
            original, resized, ..
        } = self;
        (
            resized.width as f64 / original.width as f64,
            resized.height as f64 / original.height as f64,
        )
    }

    /// The model's input `[3, S, S]`, row-major: resized, normalised, padded.
    pub fn preprocess(&self, image: &RgbImage, config: &SamConfig) -> Vec<f32> {
        if config.preparation == Preparation::Sam2 {
            let mut planes = resize_antialiased_planes(image, self.resized);
            normalise_planes(&mut planes, config.pixel_mean, config.pixel_std);
            return planes;
        }
        let resized = resize_antialiased(image, self.resized);
        let (mean, std) = match config.preparation {
            Preparation::Sam | Preparation::Sam2 => (config.pixel_mean, config.pixel_std),
            Preparation::MedSam => range(&resized),
        };
        normalise_and_pad(&resized, self.side, mean, std)
    }

    /// Turns what an input `[3, S, S]` shows by half a turn; the padding stays where it is.
    pub(crate) fn turn_input(&self, input: &mut [f32]) {
        let Size { height, width } = self.resized;
        for plane in input.chunks_exact_mut(self.side * self.side) {
            let shown = |i: usize| i / width * self.side + i % width;
            for i in 0..height * width / 2 {
                plane.swap(shown(i), shown(height * width - 1 - i));
            }
        }
    }

    /// A point of the image, where the image turned by half a turn has it.
    pub(crate) fn turned_point(&self, point: Point2) -> Point2 {
        let Size { height, width } = self.original;
        Point2::new(width as f64 - 1.0 - point.x, height as f64 - 1.0 - point.y)
    }

    /// Low-resolution logits `[m, m]` of the turned image, as those of the image, and the other way round. The padding stays
    /// where it is. Where the image ends within a cell, values between two cells are interpolated.
    pub(crate) fn turned_cells(&self, map: &[f32], m: usize) -> Vec<f32> {
        let shown = self.shown_cells(m);
        let along = |shown: usize, resized: usize| -> Vec<(usize, usize, f32)> {
            let last = (resized * m) as f32 / self.side as f32 - 1.0;
            let opposite = |cell: usize| {
                let at = (last - cell as f32).clamp(0.0, (shown - 1) as f32);
                let first = at as usize;
                (first, (first + 1).min(shown - 1), at - first as f32)
            };
            (0..shown).map(opposite).collect()
        };
        let rows = along(shown.height, self.resized.height);
        let columns = along(shown.width, self.resized.width);
        let mut turned = map.to_vec();
        for (line, &(above, below, down)) in turned.chunks_exact_mut(m).zip(&rows) {
            for (value, &(left, right, over)) in line.iter_mut().zip(&columns) {
                let in_row = |row: usize| {
                    let (a, b) = (map[row * m + left], map[row * m + right]);
                    a + over * (b - a)
                };
                let (a, b) = (in_row(above), in_row(below));
                *value = a + down * (b - a);
            }
        }
        turned
    }

    /// Low-resolution logits `[m, m]` on the image's grid.
    pub fn postprocess(&self, low_res: &[f32], low_res_side: usize) -> Image {
        let (input, from) = self.shown_input(low_res, low_res_side);
        let mut logits = Image::zeros(self.original);
        let to = self.original;
        resize_map_into(&input, from, to, logits.data_mut(), |logit| logit);
        logits
    }

    /// Where [`Self::postprocess`] exceeds a threshold, without the logits of all pixels in memory.
    pub(crate) fn mask_above(&self, low_res: &[f32], low_res_side: usize, threshold: f32) -> Mask {
        let (input, from) = self.shown_input(low_res, low_res_side);
        let mut mask = Mask::zeros(self.original);
        let to = self.original;
        resize_map_into(&input, from, to, mask.data_mut(), |logit| logit > threshold);
        mask
    }

    /// Low-resolution logits `[m, m]` without the input's padding, and their size: the resolution of the input, or for SAM 2
    /// their own.
    fn shown_input<'a>(&self, low_res: &'a [f32], low_res_side: usize) -> (Cow<'a, [f32]>, Size) {
        let square = |side| Size::new(side, side);
        let (from, to) = (square(low_res_side), square(self.side));
        if self.direct {
            return (Cow::Borrowed(low_res), from);
        }
        let input = resize_map(low_res, from, to, self.resized);
        (Cow::Owned(input), self.resized)
    }
}

/// The smallest value of all channels and the distance to the largest.
fn range(image: &RgbImage) -> ([f32; 3], [f32; 3]) {
    let low = image.data().iter().min().copied().unwrap_or(0);
    let high = image.data().iter().max().copied().unwrap_or(0);
    ([f32::from(low); 3], [f32::from((high - low).max(1)); 3])
}

/// Normalises `[3, H, W]` in place.
fn normalise_planes(planes: &mut [f32], mean: [f32; 3], std: [f32; 3]) {
    let pixels = planes.len() / 3;
    for (c, plane) in planes.chunks_exact_mut(pixels.max(1)).enumerate() {
        for value in plane {
            *value = (*value - mean[c]) / std[c];
        }
    }
}

fn normalise_and_pad(image: &RgbImage, side: usize, mean: [f32; 3], std: [f32; 3]) -> Vec<f32> {
    let width = image.size().width;
    let mut input = vec![0.0; 3 * side * side];
    for (c, plane) in input.chunks_exact_mut(side * side).enumerate() {
        let rows = image.data().chunks_exact(3 * width);
        for (line, row) in plane.chunks_exact_mut(side).zip(rows) {
            for (value, pixel) in line.iter_mut().zip(row.chunks_exact(3)) {
                *value = (f32::from(pixel[c]) - mean[c]) / std[c];
            }
        }
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorded, assert_close, sam_tiny};

    fn input_of(image_size: usize, preparation: Preparation) -> SamConfig {
        SamConfig {
            image_size,
            preparation,
            ..SamConfig::vit_b()
        }
    }

    fn sam_input(image_size: usize) -> SamConfig {
        input_of(image_size, Preparation::Sam)
    }

    #[test]
    fn medsam_stretches_both_sides_and_the_range_of_values() {
        let config = input_of(4, Preparation::MedSam);
        let transform = InputTransform::new(Size::new(4, 8), &config).unwrap();
        assert_eq!(transform.resized(), Size::new(4, 4));
        let point = transform.input_from_pixel(Point2::new(6.0, 3.0));
        assert_eq!(point, Point2::new(3.0, 3.0));
        assert_eq!(transform.pixel_from_input(point), Point2::new(6.0, 3.0));
        // Rows of 50, 100, 150 and 200 in all channels: 0, 1/3, 2/3, 1.
        let bytes = (0..4u8).flat_map(|row| [50 * (row + 1); 3 * 8]).collect();
        let image = RgbImage::new(Size::new(4, 8), bytes).unwrap();
        let rows: Vec<f32> = (0..4).flat_map(|row| [row as f32 / 3.0; 4]).collect();
        assert_close(
            "input",
            &transform.preprocess(&image, &config),
            &rows.repeat(3),
        );
        // A constant image has no range and becomes 0.
        let flat = RgbImage::new(Size::new(4, 8), vec![77; 96]).unwrap();
        assert_eq!(transform.preprocess(&flat, &config), [0.0; 48]);
        // Logits cover the whole image, without padding to cut off.
        let logits = transform.postprocess(&[-1.0, 1.0, -1.0, 1.0], 2);
        assert_eq!(logits.data()[..8].iter().filter(|v| **v > 0.0).count(), 4);
    }

    fn recorded_image(io: &Recorded, name: &str) -> RgbImage {
        let shape = io.shape(name);
        let bytes = io.values(name).into_iter().map(|v| v as u8).collect();
        RgbImage::new(Size::new(shape[0], shape[1]), bytes).unwrap()
    }

    #[test]
    fn resized_bytes_equal_pillows() {
        let io = Recorded::open();
        let image = recorded_image(&io, "image");
        let transform = InputTransform::new(image.size(), &sam_input(128)).unwrap();
        assert_eq!(transform.resized(), Size::new(96, 128));
        let got = resize_antialiased(&image, transform.resized());
        assert_eq!(got, recorded_image(&io, "resized"));
    }

    #[test]
    fn preprocessed_input_matches_meta() {
        let io = Recorded::open();
        let image = recorded_image(&io, "image");
        let transform = InputTransform::new(image.size(), &sam_input(128)).unwrap();
        let got = transform.preprocess(&image, sam_tiny().config());
        io.assert_close("preprocessed", &got);
    }

    #[test]
    fn upscaled_logits_match_meta() {
        let io = Recorded::open();
        let transform = InputTransform::new(Size::new(75, 100), &sam_input(128)).unwrap();
        let got = transform.postprocess(&io.values("box.single.low_res"), 32);
        assert_eq!(got.size(), Size::new(75, 100));
        io.assert_close("box.single.logits", got.data());
    }

    #[test]
    fn masks_are_those_of_the_logits() {
        let io = Recorded::open();
        let low_res = io.values("box.single.low_res");
        for size in [Size::new(75, 100), Size::new(301, 97), Size::new(1, 9)] {
            let transform = InputTransform::new(size, &sam_input(128)).unwrap();
            let logits = transform.postprocess(&low_res, 32);
            for threshold in [-0.7, 0.0, 1.3] {
                let expected: Vec<bool> = logits.data().iter().map(|&v| v > threshold).collect();
                let mask = transform.mask_above(&low_res, 32, threshold);
                assert_eq!((mask.size(), mask.data()), (size, &expected[..]));
            }
        }
    }

    #[test]
    fn two_half_turns_are_none() {
        // 30 x 70 pixels become 17 x 40; 8.5 x 20 cells show them.
        let config = sam_input(40);
        let transform = InputTransform::new(Size::new(30, 70), &config).unwrap();
        let size = transform.original();
        let bytes: Vec<u8> = (0..3 * size.area()).map(|i| (i * 37 % 251) as u8).collect();
        let pixels: Vec<[u8; 3]> = bytes.as_chunks().0.to_vec();
        let image = RgbImage::new(size, bytes).unwrap();
        let turned: Vec<u8> = pixels.iter().rev().flatten().copied().collect();
        let turned = RgbImage::new(size, turned).unwrap();
        let mut input = transform.preprocess(&image, &config);
        transform.turn_input(&mut input);
        // Bytes are rounded, which knows no direction.
        assert_close("input", &input, &transform.preprocess(&turned, &config));
        let point = transform.turned_point(Point2::new(2.0, 29.0));
        assert_eq!(point, Point2::new(67.0, 0.0));

        let (m, shown) = (20, transform.shown_cells(20));
        assert_eq!(shown, Size::new(9, 20));
        let ramp = |i: usize| (i / m) as f32 + 0.25 * (i % m) as f32;
        let map: Vec<f32> = (0..m * m).map(ramp).collect();
        let turned = transform.turned_cells(&map, m);
        // Row 2 shows what lies 7.5 - 2 cells below the first, column 3 what lies 16 cells right of it.
        assert!((turned[2 * m + 3] - (5.5 + 0.25 * 16.0)).abs() < 1e-5);
        assert_eq!(turned[9 * m..], map[9 * m..], "the padding");
        let back = transform.turned_cells(&turned, m);
        // The first and the last row show half a cell beyond the image at one of both ends.
        assert_close("back", &back[m..8 * m], &map[m..8 * m]);
    }

    #[test]
    fn points_go_to_the_input_and_back() {
        // 30x70 to 17x40: the short side rounds, so the axes scale differently.
        let transform = InputTransform::new(Size::new(30, 70), &sam_input(40)).unwrap();
        assert_eq!(transform.resized(), Size::new(17, 40));
        let point = Point2::new(35.0, 15.0);
        let input = transform.input_from_pixel(point);
        assert!((input.x - 20.0).abs() < 1e-12 && (input.y - 8.5).abs() < 1e-12);
        let back = transform.pixel_from_input(input);
        assert!((back.x - point.x).abs() < 1e-12 && (back.y - point.y).abs() < 1e-12);
    }

    #[test]
    fn extreme_sizes_do_not_vanish() {
        let transform = InputTransform::new(Size::new(1, 5000), &sam_input(64)).unwrap();
        assert_eq!(transform.resized(), Size::new(1, 64));
        assert!(InputTransform::new(Size::new(0, 5), &sam_input(64)).is_err());
        let logits = transform.postprocess(&[1.5; 16 * 16], 16);
        assert_close("constant", logits.data(), &vec![1.5; 5000]);
    }
}
