//! Real images against synthetic ones: how much of what real structures look like does a generator draw?
//!
//! Both sides go through the same code: an image as a model sees it (longest side `side` pixels, 8 bits), its
//! structures measured by [`synthfm_image::StructureProperties`]. Real targets are those of the evaluation. Coverage is
//! defined in the module `coverage`; nothing here reaches training.

mod charts;
mod coverage;
mod page;
mod pictures;
mod properties;
mod real;
mod subject;
mod summary;
mod synthetic;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use synthfm_image::write_atomically;
use synthfm_synth::GeneratorConfig;

use crate::dataset::{CaseNote, Dataset};
use crate::evaluate::Target;
use crate::{Error, Result};

pub use summary::{GroupCoverage, PropertyCoverage};

use coverage::Space;
use properties::{IMAGE, STRUCTURE};
use real::RealSide;
use subject::Subject;
use synthetic::SyntheticSide;

/// Smallest and largest comparison side: what the generator draws.
const SIDES: std::ops::RangeInclusive<usize> = 128..=2048;
/// Most synthetic samples.
const MAX_SAMPLES: u64 = 100_000;

/// How to compare.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Options {
    /// Longest side in pixels to which real images are resized and at which synthetic ones are drawn.
    pub side: usize,
    /// Synthetic samples.
    pub count: u64,
    /// Seed of the synthetic samples.
    pub seed: u64,
    /// The pixels that count as one real structure.
    pub target: Target,
    /// Smaller structures, in pixels of the comparison, are left out and counted.
    pub min_area_px: usize,
    /// Neighbour whose distance decides about joint coverage.
    pub neighbour: usize,
    /// Share of the synthetic structures that are covered by the others, by definition of the joint coverage.
    pub level: f64,
}

impl Default for Options {
    /// 600 samples at 256 pixels; the fifth neighbour; 95 %.
    fn default() -> Self {
        Self {
            side: 256,
            count: 600,
            seed: 0,
            target: Target::Largest,
            min_area_px: 16,
            neighbour: 5,
            level: 0.95,
        }
    }
}

impl Options {
    /// Fails with the name of the option that makes no sense.
    pub fn validate(&self) -> Result<()> {
        let fail = |text: String| Err(Error::Parameter(text));
        if !SIDES.contains(&self.side) {
            return fail(format!("side: 128 to 2048 expected, got {}", self.side));
        }
        if !(1..=MAX_SAMPLES).contains(&self.count) {
            return fail(format!(
                "count: 1 to {MAX_SAMPLES} expected, got {}",
                self.count
            ));
        }
        Ok(())
    }
}

/// Both sides, measured.
#[derive(Debug)]
pub struct Comparison<'a> {
    datasets: &'a [Dataset],
    generator: &'a GeneratorConfig,
    options: &'a Options,
    real: RealSide,
    synthetic: SyntheticSide,
    space: Space,
    image_space: Space,
    groups: Vec<GroupCoverage>,
}

/// The content of the JSON file beside the report.
#[derive(Serialize)]
struct Record<'a, R: Serialize> {
    run: &'a R,
    options: &'a Options,
    synthetic_structures: usize,
    targets_too_small: usize,
    structures_absent: usize,
    skipped_cases: &'a [CaseNote],
    unreadable_cases: &'a [CaseNote],
    /// Distance to the chosen neighbour up to which a structure is covered, in standard deviations.
    joint_threshold: f64,
    /// 1st and 99th percentile of each property of the synthetic structures.
    synthetic_ranges: serde_json::Map<String, serde_json::Value>,
    groups: &'a [GroupCoverage],
    /// Real structures with their properties, the least covered first.
    structures: Vec<StructureRecord<'a>>,
}

/// A real structure in the JSON file.
#[derive(Serialize)]
struct StructureRecord<'a> {
    #[serde(flatten)]
    subject: &'a Subject,
    /// Distance to the chosen neighbour over the threshold: covered up to 1.
    distance: f64,
    properties: serde_json::Map<String, serde_json::Value>,
}

