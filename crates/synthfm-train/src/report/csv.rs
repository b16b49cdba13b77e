//! `results.csv`: one line per segmenter, target and prompt setting, quoted as in RFC 4180.

use std::io::{self, Write};

use crate::clicks::Click;
use crate::evaluate::{PromptSet, Row};

const HEADER: [&str; 26] = [
    "model",
    "dataset",
    "case",
    "patient",
    "modality",
    "structure",
    "label",
    "component",
    "slice",
    "row_spacing_mm",
    "col_spacing_mm",
    "prompt",
    "negatives",
    "clicks",
    "box",
    "area_px",
    "predicted_px",
    "dice",
    "iou",
    "hd95",
    "nsd",
    "unit",
    "encode_ms",
    "time_ms",
    "status",
    "problem",
];

pub(super) fn write(out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
    write_fields(out, HEADER.map(str::to_owned))?;
    rows.iter()
        .try_for_each(|row| write_fields(out, fields(row)))
}

fn write_fields(out: &mut dyn Write, fields: [String; HEADER.len()]) -> io::Result<()> {
    let line: Vec<String> = fields.into_iter().map(quoted).collect();
    writeln!(out, "{}", line.join(","))
}

fn quoted(field: String) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}

fn fields(row: &Row) -> [String; HEADER.len()] {
    let spacing = |axis: usize| {
        row.spacing_mm
            .map_or_else(String::new, |s| s[axis].to_string())
    };
    let scores = row.outcome.as_ref().ok();
    let score = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.6}"));
    let negatives = row.prompt.negatives.map(crate::evaluate::negatives_name);
    [
        row.model.clone(),
        row.dataset.clone(),
        row.case.clone(),
        row.patient.clone(),
        row.modality.clone(),
        row.structure.clone(),
        row.label.to_string(),
        row.component.to_string(),
        row.slice
            .map_or_else(String::new, |slice| slice.to_string()),
        spacing(0),
        spacing(1),
        row.prompt.setting.to_string(),
        negatives.unwrap_or_default().to_owned(),
        clicks_text(&row.prompts.clicks),
        box_text(&row.prompts),
        row.area_px.to_string(),
        scores.map_or_else(String::new, |s| s.predicted_px.to_string()),
        score(scores.map(|s| s.dice)),
        score(scores.map(|s| s.iou)),
        score(scores.map(|s| s.hd95)),
        score(scores.map(|s| s.nsd)),
        row.unit().to_owned(),
        format!("{:.3}", row.encode_ms),
        format!("{:.3}", row.time_ms),
        if scores.is_some() { "ok" } else { "failed" }.to_owned(),
        row.outcome.as_ref().err().cloned().unwrap_or_default(),
    ]
}

/// `+x:y` and `-x:y`, separated by spaces.
fn clicks_text(clicks: &[Click]) -> String {
    let text = |click: &Click| {
        let sign = if click.positive { '+' } else { '-' };
        format!("{sign}{}:{}", click.point.x, click.point.y)
    };
    clicks.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// `x0:y0:x1:y1`.
fn box_text(prompts: &PromptSet) -> String {
    prompts.bounding_box.map_or_else(String::new, |b| {
        format!("{}:{}:{}:{}", b.min.x, b.min.y, b.max.x, b.max.y)
    })
}
