//! How often raters were right, with Wilson's interval (Wilson 1927, "Probable inference, the law of succession, and
//! statistical inference", JASA 22), and the same per modality.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answers::Answer;
use super::plan::{Item, Kind};

/// The 97.5 % point of the normal distribution.
const Z: f64 = 1.959_964;

/// A share with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Share {
    pub(super) correct: usize,
    pub(super) count: usize,
    pub(super) accuracy: Option<f64>,
    pub(super) wilson95: Option<[f64; 2]>,
}

impl Share {
    pub(super) fn of(correct: usize, count: usize) -> Self {
        let known = count > 0;
        Self {
            correct,
            count,
            accuracy: known.then(|| correct as f64 / count as f64),
            wilson95: known.then(|| wilson(correct, count)),
        }
    }
}

/// `(p + z²/2n ± z √(p (1 - p)/n + z²/4n²)) / (1 + z²/n)` with `p = correct / n`.
fn wilson(correct: usize, count: usize) -> [f64; 2] {
    let n = count as f64;
    let p = correct as f64 / n;
    let centre = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    [(centre - half) / scale, (centre + half) / scale].map(|v| v.clamp(0.0, 1.0))
}

/// Answers to images of one kind of modality, or of all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Group {
    pub(super) modality: String,
    /// Both kinds of images.
    pub(super) all: Share,
    /// Real images that were called real.
    pub(super) real: Share,
    /// Synthetic images that were called synthetic.
    pub(super) synthetic: Share,
}

/// The answers of one rater, or of all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Summary {
    /// `None` for all raters together. Their answers to the same image are not independent: read that interval as
    /// too narrow.
    pub(super) rater: Option<String>,
    pub(super) answered: usize,
    pub(super) of: usize,
    /// All modalities, then each.
    pub(super) groups: Vec<Group>,
}

/// Counts answers to `items`.
pub(super) fn summary(
    rater: Option<&str>,
    items: &[Item],
    answers: &[&Answer],
    of: usize,
) -> Summary {
    let mut by_modality: BTreeMap<&str, Vec<(Kind, bool)>> = BTreeMap::new();
    let mut all = Vec::new();
    for answer in answers {
        let Some(item) = items.iter().find(|item| item.id == answer.id) else {
            continue;
        };
        let judged = (item.kind, item.kind == answer.said);
        by_modality.entry(&item.modality).or_default().push(judged);
        all.push(judged);
    }
    let mut groups = vec![group("all", &all)];
    groups.extend(by_modality.iter().map(|(name, judged)| group(name, judged)));
    Summary {
        rater: rater.map(str::to_owned),
        answered: answers.len(),
        of,
        groups,
    }
}

fn group(modality: &str, judged: &[(Kind, bool)]) -> Group {
    let share = |wanted: Option<Kind>| {
        let of_kind = judged
            .iter()
            .filter(|(kind, _)| wanted.is_none_or(|w| w == *kind));
        let (correct, count) = of_kind.fold((0, 0), |(correct, count), (_, right)| {
            (correct + usize::from(*right), count + 1)
        });
        Share::of(correct, count)
    };
    Group {
        modality: modality.to_owned(),
        all: share(None),
        real: share(Some(Kind::Real)),
        synthetic: share(Some(Kind::Synthetic)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe 1998, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, table I,
    /// method 3.
    #[test]
    fn intervals_are_wilsons() {
        for (correct, count, expected) in [
            (81, 263, [0.2553, 0.3662]),
            (15, 148, [0.0624, 0.1605]),
            (0, 20, [0.0, 0.1611]),
            (1, 29, [0.0061, 0.1718]),
        ] {
            let got = wilson(correct, count);
            for (got, expected) in got.iter().zip(expected) {
                assert!(
                    (got - expected).abs() < 5.1e-5,
                    "{correct} of {count}: {got} for {expected}"
                );
            }
        }
        assert_eq!(Share::of(0, 0).wilson95, None);
    }
}
