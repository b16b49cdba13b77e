//! Names of cases in an archive: those of nnU-Net, unless two cases would have one name.
//!
//! `CASE_0000.EXT` belongs to `CASE`, and so do the other channels of it, `CASE_0001.EXT` and so on. Letters of all
//! scripts and spaces stay; what file systems refuse becomes `_`.

use std::collections::{BTreeMap, BTreeSet};

use synthfm_image::avoid_device_name;

use crate::catalog::{Case, CaseId};

/// Characters that some file system refuses.
const REFUSED: &str = "/\\:*?\"<>|";
/// Bytes of a name, which gets an ending yet.
const MAX_BYTES: usize = 200;

/// The cases to export, and what is left out of them.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) cases: Vec<Case>,
    /// Cases that stand for a case of several channels.
    pub(crate) channelled: BTreeSet<CaseId>,
    /// Remarks for people.
    pub(crate) left_out: Vec<String>,
    /// The number of channels that a case of nnU-Net has.
    pub(crate) channels: usize,
}

/// Takes of the cases that are done one image of each; other channels of the same case are left out. `listed` are all
/// cases of the folder.
pub(crate) fn choose(listed: &[Case], done: Vec<Case>) -> Chosen {
    let first: BTreeSet<Key> = listed
        .iter()
        .filter_map(|case| channel(case).filter(|(_, number)| *number == 0))
        .map(|(key, _)| key)
        .collect();
    let mut chosen = Chosen {
        cases: Vec::new(),
        channelled: BTreeSet::new(),
        left_out: Vec::new(),
        channels: 1,
    };
    let mut taken: BTreeMap<Key, String> = BTreeMap::new();
    for case in listed {
        if let Some((_, number)) = channel(case).filter(|(key, _)| first.contains(key)) {
            chosen.channels = chosen.channels.max(number + 1);
        }
    }
    for case in done {
        let Some((key, number)) = channel(&case).filter(|(key, _)| first.contains(key)) else {
            chosen.cases.push(case);
            continue;
        };
        if let Some(other) = taken.get(&key) {
            chosen.left_out.push(format!(
                "{} is channel {number} of the case that {other} belongs to, and is left out",
                case.name
            ));
            continue;
        }
        taken.insert(key, case.name.clone());
        chosen.channelled.insert(case.id.clone());
        chosen.cases.push(case);
    }
    chosen
}

