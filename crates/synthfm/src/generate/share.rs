//! `--shard I/N`: which part of a data set one of several machines makes.
//!
//! Without the flag a task of a Slurm array takes the part that the array gives it.

use std::env;
use std::ops::Range;

use anyhow::{Context, Result, bail};

/// Most machines.
const MAX_COUNT: u64 = 1_000_000;

/// Part `index` (from 0) of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u64,
    count: u64,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| part.parse::<u64>().ok();
        let parts = text.split_once('/');
        let (index, count) = parts
            .and_then(|(index, count)| number(index).zip(number(count)))
            .ok_or("I/N expected, such as 0/4 for the first of four")?;
        if count > MAX_COUNT {
            return Err(format!("at most {MAX_COUNT} shards, got {count}"));
        }
        if index >= count {
            return Err(format!(
                "shards count from 0: I must be less than N, got {text}"
            ));
        }
        Ok(Self { index, count })
    }
}

impl Shard {
    /// The place of this task in its Slurm array, if there is one.
    pub(super) fn of_slurm() -> Result<Option<Self>> {
        let variable = |name: &str| {
            let text = env::var(format!("SLURM_ARRAY_TASK_{name}")).ok();
            let number = text.map(|text| {
                text.trim().parse::<u64>().with_context(|| {
                    format!("SLURM_ARRAY_TASK_{name}={text}: a number expected; or use --shard I/N")
                })
            });
            number.transpose()
        };
        let Some(id) = variable("ID")? else {
            return Ok(None);
        };
        let Some(count) = variable("COUNT")? else {
            bail!(
                "SLURM_ARRAY_TASK_ID is set, but not SLURM_ARRAY_TASK_COUNT: use --shard I/N, or --shard 0/1 for all"
            );
        };
        let (min, step) = (
            variable("MIN")?.unwrap_or(0),
            variable("STEP")?.unwrap_or(1).max(1),
        );
        let place = id.checked_sub(min).filter(|place| place % step == 0);
        let index = place.map(|place| place / step);
        let index = index.filter(|&index| index < count.min(MAX_COUNT));
        let Some(index) = index else {
            bail!(
                "task {id} is none of the Slurm array's {count} from {min} on, {step} apart: use --shard I/N"
            );
        };
        Ok(Some(Self { index, count }))
    }

    /// This shard's part of `range`: consecutive samples in whole units of `unit`, as many as others up to one unit.
    pub(super) fn of(self, range: &Range<u64>, unit: u64) -> Range<u64> {
        let units = (range.end - range.start).div_ceil(unit);
        // At most 10^9 samples and 10^6 machines.
        let edge = |k: u64| (range.start + units * k / self.count * unit).min(range.end);
        edge(self.index)..edge(self.index + 1)
    }

    /// Says which samples it makes.
    pub(super) fn describe(self, share: &Range<u64>) -> String {
        let (index, last) = (self.index, self.count - 1);
        if share.is_empty() {
            return format!("shard {index} of 0 to {last}: nothing to do");
        }
        let samples = format!("samples {} to {}", share.start, share.end - 1);
        format!("shard {index} of 0 to {last}: {samples}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read() {
        assert_eq!("3/4".parse(), Ok(Shard { index: 3, count: 4 }));
        for text in ["", "3", "4/4", "0/0", "-1/4", "1/x", "0/1000001", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn parts_are_disjoint_whole_and_even() {
        for (range, unit, count) in [
            (0..10, 1, 3),
            (7..1_000_000_007, 1, 1_000_000),
            (200..1150, 100, 4),
            (0..2, 1, 5),
            (30..31, 10, 3),
        ] {
            let mut next = range.start;
            let mut lengths = Vec::new();
            for index in 0..count {
                let part = Shard { index, count }.of(&range, unit);
                assert_eq!(part.start, next);
                assert!((part.start - range.start).is_multiple_of(unit) || part.start == range.end);
                lengths.push((part.end - part.start).div_ceil(unit));
                next = part.end;
            }
            assert_eq!(next, range.end);
            let (least, most) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
            assert!(most - least <= 1, "{least} to {most}");
        }
    }
}
