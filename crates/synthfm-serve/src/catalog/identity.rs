//! Which image a case is, so that its annotation stays with it: whatever is added beside it, wherever the folder is
//! moved to, and from one version of the program to the next.
//!
//! A file is its path below the opened folder and its content; an image of DICOM files is its series and the instances
//! that form it. A file whose content has changed is another image: its earlier annotation is kept, and said to be there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use synthfm_image::SeriesSummary;
use synthfm_image::hex;

use super::{Case, CaseId};
use crate::annotation::{ABOUT, Progress};

/// Bytes at the start and at the end of a file that stand for its content, together with its size.
const SAMPLE_BYTES: u64 = 64 << 10;
/// Numbers of images in a folder for which annotations of earlier versions are looked for.
const EARLIER_NUMBERS: usize = 256;

/// The names of a case.
pub(super) struct Identity {
    pub(super) id: CaseId,
    /// Names that earlier versions gave the case; more than one where they counted images.
    pub(super) earlier: Vec<CaseId>,
    /// Whether what is found under an earlier name may belong to another image.
    pub(super) uncertain: bool,
    /// A file's hash of its content; none for folders.
    pub(super) content: Option<String>,
}

/// The description of a case in its work folder.
#[derive(Deserialize)]
struct About {
    name: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    series: Option<String>,
}

/// A file by its place and content.
pub(super) fn of_file(path: &Path, name: &str) -> Result<Identity> {
    let content = content(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Identity {
        id: identifier("file", &format!("{name}\0{content}")),
        earlier: vec![identifier("folder", name)],
        uncertain: false,
        content: Some(content),
    })
}

/// An image of DICOM files by the instances that form it. Where `shared`, other images of the folder belong to the same
/// series, and earlier versions told them apart by numbers that may have meant others; `copy` says that the same image
/// was found in another folder.
pub(super) fn of_series(series: &SeriesSummary, place: &str, shared: bool, copy: bool) -> Identity {
    let mut what = series.identity.clone();
    if copy {
        what = format!("{what}\0{place}");
    }
    let numbers = 1..=EARLIER_NUMBERS;
    let earlier = numbers.map(|n| identifier("series", &format!("{place}\0{}\0{n}", series.uid)));
    Identity {
        id: identifier("image", &what),
        earlier: earlier.collect(),
        uncertain: shared,
        content: None,
    }
}

/// 16 hexadecimal digits.
pub(super) fn identifier(kind: &str, name: &str) -> CaseId {
    let digest = Sha256::digest(format!("{kind}\0{name}"));
    hex(&digest[..8])
}

/// A hash of a file's size, start and end.
fn content(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut digest = Sha256::new();
    digest.update(size.to_le_bytes());
    let mut sample = Vec::new();
    (&mut file).take(SAMPLE_BYTES).read_to_end(&mut sample)?;
    digest.update(&sample);
    if size > SAMPLE_BYTES {
        sample.clear();
        file.seek(SeekFrom::Start(
            size.saturating_sub(SAMPLE_BYTES).max(SAMPLE_BYTES),
        ))?;
        file.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        digest.update(&sample);
    }
    Ok(hex(&digest.finalize()))
}

/// Gives the annotations of earlier versions to the cases that they belong to, where only one can be meant.
pub(super) fn migrate(
    cases: &mut [Case],
    folder: &Path,
    states: &mut BTreeMap<CaseId, Progress>,
) -> Result<bool> {
    let mut moved = false;
    for case in cases {
        let (own, mut found) = (folder.join(&case.id), Vec::new());
        if !own.exists() {
            found.extend(case.earlier.iter().filter(|id| folder.join(id).exists()));
        }
        let earlier = match found[..] {
            [earlier] if !case.uncertain => earlier.clone(),
            [] => continue,
            _ => {
                let folders: Vec<String> = found.iter().map(|id| format!("cases/{id}")).collect();
                case.note = Some(format!(
                    "annotations of an earlier version are kept in {}; whether they belong to this image is not \
                     certain, so that they are not shown",
                    folders.join(", ")
                ));
                continue;
            }
        };
        fs::rename(folder.join(&earlier), &own)
            .with_context(|| format!("moving the annotation of {}", case.name))?;
        if let Some(state) = states.remove(&earlier) {
            states.insert(case.id.clone(), state);
        }
        moved = true;
    }
    Ok(moved)
}

