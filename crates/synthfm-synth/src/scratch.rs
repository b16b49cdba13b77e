//! Planes of numbers whose memory a thread uses again.
//!
//! Rendering needs some dozen planes of the image's size, one after the other. Taking them from the
//! operating system each time costs a fifth of the time, and threads then wait for each other.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Bytes that a thread keeps for its next planes at most.
const KEPT_BYTES: usize = 64 << 20;
/// Planes that a thread keeps at most.
const KEPT_PLANES: usize = 32;

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers in memory that goes back to the thread that drops them.
#[derive(Debug, PartialEq)]
pub(crate) struct Buffer(Vec<f32>);

impl Buffer {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut buffer = Self::stale(len);
        buffer.fill(0.0);
        buffer
    }

    /// `len` numbers left over from earlier use: every one must be written before it is read.
    pub(crate) fn stale(len: usize) -> Self {
        let mut data = KEPT.with_borrow_mut(|kept| take(kept, len));
        data.resize(len, 0.0);
        Self(data)
    }
}

impl FromIterator<f32> for Buffer {
    /// The iterator must know its length.
    fn from_iter<I: IntoIterator<Item = f32>>(numbers: I) -> Self {
        let numbers = numbers.into_iter();
        let mut buffer = Self::stale(numbers.size_hint().0);
        for (value, number) in buffer.iter_mut().zip(numbers) {
            *value = number;
        }
        buffer
    }
}

impl From<&[f32]> for Buffer {
    fn from(numbers: &[f32]) -> Self {
        numbers.iter().copied().collect()
    }
}

/// The kept vector that fits best; otherwise one of exactly this capacity.
fn take(kept: &mut Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let fitting = (0..kept.len()).filter(|&k| kept[k].capacity() >= len);
    match fitting.min_by_key(|&k| kept[k].capacity()) {
        Some(best) => kept.remove(best),
        None => Vec::with_capacity(len),
    }
}

/// Keeps a vector, the last of the list; those that have waited longest make room for it.
fn put(kept: &mut Vec<Vec<f32>>, data: Vec<f32>) {
    let bytes = |data: &Vec<f32>| size_of::<f32>() * data.capacity();
    kept.push(data);
    let mut total: usize = kept.iter().map(bytes).sum();
    let mut surplus = 0;
    while total > KEPT_BYTES || kept.len() - surplus > KEPT_PLANES {
        total -= bytes(&kept[surplus]);
        surplus += 1;
    }
    kept.drain(..surplus);
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.0);
        // A thread that ends has no store any more: the vector is freed then.
        let _ = KEPT.try_with(|kept| put(&mut kept.borrow_mut(), data));
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut copy = Self::stale(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> (usize, usize) {
        KEPT.with_borrow(|kept| (kept.len(), kept.iter().map(Vec::capacity).sum()))
    }

    #[test]
    fn memory_is_used_again() {
        let first = Buffer::zeros(1000);
        let address = first.as_ptr();
        drop(first);
        let second = Buffer::stale(900);
        assert_eq!(second.as_ptr(), address);
        assert_eq!((second.len(), kept().0), (900, 0));
    }

    #[test]
    fn zeros_are_zeros_whatever_was_there() {
        let mut buffer = Buffer::zeros(64);
        buffer.fill(7.0);
        drop(buffer);
        assert!(Buffer::zeros(32).iter().all(|&v| v.to_bits() == 0));
        // A longer one than the kept vector was long.
        assert!(Buffer::zeros(64).iter().all(|&v| v.to_bits() == 0));
    }

    #[test]
    fn a_thread_keeps_no_more_than_the_limits() {
        let many: Vec<Buffer> = (0..200).map(|_| Buffer::zeros(10)).collect();
        drop(many);
        assert_eq!(kept().0, KEPT_PLANES);
        let large: Vec<Buffer> = (0..5).map(|_| Buffer::zeros(KEPT_BYTES / 12)).collect();
        drop(large);
        assert!(4 * kept().1 <= KEPT_BYTES);
        drop(Buffer::zeros(KEPT_BYTES));
        assert!(4 * kept().1 <= KEPT_BYTES);
    }
}
