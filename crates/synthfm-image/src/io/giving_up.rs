//! Reading that another thread can end: a server gives up what nobody waits for any more.

use std::cell::RefCell;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// The flag that ends the reading that this thread has begun.
    static CURRENT: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `read`. Soon after `stop` is set, what it reads of image files on this thread, and on the threads that help with
/// that, fails with an error.
///
/// ```
/// # use std::sync::{Arc, atomic::AtomicBool};
/// use synthfm_image::{ReadOptions, read_image, reading_until};
///
/// let stop = Arc::new(AtomicBool::new(false));
/// let image = reading_until(&stop, || read_image("no file".as_ref(), &ReadOptions::default()));
/// assert!(image.is_err());
/// ```
pub fn reading_until<T>(stop: &Arc<AtomicBool>, read: impl FnOnce() -> T) -> T {
    /// Puts the earlier one back, whatever happens.
    struct Back(Option<Arc<AtomicBool>>);
    impl Drop for Back {
        fn drop(&mut self) {
            let earlier = self.0.take();
            CURRENT.with_borrow_mut(|current| *current = earlier);
        }
    }
    let earlier = CURRENT.with_borrow_mut(|current| current.replace(Arc::clone(stop)));
    let _back = Back(earlier);
    read()
}

/// The flag that ends a reading, to be taken along to other threads.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Option<Arc<AtomicBool>>);

impl Stop {
    /// The flag that ends the readings of this thread.
    pub(super) fn current() -> Self {
        Self(CURRENT.with_borrow(Clone::clone))
    }

    /// An error once the reading has been given up.
    pub(super) fn check(&self) -> io::Result<()> {
        match &self.0 {
            Some(stop) if stop.load(Ordering::Relaxed) => {
                Err(io::Error::other("reading was given up"))
            }
            _ => Ok(()),
        }
    }

    /// Bytes that end with an error once the reading has been given up.
    pub(super) const fn reader<R>(self, inner: R) -> Stoppable<R> {
        Stoppable { inner, stop: self }
    }
}

/// See [`Stop::reader`].
pub(super) struct Stoppable<R> {
    inner: R,
    stop: Stop,
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        self.inner.read(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_end_where_they_are_given_up_and_nowhere_else() {
        let (stop, other) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(true)),
        );
        reading_until(&stop, || {
            let mut reader = Stop::current().reader(io::repeat(1));
            let mut out = [0; 4];
            assert_eq!(reader.read(&mut out).unwrap(), 4);
            reading_until(&other, || assert!(Stop::current().check().is_err()));
            stop.store(true, Ordering::Relaxed);
            assert!(reader.read(&mut out).is_err());
        });
        assert!(Stop::current().check().is_ok());
    }
}
