//! `synthfm bench encoder` and `synthfm bench decoder`: one part of a model by itself.

use anyhow::Result;
use serde::Serialize;
use synthfm_image::{BoxXyxy, Point2, Size};
use synthfm_sam::{MaskOutput, Predictor, Prompts};

use super::BenchArgs;
use super::{Spread, encode, image_with_click, memory_text, peak_memory_mb, spread};
use crate::model::Model;
use crate::output::Session;
use crate::progress::spinner;

/// Boxes of one call.
const BOXES: usize = 16;

/// The model, the device and the settings of a measurement.
#[derive(Debug, Serialize)]
struct Setting {
    model: String,
    image_size: usize,
    device: String,
    threads: usize,
    precision: String,
    repeats: usize,
}

impl Setting {
    fn new(
        model: &Model,
        predictor: &Predictor,
        args: &BenchArgs,
        session: &Session,
    ) -> Result<Self> {
        Ok(Self {
            model: model.name.clone(),
            image_size: model.file.config().image_size,
            device: session.device()?.description,
            threads: rayon::current_num_threads(),
            precision: predictor.arithmetic().to_string(),
            repeats: usize::from(args.repeats),
        })
    }

    fn text(&self) -> String {
        format!(
            "model                     {} at {} px\n\
             device                    {}, {} threads, {}\n\
             repetitions               {}\n",
            self.model, self.image_size, self.device, self.threads, self.precision, self.repeats,
        )
    }
}

#[derive(Debug, Serialize)]
struct EncoderTimes {
    #[serde(flatten)]
    setting: Setting,
    /// One image, with its resampling to the model's input.
    encode_ms: Spread,
    /// From the median time.
    images_per_second: f64,
    peak_memory_mb: Option<f64>,
}

/// Times the image encoder.
pub(super) fn encoder(args: &BenchArgs, session: &Session) -> Result<()> {
    let model = Model::open(args.model.as_deref())?;
    let mut predictor = model.predictor(session, args.precision)?;
    let setting = Setting::new(&model, &predictor, args, session)?;
    let busy = spinner(session, "encoding");
    let (image, _) = image_with_click(setting.image_size);
    let encode_ms = spread(setting.repeats, || encode(&mut predictor, &image))?;
    busy.finish_and_clear();
    let times = EncoderTimes {
        setting,
        encode_ms,
        images_per_second: 1e3 / encode_ms.median,
        peak_memory_mb: peak_memory_mb(),
    };
    session.print(&times, || {
        format!(
            "{}encode                    {}, {:.3} images per second\n\
             peak memory               {}\n",
            times.setting.text(),
            times.encode_ms.text(),
            times.images_per_second,
            memory_text(times.peak_memory_mb),
        )
    })
}

#[derive(Debug, Serialize)]
struct DecoderTimes {
    #[serde(flatten)]
    setting: Setting,
    /// One mask for one click, at the decoder's resolution.
    click_ms: Spread,
    /// The alternatives for one click, of a model that has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    click_multimask_ms: Option<Spread>,
    boxes: usize,
    /// A mask for each of `boxes` boxes in one call, per box.
    box_ms: Spread,
    peak_memory_mb: Option<f64>,
}

/// Times prompt encoder and mask decoder on one encoded image.
pub(super) fn decoder(args: &BenchArgs, session: &Session) -> Result<()> {
    let model = Model::open(args.model.as_deref())?;
    let mut predictor = model.predictor(session, args.precision)?;
    let setting = Setting::new(&model, &predictor, args, session)?;
    let busy = spinner(session, "encoding");
    let (image, click) = image_with_click(setting.image_size);
    encode(&mut predictor, &image)?;
    busy.set_message("decoding");
    let click = [Prompts {
        points: vec![(click, true)],
        ..Prompts::default()
    }];
    let boxes = boxes(image.size());
    let decode = |prompts: &[Prompts], output| {
        spread(setting.repeats, || {
            predictor.decode(prompts, output)?;
            Ok(())
        })
    };
    let click_ms = decode(&click, MaskOutput::Single)?;
    let alternatives = model.file.config().has_alternatives();
    let click_multimask_ms = alternatives
        .then(|| decode(&click, MaskOutput::Multi))
        .transpose()?;
    let box_ms = decode(&boxes, MaskOutput::Single)?.over(boxes.len());
    busy.finish_and_clear();
    let times = DecoderTimes {
        setting,
        click_ms,
        click_multimask_ms,
        boxes: boxes.len(),
        box_ms,
        peak_memory_mb: peak_memory_mb(),
    };
    session.print(&times, || {
        format!(
            "{}click                     {}\n\
             click, alternatives       {}\n\
             box, of {} in one call    {}\n\
             peak memory               {}\n",
            times.setting.text(),
            times.click_ms.text(),
            times
                .click_multimask_ms
                .map_or("none".to_owned(), Spread::text),
            times.boxes,
            times.box_ms.text(),
            memory_text(times.peak_memory_mb),
        )
    })
}

/// Boxes of different sizes and places in an image.
fn boxes(size: Size) -> Vec<Prompts> {
    let at = |row: usize, col: usize| Point2::from_row_col(row, col);
    (0..BOXES)
        .map(|i| {
            let (row, col) = (size.height * (i / 4) / 8, size.width * (i % 4) / 8);
            let min = at(row, col);
            let max = at(
                row + size.height * (4 + i) / 40,
                col + size.width * (20 - i) / 40,
            );
            Prompts {
                box_: Some(BoxXyxy { min, max }),
                ..Prompts::default()
            }
        })
        .collect()
}
