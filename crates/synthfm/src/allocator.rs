//! The memory allocator: mimalloc, and what a training run asks of it.

/// `mi_option_purge_delay` of mimalloc's `mimalloc.h` (versions 2 and 3), which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps freed memory for the next allocation instead of handing it back to the system.
///
/// A training step frees and takes hundreds of megabytes in the same sizes again and again; handed back, they come as
/// fresh pages that the kernel has to clear, which took a fifth of a step's processor time. The peak stays the same.
#[expect(unsafe_code, reason = "a setting of the allocator's C library")]
pub(crate) fn keep_freed_memory() {
    // SAFETY: sets one number of a table, under an index that exists; the library allows it at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
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
        keep_freed_memory();
        assert_eq!(delay(), -1);
    }
}
