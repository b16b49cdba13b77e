//! From an image to SAM's input and from low-resolution logits back to the image's grid
//! (`segment_anything/utils/transforms.py`, `modeling/sam.py`).
//!
//! The longest side is resized to the input's side, channels are normalised, and zeros fill the square
//! at the bottom and right; logits take the reverse way. Sides that would round to nothing become one
//! pixel, where Meta's code fails.

use synthfm_image::{Image, Point2, RgbImage, Size};

use crate::config::SamConfig;
use crate::error::{Error, Result};
use crate::resize::{resize_antialiased, resize_map};

/// How pixels of an image and of the model's input correspond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputTransform {
    original: Size,
    resized: Size,
    side: usize,
}

impl InputTransform {
    /// `ResizeLongestSide(side)` for an image of size `original`. Fails if that is empty.
    pub fn new(original: Size, side: usize) -> Result<Self> {
        let longest = original.height.max(original.width);
        if original.area() == 0 {
            return Err(Error::EmptyImage { size: original });
        }
        let scale = side as f64 / longest as f64;
        let scaled = |length: usize| ((length as f64 * scale + 0.5) as usize).max(1);
        Ok(Self {
            original,
            resized: Size::new(scaled(original.height), scaled(original.width)),
            side,
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
        let resized = resize_antialiased(image, self.resized);
        normalise_and_pad(&resized, self.side, config)
    }

    /// Low-resolution logits `[m, m]` on the image's grid.
    pub fn postprocess(&self, low_res: &[f32], low_res_side: usize) -> Image {
        let square = |side| Size::new(side, side);
        let input = resize_map(
            low_res,
            square(low_res_side),
            square(self.side),
            self.resized,
        );
        let values = resize_map(&input, self.resized, self.original, self.original);
        let mut logits = Image::zeros(self.original);
        logits.data_mut().copy_from_slice(&values);
        logits
    }
}

fn normalise_and_pad(image: &RgbImage, side: usize, config: &SamConfig) -> Vec<f32> {
    let SamConfig {
        pixel_mean,
        pixel_std,
        ..
    } = config;
    let width = image.size().width;
    let mut input = vec![0.0; 3 * side * side];
    for (c, plane) in input.chunks_exact_mut(side * side).enumerate() {
        let rows = image.data().chunks_exact(3 * width);
        for (line, row) in plane.chunks_exact_mut(side).zip(rows) {
            for (value, pixel) in line.iter_mut().zip(row.chunks_exact(3)) {
                *value = (f32::from(pixel[c]) - pixel_mean[c]) / pixel_std[c];
            }
        }
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorded, assert_close, sam_tiny};

    fn recorded_image(io: &Recorded, name: &str) -> RgbImage {
        let shape = io.shape(name);
        let bytes = io.values(name).into_iter().map(|v| v as u8).collect();
        RgbImage::new(Size::new(shape[0], shape[1]), bytes).unwrap()
    }

    #[test]
    fn resized_bytes_equal_pillows() {
        let io = Recorded::open();
        let image = recorded_image(&io, "image");
        let transform = InputTransform::new(image.size(), 128).unwrap();
        assert_eq!(transform.resized(), Size::new(96, 128));
        let got = resize_antialiased(&image, transform.resized());
        assert_eq!(got, recorded_image(&io, "resized"));
    }

    #[test]
    fn preprocessed_input_matches_meta() {
        let io = Recorded::open();
        let image = recorded_image(&io, "image");
        let transform = InputTransform::new(image.size(), 128).unwrap();
        let got = transform.preprocess(&image, sam_tiny().config());
        io.assert_close("preprocessed", &got);
    }

    #[test]
    fn upscaled_logits_match_meta() {
        let io = Recorded::open();
        let transform = InputTransform::new(Size::new(75, 100), 128).unwrap();
        let got = transform.postprocess(&io.values("box.single.low_res"), 32);
        assert_eq!(got.size(), Size::new(75, 100));
        io.assert_close("box.single.logits", got.data());
    }

    #[test]
    fn points_go_to_the_input_and_back() {
        // 30x70 to 17x40: the short side rounds, so the axes scale differently.
        let transform = InputTransform::new(Size::new(30, 70), 40).unwrap();
        assert_eq!(transform.resized(), Size::new(17, 40));
        let point = Point2::new(35.0, 15.0);
        let input = transform.input_from_pixel(point);
        assert!((input.x - 20.0).abs() < 1e-12 && (input.y - 8.5).abs() < 1e-12);
        let back = transform.pixel_from_input(input);
        assert!((back.x - point.x).abs() < 1e-12 && (back.y - point.y).abs() < 1e-12);
    }

    #[test]
    fn extreme_sizes_do_not_vanish() {
        let transform = InputTransform::new(Size::new(1, 5000), 64).unwrap();
        assert_eq!(transform.resized(), Size::new(1, 64));
        assert!(InputTransform::new(Size::new(0, 5), 64).is_err());
        let logits = transform.postprocess(&[1.5; 16 * 16], 16);
        assert_close("constant", logits.data(), &vec![1.5; 5000]);
    }
}
