//! Whole evaluations on small folders, with segmenters whose answers are known.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use synthfm_image::{GreyDepth, Image, LabelMap, Point2, Size, write_grey_png, write_label_png};
use tempfile::TempDir;

use super::*;
use crate::clicks::Negatives;
use crate::dataset::Dataset;

/// A data set of pictures of 12 x 20 pixels with a 4 x 6 rectangle at `[3.., 5..]` and a pixel of structure `dot`.
pub(crate) fn folder(cases: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for name in ["imagesTs", "labelsTs"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let manifest = r#"{"name": "Rectangles", "channel_names": {"0": "US"},
        "labels": {"background": 0, "box": 1, "dot": 2, "nothing": 3}, "file_ending": ".png"}"#;
    fs::write(root.path().join("dataset.json"), manifest).unwrap();
    for case in cases {
        write_case(root.path(), case, &rectangle());
    }
    root
}

fn write_case(root: &Path, case: &str, labels: &LabelMap) {
    let image = Image::zeros(labels.size());
    let path = root.join(format!("imagesTs/{case}_0000.png"));
    write_grey_png(&path, &image, 0.0..=1.0, GreyDepth::Eight).unwrap();
    write_label_png(&root.join(format!("labelsTs/{case}.png")), labels).unwrap();
}

fn rectangle() -> LabelMap {
    let size = Size::new(12, 20);
    let label = |i: usize| match (i / 20, i % 20) {
        (3..7, 5..11) => 1,
        (11, 19) => 2,
        _ => 0,
    };
    LabelMap::new(size, (0..size.area()).map(label).collect()).unwrap()
}

/// Answers with the box, one column short; nothing without a box; an error for two positives, a mask of another size
/// for three. Counts its images, and those of its forks, in one place.
#[derive(Clone)]
struct Scripted {
    name: &'static str,
    size: Size,
    images: Arc<AtomicUsize>,
    refused: usize,
    /// Set at the refused image, which is then taken.
    stop: Option<Arc<AtomicBool>>,
}

impl Scripted {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            size: Size::new(0, 0),
            images: Arc::default(),
            refused: usize::MAX,
            stop: None,
        }
    }
}

impl Segmenter for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn identity(&self) -> String {
        format!("{} 1", self.name)
    }

    fn fork(&self) -> Box<dyn Segmenter> {
        Box::new(self.clone())
    }

    fn answers(&self, setting: PromptSetting) -> bool {
        self.name != "boxes alone" || setting.is_box()
    }

    fn set_image(&mut self, image: &RgbImage) -> Result<()> {
        self.size = image.size();
        if self.images.fetch_add(1, Ordering::Relaxed) + 1 == self.refused {
            if let Some(stop) = &self.stop {
                stop.store(true, Ordering::Relaxed);
                return Ok(());
            }
            return Err(Error::Parameter("second image refused".to_owned()));
        }
        Ok(())
    }

    fn segment(&mut self, prompts: &PromptSet) -> Result<Mask> {
        let mut mask = Mask::zeros(self.size);
        let negatives = prompts.clicks.iter().filter(|c| !c.positive).count();
        match prompts.clicks.len() - negatives {
            2 => return Err(Error::Parameter("two clicks refused".to_owned())),
            3 => return Ok(Mask::zeros(Size::new(20, 12))),
            _ => {}
        }
        if let Some(b) = prompts.bounding_box {
            for row in b.min.y as usize..=b.max.y as usize {
                for col in b.min.x as usize..b.max.x as usize {
                    mask.data_mut()[self.size.index(row, col)] = true;
                }
            }
        }
        Ok(mask)
    }
}

pub(crate) fn options(settings: &[&str]) -> Options {
    Options {
        settings: settings.iter().map(|text| text.parse().unwrap()).collect(),
        ..Options::default()
    }
}

fn run(root: &Path, options: &Options) -> Evaluation {
    let mut scripted = Scripted::new("scripted");
    scripted.refused = 2;
    run_with(root, options, &[scripted], &RunOptions::default())
}

fn run_with(
    root: &Path,
    options: &Options,
    segmenters: &[Scripted],
    run: &RunOptions,
) -> Evaluation {
    let datasets = [Dataset::open(root).unwrap()];
    let boxed = |s: &Scripted| Box::new(s.clone()) as Box<dyn Segmenter>;
    let segmenters: Vec<Box<dyn Segmenter>> = segmenters.iter().map(boxed).collect();
    let stop = AtomicBool::new(false);
    evaluate(&datasets, &segmenters, options, run, |_| {}, &stop).unwrap()
}

