//! Memory whose size a file declares: asked for so that a refusal is an error, and shared out among threads.

use std::hint::black_box;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

use super::super::pages;

/// So many zeros, or an error where the system refuses the memory.
pub(super) fn zeroed<T: Clone + Default>(count: usize) -> io::Result<Vec<T>> {
    // Zeros come from the system without being written only if they are asked for as such, which has no form that can
    // fail; the reservation tells beforehand whether there is room.
    drop(black_box(reserved::<T>(count)?));
    Ok(pages::zeroed(count))
}

/// An empty vector with room for `count` values, or an error where the system refuses the memory.
pub(super) fn reserved<T>(count: usize) -> io::Result<Vec<T>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(count)
        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    Ok(values)
}

/// Gives a buffer a length, in new memory if it is too small; what it holds afterwards is arbitrary.
pub(super) fn resize(buffer: &mut Vec<u8>, length: usize) -> io::Result<()> {
    if buffer.capacity() < length {
        // The old memory goes first.
        *buffer = Vec::new();
        drop(black_box(reserved::<u8>(length)?));
        *buffer = pages::with_capacity(length);
    }
    buffer.resize(length, 0);
    Ok(())
}

/// Lets a number of threads at a time do what takes memory.
///
/// Whoever waits here holds nothing that others wait for, so that no work is stuck.
pub(super) struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place at a [`Gate`], given back when it is dropped.
pub(super) struct Place<'a>(&'a Gate);

impl Gate {
    pub(super) const fn new(places: usize) -> Self {
        Self {
            free: Mutex::new(places),
            freed: Condvar::new(),
        }
    }

    pub(super) fn enter(&self) -> Place<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .freed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rayon::prelude::*;

    use super::*;

    #[test]
    fn what_no_system_has_is_refused_not_an_abort() {
        let refused = zeroed::<f32>(usize::MAX / 8).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory);
        let mut buffer = vec![1, 2, 3];
        assert!(resize(&mut buffer, usize::MAX / 2).is_err());
        resize(&mut buffer, 5).unwrap();
        assert_eq!(buffer.len(), 5);
    }

    #[test]
    fn no_more_than_the_places_are_taken_at_a_time() {
        let gate = Gate::new(1);
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        (0..64).into_par_iter().for_each(|_| {
            let _place = gate.enter();
            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            std::thread::yield_now();
            inside.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}
