//! `synthfm predict`: the structure that the prompts mean, as a mask on the grid of the input.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use synthfm_image::{
    Mask, MaskFormat, RgbImage, Scan, ScanInfo, draw, is_special, open_scan, write_json,
    write_rgb_png,
};
use synthfm_sam::{MaskOutput, Predictor, Prompts, SamConfig, Window};

use crate::cache::CacheArgs;
use crate::cli::PredictArgs;
use crate::frame::{Corners, Frame, Position, Spot, region, slice_of, spot};
use crate::input::{self, Input, View};
use crate::model::Model;
use crate::output::{Session, VERSION, check_png, create_parent, shown, usage};
use crate::paths::Paths;
use crate::predict_volume::{BYTES_PER_VOXEL, check_memory};
use crate::progress::spinner;
use crate::{predict_volume, prompts_file};

/// Colour and opacity of the mask in an overlay.
const MASK_COLOUR: draw::Colour = [255, 200, 0];
const MASK_OPACITY: f32 = 0.35;
const BOX_COLOUR: draw::Colour = [60, 160, 255];
/// An answer that covers more of the picture than this is doubtful.
const WHOLE_FRAME: f64 = 0.95;

/// One mask, or those of a prompts file.
pub(crate) fn run(args: &PredictArgs, session: &Session) -> Result<()> {
    match &args.prompts {
        Some(file) => prompts_file::run(file, args, session),
        None if args.labels || args.overlay_dir.is_some() => Err(usage(
            "--labels and --overlay-dir are for --prompts; --overlay draws a single answer",
        )),
        None if args.volume => predict_volume::run(args, session),
        None => one(args, session),
    }
}

/// The model's answer to one prompt.
struct Answer {
    mask: Mask,
    /// The model's own estimate of the mask's `IoU`.
    iou: f32,
    /// The crop that answered; `None` for the whole image.
    window: Option<Window>,
    predict_ms: f64,
}

/// Asks about the image that is set.
fn answer(predictor: &Predictor, prompts: &Prompts, output: MaskOutput) -> Result<Answer> {
    let started = Instant::now();
    let answer = predictor.answer(prompts, output)?;
    Ok(Answer {
        mask: answer.mask,
        iou: answer.iou,
        window: answer.window,
        predict_ms: since_ms(started),
    })
}

/// Which masks are asked for.
pub(crate) const fn output_of(args: &PredictArgs) -> MaskOutput {
    if args.multimask {
        MaskOutput::Multi
    } else {
        MaskOutput::Single
    }
}

/// Refuses `--multimask` for a model without alternatives before anything is encoded.
pub(crate) fn check_output(args: &PredictArgs, config: &SamConfig) -> Result<()> {
    if args.multimask && !config.has_alternatives() {
        bail!(
            "--multimask: this model was trained for one mask per prompt and has no alternatives to choose from"
        );
    }
    Ok(())
}

/// Milliseconds since `started`.
pub(crate) fn since_ms(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

fn one(args: &PredictArgs, session: &Session) -> Result<()> {
    let record_path = check_paths(args)?;
    let input = read_input(args)?;
    for note in input.info.warnings.iter().chain(&input.window_note()) {
        session.note(&format!("note: {note}"));
    }
    for (out, format) in outputs(args) {
        input.check_output(out, format)?;
    }
    // What lies outside is refused before a model is loaded.
    let (prompts, marks) = prompts(args, &input)?;
    for (out, _) in outputs(args) {
        create_parent(out)?;
    }
    if let Some(overlay) = &args.overlay {
        create_parent(overlay)?;
    }
    let model = Model::open(args.model.as_deref())?;
    check_output(args, model.file.config())?;
    let predictor = model
        .predictor(session, args.precision)?
        .with_max_memory(args.view.open.max_memory);
    let mut predictor = args.cache.attach(predictor, session)?;

    let busy = spinner(session, "encoding");
    let started = Instant::now();
    set_image(&mut predictor, args, &input)?;
    let encode_ms = since_ms(started);
    let answer = answer(&predictor, &prompts, output_of(args))?;
    busy.finish_and_clear();

    for (out, format) in outputs(args) {
        for note in input.write_mask(out, &answer.mask, &args.name, format)? {
            session.note(&format!("note: {}: {note}", out.display()));
        }
    }
    if let Some(overlay) = &args.overlay {
        let picture = prompts_picture(&input.rgb, &answer.mask, &prompts)?;
        write_rgb_png(overlay, &picture)?;
    }
    let doubts = doubts(&answer.mask, answer.iou);
    for doubt in &doubts {
        session.note(&format!("note: {doubt}"));
    }
    let mut record = record(args, &input, &marks, &answer);
    let warnings: Vec<&String> = input.info.warnings.iter().chain(&doubts).collect();
    record["warnings"] = json!(warnings);
    record["model"] = json!(model.record()?);
    record["precision"] = json!(predictor.arithmetic().to_string());
    record["cache"] = json!(CacheArgs::stats(&predictor));
    record["encode_ms"] = json!(encode_ms);
    if let Some(path) = record_path {
        write_json(&path, &record)?;
    }
    let Answer {
        mask,
        iou,
        predict_ms,
        ..
    } = answer;
    session.print(&record, || {
        let outs = outputs(args).map(|(out, _)| out.display().to_string());
        let (out, area) = (outs.collect::<Vec<_>>().join(", "), mask.area());
        format!("{out}: {area} pixels, estimated IoU {iou:.2}, encoded in {encode_ms:.0} ms, answered in {predict_ms:.0} ms")
    })
}

/// Reads the picture, or the slice that is asked for or that points in space lie on.
fn read_input(args: &PredictArgs) -> Result<Input> {
    let mut view = View::from(&args.view);
    let scan: Scan = open_scan(&args.input, &view.open)?;
    check_memory(
        &args.input,
        &scan,
        BYTES_PER_VOXEL,
        args.view.open.max_memory,
    )?;
    let points = args.point.iter().chain(&args.negative).copied();
    let corners = args.box_.iter().flat_map(|corners| corners.0);
    let positions: Vec<Position> = points.chain(corners).collect();
    let slice = slice_of(&scan.content, view.plane, args.frame, &positions)?;
    view.slice = view.slice.or(slice);
    input::of_scan(&args.input, &scan, &view)
}

/// Where the prompts lie, in every frame that the image has.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Marks {
    points: Vec<Value>,
    #[serde(rename = "box")]
    box_: Option<[Value; 2]>,
}

