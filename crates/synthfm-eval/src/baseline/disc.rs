//! A disc around the first positive click: what a segmenter reaches that knows nothing of the image but its size.
//! No paper; the simplest floor for the (P, N) settings of the evaluation.
//! Differs from a plain disc in the answer to a box, the inscribed ellipse, so that this column has a floor, too.

use synthfm_image::{BoxXyxy, Mask, Point2, RgbImage, Size};

use crate::evaluate::{PromptSet, Segmenter};
use crate::{Error, Result};

/// A disc of fixed size around the first positive click; the inscribed ellipse of a box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disc {
    size: Size,
}

impl Disc {
    /// Radius as a part of the image's shorter side: of ten values from 0.05 to 0.25 the one with the highest mean
    /// Dice over CT, MR and ultrasound of our development sets (largest components), so that the floor is a fair one.
    pub const RADIUS_FRACTION: f64 = 0.1;
}

impl Default for Disc {
    fn default() -> Self {
        Self {
            size: Size::new(0, 0),
        }
    }
}

impl Segmenter for Disc {
    fn name(&self) -> &'static str {
        "disc"
    }

    fn identity(&self) -> String {
        format!("disc {}", Self::RADIUS_FRACTION)
    }

    fn fork(&self) -> Box<dyn Segmenter> {
        Box::new(*self)
    }

    fn set_image(&mut self, image: &RgbImage) -> Result<()> {
        self.size = image.size();
        Ok(())
    }

    fn segment(&mut self, prompts: &PromptSet) -> Result<Mask> {
        if let Some(bounding_box) = prompts.bounding_box {
            let BoxXyxy { min, max } = bounding_box;
            let centre = Point2::new(f64::midpoint(min.x, max.x), f64::midpoint(min.y, max.y));
            // Corners are pixel centres: half a pixel more belongs to the box on each side.
            let half = |low: f64, high: f64| 0.5 * (high - low + 1.0);
            return Ok(ellipse(
                self.size,
                centre,
                half(min.x, max.x),
                half(min.y, max.y),
            ));
        }
        let click = prompts.clicks.iter().find(|click| click.positive);
        let Some(click) = click else {
            return Err(Error::Segmenter {
                segmenter: self.name().to_owned(),
                problem: "a box or a positive click expected".to_owned(),
            });
        };
        let radius = Self::RADIUS_FRACTION * self.size.height.min(self.size.width) as f64;
        Ok(ellipse(self.size, click.point, radius, radius))
    }
}

fn ellipse(size: Size, centre: Point2, radius_x: f64, radius_y: f64) -> Mask {
    let (a, b) = (radius_x * radius_x, radius_y * radius_y);
    let mut mask = Mask::zeros(size);
    for (index, pixel) in mask.data_mut().iter_mut().enumerate() {
        let x = (index % size.width) as f64 - centre.x;
        let y = (index / size.width) as f64 - centre.y;
        // Products, not quotients: pixels exactly on the rim stay inside.
        *pixel = x * x * b + y * y * a <= a * b;
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clicks::Click;

    fn segment(prompts: &PromptSet) -> Result<Mask> {
        let mut disc = Disc::default();
        disc.set_image(&RgbImage::zeros(Size::new(20, 30)))?;
        disc.segment(prompts)
    }

    #[test]
    fn disc_has_its_radius_and_ignores_other_clicks() {
        let clicks = [
            Click::negative(Point2::new(1.0, 1.0)),
            Click::positive(Point2::new(10.0, 5.0)),
            Click::positive(Point2::new(20.0, 15.0)),
        ];
        let prompts = PromptSet {
            clicks: clicks.to_vec(),
            bounding_box: None,
        };
        let mask = segment(&prompts).unwrap();
        // Radius 2: 13 pixels with x² + y² <= 4.
        assert_eq!(mask.area(), 13);
        assert!(mask.at(5, 12) && mask.at(7, 10) && !mask.at(5, 13));
    }

    #[test]
    fn box_gives_its_ellipse() {
        let prompts = PromptSet {
            clicks: Vec::new(),
            bounding_box: Some(BoxXyxy {
                min: Point2::new(4.0, 6.0),
                max: Point2::new(14.0, 10.0),
            }),
        };
        let mask = segment(&prompts).unwrap();
        assert_eq!(mask.bounding_box(), prompts.bounding_box);
        assert!(!mask.at(6, 4) && mask.at(8, 4));
    }

    #[test]
    fn no_positive_prompt_is_an_error() {
        let error = segment(&PromptSet::default()).unwrap_err().to_string();
        assert_eq!(error, "disc: a box or a positive click expected");
    }
}
