//! `curves.html`: how a run goes, in one file that needs nothing else.
//!
//! Drawn from `metrics.jsonl` and `validation.jsonl`, so that it can be made again at any time; a line that is not
//! whole (a full disk, a killed run) is left out.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Result;
use crate::checkpoint::write_atomic;
use synthfm_eval::report::{close, escaped, open};

/// Added to the style of all reports.
const STYLE: &str = "figure{width:auto}figcaption{font-size:15px;font-weight:600}svg{background:#fafbfc}\
text{font:11px system-ui,sans-serif;fill:#555}";
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 220.0;
/// Room for the numbers at the axes.
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 22.0;
const COLOURS: [&str; 6] = [
    "#1f6fb4", "#d1600a", "#2a8f3c", "#8a4fbf", "#b0203a", "#5b5b5b",
];

/// A named line of (step, value).
struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Writes `curves.html` into the run folder.
pub(crate) fn write(run: &Path, title: &str) -> Result<()> {
    let metrics = lines(&run.join("metrics.jsonl"));
    let validation = lines(&run.join("validation.jsonl"));
    let mut page = open("synthfm training", "Training", STYLE);
    let _ = writeln!(page, "<p>{title}</p>");
    let trained = |field: &str| series(&metrics, "training", |line| line[field].as_f64());
    let mut loss = vec![trained("loss")];
    let mut dice = vec![trained("dice")];
    loss.extend(settings(&validation, "loss"));
    dice.extend(settings(&validation, "dice"));
    for (caption, lines) in [
        ("Loss", loss),
        ("Dice, 0 to 1", dice),
        (
            "Dice with one click, by size in the model's input (px)",
            octaves(&validation, "one_click"),
        ),
        (
            "Dice after two corrections, by size (px)",
            octaves(&validation, "two_corrections"),
        ),
        (
            "Dice on real data, which nothing is trained on",
            real(&validation),
        ),
        ("Learning rate", vec![trained("lr")]),
        ("Norm of the gradient", vec![trained("grad_norm")]),
        ("Seconds per step", vec![trained("seconds_per_step")]),
        (
            "Share of the time spent waiting for data",
            vec![trained("waiting")],
        ),
        ("Parts of batches that lay ready", vec![trained("queue")]),
        ("Memory, MB", vec![trained("memory_mb")]),
    ] {
        page.push_str(&figure(caption, &lines));
    }
    page.push_str(
        "<p>Validation: held-out synthetic samples; P,N are positive and negative clicks.</p>\n",
    );
    page.push_str(close());
    write_atomic(&run.join("curves.html"), page.as_bytes())
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn series(lines: &[Value], name: &str, value: impl Fn(&Value) -> Option<f64>) -> Series {
    let point = |line: &Value| Some((line["step"].as_f64()?, value(line)?));
    Series {
        name: name.to_owned(),
        points: lines.iter().filter_map(point).collect(),
    }
}

/// One line for each prompt setting of the validations.
fn settings(validation: &[Value], field: &str) -> Vec<Series> {
    let first = validation
        .first()
        .and_then(|line| line["settings"].as_array());
    let names = first
        .into_iter()
        .flatten()
        .filter_map(|s| s["prompts"].as_str());
    let one = |(i, name): (usize, &str)| {
        series(validation, &format!("validation {name}"), |line| {
            line["settings"][i][field].as_f64()
        })
    };
    names.enumerate().map(one).collect()
}

/// One line for each range of sizes that a validation names.
fn octaves(validation: &[Value], field: &str) -> Vec<Series> {
    let scores = |line: &Value| line["octaves"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for score in validation.iter().flat_map(scores) {
        let name = score["side_px"].as_str().unwrap_or_default().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let one = |name: &String| {
        series(validation, &escaped(name), |line| {
            let scores = scores(line);
            let score = scores.iter().find(|score| score["side_px"] == **name)?;
            score[field].as_f64()
        })
    };
    names.iter().map(one).collect()
}

/// One line for each real data set and prompt setting.
fn real(validation: &[Value]) -> Vec<Series> {
    let first = validation.first().and_then(|line| line["real"].as_array());
    let one = |(i, score): (usize, &Value)| {
        let text = |field: &str| score[field].as_str().unwrap_or_default().to_owned();
        let name = escaped(&format!("{} {}", text("data"), text("prompts")));
        series(validation, &name, |line| line["real"][i]["dice"].as_f64())
    };
    first.into_iter().flatten().enumerate().map(one).collect()
}

fn figure(caption: &str, all: &[Series]) -> String {
    let points = || all.iter().flat_map(|s| &s.points).copied();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let all = values.filter(|v| v.is_finite());
        all.fold((f64::MAX, f64::MIN), |(low, high), v| {
            (low.min(v), high.max(v))
        })
    };
    let (first, last) = range(&mut points().map(|(x, _)| x));
    let (low, high) = range(&mut points().map(|(_, y)| y));
    if first > last || low > high {
        return String::new();
    }
    let along = |v: f64, low: f64, high: f64, room: f64| {
        (v - low) / (high - low).max(f64::MIN_POSITIVE) * room
    };
    let x = |step: f64| LEFT + along(step, first, last, WIDTH - LEFT - 8.0);
    let y = |value: f64| HEIGHT - BOTTOM - along(value, low, high, HEIGHT - BOTTOM - 14.0);
    let mut svg = format!(
        "<figure><figcaption>{caption}</figcaption><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">"
    );
    for value in [low, f64::midpoint(low, high), high] {
        let at = y(value);
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e2e6ea\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 5.0,
            at + 4.0,
            short(value)
        );
    }
    for (step, anchor) in [(first, "start"), (last, "end")] {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{step}</text>",
            x(step),
            HEIGHT - 6.0
        );
    }
    let apart = ((WIDTH - LEFT) / all.len() as f64).min(104.0);
    for (i, Series { name, points }) in all.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let places: Vec<String> = points
            .iter()
            .filter(|(_, value)| value.is_finite())
            .map(|&(step, value)| format!("{:.1},{:.1}", x(step), y(value)))
            .collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\
             <text x=\"{}\" y=\"12\" style=\"fill:{colour}\">{name}</text>",
            places.join(" "),
            LEFT + 4.0 + apart * i as f64
        );
    }
    svg.push_str("</svg></figure>\n");
    svg
}

