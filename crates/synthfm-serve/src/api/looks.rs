//! How the inside of a mask looks, to see where a structure ends that is carried from slice to slice.
//!
//! A model that is prompted with the mask of the slice before tends to find something in its place also where the
//! structure has ended. What it finds there differs in its grey from what was marked, or from its surroundings no more.

use synthfm_image::{Mask, RgbImage, dilate};

/// Pixels around a mask that are its surroundings.
const RING_PX: f32 = 3.0;
/// Deviations of the marked slice's greys by which the median may differ.
const MOST_DEVIATIONS: f32 = 2.0;
/// Share of the usual contrast below which a mask has none.
const LEAST_CONTRAST: f32 = 0.2;
/// Grey levels, of 255, below which greys are alike.
const LEAST_DEVIATION: f32 = 4.0;

/// The greys in and around a mask on a slice, as the model sees it, 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Looks {
    median: f32,
    deviation: f32,
    /// Median inside less that around it.
    contrast: f32,
}

impl Looks {
    /// `None` for a mask that has no inside or no surroundings.
    pub(super) fn of(image: &RgbImage, mask: &Mask) -> Option<Self> {
        let around = dilate(mask, RING_PX);
        let grey = |at: usize| {
            let channels = &image.data()[3 * at..3 * at + 3];
            channels.iter().map(|&v| f32::from(v)).sum::<f32>() / 3.0
        };
        let (mut inside, mut ring) = (Vec::new(), Vec::new());
        for (at, (&is_inside, &is_near)) in mask.data().iter().zip(around.data()).enumerate() {
            if is_inside {
                inside.push(grey(at));
            } else if is_near {
                ring.push(grey(at));
            }
        }
        let (median, outer) = (median(&mut inside)?, self::median(&mut ring)?);
        Some(Self {
            median,
            deviation: deviation(&inside).max(LEAST_DEVIATION),
            contrast: median - outer,
        })
    }
}

/// The slices of a run so far.
#[derive(Debug)]
pub(super) struct Seen {
    marked: Option<Looks>,
    contrasts: Vec<f32>,
}

impl Seen {
    /// Begins with the slice that a person has marked.
    pub(super) fn new(marked: Option<Looks>) -> Self {
        Self {
            marked,
            contrasts: marked.iter().map(|looks| looks.contrast).collect(),
        }
    }

    /// Whether a slice looks like the ones before, which it is then one of.
    pub(super) fn takes(&mut self, looks: Option<Looks>) -> bool {
        let (Some(marked), Some(looks)) = (self.marked, looks) else {
            return true;
        };
        let mut contrasts = self.contrasts.clone();
        let usual = median(&mut contrasts).unwrap_or(looks.contrast);
        let is_alike = (looks.median - marked.median).abs() <= MOST_DEVIATIONS * marked.deviation;
        let stands_out = looks.contrast * usual.signum() >= LEAST_CONTRAST * usual.abs();
        self.contrasts.push(looks.contrast);
        is_alike && stands_out
    }
}

fn median(values: &mut [f32]) -> Option<f32> {
    let middle = values.len() / 2;
    let (_, median, _) =
        (!values.is_empty()).then(|| values.select_nth_unstable_by(middle, f32::total_cmp))?;
    Some(*median)
}

fn deviation(values: &[f32]) -> f32 {
    let count = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / count;
    let squares: f32 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (squares / count).sqrt()
}

#[cfg(test)]
mod tests {
    use synthfm_image::Size;

    use super::*;

    const SIZE: Size = Size::new(20, 31);

    fn disc() -> Mask {
        let inside = |at: usize| (at / 31).abs_diff(10) < 4 && (at % 31).abs_diff(15) < 5;
        Mask::new(SIZE, (0..SIZE.area()).map(inside).collect()).unwrap()
    }

    /// Two greys, the inner one of a checkerboard that differs by `rough` up and down.
    fn image(inner: u8, outer: u8, rough: u8) -> RgbImage {
        let mask = disc();
        let grey = |at: usize| match (mask.data()[at], (at / 31 + at % 31) % 2) {
            (false, _) => outer,
            (true, 0) => inner - rough,
            (true, _) => inner + rough,
        };
        RgbImage::new(
            SIZE,
            (0..SIZE.area()).flat_map(|at| [grey(at); 3]).collect(),
        )
        .unwrap()
    }

    fn looks(inner: u8, outer: u8, rough: u8) -> Option<Looks> {
        Looks::of(&image(inner, outer, rough), &disc())
    }

    #[test]
    fn greys_inside_and_around_are_measured() {
        let found = looks(120, 50, 10).unwrap();
        assert!((found.deviation - 10.0).abs() < 0.1, "{found:?}");
        assert!(
            (found.median - found.contrast - 50.0).abs() < 0.1
                && (found.median - 120.0).abs() < 10.1
        );
        let flat = looks(120, 50, 0).unwrap();
        assert!(flat.deviation.total_cmp(&LEAST_DEVIATION).is_eq());
        assert_eq!(Looks::of(&image(120, 50, 0), &Mask::zeros(SIZE)), None);
        let all = Mask::new(SIZE, vec![true; SIZE.area()]).unwrap();
        assert_eq!(Looks::of(&image(120, 50, 0), &all), None);
    }

    #[test]
    fn a_run_ends_where_the_grey_or_the_contrast_is_another() {
        let run = || Seen::new(looks(120, 50, 10));
        assert!(run().takes(looks(115, 55, 10)));
        assert!(run().takes(looks(105, 50, 10)), "within two deviations");
        assert!(!run().takes(looks(150, 50, 10)), "brighter by three");
        assert!(!run().takes(looks(112, 108, 4)), "as its surroundings");
        assert!(
            !run().takes(looks(110, 130, 4)),
            "darker than its surroundings"
        );
        // A dark structure in a bright place.
        let mut dark = Seen::new(looks(50, 120, 10));
        assert!(dark.takes(looks(55, 110, 10)) && !dark.takes(looks(55, 57, 4)));
        assert!(Seen::new(None).takes(looks(1, 2, 0)));
    }
}
