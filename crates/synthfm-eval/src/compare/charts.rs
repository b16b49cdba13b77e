//! Small charts as inline SVG: distributions and curves, synthetic filled in grey, real as a line.

use std::fmt::Write as _;

use synthfm_image::quantile;

use super::coverage::sorted;

const WIDTH: f64 = 170.0;
const HEIGHT: f64 = 64.0;
const BINS: usize = 28;
const SYNTHETIC: &str = "#b9c6d6";
const REAL: &str = "#d1600f";

/// Two distributions on one axis, with the range of the synthetic one marked below. `label` writes a value of the axis.
pub(super) fn histograms(
    synthetic: &[f64],
    real: &[f64],
    range: [f64; 2],
    label: impl Fn(f64) -> String,
) -> String {
    let all = sorted(synthetic.iter().chain(real).copied());
    let low = quantile(&all, 0.002).min(range[0]);
    let high = quantile(&all, 0.998).max(range[1]).max(low + 1e-9);
    let place = |value: f64| ((value - low) / (high - low)).clamp(0.0, 1.0);
    let shares = |values: &[f64]| {
        let mut shares = [0.0; BINS];
        for &value in values {
            shares[((place(value) * BINS as f64) as usize).min(BINS - 1)] +=
                1.0 / values.len() as f64;
        }
        shares
    };
    let (synthetic, real) = (shares(synthetic), shares(real));
    let top = synthetic.iter().chain(&real).copied().fold(1e-9, f64::max);
    let outline = |shares: &[f64; BINS]| {
        let mut path = format!("M0 {HEIGHT:.0}");
        for (bin, share) in shares.iter().enumerate() {
            let y = HEIGHT * (1.0 - share / top);
            let x = |bin: usize| WIDTH * bin as f64 / BINS as f64;
            let _ = write!(path, "L{:.1} {y:.1}L{:.1} {y:.1}", x(bin), x(bin + 1));
        }
        let _ = write!(path, "L{WIDTH:.0} {HEIGHT:.0}");
        path
    };
    let [from, to] = range.map(|value| WIDTH * place(value));
    format!(
        "<svg width=\"{WIDTH:.0}\" height=\"{:.0}\"><path d=\"{}\" fill=\"{SYNTHETIC}\"/>\
         <path d=\"{}\" fill=\"none\" stroke=\"{REAL}\" stroke-width=\"1.4\"/>\
         <rect x=\"{from:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"3\" fill=\"#567\"/>\
         <text x=\"0\" y=\"{:.0}\">{}</text><text x=\"{WIDTH:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text></svg>",
        HEIGHT + 18.0,
        outline(&synthetic),
        outline(&real),
        HEIGHT + 1.0,
        (to - from).max(1.0),
        HEIGHT + 16.0,
        label(low),
        HEIGHT + 16.0,
        label(high),
    )
}

/// A named curve for [`bands`].
pub(super) struct Curve {
    /// The 10th, 50th and 90th percentile at each place.
    pub(super) percentiles: Vec<[f64; 3]>,
    pub(super) is_real: bool,
}

/// The percentiles of many curves at each place.
pub(super) fn percentiles<'a>(curves: impl Iterator<Item = &'a [f64]>, is_real: bool) -> Curve {
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for curve in curves {
        columns.resize(curve.len(), Vec::new());
        for (column, &value) in columns.iter_mut().zip(curve) {
            column.push(value);
        }
    }
    let percentiles = columns.into_iter().map(|column| {
        let column = sorted(column.into_iter());
        [0.1, 0.5, 0.9].map(|share| quantile(&column, share))
    });
    Curve {
        percentiles: percentiles.collect(),
        is_real,
    }
}

/// Bands from the 10th to the 90th percentile with the median as a line, at places in even steps.
pub(super) fn bands(curves: &[Curve], ends: [&str; 2]) -> String {
    let values = || {
        curves
            .iter()
            .flat_map(|curve| curve.percentiles.iter().flatten().copied())
    };
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max).max(low + 1e-9);
    let (width, height) = (1.6 * WIDTH, 2.0 * HEIGHT);
    let mut svg = format!("<svg width=\"{width:.0}\" height=\"{:.0}\">", height + 18.0);
    for curve in curves {
        let last = curve.percentiles.len().saturating_sub(1).max(1) as f64;
        let point = |at: usize, value: f64| {
            let y = height * (1.0 - (value - low) / (high - low));
            format!("{:.1},{y:.1} ", width * at as f64 / last)
        };
        let along = |which: usize| {
            let points = curve.percentiles.iter().enumerate();
            points
                .map(|(at, p)| point(at, p[which]))
                .collect::<Vec<_>>()
        };
        let back: String = along(2).into_iter().rev().collect();
        let colour = if curve.is_real { REAL } else { SYNTHETIC };
        let (opacity, line) = if curve.is_real {
            (0.18, REAL)
        } else {
            (0.8, "#567")
        };
        let _ = write!(
            svg,
            "<polygon points=\"{}{back}\" fill=\"{colour}\" fill-opacity=\"{opacity}\"/>\
             <polyline points=\"{}\" fill=\"none\" stroke=\"{line}\" stroke-width=\"1.6\"/>",
            along(0).concat(),
            along(1).concat(),
        );
    }
    let y = height + 14.0;
    let _ = write!(
        svg,
        "<text x=\"0\" y=\"{y:.0}\">{}</text><text x=\"{width:.0}\" y=\"{y:.0}\" text-anchor=\"end\">{}</text></svg>",
        ends[0], ends[1]
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_shares() {
        let svg = histograms(&[0.0, 0.0, 0.0, 1.0], &[1.0], [0.0, 1.0], |v| {
            format!("{v:.0}")
        });
        // The highest bin is the only real one; three quarters and one quarter of the height for the others.
        for y in [HEIGHT * 0.25, HEIGHT * 0.75, 0.0] {
            assert!(svg.contains(&format!(" {y:.1}L")), "{y} in {svg}");
        }
        assert!(svg.contains(">0</text>") && svg.contains(">1</text>"));
    }

    #[test]
    fn nothing_and_constants_draw_without_nan() {
        for (a, b) in [(vec![], vec![]), (vec![1.0; 3], vec![1.0])] {
            assert!(!histograms(&a, &b, [1.0, 1.0], |v| v.to_string()).contains("<path d=\"MNaN"));
        }
        let curve = percentiles([[1.0, 2.0].as_slice(), &[3.0, 2.0]].into_iter(), true);
        assert_eq!(curve.percentiles, [[1.2, 2.0, 2.8], [2.0; 3]]);
        let svg = bands(&[curve], ["a", "b"]);
        assert!(svg.contains("0.0,") && !svg.contains("NaN"));
    }
}