/// The rows without what a clock measured.
fn timeless(found: &Evaluation) -> Vec<Row> {
    let mut rows = found.rows.clone();
    for row in &mut rows {
        (row.encode_ms, row.time_ms) = (0.0, 0.0);
    }
    rows
}

#[test]
fn scores_are_those_computed_by_hand() {
    let root = folder(&["a"]);
    let found = run(root.path(), &options(&["box", "1,0"]));
    let [boxed, clicked] = &found.rows[..] else {
        panic!("two rows expected, got {}", found.rows.len());
    };
    // The rectangle without its last column: 20 of 24 pixels.
    let scores = boxed.outcome.clone().unwrap();
    assert!((scores.dice - 40.0 / 44.0).abs() < 1e-12);
    assert!((scores.iou - 20.0 / 24.0).abs() < 1e-12);
    assert!((scores.hd95 - 1.0).abs() < 1e-12);
    assert!((scores.nsd - 1.0).abs() < 1e-12);
    // 16 border pixels of the truth, 4 of them 1 away from the 14 of the prediction, of which 2 in its last column are
    // 1 away from the border of the truth.
    assert!((scores.assd - 6.0 / 30.0).abs() < 1e-12, "{}", scores.assd);
    assert_eq!((boxed.area_px, scores.predicted_px), (24, 20));
    assert_eq!((boxed.unit(), boxed.structure.as_str()), ("px", "box"));
    // Empty prediction: everything 0, the distance is the image's diagonal.
    let scores = clicked.outcome.clone().unwrap();
    assert!(scores.dice + scores.iou + scores.nsd < 1e-12);
    assert!((scores.hd95 - (144.0f64 + 400.0).sqrt()).abs() < 1e-9);
    assert_eq!(clicked.prompts.clicks[0].point, Point2::new(8.0, 5.0));
    // `dot` has one pixel, `nothing` none.
    assert_eq!((found.too_small, found.absent), (1, 1));
}

#[test]
fn pixels_of_unknown_truth_take_no_part() {
    let root = folder(&[]);
    let manifest = r#"{"name": "Partly known", "channel_names": {"0": "US"},
        "labels": {"background": 0, "box": 1, "ignore": 9}, "file_ending": ".png"}"#;
    fs::write(root.path().join("dataset.json"), manifest).unwrap();
    // Case a: one pixel inside the rectangle. Case b: everything around it but the first row.
    let (mut inside, mut around) = (rectangle(), rectangle());
    inside.data_mut()[4 * 20 + 6] = 9;
    for (i, label) in around.data_mut().iter_mut().enumerate() {
        *label = if i >= 20 && *label != 1 { 9 } else { *label };
    }
    write_case(root.path(), "a", &inside);
    write_case(root.path(), "b", &around);
    let asked = Options {
        negatives: vec![Negatives::Far, Negatives::Ring],
        ..options(&["box", "1,2", "iterative-3"])
    };
    let found = run_with(
        root.path(),
        &asked,
        &[Scripted::new("scripted")],
        &RunOptions::default(),
    );
    assert!(found.rows.iter().all(|row| row.structure == "box"));
    let row = |case: &str, setting: &str| {
        let mut rows = found.rows.iter();
        let found = rows.find(|row| row.case == case && row.prompt.to_string() == setting);
        found.unwrap_or_else(|| panic!("{case} {setting}"))
    };
    // 23 pixels of truth; the box without its last column has 20, one of them unknown.
    let boxed = row("a", "box");
    let scores = boxed.outcome.clone().unwrap();
    assert_eq!((boxed.area_px, scores.predicted_px), (23, 19));
    assert!((scores.dice - 38.0 / 42.0).abs() < 1e-12);
    for setting in ["1,2 far", "1,2 ring"] {
        let clicks = &row("b", setting).prompts.clicks;
        let negatives: Vec<_> = clicks.iter().filter(|click| !click.positive).collect();
        assert_eq!(negatives.len(), 2, "{setting}");
        assert!(negatives.iter().all(|click| click.point.y < 1.0));
    }
    let notes = found.notes.iter().map(|note| note.text.as_str());
    assert_eq!(
        notes.filter(|note| note.contains("`ignore` (9)")).count(),
        2
    );
}

