//! Box plots and curves as inline SVG.
//! Boxes as Tukey drew them: quartiles, median, whiskers to the last value within one and a half box heights, and what
//! lies beyond as dots. Differs: dots on one another are drawn once.

use std::fmt::Write as _;

use synthfm_image::quantile;

use super::page::escaped;

/// Added to the style of all reports.
pub(super) const STYLE: &str = "figure.chart{width:auto}figure.chart figcaption{font-size:14px;font-weight:600}\
svg{background:#fafbfc}svg text{font:11px system-ui,sans-serif;fill:#444}\
.key span{display:inline-block;margin-right:1.2em}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.3em}\
table.wide{font-size:13px}table.names :is(td,th):nth-child(-n+3){text-align:left}details{margin:1em 0}summary{cursor:pointer;color:#14507f}tr.yes td{font-weight:600}";

const COLOURS: [&str; 8] = [
    "#1f6fb4", "#d1600a", "#2a8f3c", "#8a4fbf", "#b02a37", "#6b7280", "#0e7490", "#a16207",
];
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 36.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;
const BOX: f64 = 9.0;

/// Colour of the n-th model.
pub(super) fn colour(n: usize) -> &'static str {
    COLOURS[n % COLOURS.len()]
}

/// Red, green and blue of the `n`th colour, 0 to 255.
pub(super) fn rgb(n: usize) -> [u8; 3] {
    let hex = colour(n);
    [1, 3, 5].map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or(0))
}

/// Names with their colours.
pub(super) fn key(names: &[&str]) -> String {
    let mut html = "<p class=\"key\">".to_owned();
    for (n, name) in names.iter().enumerate() {
        let (colour, name) = (colour(n), escaped(name));
        let _ = write!(
            html,
            "<span><i style=\"background:{colour}\"></i>{name}</span>"
        );
    }
    html.push_str("</p>\n");
    html
}

/// Groups of boxes, one box per model in the order of their colours; values from 0 to 1.
pub(super) struct BoxPlot {
    pub(super) caption: String,
    pub(super) groups: Vec<(String, Vec<Vec<f64>>)>,
}

/// Five numbers and what lies beyond the whiskers.
#[derive(Debug, PartialEq)]
struct Five {
    low: f64,
    quartiles: [f64; 3],
    high: f64,
    outliers: Vec<f64>,
}

impl Five {
    fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() {
            return None;
        }
        let quartiles = [0.25, 0.5, 0.75].map(|share| quantile(&sorted, share));
        let reach = 1.5 * (quartiles[2] - quartiles[0]);
        let (from, to) = (quartiles[0] - reach, quartiles[2] + reach);
        let inside = || sorted.iter().copied().filter(|v| (from..=to).contains(v));
        Some(Self {
            low: inside().next().unwrap_or(quartiles[0]),
            quartiles,
            high: inside().next_back().unwrap_or(quartiles[2]),
            outliers: sorted
                .iter()
                .copied()
                .filter(|v| !(from..=to).contains(v))
                .collect(),
        })
    }
}

fn y(value: f64) -> f64 {
    TOP + HEIGHT * (1.0 - value.clamp(0.0, 1.0))
}

/// Lines at 0, 25, ... 100 % across `width`.
fn grid(svg: &mut String, width: f64) {
    for percent in [0, 25, 50, 75, 100] {
        let y = y(f64::from(percent) / 100.0);
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{width:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{percent}</text>",
            LEFT - 5.0,
            y + 4.0
        );
    }
}

/// A figure with one plot.
pub(super) fn box_plot(plot: &BoxPlot) -> String {
    let models = plot
        .groups
        .iter()
        .map(|(_, boxes)| boxes.len())
        .max()
        .unwrap_or(0);
    let group_width = (models as f64 * (BOX + 4.0) + 18.0).max(64.0);
    let width = LEFT + plot.groups.len() as f64 * group_width;
    let height = TOP + HEIGHT + BOTTOM;
    let mut svg = format!("<svg width=\"{width:.0}\" height=\"{height:.0}\">");
    grid(&mut svg, width);
    for (g, (name, boxes)) in plot.groups.iter().enumerate() {
        let start = LEFT + g as f64 * group_width;
        let used = boxes.len() as f64 * (BOX + 4.0) - 4.0;
        for (n, values) in boxes.iter().enumerate() {
            let x = start + (group_width - used) / 2.0 + n as f64 * (BOX + 4.0);
            if let Some(five) = Five::of(values) {
                draw_box(&mut svg, x, &five, colour(n));
            }
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            start + group_width / 2.0,
            height - 6.0,
            escaped(name)
        );
    }
    svg.push_str("</svg>");
    figure(&plot.caption, &svg)
}

