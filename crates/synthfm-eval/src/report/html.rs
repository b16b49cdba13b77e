//! `report.html`: one file that needs nothing else, with tables, charts, pictures, tests and what was left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::charts::{self, BoxPlot, box_plot, curves, key};
use super::legend::legend;
use super::overlays::{Picture, models};
use super::page::{close, escaped, note_list, open};
use super::significance::Comparison;
use super::statistics::Stats;
use super::statistics_page::comparison_tables;
use super::study::{self, Study};
use super::summary::{Group, Line};
use super::table::{TableLine, group_name, percent, tables};
use crate::dataset::{Dataset, SliceChoice};
use crate::evaluate::{Evaluation, Options, PromptSetting, Row, Target};

/// Rows in the list of worst ones, per model.
const WORST_ROWS: usize = 15;

/// The parts of the page.
pub(super) struct Parts<'a> {
    pub(super) evaluation: &'a Evaluation,
    pub(super) options: &'a Options,
    pub(super) datasets: &'a [Dataset],
    pub(super) lines: &'a [Line],
    pub(super) comparisons: &'a [Comparison],
    pub(super) pictures: &'a [Picture],
    pub(super) study: Option<Study>,
}

pub(super) fn page(parts: &Parts) -> String {
    let evaluation = parts.evaluation;
    let models = models(evaluation);
    let mut page = open("synthfm evaluation", "Zero-shot evaluation", charts::STYLE);
    page.push_str(&introduction(parts));
    page.push_str(&legend(evaluation));
    if let Some(study) = parts.study {
        page.push_str(&study::html(study, parts.lines));
    }
    page.push_str(&modality_table(parts.lines));
    page.push_str("<h2>Dice against clicks</h2>\n");
    page.push_str(&click_charts(parts.lines, &models));
    page.push_str("<h2>Spread of Dice</h2>\n");
    page.push_str(&box_plots(&evaluation.rows, &models));
    if !parts.comparisons.is_empty() {
        page.push_str("<h2>Differences between models</h2>\n");
        page.push_str(&comparison_tables(parts.comparisons));
    }
    page.push_str(&dice_tables(parts.lines));
    page.push_str(&figures(parts.pictures, &models));
    page.push_str(&worst_rows(&evaluation.rows, &models));
    page.push_str(
        "<h2>All numbers</h2>\n<details><summary>Dice, IoU and distances of every line</summary>\n",
    );
    page.push_str(&details(parts.lines));
    page.push_str("</details>\n");
    for (title, notes) in [
        ("Cases left out", &evaluation.skipped),
        ("Cases that could not be read", &evaluation.failed),
        ("Remarks on files", &evaluation.notes),
    ] {
        page.push_str(&note_list(title, notes));
    }
    page.push_str(close());
    page
}

fn introduction(parts: &Parts) -> String {
    let (evaluation, options) = (parts.evaluation, parts.options);
    let target = match options.target {
        Target::Label => "all pixels of a structure",
        Target::Largest => "the largest component or instance of a structure",
        Target::Components => "each component or instance of a structure",
        Target::Instances => "each instance, or all pixels of a structure without instances",
    };
    let slices = match options.slices {
        SliceChoice::Largest => "per structure the axial slice where it is largest".to_owned(),
        SliceChoice::Every(1) => {
            format!(
                "every axial slice on which a structure has {} pixels",
                options.min_area_px
            )
        }
        SliceChoice::Every(n) => format!(
            "of every {n} axial slices the first, if a structure has {} pixels on it",
            options.min_area_px
        ),
    };
    let [low, high] = options.ct_window_hu;
    let prompts = if evaluation.replayed {
        "those of an earlier report".to_owned()
    } else {
        format!("simulated from the truth, seed {}", options.seed)
    };
    let failed = evaluation.rows.iter().filter(|row| row.outcome.is_err());
    let mut html = format!(
        "<p>Target: {target}, of at least {} pixels ({} smaller ones left out; {} structures absent from their \
         image). Prompts: {prompts}; each is in results.csv. Volumes: {slices}. \
         Intensities: CT volumes {low} to {high} HU, other volumes and 16-bit images from the 0.5 to the 99.5 \
         percentile, 8-bit images as they are. Surface Dice tolerance: {} mm, or {} px where the spacing is \
         unknown. An empty prediction has Dice 0 and the diagonal of the image as its distances. {} rows, {} of \
         them failed and not averaged.{}</p>\n",
        options.min_area_px,
        evaluation.too_small,
        evaluation.absent,
        options.nsd_tolerance_mm,
        options.nsd_tolerance_px,
        evaluation.rows.len(),
        failed.count(),
        if evaluation.stopped {
            " <strong>The run was stopped before its end.</strong>"
        } else {
            ""
        },
    );
    let _ = writeln!(
        html,
        "<p>Data: {}.</p>",
        escaped(&data_names(parts.datasets))
    );
    let mut unasked: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (model, plan) in &evaluation.unasked {
        unasked.entry(model).or_default().push(plan.to_string());
    }
    for (model, plans) in unasked {
        let _ = writeln!(
            html,
            "<p>{} was not made for these prompts and did not get them: {}.</p>",
            escaped(model),
            escaped(&plans.join("; "))
        );
    }
    html
}

