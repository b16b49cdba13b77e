//! Files that hold the same object twice.
//!
//! Devices and exports give different images the same SOP Instance UID, so that a UID alone makes no copy: positions and
//! pixels must agree as well.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::frame_header::FrameHeader;
use super::frames::StoredFrames;
use super::gate::Gate;
use super::header::FileHeader;
use crate::{Error, Result};

/// Positions that differ less are the same.
const SAME_MM: f64 = 1e-2;

/// The files that remain after copies with one SOP Instance UID are left out.
pub(super) struct Distinct {
    /// The files that remain, in the given order.
    pub(super) files: Vec<usize>,
    /// Series in which copies were left out, with their number.
    pub(super) copies: BTreeMap<String, usize>,
    /// Series in which different images share a UID, with their number.
    pub(super) shared: BTreeMap<String, usize>,
}

/// Leaves out all but the first of files whose UID, positions and pixels agree.
pub(super) fn leave_out(files: &[FileHeader], order: &[usize], limit: u64) -> Distinct {
    let mut by_uid: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for &file in order {
        let uid = files[file].sop_instance.as_str();
        if !uid.is_empty() {
            by_uid.entry(uid).or_default().push(file);
        }
    }
    let repeated: Vec<usize> = (by_uid.values().filter(|same| same.len() > 1).flatten())
        .copied()
        .collect();
    let digests = digests(files, &repeated, limit);
    let mut left_out = BTreeSet::new();
    let (mut copies, mut shared) = (BTreeMap::new(), BTreeMap::new());
    for same in by_uid.values().filter(|same| same.len() > 1) {
        // Files of other pixels, or without a digest, are not looked at.
        let mut kept: BTreeMap<Digest32, Vec<usize>> = BTreeMap::new();
        for (n, &file) in same.iter().enumerate() {
            let alike = digests.get(&file).map(|own| kept.entry(*own).or_default());
            let is_place = |other: &usize| is_same_place(&files[file], &files[*other]);
            let is_copy = alike
                .as_ref()
                .is_some_and(|alike| alike.iter().any(is_place));
            let series = files[file].series.clone();
            if is_copy {
                *copies.entry(series).or_default() += 1;
                left_out.insert(file);
                continue;
            }
            if n > 0 {
                *shared.entry(series).or_default() += 1;
            }
            if let Some(alike) = alike {
                alike.push(file);
            }
        }
    }
    let remains = order
        .iter()
        .copied()
        .filter(|file| !left_out.contains(file));
    Distinct {
        files: remains.collect(),
        copies,
        shared,
    }
}

type Digest32 = [u8; 32];

/// Digests of files by their number; files that cannot be read have none.
fn digests(files: &[FileHeader], of: &[usize], limit: u64) -> BTreeMap<usize, Digest32> {
    let bytes = |&file: &usize| needed(&files[file]);
    let most = of.iter().map(bytes).max().unwrap_or(0).max(1);
    let places = (limit / most).clamp(1, rayon::current_num_threads() as u64);
    let gate = Gate::new(places as usize);
    of.par_iter()
        .filter_map(|&file| {
            let _place = gate.enter();
            Some((file, digest(&files[file], limit / places).ok()?))
        })
        .collect()
}

/// Bytes of memory for the digest of a file.
fn needed(file: &FileHeader) -> u64 {
    let values = 4 * file.format.pixels() as u64;
    file.usual_bytes().saturating_add(values)
}

fn is_same_place(a: &FileHeader, b: &FileHeader) -> bool {
    let near = |(a, b): (&FrameHeader, &FrameHeader)| match (a.position, b.position) {
        (Some(a), Some(b)) => a.iter().zip(b).all(|(a, b)| (a - b).abs() < SAME_MM),
        (None, None) => true,
        _ => false,
    };
    a.frames.len() == b.frames.len() && a.frames.iter().zip(&b.frames).all(near)
}

/// A digest of size and decoded values: the same image may be stored in different ways.
fn digest(file: &FileHeader, limit: u64) -> Result<Digest32> {
    let format = &file.format;
    let stored = StoredFrames::open(file, limit, limit)?;
    let mut hash = Sha256::new();
    hash.update(
        [format.rows, format.columns]
            .map(usize::to_le_bytes)
            .concat(),
    );
    let mut buffer = Vec::new();
    let out_of_memory = |source| Error::Io {
        path: file.path.clone(),
        source,
    };
    let mut values = super::super::pages::try_zeroed(format.pixels()).map_err(out_of_memory)?;
    for frame in &file.frames {
        if format.is_colour() {
            hash.update(stored.colour(frame, &mut buffer)?);
        } else {
            stored.grey(frame, &mut buffer, &mut values)?;
            for value in &values {
                hash.update(value.to_le_bytes());
            }
        }
    }
    Ok(hash.finalize().into())
}
