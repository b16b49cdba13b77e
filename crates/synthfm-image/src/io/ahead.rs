//! Tells the system what will be read, so that the disk works while values are converted. Advice only: where the system
//! takes none, nothing changes but the speed.

use std::fs::File;

/// All of a file will be read; its bytes are fetched from now on. Waits while the disk's queue is full.
pub(super) fn fetch(file: &File) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::WillNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}
