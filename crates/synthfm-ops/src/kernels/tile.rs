//! The inner loop of every matrix product: a tile of C that stays in registers while k runs.
//!
//! Operands come as *words* of 32 bits, one `f32` or two bf16 of successive k ([`Bf16Pair`]), so that one
//! packing and one loop order serve both. A is read as `[k][rows]`, B as `[k][columns]`, each with a
//! stride of its own. The widths follow the register files: 8 × 48 or 6 × 64 of AVX-512's 32 registers,
//! 6 × 16 of AVX2's 16. Sums over k are taken in order, and always in `f32`.

use super::isa::{Isa, multiversion};

/// Columns that a tile is a multiple of.
pub(crate) const LANES: usize = 16;
/// Most columns of one tile, in [`LANES`].
pub(crate) const MAX_VECTORS: usize = 4;

/// Two bf16 values of successive k: the even one in the low half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Bf16Pair(pub(crate) u32);

/// Rounds to bf16, ties to even; the value in the high half. Finite numbers only.
#[inline(always)]
pub(crate) const fn to_bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) & 0xffff_0000
}

/// A tile's operands and place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<T> {
    /// Words of k.
    pub(crate) k: usize,
    /// `[k][a_stride]`, of which [`Operand::rows`] are used.
    pub(crate) a: *const T,
    pub(crate) a_stride: usize,
    /// `[k][b_stride]`, of which `vectors` times [`LANES`] are used.
    pub(crate) b: *const T,
    pub(crate) b_stride: usize,
    /// Columns in [`LANES`], 1 to [`MAX_VECTORS`].
    pub(crate) vectors: usize,
    /// `[rows][c_stride]`.
    pub(crate) c: *mut f32,
    pub(crate) c_stride: usize,
    /// Adds to C instead of setting it.
    pub(crate) accumulate: bool,
}

/// What products are made of.
pub(crate) trait Operand: Copy + Default + Send + Sync + 'static {
    /// Values of k in one word.
    const PER_WORD: usize;

    /// A word of the values at an even k and the one after it (which `f32` does not hold).
    fn word(even: f32, odd: f32) -> Self;

    /// Lines of `width` values by k as lines of words; the line after the last is zero.
    fn words(isa: Isa, lines: &[f32], width: usize, words: &mut [Self]);

    /// A row of values as words; there may be one value less than the words hold.
    fn row_words(isa: Isa, row: &[f32], words: &mut [Self]);

    /// The first `width` columns of `k` rows, each `stride` values after the last, as `[words][side]`; columns beyond
    /// those are zero.
    fn columns(isa: Isa, rows: &[f32], size: [usize; 3], side: usize, words: &mut [Self]);

    /// Values that are words as they lie.
    fn in_place(values: &[f32]) -> Option<&[Self]> {
        let _ = values;
        None
    }

    /// Rows of `k` values as a tile's operand `[words][rows]`, where `lines` has room for all rows of the
    /// tile as `[rows][words]`; rows beyond those given are zero.
    fn pack(isa: Isa, rows: &[f32], k: usize, lines: &mut [Self], tile: &mut [Self]) {
        let words = k.div_ceil(Self::PER_WORD);
        let (given, all) = (rows.len() / k, lines.len() / words);
        for (row, line) in rows.chunks_exact(k).zip(lines.chunks_exact_mut(words)) {
            Self::row_words(isa, row, line);
        }
        lines[given * words..].fill(Self::default());
        Self::turn(isa, lines, all, tile);
    }

    /// `[rows][words]` as `[words][rows]`, as many rows as a tile has.
    fn turn(isa: Isa, lines: &[Self], rows: usize, turned: &mut [Self]);

    /// Rows of a tile of so many columns.
    fn rows(isa: Isa, vectors: usize) -> usize;

    /// C = A·B, or C += A·B, on one tile.
    ///
    /// # Safety
    /// All elements that `tile` describes are readable (A, B) and writable (C), and C overlaps neither
    /// A nor B.
    #[expect(unsafe_code, reason = "the caller vouches for the pointers")]
    unsafe fn tile(isa: Isa, tile: Tile<Self>);
}

