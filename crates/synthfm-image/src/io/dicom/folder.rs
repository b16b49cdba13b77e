//! The DICOM images of a file or folder, and their division into stacks: frames that form one image.
//!
//! A stack has one series, size, spacing and orientation, and one frame per position; a series with several (echoes,
//! phases, a localiser among its slices) gives several stacks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::super::giving_up::Stop;
use super::copies::{self, Distinct};
use super::file::with_header;
use super::frame_header::FrameHeader;
use super::geometry::along_normal;
use super::header::{self, FileHeader, Purpose};
use super::natural;
use super::repetitions::divide;
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
            match header::read(header, limit, Purpose::Image)? {
                Some(file) => Ok(file),
                None => Err(header.unsupported(header::what_else(header))),
            }
        })?;
        let files: Vec<FileHeader> = read.into_iter().collect();
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
    let stop = Stop::current();
    let read: Vec<_> = paths
        .par_iter()
        .map(|path| {
            stop.check().map_err(|source| Error::Io {
                path: path.clone(),
                source,
            })?;
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
    /// Remarks on files that were left out and stacks that were divided.
    pub(super) warnings: Vec<String>,
}

impl Stack {
    pub(super) fn first<'a>(&self, files: &'a [FileHeader]) -> (&'a FileHeader, &'a FrameHeader) {
        let (file, frame) = self.frames[0];
        (&files[file], &files[file].frames[frame])
    }
}

/// Divides all frames into stacks, in the order of their series and instance numbers. Files of at most `limit` bytes are
/// read where only their pixels tell copies from different images.
pub(super) fn stacks(files: &[FileHeader], limit: u64) -> Vec<Stack> {
    let Distinct {
        files: order,
        copies,
        shared,
    } = copies::leave_out(files, &by_numbers(files), limit);
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
    for (of_series, what) in [
        (copies, "files are copies of others and were left out"),
        (
            shared,
            "files have the SOP Instance UID of another one, but other pixels or another position: all were kept",
        ),
    ] {
        for (series, count) in of_series {
            let own = |stack: &&mut Stack| stack.first(files).0.series == series;
            if let Some(stack) = stacks.iter_mut().find(own) {
                stack.warnings.push(format!("{count} {what}"));
            }
        }
    }
    stacks
}

/// Files by series and instance number; those without a number, or with one that others have, by their names.
fn by_numbers(files: &[FileHeader]) -> Vec<usize> {
    let names: Vec<_> = files
        .iter()
        .map(|file| file.path.to_string_lossy())
        .collect();
    let mut order: Vec<usize> = (0..files.len()).collect();
    let number = |file: &FileHeader| file.instance_number.unwrap_or(0.0);
    order.sort_by(|&a, &b| {
        let (one, other) = (&files[a], &files[b]);
        (one.series.cmp(&other.series))
            .then(number(one).total_cmp(&number(other)))
            .then_with(|| natural::compare(&names[a], &names[b]))
    });
    order
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

/// Frames of several files whose order only the files' names tell.
const BY_NAME: &str = "neither times nor numbers tell the order of some images: they are in the order of their files' names";

/// Sorts frames along their normal; frames at the same positions become stacks of their own.
fn divided(files: &[FileHeader], group: Vec<FrameId>) -> Vec<Stack> {
    let frame = |(file, frame): FrameId| &files[file].frames[frame];
    let along: Option<Vec<f64>> = group.iter().map(|&id| along_normal(frame(id))).collect();
    let Some(along) = along else {
        return vec![without_positions(files, group)];
    };
    let mut sorted: Vec<(f64, usize)> = along.into_iter().zip(0..).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut positions: Vec<Vec<usize>> = Vec::new();
    let mut last = f64::NEG_INFINITY;
    for (at, place) in sorted {
        match positions.last_mut() {
            Some(same) if at - last < SAME_MM => same.push(place),
            _ => {
                positions.push(vec![place]);
                last = at;
            }
        }
    }
    let in_order = |mut same: Vec<usize>| -> Vec<FrameId> {
        same.sort_unstable();
        same.into_iter().map(|place| group[place]).collect()
    };
    let positions: Vec<Vec<FrameId>> = positions.into_iter().map(in_order).collect();
    let alike = |same: &Vec<FrameId>| {
        let mut keys: Vec<_> = same
            .iter()
            .map(|&id| (frame(id).moment, number_bits(files, id), id.1))
            .collect();
        keys.sort();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    };
    let by_name = positions.iter().any(alike);
    let groups = divide(positions, MAX_REPETITIONS, |id| frame(id).moment);
    let count = groups.len();
    let stack = |(n, frames): (usize, Vec<FrameId>)| {
        let mut warnings = Vec::new();
        if count > 1 {
            warnings.push(format!(
                "the series has up to {count} images at the same positions (phases, echoes or repetitions): this is \
                 number {}",
                n + 1
            ));
        }
        if by_name {
            warnings.push(BY_NAME.to_owned());
        }
        Stack { frames, warnings }
    };
    groups.into_iter().enumerate().map(stack).collect()
}

/// A file's instance number, to compare.
fn number_bits(files: &[FileHeader], (file, _): FrameId) -> Option<u64> {
    files[file].instance_number.map(f64::to_bits)
}

/// Frames in the order of their numbers; where these occur more than once, of time before that.
fn without_positions(files: &[FileHeader], mut frames: Vec<FrameId>) -> Stack {
    let number = |&id: &FrameId| (number_bits(files, id), id.1);
    let distinct = |frames: &[FrameId]| {
        let keys: BTreeSet<_> = frames.iter().map(number).collect();
        keys.len() == frames.len()
    };
    let mut warnings = Vec::new();
    if !distinct(&frames) {
        let moment = |&(file, frame): &FrameId| files[file].frames[frame].moment;
        frames.sort_by_key(moment);
        let same = |pair: &[FrameId]| {
            moment(&pair[0]) == moment(&pair[1]) && number(&pair[0]) == number(&pair[1])
        };
        if frames.windows(2).any(same) {
            warnings.push(BY_NAME.to_owned());
        }
    }
    Stack { frames, warnings }
}
