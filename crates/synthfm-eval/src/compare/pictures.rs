//! Real structures beside the synthetic ones that are nearest to them, with outlines.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use synthfm_image::draw::{Colour, outline_on, resize_rgb};
use synthfm_image::{Mask, RgbImage, Size, encode_rgb_png};

use super::properties::{STRUCTURE, scaled};
use super::subject::{Compared, Measured, Subject};
use super::{Comparison, real, synthetic};
use crate::Result;

/// Longer side of a picture.
const SIDE_PX: usize = 220;
/// Pairs in the grid of all data sets.
const PAIRS: usize = 24;
/// Least covered structures that are shown.
pub(super) const WORST: usize = 10;

const REAL: Colour = [255, 150, 50];
const SYNTHETIC: Colour = [90, 190, 255];

/// A real structure and its nearest synthetic one.
pub(super) struct Pair {
    pub(super) caption: String,
    /// PNG in Base64; empty where an image could not be read again.
    pub(super) pictures: [String; 2],
}

impl Comparison<'_> {
    /// Pairs evenly over the real structures in the order of data sets and cases.
    pub(super) fn sample_pairs(&self) -> Result<Vec<Pair>> {
        let count = self.real.structures.len();
        let shown = count.min(PAIRS);
        let numbers = (0..shown).map(|n| (2 * n + 1) * count / (2 * shown));
        numbers.map(|at| self.pair(at)).collect()
    }

    /// The least covered real structures, at most one of an image and structure name.
    pub(super) fn worst_pairs(&self) -> Result<Vec<Pair>> {
        let ranked = self.ranked();
        ranked
            .into_iter()
            .take(WORST)
            .map(|(_, at)| self.pair(at))
            .collect()
    }

    fn pair(&self, at: usize) -> Result<Pair> {
        let measured = &self.real.structures[at];
        let point = scaled(&STRUCTURE, &measured.values);
        let nearest = &self.synthetic.structures[self.space.nearest(&point)];
        let distance = self.space.distance(&point) / self.space.threshold();
        let real = real::again(self.datasets, &measured.subject, self.options);
        let synthetic = synthetic::again(self.generator, &nearest.subject, self.options);
        let draw = |found: Result<(Compared, Mask)>, colour| match found {
            Ok((compared, mask)) => drawn(&compared.picture, &mask, colour),
            // The file is gone or has changed; the caption still says which it was.
            Err(_) => Ok(String::new()),
        };
        Ok(Pair {
            caption: format!(
                "{}: {distance:.2}; {}. Beside it {}: {}",
                name(&measured.subject),
                values(measured),
                name(&nearest.subject),
                values(nearest)
            ),
            pictures: [draw(real, REAL)?, draw(synthetic, SYNTHETIC)?],
        })
    }
}

fn drawn(picture: &RgbImage, mask: &Mask, colour: Colour) -> Result<String> {
    let mut image = picture.clone();
    outline_on(&mut image, mask, colour)?;
    let Size { height, width } = image.size();
    let longest = height.max(width);
    if longest > SIDE_PX {
        let scaled = |n: usize| (n * SIDE_PX / longest).max(1);
        image = resize_rgb(&image, Size::new(scaled(height), scaled(width)));
    }
    Ok(BASE64_STANDARD.encode(encode_rgb_png(&image)?))
}

fn name(subject: &Subject) -> String {
    match subject {
        Subject::Real {
            dataset,
            case,
            slice,
            structure,
            component,
            ..
        } => {
            let slice = slice.map_or_else(String::new, |slice| format!(" slice {slice}"));
            format!("{dataset} {case}{slice} {structure} #{component}")
        }
        Subject::Synthetic { index, target, .. } => format!("sample {index} target {target}"),
    }
}

/// The properties on one line.
fn values(measured: &Measured) -> String {
    let pairs = STRUCTURE.iter().zip(&measured.values);
    let text = pairs.map(|(property, value)| format!("{} {value:.3}", property.key));
    text.collect::<Vec<_>>().join(", ")
}
