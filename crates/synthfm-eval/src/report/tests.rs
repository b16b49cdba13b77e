//! Tables computed by hand, and the files of a whole report.

use std::fs;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::*;
use crate::baseline::{Disc, FloodFill};
use crate::clicks::{Click, Negatives};
use crate::evaluate::tests::{folder, options};
use crate::evaluate::{PromptPlan, PromptSet, Row, RunOptions, Scores, Segmenter, evaluate};
use synthfm_image::Point2;

fn row(place: [&str; 4], prompt: PromptPlan, dice: Option<f64>) -> Row {
    let [dataset, case, modality, structure] = place;
    let scores = |dice| Scores {
        dice,
        iou: dice / 2.0,
        hd95: 10.0 * dice,
        assd: 5.0 * dice,
        nsd: dice,
        predicted_px: usize::from(dice > 0.0),
        contour_ratio: 1.0,
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
        image_px: [10, 12],
        outcome: dice
            .map(scores)
            .ok_or_else(|| "it \"failed\", twice".to_owned()),
        curve: None,
        volume: None,
        missed_clicks: 0,
        note: crate::evaluate::AnswerNote::default(),
        mask: None,
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
    let segmenters: Vec<Box<dyn Segmenter>> =
        vec![Box::new(Disc::default()), Box::new(FloodFill::default())];
    let options = options(&["1,0", "3,0", "1,2", "box", "iterative-3"]);
    let (run, stop) = (RunOptions::default(), AtomicBool::new(false));
    let found = evaluate(&datasets, &segmenters, &options, &run, |_| {}, &stop).unwrap();
    let out = root.path().join("new").join("report");
    let report = Report::new(&found, &options).with_study(Some(Study::Ablation));
    report
        .write(&out, &datasets, &json!({"command": "x"}))
        .unwrap();

    let mut names: Vec<_> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["report.html", "results.csv", "study.csv", "summary.json"]
    );
    let csv = fs::read_to_string(out.join("results.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 3 * 5);
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
    assert_eq!(
        summary["options"]["settings"],
        json!(["1,0", "3,0", "1,2", "box", "iterative-3"])
    );
    assert_eq!(summary["targets_too_small"], 3);
    assert_eq!(summary["lines"][0]["level"], "structure");
    assert_eq!(summary["lines"][0]["structure"], "box");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert_eq!(page.matches("data:image/png;base64,iVBOR").count(), 2);
    assert!(page.contains("&lt;c&gt;") && !page.contains("<c>"));
    for part in [
        "NoC@85",
        "p (Holm)",
        "Table 2",
        "Lowest scores",
        "How to read this page",
        "<dt>1,0</dt><dd>1 click on the structure, in its middle</dd>",
        "<dt>1,2 far</dt><dd>1 click on the structure, in its middle, and 2 clicks beside it, as far away as possible</dd>",
        "iterative-3: mean Dice",
        "<svg",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        !page.contains("<script") && !page.contains("http"),
        "nothing is loaded from elsewhere"
    );
    assert_eq!(summary["comparisons"][0]["model"], "disc");
    let lines = summary["lines"].as_array().unwrap();
    let iterative = lines
        .iter()
        .find(|line| line["prompt"] == "iterative-3")
        .unwrap();
    let curve = iterative["dice_by_click"].as_array().unwrap();
    let dice: Vec<f64> = curve.iter().map(|v| v.as_f64().unwrap()).collect();
    let area = iterative["dice_auc"]["mean"].as_f64().unwrap();
    assert_eq!(dice.len(), 3);
    assert!((area - (dice[0] + 2.0 * dice[1] + dice[2]) / 4.0).abs() < 1e-9);
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
        "m,A,1,1,CT,liver,0,1,,2,1,\"1,0\",,,,20,1,0.500000,0.250000,5.000000,0.500000,mm,1.000,2.000,ok,,2.500000,,,,,,,,,1.000000,0,,10,12,,,,,,,"
    );
    assert_eq!(
        lines[2],
        "m,\"A,B\",1,1,CT,liver,0,1,,2,1,\"3,2\",ring,+3:4.5 -0:7,,20,,,,,,mm,1.000,2.000,failed,\
         \"it \"\"failed\"\", twice\",,,,,,,,,,,,,10,12,,,,,,,"
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

/// Rows of a second model, each lower by a tenth, beside those of [`evaluation`].
fn two_models() -> Evaluation {
    let mut both = evaluation();
    let mut second = both.rows.clone();
    for row in &mut second {
        row.model = "n".to_owned();
        if let Ok(scores) = &mut row.outcome {
            scores.dice -= 0.1;
        }
    }
    both.rows.extend(second);
    both
}

#[test]
fn models_are_compared_over_patients() {
    let (evaluation, options) = (two_models(), options(&["1,0", "3,2"]));
    let report = Report::new(&evaluation, &options);
    let find = |level: &str, modality: &str| {
        let mut all = report.comparisons().iter();
        all.find(|c| c.group.level() == level && c.modality == modality && c.prompt == "1,0")
            .unwrap()
    };
    let ct = find("modality", "CT");
    assert_eq!((ct.model.as_str(), ct.reference.as_str()), ("m", "n"));
    // Patients A 1, A 2 (two targets), B 1.
    assert_eq!((ct.n, ct.targets), (3, 4));
    assert!((ct.mean_difference - 0.1).abs() < 1e-12);
    assert!((ct.rank_biserial - 1.0).abs() < 1e-12);
    assert_eq!(find("modality", "US").ci95, None);
    // Three comparisons of modalities: CT and US with 1,0, CT with 3,2.
    let us = find("modality", "US");
    assert!((us.p - 1.0).abs() < 1e-12 && (us.p_holm - 1.0).abs() < 1e-12);
    assert!(report.text().contains("m - n"), "{}", report.text());
}

#[test]
fn files_are_compared_as_the_rows_were() {
    let folder = tempfile::tempdir().unwrap();
    let both = two_models();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, rows: &[Row]| {
        let mut bytes = Vec::new();
        csv::write(&mut bytes, rows).unwrap();
        fs::write(path(name), bytes).unwrap();
    };
    write("a.csv", &both.rows[..7]);
    write("b.csv", &both.rows[8..]);
    let found = ReportComparison::read(&path("a.csv"), &path("b.csv"), 0).unwrap();
    // Of seven rows one failed, and the first has no partner.
    assert_eq!(
        (found.pairs, found.only_in_first, found.only_in_second),
        (5, 2, 1)
    );
    assert_eq!(found.comparisons[0].model, "m");
    // The same model in both files.
    write("c.csv", &both.rows[..7]);
    let same = ReportComparison::read(&path("a.csv"), &path("c.csv"), 0).unwrap();
    assert_eq!(same.comparisons[0].model, "m (first)");
    assert!(same.comparisons.iter().all(|c| (c.p - 1.0).abs() < 1e-12));
    same.write(&path("out")).unwrap();
    assert!(path("out/comparison.html").is_file() && path("out/comparison.json").is_file());
    fs::write(path("d.csv"), "model,x\nm,1\n").unwrap();
    let error = ReportComparison::read(&path("a.csv"), &path("d.csv"), 0).unwrap_err();
    assert!(error.to_string().contains("d.csv"), "{error}");
}

#[test]
fn studies_have_the_rows_of_the_paper() {
    let (evaluation, options) = (two_models(), options(&["1,0", "3,2"]));
    let lines = summary::lines(&evaluation.rows, 0);
    let mut bytes = Vec::new();
    study::write_csv(&mut bytes, Study::Prompts, &lines).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let expected = "\
modality,structure,data set,n,\"(1,0) m\",\"(1,0) n\",\"(3,2) ring m\",\"(3,2) ring n\"
CT,liver,A,2,70.00 ± 14.14,60.00 ± 14.14,90.00,80.00
CT,spleen,A,1,10.00,0.00,-,-
CT,liver,B,1,30.00,20.00,-,-
CT,mean of structures,,,36.67,26.67,90.00,80.00
US,head,C,1,0.00,-10.00,-,-
US,mean of structures,,,0.00,-10.00,-,-
";
    assert_eq!(text, expected);
    let report = Report::new(&evaluation, &options).with_study(Some(Study::Ablation));
    let text = report.text();
    assert!(
        text.contains("(1,0)             m      36.67  0.00"),
        "{text}"
    );
    assert!(
        text.contains("mean of settings  m      63.33  0.00"),
        "{text}"
    );
}
