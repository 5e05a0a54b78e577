//! Which span the thread is in: a cell of the thread, read by routers and by what begins a span.
//!
//! Whoever enters a context leaves it before anybody else sees the thread again, a panic included.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;

use wireloom_wire::TraceContext;

use crate::jtag::is_identity;

thread_local! {
    static CURRENT: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

/// The span this thread is in; events routed now belong to it. About 1 ns: one thread-local read.
#[inline]
#[must_use]
pub fn current() -> Option<TraceContext> {
    CURRENT.get()
}

/// The thread is in a context until this is dropped, and then in the one before.
#[derive(Debug)]
pub(crate) struct Entered {
    before: Option<TraceContext>,
}

impl Entered {
    /// Enters a context of this process's own.
    #[inline]
    pub(crate) fn new(context: Option<TraceContext>) -> Self {
        Self { before: CURRENT.replace(context) }
    }

    /// What was entered from `below`, which is left before this: it is as if it never was.
    #[cfg(feature = "tracing")]
    pub(crate) fn skip(&mut self, below: Self) {
        self.before = below.before;
        std::mem::forget(below);
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Enters the trace of an event that a handler is to run for, if it has one.
#[inline]
pub(crate) fn enter_event(trace: Option<TraceContext>) -> Option<Entered> {
    trace.map(|trace| Entered::new(from_outside(trace)))
}

/// A context as it came, if it is one. Nobody has a trace whose id is zero; and what a legacy event
/// is known by must stand on no other event.
fn from_outside(context: TraceContext) -> Option<TraceContext> {
    let is_own = context.trace_id != [0; 16] && (context.sampled || !is_identity(context));
    is_own.then_some(context)
}

/// Runs `work` as a part of the trace that `context` names: spans begun in it are its children,
/// events routed in it belong to it. `None` runs it outside any trace. About 3 ns.
///
/// Handlers of [`Node::on`](crate::Node::on) need no such call: they run in the trace of their
/// event. This is for what polls a [`Subscriber`](crate::Subscriber), and for a trace that comes
/// from elsewhere.
///
/// ```
/// use wireloom::trace::{self, Traceparent};
///
/// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context = header.parse::<Traceparent>()?.0;
/// trace::follow(context, || assert_eq!(trace::current(), Some(context)));
/// assert_eq!(trace::current(), None);
/// # Ok::<(), trace::TraceparentError>(())
/// ```
#[inline]
pub fn follow<R>(context: impl Into<Option<TraceContext>>, work: impl FnOnce() -> R) -> R {
    let _entered = Entered::new(context.into().and_then(from_outside));
    work()
}

/// A future that stays in the trace this thread is in now, whichever thread polls it: for what is
/// given to an executor.
///
/// ```
/// # fn spawn(_: impl Future + Send + 'static) {}
/// # async fn send_mail() {}
/// # use std::future::Future;
/// spawn(wireloom::trace::carry(send_mail()));
/// ```
pub fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let context = current();
    async move {
        let mut future = pin!(future);
        poll_fn(|polled| {
            let _entered = Entered::new(context);
            future.as_mut().poll(polled)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTER: TraceContext = TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled: true };

    #[test]
    fn what_is_entered_is_left_even_by_a_panic() {
        follow(OUTER, || {
            let inner = TraceContext { span_id: [3; 8], ..OUTER };
            let died = std::panic::catch_unwind(|| follow(inner, || panic!("on purpose")));
            assert!(died.is_err());
            assert_eq!(current(), Some(OUTER));
            follow(None, || assert_eq!(current(), None));
        });
        assert_eq!(current(), None);
    }

    #[test]
    fn a_context_without_a_trace_is_none() {
        follow(TraceContext { span_id: [3; 8], ..TraceContext::default() }, || {
            assert_eq!(current(), None);
        });
    }
}
