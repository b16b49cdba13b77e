//! Run-length encoding of masks as in COCO (`maskApi.c` of pycocotools).
//!
//! Runs go down the columns, left to right, and start with background. The compressed form writes, from the fourth run
//! on, the difference to the run two before, in groups of 5 bits, the lowest first, as the characters from `0` (48) on;
//! bit 5 says that more groups follow, bit 4 of the last group is the sign.

use crate::{Error, Mask, Result, Size, run_lengths};

/// Lengths of alternating runs of background and foreground, column by column; the first may be 0.
fn runs(mask: &Mask) -> Vec<i64> {
    let Size { height, width } = mask.size();
    let columns = (0..width).flat_map(|col| (0..height).map(move |row| (row, col)));
    let runs = run_lengths(columns.map(|(row, col)| mask.at(row, col)));
    runs.into_iter().map(i64::from).collect()
}

/// The mask as COCO's compressed run lengths: what stands under `counts` beside its `size`, height and width.
pub fn compressed_rle(mask: &Mask) -> String {
    let runs = runs(mask);
    let mut text = String::new();
    for (n, &run) in runs.iter().enumerate() {
        let before = if n > 2 { runs[n - 2] } else { 0 };
        push_number(&mut text, run - before);
    }
    text
}

fn push_number(text: &mut String, mut value: i64) {
    loop {
        let group = (value & 0x1f) as u8;
        value >>= 5;
        let sign = if group & 0x10 == 0 { 0 } else { -1 };
        let more = value != sign;
        text.push(char::from(48 + group + if more { 0x20 } else { 0 }));
        if !more {
            return;
        }
    }
}

/// The mask of COCO's uncompressed run lengths.
///
/// # Errors
/// [`Error::Parameter`] if the runs do not cover `size` exactly.
pub fn mask_of_runs(runs: &[u64], size: Size) -> Result<Mask> {
    let covered = runs.iter().try_fold(0u64, |sum, &run| sum.checked_add(run));
    if covered != Some(size.area() as u64) {
        let text = format!("run lengths that cover {size} expected");
        return Err(Error::Parameter(text));
    }
    let mut mask = Mask::zeros(size);
    let mut at = 0;
    for (n, &run) in runs.iter().enumerate() {
        let end = at + run as usize;
        for index in (at..end).filter(|_| n % 2 == 1) {
            mask.data_mut()[index % size.height * size.width + index / size.height] = true;
        }
        at = end;
    }
    Ok(mask)
}

/// The mask of COCO's compressed run lengths, the other direction of [`compressed_rle`].
///
/// # Errors
/// [`Error::Parameter`] if the text is damaged or does not cover `size` exactly.
pub fn mask_of_rle(text: &str, size: Size) -> Result<Mask> {
    let damaged = || Error::Parameter("damaged run lengths".to_owned());
    let (mut runs, mut value, mut shift) = (Vec::<i64>::new(), 0i64, 0u32);
    for byte in text.bytes() {
        let group = i64::from(byte) - 48;
        if !(0..64).contains(&group) || shift > 50 {
            return Err(damaged());
        }
        value |= (group & 0x1f) << shift;
        shift += 5;
        if group & 0x20 == 0 {
            if group & 0x10 != 0 {
                value -= 1 << shift;
            }
            let before = if runs.len() > 2 {
                runs[runs.len() - 2]
            } else {
                0
            };
            runs.push(value + before);
            (value, shift) = (0, 0);
        }
    }
    let runs: Option<Vec<u64>> = runs.into_iter().map(|run| run.try_into().ok()).collect();
    mask_of_runs(&runs.filter(|_| shift == 0).ok_or_else(damaged)?, size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{arbitrary_mask, mask_of_text};

    #[test]
    fn runs_go_down_the_columns_and_start_with_background() {
        let mask = mask_of_text(&[
            ".##.", //
            ".##.", //
            "..##",
        ]);
        assert_eq!(runs(&mask), [3, 2, 1, 3, 2, 1]);
        // 3, 2, 1; then 3 - 2 = 1, 2 - 1 = 1, 1 - 3 = -2 as 0b11110.
        assert_eq!(compressed_rle(&mask), "32111N");
        let mask = mask_of_text(&["##", "##", "##"]);
        assert_eq!(runs(&mask), [0, 6]);
        assert_eq!(compressed_rle(&mask), "06");
        let empty = Mask::zeros(Size::new(3, 0));
        assert_eq!(runs(&empty), [0]);
    }

    /// 15 is the largest number of one group, for bit 4 is the sign; 1000 = 31 * 32 + 8.
    #[test]
    fn numbers_are_groups_of_five_bits() {
        for (number, text) in [
            (0, "0"),
            (15, "?"),
            (16, "`0"),
            (-16, "@"),
            (-17, "_O"),
            (1000, "Xo0"),
        ] {
            let mut got = String::new();
            push_number(&mut got, number);
            assert_eq!(got, text, "{number}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_mask_comes_back(mask in arbitrary_mask(1..70, 1..50)) {
            let runs: Vec<u64> = runs(&mask).iter().map(|&run| run as u64).collect();
            prop_assert_eq!(&mask_of_runs(&runs, mask.size()).unwrap(), &mask);
            prop_assert_eq!(mask_of_rle(&compressed_rle(&mask), mask.size()).unwrap(), mask);
        }

        #[test]
        fn any_text_is_a_mask_or_an_error(text in "[0-o~é]{0,12}") {
            let _ = mask_of_rle(&text, Size::new(3, 5));
        }
    }
}
