//! COCO instances: `images/` and `annotations.json`.
//!
//! Every target is an instance with its whole mask, also where others cover it: as compressed run lengths, with its
//! area, box and category; `iscrowd` is 0. The masks lie in the recipes, so that the file can be made from any set of
//! finished samples; its entries are ordered by sample and written as they are read.

use std::io::{self, Write};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use synthfm_synth::TargetKind;

use super::files::write_whole;
use super::folder::Folder;
use super::manifest::{MAX_RECIPE_BYTES, in_chunks};
use super::record::{TargetRecord, case_name};
use crate::output::VERSION;
use crate::overrides::read_text;

/// The file in the folder.
pub(super) const ANNOTATIONS: &str = "annotations.json";

/// In the order of their category numbers, which start at 1.
const KINDS: [TargetKind; 9] = [
    TargetKind::Body,
    TargetKind::Organ,
    TargetKind::Lesion,
    TargetKind::Wall,
    TargetKind::Lumen,
    TargetKind::Tube,
    TargetKind::Cell,
    TargetKind::Region,
    TargetKind::Segment,
];

/// The targets in a recipe file; its other fields are skipped.
#[derive(Deserialize)]
struct Targets {
    targets: Vec<TargetRecord>,
}

/// Writes `annotations.json` for the samples that are there.
pub(super) fn write(folder: &Folder) -> Result<()> {
    let recipes = folder.recipes()?;
    let size = folder.settings.generator.size;
    write_whole(&folder.path(ANNOTATIONS), |out| {
        let mut list = List { out, first: true };
        write!(list.out, "{{\n\"info\": {},\n\"licenses\": [],\n", info())?;
        list.begin("categories")?;
        for kind in KINDS {
            list.push(
                &json!({ "id": category(kind), "name": kind, "supercategory": "structure" }),
            )?;
        }
        list.end(",")?;
        list.begin("images")?;
        for &(index, _) in &recipes {
            let name = format!("{}.png", case_name(index));
            list.push(&json!({ "id": index, "file_name": name, "height": size.height, "width": size.width }))?;
        }
        list.end(",")?;
        list.begin("annotations")?;
        annotations(folder, &recipes, &mut list)?;
        list.end("")?;
        Ok(writeln!(list.out, "}}")?)
    })
}

fn info() -> Value {
    let description = "Synthetic images by synthfm; every target is one instance";
    json!({ "description": description, "version": VERSION })
}

fn annotations(folder: &Folder, recipes: &[(u64, String)], list: &mut List) -> Result<()> {
    let size = folder.settings.generator.size;
    let mut next = 1u64;
    let read = |(index, name): &(u64, String)| -> Result<(u64, Vec<TargetRecord>)> {
        let path = folder.path(name);
        let text = read_text(&path, MAX_RECIPE_BYTES)?;
        let recipe: Targets = serde_json::from_str(&text).with_context(|| {
            format!(
                "{}: not a recipe; delete it and generate again",
                path.display()
            )
        })?;
        Ok((*index, recipe.targets))
    };
    in_chunks(recipes, read, |(index, targets)| {
        for target in targets {
            let mask = target.coco.with_context(|| {
                format!("sample {index} has no COCO mask; delete its recipe and generate again")
            })?;
            list.push(&json!({
                "id": next,
                "image_id": index,
                "category_id": category(target.kind),
                "segmentation": { "size": [size.height, size.width], "counts": mask.counts },
                "area": target.area_px,
                "bbox": mask.bbox,
                "iscrowd": 0,
            }))?;
            next += 1;
        }
        Ok(())
    })
}

/// The category of a kind: its place in [`KINDS`], from 1.
const fn category(kind: TargetKind) -> u16 {
    match kind {
        TargetKind::Body => 1,
        TargetKind::Organ => 2,
        TargetKind::Lesion => 3,
        TargetKind::Wall => 4,
        TargetKind::Lumen => 5,
        TargetKind::Tube => 6,
        TargetKind::Cell => 7,
        TargetKind::Region => 8,
        TargetKind::Segment => 9,
    }
}

/// JSON arrays that are written as they grow, an entry a line.
struct List<'a> {
    out: &'a mut dyn Write,
    first: bool,
}

impl List<'_> {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        self.first = true;
        write!(self.out, "\"{name}\": [")
    }

    fn push(&mut self, entry: &Value) -> io::Result<()> {
        let comma = if self.first { "" } else { "," };
        self.first = false;
        write!(self.out, "{comma}\n{entry}")
    }

    fn end(&mut self, comma: &str) -> io::Result<()> {
        writeln!(self.out, "\n]{comma}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_count_from_one() {
        assert!(KINDS.map(category).into_iter().eq(1..=KINDS.len() as u16));
    }

    #[test]
    fn lists_are_json() {
        let mut out = Vec::new();
        for entries in 0..3 {
            out.clear();
            let mut list = List {
                out: &mut out,
                first: true,
            };
            write!(list.out, "{{").unwrap();
            list.begin("a").unwrap();
            (0..entries).try_for_each(|n| list.push(&json!(n))).unwrap();
            list.end("}").unwrap();
            let value: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(value["a"].as_array().unwrap().len(), entries);
        }
    }
}
