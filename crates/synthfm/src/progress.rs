//! Progress on standard error: a bar on a terminal, nothing with `--quiet` or elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Session;

/// Rate and time left are those of the steps since the start, so that resumed work does not look fast.
pub(crate) fn bar(session: &Session, total: u64, unit: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target(session));
    let style = format!("{{bar:30}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left  {{msg}}");
    bar.set_style(ProgressStyle::with_template(&style).expect("the template is well formed"));
    bar
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
