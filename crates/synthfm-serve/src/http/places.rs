//! Places for connections: so many in all, and so many for one address. Who needs one takes it from a connection that has
//! waited longest between requests, or with the head of one, so that clients that only hold connections keep nobody out.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;

/// Connections at once; a browser opens about six.
const MAX_CONNECTIONS: usize = 256;
/// Connections at once from one address, so that one client cannot keep out all others.
const MAX_OF_ONE: usize = 96;
/// Time between requests after which a connection's place may go to another.
const REST: Duration = Duration::from_secs(1);

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Places {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// By the order of their beginning.
    connections: BTreeMap<u64, Connection>,
    begun: u64,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    /// Requests at work; a client may send the next one before it has the answer.
    at_work: usize,
    /// The end of the last answer, or the beginning.
    rests_since: Instant,
    wanted: Arc<Notify>,
}

impl Places {
    /// A place, if need be that of a connection at rest; `None` where all are at work.
    pub(super) fn take(places: &Arc<Self>, address: IpAddr) -> Option<Place> {
        Self::take_at(places, address, Instant::now())
    }

    fn take_at(places: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Place> {
        let mut held = places.lock();
        let of_one = |connection: &Connection| connection.address == address;
        let share = held.connections.values().filter(|c| of_one(c)).count();
        if share >= MAX_OF_ONE {
            held.give_up(of_one, now)?;
        } else if held.connections.len() >= MAX_CONNECTIONS {
            held.give_up(|_| true, now)?;
        }
        held.begun += 1;
        let (number, wanted) = (held.begun, Arc::new(Notify::new()));
        let connection = Connection {
            address,
            at_work: 0,
            rests_since: now,
            wanted: Arc::clone(&wanted),
        };
        held.connections.insert(number, connection);
        Some(Place {
            number,
            wanted,
            places: Arc::clone(places),
        })
    }

    /// Whether no connection is open.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().connections.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Ends the connection that has rested longest, of those in question.
    fn give_up(&mut self, in_question: impl Fn(&Connection) -> bool, now: Instant) -> Option<()> {
        let rests = |c: &Connection| c.at_work == 0 && now.duration_since(c.rests_since) >= REST;
        let found = self.connections.iter();
        let found = found.filter(|(_, c)| in_question(c) && rests(c));
        let (&number, _) = found.min_by_key(|(_, c)| c.rests_since)?;
        let connection = self.connections.remove(&number)?;
        connection.wanted.notify_one();
        Some(())
    }
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    wanted: Arc<Notify>,
    places: Arc<Places>,
}

impl Place {
    /// Waits until another connection has got this place.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().connections.remove(&self.number);
    }
}

/// A request at work, until its answer is dropped.
#[derive(Debug)]
struct AtWork {
    number: u64,
    places: Arc<Places>,
}

impl AtWork {
    fn begin(places: &Arc<Places>, number: u64) -> Self {
        let places = Arc::clone(places);
        if let Some(connection) = places.lock().connections.get_mut(&number) {
            connection.at_work += 1;
        }
        Self { number, places }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(connection) = self.places.lock().connections.get_mut(&self.number) {
            connection.at_work = connection.at_work.saturating_sub(1);
            connection.rests_since = Instant::now();
        }
    }
}

/// The routes for one connection, which is at work from a request's head to the end of its answer.
#[derive(Debug)]
pub(super) struct Served {
    routes: TowerToHyperService<Router>,
    number: u64,
    places: Arc<Places>,
}

impl Served {
    pub(super) fn new(router: Router, place: &Place) -> Self {
        Self {
            routes: TowerToHyperService::new(router),
            number: place.number,
            places: Arc::clone(&place.places),
        }
    }
}

impl Service<Request<Incoming>> for Served {
    type Response = Response<Answer>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let at_work = AtWork::begin(&self.places, self.number);
        let answer = self.routes.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| Answer {
                body,
                _at_work: at_work,
            }))
        })
    }
}

/// An answer's body, whose connection is at work until it is sent.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _at_work: AtWork,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        hyper::body::Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_address_has_its_share() {
        let places = Arc::new(Places::default());
        let mut held: Vec<_> = (0..MAX_OF_ONE)
            .map(|_| Places::take(&places, address(1)).unwrap())
            .collect();
        assert!(Places::take(&places, address(1)).is_none());
        assert!(Places::take(&places, address(2)).is_some());
        held.pop();
        assert!(Places::take(&places, address(1)).is_some());
        drop(held);
        assert!(places.is_empty());
    }

    #[test]
    fn the_one_that_rests_longest_makes_room() {
        let places = Arc::new(Places::default());
        let start = Instant::now();
        let take = |last, seconds| {
            Places::take_at(&places, address(last), start + Duration::from_secs(seconds))
        };
        let other = take(2, 0).unwrap();
        let held: Vec<_> = (0..MAX_OF_ONE).map(|_| take(1, 0).unwrap()).collect();
        let working = AtWork::begin(&places, held[0].number);
        let open = |place: &Place| places.lock().connections.contains_key(&place.number);
        let newest = take(1, 2).expect("room from one at rest");
        let closed: Vec<_> = (0..MAX_OF_ONE).filter(|&i| !open(&held[i])).collect();
        assert_eq!(closed, [1], "the first is at work");
        assert!(open(&other) && open(&newest));
        drop(working);
        // It has just worked: the next goes first.
        drop(take(1, 2).expect("room"));
        assert!(open(&held[0]) && !open(&held[2]));
    }

    #[test]
    fn all_at_work_keep_their_places() {
        let places = Arc::new(Places::default());
        let later = Instant::now() + Duration::from_mins(1);
        let held: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|i| Places::take(&places, address((i % 200) as u8)).unwrap())
            .collect();
        let working: Vec<_> = held
            .iter()
            .map(|place| AtWork::begin(&places, place.number))
            .collect();
        assert!(Places::take_at(&places, address(250), later).is_none());
        drop(working);
        let later = Instant::now() + Duration::from_mins(1);
        assert!(Places::take_at(&places, address(250), later).is_some());
    }
}
