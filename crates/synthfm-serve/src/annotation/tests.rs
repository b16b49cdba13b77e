use std::fs;
use std::io::Write;

use super::*;

fn grid() -> VolumeGeometry {
    VolumeGeometry::with_spacing([4, 3, 5], [1.0, 1.5, 3.0]).unwrap()
}

fn structure(id: u16, name: &str) -> Structure {
    Structure {
        id,
        name: name.to_owned(),
        colour: "#ffc800".to_owned(),
    }
}

fn place(structure: u16, plane: PlaneName, index: usize) -> Place {
    Place {
        structure,
        plane,
        index,
    }
}

/// Puts runs on a place.
fn paint(store: &mut Store, at: Place, runs: &[u32], group: Option<u64>) {
    let prompts = SlicePrompts {
        points: vec![[1.0, 2.0]],
        labels: vec![1],
        ..SlicePrompts::default()
    };
    let change = store
        .annotation()
        .mask_change(at, runs.to_vec(), Some(prompts));
    let step = Step {
        group,
        ..Step::new("click", vec![change.unwrap()])
    };
    store.apply(step).unwrap();
}

fn add(store: &mut Store, added: Structure) {
    let before = store.annotation().structures().to_vec();
    let after = [before.as_slice(), &[added]].concat();
    let step = Step::new("structure", vec![Change::Structures { before, after }]);
    store.apply(step).unwrap();
}

fn runs(store: &Store, at: Place) -> Runs {
    store.annotation().slice_runs(at).unwrap()
}

#[test]
fn steps_are_taken_back_and_made_again_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), grid()).unwrap();
    let fresh = store.annotation().clone();
    add(&mut store, structure(1, "liver"));
    let (axial, coronal) = (
        place(1, PlaneName::Axial, 2),
        place(1, PlaneName::Coronal, 1),
    );
    paint(&mut store, axial, &[0, 12], None);
    // Rows of the coronal plane run from the head: slice 2 is the middle one of five.
    assert_eq!(runs(&store, coronal), [8, 4, 8]);
    paint(&mut store, coronal, &[20], None);
    assert_eq!(runs(&store, axial), [0, 4, 4, 4]);
    let full = store.annotation().clone();
    assert_eq!(store.undo().unwrap(), "click");
    assert_eq!(runs(&store, axial), [0, 12]);
    assert!(store.annotation().prompts(axial).is_some());
    store.undo().unwrap();
    assert_eq!(
        (runs(&store, axial), store.annotation().prompts(axial)),
        (vec![12], None)
    );
    store.undo().unwrap();
    assert!(store.annotation().structures().is_empty());
    assert!(store.undo().is_err());
    assert_eq!(store.annotation().masks[&1].count(), 0);
    assert_eq!(fresh.structures, store.annotation().structures);
    for _ in 0..3 {
        store.redo().unwrap();
    }
    assert!(store.redo().is_err());
    let again = store.annotation();
    assert_eq!((&again.masks, &again.prompts), (&full.masks, &full.prompts));
    store.undo().unwrap();
    paint(&mut store, axial, &[12], None);
    assert!(
        store.redo().is_err(),
        "a step after undo ends what can be redone"
    );
}

#[test]
fn groups_are_taken_back_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), grid()).unwrap();
    add(&mut store, structure(1, "liver"));
    for (index, group) in [(0, None), (1, Some(7)), (2, Some(7)), (3, Some(8))] {
        paint(
            &mut store,
            place(1, PlaneName::Axial, index),
            &[0, 12],
            group,
        );
    }
    let count = |store: &Store| store.annotation().mask(1).unwrap().count();
    let mut counts = vec![count(&store)];
    for _ in 0..3 {
        store.undo().unwrap();
        counts.push(count(&store));
    }
    assert_eq!(counts, [48, 36, 12, 0]);
    store.redo().unwrap();
    store.redo().unwrap();
    assert_eq!(count(&store), 36);
}

#[test]
fn looking_leaves_no_files_and_seeds_are_no_steps() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("case");
    let mut store = Store::open(&own, grid()).unwrap();
    store.seed(vec![structure(3, "liver")]).unwrap();
    assert!(store.undo().is_err() && !own.exists());
    paint(&mut store, place(3, PlaneName::Axial, 2), &[3, 4, 5], None);
    let before = store.annotation().clone();
    drop(store);
    let mut store = Store::open(&own, grid()).unwrap();
    assert_eq!(store.annotation(), &before);
    store.undo().unwrap();
    assert_eq!(store.annotation().structures().len(), 1);
    assert!(store.seed(vec![structure(4, "x")]).is_err());
}

#[test]
fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), grid()).unwrap();
    add(&mut store, structure(1, "liver"));
    add(&mut store, structure(2, "Läsion"));
    paint(&mut store, place(1, PlaneName::Axial, 2), &[3, 4, 5], None);
    paint(
        &mut store,
        place(2, PlaneName::Sagittal, 0),
        &[0, 15],
        Some(1),
    );
    store.undo().unwrap();
    store.set_progress(Progress::Done).unwrap();
    let before = store.annotation().clone();
    drop(store);
    // The start of a record whose rest did not get to the disk.
    let path = folder.path().join("journal.jsonl");
    let whole = fs::read(&path).unwrap();
    let mut journal = fs::OpenOptions::new().append(true).open(&path).unwrap();
    journal.write_all(br#"{"n":7,"event":{"st"#).unwrap();
    let mut store = Store::open(folder.path(), grid()).unwrap();
    assert_eq!(store.annotation(), &before);
    assert_eq!(fs::read(&path).unwrap(), whole);
    store.redo().unwrap();
    let after = store.annotation().clone();
    store.compact().unwrap();
    // Killed between the snapshot and the cut of the journal: the old records come again.
    fs::write(&path, &whole).unwrap();
    drop(store);
    let mut store = Store::open(folder.path(), grid()).unwrap();
    assert_eq!(store.annotation(), &after);
    store.undo().unwrap();
    assert_eq!(store.annotation().mask(2).unwrap().count(), 0);
    let (undone, n) = (store.annotation().clone(), store.n);
    drop(store);
    let store = Store::open(folder.path(), grid()).unwrap();
    assert_eq!((store.annotation(), store.n), (&undone, n));
}

