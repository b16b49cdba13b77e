//! How long the memory allocator keeps freed memory. The allocator is the caller's: mimalloc in the program, and for what
//! Rust allocates in the Python module.

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

/// `mi_option_purge_delay` of mimalloc's `mimalloc.h` (versions 2 and 3), which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Sets how long mimalloc keeps freed memory: the setting for [`main`](crate::main) in a process whose Rust code allocates
/// with it.
#[expect(unsafe_code, reason = "a setting of the allocator's C library")]
pub fn mimalloc_keeps(keep: Keep) {
    let milliseconds = match keep {
        Keep::ForASecond => 1000,
        Keep::Always => -1,
    };
    // SAFETY: sets one number of a table, under an index that exists; the library allows it at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, milliseconds) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "a setting of the allocator's C library")]
    fn the_delay_is_the_setting_that_changes() {
        // SAFETY: reads one number of a table, under an index that exists.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert!(delay() > 0, "milliseconds");
        mimalloc_keeps(Keep::ForASecond);
        assert_eq!(delay(), 1000);
        mimalloc_keeps(Keep::Always);
        assert_eq!(delay(), -1);
    }
}