/// Rows of a tile without wide vectors.
const PORTABLE_ROWS: usize = 4;
/// Rows of an AVX2 tile.
#[cfg(target_arch = "x86_64")]
const AVX2_ROWS: usize = 6;

/// Rows of an AVX-512 tile: as many as leave registers for B and a value of A.
#[cfg(target_arch = "x86_64")]
const fn avx512_rows(vectors: usize) -> usize {
    if vectors == MAX_VECTORS { 6 } else { 8 }
}

impl Operand for f32 {
    const PER_WORD: usize = 1;

    #[inline(always)]
    fn word(even: f32, _: f32) -> Self {
        even
    }

    fn words(_: Isa, lines: &[f32], _: usize, words: &mut [Self]) {
        words.copy_from_slice(lines);
    }

    fn in_place(values: &[f32]) -> Option<&[Self]> {
        Some(values)
    }

    fn columns(
        _: Isa,
        rows: &[f32],
        [k, width, stride]: [usize; 3],
        side: usize,
        words: &mut [Self],
    ) {
        for (i, words) in words.chunks_exact_mut(side).enumerate().take(k) {
            words[..width].copy_from_slice(&rows[i * stride..][..width]);
            words[width..].fill(0.0);
        }
    }

    fn row_words(_: Isa, row: &[f32], words: &mut [Self]) {
        words.copy_from_slice(row);
    }

    fn pack(isa: Isa, rows: &[f32], k: usize, lines: &mut [Self], tile: &mut [Self]) {
        let all = lines.len() / k;
        if rows.len() == lines.len() {
            return turn(isa, rows, all, tile);
        }
        // The last rows of a matrix
        let (given, rest) = lines.split_at_mut(rows.len());
        given.copy_from_slice(rows);
        rest.fill(0.0);
        turn(isa, lines, all, tile);
    }

    fn turn(isa: Isa, lines: &[Self], rows: usize, turned: &mut [Self]) {
        turn(isa, lines, rows, turned);
    }

    fn rows(isa: Isa, vectors: usize) -> usize {
        let _ = vectors;
        match isa {
            Isa::Portable => PORTABLE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => AVX2_ROWS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 => avx512_rows(vectors),
        }
    }

    #[expect(unsafe_code, reason = "the caller vouches for the pointers")]
    unsafe fn tile(isa: Isa, tile: Tile<Self>) {
        debug_assert!((1..=MAX_VECTORS).contains(&tile.vectors), "width of a tile");
        match isa {
            // SAFETY: passed on from the caller.
            Isa::Portable => unsafe { portable(tile, multiply_add) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: passed on from the caller; `Isa` vouches for the instructions.
            Isa::Avx2 => unsafe { x86::avx2(tile) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 | Isa::Avx512Bf16 => unsafe {
                match tile.vectors {
                    1 => x86::avx512::<8, 1>(tile),
                    2 => x86::avx512::<8, 2>(tile),
                    3 => x86::avx512::<8, 3>(tile),
                    _ => x86::avx512::<6, 4>(tile),
                }
            },
        }
    }
}

impl Operand for Bf16Pair {
    const PER_WORD: usize = 2;

    #[inline(always)]
    fn word(even: f32, odd: f32) -> Self {
        Self(to_bf16(even) >> 16 | to_bf16(odd))
    }

    fn words(isa: Isa, lines: &[f32], width: usize, words: &mut [Self]) {
        pair_lines(isa, lines, width, words);
    }

    fn columns(isa: Isa, rows: &[f32], size: [usize; 3], side: usize, words: &mut [Self]) {
        let [k, width, stride] = size;
        let pairs = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 if width.is_multiple_of(LANES) && width > 0 => k / 2,
            _ => 0,
        };
        if pairs == 0 {
            return pair_columns(isa, rows, size, side, words);
        }
        let (done, rest) = words.split_at_mut(pairs * side);
        assert!(rows.len() >= (2 * pairs - 1) * stride + width, "k rows");
        assert!(width <= side, "the words hold the columns");
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "vector loads and stores")]
        // SAFETY: rows and words hold so many pairs, as asserted; `Isa` vouches for the instructions.
        unsafe {
            x86::pair_columns(
                rows.as_ptr(),
                [pairs, width, stride],
                side,
                done.as_mut_ptr(),
            );
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = done;
        let size = [k - 2 * pairs, width, stride];
        pair_columns(
            isa,
            &rows[rows.len().min(2 * pairs * stride)..],
            size,
            side,
            rest,
        );
    }

