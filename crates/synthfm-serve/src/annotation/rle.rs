//! Runs of a mask: lengths of alternating background and foreground, row by row, background first (it may be 0).

use synthfm_image::{Mask, Size};

/// Runs of a mask of known size.
pub(crate) type Runs = Vec<u32>;

/// The runs of values in order.
pub(crate) fn encode(values: impl IntoIterator<Item = bool>) -> Runs {
    let (mut runs, mut value, mut length) = (Vec::new(), false, 0u32);
    for next in values {
        if next != value {
            runs.push(length);
            (value, length) = (next, 0);
        }
        length += 1;
    }
    runs.push(length);
    runs
}

/// The runs of a mask.
pub(crate) fn of_mask(mask: &Mask) -> Runs {
    encode(mask.data().iter().copied())
}

/// Whether runs stand for exactly `count` values.
pub(crate) fn check(runs: &[u32], count: usize) -> Result<(), String> {
    let total = runs
        .iter()
        .try_fold(0usize, |sum, &run| sum.checked_add(run as usize));
    if total == Some(count) {
        return Ok(());
    }
    let got = total.map_or("more than can be counted".to_owned(), |total| {
        total.to_string()
    });
    Err(format!(
        "the runs of the mask add up to {got}, but there are {count} pixels"
    ))
}

/// The values of runs, in order.
pub(crate) fn values(runs: &[u32]) -> impl Iterator<Item = bool> {
    runs.iter()
        .enumerate()
        .flat_map(|(n, &run)| std::iter::repeat_n(n % 2 == 1, run as usize))
}

/// The mask of runs that [`check`] accepts; otherwise it says why not.
pub(crate) fn to_mask(runs: &[u32], size: Size) -> Result<Mask, String> {
    check(runs, size.area())?;
    Mask::new(size, values(runs).collect()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_start_with_background() {
        assert_eq!(encode([false, false, true, false]), [2, 1, 1]);
        assert_eq!(encode([true, true]), [0, 2]);
        assert_eq!(encode([]), [0]);
        let all: Vec<bool> = values(&[0, 2, 1, 1]).collect();
        assert_eq!(all, [true, true, false, true]);
    }

    #[test]
    fn masks_return() {
        let size = Size::new(3, 5);
        let data = (0..15).map(|i| i % 4 == 1 || i > 12).collect();
        let mask = Mask::new(size, data).unwrap();
        assert_eq!(to_mask(&of_mask(&mask), size).unwrap(), mask);
    }

    #[test]
    fn wrong_sums_are_named() {
        let error = to_mask(&[3, 4], Size::new(2, 4)).unwrap_err();
        assert!(
            error.contains("add up to 7") && error.contains("8 pixels"),
            "{error}"
        );
        assert!(check(&[u32::MAX; 4], 8).is_err());
        assert!(check(&[], 0).is_ok() && check(&[], 1).is_err());
    }
}
