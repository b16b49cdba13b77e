//! The DICOM images of a file or folder, and their division into stacks: frames that form one image.
//!
//! A stack has one series, size, spacing and orientation, and one frame per position; a series with several (echoes,
//! phases, a localiser among its slices) gives several stacks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::file::with_header;
use super::geometry::along_normal;
use super::header::{self, FileHeader, FrameHeader, Purpose};
use crate::{Error, Result};

/// Folders below a folder are searched so deep.
const MAX_DEPTH: usize = 8;
/// More files than in any study.
const MAX_FILES: usize = 200_000;
/// Directions and spacings that differ less are the same.
const SAME: f64 = 1e-3;
/// Stacks of a series do not alternate more than this, which bounds the search for a frame's own.
const OPEN_STACKS: usize = 64;
/// Images at the same positions that are kept apart; functional MR has some thousand.
const MAX_REPETITIONS: usize = 10_000;
/// Positions that differ less are the same.
const SAME_MM: f64 = 1e-2;

/// The images that were found.
pub(super) struct Found {
    pub(super) files: Vec<FileHeader>,
    /// Files that are no DICOM images.
    pub(super) others: usize,
    /// DICOM files that could not be read, with the reason of the first.
    pub(super) failed: usize,
    pub(super) first_failure: Option<Error>,
}

/// Reads the headers of a file, or of all files below a folder.
pub(super) fn find(path: &Path, limit: u64) -> Result<Found> {
    if !path.is_dir() {
        let read = with_header(path, limit, |header| {
            header::read(header, limit, Purpose::Image)
        })?;
        let files: Vec<FileHeader> = read.flatten().into_iter().collect();
        return Ok(Found {
            others: usize::from(files.is_empty()),
            files,
            failed: 0,
            first_failure: None,
        });
    }
    let mut paths = Vec::new();
    list(path, MAX_DEPTH, &mut paths)?;
    paths.sort();
    let read: Vec<_> = paths
        .par_iter()
        .map(|path| {
            with_header(path, limit, |header| {
                header::read(header, limit, Purpose::Image)
            })
        })
        .collect();
    let mut found = Found {
        files: Vec::new(),
        others: 0,
        failed: 0,
        first_failure: None,
    };
    for result in read {
        match result {
            Ok(Some(Some(file))) => found.files.push(file),
            Ok(_) => found.others += 1,
            Err(error) => {
                found.failed += 1;
                found.first_failure.get_or_insert(error);
            }
        }
    }
    Ok(found)
}

/// Regular files below a folder, those whose names begin with a dot left out.
fn list(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<()> {
    let io = |source| Error::Io {
        path: folder.to_owned(),
        source,
    };
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let kind = entry.file_type().map_err(io)?;
        if kind.is_dir() {
            if depth > 0 {
                list(&entry.path(), depth - 1, paths)?;
            }
        } else if kind.is_file() || entry.path().is_file() {
            paths.push(entry.path());
        }
        if paths.len() > MAX_FILES {
            return Err(Error::Parameter(format!(
                "{}: more than {MAX_FILES} files; open the folder of one series",
                folder.display()
            )));
        }
    }
    Ok(())
}

/// A frame: index of its file, index in the file.
pub(super) type FrameId = (usize, usize);

/// Frames that form one image, in their order.
pub(super) struct Stack {
    pub(super) frames: Vec<FrameId>,
    /// What was left out or divided.
    pub(super) warnings: Vec<String>,
}

impl Stack {
    pub(super) fn first<'a>(&self, files: &'a [FileHeader]) -> (&'a FileHeader, &'a FrameHeader) {
        let (file, frame) = self.frames[0];
        (&files[file], &files[file].frames[frame])
    }
}

