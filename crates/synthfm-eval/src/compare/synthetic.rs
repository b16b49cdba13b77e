//! The synthetic side: samples at the sizes of the real images, in turn, on all threads.
//!
//! Sample i is a function of (configuration, seed, i) and of the real image sizes alone, whatever the number of threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;
use synthfm_image::{Mask, RgbImage, Size};
use synthfm_synth::{GeneratorConfig, SizeConfig, generate};

use super::subject::{Compared, ImageCurves, Measured, Subject};
use super::{Options, SIDES};
use crate::{Error, Result};

/// Synthetic structures and images, in the order of their samples.
#[derive(Debug, Default)]
pub(super) struct SyntheticSide {
    pub(super) structures: Vec<Measured>,
    pub(super) images: Vec<Measured>,
    pub(super) curves: Vec<ImageCurves>,
}

/// Draws and measures; ends early, with less, once `stop` is set.
pub(super) fn measure(
    generator: &GeneratorConfig,
    sizes: &[Size],
    options: &Options,
    progress: &(impl Fn(&str, u64, u64) + Sync),
    stop: &AtomicBool,
) -> SyntheticSide {
    let done = AtomicU64::new(0);
    let one = |index: u64| {
        if stop.load(Ordering::Relaxed) {
            return SyntheticSide::default();
        }
        let size = sizes[(index % sizes.len() as u64) as usize];
        let side = sample(generator, size, index, options);
        progress(
            "synthetic samples",
            done.fetch_add(1, Ordering::Relaxed) + 1,
            options.count,
        );
        side
    };
    let sides: Vec<SyntheticSide> = (0..options.count).into_par_iter().map(one).collect();
    let mut all = SyntheticSide::default();
    for side in sides {
        all.structures.extend(side.structures);
        all.images.extend(side.images);
        all.curves.extend(side.curves);
    }
    all
}

fn sample(config: &GeneratorConfig, size: Size, index: u64, options: &Options) -> SyntheticSide {
    let (picture, masks) = drawn(config, [size.height, size.width], index, options.seed);
    let compared = Compared::new(&picture, options.side);
    let subject = |target: usize| Subject::Synthetic {
        index,
        target,
        size: [size.height, size.width],
    };
    let mut side = SyntheticSide::default();
    if let Some((values, curves)) = compared.image("") {
        let subject = subject(0);
        side.images.push(Measured { subject, values });
        side.curves.push(curves);
    }
    for (target, mask) in masks.iter().enumerate() {
        let mask = compared.mask(mask);
        let large = mask.area() >= options.min_area_px;
        if let Some(values) = large.then(|| compared.structure(&mask)).flatten() {
            let subject = subject(target);
            side.structures.push(Measured { subject, values });
        }
    }
    side
}

/// The picture and its targets; a side that the generator cannot draw becomes the nearest that it can.
fn drawn(
    config: &GeneratorConfig,
    size: [usize; 2],
    index: u64,
    seed: u64,
) -> (RgbImage, Vec<Mask>) {
    let [height, width] = size.map(|n| n.clamp(*SIDES.start(), *SIDES.end()));
    let mut config = config.clone();
    config.size = SizeConfig { height, width };
    let sample = generate(&config, seed, index);
    let masks = sample.targets.into_iter().map(|target| target.mask);
    (sample.image.to_rgb8(0.0, 1.0), masks.collect())
}

/// Image and mask of a synthetic structure, drawn again.
pub(super) fn again(
    config: &GeneratorConfig,
    subject: &Subject,
    options: &Options,
) -> Result<(Compared, Mask)> {
    let gone = || Error::Parameter("no such sample".to_owned());
    let Subject::Synthetic {
        index,
        target,
        size,
    } = subject
    else {
        return Err(gone());
    };
    let (picture, masks) = drawn(config, *size, *index, options.seed);
    let compared = Compared::new(&picture, options.side);
    let mask = compared.mask(masks.get(*target).ok_or_else(gone)?);
    Ok((compared, mask))
}
