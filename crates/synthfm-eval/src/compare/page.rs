//! The report: one HTML file that needs nothing else.

use std::fmt::Write as _;

use synthfm_image::PowerSpectrum;

use super::Comparison;
use super::charts::{Curve, bands, histograms, percentiles};
use super::coverage::RANGE;
use super::pictures::{Pair, WORST};
use super::properties::{IMAGE, Property, STRUCTURE, Scale, scaled};
use super::subject::{ImageCurves, Measured, Subject};
use super::summary::{GroupCoverage, PropertyCoverage};
use crate::Result;
use crate::report::{close, escaped, note_list, open};

/// Style of this page beyond that of the evaluation's.
const STYLE: &str = "svg{margin:.2em .4em}svg text{font:10px sans-serif;fill:#567}td.low{color:#c22;font-weight:600}\
figure.pair{width:456px}figure.pair img{max-width:220px;margin-right:4px}.chart{display:inline-block;margin:.3em}";

/// Shares below these are marked.
const WANTED: f64 = 0.95;
const WANTED_JOINT: f64 = 0.8;

pub(super) fn page(comparison: &Comparison) -> Result<String> {
    let mut page = open(
        "synthfm: real and synthetic",
        "Real against synthetic images",
        STYLE,
    );
    page.push_str(&introduction(comparison));
    let groups = comparison.groups();
    page.push_str("<h2>Coverage of real structures in %</h2>\n");
    page.push_str(&table(groups, &STRUCTURE, |g| {
        (g.structures, &g.properties, Some(g.joint), g.naeem)
    }));
    page.push_str("<h2>Coverage of whole real images in %</h2>\n");
    page.push_str(&table(groups, &IMAGE, |g| {
        (g.images, &g.image_properties, g.image_joint, None)
    }));
    let _ = writeln!(page, "<h2>The {WORST} least covered real structures</h2>");
    page.push_str(&figures(&comparison.worst_pairs()?));
    page.push_str(&distributions(comparison));
    page.push_str(&curves(comparison));
    page.push_str("<h2>Real structures and their nearest synthetic ones</h2>\n");
    page.push_str(&figures(&comparison.sample_pairs()?));
    page.push_str(&note_list("Cases left out", &comparison.real.skipped));
    page.push_str(&note_list(
        "Cases that could not be read",
        &comparison.real.failed,
    ));
    page.push_str(close());
    Ok(page)
}

fn introduction(comparison: &Comparison) -> String {
    let Comparison {
        real,
        synthetic,
        options,
        space,
        ..
    } = comparison;
    format!(
        "<p>{} real structures on {} images ({} smaller than {} pixels left out, {} absent from their image); {} \
         synthetic structures on {} samples of seed {}, drawn at the sizes of the real images in turn. Both sides are \
         measured by the same code, on images whose longest side is {} pixels, in 8 bits; intensities are shares of \
         full scale. CT volumes show -160 to 240 HU, other volumes and 16-bit images the 0.5 to the 99.5 percentile. \
         Properties: mean intensity inside; mean up to 4 pixels inside less mean up to 4 pixels outside the boundary; \
         contrast over the steepest slope along the normals, by parts of the boundary; robust deviation from the local \
         mean inside, and the distance at which its autocorrelation is one half; share of the image; 4πA/P²; contrast \
         across the boundary over its variation along it.</p>\n<p>One property: share of the real structures between \
         the {:.0}st and the {:.0}th percentile of the synthetic ones. Joint: share whose neighbour number {} among the \
         synthetic structures is no farther than {:.2}, within which {:.0} % of the synthetic structures have theirs \
         (all properties, divided by their synthetic standard deviation; lengths, noise, area and visibility as \
         logarithms). Naeem: share with a synthetic structure nearer than neighbour number {} among the real ones of the \
         group (Naeem et al. 2020).</p>\n",
        real.structures.len(),
        real.sizes.len(),
        real.too_small,
        options.min_area_px,
        real.absent,
        synthetic.structures.len(),
        options.count,
        options.seed,
        options.side,
        100.0 * RANGE[0],
        100.0 * RANGE[1],
        options.neighbour,
        space.threshold(),
        100.0 * options.level,
        options.neighbour,
    )
}

type Cells<'a> = (usize, &'a [PropertyCoverage], Option<f64>, Option<f64>);

fn table<'a>(
    groups: &'a [GroupCoverage],
    properties: &[Property],
    cells: impl Fn(&'a GroupCoverage) -> (usize, &'a Vec<PropertyCoverage>, Option<f64>, Option<f64>),
) -> String {
    let mut html = "<table><tr><th>group</th><th>n</th><th>joint</th>".to_owned();
    for property in properties {
        let _ = write!(html, "<th>{}</th>", property.title);
    }
    html.push_str("<th>Naeem</th></tr>\n");
    for group in groups {
        let (count, single, joint, naeem) = cells(group);
        html.push_str(&row(group, (count, single, joint, naeem)));
    }
    html.push_str("</table>\n");
    html
}