/// Every data set with its layout and number of cases.
fn data_names(datasets: &[Dataset]) -> String {
    let name = |dataset: &Dataset| {
        let (n, layout) = (dataset.cases.len(), dataset.layout);
        format!("{} ({layout}, {n} cases)", dataset.name)
    };
    let names: Vec<String> = datasets.iter().map(name).collect();
    names.join(", ")
}

/// Mean Dice per modality, one row per model: the gist of the report.
fn modality_table(lines: &[Line]) -> String {
    let tables = tables(lines);
    let Some(first) = tables.first() else {
        return String::new();
    };
    let mut html =
        "<h2>Mean Dice in % per modality</h2>\n<table class=\"names\"><tr><th>modality</th><th>model</th>"
            .to_owned();
    for prompt in &first.prompts {
        let _ = write!(html, "<th>{}</th>", escaped(prompt));
    }
    html.push_str("</tr>\n");
    let mut by_modality: BTreeMap<&str, Vec<(&str, &TableLine)>> = BTreeMap::new();
    for table in &tables {
        for line in table
            .lines
            .iter()
            .filter(|line| *line.group == Group::Modality)
        {
            let models = by_modality.entry(line.modality).or_default();
            models.push((table.model, line));
        }
    }
    for (modality, models) in by_modality {
        for (n, (model, line)) in models.into_iter().enumerate() {
            let (class, modality) = if n == 0 {
                (
                    " class=\"modality\"",
                    group_name(line.group, modality, line.datasets),
                )
            } else {
                ("", String::new())
            };
            let _ = write!(
                html,
                "<tr{class}><td>{}</td><td>{}</td>",
                escaped(&modality),
                escaped(model)
            );
            for &cell in &line.cells {
                let _ = write!(html, "<td>{}</td>", percent(cell));
            }
            html.push_str("</tr>\n");
        }
    }
    html.push_str("</table>\n");
    html
}

/// Numbers of clicks with their mean Dice.
type Points = Vec<(f64, f64)>;

