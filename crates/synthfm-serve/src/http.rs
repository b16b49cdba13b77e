//! Connections: bounded in number, in the time that a request's head may take, and in its size.

mod places;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Sleep;

use places::{Place, Places, Served};

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
    let places = Arc::new(Places::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = wait_for(&stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Without a place the connection is closed at once, which a client takes as "try again".
                if let Some(place) = Places::take(&places, peer.ip()) {
                    let (router, stopped) = (router.clone(), stopped.subscribe());
                    tokio::spawn(connection(stream, place, router, stopped));
                }
            }
            // Out of file descriptors, for instance: others will be closed.
            Err(_) => tokio::time::sleep(GLANCE).await,
        }
    }
    drop(listener);
    stopped.send_replace(true);
    let ended = async {
        while !places.is_empty() {
            tokio::time::sleep(GLANCE).await;
        }
    };
    let _ = tokio::time::timeout(LAST_REQUESTS, ended).await;
}

async fn wait_for(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(GLANCE).await;
    }
}

async fn connection(
    stream: TcpStream,
    place: Place,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are small and awaited: send them at once.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(
            TokioIo::new(Patient::new(stream)),
            Served::new(router, &place),
        );
    tokio::pin!(connection);
    // A client that breaks off is its own business.
    let asked_to_stop = tokio::select! {
        _ = connection.as_mut() => false,
        () = place.wanted() => false,
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