/// Where one image lies in several folders, gives the annotation to the one that it was made on.
pub(super) fn settle_copies(cases: &mut [Case], folder: &Path) {
    let mut copies: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (n, case) in cases.iter().enumerate() {
        if let Some(identity) = &case.identity {
            copies.entry(identity.clone()).or_default().push(n);
        }
    }
    let place = |name: &str| name.rsplit_once('/').map(|(place, _)| place.to_owned());
    for (identity, copies) in copies.into_iter().filter(|(_, copies)| copies.len() > 1) {
        let plain = identifier("image", &identity);
        let Some(about) = about(&folder.join(&plain)) else {
            continue;
        };
        let holder = copies.iter().find(|&&n| cases[n].id == plain);
        let owner = copies
            .iter()
            .find(|&&n| place(&cases[n].name) == place(&about.name));
        if let (Some(&holder), Some(&owner)) = (holder, owner)
            && holder != owner
        {
            let own = place(&cases[holder].name).unwrap_or_default();
            cases[holder].id = identifier("image", &format!("{identity}\0{own}"));
            cases[owner].id = plain;
        }
    }
}

fn about(folder: &Path) -> Option<About> {
    let text = fs::read(folder.join(ABOUT)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Notes at cases of whose name or content there is an annotation that belongs to none that is listed: their file was
/// changed, moved or renamed.
pub(super) fn note_orphans(cases: &mut [Case], folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let listed: std::collections::BTreeSet<CaseId> =
        cases.iter().map(|case| case.id.clone()).collect();
    let (mut by_name, mut by_content) = (BTreeMap::new(), BTreeMap::new());
    let mut by_series = BTreeMap::new();
    for entry in entries.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        let own = id.split('-').next().unwrap_or_default();
        if listed.contains(own) {
            continue;
        }
        if let Some(About {
            name,
            content,
            series,
        }) = about(&entry.path())
        {
            if let Some(content) = content {
                by_content.insert(content, (name.clone(), id.clone()));
            }
            if let Some(series) = series {
                by_series.insert(series, (name.clone(), id.clone()));
            }
            by_name.insert(name, id);
        }
    }
    for case in cases {
        let content = case.content.as_ref();
        let content = content.filter(|_| !folder.join(&case.id).exists());
        if let Some((name, id)) = content.and_then(|content| by_content.get(content)) {
            case.note = Some(format!(
                "the same file was annotated as {name}, before it was moved or renamed; that work is kept in cases/{id}"
            ));
        } else if let Some((name, id)) = case
            .series_uid
            .as_ref()
            .filter(|_| !folder.join(&case.id).exists())
            .and_then(|uid| by_series.get(uid))
        {
            case.note = Some(format!(
                "other slices of the same series were annotated as {name}; that work is kept in cases/{id}"
            ));
        } else if let Some(id) = by_name.get(&case.name) {
            case.note = Some(format!(
                "there is an annotation of another image of this name; it is kept in cases/{id}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(uid: &str, index: usize, instances: &str) -> SeriesSummary {
        SeriesSummary {
            index,
            uid: uid.to_owned(),
            identity: format!("{uid} {instances}"),
            number: None,
            description: None,
            modality: None,
            slices: 1,
            rows: 1,
            columns: 1,
        }
    }

    fn case(identity: Identity, name: &str) -> Case {
        Case {
            id: identity.id,
            earlier: identity.earlier,
            uncertain: identity.uncertain,
            name: name.to_owned(),
            uploaded: false,
            bytes: 0,
            path: "a".into(),
            root: "/".into(),
            series: None,
            identity: None,
            content: identity.content,
            series_uid: None,
            note: None,
        }
    }

    #[test]
    fn files_are_their_place_and_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let id = |name: &str, content: &[u8]| {
            fs::write(&path, content).unwrap();
            of_file(&path, name).unwrap().id
        };
        let long = vec![7; 200_000];
        let mut ends = long.clone();
        *ends.last_mut().unwrap() = 8;
        let ids = [
            id("a", b"x"),
            id("b", b"x"),
            id("a", b"y"),
            id("a", &long),
            id("a", &ends),
            id("a", &long[1..]),
        ];
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
        assert_eq!(id("a", b"x"), ids[0]);
    }

    #[test]
    fn series_keep_their_identity_in_other_company() {
        let alone = of_series(&series("1.2", 1, "a b"), "patient", false, false);
        let later = of_series(&series("1.2", 5, "a b"), "elsewhere", true, false);
        assert_eq!(alone.id, later.id);
        let other = of_series(&series("1.2", 1, "c d"), "patient", true, false);
        assert_ne!(alone.id, other.id);
        let copy = of_series(&series("1.2", 1, "a b"), "patient", false, true);
        assert_ne!(alone.id, copy.id);
    }

    #[test]
    fn annotations_of_earlier_versions_move_where_they_belong() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path();
        let old = identifier("series", "patient\x001.2\x003");
        fs::create_dir(folder.join(&old)).unwrap();
        let mut states = BTreeMap::from([(old.clone(), Progress::Done)]);
        // Two images of one series: which of them had number 3?
        let both =
            ["a", "b"].map(|which| of_series(&series("1.2", 1, which), "patient", true, false));
        let mut cases: Vec<Case> = both.map(|identity| case(identity, "patient/1")).into();
        assert!(!migrate(&mut cases, folder, &mut states).unwrap());
        assert!(cases[0].note.as_ref().unwrap().contains("not certain"));
        assert!(folder.join(&old).exists());
        // One image: it had all the numbers.
        let one = of_series(&series("1.2", 1, "a"), "patient", false, false);
        let mut cases = [case(one, "patient/1")];
        assert!(migrate(&mut cases, folder, &mut states).unwrap());
        assert!(folder.join(&cases[0].id).exists() && !folder.join(&old).exists());
        assert_eq!(
            states,
            BTreeMap::from([(cases[0].id.clone(), Progress::Done)])
        );
        assert!(!migrate(&mut cases, folder, &mut states).unwrap());
    }

    #[test]
    fn work_on_a_file_that_was_renamed_is_said_to_be_there() {
        let work = tempfile::tempdir().unwrap();
        let image = work.path().join("scan");
        fs::write(&image, "pixels").unwrap();
        let listed = |name: &str| case(of_file(&image, name).unwrap(), name);
        let before = listed("old/scan");
        let folder = work.path().join(&before.id);
        fs::create_dir(&folder).unwrap();
        let about = serde_json::json!({ "name": before.name, "content": before.content });
        fs::write(folder.join(ABOUT), about.to_string()).unwrap();
        let mut cases = [listed("new/scan")];
        note_orphans(&mut cases, work.path());
        let note = cases[0].note.clone().unwrap();
        assert!(
            note.contains("old/scan") && note.contains(&before.id),
            "{note}"
        );
        // A series that gained or lost slices is another image; its name may have changed too.
        let more = of_series(&series("1.2", 1, "a b c"), "patient", false, false);
        let mut found = case(more, "patient/1 CT");
        found.series_uid = Some("1.2".to_owned());
        let orphan = work.path().join("0123456789abcdef");
        fs::create_dir(&orphan).unwrap();
        let about = serde_json::json!({ "name": "old/1 CT", "content": "x", "series": "1.2" });
        fs::write(orphan.join(ABOUT), about.to_string()).unwrap();
        let mut cases = [found];
        note_orphans(&mut cases, work.path());
        let note = cases[0].note.clone().unwrap();
        assert!(
            note.contains("same series") && note.contains("old/1 CT"),
            "{note}"
        );
        // A copy beside the annotated file, and one with work of its own, are other cases.
        let mut both = [listed("old/scan"), listed("new/scan")];
        note_orphans(&mut both, work.path());
        assert!(both.iter().all(|case| case.note.is_none()));
        let own = listed("new/scan");
        fs::create_dir(work.path().join(&own.id)).unwrap();
        let mut cases = [own];
        note_orphans(&mut cases, work.path());
        assert_eq!(cases[0].note, None);
    }

    #[test]
    fn work_on_a_file_that_has_changed_is_said_to_be_there() {
        let work = tempfile::tempdir().unwrap();
        let image = work.path().join("scan");
        let listed = |content: &str| {
            fs::write(&image, content).unwrap();
            case(of_file(&image, "scan").unwrap(), "scan")
        };
        let before = listed("before");
        let folder = work.path().join(&before.id);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(ABOUT), r#"{ "name": "scan" }"#).unwrap();
        let mut cases = [before.clone()];
        note_orphans(&mut cases, work.path());
        assert_eq!(cases[0].note, None);
        let mut cases = [listed("after")];
        note_orphans(&mut cases, work.path());
        assert!(cases[0].note.as_ref().unwrap().contains(&before.id));
    }
}
