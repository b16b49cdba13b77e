//! The inner loops of convolutions: the patches of eight pixels times a panel of weights, and eight channels of
//! patches times a panel of gradients. Both keep eight rows of two vectors of sums in registers.
//!
//! Operands come as words, as those of [`super::tile`]; here they are read where a map lies, line by line, so that
//! no patch is ever gathered. Sums over the words are taken in order, and always in `f32`.

use super::isa::{Isa, multiversion};
use super::tile::{Bf16Pair, LANES, Operand, multiply_add, multiply_add_pair};

/// Rows of sums: pixels of a strip, or channels of a block.
pub(super) const ROWS: usize = 8;
/// Columns of sums.
pub(super) const PANEL: usize = 2 * LANES;

/// `out = max(patches · weights + bias, floor) + residual` for [`ROWS`] neighbouring pixels and up to [`PANEL`]
/// columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strip<T> {
    /// The first pixel's patch; the next pixel's begins `pitch` words later.
    pub(super) patches: *const T,
    pub(super) pitch: usize,
    /// A patch is so many lines of so many words, each line `step` words after the last.
    pub(super) lines: usize,
    pub(super) words: usize,
    pub(super) step: usize,
    /// `[lines · words][PANEL]`
    pub(super) weights: *const T,
    /// Columns in [`LANES`], 1 or 2.
    pub(super) vectors: usize,
    /// As many as columns.
    pub(super) bias: *const f32,
    pub(super) floor: f32,
    /// `[ROWS][stride]`, or null.
    pub(super) residual: *const f32,
    /// `[ROWS][stride]`
    pub(super) out: *mut f32,
    pub(super) stride: usize,
}

/// `sums += Σ a · b` over the words of some lines, for [`ROWS`] rows of a and up to [`PANEL`] columns of b.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outer<T> {
    pub(super) lines: usize,
    /// Words of a line.
    pub(super) words: usize,
    /// `[words][ROWS]`, and the words from a line to the next.
    pub(super) a: *const T,
    pub(super) a_step: usize,
    /// `[words][PANEL]`, and the words from a line to the next.
    pub(super) b: *const T,
    pub(super) b_step: usize,
    /// Columns in [`LANES`], 1 or 2.
    pub(super) vectors: usize,
    /// `[ROWS][PANEL]`
    pub(super) sums: *mut f32,
}

/// Operands of the two loops.
pub(super) trait StripOperand: Operand {
    /// Runs one strip.
    ///
    /// # Safety
    /// All elements that `strip` describes are readable and writable, and `out` overlaps none of the others.
    #[expect(unsafe_code, reason = "the caller vouches for the pointers")]
    unsafe fn strip(isa: Isa, strip: &Strip<Self>);

    /// Adds one outer product.
    ///
    /// # Safety
    /// All elements that `outer` describes are readable and writable, and `sums` overlaps none of the others.
    #[expect(unsafe_code, reason = "the caller vouches for the pointers")]
    unsafe fn outer(isa: Isa, outer: &Outer<Self>);

    /// [`ROWS`] channels, fewer at the end, of successive pixels as `[words][ROWS]`; `line`: `[pixels][channels]`, of
    /// which those from `first` on are wanted.
    fn block(isa: Isa, line: &[f32], channels_first: [usize; 2], words: &mut [Self]);
}

#[expect(unsafe_code, reason = "the caller vouches for the pointers")]
impl StripOperand for f32 {
    fn block(_: Isa, line: &[f32], [channels, first]: [usize; 2], words: &mut [Self]) {
        let given = ROWS.min(channels - first);
        let (words, _) = words.as_chunks_mut::<ROWS>();
        for (words, pixel) in words.iter_mut().zip(line.chunks_exact(channels)) {
            if let Some(pixel) = pixel[first..].first_chunk::<ROWS>() {
                *words = *pixel;
            } else {
                words[..given].copy_from_slice(&pixel[first..]);
                words[given..].fill(0.0);
            }
        }
    }

