//! How long the memory allocator keeps freed memory. The allocator is the caller's: mimalloc in the program, the system's
//! in the Python module, which must not bring one of its own into a foreign process.

use std::sync::OnceLock;

/// How long freed memory is kept for the next allocation before it goes back to the system.
///
/// Memory that was handed back comes as fresh pages, which the kernel has to clear: with mimalloc's own delay of 10
/// ms that is a tenth of a click's time and a fifth of a training step's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// For a second: from one answer to the next, but not while a server is idle.
    ForASecond,
    /// As long as the process lives: a training step frees and takes the same hundreds of megabytes. The peak stays the
    /// same.
    Always,
}

/// The setting of the caller's allocator.
static SETTING: OnceLock<fn(Keep)> = OnceLock::new();

/// Says how the setting is made; the first call counts.
pub(crate) fn set(setting: fn(Keep)) {
    let _ = SETTING.set(setting);
}

/// Sets how long freed memory is kept, where the allocator has such a setting.
pub(crate) fn keep_freed_memory(keep: Keep) {
    if let Some(setting) = SETTING.get() {
        setting(keep);
    }
}
