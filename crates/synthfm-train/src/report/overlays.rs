//! Pictures of the worst and the median case of every segmenter on every data set.
//! The median is the lower one by Dice. Differs: a window around the target is drawn, not the whole image.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use synthfm_image::draw::{
    Colour, box_outline, negative_click, outline_on, overlay, positive_click,
};
use synthfm_image::{BoxXyxy, RgbImage, encode_rgb_png};

use super::frame::Frame;
use crate::dataset::Dataset;
use crate::evaluate::{Evaluation, Kept, Row};
use crate::{Error, Result};

/// Most pictures of one report.
const MAX_PICTURES: usize = 60;
const TRUTH: Colour = [255, 220, 60];
const PREDICTION: Colour = [60, 170, 255];

/// A picture with its caption.
pub(super) struct Picture {
    pub(super) caption: String,
    pub(super) png_base64: String,
}

/// The worst and the median row of each model on each data set, drawn; an image that cannot be read again gives a
/// caption that says so.
pub(super) fn pictures(evaluation: &Evaluation, datasets: &[Dataset]) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for (what, kept) in chosen(evaluation) {
        let row = &evaluation.rows[kept.row];
        let picture = match draw(row, kept, datasets) {
            Ok(image) => Picture {
                caption: caption(what, row),
                png_base64: BASE64_STANDARD.encode(encode_rgb_png(&image)?),
            },
            Err(error) => Picture {
                caption: format!("{}: {error}", caption(what, row)),
                png_base64: String::new(),
            },
        };
        pictures.push(picture);
    }
    Ok(pictures)
}

fn chosen(evaluation: &Evaluation) -> Vec<(&'static str, &Kept)> {
    let mut groups: BTreeMap<(&str, &str), Vec<(f64, &Kept)>> = BTreeMap::new();
    for kept in &evaluation.kept {
        let row = &evaluation.rows[kept.row];
        if let Ok(scores) = &row.outcome {
            let group = groups.entry((&row.model, &row.dataset)).or_default();
            group.push((scores.dice, kept));
        }
    }
    let mut chosen = Vec::new();
    for mut group in groups.into_values() {
        group.sort_by(|a, b| a.0.total_cmp(&b.0));
        let median = (group.len() - 1) / 2;
        chosen.push(("worst", group[0].1));
        if median > 0 {
            chosen.push(("median", group[median].1));
        }
    }
    chosen.truncate(MAX_PICTURES);
    chosen
}

fn caption(what: &str, row: &Row) -> String {
    let dice = row.outcome.as_ref().map_or(f64::NAN, |scores| scores.dice);
    let slice = row
        .slice
        .map_or_else(String::new, |slice| format!(", slice {slice}"));
    let component = match row.component {
        0 => String::new(),
        number => format!(" #{number}"),
    };
    format!(
        "{} on {}, {what}: {}{slice}, {}{component}, prompts {}, Dice {:.1} %",
        row.model,
        row.dataset,
        row.case,
        row.structure,
        row.prompt,
        100.0 * dice
    )
}

fn draw(row: &Row, kept: &Kept, datasets: &[Dataset]) -> Result<RgbImage> {
    let [dataset, case, view] = kept.view;
    let gone = || Error::Parameter("its image is no longer there".to_owned());
    let dataset = datasets.get(dataset).ok_or_else(gone)?;
    let loaded = dataset.load(dataset.cases.get(case).ok_or_else(gone)?)?;
    let view = loaded.views.get(view).ok_or_else(gone)?;
    let truth = kept.truth.decode();
    let frame = Frame::around(&truth);
    let prediction = frame.mask(&kept.prediction.decode());
    let mut image = overlay(&frame.image(&view.image), &prediction, PREDICTION, 0.3)?;
    outline_on(&mut image, &frame.mask(&truth), TRUTH)?;
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