    unsafe fn strip(isa: Isa, strip: &Strip<Self>) {
        match isa {
            // SAFETY: passed on from the caller.
            Isa::Portable => unsafe { portable_strip(strip, multiply_add) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: passed on from the caller; `Isa` vouches for the instructions.
            Isa::Avx2 => unsafe { x86::strip_avx2(strip) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 | Isa::Avx512Bf16 => unsafe {
                match strip.vectors {
                    1 => x86::strip_avx512::<1>(strip),
                    _ => x86::strip_avx512::<2>(strip),
                }
            },
        }
    }

    unsafe fn outer(isa: Isa, outer: &Outer<Self>) {
        match isa {
            // SAFETY: passed on from the caller.
            Isa::Portable => unsafe { portable_outer(outer, multiply_add) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: passed on from the caller; `Isa` vouches for the instructions.
            Isa::Avx2 => unsafe { x86::outer_avx2(outer) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 | Isa::Avx512Bf16 => unsafe {
                match outer.vectors {
                    1 => x86::outer_avx512::<1>(outer),
                    _ => x86::outer_avx512::<2>(outer),
                }
            },
        }
    }
}

#[expect(unsafe_code, reason = "the caller vouches for the pointers")]
impl StripOperand for Bf16Pair {
    fn block(isa: Isa, line: &[f32], channels_first: [usize; 2], words: &mut [Self]) {
        #[cfg(target_arch = "x86_64")]
        if let (Isa::Avx512Bf16, [channels, first]) = (isa, channels_first)
            && first + ROWS <= channels
        {
            let pairs = (line.len() / (2 * channels)).min(words.len() / ROWS);
            #[expect(unsafe_code, reason = "vector loads and stores")]
            // SAFETY: the line holds so many pairs of pixels with channels up to the block's last, and `words` as many
            // blocks; `Isa` vouches for the instructions.
            unsafe {
                let line = line.as_ptr().add(first);
                x86::block_pairs(line, [pairs, channels], words.as_mut_ptr());
            }
            return;
        }
        block_pairs(isa, line, channels_first, words);
    }

    unsafe fn strip(isa: Isa, strip: &Strip<Self>) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: passed on from the caller; `Isa` vouches for the instructions.
            Isa::Avx512Bf16 => unsafe {
                match strip.vectors {
                    1 => x86::strip_bf16::<1>(strip),
                    _ => x86::strip_bf16::<2>(strip),
                }
            },
            // SAFETY: passed on from the caller.
            _ => unsafe { portable_strip(strip, multiply_add_pair) },
        }
    }

    unsafe fn outer(isa: Isa, outer: &Outer<Self>) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: passed on from the caller; `Isa` vouches for the instructions.
            Isa::Avx512Bf16 => unsafe {
                match outer.vectors {
                    1 => x86::outer_bf16::<1>(outer),
                    _ => x86::outer_bf16::<2>(outer),
                }
            },
            // SAFETY: passed on from the caller.
            _ => unsafe { portable_outer(outer, multiply_add_pair) },
        }
    }
}

multiversion! {
    /// See [`StripOperand::block`].
    fn block_pairs(isa: Isa, line: &[f32], channels_first: [usize; 2], words: &mut [Bf16Pair]) {
        let [channels, first] = channels_first;
        let given = ROWS.min(channels - first);
        let pairs = line.chunks_exact(2 * channels);
        let (words, _) = words.as_chunks_mut::<ROWS>();
        for (words, pair) in words.iter_mut().zip(pairs) {
            let (even, odd) = pair.split_at(channels);
            let (even, odd) = (&even[first..], &odd[first..]);
            if let (Some(even), Some(odd)) = (even.first_chunk::<ROWS>(), odd.first_chunk::<ROWS>()) {
                *words = std::array::from_fn(|i| Bf16Pair::word(even[i], odd[i]));
            } else {
                *words = [Bf16Pair::default(); ROWS];
                for i in 0..given {
                    words[i] = Bf16Pair::word(even[i], odd[i]);
                }
            }
        }
    }
}

/// Rows whose sums stay in registers without wide vectors; [`ROWS`] is a multiple.
const PORTABLE_ROWS: usize = 4;