fn draw_box(svg: &mut String, x: f64, five: &Five, colour: &str) {
    let middle = x + BOX / 2.0;
    let [lower, median, upper] = five.quartiles.map(y);
    let _ = write!(
        svg,
        "<g stroke=\"{colour}\" fill=\"{colour}\">\
         <line x1=\"{middle:.1}\" x2=\"{middle:.1}\" y1=\"{:.1}\" y2=\"{lower:.1}\"/>\
         <line x1=\"{middle:.1}\" x2=\"{middle:.1}\" y1=\"{upper:.1}\" y2=\"{:.1}\"/>\
         <rect x=\"{x:.1}\" y=\"{upper:.1}\" width=\"{BOX}\" height=\"{:.1}\" fill-opacity=\"0.3\"/>\
         <line x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{median:.1}\" y2=\"{median:.1}\" stroke-width=\"2.5\"/>",
        y(five.low),
        y(five.high),
        lower - upper,
        x + BOX,
    );
    let mut last = f64::NAN;
    for &outlier in &five.outliers {
        let y = y(outlier).round();
        if y.total_cmp(&last).is_ne() {
            let _ = write!(svg, "<circle cx=\"{middle:.1}\" cy=\"{y:.0}\" r=\"1.6\"/>");
            last = y;
        }
    }
    svg.push_str("</g>");
}

/// Curves over numbers of clicks: one per model in the order of their colours, points (clicks, value from 0 to 1).
pub(super) fn curves(caption: &str, models: &[Vec<(f64, f64)>]) -> String {
    const WIDTH: f64 = 320.0;
    let most = models
        .iter()
        .flatten()
        .map(|point| point.0)
        .fold(1.0, f64::max);
    let x = |clicks: f64| LEFT + (WIDTH - 10.0) * (clicks - 1.0) / (most - 1.0).max(1.0);
    let (width, height) = (LEFT + WIDTH, TOP + HEIGHT + BOTTOM);
    let mut svg = format!("<svg width=\"{width:.0}\" height=\"{height:.0}\">");
    grid(&mut svg, width);
    for (n, points) in models.iter().enumerate() {
        let line: Vec<String> = points
            .iter()
            .map(|&(clicks, value)| format!("{:.1},{:.1}", x(clicks), y(value)))
            .collect();
        let colour = colour(n);
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>",
            line.join(" ")
        );
        for &(clicks, value) in points {
            let (x, y) = (x(clicks), y(value));
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{colour}\"/>"
            );
        }
    }
    let step = (most / 6.0).ceil().max(1.0) as usize;
    for clicks in (1..=most as usize).step_by(step) {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{clicks}</text>",
            x(clicks as f64),
            height - 6.0
        );
    }
    svg.push_str("</svg>");
    figure(caption, &svg)
}

fn figure(caption: &str, svg: &str) -> String {
    let caption = escaped(caption);
    format!("<figure class=\"chart\"><figcaption>{caption}</figcaption>{svg}</figure>\n")
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_those_of_tukey() {
        // Quartiles 2, 3, 4 of 1..=5; reach 3, so that 9 lies beyond.
        let five = Five::of(&[5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!(five.quartiles, [2.0, 3.0, 4.0]);
        assert!(five.outliers.is_empty());
        let five = Five::of(&[1.0, 2.0, 2.0, 3.0, 3.0, 9.0]).unwrap();
        assert_eq!((five.low, five.high, five.outliers), (1.0, 3.0, vec![9.0]));
        assert_eq!(Five::of(&[]), None);
        let one = Five::of(&[0.5]).unwrap();
        assert_eq!((one.low, one.high), (0.5, 0.5));
    }

    #[test]
    fn curves_end_at_their_values() {
        let svg = curves("c", &[vec![(1.0, 0.0), (3.0, 1.0)]]);
        let (bottom, top) = (TOP + HEIGHT, TOP);
        assert!(
            svg.contains(&format!("36.0,{bottom:.1} 346.0,{top:.1}")),
            "{svg}"
        );
        assert_eq!(rgb(0), [0x1f, 0x6f, 0xb4]);
    }
}