impl Marks {
    pub(crate) fn push_point(&mut self, spot: &Spot) {
        self.points.push(spot.record());
    }

    pub(crate) fn set_box(&mut self, corners: &[Spot; 2]) {
        self.box_ = Some(corners.each_ref().map(Spot::record));
    }
}

/// Points and box on the picture; those outside of it are refused.
pub(crate) fn place_prompts(
    input: &Input,
    frame: Frame,
    points: &[(Position, bool)],
    corners: Option<Corners>,
) -> Result<(Prompts, Marks)> {
    let (mut prompts, mut marks) = (Prompts::default(), Marks::default());
    for &(position, positive) in points {
        let spot = spot(&input.place, input.rgb.size(), frame, position)?;
        prompts.points.push((spot.pixel, positive));
        marks.push_point(&spot);
    }
    if let Some(corners) = corners {
        let (found, spots) = region(&input.place, frame, corners)?;
        prompts.box_ = Some(found);
        marks.set_box(&spots);
    }
    Ok((prompts, marks))
}

fn prompts(args: &PredictArgs, input: &Input) -> Result<(Prompts, Marks)> {
    let positive = args.point.iter().map(|&point| (point, true));
    let negative = args.negative.iter().map(|&point| (point, false));
    let points: Vec<(Position, bool)> = positive.chain(negative).collect();
    let (mut prompts, marks) = place_prompts(input, args.frame, &points, args.box_)?;
    if let Some(path) = &args.mask_prompt {
        prompts.earlier = Some(input.place.read_mask(path, &input.rgb)?);
    }
    Ok((prompts, marks))
}

/// Reasons to doubt an answer, one text each.
pub(crate) fn doubts(mask: &Mask, iou: f32) -> Vec<String> {
    let (area, pixels) = (mask.area(), mask.size().area());
    let mut all = Vec::new();
    if area == 0 {
        all.push("the answer is empty: no pixel belongs to the structure".to_owned());
    } else if area as f64 > WHOLE_FRAME * pixels as f64 {
        let share = 100.0 * area as f64 / pixels as f64;
        all.push(format!(
            "the answer covers {share:.0} % of the picture: look at it, and add clicks beside the structure"
        ));
    }
    if iou < 0.0 {
        all.push(format!(
            "the model's own estimate of the IoU is negative ({iou:.2}): it does not trust its answer"
        ));
    }
    all
}

fn set_image(predictor: &mut Predictor, args: &PredictArgs, input: &Input) -> Result<()> {
    match &args.embedding {
        Some(path) => predictor.load_embedding(&input.rgb, path)?,
        None => predictor.set_image(&input.rgb)?,
    }
    Ok(())
}

/// Compares what is read and written, and finds a name for the record; a mask that goes into a device has none.
pub(crate) fn check_paths(args: &PredictArgs) -> Result<Option<PathBuf>> {
    let mut paths = Paths::default();
    paths.read("the input", &args.input);
    let inputs = [
        ("--mask-prompt", &args.mask_prompt),
        ("--embedding", &args.embedding),
    ];
    for (flag, path) in inputs {
        if let Some(path) = path {
            paths.read(flag, path);
        }
    }
    if let Some(path) = Model::path(args.model.as_deref()) {
        paths.read("--model", &path);
    }
    if args.out == Path::new("-") {
        return Err(usage("-o -: name a file, or /dev/stdout with --format"));
    }
    paths.write("-o", &args.out)?;
    for out in &args.also {
        paths.write("--also", out)?;
    }
    if let Some(overlay) = &args.overlay {
        check_png("--overlay", overlay)?;
        paths.write("--overlay", overlay)?;
    }
    let record = if is_special(&args.out) {
        None
    } else {
        Some(paths.record("the record", &record_path(args), ("mask", &args.out))?)
    };
    paths.remove_leftovers();
    Ok(record)
}

