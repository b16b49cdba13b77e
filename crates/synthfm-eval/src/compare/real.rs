//! The real side: targets as the evaluation takes them, one case in memory at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use synthfm_image::{Mask, Size};

use super::Options;
use super::subject::{Compared, ImageCurves, Measured, Subject, compared_size};
use crate::dataset::{CaseNote, Dataset, View};
use crate::evaluate::Parts;
use crate::{Error, Result};

/// Real structures and images.
#[derive(Debug, Default)]
pub(super) struct RealSide {
    pub(super) structures: Vec<Measured>,
    pub(super) images: Vec<Measured>,
    pub(super) curves: Vec<ImageCurves>,
    /// The size of every image on the grid of the comparison.
    pub(super) sizes: Vec<Size>,
    pub(super) skipped: Vec<CaseNote>,
    pub(super) failed: Vec<CaseNote>,
    pub(super) too_small: usize,
    pub(super) absent: usize,
}

/// Measures every case that can be read, until `stop` is set.
pub(super) fn measure(
    datasets: &[Dataset],
    options: &Options,
    progress: &(impl Fn(&str, u64, u64) + Sync),
    stop: &AtomicBool,
) -> RealSide {
    let mut side = RealSide::default();
    let total = datasets
        .iter()
        .map(|dataset| dataset.cases.len() as u64)
        .sum();
    let mut done = 0;
    for (number, dataset) in datasets.iter().enumerate() {
        side.skipped.extend(dataset.skipped.iter().cloned());
        for case in 0..dataset.cases.len() {
            if stop.load(Ordering::Relaxed) {
                return side;
            }
            progress("real cases", done, total);
            side.case(datasets, [number, case], options);
            done += 1;
        }
    }
    side
}

impl RealSide {
    fn case(&mut self, datasets: &[Dataset], [number, case]: [usize; 2], options: &Options) {
        let dataset = &datasets[number];
        match dataset.load(&dataset.cases[case]) {
            Ok(loaded) => {
                for (view_number, view) in loaded.views.iter().enumerate() {
                    self.view(dataset, view, [number, case, view_number], options);
                }
            }
            Err(error) => self.failed.push(CaseNote {
                dataset: dataset.name.clone(),
                case: dataset.cases[case].name.clone(),
                text: error.to_string(),
            }),
        }
    }

    fn view(&mut self, dataset: &Dataset, view: &View, place: [usize; 3], options: &Options) {
        let compared = Compared::new(&view.image, options.side);
        let case = &dataset.cases[place[1]];
        let subject = |structure: &str, component: u32| Subject::Real {
            dataset: dataset.name.clone(),
            modality: case.modality.clone(),
            case: case.name.clone(),
            slice: view.slice,
            structure: structure.to_owned(),
            component,
            place,
        };
        self.sizes
            .push(compared_size(view.image.size(), options.side));
        if let Some((values, curves)) = compared.image(&case.modality) {
            let subject = subject("", 0);
            self.images.push(Measured { subject, values });
            self.curves.push(curves);
        }
        for structure in &view.structures {
            let parts = Parts::new(view, structure, options.target);
            let list = parts.list(options.target);
            self.absent += usize::from(list.is_empty());
            for part in list {
                let mask = compared.mask(&parts.mask(part));
                let values =
                    (mask.area() >= options.min_area_px).then(|| compared.structure(&mask));
                match values.flatten() {
                    Some(values) => {
                        let subject = subject(&structure.name, part.number);
                        self.structures.push(Measured { subject, values });
                    }
                    None => self.too_small += 1,
                }
            }
        }
    }
}

/// Image and mask of a real structure, read again.
pub(super) fn again(
    datasets: &[Dataset],
    subject: &Subject,
    options: &Options,
) -> Result<(Compared, Mask)> {
    let gone = || Error::Parameter("its image is no longer there".to_owned());
    let Subject::Real {
        place,
        structure,
        component,
        ..
    } = subject
    else {
        return Err(gone());
    };
    let dataset = datasets.get(place[0]).ok_or_else(gone)?;
    let loaded = dataset.load(dataset.cases.get(place[1]).ok_or_else(gone)?)?;
    let view = loaded.views.get(place[2]).ok_or_else(gone)?;
    let wanted = view
        .structures
        .iter()
        .find(|s| s.name == *structure)
        .ok_or_else(gone)?;
    let parts = Parts::new(view, wanted, options.target);
    let list = parts.list(options.target);
    let part = list
        .into_iter()
        .find(|part| part.number == *component)
        .ok_or_else(gone)?;
    let compared = Compared::new(&view.image, options.side);
    let mask = compared.mask(&parts.mask(part));
    Ok((compared, mask))
}
