//! Ctrl-C: the first one asks for an orderly end, the second one ends at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

/// The exit code of shells for a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// A flag that is set at the first Ctrl-C (also at a termination signal).
pub(crate) fn flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset and sets it, the second one finds it set.
        register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&stop))
            .context("listening for Ctrl-C")?;
        register(signal, Arc::clone(&stop)).context("listening for Ctrl-C")?;
    }
    Ok(stop)
}

/// Makes writing beyond the size that the system allows files an error; without this it ends the program.
pub(crate) fn outlive_file_limits() {
    // Where it fails, the program is as it would be without.
    #[cfg(unix)]
    let _ = register(signal_hook::consts::SIGXFSZ, Arc::default());
}
