//! Tables computed by hand, and the files of a whole report.

use std::fs;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::*;
use crate::baseline::Disc;
use crate::clicks::{Click, Negatives};
use crate::evaluate::tests::{folder, options};
use crate::evaluate::{PromptPlan, PromptSet, Row, Scores, Segmenter, evaluate};
use synthfm_image::Point2;

fn row(place: [&str; 4], prompt: PromptPlan, dice: Option<f64>) -> Row {
    let [dataset, case, modality, structure] = place;
    let scores = |dice| Scores {
        dice,
        iou: dice / 2.0,
        hd95: 10.0 * dice,
        nsd: dice,
        predicted_px: usize::from(dice > 0.0),
    };
    Row {
        model: "m".to_owned(),
        dataset: dataset.to_owned(),
        case: case.to_owned(),
        patient: case.to_owned(),
        modality: modality.to_owned(),
        structure: structure.to_owned(),
        label: u16::from(structure == "spleen"),
        component: 1,
        slice: None,
        spacing_mm: (modality == "CT").then_some([2.0, 1.0]),
        prompt,
        prompts: PromptSet::default(),
        area_px: 20,
        outcome: dice
            .map(scores)
            .ok_or_else(|| "it \"failed\", twice".to_owned()),
        encode_ms: 1.0,
        time_ms: 2.0,
    }
}

fn plans() -> [PromptPlan; 2] {
    let settings = ["1,0", "3,2"].map(|text| text.parse().unwrap());
    let plans = PromptPlan::all(&settings, &[Negatives::Ring]);
    [plans[0], plans[1]]
}

/// Two CT data sets and one US; one row failed, one prediction is empty.
fn evaluation() -> Evaluation {
    let [one, both] = plans();
    Evaluation {
        rows: vec![
            row(["A", "2", "CT", "spleen"], one, Some(0.1)),
            row(["A", "1", "CT", "liver"], one, Some(0.8)),
            row(["A", "1", "CT", "liver"], both, Some(0.9)),
            row(["A", "2", "CT", "liver"], one, Some(0.6)),
            row(["A", "2", "CT", "liver"], both, None),
            row(["B", "1", "CT", "liver"], one, Some(0.3)),
            row(["C", "1", "US", "head"], one, Some(0.0)),
        ],
        ..Evaluation::default()
    }
}

#[test]
fn the_table_is_that_computed_by_hand() {
    let (evaluation, options) = (evaluation(), options(&["1,0", "3,2"]));
    let expected = "\
m: mean Dice in %
data set                  modality     n       1,0  3,2 ring
A liver                   CT           2      70.0      90.0
A spleen                  CT           1      10.0         -
B liver                   CT           1      30.0         -
C head                    US           1       0.0         -
A (all)                   CT           3      50.0      90.0
B (all)                   CT           1      30.0         -
C (all)                   US           1       0.0         -
CT (mean of 2 data sets)  CT           4      40.0      90.0
US (1 data set)           US           1       0.0         -

1 rows failed and are not averaged; see results.csv
";
    assert_eq!(Report::new(&evaluation, &options).text(), expected);
}

#[test]
fn lines_carry_spread_and_counts() {
    let (evaluation, options) = (evaluation(), options(&["1,0", "3,2"]));
    let report = Report::new(&evaluation, &options);
    let find = |level: &str, prompt: &str, modality: &str| {
        let mut lines = report.lines().iter();
        let found = lines.find(|line| {
            line.group.level() == level && line.prompt == prompt && line.modality == modality
        });
        found.unwrap().clone()
    };
    let dataset = find("dataset", "1,0", "CT");
    assert_eq!((dataset.n, dataset.patients, dataset.failed), (3, 2, 0));
    let dice = dataset.dice.unwrap();
    // 0.8, 0.6, 0.1: squares 0.09 + 0.01 + 0.16 over 2.
    assert!((dice.sd.unwrap() - 0.13f64.sqrt()).abs() < 1e-12);
    assert!((dice.median - 0.6).abs() < 1e-12);
    // Two patients: one of them alone is the lowest and the highest resample.
    let [low, high] = dice.ci95.unwrap();
    assert!((low - 0.35).abs() < 1e-12 && (high - 0.8).abs() < 1e-12);
    assert_eq!(dataset.unit, Some("mm"));
    assert!((dataset.hd95.unwrap().mean - 5.0).abs() < 1e-12);
    assert_eq!(find("dataset", "3,2 ring", "CT").failed, 1);
    let us = find("modality", "1,0", "US");
    assert_eq!(
        (us.empty, us.unit, us.dice.unwrap().ci95),
        (1, Some("px"), None)
    );
}

#[test]
fn a_report_is_written_whole() {
    let root = folder(&["a", "b", "<c>"]);
    let datasets = [Dataset::open(root.path()).unwrap()];
    let mut segmenters: Vec<Box<dyn Segmenter>> = vec![Box::new(Disc::default())];
    let options = options(&["1,0", "1,2", "box"]);
    let stop = AtomicBool::new(false);
    let found = evaluate(&datasets, &mut segmenters, &options, |_, _, _| {}, &stop).unwrap();
    let out = root.path().join("new").join("report");
    let report = Report::new(&found, &options);
    report
        .write(&out, &datasets, &json!({"command": "x"}))
        .unwrap();

    let mut names: Vec<_> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["report.html", "results.csv", "summary.json"]);
    let csv = fs::read_to_string(out.join("results.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 9);
    // Radius 1.2 around (8, 5): 5 of the rectangle's 24 pixels, and the whole disc lies inside it.
    let first = csv.lines().nth(1).unwrap();
    assert!(
        first.contains(
            "disc,Rectangles,<c>,<c>,US,box,1,1,,,,\"1,0\",,+8:5,,24,5,0.344828,0.208333,"
        ),
        "{first}"
    );
    let summary = fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["run"]["command"], "x");
    assert_eq!(summary["options"]["settings"], json!(["1,0", "1,2", "box"]));
    assert_eq!(summary["targets_too_small"], 3);
    assert_eq!(summary["lines"][0]["level"], "structure");
    assert_eq!(summary["lines"][0]["structure"], "box");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert_eq!(page.matches("data:image/png;base64,iVBOR").count(), 2);
    assert!(page.contains("&lt;c&gt;") && !page.contains("<c>"));
}

#[test]
fn fields_with_separators_are_quoted() {
    let [one, both] = plans();
    let mut failed = row(["A,B", "1", "CT", "liver"], both, None);
    failed.prompts.clicks = vec![
        Click::positive(Point2::new(3.0, 4.5)),
        Click::negative(Point2::new(0.0, 7.0)),
    ];
    let rows = [row(["A", "1", "CT", "liver"], one, Some(0.5)), failed];
    let mut bytes = Vec::new();
    csv::write(&mut bytes, &rows).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1],
        "m,A,1,1,CT,liver,0,1,,2,1,\"1,0\",,,,20,1,0.500000,0.250000,5.000000,0.500000,mm,1.000,2.000,ok,"
    );
    assert_eq!(
        lines[2],
        "m,\"A,B\",1,1,CT,liver,0,1,,2,1,\"3,2\",ring,+3:4.5 -0:7,,20,,,,,,mm,1.000,2.000,failed,\
         \"it \"\"failed\"\", twice\""
    );
}

#[test]
fn unwritable_folders_are_named() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let (evaluation, options) = (evaluation(), options(&["1,0"]));
    let report = Report::new(&evaluation, &options);
    let error = report.write(&file.join("out"), &[], &()).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}