/// Every file that the mask is written to, with its format where it was given.
pub(crate) fn outputs(args: &PredictArgs) -> impl Iterator<Item = (&Path, Option<MaskFormat>)> {
    let first = (args.out.as_path(), args.format);
    std::iter::once(first).chain(args.also.iter().map(|out| (out.as_path(), None)))
}

/// The mask's name with `.json`, the first choice for the record: it holds everything that led to the mask.
fn record_path(args: &PredictArgs) -> PathBuf {
    let out = &args.out;
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{}.json", without_ending(&name)))
}

/// A file's name without the longest ending of a format.
fn without_ending(name: &str) -> &str {
    let lower = name.to_lowercase();
    let endings = MaskFormat::ALL.iter().flat_map(|(_, _, endings)| *endings);
    let longest = endings
        .filter(|ending| lower.ends_with(*ending))
        .map(|ending| ending.len())
        .max();
    &name[..name.len() - longest.unwrap_or(0)]
}

fn record(args: &PredictArgs, input: &Input, marks: &Marks, answer: &Answer) -> Value {
    let (slice, axis) = input.place.slice().unzip();
    let mut record = volume_record(args, &input.info, marks);
    let window = answer.window;
    let own = json!({
        "slice": slice,
        "axis": axis,
        "window": input.window,
        "window_source": input.window_source,
        "embedding": args.embedding.as_deref().map(shown),
        "multimask": args.multimask,
        "iou": answer.iou,
        "crop": window.map(|w| [w.left, w.top, w.size.width, w.size.height]),
        "area_px": answer.mask.area(),
        "predict_ms": answer.predict_ms,
    });
    if let (Value::Object(all), Value::Object(own)) = (&mut record, own) {
        all.extend(own);
    }
    record
}

/// The fields that every record of a mask has: the file, the prompts, and the place of the answer.
pub(crate) fn volume_record(args: &PredictArgs, info: &ScanInfo, marks: &Marks) -> Value {
    let points: Vec<Position> = args.point.iter().chain(&args.negative).copied().collect();
    let positive = args.point.iter().map(|_| 1);
    let labels: Vec<u8> = positive.chain(args.negative.iter().map(|_| 0)).collect();
    json!({
        "synthfm": VERSION,
        "input": shown(&args.input),
        "format": info.format.name(),
        "modality": info.modality,
        "frame": args.frame,
        "points": points,
        "point_labels": labels,
        "box": args.box_.map(|corners| corners.numbers()),
        "positions": marks,
        "mask_prompt": args.mask_prompt.as_deref().map(shown),
        "mask": shown(&args.out),
        "also": args.also.iter().map(|out| shown(out)).collect::<Vec<_>>(),
        "name": args.name,
        "overlay": args.overlay.as_deref().map(shown),
    })
}

/// Mask, clicks and box over the input.
pub(crate) fn prompts_picture(
    image: &RgbImage,
    mask: &Mask,
    prompts: &Prompts,
) -> Result<RgbImage> {
    let mut picture = draw::overlay(image, mask, MASK_COLOUR, MASK_OPACITY)?;
    if let Some(region) = prompts.box_ {
        draw::box_outline(&mut picture, region, BOX_COLOUR);
    }
    for &(point, positive) in &prompts.points {
        if positive {
            draw::positive_click(&mut picture, point);
        } else {
            draw::negative_click(&mut picture, point);
        }
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use synthfm_image::Size;

    use super::*;
    use crate::cli::{Cli, Verb};

    #[test]
    fn answers_that_say_nothing_are_doubted() {
        let filled = |count: usize| {
            let data = (0..200).map(|i| i < count).collect();
            Mask::new(Size::new(10, 20), data).unwrap()
        };
        assert!(doubts(&filled(0), 0.5)[0].contains("empty"));
        assert!(doubts(&filled(200), 0.5)[0].contains("100 %"));
        assert!(doubts(&filled(100), -0.1)[0].contains("-0.10"));
        for count in [1, 190] {
            assert_eq!(doubts(&filled(count), 0.0), Vec::<String>::new());
        }
    }

    #[test]
    fn records_lie_beside_their_masks() {
        for (outs, record) in [
            (&["a/b.png"][..], "a/b.json"),
            (&["b.v1.nii.gz"], "b.v1.json"),
            (&["B.NII"], "B.json"),
            (&["c.rtstruct.dcm"], "c.json"),
            (&["c.coco.json"], "c.json"),
            (&["c.json"], "c.record.json"),
            (&["c.png", "c.json"], "c.record.json"),
        ] {
            let mut line = vec!["synthfm", "predict", "x.png", "--point=1,1", "-o", outs[0]];
            line.extend(outs[1..].iter().flat_map(|out| ["--also", out]));
            let cli = Cli::try_parse_from(line).unwrap();
            let Verb::Predict(args) = cli.verb else {
                panic!("not predict")
            };
            let found = check_paths(&args).unwrap();
            assert_eq!(found.as_deref(), Some(Path::new(record)));
        }
    }
}