fn row(group: &GroupCoverage, (count, single, joint, naeem): Cells) -> String {
    let cell = |share: Option<f64>, wanted: f64| {
        let Some(share) = share else {
            return "<td>-</td>".to_owned();
        };
        let class = if share < wanted { " class=\"low\"" } else { "" };
        format!("<td{class}>{:.1}</td>", 100.0 * share)
    };
    let mut html = format!(
        "<tr class=\"{}\"><td>{}</td><td>{count}</td>{}",
        group.level,
        escaped(&group.name),
        cell(joint, WANTED_JOINT)
    );
    for property in single {
        html.push_str(&cell((count > 0).then_some(property.inside), WANTED));
    }
    html.push_str(&cell(naeem, 0.0));
    html.push_str("</tr>\n");
    html
}

fn figures(pairs: &[Pair]) -> String {
    let mut html = "<p>Left: real. Right: the synthetic structure that is nearest in all properties. The first number \
                    is the distance to the deciding neighbour over the threshold: covered up to 1.</p>\n"
        .to_owned();
    for pair in pairs {
        let caption = escaped(&pair.caption);
        html.push_str("<figure class=\"pair\">");
        for data in pair.pictures.iter().filter(|data| !data.is_empty()) {
            let _ = write!(html, "<img alt=\"\" src=\"data:image/png;base64,{data}\">");
        }
        let _ = writeln!(html, "<figcaption>{caption}</figcaption></figure>");
    }
    html
}

/// Modalities of the real side in alphabetical order.
fn modalities<'a>(comparison: &'a Comparison) -> Vec<&'a str> {
    let groups = comparison.groups().iter();
    groups
        .filter(|g| g.level == "modality")
        .map(|g| g.name.as_str())
        .collect()
}

fn of_modality(measured: &Measured, name: &str) -> bool {
    matches!(&measured.subject, Subject::Real { modality, .. } if modality == name)
}

fn distributions(comparison: &Comparison) -> String {
    let mut html = "<h2>Distributions</h2>\n<p>Grey: synthetic; orange: real; bar below: the range of the synthetic \
                    ones.</p>\n"
        .to_owned();
    let (real, synthetic) = (&comparison.real, &comparison.synthetic);
    for name in modalities(comparison) {
        let _ = writeln!(html, "<h3>{}</h3>", escaped(name));
        let tables = [
            (
                &STRUCTURE[..],
                &real.structures,
                &synthetic.structures,
                &comparison.space,
            ),
            (
                &IMAGE[..],
                &real.images,
                &synthetic.images,
                &comparison.image_space,
            ),
        ];
        for (which, (table, real, synthetic, space)) in tables.into_iter().enumerate() {
            for (axis, property) in table.iter().enumerate() {
                let column = |m: &Measured| scaled(table, &m.values)[axis];
                let real: Vec<f64> = real
                    .iter()
                    .filter(|m| of_modality(m, name))
                    .map(column)
                    .collect();
                let synthetic: Vec<f64> = synthetic.iter().map(column).collect();
                let chart = histograms(&synthetic, &real, space.range(axis), |v| {
                    label(property.scale, v)
                });
                let of = ["", "image: "][which];
                let _ = write!(
                    html,
                    "<div class=\"chart\">{of}{}<br>{chart}</div>",
                    property.title
                );
            }
        }
    }
    html
}

/// A value of an axis in the property's own unit.
fn label(scale: Scale, value: f64) -> String {
    match scale {
        Scale::Linear => format!("{value:.2}"),
        Scale::Logarithmic(_) => {
            let value = scale.invert(value);
            let decimals = if value >= 1.0 {
                1
            } else {
                2 - value.log10().floor() as i32
            };
            format!("{value:.*}", decimals.clamp(0, 9) as usize)
        }
    }
}

/// Distributions of grey values and spectra.
fn curves(comparison: &Comparison) -> String {
    let mut html = "<h2>Grey values and power spectra of whole images</h2>\n<p>Medians and 10th to 90th percentiles \
                    over images. Share of the pixels by grey value (square root); power by frequency (both \
                    logarithmic).</p>\n"
        .to_owned();
    let frequencies = PowerSpectrum::frequencies();
    let ends = [frequencies[0], frequencies[frequencies.len() - 1]].map(|f| format!("{f:.3} /px"));
    for name in modalities(comparison) {
        let chart = |of: &dyn Fn(&ImageCurves) -> Vec<f64>, ends: [&str; 2]| {
            let real = comparison.real.curves.iter().filter(|c| c.modality == name);
            let pair = [
                band(comparison.synthetic.curves.iter().map(of), false),
                band(real.map(of), true),
            ];
            bands(&pair, ends)
        };
        let greys = chart(
            &|c| c.intensities.iter().map(|v| v.sqrt()).collect(),
            ["black", "white"],
        );
        let powers = chart(
            &|c| c.power.iter().map(|p| p.max(1e-9).log10()).collect(),
            [&ends[0], &ends[1]],
        );
        let name = escaped(name);
        let _ = write!(html, "<div class=\"chart\">{name}<br>{greys}{powers}</div>");
    }
    html.push('\n');
    html
}

fn band(curves: impl Iterator<Item = Vec<f64>>, is_real: bool) -> Curve {
    let curves: Vec<Vec<f64>> = curves.collect();
    percentiles(curves.iter().map(Vec::as_slice), is_real)
}
