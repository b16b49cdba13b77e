//! `report.html`: one file that needs nothing else, with the tables, the pictures and what was left out.

use std::fmt::Write as _;

use super::overlays::Picture;
use super::page::{close, escaped, note_list, open};
use super::statistics::Stats;
use super::summary::Line;
use super::table::{TableLine, group_name, percent, tables};
use crate::evaluate::{Evaluation, Options};

pub(super) fn page(
    evaluation: &Evaluation,
    options: &Options,
    lines: &[Line],
    pictures: &[Picture],
) -> String {
    let mut page = open("synthfm evaluation", "Zero-shot evaluation", "");
    page.push_str(&introduction(evaluation, options));
    page.push_str(&dice_tables(lines));
    page.push_str(&figures(pictures));
    page.push_str("<h2>All numbers</h2>\n");
    page.push_str(&details(lines));
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

fn introduction(evaluation: &Evaluation, options: &Options) -> String {
    let target = match options.target {
        crate::evaluate::Target::Label => "all pixels of a structure",
        crate::evaluate::Target::Largest => "the largest component or instance of a structure",
        crate::evaluate::Target::Components => "each component or instance of a structure",
    };
    let failed = evaluation.rows.iter().filter(|row| row.outcome.is_err());
    let stopped = if evaluation.stopped {
        " <strong>The run was stopped before its end.</strong>"
    } else {
        ""
    };
    format!(
        "<p>Target: {target}, of at least {} pixels ({} smaller ones left out; {} structures absent from their \
         image). Prompts are simulated from the truth, seed {}. Volumes: per structure the axial slice where it is \
         largest. Intensities: CT volumes -160 to 240 HU, other volumes and 16-bit images from the 0.5 to the 99.5 \
         percentile, 8-bit images as they are. Surface Dice tolerance: {} mm, or {} px where the spacing is \
         unknown. {} rows, {} of them failed and not averaged.{stopped}</p>\n",
        options.min_area_px,
        evaluation.too_small,
        evaluation.absent,
        options.seed,
        options.nsd_tolerance_mm,
        options.nsd_tolerance_px,
        evaluation.rows.len(),
        failed.count(),
    )
}

fn dice_tables(lines: &[Line]) -> String {
    let mut html = String::new();
    for table in tables(lines) {
        let _ = write!(
            html,
            "<h2>{}: mean Dice in %</h2>\n<table><tr><th>data set</th><th>modality</th><th>n</th>",
            escaped(table.model)
        );
        for prompt in &table.prompts {
            let _ = write!(html, "<th>{}</th>", escaped(prompt));
        }
        html.push_str("</tr>\n");
        for line in &table.lines {
            html.push_str(&dice_line(line));
        }
        html.push_str("</table>\n");
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

fn figures(pictures: &[Picture]) -> String {
    if pictures.is_empty() {
        return String::new();
    }
    let mut html =
        "<h2>Worst and median cases</h2>\n<p>First prompt setting; yellow: truth, blue: \
                    prediction.</p>\n"
            .to_owned();
    for picture in pictures {
        let caption = escaped(&picture.caption);
        html.push_str("<figure>");
        if !picture.png_base64.is_empty() {
            let data = &picture.png_base64;
            let _ = write!(
                html,
                "<img alt=\"{caption}\" src=\"data:image/png;base64,{data}\">"
            );
        }
        let _ = writeln!(html, "<figcaption>{caption}</figcaption></figure>");
    }
    html
}

fn details(lines: &[Line]) -> String {
    let mut html = "<table><tr><th>data set</th><th>model</th><th>prompts</th><th>n</th><th>patients</th>\
                    <th>failed</th><th>empty</th><th>Dice % (95 % interval)</th><th>SD</th><th>median</th>\
                    <th>IoU %</th><th>HD95</th><th>NSD %</th></tr>\n"
        .to_owned();
    for line in lines {
        let _ = writeln!(
            html,
            "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            line.group.level(),
            escaped(&group_name(&line.group, &line.modality, line.datasets)),
            escaped(&line.model),
            escaped(&line.prompt),
            line.n,
            line.patients,
            line.failed,
            line.empty,
            with_interval(line.dice),
            number(line.dice.and_then(|dice| dice.sd), 100.0, ""),
            number(line.dice.map(|dice| dice.median), 100.0, ""),
            number(line.iou.map(|iou| iou.mean), 100.0, ""),
            number(
                line.hd95.map(|hd95| hd95.mean),
                1.0,
                line.unit.unwrap_or("")
            ),
            number(line.nsd.map(|nsd| nsd.mean), 100.0, ""),
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
