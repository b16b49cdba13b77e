//! Connections: bounded in number, in the time that a request's head may take, and in its size.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections at once; a browser opens about six.
const MAX_CONNECTIONS: usize = 256;
/// Time for the head of a request, and between two requests of a connection.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Bytes of a request's head, and of what is read at once.
const HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
/// Time for requests in progress once the server is to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
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
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = wait_for(&stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                // Over the limit the connection is closed at once, which a client takes as "try again".
                if let Ok(place) = Arc::clone(&room).try_acquire_owned() {
                    let (router, stopped) = (router.clone(), stopped.subscribe());
                    tokio::spawn(async move {
                        connection(stream, router, stopped).await;
                        drop(place);
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
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
