//! Pictures of the worst and the median case of every structure, by the first model.
//! The median is the lower one by Dice. Differs: a window around the target is drawn, not the whole image; all models
//! share a picture, the first one filled, the others as outlines.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use synthfm_image::draw::{
    Colour, box_outline, negative_click, outline_on, overlay, positive_click,
};
use synthfm_image::{BoxXyxy, RgbImage, encode_rgb_png};

use super::charts::rgb;
use super::frame::Frame;
use crate::dataset::{Dataset, LoadedCase, LoadedVolume};
use crate::evaluate::{Evaluation, Kept, Options, Row, VolumeNote};
use crate::{Error, Result};

/// Most structures of one data set that are drawn: those with the lowest median.
const MAX_STRUCTURES: usize = 6;
/// Most pictures of one report.
const MAX_PICTURES: usize = 160;
const TRUTH: Colour = [255, 220, 60];

/// A picture with its caption.
pub(super) struct Picture {
    pub(super) dataset: String,
    pub(super) caption: String,
    pub(super) png_base64: String,
}

/// One target that is drawn, with the answers of all models.
struct Chosen<'a> {
    what: &'static str,
    answers: Vec<&'a Kept>,
}

/// The image or volume that the pictures of a case are cut from.
enum Source {
    Views(LoadedCase),
    Volume(Box<LoadedVolume>),
}

impl Source {
    /// The image that a target was seen on; of a volume its worst slice.
    fn image(&self, kept: &Kept, row: &Row) -> Result<RgbImage> {
        match self {
            Self::Views(loaded) => {
                let view = loaded.views.get(kept.view[2]).ok_or_else(gone)?;
                Ok(view.image.clone())
            }
            Self::Volume(loaded) => {
                let note = row.volume.as_ref().ok_or_else(gone)?;
                Ok(loaded.shown.slice(note.worst)?)
            }
        }
    }
}

fn gone() -> Error {
    Error::Parameter("its image is no longer there".to_owned())
}

/// The worst and the median target of each structure, drawn; an image that cannot be read again gives a caption that
/// says so.
pub(super) fn pictures(
    evaluation: &Evaluation,
    datasets: &[Dataset],
    options: &Options,
) -> Result<Vec<Picture>> {
    let models = models(evaluation);
    let mut pictures = Vec::new();
    let mut last: Option<([usize; 2], Result<Source>)> = None;
    for chosen in chosen(evaluation, models.first().copied()) {
        let first = chosen.answers[0];
        let [dataset, case, _] = first.view;
        // Neighbours are often of the same case, whose volume is read once.
        if last
            .as_ref()
            .is_none_or(|(place, _)| *place != [dataset, case])
        {
            last = Some(([dataset, case], load(datasets, [dataset, case], options)));
        }
        let loaded = last.as_ref().map(|(_, loaded)| loaded);
        let row = &evaluation.rows[first.row];
        let caption = caption(chosen.what, &chosen.answers, evaluation);
        let drawn = match loaded {
            Some(Ok(loaded)) => draw(evaluation, &chosen, loaded, &models),
            Some(Err(error)) => Err(Error::Parameter(error.to_string())),
            None => continue,
        };
        let (caption, png_base64) = match drawn {
            Ok(image) => (caption, BASE64_STANDARD.encode(encode_rgb_png(&image)?)),
            Err(error) => (format!("{caption}: {error}"), String::new()),
        };
        pictures.push(Picture {
            dataset: row.dataset.clone(),
            caption,
            png_base64,
        });
    }
    Ok(pictures)
}

fn load(datasets: &[Dataset], [dataset, case]: [usize; 2], options: &Options) -> Result<Source> {
    let dataset = datasets.get(dataset).ok_or_else(gone)?;
    let case = dataset.cases.get(case).ok_or_else(gone)?;
    if options.volume.is_some() {
        let loaded = dataset.load_volume(case, &options.load())?;
        return Ok(Source::Volume(Box::new(loaded.ok_or_else(gone)?)));
    }
    Ok(Source::Views(dataset.load_with(case, &options.load())?))
}

/// The models in the order of the rows.
pub(super) fn models(evaluation: &Evaluation) -> Vec<&str> {
    let mut models: Vec<&str> = Vec::new();
    for row in &evaluation.rows {
        if !models.contains(&row.model.as_str()) {
            models.push(&row.model);
        }
    }
    models
}

/// Targets with their Dice.
type Scored<'a> = Vec<(f64, &'a Kept)>;

/// The key that names a target: its image, structure and component.
fn target<'a>(kept: &Kept, row: &'a Row) -> ([usize; 3], &'a str, u32) {
    (kept.view, &row.structure, row.component)
}

