//! Vectors whose memory is not cleared before it is written: clearing costs as much as writing.

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// A vector of `len` values that `fill` writes.
///
/// # Safety
/// `fill` writes every value.
#[expect(unsafe_code, reason = "the caller vouches for what is written")]
pub(super) unsafe fn filled<T>(len: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut out = Vec::with_capacity(len);
    // Under test every bit is set, which is not a number: what `fill` leaves out shows in the results.
    #[cfg(test)]
    // SAFETY: the capacity is `len` at least, and any bytes are a `MaybeUninit`.
    unsafe {
        out.spare_capacity_mut().as_mut_ptr().write_bytes(0xFF, len);
    }
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

/// Two vectors of as many bands, of `lens` values each, that tasks write: `write` takes a band's number and its part of
/// both, which is zero until then, and memory to use.
#[expect(unsafe_code, reason = "outputs that are written once")]
pub fn two_in_bands(
    bands: usize,
    lens: [usize; 2],
    write: impl Fn(usize, [&mut [f32]; 2], &mut Vec<f32>) + Sync,
) -> [Vec<f32>; 2] {
    if bands == 0 || lens.contains(&0) {
        return lens.map(|len| vec![0.0; bands * len]);
    }
    let fill = |first: &mut [MaybeUninit<f32>], second: &mut [MaybeUninit<f32>]| {
        first
            .par_chunks_exact_mut(lens[0])
            .zip(second.par_chunks_exact_mut(lens[1]))
            .enumerate()
            .for_each_init(Vec::new, |memory, (i, (first, second))| {
                write(i, [cleared(first), cleared(second)], memory);
            });
    };
    let mut second = Vec::new();
    // SAFETY: the bands cover all of both vectors, and each is cleared.
    let first = unsafe {
        filled(bands * lens[0], |first| {
            second = filled(bands * lens[1], |second| fill(first, second));
        })
    };
    [first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        unsafe_code,
        reason = "what the memory holds is looked at before it is written"
    )]
    fn memory_is_not_a_number_until_it_is_written() {
        let fill = |part: &mut [MaybeUninit<f32>]| {
            for place in part {
                // SAFETY: under test all of it is written before.
                assert!(unsafe { place.assume_init() }.is_nan());
                place.write(1.5);
            }
        };
        // SAFETY: every value is written.
        assert_eq!(unsafe { filled(5, fill) }, [1.5; 5]);
    }

    #[test]
    fn bands_are_zero_until_they_are_written() {
        let [first, second] = two_in_bands(3, [2, 1], |i, [first, second], memory| {
            memory.push(i as f32);
            first[1] = i as f32;
            second[0] = if i == 1 { 7.0 } else { second[0] };
        });
        assert_eq!(first, [0.0, 0.0, 0.0, 1.0, 0.0, 2.0]);
        assert_eq!(second, [0.0, 7.0, 0.0]);
        let none = two_in_bands(0, [2, 1], |_, _, _| ());
        assert!(none.iter().all(Vec::is_empty));
    }
}
