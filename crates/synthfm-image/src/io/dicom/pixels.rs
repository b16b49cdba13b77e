//! The pixels of a picture or a volume, within the limit on memory.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::super::giving_up::Stop;
use super::super::{Picture, ahead, pages};
use super::file::{io_error, limit_error};
use super::folder::FrameId;
use super::frames::StoredFrames;
use super::gate::Gate;
use super::header::FileHeader;
use super::samples::mirror_sum;
use crate::{Error, Image, Result, RgbImage};

/// The only frame of a file. Its values, its bytes and what decoding takes are within the limit together.
pub(super) fn picture(file: &FileHeader, limit: u64) -> Result<Picture> {
    let (frame, size) = (&file.frames[0], file.format.size());
    let is_colour = file.format.is_colour();
    let values = if is_colour {
        0
    } else {
        4 * file.format.pixels() as u64
    };
    let memory = limit.saturating_sub(values);
    let working = file.working_bytes();
    if working > memory {
        return Err(limit_error(&file.path, working.checked_add(values), limit));
    }
    let stored = StoredFrames::open(file, memory, limit)?;
    let mut buffer = Vec::new();
    if is_colour {
        let colours = stored.colour(frame, &mut buffer)?;
        return Ok(Picture::Rgb(RgbImage::new(size, colours)?));
    }
    stored.check_decodes(frame)?;
    let mut data = zeros(&file.path, file.format.pixels())?;
    stored.grey(frame, &mut buffer, &mut data)?;
    Ok(Picture::Grey(Image::new(size, data)?))
}

fn zeros(path: &Path, count: usize) -> Result<Vec<f32>> {
    pages::try_zeroed(count).map_err(|e| io_error(path, e))
}

/// The values of all frames, one after the other. Those of frames with MONOCHROME1 are mirrored if `are_mixed`.
pub(super) fn voxels(
    path: &Path,
    files: &[FileHeader],
    frames: &[FrameId],
    are_mixed: bool,
    limit: u64,
) -> Result<Vec<f32>> {
    let pixels = files[frames[0].0].format.pixels();
    let bytes = (pixels as u64)
        .checked_mul(frames.len() as u64)
        .and_then(|n| n.checked_mul(4));
    let most = |bytes: fn(&FileHeader) -> u64| {
        let all = frames.iter().map(|&(file, _)| bytes(&files[file]));
        all.max().unwrap_or(0).max(1)
    };
    let working = most(FileHeader::working_bytes);
    let together = bytes.and_then(|bytes| bytes.checked_add(working));
    if together.is_none_or(|bytes| bytes > limit) {
        return Err(limit_error(path, together, limit));
    }
    // Frames that are decoded at the same time share what the values leave.
    let spare = limit.saturating_sub(bytes.unwrap_or(0));
    let threads = rayon::current_num_threads() as u64;
    let places = (spare / most(FileHeader::usual_bytes)).clamp(1, threads);
    let room = Room {
        gate: Gate::new(places as usize),
        memory: spare / places,
        limit,
        are_mixed,
        stop: Stop::current(),
        buffers: Mutex::new(Vec::new()),
    };
    let (first_file, first_frame) = frames[0];
    let first = &files[first_file];
    if first.location.length.is_none() {
        StoredFrames::open(first, spare, limit)?.check_decodes(&first.frames[first_frame])?;
    }
    let mut data = zeros(path, pixels * frames.len())?;
    let mut slots: Vec<(FrameId, &mut [f32])> = frames
        .iter()
        .copied()
        .zip(data.chunks_exact_mut(pixels))
        .collect();
    slots.sort_by_key(|(id, _)| *id);
    let one_file = |a: &(FrameId, &mut [f32]), b: &(FrameId, &mut [f32])| a.0.0 == b.0.0;
    let mut order: Vec<usize> = slots.iter().map(|(id, _)| id.0).collect();
    order.dedup();
    std::thread::scope(|scope| {
        // The disk's work for the next files goes on beside the decoding.
        scope.spawn(|| {
            for file in order {
                if let Ok(file) = File::open(&files[file].path) {
                    ahead::fetch(&file);
                }
            }
        });
        slots
            .par_chunk_by_mut(one_file)
            .try_for_each(|slots| room.fill(&files[slots[0].0.0], slots))
    })?;
    Ok(data)
}

/// Bounds that decoding threads share.
struct Room {
    gate: Gate,
    /// Bytes that each frame may take.
    memory: u64,
    limit: u64,
    are_mixed: bool,
    stop: Stop,
    /// New memory for the pixels of every frame would cost as much as reading them.
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Room {
    /// Decodes frames of one file into their places.
    fn fill(&self, file: &FileHeader, slots: &mut [(FrameId, &mut [f32])]) -> Result<()> {
        if slots.len() == 1 || file.syntax.deflated {
            // A deflated file is in memory as a whole, so that no other file is until it is done.
            let _place = self.gate.enter();
            let stored = StoredFrames::open(file, self.memory, self.limit)?;
            let mut each = slots.iter_mut();
            return each.try_for_each(|((_, frame), out)| self.decode(&stored, *frame, out));
        }
        let stored = StoredFrames::open(file, self.memory, self.limit)?;
        slots
            .par_iter_mut()
            .try_for_each(|((_, frame), out)| -> Result<()> {
                let _place = self.gate.enter();
                self.decode(&stored, *frame, out)
            })
    }

    fn decode(&self, stored: &StoredFrames, frame: usize, out: &mut [f32]) -> Result<(), Error> {
        let file = stored.file();
        self.stop.check().map_err(|source| Error::Io {
            path: file.path.clone(),
            source,
        })?;
        let buffers = || self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = buffers().pop().unwrap_or_default();
        let frame = &file.frames[frame];
        if file.format.is_colour() {
            let colours = stored.colour(frame, &mut buffer)?;
            for (out, rgb) in out.iter_mut().zip(colours.chunks_exact(3)) {
                let [red, green, blue] = [rgb[0], rgb[1], rgb[2]].map(f32::from);
                *out = 0.299 * red + 0.587 * green + 0.114 * blue;
            }
        } else {
            stored.grey(frame, &mut buffer, out)?;
            if self.are_mixed && file.format.inverted() {
                let sum = mirror_sum(file, frame);
                for value in out {
                    *value = sum - *value;
                }
            }
        }
        buffers().push(buffer);
        Ok(())
    }
}