fn chosen<'a>(evaluation: &'a Evaluation, reference: Option<&str>) -> Vec<Chosen<'a>> {
    let scored = |kept: &'a Kept| {
        let row = &evaluation.rows[kept.row];
        row.outcome
            .as_ref()
            .ok()
            .map(|scores| (scores.dice, kept, row))
    };
    let mut groups: BTreeMap<(usize, u16, &str), Scored> = BTreeMap::new();
    for (dice, kept, row) in evaluation.kept.iter().filter_map(scored) {
        if reference == Some(&row.model) {
            let place = (kept.view[0], row.label, row.structure.as_str());
            groups.entry(place).or_default().push((dice, kept));
        }
    }
    let mut by_dataset: BTreeMap<usize, Vec<Scored>> = BTreeMap::new();
    for ((dataset, ..), mut group) in groups {
        group.sort_by(|a, b| a.0.total_cmp(&b.0));
        by_dataset.entry(dataset).or_default().push(group);
    }
    let mut others: BTreeMap<([usize; 3], &str, u32), Vec<&Kept>> = BTreeMap::new();
    for kept in &evaluation.kept {
        let place = target(kept, &evaluation.rows[kept.row]);
        others.entry(place).or_default().push(kept);
    }
    let answers = |first: &'a Kept| {
        let all = others.get(&target(first, &evaluation.rows[first.row]));
        let rest = all
            .into_iter()
            .flatten()
            .filter(|kept| kept.row != first.row);
        [first]
            .into_iter()
            .chain(rest.copied())
            .collect::<Vec<&Kept>>()
    };
    let mut chosen = Vec::new();
    for mut groups in by_dataset.into_values() {
        let median = |group: &[(f64, &Kept)]| (group.len() - 1) / 2;
        groups.sort_by(|a, b| a[median(a)].0.total_cmp(&b[median(b)].0));
        for group in groups.into_iter().take(MAX_STRUCTURES) {
            let at = median(&group);
            let mut push = |what, kept| {
                let answers = answers(kept);
                chosen.push(Chosen { what, answers });
            };
            push("worst", group[0].1);
            if at > 0 {
                push("median", group[at].1);
            }
        }
    }
    chosen.truncate(MAX_PICTURES);
    chosen
}

fn caption(what: &str, answers: &[&Kept], evaluation: &Evaluation) -> String {
    let row = &evaluation.rows[answers[0].row];
    let slice = match (&row.volume, row.slice) {
        (Some(note), _) => format!(", worst slice {} of {}", note.worst, note.slices),
        (None, Some(slice)) => format!(", slice {slice}"),
        (None, None) => String::new(),
    };
    let component = match row.component {
        0 => String::new(),
        number => format!(" #{number}"),
    };
    let dice = answers.iter().map(|kept| {
        let row = &evaluation.rows[kept.row];
        let dice = row.outcome.as_ref().map_or(f64::NAN, |scores| scores.dice);
        format!("{} {:.1} %", row.model, 100.0 * dice)
    });
    let dice: Vec<String> = dice.collect();
    format!(
        "{}{component}, {what}: {}{slice}, prompts {}. Dice: {}",
        row.structure,
        row.case,
        row.prompt,
        dice.join(", ")
    )
}

fn draw(
    evaluation: &Evaluation,
    chosen: &Chosen,
    loaded: &Source,
    models: &[&str],
) -> Result<RgbImage> {
    let first = chosen.answers[0];
    let row = &evaluation.rows[first.row];
    let image = loaded.image(first, row)?;
    let truth = first.truth.decode();
    if truth.size() != image.size() {
        return Err(gone());
    }
    let predicted = first.prediction.decode();
    let colour = |kept: &Kept| {
        let name = &evaluation.rows[kept.row].model;
        rgb(models.iter().position(|model| model == name).unwrap_or(0))
    };
    let frame = Frame::around(if truth.area() > 0 { &truth } else { &predicted });
    let prediction = frame.mask(&predicted);
    let mut image = overlay(&frame.image(&image), &prediction, colour(first), 0.3)?;
    for other in &chosen.answers[1..] {
        outline_on(
            &mut image,
            &frame.mask(&other.prediction.decode()),
            colour(other),
        )?;
    }
    outline_on(&mut image, &frame.mask(&truth), TRUTH)?;
    let elsewhere = |note: &VolumeNote| !note.prompted.contains(&note.worst);
    if row.volume.as_ref().is_some_and(elsewhere) {
        return Ok(image);
    }
    if let Some(BoxXyxy { min, max }) = row.prompts.bounding_box {
        let (min, max) = (frame.point(min), frame.point(max));
        box_outline(&mut image, BoxXyxy { min, max }, TRUTH);
    }
    for click in &row.prompts.clicks {
        let mark = if click.positive {
            positive_click
        } else {
            negative_click
        };
        mark(&mut image, frame.point(click.point));
    }
    Ok(image)
}
