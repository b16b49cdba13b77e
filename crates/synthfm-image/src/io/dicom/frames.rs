//! Pixels of frames: fetched from their file one at a time, and decoded to intensities or colours.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use super::super::element::ByteOrder;
use super::super::pages;
use super::super::payload::read_full;
use super::codec::{self, Decoded, Failure};
use super::file::{Codec, format_error, inflated_pixels, io_error, limit_error};
use super::fragments::{self, Pieces};
use super::frame_header::FrameHeader;
use super::header::FileHeader;
use super::samples::{Scale, native_colour, native_grey, rgb};
use crate::{Error, Result};

/// The pixels of one file.
pub(super) struct StoredFrames<'a> {
    file: &'a FileHeader,
    content: Content,
    /// The fragments of every frame, where pixels are encapsulated.
    fragments: Option<Vec<Pieces>>,
    /// Bytes that decoding a frame may take.
    memory: u64,
    limit: u64,
}

/// Where the bytes of a file are.
enum Content {
    File(Mutex<File>),
    /// Inflated, from the first byte of the pixels on.
    Memory(Vec<u8>),
}

/// A frame as it is stored, or decoded.
enum Frame {
    /// In the buffer, in this order.
    Native(ByteOrder),
    Decoded(Decoded),
}

impl<'a> StoredFrames<'a> {
    /// Opens a file of at most `limit` bytes; decoding a frame of it takes at most `memory`.
    pub(super) fn open(file: &'a FileHeader, memory: u64, limit: u64) -> Result<Self> {
        let content = if file.syntax.deflated {
            Content::Memory(inflated_pixels(file, limit)?)
        } else {
            let file = File::open(&file.path).map_err(|e| io_error(&file.path, e))?;
            Content::File(Mutex::new(file))
        };
        let mut stored = Self {
            file,
            content,
            fragments: None,
            memory,
            limit,
        };
        if file.location.length.is_none() {
            stored.fragments = Some(stored.find_fragments()?);
        }
        Ok(stored)
    }

    pub(super) const fn file(&self) -> &FileHeader {
        self.file
    }