/// Divides all frames into stacks, in the order of their series and instance numbers.
pub(super) fn stacks(files: &[FileHeader]) -> Vec<Stack> {
    let (order, copies) = without_copies(files);
    let mut groups: Vec<Vec<FrameId>> = Vec::new();
    for &file in &order {
        for frame in 0..files[file].frames.len() {
            let id = (file, frame);
            let mut own_stacks = groups.iter_mut().rev().take(OPEN_STACKS);
            let own = own_stacks.find(|group| belongs(files, group[0], id));
            match own {
                Some(group) => group.push(id),
                None => groups.push(vec![id]),
            }
        }
    }
    let mut stacks: Vec<Stack> = groups
        .into_iter()
        .flat_map(|group| divided(files, group))
        .collect();
    if copies > 0
        && let Some(stack) = stacks.first_mut()
    {
        let note = format!("{copies} files are copies of others and were left out");
        stack.warnings.push(note);
    }
    stacks
}

/// Files by their numbers, copies of the same object left out.
fn without_copies(files: &[FileHeader]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&files[a], &files[b]);
        let number = |file: &FileHeader| file.instance_number;
        (a.series.cmp(&b.series))
            .then(number(a).total_cmp(&number(b)))
            .then(a.path.cmp(&b.path))
    });
    let mut seen = BTreeSet::new();
    let all = order.len();
    order.retain(|&file| {
        let instance = &files[file].sop_instance;
        instance.is_empty() || seen.insert(instance.clone())
    });
    let copies = all - order.len();
    (order, copies)
}

fn near<const N: usize>(a: Option<[f64; N]>, b: Option<[f64; N]>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.iter().zip(b).all(|(a, b)| (a - b).abs() < SAME),
        (None, None) => true,
        _ => false,
    }
}

fn belongs(files: &[FileHeader], (file_a, frame_a): FrameId, (file_b, frame_b): FrameId) -> bool {
    let (a, b) = (&files[file_a], &files[file_b]);
    let (frame_a, frame_b) = (&a.frames[frame_a], &b.frames[frame_b]);
    a.series == b.series
        && a.format.size() == b.format.size()
        && a.format.is_colour() == b.format.is_colour()
        && near(frame_a.orientation, frame_b.orientation)
        && near(frame_a.spacing, frame_b.spacing)
        && frame_a.position.is_some() == frame_b.position.is_some()
}

/// Sorts frames along their normal; frames at the same positions become stacks of their own.
fn divided(files: &[FileHeader], group: Vec<FrameId>) -> Vec<Stack> {
    let frame = |(file, frame): FrameId| &files[file].frames[frame];
    let along: Option<Vec<f64>> = group.iter().map(|&id| along_normal(frame(id))).collect();
    let Some(along) = along else {
        return vec![Stack {
            frames: group,
            warnings: Vec::new(),
        }];
    };
    let mut sorted: Vec<(f64, FrameId)> = along.into_iter().zip(group).collect();
    // Stable: frames at one position stay in the order of their numbers.
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut positions: Vec<Vec<FrameId>> = Vec::new();
    let mut last = f64::NEG_INFINITY;
    for (at, id) in sorted {
        match positions.last_mut() {
            Some(same) if at - last < SAME_MM => same.push(id),
            _ => {
                positions.push(vec![id]);
                last = at;
            }
        }
    }
    let most = positions.iter().map(Vec::len).max().unwrap_or(0);
    for same in &mut positions {
        same.sort_by(|&(a, m), &(b, n)| {
            let number = |file: usize| files[file].acquisition_number;
            number(a).total_cmp(&number(b)).then((a, m).cmp(&(b, n)))
        });
    }
    (0..most.min(MAX_REPETITIONS))
        .map(|n| Stack {
            frames: positions.iter().filter_map(|same| same.get(n).copied()).collect(),
            warnings: if most > 1 {
                let note = format!(
                    "the series has up to {most} images at the same positions (phases, echoes or repetitions): \
                     this is number {}",
                    n + 1
                );
                vec![note]
            } else {
                Vec::new()
            },
        })
        .collect()
}
