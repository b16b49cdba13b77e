//! Connections: bounded in number, in the time that a request's head may take, and in its size.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Sleep;

/// Connections at once; a browser opens about six.
const MAX_CONNECTIONS: usize = 256;
/// Connections at once from one address, so that one client cannot keep out all others.
const MAX_OF_ONE: usize = 96;
/// Time for the head of a request, and between two requests of a connection.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Time for which a client may take nothing of what is sent to it.
const SEND_TIME: Duration = Duration::from_mins(1);
/// Bytes of a request's head, and of what is read at once.
const HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
/// Time for requests in progress once the server is to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(3);
/// How often the wish to stop is looked for.
const GLANCE: Duration = Duration::from_millis(100);

/// Serves until `stop` is set, then lets the requests at hand finish. `stopped` tells streams to end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: Arc<AtomicBool>,
    stopped: watch::Sender<bool>,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let shares = Arc::new(Mutex::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = wait_for(&stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Over the limits the connection is closed at once, which a client takes as "try again".
                let share = Share::take(&shares, peer.ip());
                if let (Some(share), Ok(place)) = (share, Arc::clone(&room).try_acquire_owned()) {
                    let (router, stopped) = (router.clone(), stopped.subscribe());
                    tokio::spawn(async move {
                        connection(stream, router, stopped).await;
                        drop((place, share));
                    });
                }
            }
            // Out of file descriptors, for instance: others will be closed.
            Err(_) => tokio::time::sleep(GLANCE).await,
        }
    }
    drop(listener);
    stopped.send_replace(true);
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(LAST_REQUESTS, room.acquire_many(all)).await;
}

/// Connections by address.
type Shares = Mutex<BTreeMap<IpAddr, usize>>;

/// A connection counted among those of its address until it is dropped.
struct Share {
    address: IpAddr,
    shares: Arc<Shares>,
}

impl Share {
    /// `None` where the address has as many as it may.
    fn take(shares: &Arc<Shares>, address: IpAddr) -> Option<Self> {
        let mut counts = shares.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= MAX_OF_ONE {
            return None;
        }
        *count += 1;
        let shares = Arc::clone(shares);
        Some(Self { address, shares })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

async fn wait_for(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(GLANCE).await;
    }
}

async fn connection(stream: TcpStream, router: Router, mut stopped: watch::Receiver<bool>) {
    // Answers are small and awaited: send them at once.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(
            TokioIo::new(Patient::new(stream)),
            TowerToHyperService::new(router),
        );
    tokio::pin!(connection);
    // A client that breaks off is its own business.
    let asked_to_stop = tokio::select! {
        _ = connection.as_mut() => false,
        stopped = stopped.wait_for(|stopped| *stopped) => stopped.is_ok(),
    };
    if asked_to_stop {
        connection.as_mut().graceful_shutdown();
        let _ = connection.as_mut().await;
    }
}

/// A connection that ends where the other side takes nothing for [`SEND_TIME`].
struct Patient<S> {
    stream: S,
    /// Set while something waits to be taken.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    const fn new(stream: S) -> Self {
        Self {
            stream,
            deadline: None,
        }
    }

    /// Passes on what a write came to, unless it waits for too long.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let sleep = || Box::pin(tokio::time::sleep(SEND_TIME));
        let deadline = self.deadline.get_or_insert_with(sleep);
        match deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watched(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watched(context, ended)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn one_address_has_its_share() {
        let shares: Arc<Shares> = Arc::default();
        let take = |last| Share::take(&shares, IpAddr::from([10, 0, 0, last]));
        let mut held: Vec<_> = (0..MAX_OF_ONE).map(|_| take(1).unwrap()).collect();
        assert!(take(1).is_none());
        assert!(take(2).is_some());
        held.pop();
        assert!(take(1).is_some());
        drop(held);
        assert!(shares.lock().unwrap().is_empty());
    }

    #[test]
    fn a_client_that_takes_nothing_is_left() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (near, far) = tokio::io::duplex(8);
            let mut near = Patient::new(near);
            near.write_all(b"12345678").await.unwrap();
            let first = tokio::time::timeout(Duration::from_millis(20), near.write_all(b"9"));
            assert!(first.await.is_err(), "it waits");
            assert!(near.deadline.is_some());
            near.deadline = Some(Box::pin(tokio::time::sleep(Duration::ZERO)));
            let error = near.write_all(b"9").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            drop(far);
        });
    }
}
