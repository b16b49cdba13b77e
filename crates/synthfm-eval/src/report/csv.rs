//! `results.csv`: one line per segmenter, target and prompt setting, quoted as in RFC 4180; and reading it again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::Result;
use crate::bounded::read_text;
use crate::clicks::{Click, Negatives};
use crate::error::problem;
use crate::evaluate::{AnswerNote, Curve, PromptPlan, PromptSet, Row, Scores, VolumeNote};

/// New columns go to the end, so that programs that count columns keep working.
const HEADER: [&str; 47] = [
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
    "assd",
    "dice_by_click",
    "iou_by_click",
    "noc85",
    "noc90",
    "mask",
    "truth_mask",
    "estimated_iou",
    "crop",
    "contour_ratio",
    "missed_clicks",
    "missed_by_click",
    "image_height",
    "image_width",
    "corrections",
    "slice_spacing_mm",
    "slices",
    "predicted_slices",
    "prompted_slices",
    "corrected",
    "dice_auc",
];
/// More than the results of a million rows.
const MAX_BYTES: u64 = 2 << 30;

pub(super) fn write(out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
    write_fields(out, HEADER.map(str::to_owned))?;
    rows.iter()
        .try_for_each(|row| write_fields(out, fields(row)))
}

/// One line of any number of fields.
pub(super) fn write_fields(
    out: &mut dyn Write,
    fields: impl IntoIterator<Item = String>,
) -> io::Result<()> {
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
    let curve = row.curve.as_ref().filter(|_| scores.is_some());
    let values = |values: &[f64]| {
        let texts: Vec<String> = values.iter().map(|v| format!("{v:.4}")).collect();
        texts.join(" ")
    };
    let clicks_to = |target| curve.map_or_else(String::new, |c| c.clicks_to(target).to_string());
    let mask = row.mask.as_ref();
    let of_volume =
        |text: &dyn Fn(&VolumeNote) -> String| row.volume.as_ref().map_or_else(String::new, text);
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
        score(scores.map(|s| s.assd)),
        curve.map_or_else(String::new, |c| values(&c.dice)),
        curve.map_or_else(String::new, |c| values(&c.iou)),
        clicks_to(0.85),
        clicks_to(0.9),
        mask.map_or_else(String::new, |m| m.prediction.clone()),
        mask.map_or_else(String::new, |m| m.truth.clone()),
        score(row.note.estimated_iou),
        row.note.crop.map_or_else(String::new, crop_text),
        score(scores.map(|s| s.contour_ratio)),
        scores.map_or_else(String::new, |_| row.missed_clicks.to_string()),
        curve.map_or_else(String::new, |c| {
            let counts: Vec<String> = c.missed.iter().map(usize::to_string).collect();
            counts.join(" ")
        }),
        row.image_px[0].to_string(),
        row.image_px[1].to_string(),
        of_volume(&|_| row.prompt.corrections.to_string()),
        of_volume(&|note| note.slice_spacing_mm.to_string()),
        of_volume(&|note| note.slices.to_string()),
        of_volume(&|note| note.predicted_slices.to_string()),
        of_volume(&|note| {
            let slices: Vec<String> = note.prompted.iter().map(usize::to_string).collect();
            slices.join(" ")
        }),
        of_volume(&|note| corrections_text(&note.corrections)),
        score(curve.map(Curve::dice_area)),
    ]
}

