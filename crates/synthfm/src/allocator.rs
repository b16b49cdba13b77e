//! The memory allocator: mimalloc, and how long it keeps freed memory.

/// `mi_option_purge_delay` of mimalloc's `mimalloc.h` (versions 2 and 3), which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long freed memory is kept for the next allocation before it goes back to the system.
///
/// Memory that was handed back comes as fresh pages, which the kernel has to clear: with the allocator's own delay of 10
/// ms that is a tenth of a click's time and a fifth of a training step's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// For a second: from one answer to the next, but not while a server is idle.
    ForASecond,
    /// As long as the process lives: a training step frees and takes the same hundreds of megabytes. The peak stays the
    /// same.
    Always,
}

/// Sets how long freed memory is kept.
#[expect(unsafe_code, reason = "a setting of the allocator's C library")]
pub(crate) fn keep_freed_memory(keep: Keep) {
    let milliseconds = match keep {
        Keep::ForASecond => 1000,
        Keep::Always => -1,
    };
    // SAFETY: sets one number of a table, under an index that exists; the library allows it at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, milliseconds) };
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
        keep_freed_memory(Keep::ForASecond);
        assert_eq!(delay(), 1000);
        keep_freed_memory(Keep::Always);
        assert_eq!(delay(), -1);
    }
}
