//! The table of an evaluation: a line per structure, data set and modality, a column per prompt setting.
//! Mean Dice in per cent, as in the paper's tables; `-` where nothing could be scored.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::summary::{Group, Line};

/// One line of the table with its cells in the order of the columns.
pub(super) struct TableLine<'a> {
    pub(super) group: &'a Group,
    pub(super) modality: &'a str,
    /// The largest numbers of data sets and of rows among its cells.
    pub(super) datasets: usize,
    pub(super) n: usize,
    pub(super) cells: Vec<Option<&'a Line>>,
}

/// The table of one model.
pub(super) struct Table<'a> {
    pub(super) model: &'a str,
    pub(super) prompts: Vec<&'a str>,
    pub(super) lines: Vec<TableLine<'a>>,
}

/// A table per model; models, prompts and lines in the order in which they come.
pub(super) fn tables(lines: &[Line]) -> Vec<Table<'_>> {
    let mut models: Vec<&str> = Vec::new();
    let mut prompts: Vec<&str> = Vec::new();
    for line in lines {
        push_new(&mut models, &line.model);
        push_new(&mut prompts, &line.prompt);
    }
    models
        .into_iter()
        .map(|model| Table {
            model,
            prompts: prompts.clone(),
            lines: table_lines(lines, model, &prompts),
        })
        .collect()
}

fn push_new<'a>(names: &mut Vec<&'a str>, name: &'a str) {
    if !names.contains(&name) {
        names.push(name);
    }
}

fn table_lines<'a>(lines: &'a [Line], model: &str, prompts: &[&str]) -> Vec<TableLine<'a>> {
    let mut index: BTreeMap<(&str, &Group), usize> = BTreeMap::new();
    let mut table: Vec<TableLine<'a>> = Vec::new();
    for line in lines.iter().filter(|line| line.model == model) {
        let at = *index
            .entry((line.modality.as_str(), &line.group))
            .or_insert(table.len());
        if at == table.len() {
            table.push(TableLine {
                group: &line.group,
                modality: &line.modality,
                datasets: 0,
                n: 0,
                cells: vec![None; prompts.len()],
            });
        }
        let column = prompts.iter().position(|&prompt| prompt == line.prompt);
        table[at].datasets = table[at].datasets.max(line.datasets);
        table[at].n = table[at].n.max(line.n);
        table[at].cells[column.expect("every prompt has its column")] = Some(line);
    }
    table
}

/// First column of a line.
pub(super) fn group_name(group: &Group, modality: &str, datasets: usize) -> String {
    match group {
        Group::Structure { dataset, structure } => format!("{dataset} {structure}"),
        Group::Dataset { dataset } => format!("{dataset} (all)"),
        Group::Modality if datasets == 1 => format!("{modality} (1 data set)"),
        Group::Modality => format!("{modality} (mean of {datasets} data sets)"),
    }
}

/// Mean Dice in per cent.
pub(super) fn percent(cell: Option<&Line>) -> String {
    let dice = cell.and_then(|line| line.dice);
    dice.map_or_else(
        || "-".to_owned(),
        |dice| format!("{:.1}", 100.0 * dice.mean),
    )
}

/// All tables as text of fixed width.
pub(super) fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for table in tables(lines) {
        let names: Vec<String> = table
            .lines
            .iter()
            .map(|line| group_name(line.group, line.modality, line.datasets))
            .collect();
        let longest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        let first = longest(&mut names.iter().map(|name| name.chars().count())).max(9);
        let column = longest(&mut table.prompts.iter().map(|p| p.len())).max(5);
        let _ = writeln!(text, "{}: mean Dice in %", table.model);
        let _ = write!(text, "{:first$}  {:8} {:>5}", "data set", "modality", "n");
        for prompt in &table.prompts {
            let _ = write!(text, "  {prompt:>column$}");
        }
        text.push('\n');
        for (line, name) in table.lines.iter().zip(names) {
            let _ = write!(text, "{name:first$}  {:8} {:>5}", line.modality, line.n);
            for &cell in &line.cells {
                let _ = write!(text, "  {:>column$}", percent(cell));
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text
}