/// [`StripOperand::strip`] in plain Rust.
///
/// # Safety
/// See [`StripOperand::strip`].
#[expect(unsafe_code, reason = "the caller vouches for the pointers")]
unsafe fn portable_strip<T: Copy>(strip: &Strip<T>, step: impl Fn(f32, T, T) -> f32 + Copy) {
    for first in (0..ROWS).step_by(PORTABLE_ROWS) {
        for column in (0..strip.vectors * LANES).step_by(LANES) {
            let mut sums = [[0.0_f32; LANES]; PORTABLE_ROWS];
            for word in 0..strip.lines * strip.words {
                let at = word / strip.words * strip.step + word % strip.words;
                // SAFETY: word, column and rows are within the strip, whose elements the caller vouches for.
                let (b, a): ([T; LANES], [T; PORTABLE_ROWS]) = unsafe {
                    let b = strip.weights.add(word * PANEL + column);
                    let a = |r: usize| *strip.patches.add((first + r) * strip.pitch + at);
                    (
                        b.cast::<[T; LANES]>().read_unaligned(),
                        std::array::from_fn(a),
                    )
                };
                accumulate(&mut sums, &a, &b, step);
            }
            for (r, row) in sums.iter().enumerate() {
                for (j, sum) in row.iter().enumerate() {
                    let at = (first + r) * strip.stride + column + j;
                    // SAFETY: as above.
                    unsafe {
                        let value = sum + *strip.bias.add(column + j);
                        // What is not a number stays so.
                        let mut value = if value < strip.floor {
                            strip.floor
                        } else {
                            value
                        };
                        if !strip.residual.is_null() {
                            value += *strip.residual.add(at);
                        }
                        strip.out.add(at).write(value);
                    }
                }
            }
        }
    }
}