#[test]
fn failures_are_rows_and_do_not_touch_others() {
    let root = folder(&["a", "b", "c"]);
    let found = run(root.path(), &options(&["box", "2,0", "3,0"]));
    let outcomes: Vec<String> = found
        .rows
        .iter()
        .map(|row| match &row.outcome {
            Ok(scores) => format!("{} {:.3}", row.case, scores.dice),
            Err(problem) => format!("{} {problem}", row.case),
        })
        .collect();
    let size = "the segmenter's mask: 12x20 (height x width) expected, got 20x12 (height x width)";
    let expected = [
        "a 0.909".to_owned(),
        "a two clicks refused".to_owned(),
        format!("a {size}"),
        "b second image refused".to_owned(),
        "b second image refused".to_owned(),
        "b second image refused".to_owned(),
        "c 0.909".to_owned(),
        "c two clicks refused".to_owned(),
        format!("c {size}"),
    ];
    assert_eq!(outcomes, expected);
}

#[test]
fn unreadable_cases_are_listed_and_the_others_unchanged() {
    let root = folder(&["a", "b"]);
    let alone = run(root.path(), &options(&["box"]));
    fs::write(root.path().join("imagesTs/0_0000.png"), b"not a picture").unwrap();
    fs::write(root.path().join("labelsTs/0.png"), b"").unwrap();
    fs::write(root.path().join("imagesTs/9_0000.png"), b"").unwrap();
    let found = run(root.path(), &options(&["box"]));
    assert_eq!(
        (found.failed.len(), found.failed[0].case.as_str()),
        (1, "0")
    );
    assert_eq!(
        (found.skipped.len(), found.skipped[0].case.as_str()),
        (1, "9")
    );
    assert_eq!(found.rows[0].outcome, alone.rows[0].outcome);
    assert_eq!(found.rows[0].prompts, alone.rows[0].prompts);
}

#[test]
fn a_stopped_run_is_continued() {
    let root = folder(&["a", "b", "c"]);
    let datasets = [Dataset::open(root.path()).unwrap()];
    let report = root.path().join("report");
    let run = RunOptions {
        folder: Some(&report),
        ..RunOptions::default()
    };
    let options = options(&["1,0", "box"]);
    let stop = Arc::new(AtomicBool::new(false));
    let mut scripted = Scripted::new("s");
    (scripted.refused, scripted.stop) = (2, Some(Arc::clone(&stop)));
    let segmenters: Vec<Box<dyn Segmenter>> = vec![Box::new(scripted)];
    let mut heard = Vec::new();
    let progress = |Progress {
                        done,
                        total,
                        kept,
                        last,
                    }: Progress| {
        heard.push(format!("{done}/{total} {kept} {last}"));
    };
    let found = evaluate(&datasets, &segmenters, &options, &run, progress, &stop).unwrap();
    assert_eq!(heard, ["0/3 0 ", "1/3 0 Rectangles a"]);
    assert!(found.stopped);
    assert_eq!(found.rows.len(), 2);

    let stop = AtomicBool::new(false);
    let mut kept = Vec::new();
    let progress = |progress: Progress| kept.push(progress.kept);
    let continued = evaluate(&datasets, &segmenters, &options, &run, progress, &stop).unwrap();
    assert_eq!((kept.len(), kept[0], continued.rows_kept), (3, 1, 2));
    let whole = run_with(
        root.path(),
        &options,
        &[Scripted::new("s")],
        &RunOptions::default(),
    );
    assert_eq!(timeless(&continued), timeless(&whole));
    assert!(!continued.stopped);
}

#[test]
fn a_second_run_keeps_what_has_not_changed() {
    let root = folder(&["a", "b"]);
    let report = root.path().join("report");
    let run = RunOptions {
        folder: Some(&report),
        ..RunOptions::default()
    };
    let one = Scripted::new("one");
    let both = [Scripted::new("two"), one.clone()];
    let of = |options: &Options, segmenters: &[Scripted]| {
        let before = one.images.load(Ordering::Relaxed);
        let found = run_with(root.path(), options, segmenters, &run);
        (found, one.images.load(Ordering::Relaxed) - before)
    };
    let boxed = options(&["box"]);
    let (first, encoded) = of(&boxed, std::slice::from_ref(&one));
    assert_eq!((encoded, first.rows_kept), (2, 0));
    // A torn line, as a power cut leaves it, is passed over.
    let journal = report.join("rows.jsonl");
    let mut text = fs::read_to_string(&journal).unwrap();
    text.push_str("{\"key\": \"half a li");
    fs::write(&journal, text).unwrap();
    let (again, encoded) = of(&boxed, &both);
    assert_eq!((encoded, again.rows_kept), (0, 2));
    let names: Vec<&str> = again.rows.iter().map(|row| row.model.as_str()).collect();
    assert_eq!(names, ["two", "one", "two", "one"]);
    assert_eq!(again.rows[1], first.rows[0]);
    assert_eq!(again.kept.len(), 4);
    // Other options, and a case that changed, are evaluated again.
    let other = Options {
        nsd_tolerance_px: 1.0,
        ..boxed.clone()
    };
    assert_eq!(of(&other, &both).1, 2);
    assert_eq!(of(&other, &both).1, 0);
    write_case(root.path(), "b", &LabelMap::zeros(Size::new(12, 20)));
    let (changed, encoded) = of(&other, &both);
    assert_eq!((encoded, changed.rows_kept, changed.rows.len()), (0, 2, 2));
}

