//! Makes the samples of a folder that are missing.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::Format;
use super::files::File;
use super::folder::{Folder, Present};
use super::ordered::in_order;
use super::{record, webdataset};
use crate::output::Session;
use crate::progress::Steps;
use synthfm_image::one_line;

/// Counts of the samples that a job made and of those that were there.
#[derive(Debug, Serialize)]
pub(super) struct Filled {
    written: u64,
    already_there: u64,
    /// Samples in the folder, if it was found complete and described.
    in_folder: Option<u64>,
}

impl fmt::Display for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            written,
            already_there,
            in_folder,
        } = self;
        write!(
            f,
            "{written} samples written, {already_there} were there already"
        )?;
        if in_folder.is_none() {
            f.write_str("; the shard that ends last describes the data set")?;
        }
        Ok(())
    }
}

/// The user has asked for an end.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// The samples of one machine.
pub(super) struct Job<'a> {
    folder: &'a Folder<'a>,
    share: &'a Range<u64>,
    stop: &'a AtomicBool,
    written: AtomicU64,
}

impl<'a> Job<'a> {
    /// The samples `share` of a folder.
    pub(super) const fn new(
        folder: &'a Folder,
        share: &'a Range<u64>,
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            folder,
            share,
            stop,
            written: AtomicU64::new(0),
        }
    }

    /// Makes what is missing of the share, and describes the folder; if others make the rest of `all`, only once it is
    /// complete.
    pub(super) fn fill(self, all: &Range<u64>, session: &Session) -> Result<Filled> {
        let (folder, alone) = (self.folder, self.share == all);
        folder.remove_leftovers(self.share, alone)?;
        let done = self.run(&folder.present()?, session);
        let stopped = done.as_ref().is_err_and(anyhow::Error::is::<Stopped>);
        if let (Err(error), false) = (done, stopped) {
            bail!(
                "{}; the samples that are there are whole, and the same command continues",
                one_line(error.as_ref())
            );
        }
        let complete = alone || folder.present()?.covers(all);
        let in_folder = complete.then(|| folder.describe()).transpose()?;
        let written = self.written.into_inner();
        if stopped {
            bail!("stopped after {written} new samples; the same command continues");
        }
        Ok(Filled {
            written,
            already_there: self.share.end - self.share.start - written,
            in_folder,
        })
    }

    /// Makes what is missing of the share.
    fn run(&self, present: &Present, session: &Session) -> Result<()> {
        let unit = self.folder.settings.unit();
        let (start, end) = (self.share.start, self.share.end);
        let missing = (start..end)
            .step_by(usize::try_from(unit).context("--shard-size")?)
            .map(|first| first..end.min(first + unit))
            .filter(|unit| !present.covers(unit));
        let count: u64 = missing.clone().map(|unit| unit.end - unit.start).sum();
        let steps = Steps::new(session, count, "samples");
        let threads = rayon::current_num_threads();
        let samples = missing.clone().flatten();
        in_order(
            &samples,
            threads,
            |index| self.make(index),
            |made| {
                // An end that was asked for is an error of the next sample, and so leaves no half shard.
                let mut next = || {
                    if self.stop.load(Ordering::Relaxed) {
                        return Some(Err(Stopped.into()));
                    }
                    let files = made.next();
                    steps.inc();
                    files
                };
                let mut made = std::iter::from_fn(&mut next);
                for unit in missing.clone() {
                    self.take(unit, &mut made)?;
                }
                Ok(())
            },
        )
        .context("starting the threads; try fewer with --threads")?
    }

    /// The files of a sample; those that stand alone are written at once, its recipe last.
    fn make(&self, index: u64) -> Result<Vec<File>> {
        let settings = self.folder.settings;
        let files = record::files_of(settings, index)?;
        if settings.format == Format::Webdataset {
            return Ok(files);
        }
        files
            .iter()
            .try_for_each(|file| file.write(self.folder.root))?;
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(Vec::new())
    }

    /// Waits for the samples of a unit; those of a shard are written here, in order.
    fn take(
        &self,
        unit: Range<u64>,
        made: &mut dyn Iterator<Item = Result<Vec<File>>>,
    ) -> Result<()> {
        let count = unit.end - unit.start;
        if self.folder.settings.format == Format::Webdataset {
            webdataset::write(self.folder, unit, made)?;
            self.written.fetch_add(count, Ordering::Relaxed);
            return Ok(());
        }
        made.next().context("the samples ended early")??;
        Ok(())
    }
}
