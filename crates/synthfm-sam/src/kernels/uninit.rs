//! Vectors whose memory is not cleared before it is written: clearing costs as much as writing.

use std::mem::MaybeUninit;

/// A vector of `len` values that `fill` writes.
///
/// # Safety
/// `fill` writes every value.
#[expect(unsafe_code, reason = "the caller vouches for what is written")]
pub(super) unsafe fn filled(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut out = Vec::with_capacity(len);
    fill(&mut out.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is `len` at least, and `fill` has written so many values.
    unsafe { out.set_len(len) };
    out
}