impl<'a> Comparison<'a> {
    /// Measures the real structures, then draws and measures synthetic ones.
    ///
    /// `progress` hears what is being done, how much of it is done and how much there is. Fails if there is nothing to
    /// compare or `stop` is set.
    pub fn new(
        datasets: &'a [Dataset],
        generator: &'a GeneratorConfig,
        options: &'a Options,
        progress: impl Fn(&str, u64, u64) + Sync,
        stop: &AtomicBool,
    ) -> Result<Self> {
        options.validate()?;
        let real = real::measure(datasets, options, &progress, stop);
        let stopped = || Error::Parameter("stopped; no report was written".to_owned());
        if stop.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        if real.structures.is_empty() {
            return Err(Error::Parameter(format!(
                "nothing to compare with: no real case could be read that has a structure of {} pixels or more at \
                 {} pixels a side",
                options.min_area_px, options.side
            )));
        }
        let synthetic = synthetic::measure(generator, &real.sizes, options, &progress, stop);
        if stop.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        let enough = synthetic.structures.len() > options.neighbour;
        if !enough || synthetic.images.len() <= options.neighbour {
            return Err(Error::Parameter(format!(
                "{} synthetic structures on {} images are too few: raise the number of samples",
                synthetic.structures.len(),
                options.count
            )));
        }
        let scaled = |measured: &[subject::Measured], table: &[properties::Property]| {
            let points = measured
                .iter()
                .map(|m| properties::scaled(table, &m.values));
            let points: Vec<Vec<f64>> = points.collect();
            Space::new(&points, options.neighbour, options.level)
        };
        let space = scaled(&synthetic.structures, &STRUCTURE);
        let image_space = scaled(&synthetic.images, &IMAGE);
        let groups = summary::groups(&real, [&space, &image_space]);
        Ok(Self {
            datasets,
            generator,
            options,
            real,
            synthetic,
            space,
            image_space,
            groups,
        })
    }

    /// Coverage of all real structures, of each modality and of each data set.
    pub fn groups(&self) -> &[GroupCoverage] {
        &self.groups
    }

    /// The coverage as a table.
    pub fn text(&self) -> String {
        summary::text(&self.groups, &self.real)
    }

    /// Writes the report as one HTML file, and its numbers beside it as JSON under the same name. `run` is recorded as
    /// it is.
    pub fn write(&self, path: &Path, run: &impl Serialize) -> Result<()> {
        let page = page::page(self)?;
        write_atomically(&path.with_extension("json"), |out| {
            serde_json::to_writer_pretty(&mut *out, &self.record(run))?;
            writeln!(out)
        })?;
        write_atomically(path, |out| out.write_all(page.as_bytes()))?;
        Ok(())
    }

    fn record<'r, R: Serialize>(&'r self, run: &'r R) -> Record<'r, R> {
        let structures = self.ranked().into_iter().map(|(distance, at)| {
            let measured = &self.real.structures[at];
            let pairs = STRUCTURE.iter().zip(&measured.values);
            StructureRecord {
                subject: &measured.subject,
                distance,
                properties: pairs.map(|(p, &v)| (p.key.to_owned(), v.into())).collect(),
            }
        });
        let ranges = STRUCTURE.iter().enumerate().map(|(axis, property)| {
            let range = self.space.range(axis);
            let range = range.map(|limit| property.scale.invert(limit));
            (property.key.to_owned(), range.to_vec().into())
        });
        Record {
            run,
            options: self.options,
            synthetic_structures: self.synthetic.structures.len(),
            targets_too_small: self.real.too_small,
            structures_absent: self.real.absent,
            skipped_cases: &self.real.skipped,
            unreadable_cases: &self.real.failed,
            joint_threshold: self.space.threshold(),
            synthetic_ranges: ranges.collect(),
            groups: &self.groups,
            structures: structures.collect(),
        }
    }

    /// Distances over the threshold and indices of the real structures, the least covered first.
    fn ranked(&self) -> Vec<(f64, usize)> {
        let distance = |m: &subject::Measured| {
            self.space
                .distance(&properties::scaled(&STRUCTURE, &m.values))
                / self.space.threshold()
        };
        let all = self.real.structures.iter().enumerate();
        let mut ranked: Vec<(f64, usize)> = all.map(|(at, m)| (distance(m), at)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked
    }
}