    fn row_words(isa: Isa, row: &[f32], words: &mut [Self]) {
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Avx512Bf16 {
            let whole = row.len() - row.len() % 32;
            assert!(words.len() >= row.len().div_ceil(2), "a word per pair");
            #[expect(unsafe_code, reason = "vector loads and stores")]
            // SAFETY: `whole` values are within the row and their words within `words`; `Isa` vouches for the
            // instructions.
            unsafe {
                x86::pair_row(row.as_ptr(), whole, words.as_mut_ptr());
            }
            return pair_row(isa, &row[whole..], &mut words[whole / 2..]);
        }
        pair_row(isa, row, words);
    }

    fn turn(isa: Isa, lines: &[Self], rows: usize, turned: &mut [Self]) {
        turn(isa, lines, rows, turned);
    }

    fn rows(isa: Isa, vectors: usize) -> usize {
        let _ = vectors;
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => avx512_rows(vectors),
            _ => PORTABLE_ROWS,
        }
    }

    #[expect(unsafe_code, reason = "the caller vouches for the pointers")]
    unsafe fn tile(isa: Isa, tile: Tile<Self>) {
        debug_assert!((1..=MAX_VECTORS).contains(&tile.vectors), "width of a tile");
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: passed on from the caller; `Isa` vouches for the instructions.
            Isa::Avx512Bf16 => unsafe {
                match tile.vectors {
                    1 => x86::bf16::<8, 1>(tile),
                    2 => x86::bf16::<8, 2>(tile),
                    3 => x86::bf16::<8, 3>(tile),
                    _ => x86::bf16::<6, 4>(tile),
                }
            },
            // SAFETY: passed on from the caller.
            _ => unsafe { portable(tile, multiply_add_pair) },
        }
    }
}

multiversion! {
    fn pair_lines(isa: Isa, lines: &[f32], width: usize, words: &mut [Bf16Pair]) {
        for (pair, words) in lines.chunks(2 * width).zip(words.chunks_exact_mut(width)) {
            let (even, odd) = pair.split_at(width);
            if odd.is_empty() {
                for (word, &even) in words.iter_mut().zip(even) {
                    *word = Bf16Pair::word(even, 0.0);
                }
            }
            for (word, (&even, &odd)) in words.iter_mut().zip(even.iter().zip(odd)) {
                *word = Bf16Pair::word(even, odd);
            }
        }
    }
}

multiversion! {
    /// See [`Operand::columns`].
    fn pair_columns(isa: Isa, rows: &[f32], size: [usize; 3], side: usize, words: &mut [Bf16Pair]) {
        let [k, width, stride] = size;
        for (i, words) in words.chunks_exact_mut(side).enumerate().take(k.div_ceil(2)) {
            let (words, rest) = words.split_at_mut(width);
            rest.fill(Bf16Pair::default());
            let even = &rows[2 * i * stride..][..width];
            if 2 * i + 1 < k {
                let odd = &rows[(2 * i + 1) * stride..][..width];
                for (word, (&even, &odd)) in words.iter_mut().zip(even.iter().zip(odd)) {
                    *word = Bf16Pair::word(even, odd);
                }
            } else {
                for (word, &even) in words.iter_mut().zip(even) {
                    *word = Bf16Pair::word(even, 0.0);
                }
            }
        }
    }
}

