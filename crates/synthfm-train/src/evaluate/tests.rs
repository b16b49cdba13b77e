//! Whole evaluations on small folders, with segmenters whose answers are known.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use synthfm_image::{GreyDepth, Image, LabelMap, Point2, Size, write_grey_png, write_label_png};
use tempfile::TempDir;

use super::*;
use crate::baseline::Disc;
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

/// Answers with the box, one column short per negative click; nothing without a box; an error for two positives.
struct Scripted {
    size: Size,
    images: usize,
}

impl Segmenter for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn set_image(&mut self, image: &RgbImage) -> Result<()> {
        self.size = image.size();
        self.images += 1;
        if self.images == 2 {
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
    let datasets = [Dataset::open(root).unwrap()];
    let size = Size::new(0, 0);
    let mut segmenters: Vec<Box<dyn Segmenter>> = vec![Box::new(Scripted { size, images: 0 })];
    let stop = AtomicBool::new(false);
    evaluate(&datasets, &mut segmenters, options, |_, _, _| {}, &stop).unwrap()
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
fn progress_counts_cases_and_stop_keeps_the_rows() {
    let root = folder(&["a", "b", "c"]);
    let datasets = [Dataset::open(root.path()).unwrap()];
    let mut segmenters: Vec<Box<dyn Segmenter>> = vec![Box::new(Disc::default())];
    let stop = AtomicBool::new(false);
    let mut heard = Vec::new();
    let progress = |done, total, label: &str| {
        heard.push(format!("{done}/{total} {label}"));
        if done == 1 {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let options = options(&["1,0"]);
    let found = evaluate(&datasets, &mut segmenters, &options, progress, &stop).unwrap();
    assert_eq!(heard, ["0/3 Rectangles a", "1/3 Rectangles b"]);
    assert!(found.stopped);
    assert_eq!(found.rows.len(), 1);
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
