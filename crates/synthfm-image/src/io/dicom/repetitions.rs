//! Images at one place, told apart by when or how they were taken: phases, echoes, repetitions.

use std::collections::BTreeMap;

use super::data_set::{DataSet, Problem, Tag};
use super::tags;
use super::values::Kind;

/// Number of attributes that may tell images at one place apart.
const KEYS: usize = 6;
/// The attributes of a plain file for it, in the order of their weight.
const OF_FILE: [Tag; KEYS - 1] = [
    tags::TEMPORAL_POSITION_IDENTIFIER,
    tags::TRIGGER_TIME,
    tags::ECHO_NUMBERS,
    tags::ECHO_TIME,
    tags::ACQUISITION_NUMBER,
];
/// The attributes of a frame for it: their place among the keys, sequence, tag, and representation.
const OF_FRAME: [(usize, Tag, Tag, Kind); 4] = [
    (
        0,
        tags::FRAME_CONTENT_SEQUENCE,
        tags::TEMPORAL_POSITION_INDEX,
        Kind::U32,
    ),
    (
        1,
        tags::CARDIAC_SYNCHRONIZATION_SEQUENCE,
        tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME,
        Kind::F64,
    ),
    (
        3,
        tags::MR_ECHO_SEQUENCE,
        tags::EFFECTIVE_ECHO_TIME,
        Kind::F64,
    ),
    (
        4,
        tags::FRAME_CONTENT_SEQUENCE,
        tags::FRAME_ACQUISITION_NUMBER,
        Kind::U16,
    ),
];

/// When and how an image was taken, as far as its header says: temporal position, trigger time, echo number, echo time,
/// acquisition number, time of day. Moments are ordered so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment([Option<Ordered>; KEYS]);

/// A finite number with a total order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn ordered(value: Option<f64>) -> Option<Ordered> {
    // Zeros of both signs are one.
    value.filter(|v| v.is_finite()).map(|v| Ordered(v + 0.0))
}

impl Moment {
    /// The moment of all frames of a file.
    pub(super) fn of_file(data: &DataSet) -> Self {
        let mut keys = [None; KEYS];
        for (key, tag) in keys.iter_mut().zip(OF_FILE) {
            *key = ordered(data.number(tag, Kind::Text));
        }
        let time = data
            .text(tags::CONTENT_TIME)
            .or_else(|| data.text(tags::ACQUISITION_TIME));
        keys[KEYS - 1] = ordered(time.and_then(|text| seconds(&text)));
        Self(keys)
    }

    /// The keys with what a functional group says instead.
    pub(super) fn with_group(self, group: &DataSet) -> Result<Self, Problem> {
        let mut keys = self.0;
        for (key, sequence, tag, kind) in OF_FRAME {
            let item = group.item_of(sequence)?;
            if let Some(value) = item.and_then(|item| item.number(tag, kind)) {
                keys[key] = ordered(Some(value));
            }
        }
        Ok(Self(keys))
    }

    /// The first `count` of what tells images apart.
    fn start(&self, count: usize) -> &[Option<Ordered>] {
        &self.0[..count]
    }
}

/// A time of day, `HHMMSS.FFFFFF` or its beginning, with or without colons.
fn seconds(text: &str) -> Option<f64> {
    let text = text.replace(':', "");
    let (whole, _) = text.split_once('.').unwrap_or((&text, ""));
    let part = |at: usize| match whole.get(at..at + 2) {
        Some(two) => two.parse::<f64>().ok(),
        None => Some(0.0),
    };
    let fraction = text.get(whole.len()..).unwrap_or_default();
    let fraction = if fraction.len() > 1 {
        fraction.parse().ok()?
    } else {
        0.0
    };
    Some(3600.0 * part(0)? + 60.0 * part(2)? + part(4)? + fraction)
}

