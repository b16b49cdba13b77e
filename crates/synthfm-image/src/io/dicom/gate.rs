//! A bound on the number of threads that do at the same time what takes memory.

use std::sync::{Condvar, Mutex, PoisonError};

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