#[test]
fn work_on_another_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), grid()).unwrap();
    add(&mut store, structure(1, "liver"));
    let other = VolumeGeometry::with_spacing([4, 3, 6], [1.0; 3]).unwrap();
    let error = format!(
        "{:#}",
        Store::open(folder.path(), other.clone()).unwrap_err()
    );
    assert!(
        error.contains("[4, 3, 5]") && error.contains("[4, 3, 6]"),
        "{error}"
    );
    store.compact().unwrap();
    assert!(Store::open(folder.path(), other).is_err());
    fs::write(folder.path().join("journal.jsonl"), "{\"n\":\n{}\n").unwrap();
    let error = format!("{:#}", Store::open(folder.path(), grid()).unwrap_err());
    assert!(error.contains("line 1 is damaged"), "{error}");
}

#[test]
fn steps_that_do_not_fit_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), grid()).unwrap();
    add(&mut store, structure(1, "liver"));
    let before = (store.annotation().clone(), store.length);
    let mask = |index, after: &[u32]| Change::Mask {
        place: place(1, PlaneName::Axial, index),
        before: vec![12],
        after: after.to_vec(),
        prompts_before: None,
        prompts_after: None,
    };
    let names = |after| Change::Structures {
        before: Vec::new(),
        after,
    };
    for change in [
        mask(5, &[12]),
        mask(0, &[11]),
        mask(0, &[]),
        names(vec![structure(1, "")]),
        names(vec![structure(1, "a\nb")]),
        names(vec![structure(1, "a"); MAX_STRUCTURES + 1]),
    ] {
        assert!(store.apply(Step::new("x", vec![change])).is_err());
    }
    assert_eq!((store.annotation().clone(), store.length), before);
}

#[test]
fn later_structures_lie_on_top_and_identifiers_are_used_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), grid()).unwrap();
    add(&mut store, structure(2, "liver"));
    add(&mut store, structure(1, "tumour"));
    paint(&mut store, place(2, PlaneName::Axial, 0), &[0, 12], None);
    paint(&mut store, place(1, PlaneName::Axial, 0), &[5, 2, 5], None);
    let labels = store.annotation().labels();
    let of = |label| labels.data().iter().filter(|&&v| v == label).count();
    assert_eq!((of(2), of(1)), (10, 2));
    let extents = store.annotation().extents();
    assert_eq!(extents[&1], (2, [vec![0], vec![1], vec![1, 2]]));
    assert_eq!(store.annotation().used_ids(), BTreeSet::from([1, 2]));
    let before = store.annotation().structures().to_vec();
    let step = Step::new(
        "delete",
        vec![Change::Structures {
            before,
            after: Vec::new(),
        }],
    );
    store.apply(step).unwrap();
    assert_eq!(store.annotation().used_ids(), BTreeSet::from([1, 2]));
    assert!(store.annotation().extents().is_empty());
}

#[test]
fn a_name_on_all_cases_changes_without_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), grid()).unwrap();
    add(&mut store, structure(1, "livr"));
    add(&mut store, structure(2, "spleen"));
    paint(&mut store, place(1, PlaneName::Axial, 2), &[3, 4, 5], None);
    store.set_progress(Progress::Done).unwrap();
    assert!(store.rename("livr", "liver").unwrap());
    assert!(
        !store.rename("livr", "liver").unwrap(),
        "there is none any more"
    );
    assert!(store.rename("liver", "spleen").is_err());
    let names = |store: &Store| -> Vec<String> {
        let structures = store.annotation().structures().iter();
        structures.map(|s| s.name.clone()).collect()
    };
    assert_eq!(names(&store), ["liver", "spleen"]);
    assert_eq!(store.annotation().progress(), Progress::Done);
    let before = store.annotation().clone();
    drop(store);
    let mut store = Store::open(folder.path(), grid()).unwrap();
    assert_eq!(store.annotation(), &before);
    // Undoing what came before it does not bring the old name back.
    store.undo().unwrap();
    store.undo().unwrap();
    assert_eq!(names(&store), ["liver"]);
    store.compact().unwrap();
    let store = Store::open(folder.path(), grid()).unwrap();
    assert_eq!(names(&store), ["liver"]);
}

#[test]
fn files_may_have_other_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), grid()).unwrap();
    add(&mut store, structure(1, "a"));
    add(&mut store, structure(2, "b"));
    paint(&mut store, place(1, PlaneName::Axial, 0), &[0, 2, 10], None);
    paint(&mut store, place(2, PlaneName::Axial, 0), &[4, 3, 5], None);
    let other = store
        .annotation()
        .renumbered(&BTreeMap::from([(1, 2), (2, 1)]));
    let labels = other.labels();
    assert_eq!(labels.data()[..8], [2, 2, 0, 0, 1, 1, 1, 0]);
    assert_eq!((other.voxels(2), other.voxels(1)), (2, 3));
    assert_eq!(other.all_prompts().count(), 2);
}