    fn find_fragments(&self) -> Result<Vec<Pieces>> {
        let FileHeader { path, location, .. } = self.file;
        let frames = self.file.frames.len();
        let found = match &self.content {
            Content::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let total = file.metadata().map_err(|e| io_error(path, e))?.len();
                fragments::of_frames(&mut *file, location.offset as u64, total, frames)
            }
            Content::Memory(bytes) => {
                let total = bytes.len() as u64;
                fragments::of_frames(&mut io::Cursor::new(bytes), 0, total, frames)
            }
        };
        let found = found.map_err(|e| io_error(path, e))?;
        found.map_err(|problem| format_error(path, problem))
    }

    /// Intensities of a frame in the unit of the modality. `buffer` is memory for its bytes.
    pub(super) fn grey(
        &self,
        frame: &FrameHeader,
        buffer: &mut Vec<u8>,
        out: &mut [f32],
    ) -> Result<()> {
        let format = &self.file.format;
        let rescale = self.file.rescale_of(frame);
        match self.fetch(frame, buffer)? {
            Frame::Native(order) => native_grey(format, buffer, order, rescale, out),
            Frame::Decoded(Decoded::Bytes(bytes)) => {
                native_grey(&format.in_bytes(), &bytes, ByteOrder::Little, rescale, out);
            }
            Frame::Decoded(Decoded::Samples { samples, .. }) => {
                let scale = Scale::new(format, rescale);
                for (out, &stored) in out.iter_mut().zip(&samples) {
                    *out = scale.apply(stored);
                }
            }
        }
        if let Some(lut) = &self.file.lut {
            for value in out {
                *value = lut.apply(*value);
            }
        }
        Ok(())
    }

    /// Decodes a compressed frame and drops it: the size of such frames cannot be checked otherwise, and one that is
    /// damaged must be told before memory is taken for its values.
    pub(super) fn check_decodes(&self, frame: &FrameHeader) -> Result<()> {
        if !matches!(self.file.syntax.codec, Some(Codec::Native(_))) {
            self.fetch(frame, &mut Vec::new())?;
        }
        Ok(())
    }

    /// Red, green and blue of a frame, in 8 bits. `buffer` is memory for its bytes.
    pub(super) fn colour(&self, frame: &FrameHeader, buffer: &mut Vec<u8>) -> Result<Vec<u8>> {
        let format = &self.file.format;
        let colours = match self.fetch(frame, buffer)? {
            Frame::Native(order) => native_colour(format, buffer, order),
            Frame::Decoded(Decoded::Bytes(bytes)) => {
                native_colour(&format.in_bytes(), &bytes, ByteOrder::Little)
            }
            Frame::Decoded(Decoded::Samples { samples, is_rgb }) => {
                let channels = format.channels();
                rgb(format, is_rgb, |pixel, channel| {
                    samples[pixel * channels + channel]
                })
            }
        };
        colours.map_err(|e| io_error(&self.file.path, e))
    }

    /// Brings the bytes of a frame into the buffer, and decodes them if they are compressed.
    fn fetch(&self, frame: &FrameHeader, buffer: &mut Vec<u8>) -> Result<Frame> {
        let syntax = &self.file.syntax;
        match (syntax.codec, &self.fragments) {
            (Some(Codec::Native(order)), None) => self.fetch_native(frame.index, buffer, order)?,
            (Some(Codec::Native(order)), Some(fragments)) => {
                self.gather(&fragments[frame.index], buffer)?;
                let needed = self.file.format.bits_of_frame().div_ceil(8);
                if buffer.len() < needed {
                    return Err(self.truncated(needed, buffer.len()));
                }
                self.order_bytes(order, buffer);
            }
            (Some(codec), Some(fragments)) => {
                self.gather(&fragments[frame.index], buffer)?;
                let decoded = codec::decode(codec, buffer, &self.file.format, self.memory);
                return decoded
                    .map(Frame::Decoded)
                    .map_err(|failure| self.failed(frame, failure));
            }
            (None, _) => {
                let problem = format!("{}, which has no decoder here", syntax.name());
                return Err(self.unsupported(problem));
            }
            (_, None) => {
                let problem = format!("{} without fragments", syntax.name());
                return Err(self.problem(frame, &problem));
            }
        }
        let Some(Codec::Native(order)) = syntax.codec else {
            return Err(self.problem(frame, "no codec"));
        };
        Ok(Frame::Native(order))
    }

    /// The bytes of a frame without compression, starting at its first bit.
    fn fetch_native(&self, index: usize, buffer: &mut Vec<u8>, order: ByteOrder) -> Result<()> {
        let bits = self.file.format.bits_of_frame();
        let (start, end) = (index * bits, (index + 1) * bits);
        let (mut from, mut to) = (start / 8, end.div_ceil(8));
        let is_swapped = self.file.has_swapped_bytes(order);
        if is_swapped {
            // Whole words.
            (from, to) = (from & !1, to.next_multiple_of(2));
        }
        self.read(from as u64, to - from, buffer)?;
        let needed = end.div_ceil(8) - from;
        if buffer.len() < needed {
            return Err(self.truncated(from + needed, from + buffer.len()));
        }
        self.order_bytes(order, buffer);
        buffer.drain(..start / 8 - from);
        if start % 8 != 0 {
            // Frames of single bits follow each other without a gap.
            let shift = start % 8;
            for n in 0..buffer.len() {
                let next = buffer.get(n + 1).copied().unwrap_or(0);
                buffer[n] = buffer[n] >> shift | next << (8 - shift);
            }
        }
        Ok(())
    }

    /// Takes bytes out of big-endian words.
    fn order_bytes(&self, order: ByteOrder, buffer: &mut [u8]) {
        if self.file.has_swapped_bytes(order) {
            let (words, _) = buffer.as_chunks_mut::<2>();
            for word in words {
                word.swap(0, 1);
            }
        }
    }

    /// Reads bytes from `offset` in the pixels on, as many as are there.
    fn read(&self, offset: u64, length: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let FileHeader { path, location, .. } = self.file;
        let io = |error| io_error(path, error);
        match &self.content {
            Content::Memory(bytes) => {
                let from = (offset as usize).min(bytes.len());
                let to = from.saturating_add(length).min(bytes.len());
                pages::resize(buffer, to - from).map_err(io)?;
                buffer.copy_from_slice(&bytes[from..to]);
            }
            Content::File(file) => {
                pages::resize(buffer, length).map_err(io)?;
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let start = SeekFrom::Start(location.offset as u64 + offset);
                file.seek(start).map_err(io)?;
                let got = read_full(&mut *file, buffer).map_err(io)?;
                buffer.truncate(got);
            }
        }
        Ok(())
    }

    /// Joins fragments; their places were compared with the file's length.
    fn gather(&self, pieces: &Pieces, buffer: &mut Vec<u8>) -> Result<()> {
        let FileHeader { path, .. } = self.file;
        let io = |error| io_error(path, error);
        let length: u64 = pieces.iter().map(|piece| piece.end - piece.start).sum();
        if length > self.limit {
            return Err(limit_error(path, Some(length), self.limit));
        }
        pages::resize(buffer, length as usize).map_err(io)?;
        let mut rest = &mut buffer[..];
        for piece in pieces {
            let (place, behind) = rest.split_at_mut((piece.end - piece.start) as usize);
            rest = behind;
            match &self.content {
                Content::Memory(bytes) => {
                    place.copy_from_slice(&bytes[piece.start as usize..piece.end as usize]);
                }
                Content::File(file) => {
                    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                    file.seek(SeekFrom::Start(piece.start)).map_err(io)?;
                    file.read_exact(place).map_err(io)?;
                }
            }
        }
        Ok(())
    }

    fn problem(&self, frame: &FrameHeader, text: &str) -> Error {
        let path = &self.file.path;
        if self.file.frames.len() > 1 {
            return format_error(path, format!("frame {}: {text}", frame.index + 1));
        }
        format_error(path, text)
    }

    fn unsupported(&self, problem: String) -> Error {
        let path = self.file.path.clone();
        Error::Unsupported { path, problem }
    }

    fn failed(&self, frame: &FrameHeader, failure: Failure) -> Error {
        match failure {
            Failure::Frame(text) => self.problem(frame, &text),
            Failure::Unsupported(problem) => self.unsupported(problem),
            Failure::Memory(bytes) => {
                let others = self.limit.saturating_sub(self.memory);
                limit_error(&self.file.path, bytes.checked_add(others), self.limit)
            }
            Failure::System(error) => io_error(&self.file.path, error),
        }
    }

    fn truncated(&self, needed: usize, got: usize) -> Error {
        let problem =
            format!("truncated DICOM: {needed} bytes of pixels are needed, {got} are there");
        format_error(&self.file.path, problem)
    }
}