#[test]
fn failures_are_tried_again() {
    let root = folder(&["a", "b"]);
    let report = root.path().join("report");
    let run = RunOptions {
        folder: Some(&report),
        ..RunOptions::default()
    };
    let mut scripted = Scripted::new("s");
    scripted.refused = 2;
    let found = run_with(root.path(), &options(&["box"]), &[scripted.clone()], &run);
    assert!(found.rows[0].outcome.is_ok() && found.rows[1].outcome.is_err());
    let found = run_with(root.path(), &options(&["box"]), &[scripted], &run);
    assert_eq!(found.rows_kept, 1);
    assert!(found.rows.iter().all(|row| row.outcome.is_ok()));
}

#[test]
fn threads_change_nothing() {
    let root = folder(&["a", "b", "c", "d", "e"]);
    let options = options(&["3,2", "box", "box-jitter", "scribble-3", "iterative-4"]);
    let of = |jobs| {
        let run = RunOptions {
            jobs,
            ..RunOptions::default()
        };
        let segmenters = [Scripted::new("x"), Scripted::new("boxes alone")];
        run_with(root.path(), &options, &segmenters, &run)
    };
    let (one, four) = (of(1), of(4));
    assert_eq!(timeless(&one), timeless(&four));
    assert_eq!(one.rows.len(), 5 * (5 + 2));
    let plans: Vec<String> = one
        .unasked
        .iter()
        .map(|(_, plan)| plan.to_string())
        .collect();
    assert_eq!(plans, ["3,2 far", "scribble-3", "iterative-4"]);
}

/// Discs of radius 2 around positive clicks, without the pixels of later negative ones.
#[derive(Clone)]
struct Brush(Size);

impl Segmenter for Brush {
    fn name(&self) -> &'static str {
        "brush"
    }

    fn identity(&self) -> String {
        "brush".to_owned()
    }

    fn fork(&self) -> Box<dyn Segmenter> {
        Box::new(self.clone())
    }

    fn set_image(&mut self, image: &RgbImage) -> Result<()> {
        self.0 = image.size();
        Ok(())
    }

    fn segment(&mut self, prompts: &PromptSet) -> Result<Mask> {
        let mut mask = Mask::zeros(self.0);
        for click in &prompts.clicks {
            for (i, pixel) in mask.data_mut().iter_mut().enumerate() {
                let (x, y) = ((i % self.0.width) as f64, (i / self.0.width) as f64);
                let squared = (x - click.point.x).powi(2) + (y - click.point.y).powi(2);
                let radius = if click.positive { 2.0f64 } else { 0.0 };
                if squared <= radius.powi(2) {
                    *pixel = click.positive;
                }
            }
        }
        Ok(mask)
    }
}

