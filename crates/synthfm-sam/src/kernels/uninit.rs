//! Vectors whose memory is not cleared before it is written: clearing costs as much as writing.

use std::mem::MaybeUninit;

/// A vector of `len` values that `fill` writes.
///
/// # Safety
/// `fill` writes every value.
#[expect(unsafe_code, reason = "the caller vouches for what is written")]
pub(super) unsafe fn filled<T>(len: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut out = Vec::with_capacity(len);
    fill(&mut out.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is `len` at least, and `fill` has written so many values.
    unsafe { out.set_len(len) };
    out
}

/// Zeros in place of one task's part of [`filled`]'s memory: cheap where the part stays in the first-level cache until
/// it is written.
#[expect(unsafe_code, reason = "memory that is written here")]
pub(super) fn cleared<T: Copy + Default>(part: &mut [MaybeUninit<T>]) -> &mut [T] {
    for place in &mut *part {
        place.write(T::default());
    }
    // SAFETY: all of it was written above.
    unsafe { part.assume_init_mut() }
}
