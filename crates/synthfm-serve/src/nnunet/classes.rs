//! The classes of a data set in the making, and which of them may be one by mistake.

use std::collections::{BTreeMap, BTreeSet};

use crate::annotation::{Annotation, is_background};

/// Letters that a slip of the keyboard changes.
const SLIP: usize = 2;

/// The names that have something marked.
#[derive(Debug, Default)]
pub(super) struct Classes {
    /// The number of cases on which each is marked.
    cases: BTreeMap<String, usize>,
    /// Names that are marked on one case together: people tell them apart.
    together: BTreeSet<(String, String)>,
}

impl Classes {
    /// Counts what is marked on a case; remarks on names that the archive could not keep.
    pub(super) fn add(&mut self, case: &str, annotation: &Annotation) -> Vec<String> {
        let structures = annotation.structures();
        let mut notes = Vec::new();
        for (n, structure) in structures.iter().enumerate() {
            let name = &structure.name;
            if structures[..n].iter().any(|other| other.name == *name) {
                notes.push(format!(
                    "{case}: several structures are called {name:?}; they are one class in the archive"
                ));
            }
            if is_background(name) {
                notes.push(format!(
                    "{case}: the structure {name:?} is called \"{} (structure)\" in the archive, where the background is 0",
                    name.trim()
                ));
            }
        }
        let marked = structures.iter().filter(|s| annotation.is_marked(s.id));
        let marked: BTreeSet<&String> = marked.map(|s| &s.name).collect();
        self.count(&marked);
        notes
    }

    fn count(&mut self, marked: &BTreeSet<&String>) {
        for name in marked {
            *self.cases.entry((*name).clone()).or_default() += 1;
            let others = marked.iter().filter(|other| *other > name);
            let pairs = others.map(|other| ((*name).clone(), (*other).clone()));
            self.together.extend(pairs);
        }
    }

    /// Remarks on names that differ by a slip and are on no case together.
    pub(super) fn alike(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let named: Vec<(&String, &usize)> = self.cases.iter().collect();
        for (n, (first, count)) in named.iter().enumerate() {
            for (second, other) in &named[n + 1..] {
                let pair = ((*first).clone(), (*second).clone());
                if is_slip(first, second) && !self.together.contains(&pair) {
                    let [a, b] = [count, other].map(|n| match n {
                        1 => "1 case".to_owned(),
                        n => format!("{n} cases"),
                    });
                    notes.push(format!(
                        "{first:?} ({a}) and {second:?} ({b}) are two classes: rename one of them if they are the same"
                    ));
                }
            }
        }
        notes
    }
}

/// Whether names differ by case, spaces or one or two letters; numbers are told apart.
fn is_slip(a: &str, b: &str) -> bool {
    let folded = |text: &str| -> Vec<char> {
        let text = text.to_lowercase();
        text.chars().filter(|c| c.is_alphanumeric()).collect()
    };
    let (a, b) = (folded(a), folded(b));
    if a == b {
        return true;
    }
    let letters = |text: &[char]| -> Vec<char> {
        let kept = text.iter().copied();
        kept.filter(|c| !c.is_ascii_digit()).collect()
    };
    let shorter = a.len().min(b.len());
    letters(&a) != letters(&b) && distance(&a, &b) <= SLIP.min(shorter / 3)
}

/// The least number of letters to insert, delete or exchange (Levenshtein).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = n + 1;
        for (m, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(row[m] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_other_names() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(distance(&chars("kitten"), &chars("sitting")), 3);
        for (a, b) in [
            ("livr", "liver"),
            ("Liver", "liver"),
            ("left kidney", "left_kidney"),
            ("spleen", "splene"),
        ] {
            assert!(is_slip(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("a", "b"),
            ("structure 1", "structure 2"),
            ("L1", "L2"),
            ("liver", "spleen"),
            ("kidney left", "kidney right"),
        ] {
            assert!(!is_slip(a, b), "{a} {b}");
        }
    }

    #[test]
    fn names_on_one_case_are_meant() {
        let mut classes = Classes::default();
        let [livr, liver] = ["livr", "liver"].map(str::to_owned);
        classes.count(&BTreeSet::from([&livr]));
        classes.count(&BTreeSet::from([&liver]));
        classes.count(&BTreeSet::from([&liver]));
        let notes = classes.alike();
        assert_eq!(notes.len(), 1);
        assert!(
            notes[0].contains("\"liver\" (2 cases) and \"livr\" (1 case)"),
            "{notes:?}"
        );
        classes.count(&BTreeSet::from([&liver, &livr]));
        assert_eq!(classes.alike(), [""; 0]);
    }
}
