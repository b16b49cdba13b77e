//! Work on several threads, results in order, memory bounded.

use std::io;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Results that wait per thread.
const AHEAD: usize = 2;

/// Calls `make` for every item on `threads` threads and gives `take` the results in the order of the items. Each
/// thread is at most a few results ahead of `take`, and stops once `take` returns.
///
/// Fails if a thread cannot be started.
pub(super) fn in_order<I, T, R>(
    items: &I,
    threads: usize,
    make: impl Fn(I::Item) -> T + Sync,
    take: impl FnOnce(&mut dyn Iterator<Item = T>) -> R,
) -> io::Result<R>
where
    I: Iterator + Clone + Send,
    T: Send,
{
    let make = &make;
    thread::scope(|scope| {
        let mut queues = Vec::new();
        for first in 0..threads {
            let (sender, queue) = sync_channel(AHEAD);
            // Thread k makes every threads-th item from the k-th on, so that the order needs no bookkeeping.
            let mut own = items.clone().skip(first).step_by(threads);
            thread::Builder::new().spawn_scoped(scope, move || {
                // Sending fails once nobody takes any more.
                let _ = own.try_for_each(|item| sender.send(make(item)));
            })?;
            queues.push(queue);
        }
        // A queue ends with its items; or with a panic, which the scope passes on.
        let mut results = (0..).map_while(|n: usize| queues[n % threads].recv().ok());
        Ok(take(&mut results))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_order_and_none_is_lost() {
        for (items, threads) in [(0, 3), (1, 3), (100, 1), (100, 7)] {
            let squares: Vec<usize> =
                in_order(&(0..items), threads, |n| n * n, |squares| squares.collect()).unwrap();
            assert!(squares.iter().copied().eq((0..items).map(|n| n * n)));
        }
    }

    #[test]
    fn threads_wait_for_whoever_takes() {
        let (made, most) = (AtomicUsize::new(0), 3 * (AHEAD + 1));
        let make = |n: usize| {
            made.fetch_add(1, Ordering::SeqCst);
            n
        };
        let take = |results: &mut dyn Iterator<Item = usize>| {
            for taken in 1..=50 {
                results.next();
                thread::yield_now();
                assert!(made.load(Ordering::SeqCst) <= taken + most);
            }
        };
        in_order(&(0..), 3, make, take).unwrap();
        // The threads have ended, although items without end were left.
        assert!(made.into_inner() <= 51 + most);
    }
}
