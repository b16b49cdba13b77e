//! Memory for the values of a whole volume.
//!
//! The system hands out new memory a page at a time, at the first write to each: with pages of 4 KiB that takes longer
//! than reading and converting the values of a CT series. Large requests therefore ask for pages of 2 MiB.

use std::hint::black_box;
use std::io;

/// Smaller requests gain nothing.
#[cfg(any(test, target_os = "linux"))]
const WORTHWHILE_BYTES: usize = 4 << 20;

/// `count` zeros. The memory is taken from the system when it is written to.
fn zeroed<T: Clone + Default>(count: usize) -> Vec<T> {
    let mut values = vec![T::default(); count];
    advise(&mut values);
    values
}

/// `count` zeros, or an error where the system refuses the memory. An input's size is never a reason to abort.
pub(super) fn try_zeroed<T: Clone + Default>(count: usize) -> io::Result<Vec<T>> {
    // Zeros come from the system without being written only if they are asked for as such, which has no form that can
    // fail; the reservation tells beforehand whether there is room.
    drop(black_box(reserved::<T>(count)?));
    Ok(zeroed(count))
}

/// An empty vector with room for `count` values, or an error where the system refuses the memory.
pub(super) fn reserved<T>(count: usize) -> io::Result<Vec<T>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(count)
        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    Ok(values)
}

/// `count` values, or an error where the system refuses the memory.
pub(super) fn collected<T>(count: usize, values: impl Iterator<Item = T>) -> io::Result<Vec<T>> {
    let mut all = reserved(count)?;
    all.extend(values.take(count));
    Ok(all)
}

/// An empty vector with room for so many bytes, or an error where the system refuses the memory.
pub(super) fn try_with_capacity(bytes: usize) -> io::Result<Vec<u8>> {
    let mut values = reserved(bytes)?;
    advise(&mut values);
    Ok(values)
}

/// Gives a buffer a length in bytes, in new memory if it is too small, or an error where the system refuses the memory.
/// Its content afterwards is arbitrary.
pub(super) fn resize(buffer: &mut Vec<u8>, length: usize) -> io::Result<()> {
    if buffer.capacity() < length {
        // The old memory goes first.
        *buffer = Vec::new();
        *buffer = try_with_capacity(length)?;
    }
    buffer.resize(length, 0);
    Ok(())
}

/// Asks for large pages; where the system has none, nothing changes but the speed.
#[cfg(target_os = "linux")]
fn advise<T>(values: &mut Vec<T>) {
    /// Addresses that are given advice on begin at a multiple of this on every system.
    const LARGEST_BASE_PAGE: usize = 64 << 10;
    let bytes = values.capacity() * size_of::<T>();
    if bytes < WORTHWHILE_BYTES {
        return;
    }
    let start = values.as_mut_ptr().cast::<u8>();
    let skipped = start.align_offset(LARGEST_BASE_PAGE);
    let length = bytes.saturating_sub(skipped) / LARGEST_BASE_PAGE * LARGEST_BASE_PAGE;
    #[expect(
        unsafe_code,
        reason = "advice on memory has no safe form in the standard library"
    )]
    // SAFETY: the range lies in the vector's own allocation, and this advice never changes what memory holds. A failure
    // is harmless and is ignored.
    unsafe {
        libc::madvise(
            start.wrapping_add(skipped).cast(),
            length,
            libc::MADV_HUGEPAGE,
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn advise<T>(_values: &mut Vec<T>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_and_small_are_zeros_with_the_length_asked_for() {
        for count in [0, 5, WORTHWHILE_BYTES / 4 + 3] {
            let values: Vec<f32> = zeroed(count);
            assert_eq!(values.len(), count);
            assert!(values.iter().all(|v| v.to_bits() == 0));
        }
        let bytes = try_with_capacity(WORTHWHILE_BYTES + 5).unwrap();
        let refused = try_zeroed::<f32>(usize::MAX / 8).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory);
        assert!(bytes.is_empty() && bytes.capacity() >= WORTHWHILE_BYTES + 5);
    }

    #[test]
    fn a_buffer_grows_or_the_refusal_is_an_error() {
        let mut buffer = vec![1, 2, 3];
        assert!(resize(&mut buffer, usize::MAX / 2).is_err());
        resize(&mut buffer, 5).unwrap();
        assert_eq!(buffer.len(), 5);
    }
}
