//! Tiles, and the packing of their operands, against their definition.

use super::*;

/// Small integers: exact in `f32` and in bf16.
fn integers(count: usize, salt: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 37 + salt) % 13) as f32 - 6.0)
        .collect()
}

fn words<T: Operand>(values: &[f32], k: usize, stride: usize) -> Vec<T> {
    let at = |k: usize, i: usize| values.get(k * stride + i).copied().unwrap_or(0.0);
    let count = k.div_ceil(T::PER_WORD);
    (0..count * stride)
        .map(|i| {
            let (word, i) = (i / stride, i % stride);
            T::word(at(word * T::PER_WORD, i), at(word * T::PER_WORD + 1, i))
        })
        .collect()
}

#[expect(unsafe_code, reason = "calls the kernel on whole vectors")]
fn check<T: Operand>(isa: Isa, vectors: usize) {
    let (k, a_stride, b_stride, c_stride) = (7, 11, 67, 71);
    let rows = T::rows(isa, vectors);
    let (a, b) = (integers(k * a_stride, 1), integers(k * b_stride, 2));
    for accumulate in [false, true] {
        let mut c = vec![3.0; rows * c_stride];
        let (a_words, b_words) = (words::<T>(&a, k, a_stride), words::<T>(&b, k, b_stride));
        let tile = Tile {
            k: k.div_ceil(T::PER_WORD),
            a: a_words.as_ptr(),
            a_stride,
            b: b_words.as_ptr(),
            b_stride,
            vectors,
            c: c.as_mut_ptr(),
            c_stride,
            accumulate,
        };
        // SAFETY: the vectors have k words of the strides, which exceed the tile's sides.
        unsafe { T::tile(isa, tile) };
        for (r, row) in c.chunks_exact(c_stride).enumerate() {
            for (j, &got) in row.iter().enumerate() {
                let sum: f32 = (0..k)
                    .map(|k| a[k * a_stride + r] * b[k * b_stride + j.min(66)])
                    .sum();
                let expected = match (j < vectors * LANES, accumulate) {
                    (false, _) => 3.0,
                    (true, false) => sum,
                    (true, true) => sum + 3.0,
                };
                assert!(
                    (got - expected).abs() < 1e-6,
                    "{isa:?} {vectors} {r} {j}: {got}, {expected}"
                );
            }
        }
    }
}

#[test]
fn every_tile_is_the_product() {
    for isa in Isa::all() {
        for vectors in 1..=MAX_VECTORS {
            check::<f32>(isa, vectors);
            check::<Bf16Pair>(isa, vectors);
        }
    }
}

#[test]
fn turning_moves_every_word() {
    for isa in Isa::all() {
        for (rows, words) in [(8, 1), (8, 8), (8, 37), (6, 19), (4, 16)] {
            let lines = integers(rows * words, 3);
            let mut turned = vec![f32::NAN; lines.len()];
            f32::turn(isa, &lines, rows, &mut turned);
            for (i, &got) in turned.iter().enumerate() {
                let (word, row) = (i / rows, i % rows);
                assert_eq!(
                    got.to_bits(),
                    lines[row * words + word].to_bits(),
                    "{isa:?} {rows} {words} {i}"
                );
            }
        }
    }
}

#[test]
fn bf16_rounds_to_nearest_ties_to_even() {
    // 8 bits of significand: 1 + 2^-8 lies halfway between 1 and 1 + 2^-7.
    let cases = [
        (1.0, 1.0),
        (1.0 + 1.0 / 256.0, 1.0),
        (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
        (-1.0 - 1.1 / 256.0, -1.0 - 2.0 / 256.0),
    ];
    for (x, rounded) in cases {
        assert_eq!(f32::from_bits(to_bf16(x)).to_bits(), f32::to_bits(rounded));
    }
}