/// Divides images into groups with one image per position at most. `positions` has the images at each; `moment` says
/// when one was taken, and images of one moment keep their order.
pub(super) fn divide<T: Copy>(
    mut positions: Vec<Vec<T>>,
    most_groups: usize,
    moment: impl Fn(T) -> Moment,
) -> Vec<Vec<T>> {
    for same in &mut positions {
        same.sort_by_key(|&image| moment(image));
    }
    let most = positions.iter().map(Vec::len).max().unwrap_or(0);
    if let Some(groups) = by_attributes(&positions, most, &moment) {
        return groups;
    }
    let nth = |n: usize| {
        positions
            .iter()
            .filter_map(move |same| same.get(n).copied())
    };
    (0..most.min(most_groups))
        .map(|n| nth(n).collect())
        .collect()
}

/// Groups by the fewest attributes that tell all images of each position apart and have as many values as there are
/// images at a position at most: then one that is missing somewhere leaves a gap in its own group.
fn by_attributes<T: Copy>(
    positions: &[Vec<T>],
    most: usize,
    moment: &impl Fn(T) -> Moment,
) -> Option<Vec<Vec<T>>> {
    for count in 1..KEYS {
        let start = |image: T| moment(image).start(count).to_vec();
        let differ = |same: &Vec<T>| same.windows(2).all(|pair| start(pair[0]) != start(pair[1]));
        if !positions.iter().all(differ) {
            continue;
        }
        let mut groups: BTreeMap<Vec<Option<Ordered>>, Vec<T>> = BTreeMap::new();
        for &image in positions.iter().flatten() {
            groups.entry(start(image)).or_default().push(image);
        }
        return (groups.len() == most).then(|| groups.into_values().collect());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images are (position, temporal position, echo time, name).
    type Case = (u8, Option<f64>, Option<f64>, char);

    fn divided(images: &[Case]) -> Vec<String> {
        let mut positions: BTreeMap<u8, Vec<Case>> = BTreeMap::new();
        for &image in images {
            positions.entry(image.0).or_default().push(image);
        }
        let groups = divide(
            positions.into_values().collect(),
            100,
            |(_, phase, echo, _)| {
                let mut keys = [None; KEYS];
                (keys[0], keys[3]) = (ordered(phase), ordered(echo));
                Moment(keys)
            },
        );
        let name = |group: Vec<Case>| group.iter().map(|image| image.3).collect();
        groups.into_iter().map(name).collect()
    }

    #[test]
    fn phases_echoes_and_both_together() {
        let some = |v: i32| Some(f64::from(v));
        // Phases in any order, and a slice that the second one lacks.
        let phases = [
            (0, some(2), None, 'A'),
            (0, some(1), None, 'a'),
            (1, some(1), None, 'b'),
            (2, some(10), None, 'X'),
            (2, some(2), None, 'C'),
            (2, some(1), None, 'c'),
            (0, some(10), None, 'V'),
            (1, some(10), None, 'W'),
        ];
        assert_eq!(divided(&phases), ["abc", "AC", "VWX"]);
        let both = [
            (0, some(2), some(30), 'D'),
            (0, some(1), some(30), 'B'),
            (0, some(2), some(5), 'C'),
            (0, some(1), some(5), 'A'),
            (1, some(2), some(5), 'c'),
            (1, some(1), some(30), 'b'),
        ];
        assert_eq!(divided(&both), ["A", "Bb", "Cc", "D"]);
        // Echo times that wander a little from slice to slice: the n-th of each.
        let wandering = [
            (0, None, some(5), 'a'),
            (0, None, some(30), 'A'),
            (1, None, some(31), 'B'),
            (1, None, some(6), 'b'),
        ];
        assert_eq!(divided(&wandering), ["ab", "AB"]);
        // Nothing tells them apart: the order that they came in.
        let alike = [
            (0, None, None, 'a'),
            (0, None, None, 'A'),
            (1, None, None, 'b'),
        ];
        assert_eq!(divided(&alike), ["ab", "A"]);
    }

    #[test]
    fn times_of_day() {
        for (text, want) in [
            ("101010", Some(36_610.0)),
            ("10", Some(36_000.0)),
            ("1010", Some(36_600.0)),
            ("10:10:10", Some(36_610.0)),
            ("000001.25", Some(1.25)),
            ("noon", None),
            ("1a", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
    }
}