/// A case of nnU-Net: folder, name and ending.
type Key = (String, String, &'static str);

/// The case that an image is a channel of, and which.
fn channel(case: &Case) -> Option<(Key, usize)> {
    let (stem, ending) = case.file_stem();
    let (name, digits) = stem.rsplit_once('_')?;
    let is_number = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number || name.is_empty() || ending.is_empty() {
        return None;
    }
    let key = (case.folders().to_owned(), name.to_owned(), ending);
    Some((key, digits.parse().ok()?))
}

/// A name for each case, all different also where case does not count, and whether it is that of nnU-Net's rule.
pub(crate) fn assign(cases: &[&Case], channelled: &BTreeSet<CaseId>) -> Vec<(String, bool)> {
    let mut names: Vec<Option<(String, bool)>> = vec![None; cases.len()];
    let mut taken = BTreeSet::new();
    // An image that has its number keeps its name; others make room.
    for numbered in [true, false] {
        for (case, slot) in cases.iter().zip(&mut names) {
            let of_case = channel(case).filter(|(_, n)| *n == 0 || channelled.contains(&case.id));
            if of_case.is_some() == numbered {
                let own = of_case.map_or_else(|| case.file_stem().0, |((_, name, _), _)| name);
                let name = free(&own, case.folders(), &taken);
                taken.insert(name.to_lowercase());
                let is_same = name == own;
                *slot = Some((name, is_same));
            }
        }
    }
    names.into_iter().flatten().collect()
}

/// The first of the names that a case may have that no other has.
fn free(own: &str, folders: &str, taken: &BTreeSet<String>) -> String {
    let own = allowed(own);
    let above = format!("{}_{own}", folders.replace('/', "_"));
    let long = (!folders.is_empty()).then(|| allowed(&above));
    let numbered = (2usize..).map(|n| format!("{own}_{n}"));
    let mut candidates = std::iter::once(own.clone()).chain(long).chain(numbered);
    candidates
        .find(|name| !taken.contains(&name.to_lowercase()))
        .unwrap_or(own)
}

/// A name that every file system takes.
fn allowed(name: &str) -> String {
    let refused = |c: char| c.is_control() || REFUSED.contains(c);
    let mut kept = name.replace(refused, "_");
    while kept.len() > MAX_BYTES {
        kept.pop();
    }
    let kept = kept.trim().trim_end_matches('.').trim_end();
    match kept {
        "" => "unnamed".to_owned(),
        kept => avoid_device_name(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(names: &[&str]) -> Vec<Case> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let work = folder.path().join("work");
        std::fs::create_dir(&work).unwrap();
        let catalog = crate::catalog::Catalog::open(Some(folder.path()), &work, &work, 1 << 20);
        let all = catalog.unwrap().all();
        let find = |name: &&str| all.iter().find(|case| case.name == **name).unwrap().clone();
        names.iter().map(find).collect()
    }

    fn named(names: &[&str]) -> Vec<(String, bool)> {
        let cases = cases(names);
        assign(&cases.iter().collect::<Vec<_>>(), &BTreeSet::new())
    }

    fn names(names: &[&str]) -> Vec<String> {
        named(names).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn names_stay_as_nn_unet_pairs_them() {
        let found = named(&["Müller 1_0000.nii.gz", "b/肝 2.nii.gz"]);
        assert_eq!(
            found,
            [("Müller 1".to_owned(), true), ("肝 2".to_owned(), true)]
        );
    }

    #[test]
    fn an_image_with_its_number_keeps_its_name() {
        for order in [["v.nii", "v_0000.nii.gz"], ["v_0000.nii.gz", "v.nii"]] {
            let found: BTreeMap<&str, String> = order.into_iter().zip(names(&order)).collect();
            assert_eq!(found["v_0000.nii.gz"], "v");
            assert_eq!(found["v.nii"], "v_2");
        }
        let found = named(&["v_0000.nii.gz", "v.nii"]);
        assert_eq!((found[0].1, found[1].1), (true, false));
    }

    #[test]
    fn names_differ_where_case_does_not_count() {
        assert_eq!(names(&["X.png", "x.png"]), ["X", "x_2"]);
        assert_eq!(names(&["p/a_0000.png", "q/a_0000.png"]), ["a", "q_a"]);
    }

    #[test]
    fn channels_of_one_case_are_one_case() {
        let all = cases(&["x_0000.png", "x_0001.png", "y_0001.png", "z_2019.png"]);
        let chosen = choose(&all, all.clone());
        let taken: Vec<&str> = chosen.cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(taken, ["x_0000.png", "y_0001.png", "z_2019.png"]);
        assert_eq!((chosen.left_out.len(), chosen.channels), (1, 2));
        assert!(chosen.left_out[0].contains("x_0001.png is channel 1"));
        // Where the first channel is not done, the other one stands for the case.
        let chosen = choose(&all, all[1..2].to_vec());
        assert_eq!(
            assign(&[&chosen.cases[0]], &chosen.channelled),
            [("x".to_owned(), true)]
        );
        // Numbers that are no channels stay.
        assert_eq!(names(&["y_0001.png", "z_2019.png"]), ["y_0001", "z_2019"]);
    }

    #[test]
    fn what_file_systems_refuse_is_replaced() {
        for (name, expected) in [
            ("a:b*c", "a_b_c"),
            ("nul", "nul_"),
            ("COM1", "COM1_"),
            (" a. ", "a"),
            ("...", "unnamed"),
        ] {
            assert_eq!(allowed(name), expected);
        }
        let long = allowed(&"ü".repeat(300));
        assert!(long.len() <= MAX_BYTES && long.chars().all(|c| c == 'ü'));
    }
}