multiversion! {
    fn pair_row(isa: Isa, row: &[f32], words: &mut [Bf16Pair]) {
        let (pairs, rest) = row.as_chunks::<2>();
        for (word, &[even, odd]) in words.iter_mut().zip(pairs) {
            *word = Bf16Pair::word(even, odd);
        }
        if let (&[last], Some(word)) = (rest, words.get_mut(pairs.len())) {
            *word = Bf16Pair::word(last, 0.0);
        }
    }
}

/// `[rows][words]` -> `[words][rows]`.
fn turn<T: Copy>(isa: Isa, lines: &[T], rows: usize, turned: &mut [T]) {
    assert_eq!(lines.len(), turned.len(), "as many words");
    let words = lines.len() / rows;
    #[cfg(target_arch = "x86_64")]
    let done = match isa {
        Isa::Avx512 | Isa::Avx512Bf16 if rows.is_multiple_of(8) && size_of::<T>() == 4 => {
            for first in (0..rows).step_by(8) {
                #[expect(unsafe_code, reason = "vector loads and stores")]
                // SAFETY: 8 lines from `first` on are within `lines`, and their columns within each of as many words of
                // `turned`; all are 32 bits, and `Isa` vouches for the instructions.
                unsafe {
                    let lines = lines.as_ptr().add(first * words).cast();
                    x86::turn_8(lines, words, turned.as_mut_ptr().add(first).cast(), rows);
                }
            }
            words - words % 8
        }
        _ => 0,
    };
    #[cfg(not(target_arch = "x86_64"))]
    let (done, _) = (0, isa);
    for (r, line) in lines.chunks_exact(words.max(1)).enumerate() {
        for (w, &word) in line.iter().enumerate().skip(done) {
            turned[w * rows + r] = word;
        }
    }
}

#[inline]
pub(super) fn multiply_add(sum: f32, a: f32, b: f32) -> f32 {
    // Part of the base instruction set there, and a call into a library elsewhere.
    if cfg!(target_arch = "aarch64") {
        a.mul_add(b, sum)
    } else {
        sum + a * b
    }
}

/// The odd product first, as the AVX-512 instruction does it.
#[inline]
pub(super) fn multiply_add_pair(sum: f32, a: Bf16Pair, b: Bf16Pair) -> f32 {
    let odd = |w: Bf16Pair| f32::from_bits(w.0 & 0xffff_0000);
    let even = |w: Bf16Pair| f32::from_bits(w.0 << 16);
    sum + odd(a) * odd(b) + even(a) * even(b)
}

