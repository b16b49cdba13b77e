//! Masks as run lengths: of alternating background and foreground, background first (it may be 0).

use crate::{Error, Mask, Result, Size};

/// The run lengths of values in order; for values without an end there are none.
///
/// ```
/// assert_eq!(synthfm_image::run_lengths([false, false, true]), [2, 1]);
/// ```
pub fn run_lengths(values: impl IntoIterator<Item = bool>) -> Vec<u32> {
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

/// Checks that run lengths stand for exactly `count` values.
///
/// # Errors
/// [`Error::Parameter`] with both numbers if they do not.
pub fn check_run_lengths(runs: &[u32], count: usize) -> Result<()> {
    let total = runs
        .iter()
        .try_fold(0usize, |sum, &run| sum.checked_add(run as usize));
    if total == Some(count) {
        return Ok(());
    }
    let got = total.map_or("more than can be counted".to_owned(), |total| {
        total.to_string()
    });
    Err(Error::Parameter(format!(
        "the runs of the mask add up to {got}, but there are {count} pixels"
    )))
}

/// The values of run lengths, in order.
pub fn run_values(runs: &[u32]) -> impl Iterator<Item = bool> {
    runs.iter()
        .enumerate()
        .flat_map(|(n, &run)| std::iter::repeat_n(n % 2 == 1, run as usize))
}

impl Mask {
    /// The run lengths of the mask, row by row.
    pub fn to_run_lengths(&self) -> Vec<u32> {
        run_lengths(self.data().iter().copied())
    }

    /// The mask of run lengths, row by row.
    ///
    /// # Errors
    /// [`Error::Parameter`] if they do not cover `size` exactly.
    pub fn from_run_lengths(runs: &[u32], size: Size) -> Result<Self> {
        check_run_lengths(runs, size.area())?;
        Self::new(size, run_values(runs).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_start_with_background() {
        assert_eq!(run_lengths([false, false, true, false]), [2, 1, 1]);
        assert_eq!(run_lengths([true, true]), [0, 2]);
        assert_eq!(run_lengths([]), [0]);
        let all: Vec<bool> = run_values(&[0, 2, 1, 1]).collect();
        assert_eq!(all, [true, true, false, true]);
    }

    #[test]
    fn masks_return() {
        let size = Size::new(3, 5);
        let data = (0..15).map(|i| i % 4 == 1 || i > 12).collect();
        let mask = Mask::new(size, data).unwrap();
        let runs = mask.to_run_lengths();
        assert_eq!(Mask::from_run_lengths(&runs, size).unwrap(), mask);
    }

    #[test]
    fn wrong_sums_are_named() {
        let error = Mask::from_run_lengths(&[3, 4], Size::new(2, 4))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("add up to 7") && error.contains("8 pixels"),
            "{error}"
        );
        assert!(check_run_lengths(&[u32::MAX; 4], 8).is_err());
        assert!(check_run_lengths(&[], 0).is_ok() && check_run_lengths(&[], 1).is_err());
    }
}
