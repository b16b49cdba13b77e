//! Files are read on threads of their own, and given up when nobody waits for them any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use synthfm_image::reading_until;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinError;

/// Set when the request that waits is dropped, because its client has gone.
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `work`, which reads files, in its turn. The turn is held until the work has ended; where the request has gone, its
/// reading fails soon.
pub(super) async fn reading<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let stop = Arc::new(AtomicBool::new(false));
    let _stop = StopWhenDropped(Arc::clone(&stop));
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        reading_until(&stop, work)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use synthfm_image::{OpenOptions, open_scan};
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_nobody_waits_for_is_given_up() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.nii");
        let geometry = synthfm_image::VolumeGeometry::with_spacing([64, 64, 64], [1.0; 3]);
        let labels = synthfm_image::LabelVolume::zeros(geometry.expect("a geometry"));
        synthfm_image::write_label_nifti(&path, &labels).expect("a file");
        let places = Arc::new(Semaphore::new(1));
        let turn = Arc::clone(&places).acquire_owned().await.expect("a turn");
        let (found, told) = channel();
        let (begin, begun) = channel::<()>();
        let work = tokio::spawn(reading(turn, move || {
            begun.recv().expect("the test goes on");
            let scan = open_scan(&path, &OpenOptions::default());
            found
                .send(scan.map(|_| ()).map_err(|e| e.to_string()))
                .expect("the test waits");
        }));
        tokio::time::sleep(Duration::from_millis(20)).await;
        work.abort();
        assert!(work.await.is_err_and(|error| error.is_cancelled()));
        // The place stays taken until the work has ended.
        assert_eq!(places.available_permits(), 0);
        begin.send(()).expect("the work waits");
        let error = told
            .recv()
            .expect("an answer")
            .expect_err("it was given up");
        assert!(error.contains("given up"), "{error}");
        let _turn = places.acquire().await.expect("the place is free again");
    }
}
