//! A receipt: what became of one reliable event, to be asked, waited for, or awaited.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use wireloom_control::{Delivery, Tally, Undelivered};

/// Tells receipts apart that are waited for at the same time.
static WAITERS: AtomicU64 = AtomicU64::new(1);

/// What became of one event that was routed or published to a
/// [`Target::Reliable`](crate::Target::Reliable): [`Router::receipt`](crate::Router::receipt) and
/// [`Publisher::receipt`](crate::Publisher::receipt) give it.
///
/// It can be asked ([`Receipt::state`]: two loads), waited for by a thread ([`Receipt::wait`]), or
/// awaited in any async runtime: it is a future, woken by the control thread. Dropping it changes
/// nothing for the event. On a node that its caller drives, go on driving: nothing is settled
/// meanwhile.
///
/// ```
/// use wireloom::{Delivery, Event, Node, Target};
/// use std::time::Duration;
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(type = "order")]
/// struct Order { number: u64 }
///
/// let desk = Node::builder("desk").start()?;
/// desk.on::<Order>(|_order, _envelope| ())?;
///
/// let feed = Node::builder("feed").start()?;
/// let mut router = feed.router();
/// let accepted = router.route(&Order { number: 1 }, Target::Reliable(desk.address()))?;
/// let receipt = router.receipt(accepted).expect("the target is reliable");
/// assert_eq!(receipt.wait(Duration::from_secs(5)), Delivery::Delivered);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a receipt says nothing unless it is asked"]
pub struct Receipt {
    tally: Arc<Tally>,
    event: u64,
    waiter: u64,
    waits: bool,
}

impl Receipt {
    pub(crate) fn new(tally: Arc<Tally>, event: u64) -> Self {
        Self { tally, event, waiter: WAITERS.fetch_add(1, Ordering::Relaxed), waits: false }
    }

    /// What is known now. [`Delivery::Delivered`] means that the handlers of the receiving node, or
    /// their rings, have taken the event.
    #[must_use]
    pub fn state(&self) -> Delivery {
        self.tally.delivery(self.event)
    }

    /// Waits until the event is settled, at most this long: [`Delivery::Pending`] then. Blocks the
    /// thread; not for handlers, which run on the worker.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> Delivery {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let until = Instant::now().checked_add(timeout);
        // Its own number: the future of this receipt may be waited for too.
        let waiter = WAITERS.fetch_add(1, Ordering::Relaxed);
        while self.tally.wait(self.event, waiter, &waker) {
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => {
                    self.tally.forget(self.event, waiter);
                    return self.state();
                }
                Some(left) => std::thread::park_timeout(left),
                None => std::thread::park(),
            }
        }
        self.state()
    }
}

impl Future for Receipt {
    type Output = Result<(), Undelivered>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.waits = self.tally.wait(self.event, self.waiter, context.waker());
        match self.state() {
            Delivery::Pending => Poll::Pending,
            Delivery::Delivered => Poll::Ready(Ok(())),
            Delivery::Undelivered(reason) => Poll::Ready(Err(reason)),
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.waits {
            self.tally.forget(self.event, self.waiter);
        }
    }
}

/// Wakes a thread that waits for a promise.
pub(crate) struct Unpark(pub(crate) Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
