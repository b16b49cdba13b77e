//! Checks of numbers in configurations and recipes; the message of a refusal names the field.
//!
//! A configuration's numbers have the ranges that its documentation states. A recipe's numbers are
//! limited so that rendering it ends soon and in little memory: counts have an upper bound, and every
//! number is finite and no larger than any recipe needs; inside those limits the renderer clamps what
//! it must.

use crate::{Error, Result};

/// Fails unless `ok`.
pub(crate) fn check(
    ok: bool,
    field: &'static str,
    expected: &'static str,
    got: String,
) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::OutOfRange {
        field,
        expected,
        got,
    })
}

/// A probability.
pub(crate) fn probability(field: &'static str, value: f32) -> Result<()> {
    let ok = (0.0..=1.0).contains(&value);
    check(ok, field, "a probability from 0 to 1", value.to_string())
}

/// A range of numbers `within` another.
pub(crate) fn range(
    field: &'static str,
    [low, high]: [f32; 2],
    within: [f32; 2],
    expected: &'static str,
) -> Result<()> {
    let ok = within[0] <= low && low <= high && high <= within[1];
    check(ok, field, expected, format!("[{low}, {high}]"))
}

/// A range of counts `within` another.
pub(crate) fn count_range(
    field: &'static str,
    [low, high]: [u32; 2],
    within: [u32; 2],
    expected: &'static str,
) -> Result<()> {
    let ok = within[0] <= low && low <= high && high <= within[1];
    check(ok, field, expected, format!("[{low}, {high}]"))
}

/// Expectation of a range of shares.
pub(crate) const FRACTION: &str = "two ascending numbers from 0 to 0.5";

/// Largest magnitude of a number in a recipe.
const LIMIT: f32 = 1000.0;

/// Numbers of a recipe that have no narrower limit.
pub(crate) fn numbers(field: &'static str, values: &[f32]) -> Result<()> {
    within(field, values, LIMIT, "numbers of at most 1000")
}

/// Numbers of a recipe whose magnitude is limited.
pub(crate) fn within(
    field: &'static str,
    values: &[f32],
    limit: f32,
    expected: &'static str,
) -> Result<()> {
    match values.iter().find(|v| v.is_nan() || v.abs() > limit) {
        None => Ok(()),
        Some(value) => Err(Error::OutOfRange {
            field,
            expected,
            got: value.to_string(),
        }),
    }
}

/// A count of a recipe.
pub(crate) fn at_most(
    field: &'static str,
    got: usize,
    most: usize,
    expected: &'static str,
) -> Result<()> {
    check(got <= most, field, expected, got.to_string())
}