/// `slice+x:y` and `slice-x:y`, separated by spaces.
fn corrections_text(corrections: &[(usize, Click)]) -> String {
    let text = |(slice, click): &(usize, Click)| format!("{slice}{}", clicks_text(&[*click]));
    corrections.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// `+x:y` and `-x:y`, separated by spaces.
fn clicks_text(clicks: &[Click]) -> String {
    let text = |click: &Click| {
        let sign = if click.positive { '+' } else { '-' };
        format!("{sign}{}:{}", click.point.x, click.point.y)
    };
    clicks.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// `x:y:width:height`.
fn crop_text([x, y, width, height]: [usize; 4]) -> String {
    format!("{x}:{y}:{width}:{height}")
}

/// `x0:y0:x1:y1`.
fn box_text(prompts: &PromptSet) -> String {
    prompts.bounding_box.map_or_else(String::new, |b| {
        format!("{}:{}:{}:{}", b.min.x, b.min.y, b.max.x, b.max.y)
    })
}

/// A file of comma-separated values whose columns are found by their names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    path: PathBuf,
    header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a file; every line must have as many fields as the first.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = read_text(path, MAX_BYTES)?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let mut lines = records(text).into_iter();
        let header = lines.next().unwrap_or_default();
        let rows: Vec<Vec<String>> = lines.collect();
        if let Some(at) = rows.iter().position(|row| row.len() != header.len()) {
            let (expected, got) = (header.len(), rows[at].len());
            let text = format!(
                "row {}: {expected} fields expected, as in the header, got {got}",
                at + 1
            );
            return Err(problem(path, text));
        }
        Ok(Self {
            path: path.to_owned(),
            header,
            rows,
        })
    }

    /// Place of a column.
    pub(crate) fn column(&self, name: &str) -> Result<usize> {
        let found = self.header.iter().position(|other| other == name);
        found.ok_or_else(|| {
            let text = format!("the results.csv of a report expected, with a column {name:?}");
            problem(&self.path, text)
        })
    }

    /// The rows of a report; prompts are left out, and columns that an older report lacks are 0.
    pub(super) fn results(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (at, fields) in self.rows.iter().enumerate() {
            let field = |name: &str| self.column(name).map(|column| fields[column].as_str());
            let wrong = |name: &str, got: &str| {
                problem(
                    &self.path,
                    format!("row {}: {name}: a value expected, got {got:?}", at + 1),
                )
            };
            let number = |name: &str| -> Result<f64> {
                let text = field(name)?;
                let value = text.parse().ok().filter(|v: &f64| v.is_finite());
                value.ok_or_else(|| wrong(name, text))
            };
            let whole = |name: &str| -> Result<usize> {
                let text = field(name)?;
                text.parse().map_err(|_| wrong(name, text))
            };
            let outcome = if field("status")? == "ok" {
                Ok(Scores {
                    dice: number("dice")?,
                    iou: number("iou")?,
                    hd95: number("hd95")?,
                    assd: number("assd").unwrap_or(0.0),
                    nsd: number("nsd")?,
                    predicted_px: whole("predicted_px")?,
                    contour_ratio: number("contour_ratio").unwrap_or(0.0),
                })
            } else {
                Err(field("problem")?.to_owned())
            };
            let slice = field("slice")?;
            rows.push(Row {
                model: field("model")?.to_owned(),
                dataset: field("dataset")?.to_owned(),
                case: field("case")?.to_owned(),
                patient: field("patient")?.to_owned(),
                modality: field("modality")?.to_owned(),
                structure: field("structure")?.to_owned(),
                label: whole("label")? as u16,
                component: whole("component")? as u32,
                slice: slice.parse().ok(),
                spacing_mm: None,
                prompt: PromptPlan {
                    setting: field("prompt")?.parse()?,
                    negatives: placement(field("negatives")?),
                    corrections: whole("corrections").unwrap_or(0),
                },
                prompts: PromptSet::default(),
                area_px: whole("area_px")?,
                image_px: ["image_height", "image_width"].map(|name| whole(name).unwrap_or(0)),
                outcome,
                curve: None,
                missed_clicks: whole("missed_clicks").unwrap_or(0),
                note: AnswerNote::default(),
                mask: None,
                encode_ms: number("encode_ms")?,
                time_ms: number("time_ms")?,
                volume: None,
            });
        }
        Ok(rows)
    }
}

fn placement(name: &str) -> Option<Negatives> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

/// Lines of fields; quoted fields may hold commas, quotes and line breaks.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut in_quotes = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if in_quotes && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => record.push(std::mem::take(&mut field)),
            '\r' if !in_quotes => {}
            '\n' if !in_quotes => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_fields_are_read_back() {
        let fields = ["a,b", "say \"x\"", "two\nlines", "", "plain"].map(str::to_owned);
        let mut bytes = Vec::new();
        for _ in 0..2 {
            write_fields(&mut bytes, fields.clone()).unwrap();
        }
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(records(&text), vec![fields.to_vec(); 2]);
        assert_eq!(records("a,b\r\nc"), [vec!["a", "b"], vec!["c"]]);
        assert!(Table::parse(Path::new("x"), "a,b\n1\n").is_err());
    }
}
