//! Explanations of the report's headings, for whoever reads one for the first time.

use std::fmt::Write as _;

use crate::evaluate::{Evaluation, PromptSetting, Row};

/// Words of the tables.
const SCORES: [(&str, &str); 9] = [
    (
        "Dice",
        "twice the common pixels over those of both masks, in %: 100 is the truth itself",
    ),
    (
        "IoU",
        "common pixels over those of either mask, in %; Dice is never lower",
    ),
    (
        "HD95",
        "95 % of the contour points lie nearer to the other contour than this; smaller is better",
    ),
    (
        "ASSD",
        "mean distance between the contours, both ways; smaller is better",
    ),
    (
        "NSD",
        "surface Dice: share of both contours within the tolerance of the other, in %",
    ),
    (
        "NoC@85, NoC@90",
        "mean number of clicks until the IoU is 85 or 90 %",
    ),
    (
        "n, patients",
        "scored targets, and the patients that they come from; intervals are over patients",
    ),
    (
        "failed, empty",
        "targets without an answer, which are not averaged, and answers without a pixel, which have Dice 0",
    ),
    (
        "US (2 data sets)",
        "the mean over the data sets of a modality, each of which is the mean over its structures",
    ),
];

/// A folded list of the settings of this run and of the words of the tables.
pub(super) fn legend(evaluation: &Evaluation) -> String {
    let mut html = "<details><summary>How to read this page</summary>\n<dl>\n".to_owned();
    let mut told: Vec<String> = Vec::new();
    for row in &evaluation.rows {
        let name = row.prompt.to_string();
        if !told.contains(&name) {
            let _ = writeln!(html, "<dt>{name}</dt><dd>{}</dd>", setting(row));
            told.push(name);
        }
    }
    for (word, meaning) in SCORES {
        let _ = writeln!(html, "<dt>{word}</dt><dd>{meaning}</dd>");
    }
    html.push_str("</dl></details>\n");
    html
}

/// A setting of prompts in words.
fn setting(row: &Row) -> String {
    match row.prompt.setting {
        PromptSetting::Clicks {
            positives,
            negatives: 0,
        } => on_structure(positives),
        PromptSetting::Clicks {
            positives,
            negatives,
        } => {
            let place = match row.prompt.negatives {
                Some(crate::clicks::Negatives::Far) => "as far away as possible",
                Some(crate::clicks::Negatives::Ring) => "in a ring around it",
                Some(crate::clicks::Negatives::Border) => "just outside its border",
                Some(crate::clicks::Negatives::Uniform) | None => "anywhere",
            };
            let (on, beside) = (on_structure(positives), clicks(negatives));
            format!("{on}, and {beside} beside it, {place}")
        }
        PromptSetting::Box => "the box around the structure".to_owned(),
        PromptSetting::JitteredBox => {
            "a box around the structure whose corners are moved at random".to_owned()
        }
        PromptSetting::Scribble { clicks } => {
            format!("a stroke along the middle of the structure, as {clicks} clicks")
        }
        PromptSetting::Iterative { clicks, feedback } => format!(
            "up to {clicks} clicks one after the other, each where the answer to the ones before is wrong{}",
            if feedback {
                "; the model is given its last answer"
            } else {
                ""
            }
        ),
    }
}

fn on_structure(count: usize) -> String {
    let first = if count > 1 { "the first " } else { "" };
    format!("{} on the structure, {first}in its middle", clicks(count))
}

fn clicks(count: usize) -> String {
    match count {
        1 => "1 click".to_owned(),
        _ => format!("{count} clicks"),
    }
}
