//! The prompts of an earlier evaluation, given again: `results.csv` holds every click and box.
//! Differs from simulating: nothing is drawn, so that other models, or the same one elsewhere, get exactly the same.

use std::collections::BTreeMap;
use std::path::Path;

use synthfm_image::{BoxXyxy, Point2};

use super::journal::sha256;
use super::{PromptPlan, PromptSet, Row};
use crate::clicks::Click;
use crate::report::Table;
use crate::{Error, Result};

/// Target and prompt setting: data set, case, structure, component, slice, prompt, placement of negatives.
type Place = [String; 7];

/// Prompts by target and setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    prompts: BTreeMap<Place, BTreeMap<String, PromptSet>>,
    digest: String,
}

impl Replay {
    /// Reads the `results.csv` of a report, named itself or by its folder.
    pub fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() {
            path.join("results.csv")
        } else {
            path.to_owned()
        };
        let table = Table::read(&path)?;
        let names = [
            "dataset",
            "case",
            "structure",
            "component",
            "slice",
            "prompt",
            "negatives",
        ];
        let columns = names.map(|name| table.column(name));
        let [model, clicks, bounding_box] =
            ["model", "clicks", "box"].map(|name| table.column(name));
        let (model, clicks, bounding_box) = (model?, clicks?, bounding_box?);
        let mut places = Vec::new();
        for column in columns {
            places.push(column?);
        }
        let mut prompts: BTreeMap<Place, BTreeMap<String, PromptSet>> = BTreeMap::new();
        for (number, fields) in table.rows.iter().enumerate() {
            let place: Place = std::array::from_fn(|i| fields[places[i]].clone());
            let set = parse(&fields[clicks], &fields[bounding_box]).ok_or_else(|| {
                let line = number + 2;
                Error::Parameter(format!(
                    "{}, line {line}: clicks such as `+3:4 -5:6` or a box such as `1:2:3:4` expected, got {:?} and {:?}",
                    path.display(),
                    fields[clicks],
                    fields[bounding_box]
                ))
            })?;
            let by_model = prompts.entry(place).or_default();
            by_model.insert(fields[model].clone(), set);
        }
        let digest = sha256(&format!("{prompts:?}"));
        Ok(Self { prompts, digest })
    }

    /// The prompts for a row: those that `model` got, otherwise those of the first model that got any.
    pub(super) fn prompts(&self, row: &Row, model: &str) -> Option<&PromptSet> {
        let by_model = self.prompts.get(&place(row, row.prompt))?;
        by_model.get(model).or_else(|| by_model.values().next())
    }

    /// A hash of all prompts.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }
}

fn place(row: &Row, plan: PromptPlan) -> Place {
    [
        row.dataset.clone(),
        row.case.clone(),
        row.structure.clone(),
        row.component.to_string(),
        row.slice
            .map_or_else(String::new, |slice| slice.to_string()),
        plan.setting.to_string(),
        plan.negatives
            .map_or_else(String::new, |n| super::negatives_name(n).to_owned()),
    ]
}

/// The columns `clicks` and `box` of `results.csv`.
fn parse(clicks: &str, bounding_box: &str) -> Option<PromptSet> {
    let numbers = |text: &str| -> Option<Vec<f64>> {
        let numbers = text.split(':').map(|n| n.parse().ok());
        let finite = |n: &f64| n.is_finite();
        numbers.map(|n| n.filter(finite)).collect()
    };
    let click = |text: &str| {
        let (sign, point) = text.split_at_checked(1)?;
        let [x, y] = numbers(point)?[..] else {
            return None;
        };
        let point = Point2::new(x, y);
        match sign {
            "+" => Some(Click::positive(point)),
            "-" => Some(Click::negative(point)),
            _ => None,
        }
    };
    let bounding_box = match bounding_box {
        "" => None,
        text => {
            let [x0, y0, x1, y1] = numbers(text)?[..] else {
                return None;
            };
            Some(BoxXyxy {
                min: Point2::new(x0, y0),
                max: Point2::new(x1, y1),
            })
        }
    };
    Some(PromptSet {
        clicks: clicks
            .split_whitespace()
            .map(click)
            .collect::<Option<_>>()?,
        bounding_box,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_read_back() {
        let set = parse("+3:4.5 -0:7", "").unwrap();
        assert_eq!(
            set.clicks,
            [
                Click::positive(Point2::new(3.0, 4.5)),
                Click::negative(Point2::new(0.0, 7.0)),
            ]
        );
        let boxed = parse("", "1:2:3:4.5").unwrap().bounding_box.unwrap();
        assert_eq!(boxed.max, Point2::new(3.0, 4.5));
        for (clicks, bounding_box) in [
            ("3:4", ""),
            ("+3", ""),
            ("+1:nan", ""),
            ("", "1:2:3"),
            ("+é", ""),
        ] {
            assert!(
                parse(clicks, bounding_box).is_none(),
                "{clicks} {bounding_box}"
            );
        }
    }
}