/// [`Operand::tile`] in plain Rust, [`PORTABLE_ROWS`] rows.
///
/// # Safety
/// See [`Operand::tile`].
#[expect(unsafe_code, reason = "the caller vouches for the pointers")]
unsafe fn portable<T: Copy>(tile: Tile<T>, step: impl Fn(f32, T, T) -> f32 + Copy) {
    for column in (0..tile.vectors * LANES).step_by(LANES) {
        let mut sums = [[0.0_f32; LANES]; PORTABLE_ROWS];
        for k in 0..tile.k {
            // SAFETY: k, column and row are within the tile, whose elements the caller vouches for.
            let (b, a) = unsafe {
                (
                    tile.b
                        .add(k * tile.b_stride + column)
                        .cast::<[T; LANES]>()
                        .read_unaligned(),
                    tile.a
                        .add(k * tile.a_stride)
                        .cast::<[T; PORTABLE_ROWS]>()
                        .read_unaligned(),
                )
            };
            for (row, &a) in sums.iter_mut().zip(&a) {
                for (sum, &b) in row.iter_mut().zip(&b) {
                    *sum = step(*sum, a, b);
                }
            }
        }
        for (r, row) in sums.iter().enumerate() {
            // SAFETY: as above.
            let c = unsafe {
                std::slice::from_raw_parts_mut(tile.c.add(r * tile.c_stride + column), LANES)
            };
            for (c, sum) in c.iter_mut().zip(row) {
                *c = if tile.accumulate { *c + sum } else { *sum };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions and their loads and stores")]
mod x86 {
    use std::arch::x86_64::{
        __m256bh, __m256i, __m512, __m512bh, __m512i, _mm256_add_ps, _mm256_fmadd_ps,
        _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_add_ps,
        _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_dpbf16_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_or_si512, _mm512_set1_epi32,
        _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_storeu_ps,
        _mm512_storeu_si512,
    };

    use super::{AVX2_ROWS, Bf16Pair, LANES, Tile};

    /// Values by pairs, 32 at a time.
    ///
    /// # Safety
    /// `row` holds `count` values, a multiple of 32, and `words` has room for half as many.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn pair_row(row: *const f32, count: usize, words: *mut Bf16Pair) {
        for i in (0..count).step_by(32) {
            // SAFETY: 32 values from `i` on are within the row, and their 16 words within `words`.
            unsafe {
                let (low, high) = (
                    _mm512_loadu_ps(row.add(i)),
                    _mm512_loadu_ps(row.add(i + 16)),
                );
                let pairs: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(words.add(i / 2).cast(), pairs);
            }
        }
    }

    /// Pairs of rows as words, each row's first `width` values; the rest of the words' `side` is zero.
    ///
    /// # Safety
    /// There are so many pairs of rows, `stride` values apart, of `width` values, a multiple of [`LANES`], and `words` has
    /// room for `side` each, not less than `width`.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn pair_columns(
        rows: *const f32,
        [pairs, width, stride]: [usize; 3],
        side: usize,
        words: *mut Bf16Pair,
    ) {
        for pair in 0..pairs {
            // SAFETY: rows, columns and words are within what the caller vouches for.
            unsafe {
                let (even, words) = (rows.add(2 * pair * stride), words.add(pair * side));
                for column in (0..width).step_by(LANES) {
                    let row = |from: *const f32| -> __m512i {
                        let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(from.add(column)));
                        _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(rounded))
                    };
                    let odd = _mm512_slli_epi32::<16>(row(even.add(stride)));
                    let word = _mm512_or_si512(row(even), odd);
                    _mm512_storeu_si512(words.add(column).cast(), word);
                }
                for column in width..side {
                    words.add(column).write(Bf16Pair(0));
                }
            }
        }
    }

    /// 8 lines of words in blocks of 8; the words beyond whole blocks are left.
    ///
    /// # Safety
    /// `lines` holds `[8][words]`, and `turned` 8 of `stride` places for each of the words.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn turn_8(lines: *const f32, words: usize, turned: *mut f32, stride: usize) {
        for w in (0..words - words % 8).step_by(8) {
            // SAFETY: 8 words from `w` on are within each line, and 64 within `turned`.
            unsafe {
                let line = |r: usize| _mm256_loadu_ps(lines.add(r * words + w));
                // Pairs of lines, then fours, then all eight.
                let mut fours = [_mm256_setzero_ps(); 8];
                for half in 0..2 {
                    let [a, b, c, d] = [0, 1, 2, 3].map(|r| line(4 * half + r));
                    let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                    let (low_2, high_2) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                    fours[4 * half] = _mm256_shuffle_ps::<0x44>(low, low_2);
                    fours[4 * half + 1] = _mm256_shuffle_ps::<0xEE>(low, low_2);
                    fours[4 * half + 2] = _mm256_shuffle_ps::<0x44>(high, high_2);
                    fours[4 * half + 3] = _mm256_shuffle_ps::<0xEE>(high, high_2);
                }
                for i in 0..4 {
                    let (first, second) = (fours[i], fours[i + 4]);
                    let out = turned.add((w + i) * stride);
                    _mm256_storeu_ps(out, _mm256_permute2f128_ps::<0x20>(first, second));
                    let out = out.add(4 * stride);
                    _mm256_storeu_ps(out, _mm256_permute2f128_ps::<0x31>(first, second));
                }
            }
        }
    }

    /// # Safety
    /// See [`super::Operand::tile`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(tile: Tile<f32>) {
        const ROWS: usize = AVX2_ROWS;
        for column in (0..tile.vectors * LANES).step_by(LANES) {
            let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
            // SAFETY: k, column and rows are within the tile, whose elements the caller vouches for.
            unsafe {
                for k in 0..tile.k {
                    let b = tile.b.add(k * tile.b_stride + column);
                    let b = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
                    let a = tile.a.add(k * tile.a_stride);
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let a = _mm256_set1_ps(*a.add(r));
                        sums[0] = _mm256_fmadd_ps(a, b[0], sums[0]);
                        sums[1] = _mm256_fmadd_ps(a, b[1], sums[1]);
                    }
                }
                for (r, row) in sums.iter().enumerate() {
                    for (v, &sum) in row.iter().enumerate() {
                        let c = tile.c.add(r * tile.c_stride + column + 8 * v);
                        let sum = if tile.accumulate {
                            _mm256_add_ps(_mm256_loadu_ps(c), sum)
                        } else {
                            sum
                        };
                        _mm256_storeu_ps(c, sum);
                    }
                }
            }
        }
    }

    /// # Safety
    /// See [`super::Operand::tile`]; `R` rows, `V` vectors.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn avx512<const R: usize, const V: usize>(tile: Tile<f32>) {
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        // SAFETY: k, rows and vectors are within the tile, whose elements the caller vouches for.
        unsafe {
            for k in 0..tile.k {
                let (a, row) = (tile.a.add(k * tile.a_stride), tile.b.add(k * tile.b_stride));
                let mut b = [_mm512_setzero_ps(); V];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = _mm512_loadu_ps(row.add(v * LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = _mm512_set1_ps(*a.add(r));
                    for (sum, &b) in sums.iter_mut().zip(&b) {
                        *sum = _mm512_fmadd_ps(a, b, *sum);
                    }
                }
            }
            store(&tile, &sums);
        }
    }

    /// # Safety
    /// See [`super::Operand::tile`]; `R` rows, `V` vectors.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn bf16<const R: usize, const V: usize>(tile: Tile<Bf16Pair>) {
        let pairs = |words: __m512i| -> __m512bh {
            // SAFETY: both are 512 bits without invalid values.
            unsafe { std::mem::transmute(words) }
        };
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        // SAFETY: k, rows and vectors are within the tile, whose elements the caller vouches for.
        unsafe {
            for k in 0..tile.k {
                let (a, row) = (tile.a.add(k * tile.a_stride), tile.b.add(k * tile.b_stride));
                let mut b = [pairs(_mm512_set1_epi32(0)); V];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = pairs(_mm512_loadu_si512(row.add(v * LANES).cast()));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = pairs(_mm512_set1_epi32((*a.add(r)).0.cast_signed()));
                    for (sum, &b) in sums.iter_mut().zip(&b) {
                        *sum = _mm512_dpbf16_ps(*sum, a, b);
                    }
                }
            }
            store(&tile, &sums);
        }
    }

    /// # Safety
    /// C of `tile` is writable.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn store<T, const R: usize, const V: usize>(tile: &Tile<T>, sums: &[[__m512; V]; R]) {
        for (r, row) in sums.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                // SAFETY: row and vector are within the tile.
                unsafe {
                    let c = tile.c.add(r * tile.c_stride + v * LANES);
                    let sum = if tile.accumulate {
                        _mm512_add_ps(_mm512_loadu_ps(c), sum)
                    } else {
                        sum
                    };
                    _mm512_storeu_ps(c, sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