/// [`StripOperand::outer`] in plain Rust.
///
/// # Safety
/// See [`StripOperand::outer`].
#[expect(unsafe_code, reason = "the caller vouches for the pointers")]
unsafe fn portable_outer<T: Copy>(outer: &Outer<T>, step: impl Fn(f32, T, T) -> f32 + Copy) {
    for first in (0..ROWS).step_by(PORTABLE_ROWS) {
        for column in (0..outer.vectors * LANES).step_by(LANES) {
            let mut sums = [[0.0_f32; LANES]; PORTABLE_ROWS];
            for line in 0..outer.lines {
                for word in 0..outer.words {
                    // SAFETY: all indices are within the product, whose elements the caller vouches for.
                    let (a, b) = unsafe {
                        let a = outer.a.add(line * outer.a_step + word * ROWS + first);
                        let b = outer.b.add(line * outer.b_step + word * PANEL + column);
                        (
                            a.cast::<[T; PORTABLE_ROWS]>().read_unaligned(),
                            b.cast::<[T; LANES]>().read_unaligned(),
                        )
                    };
                    accumulate(&mut sums, &a, &b, step);
                }
            }
            for (r, row) in sums.iter().enumerate() {
                for (j, sum) in row.iter().enumerate() {
                    // SAFETY: as above.
                    unsafe {
                        *outer.sums.add((first + r) * PANEL + column + j) += sum;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn accumulate<T: Copy>(
    sums: &mut [[f32; LANES]; PORTABLE_ROWS],
    a: &[T; PORTABLE_ROWS],
    b: &[T; LANES],
    step: impl Fn(f32, T, T) -> f32,
) {
    for (row, &a) in sums.iter_mut().zip(a) {
        for (sum, &b) in row.iter_mut().zip(b) {
            *sum = step(*sum, a, b);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions and their loads and stores")]
mod x86 {
    use std::arch::x86_64::{
        __m128bh, __m128i, __m512, __m512bh, __m512i, _mm_storeu_si128, _mm_unpackhi_epi16,
        _mm_unpacklo_epi16, _mm256_add_ps, _mm256_cvtneps_pbh, _mm256_fmadd_ps, _mm256_loadu_ps,
        _mm256_max_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm512_add_ps,
        _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_max_ps,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    use super::{Bf16Pair, LANES, Outer, PANEL, ROWS, Strip};

    /// Rows of sums that AVX2's registers hold beside the operands.
    const AVX2_ROWS: usize = 4;

    #[inline(always)]
    fn pairs(words: __m512i) -> __m512bh {
        // SAFETY: both are 512 bits without invalid values.
        unsafe { std::mem::transmute(words) }
    }

    /// [`ROWS`] channels of pairs of pixels, from the first pixel's first on.
    ///
    /// # Safety
    /// `line` holds those of so many pairs of pixels of `channels` values, and `words` has room for [`ROWS`] each.
    #[target_feature(enable = "avx512f,avx512vl,avx512bf16")]
    pub(super) unsafe fn block_pairs(
        line: *const f32,
        [pairs, channels]: [usize; 2],
        words: *mut Bf16Pair,
    ) {
        for pair in 0..pairs {
            // SAFETY: pixels and words are within what the caller vouches for.
            unsafe {
                let pixel = |pixel: usize| -> __m128i {
                    let values = _mm256_loadu_ps(line.add(pixel * channels));
                    std::mem::transmute::<__m128bh, __m128i>(_mm256_cvtneps_pbh(values))
                };
                let (even, odd) = (pixel(2 * pair), pixel(2 * pair + 1));
                let words = words.add(pair * ROWS);
                store_words(words, _mm_unpacklo_epi16(even, odd));
                store_words(words.add(ROWS / 2), _mm_unpackhi_epi16(even, odd));
            }
        }
    }

    /// # Safety
    /// `words` has room for four.
    #[target_feature(enable = "sse2")]
    #[expect(clippy::cast_ptr_alignment, reason = "the store takes any alignment")]
    unsafe fn store_words(words: *mut Bf16Pair, values: __m128i) {
        // SAFETY: as the caller vouches.
        unsafe { _mm_storeu_si128(words.cast::<__m128i>(), values) }
    }

    /// # Safety
    /// See [`super::StripOperand::strip`]; `V` vectors.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn strip_bf16<const V: usize>(strip: &Strip<Bf16Pair>) {
        let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
        // SAFETY: words, rows and vectors are within the strip, whose elements the caller vouches for.
        unsafe {
            let mut b = strip.weights;
            for line in 0..strip.lines {
                let patches = strip.patches.add(line * strip.step);
                for word in 0..strip.words {
                    let mut row = [pairs(_mm512_set1_epi32(0)); V];
                    for (v, row) in row.iter_mut().enumerate() {
                        *row = pairs(_mm512_loadu_si512(b.add(v * LANES).cast()));
                    }
                    b = b.add(PANEL);
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let a = (*patches.add(r * strip.pitch + word)).0;
                        let a = pairs(_mm512_set1_epi32(a.cast_signed()));
                        for (sum, &b) in sums.iter_mut().zip(&row) {
                            *sum = _mm512_dpbf16_ps(*sum, a, b);
                        }
                    }
                }
            }
            finish(strip, &sums);
        }
    }

    /// # Safety
    /// See [`super::StripOperand::strip`]; `V` vectors.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn strip_avx512<const V: usize>(strip: &Strip<f32>) {
        let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
        // SAFETY: words, rows and vectors are within the strip, whose elements the caller vouches for.
        unsafe {
            let mut b = strip.weights;
            for line in 0..strip.lines {
                let patches = strip.patches.add(line * strip.step);
                for word in 0..strip.words {
                    let mut row = [_mm512_setzero_ps(); V];
                    for (v, row) in row.iter_mut().enumerate() {
                        *row = _mm512_loadu_ps(b.add(v * LANES));
                    }
                    b = b.add(PANEL);
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let a = _mm512_set1_ps(*patches.add(r * strip.pitch + word));
                        for (sum, &b) in sums.iter_mut().zip(&row) {
                            *sum = _mm512_fmadd_ps(a, b, *sum);
                        }
                    }
                }
            }
            finish(strip, &sums);
        }
    }

    /// # Safety
    /// Bias and residual of `strip` are readable, and `out` is writable.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn finish<T, const V: usize>(strip: &Strip<T>, sums: &[[__m512; V]; ROWS]) {
        let floor = _mm512_set1_ps(strip.floor);
        for v in 0..V {
            // SAFETY: rows and vectors are within the strip.
            unsafe {
                let bias = _mm512_loadu_ps(strip.bias.add(v * LANES));
                for (r, row) in sums.iter().enumerate() {
                    let at = r * strip.stride + v * LANES;
                    let mut value = _mm512_max_ps(floor, _mm512_add_ps(row[v], bias));
                    if !strip.residual.is_null() {
                        value = _mm512_add_ps(value, _mm512_loadu_ps(strip.residual.add(at)));
                    }
                    _mm512_storeu_ps(strip.out.add(at), value);
                }
            }
        }
    }

    /// # Safety
    /// See [`super::StripOperand::strip`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn strip_avx2(strip: &Strip<f32>) {
        for first in (0..ROWS).step_by(AVX2_ROWS) {
            for column in (0..strip.vectors * LANES).step_by(LANES) {
                let mut sums = [[_mm256_setzero_ps(); 2]; AVX2_ROWS];
                // SAFETY: words, rows and columns are within the strip, whose elements the caller vouches for.
                unsafe {
                    let mut b = strip.weights.add(column);
                    for line in 0..strip.lines {
                        let patches = strip.patches.add(first * strip.pitch + line * strip.step);
                        for word in 0..strip.words {
                            let row = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
                            b = b.add(PANEL);
                            for (r, sums) in sums.iter_mut().enumerate() {
                                let a = _mm256_set1_ps(*patches.add(r * strip.pitch + word));
                                sums[0] = _mm256_fmadd_ps(a, row[0], sums[0]);
                                sums[1] = _mm256_fmadd_ps(a, row[1], sums[1]);
                            }
                        }
                    }
                    let floor = _mm256_set1_ps(strip.floor);
                    for (r, row) in sums.iter().enumerate() {
                        for (v, &sum) in row.iter().enumerate() {
                            let column = column + 8 * v;
                            let at = (first + r) * strip.stride + column;
                            let bias = _mm256_loadu_ps(strip.bias.add(column));
                            let mut value = _mm256_max_ps(floor, _mm256_add_ps(sum, bias));
                            if !strip.residual.is_null() {
                                let residual = _mm256_loadu_ps(strip.residual.add(at));
                                value = _mm256_add_ps(value, residual);
                            }
                            _mm256_storeu_ps(strip.out.add(at), value);
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// See [`super::StripOperand::outer`]; `V` vectors.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn outer_bf16<const V: usize>(outer: &Outer<Bf16Pair>) {
        let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
        // SAFETY: all indices are within the product, whose elements the caller vouches for.
        unsafe {
            for line in 0..outer.lines {
                let a = outer.a.add(line * outer.a_step);
                let b = outer.b.add(line * outer.b_step);
                for word in 0..outer.words {
                    let mut row = [pairs(_mm512_set1_epi32(0)); V];
                    for (v, row) in row.iter_mut().enumerate() {
                        *row = pairs(_mm512_loadu_si512(b.add(word * PANEL + v * LANES).cast()));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let a = (*a.add(word * ROWS + r)).0;
                        let a = pairs(_mm512_set1_epi32(a.cast_signed()));
                        for (sum, &b) in sums.iter_mut().zip(&row) {
                            *sum = _mm512_dpbf16_ps(*sum, a, b);
                        }
                    }
                }
            }
            add(outer.sums, &sums);
        }
    }

    /// # Safety
    /// See [`super::StripOperand::outer`]; `V` vectors.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn outer_avx512<const V: usize>(outer: &Outer<f32>) {
        let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
        // SAFETY: all indices are within the product, whose elements the caller vouches for.
        unsafe {
            for line in 0..outer.lines {
                let a = outer.a.add(line * outer.a_step);
                let b = outer.b.add(line * outer.b_step);
                for word in 0..outer.words {
                    let mut row = [_mm512_setzero_ps(); V];
                    for (v, row) in row.iter_mut().enumerate() {
                        *row = _mm512_loadu_ps(b.add(word * PANEL + v * LANES));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let a = _mm512_set1_ps(*a.add(word * ROWS + r));
                        for (sum, &b) in sums.iter_mut().zip(&row) {
                            *sum = _mm512_fmadd_ps(a, b, *sum);
                        }
                    }
                }
            }
            add(outer.sums, &sums);
        }
    }

    /// # Safety
    /// `to` holds `[ROWS][PANEL]`.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn add<const V: usize>(to: *mut f32, sums: &[[__m512; V]; ROWS]) {
        for (r, row) in sums.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                // SAFETY: row and vector are within `to`.
                unsafe {
                    let to = to.add(r * PANEL + v * LANES);
                    _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), sum));
                }
            }
        }
    }

    /// # Safety
    /// See [`super::StripOperand::outer`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn outer_avx2(outer: &Outer<f32>) {
        for first in (0..ROWS).step_by(AVX2_ROWS) {
            for column in (0..outer.vectors * LANES).step_by(LANES) {
                let mut sums = [[_mm256_setzero_ps(); 2]; AVX2_ROWS];
                // SAFETY: all indices are within the product, whose elements the caller vouches for.
                unsafe {
                    for line in 0..outer.lines {
                        let a = outer.a.add(line * outer.a_step + first);
                        let b = outer.b.add(line * outer.b_step + column);
                        for word in 0..outer.words {
                            let b = b.add(word * PANEL);
                            let row = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
                            for (r, sums) in sums.iter_mut().enumerate() {
                                let a = _mm256_set1_ps(*a.add(word * ROWS + r));
                                sums[0] = _mm256_fmadd_ps(a, row[0], sums[0]);
                                sums[1] = _mm256_fmadd_ps(a, row[1], sums[1]);
                            }
                        }
                    }
                    for (r, row) in sums.iter().enumerate() {
                        for (v, &sum) in row.iter().enumerate() {
                            let to = outer.sums.add((first + r) * PANEL + column + 8 * v);
                            _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), sum));
                        }
                    }
                }
            }
        }
    }
}