#[test]
fn corrections_follow_the_error_and_are_replayed() {
    let root = folder(&["a", "b"]);
    let datasets = [Dataset::open(root.path()).unwrap()];
    let segmenters: Vec<Box<dyn Segmenter>> = vec![Box::new(Brush(Size::new(0, 0)))];
    let options = options(&["iterative-6", "3,2", "box"]);
    let report = root.path().join("report");
    let run = RunOptions {
        folder: Some(&report),
        save_masks: true,
        ..RunOptions::default()
    };
    let stop = AtomicBool::new(false);
    let found = evaluate(&datasets, &segmenters, &options, &run, |_| {}, &stop).unwrap();
    let row = &found.rows[0];
    let curve = row.curve.as_ref().unwrap();
    assert_eq!((curve.dice.len(), row.prompts.clicks.len()), (6, 6));
    // The disc at (8, 5) reaches row 7, which is outside, and misses the sides of rows 3..7: both errors are one pixel
    // deep, and a tie is a negative click.
    let (first, second) = (row.prompts.clicks[0], row.prompts.clicks[1]);
    assert_eq!(first, Click::positive(Point2::new(8.0, 5.0)));
    assert_eq!(second, Click::negative(Point2::new(8.0, 7.0)));
    assert!(row.prompts.clicks[2].positive);
    assert!(curve.iou[0] < curve.iou[1] && curve.iou[1] < curve.iou[2]);
    let last = row.outcome.as_ref().unwrap();
    assert!((last.dice - curve.dice[5]).abs() < 1e-12);
    for row in &found.rows {
        let saved = row.mask.as_ref().unwrap();
        let read = |name: &str| {
            let file = synthfm_image::read_labels(
                &report.join(name),
                &synthfm_image::ReadOptions::default(),
            );
            let synthfm_image::LabelFile::Map(map) = file.unwrap() else {
                panic!("a picture expected");
            };
            map.mask_of(255)
        };
        let (prediction, truth) = (read(&saved.prediction), read(&saved.truth));
        assert_eq!(truth.area(), row.area_px);
        assert_eq!(
            prediction.area(),
            row.outcome.as_ref().unwrap().predicted_px
        );
    }
    // The prompts of the file give the same rows, whatever the seed.
    crate::report::Report::new(&found, &options)
        .write(&report, &datasets, &())
        .unwrap();
    let replay = Replay::read(&report).unwrap();
    let run = RunOptions {
        replay: Some(&replay),
        ..RunOptions::default()
    };
    let other_seed = Options {
        seed: 77,
        ..options.clone()
    };
    let replayed = evaluate(&datasets, &segmenters, &other_seed, &run, |_| {}, &stop).unwrap();
    let without_masks = |rows: Vec<Row>| -> Vec<Row> {
        rows.into_iter()
            .map(|row| Row { mask: None, ..row })
            .collect()
    };
    assert_eq!(timeless(&replayed), without_masks(timeless(&found)));
    let more = Options {
        settings: vec!["5,0".parse().unwrap()],
        ..options
    };
    let missing = evaluate(&datasets, &segmenters, &more, &run, |_| {}, &stop).unwrap();
    let problem = missing.rows[0].outcome.clone().unwrap_err();
    assert!(problem.contains("no prompts for this target"), "{problem}");
}

#[test]
fn odd_cases_are_reported_and_leave_the_others_alone() {
    let root = folder(&["b", "d"]);
    let alone = run_with(
        root.path(),
        &options(&["box"]),
        &[Scripted::new("s")],
        &RunOptions::default(),
    );
    // Nothing of the structures, a value that has no name, another size, a missing image and a missing label file.
    write_case(root.path(), "a", &LabelMap::zeros(Size::new(12, 20)));
    let mut strange = rectangle();
    strange.data_mut()[0] = 9;
    write_case(root.path(), "c", &strange);
    write_case(root.path(), "e", &rectangle());
    write_label_png(
        &root.path().join("labelsTs/e.png"),
        &LabelMap::zeros(Size::new(20, 12)),
    )
    .unwrap();
    write_label_png(&root.path().join("labelsTs/f.png"), &rectangle()).unwrap();
    write_case(root.path(), "g", &rectangle());
    fs::remove_file(root.path().join("labelsTs/g.png")).unwrap();
    let found = run_with(
        root.path(),
        &options(&["box"]),
        &[Scripted::new("s")],
        &RunOptions::default(),
    );
    let cases: Vec<&str> = found.rows.iter().map(|row| row.case.as_str()).collect();
    assert_eq!(cases, ["b", "c", "d"]);
    let own = |found: &Evaluation, case: &str| -> Vec<Row> {
        timeless(found)
            .into_iter()
            .filter(|row| row.case == case)
            .collect()
    };
    for case in ["b", "d"] {
        assert_eq!(own(&found, case), own(&alone, case));
    }
    // Three structures are absent from `a`, `nothing` from the other three.
    assert_eq!((found.absent, found.too_small), (3 + 3, 3));
    assert!(found.notes[0].case == "c" && found.notes[0].text.ends_with("left out: 9"));
    assert!(found.failed[0].case == "e" && found.failed[0].text.contains("got 20x12"));
    assert!(found.skipped[0].case == "g" && found.skipped[0].text.contains("does not exist"));
    assert_eq!((found.failed.len(), found.skipped.len()), (1, 1));
}

#[test]
fn options_without_sense_are_named() {
    for (options, expected) in [
        (options(&[]), "prompts"),
        (
            Options {
                negatives: Vec::new(),
                ..options(&["1,2"])
            },
            "negatives",
        ),
        (
            Options {
                nsd_tolerance_mm: f64::NAN,
                ..Options::default()
            },
            "nsd_tolerance_mm",
        ),
    ] {
        let error = options.validate().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