/// Three significant digits.
fn short(value: f64) -> String {
    let size = value.abs();
    if size > 0.0 && !(1e-2..1e4).contains(&size) {
        format!("{value:.1e}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_curves_and_broken_ones_are_left_out() {
        let run = tempfile::tempdir().unwrap();
        let metrics = "{\"step\":10,\"loss\":1.5,\"dice\":0.25}\n{\"step\":20,\"loss\":0.5,\"dice\":0.75}\n{\"st";
        fs::write(run.path().join("metrics.jsonl"), metrics).unwrap();
        let validation = "{\"step\":20,\"dice\":0.5,\"settings\":[{\"prompts\":\"1,0\",\"loss\":1.0,\"dice\":0.5}]}\n";
        fs::write(run.path().join("validation.jsonl"), validation).unwrap();
        write(run.path(), "a run").unwrap();
        let page = fs::read_to_string(run.path().join("curves.html")).unwrap();
        // Step 10 is at the left, step 20 at the right; loss 1.5 is at the top, 0.5 at the bottom.
        assert!(page.contains("points=\"52.0,14.0 452.0,198.0\""), "{page}");
        assert!(page.contains("validation 1,0") && page.contains("points=\"452.0,106.0\""));
        assert_eq!(
            page.matches("<figure>").count(),
            2,
            "nothing is known of the others"
        );
    }

    #[test]
    fn a_run_without_a_line_has_an_empty_page() {
        let run = tempfile::tempdir().unwrap();
        write(run.path(), "a run").unwrap();
        let page = fs::read_to_string(run.path().join("curves.html")).unwrap();
        assert!(!page.contains("<figure>") && page.ends_with("</html>\n"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(0.25), "0.250");
        assert_eq!(short(1e-4), "1.0e-4");
        assert_eq!(short(0.0), "0.000");
    }
}