/// Per modality the curves of iterative clicks; without any, Dice over the number of positive clicks.
fn click_charts(lines: &[Line], models: &[&str]) -> String {
    let own = || lines.iter().filter(|line| line.group == Group::Modality);
    let iterative = own().any(|line| !line.dice_by_click.is_empty());
    let points = |line: &Line| -> Points {
        if iterative {
            let values = line.dice_by_click.iter().copied();
            return (1..).map(f64::from).zip(values).collect();
        }
        match (line.prompt.parse(), line.dice) {
            (
                Ok(PromptSetting::Clicks {
                    positives,
                    negatives: 0,
                }),
                Some(dice),
            ) => vec![(positives as f64, dice.mean)],
            _ => Vec::new(),
        }
    };
    let mut charts: BTreeMap<(&str, &str), Vec<Points>> = BTreeMap::new();
    for line in own() {
        let setting = if iterative {
            line.prompt.as_str()
        } else {
            "positive clicks"
        };
        let points = points(line);
        if points.is_empty() {
            continue;
        }
        let chart = charts.entry((&line.modality, setting)).or_default();
        chart.resize(models.len(), Vec::new());
        if let Some(n) = models.iter().position(|&model| model == line.model) {
            chart[n].extend(points);
        }
    }
    charts.retain(|_, models| models.iter().any(|points| points.len() > 1));
    if charts.is_empty() {
        return "<p>The settings of this run do not differ in the number of clicks; <code>--prompts iterative</code> \
                gives a curve.</p>\n"
            .to_owned();
    }
    let mut html = if iterative {
        "<p>Each click lies where the answer to the ones before is wrong. Mean over data sets.</p>\n".to_owned()
    } else {
        "<p>Settings with positive clicks alone. Mean over data sets.</p>\n".to_owned()
    };
    html.push_str(&key(models));
    for ((modality, setting), mut models) in charts {
        for points in &mut models {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        html.push_str(&curves(
            &format!("{modality}, {setting}: mean Dice in %"),
            &models,
        ));
    }
    html.push_str(&clicks_needed(lines));
    html
}

/// Clicks that are needed on average, of iterative settings.
fn clicks_needed(lines: &[Line]) -> String {
    let mut rows = String::new();
    for line in lines.iter().filter(|line| line.group == Group::Modality) {
        if let (Some(area), Some(noc85), Some(noc90)) = (line.dice_auc, line.noc85, line.noc90) {
            let _ = writeln!(
                rows,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.1}</td><td>{:.2}</td><td>{:.2}</td></tr>",
                escaped(&line.modality),
                escaped(&line.model),
                escaped(&line.prompt),
                100.0 * area.mean,
                noc85.mean,
                noc90.mean
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<p>Area under the curve of Dice over the answers (%), and mean number of clicks to an IoU of 85 and 90 %; a target that \
         never reaches it counts with all clicks.</p>\n\
         <table><tr><th>modality</th><th>model</th><th>prompts</th><th>AUC</th><th>NoC@85</th><th>NoC@90</th></tr>\n{rows}</table>\n"
    )
}

/// A plot per modality: a group per prompt setting, a box per model.
fn box_plots(rows: &[Row], models: &[&str]) -> String {
    let mut prompts: Vec<String> = Vec::new();
    for row in rows {
        let prompt = row.prompt.to_string();
        if !prompts.contains(&prompt) {
            prompts.push(prompt);
        }
    }
    let mut modalities: BTreeMap<&str, BTreeMap<usize, Vec<Vec<f64>>>> = BTreeMap::new();
    for row in rows {
        let Ok(scores) = &row.outcome else { continue };
        let text = row.prompt.to_string();
        let prompt = prompts.iter().position(|other| *other == text);
        let model = models.iter().position(|other| *other == row.model);
        if let (Some(prompt), Some(model)) = (prompt, model) {
            let groups = modalities.entry(&row.modality).or_default();
            let boxes = groups.entry(prompt).or_default();
            boxes.resize(models.len(), Vec::new());
            boxes[model].push(scores.dice);
        }
    }
    let mut html = "<p>Dice in % of all targets; boxes from the first to the third quartile, whiskers as Tukey's, dots \
                    beyond them.</p>\n"
        .to_owned();
    html.push_str(&key(models));
    for (modality, groups) in modalities {
        let plot = BoxPlot {
            caption: modality.to_owned(),
            groups: groups
                .into_iter()
                .map(|(prompt, boxes)| (prompts[prompt].clone(), boxes))
                .collect(),
        };
        html.push_str(&box_plot(&plot));
    }
    html
}

fn dice_tables(lines: &[Line]) -> String {
    let mut html = "<h2>Mean Dice in % per structure</h2>\n".to_owned();
    for (n, table) in tables(lines).into_iter().enumerate() {
        let open = if n == 0 { " open" } else { "" };
        let _ = write!(
            html,
            "<details{open}><summary>{}</summary>\n<table><tr><th>data set</th><th>modality</th><th>n</th>",
            escaped(table.model)
        );
        for prompt in &table.prompts {
            let _ = write!(html, "<th>{}</th>", escaped(prompt));
        }
        html.push_str("</tr>\n");
        for line in &table.lines {
            html.push_str(&dice_line(line));
        }
        html.push_str("</table></details>\n");
    }
    html
}

fn dice_line(line: &TableLine) -> String {
    let name = group_name(line.group, line.modality, line.datasets);
    let mut html = format!(
        "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}</td>",
        line.group.level(),
        escaped(&name),
        escaped(line.modality),
        line.n
    );
    for &cell in &line.cells {
        let _ = write!(html, "<td>{}</td>", percent(cell));
    }
    html.push_str("</tr>\n");
    html
}

fn figures(pictures: &[Picture], models: &[&str]) -> String {
    let (Some(first), false) = (models.first(), pictures.is_empty()) else {
        return String::new();
    };
    let mut html = format!(
        "<h2>Worst and median targets</h2>\n<p>By Dice of {} with the first prompt setting, for the six structures of \
         each data set with the lowest median. Yellow: truth; filled: {0}; outlines: the other models.</p>\n",
        escaped(first)
    );
    html.push_str(&key(models));
    let mut dataset = "";
    for picture in pictures {
        if picture.dataset != dataset {
            dataset = &picture.dataset;
            let _ = writeln!(html, "<h3>{}</h3>", escaped(dataset));
        }
        let caption = escaped(&picture.caption);
        html.push_str("<figure>");
        if !picture.png_base64.is_empty() {
            let data = &picture.png_base64;
            let _ = write!(
                html,
                "<img alt=\"{caption}\" loading=\"lazy\" src=\"data:image/png;base64,{data}\">"
            );
        }
        let _ = writeln!(html, "<figcaption>{caption}</figcaption></figure>");
    }
    html
}

/// The rows with the lowest Dice, and those that failed.
fn worst_rows(rows: &[Row], models: &[&str]) -> String {
    let mut html = "<h2>Lowest scores</h2>\n".to_owned();
    for model in models {
        let mut own: Vec<(f64, &Row)> = rows
            .iter()
            .filter(|row| row.model == *model)
            .map(|row| (row.outcome.as_ref().map_or(-1.0, |scores| scores.dice), row))
            .collect();
        own.sort_by(|a, b| a.0.total_cmp(&b.0));
        let _ = writeln!(
            html,
            "<details><summary>{}</summary>\n<table class=\"wide names\"><tr><th>data set</th><th>case</th><th>structure</th>\
             <th>slice</th><th>component</th><th>prompts</th><th>Dice %</th><th>truth px</th><th>predicted px</th></tr>",
            escaped(model)
        );
        for (dice, row) in own.iter().take(WORST_ROWS) {
            let (dice, predicted) = match &row.outcome {
                Ok(scores) => (
                    format!("{:.1}", 100.0 * dice),
                    scores.predicted_px.to_string(),
                ),
                Err(problem) => ("failed".to_owned(), problem.clone()),
            };
            let slice = row
                .slice
                .map_or_else(String::new, |slice| slice.to_string());
            let cells = [
                &row.dataset,
                &row.case,
                &row.structure,
                &slice,
                &row.component.to_string(),
                &row.prompt.to_string(),
                &dice,
                &row.area_px.to_string(),
                &predicted,
            ];
            let cells: Vec<String> = cells
                .iter()
                .map(|cell| format!("<td>{}</td>", escaped(cell)))
                .collect();
            let _ = writeln!(html, "<tr>{}</tr>", cells.concat());
        }
        html.push_str("</table></details>\n");
    }
    html
}

fn details(lines: &[Line]) -> String {
    let names = [
        "data set",
        "model",
        "prompts",
        "n",
        "patients",
        "failed",
        "empty",
        "Dice % (95 % interval)",
        "SD",
        "median",
        "IoU %",
        "HD95",
        "ASSD",
        "NSD %",
    ];
    let header: Vec<String> = names
        .iter()
        .map(|name| format!("<th>{name}</th>"))
        .collect();
    let mut html = format!("<table class=\"wide names\"><tr>{}</tr>\n", header.concat());
    for line in lines {
        let unit = line.unit.unwrap_or("");
        let cells = [
            escaped(&group_name(&line.group, &line.modality, line.datasets)),
            escaped(&line.model),
            escaped(&line.prompt),
            line.n.to_string(),
            line.patients.to_string(),
            line.failed.to_string(),
            line.empty.to_string(),
            with_interval(line.dice),
            number(line.dice.and_then(|dice| dice.sd), 100.0, ""),
            number(line.dice.map(|dice| dice.median), 100.0, ""),
            number(line.iou.map(|iou| iou.mean), 100.0, ""),
            number(line.hd95.map(|hd95| hd95.mean), 1.0, unit),
            number(line.assd.map(|assd| assd.mean), 1.0, unit),
            number(line.nsd.map(|nsd| nsd.mean), 100.0, ""),
        ];
        let cells: Vec<String> = cells
            .iter()
            .map(|cell| format!("<td>{cell}</td>"))
            .collect();
        let _ = writeln!(
            html,
            "<tr class=\"{}\">{}</tr>",
            line.group.level(),
            cells.concat()
        );
    }
    html.push_str("</table>\n");
    html
}

fn with_interval(stats: Option<Stats>) -> String {
    let mean = number(stats.map(|stats| stats.mean), 100.0, "");
    match stats.and_then(|stats| stats.ci95) {
        Some([low, high]) => format!("{mean} ({:.1} to {:.1})", 100.0 * low, 100.0 * high),
        None => mean,
    }
}

fn number(value: Option<f64>, factor: f64, unit: &str) -> String {
    match value {
        Some(value) if unit.is_empty() => format!("{:.1}", factor * value),
        Some(value) => format!("{:.1} {unit}", factor * value),
        None => "-".to_owned(),
    }
}
