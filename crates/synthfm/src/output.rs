//! Parts common to all verbs: threads, device, notes on standard error, results on standard output.

use std::error::Error as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use serde::Serialize;
use synthfm_image::{create_folder, escaped};
use synthfm_sam::{DeviceChoice, OpenDevice};

use crate::cli::Common;

/// The version that results record.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The command cannot be carried out as it was typed: exit code 2.
#[derive(Debug)]
pub struct UsageError(String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// A [`UsageError`] with this message.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

/// A path for results; what is no Unicode in it is replaced, for JSON holds nothing else.
pub(crate) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Refuses a pipe or device, whose content comes only once, or never.
pub(crate) fn refuse_pipe(path: &Path) -> Result<()> {
    anyhow::ensure!(
        !synthfm_image::is_special(path),
        "{}: a pipe or device, which cannot be read twice: write it to a file first",
        path.display()
    );
    Ok(())
}

/// Refuses a picture that would be written under the name of something else.
pub(crate) fn check_png(flag: &str, path: &Path) -> Result<()> {
    let ending = path.extension().unwrap_or_default();
    if ending.eq_ignore_ascii_case("png") || synthfm_image::is_special(path) {
        return Ok(());
    }
    Err(usage(format!(
        "{flag} {}: a name that ends in .png expected",
        path.display()
    )))
}

/// The flags of every verb, in force.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) quiet: bool,
    verbose: bool,
    json: bool,
    /// `None` if the flag was not given.
    device: Option<DeviceChoice>,
    opened: OnceLock<OpenDevice>,
}

impl Session {
    /// Starts the thread pool. Where another front end has started it before, it stays as it is.
    pub(crate) fn open(common: &Common) -> Result<Self> {
        let threads = common.threads.map_or(0, usize::from);
        let started = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global();
        // Only an error of the system has a source: any other says that the pool is there already.
        match started {
            Err(error) if error.source().is_some() || common.threads.is_some() => {
                return Err(error).context("starting the threads; try fewer with --threads");
            }
            Ok(()) | Err(_) => {}
        }
        Ok(Self {
            quiet: common.quiet,
            verbose: common.verbose,
            json: common.json,
            device: common.device,
            opened: OnceLock::new(),
        })
    }

    /// Without a terminal: nothing is told, and the thread pool is left to whoever uses it first.
    pub(crate) fn silent(device: Option<DeviceChoice>) -> Self {
        Self {
            quiet: true,
            verbose: false,
            json: true,
            device,
            opened: OnceLock::new(),
        }
    }

    /// The device of `--device`, opened when first asked for.
    pub(crate) fn device(&self) -> Result<OpenDevice> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened.clone());
        }
        let opened = self.device.unwrap_or(DeviceChoice::Auto).open()?;
        // Who neither asked for a GPU nor built for one need not hear that there is none.
        let concerned = self.device.is_some() || cfg!(feature = "gpu");
        if let Some(notice) = opened.notice.as_ref().filter(|_| concerned) {
            self.note(&format!("note: {notice}"));
        }
        self.detail(&format!("device: {}", opened.description));
        Ok(self.opened.get_or_init(|| opened).clone())
    }

    /// A line on standard error, unless `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            synthfm_image::tell(text);
        }
    }

    /// Whether `--verbose` was given.
    pub(crate) const fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// A line on standard error with `--verbose`.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            synthfm_image::tell(text);
        }
    }

    /// The result on standard output: `value` with `--json`, otherwise the text.
    pub(crate) fn print(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        let text = if self.json {
            serde_json::to_string_pretty(value).context("writing the result as JSON")?
        } else {
            escaped(&text()).into_owned()
        };
        match writeln!(io::stdout().lock(), "{}", text.trim_end()) {
            // Whoever reads has read enough, as `head` does.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("writing to standard output"),
        }
    }
}

/// Makes the folder that a file will lie in, before work is spent on the file.
pub(crate) fn create_parent(path: &Path) -> Result<()> {
    if path.is_dir() {
        anyhow::bail!("{} is a folder: name a file in it", path.display());
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => Ok(create_folder(folder)?),
        _ => Ok(()),
    }
}

/// The terminal as the server sees it.
impl synthfm_serve::Terminal for Session {
    fn note(&self, text: &str) {
        Self::note(self, text);
    }

    fn print(&self, value: &serde_json::Value, text: &str) -> Result<()> {
        Self::print(self, value, || text.to_owned())
    }
}
