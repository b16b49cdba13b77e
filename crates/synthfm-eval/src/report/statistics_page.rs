//! Comparisons of models as tables, for the report and for the terminal.

use std::fmt::Write as _;

use super::page::escaped;
use super::significance::Comparison;
use super::table::group_name;

/// More lines are left to the report.
const MAX_TEXT_LINES: usize = 60;
/// Below this p after Holm's correction a line is set in bold.
const SIGNIFICANT: f64 = 0.05;

/// A table per level, the widest groups first; that of the structures is folded.
pub(super) fn comparison_tables(comparisons: &[Comparison]) -> String {
    if comparisons.is_empty() {
        return String::new();
    }
    let mut html = "<p>Difference of Dice in percentage points, the first model minus the second, paired by target and \
        prompt; targets of a patient are averaged first, n counts patients. 95 % interval: seeded bootstrap over \
        patients. p: Wilcoxon's signed-rank test, two-sided; Holm's correction is over all lines of a table. r: \
        matched-pairs rank-biserial correlation; d: Cohen's d of the differences. Bold: p after Holm below 0.05.</p>\n"
        .to_owned();
    for (level, title) in [
        ("modality", "Modalities"),
        ("dataset", "Data sets"),
        ("structure", "Structures"),
    ] {
        let own: Vec<&Comparison> = comparisons
            .iter()
            .filter(|comparison| comparison.group.level() == level)
            .collect();
        let open = if level == "modality" { " open" } else { "" };
        let _ = writeln!(
            html,
            "<details{open}><summary>{title}: {} comparisons</summary>\n<table class=\"wide names\"><tr><th>group</th><th>prompts</th>\
             <th>models</th><th>n</th><th>targets</th><th>difference (95 % interval)</th><th>median</th><th>p</th>\
             <th>p (Holm)</th><th>r</th><th>d</th></tr>",
            own.len()
        );
        for comparison in own {
            html.push_str(&table_line(comparison));
        }
        html.push_str("</table></details>\n");
    }
    html
}

fn table_line(comparison: &Comparison) -> String {
    let class = if comparison.p_holm < SIGNIFICANT {
        " class=\"yes\""
    } else {
        ""
    };
    format!(
        "<tr{class}><td>{}</td><td>{}</td><td>{} &minus; {}</td><td>{}</td><td>{}</td><td>{}</td><td>{:+.1}</td>\
         <td>{}{}</td><td>{}</td><td>{:+.2}</td><td>{}</td></tr>\n",
        escaped(&name(comparison)),
        escaped(&comparison.prompt),
        escaped(&comparison.model),
        escaped(&comparison.reference),
        comparison.n,
        comparison.targets,
        difference(comparison),
        100.0 * comparison.median_difference,
        p_text(comparison.p),
        if comparison.exact { "" } else { " ~" },
        p_text(comparison.p_holm),
        comparison.rank_biserial,
        comparison
            .cohen_dz
            .map_or_else(|| "-".to_owned(), |d| format!("{d:+.2}")),
    )
}

fn name(comparison: &Comparison) -> String {
    match comparison.group {
        super::Group::Modality => comparison.modality.clone(),
        ref group => group_name(group, &comparison.modality, 1),
    }
}

fn difference(comparison: &Comparison) -> String {
    let mean = 100.0 * comparison.mean_difference;
    match comparison.ci95 {
        Some([low, high]) => format!("{mean:+.1} ({:+.1} to {:+.1})", 100.0 * low, 100.0 * high),
        None => format!("{mean:+.1}"),
    }
}

/// Two significant digits; below a ten-thousandth only that.
fn p_text(p: f64) -> String {
    match p {
        p if p < 1e-4 => "<0.0001".to_owned(),
        p if p < 0.01 => format!("{p:.4}"),
        p => format!("{p:.3}"),
    }
    .replace('<', "< ")
}

/// The comparisons of the given levels as lines of text; nothing if there is none.
pub(super) fn comparison_text(comparisons: &[Comparison], levels: &[&str]) -> String {
    let mut own: Vec<&Comparison> = Vec::new();
    for &level in levels {
        own.extend(comparisons.iter().filter(|c| c.group.level() == level));
    }
    let lines: Vec<[String; 6]> = own
        .into_iter()
        .map(|c| {
            [
                name(c),
                c.prompt.clone(),
                format!("{} - {}", c.model, c.reference),
                c.n.to_string(),
                difference(c),
                format!("{} ({})", p_text(c.p), p_text(c.p_holm)),
            ]
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    if lines.len() > MAX_TEXT_LINES {
        let n = comparisons.len();
        return format!("{n} comparisons of models are in the report\n\n");
    }
    let header = [
        "group",
        "prompts",
        "models",
        "n",
        "Dice difference",
        "p (Holm)",
    ];
    let header = header.map(str::to_owned);
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let cells = lines.iter().chain([&header]);
        cells
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut text = "differences in percentage points, Wilcoxon's test over patients\n".to_owned();
    for line in [&header].into_iter().chain(&lines) {
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_is_written_with_two_digits() {
        for (p, text) in [
            (0.5, "0.500"),
            (0.0123, "0.012"),
            (0.00123, "0.0012"),
            (1e-9, "< 0.0001"),
        ] {
            assert_eq!(p_text(p), text);
        }
    }
}
