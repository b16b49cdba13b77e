//! Progress on standard error: a bar on a terminal, now and then a line in a file; nothing with `--quiet`.

use std::cell::Cell;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Session;

/// Rate and time left are those of the steps since the start, so that resumed work does not look fast.
pub(crate) fn bar(session: &Session, total: u64, unit: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target(session));
    let style = format!("{{bar:30}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left  {{msg}}");
    bar.set_style(ProgressStyle::with_template(&style).expect("the template is well formed"));
    bar
}

/// Time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Steps of long work: a bar, or lines where standard error is not a terminal, as in the log of a batch job.
pub(crate) struct Steps {
    bar: ProgressBar,
    total: u64,
    unit: &'static str,
    started: Instant,
    done: Cell<u64>,
    last_line: Cell<Option<Instant>>,
}

impl Steps {
    pub(crate) fn new(session: &Session, total: u64, unit: &'static str) -> Self {
        let started = Instant::now();
        let in_file = !session.quiet && !stderr().is_terminal();
        Self {
            bar: bar(session, total, unit),
            total,
            unit,
            started,
            done: Cell::new(0),
            last_line: Cell::new(in_file.then_some(started)),
        }
    }

    /// One more is done.
    pub(crate) fn inc(&self) {
        self.bar.inc(1);
        let done = self.done.get() + 1;
        self.done.set(done);
        let due = self
            .last_line
            .get()
            .filter(|last| last.elapsed() >= LINE_EVERY);
        if due.is_some() {
            self.last_line.set(Some(Instant::now()));
            let (unit, line) = (
                self.unit,
                rate_and_rest(done, self.total, self.started.elapsed()),
            );
            synthfm_image::tell(&format!("{done}/{} {unit}, {line}", self.total));
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Work that is told how far it is, part of which an earlier run may have done.
pub(crate) struct Counter {
    bar: ProgressBar,
    unit: &'static str,
    started: Instant,
    last_line: Cell<Option<Instant>>,
    begun: Cell<bool>,
}

impl Counter {
    pub(crate) fn new(session: &Session, unit: &'static str) -> Self {
        let started = Instant::now();
        let in_file = !session.quiet && !stderr().is_terminal();
        Self {
            bar: bar(session, 0, unit),
            unit,
            started,
            last_line: Cell::new(in_file.then_some(started)),
            begun: Cell::new(false),
        }
    }

    /// `done` of `total` are done, `kept` of them by an earlier run; `last` is the one that was finished last.
    pub(crate) fn set(&self, done: usize, total: usize, kept: usize, last: &str) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(last.to_owned());
        if !self.begun.replace(true) {
            // What was done before says nothing of the rate.
            self.bar.reset_eta();
        }
        let due = self.last_line.get();
        if due.is_some_and(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line.set(Some(Instant::now()));
            let new = (done - kept) as u64;
            let rest = rate_and_rest(new, (total - kept) as u64, self.started.elapsed());
            synthfm_image::tell(&format!("{done}/{total} {}, {rest}  {last}", self.unit));
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Steps per second and the time that the others will take.
fn rate_and_rest(done: u64, total: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = done as f64 / seconds.max(1e-9);
    let rest = (total.saturating_sub(done) as f64 / rate.max(1e-9)) as u64;
    format!(
        "{rate:.2}/s, {}:{:02}:{:02} left",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// A sign of life for work of unknown length.
pub(crate) fn spinner(session: &Session, message: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target(session));
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn target(session: &Session) -> ProgressDrawTarget {
    if session.quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_per_step() {
        let text = rate_and_rest(50, 5050, Duration::from_secs(100));
        assert_eq!(text, "0.50/s, 2:46:40 left");
        assert_eq!(
            rate_and_rest(3, 3, Duration::from_secs(1)),
            "3.00/s, 0:00:00 left"
        );
    }
}
