//! Each way in which a request ends without a reply has a name, and comes in time.

use std::time::{Duration, Instant};

use wireloom::{Failure, Node, RequestError, SubscribeError, Target};

use crate::{PATIENCE, Product, Sum, SumRequest, adds, asks, counter, eventually, start};

/// The same request with another shape, as another build would have it.
mod older {
    #[derive(wireloom::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(type = "sum-request")]
    pub(crate) struct SumRequest {
        pub(crate) number: u64,
    }
}

const NOBODY: RequestError = RequestError::NoResponder { request: "sum-request" };

#[test]
fn that_nobody_answers_is_known_at_once() {
    let (desk, client) = (start("desk"), start("client"));
    // Listening to the event, or to everything, is not answering.
    desk.on::<SumRequest>(|_, _| ()).expect("subscribes");
    let _everything = desk.subscribe_any(&[]).expect("subscribes");
    let mut router = client.router();
    for target in [Target::Node(desk.address()), Target::Reliable(desk.address()), Target::Local] {
        let begun = Instant::now();
        let reply = router.request::<_, Sum>(&asks(&[1]), &target, PATIENCE);
        assert_eq!(reply, Err(NOBODY), "{target}");
        assert!(begun.elapsed() < PATIENCE / 4, "{target}: {:?}", begun.elapsed());
    }
    assert_eq!((counter(&desk, "requests_denied"), counter(&client, "requests_denied")), (2, 1));
    // And from now on somebody does.
    adds(&desk);
    let target = Target::Node(desk.address());
    assert_eq!(router.request::<_, Sum>(&asks(&[1]), &target, PATIENCE).map(|of| of.total), Ok(1));
}

#[test]
fn a_silent_address_is_a_timeout_and_a_late_reply_is_counted() {
    let (desk, client) = (start("desk"), start("client"));
    desk.respond::<SumRequest, _>(|request, _envelope| {
        std::thread::sleep(Duration::from_millis(request.numbers[0].to_native()));
        Sum { total: 0, words: String::new() }
    })
    .expect("responds");
    let mut router = client.router();
    let timeout = Duration::from_millis(40);
    let late = RequestError::TimedOut { request: "sum-request", waited: timeout };
    let begun = Instant::now();
    let silent = Target::node("127.0.0.1:9");
    let reply = router.request::<_, Sum>(&asks(&[1]), &silent, timeout);
    assert_eq!(reply, Err(late.clone()));
    assert!(begun.elapsed() >= timeout);
    let target = Target::Node(desk.address());
    let reply = router.request::<_, Sum>(&asks(&[200]), &target, timeout);
    assert_eq!(reply, Err(late));
    eventually("the late reply", || counter(&client, "replies_late") == 1);
    assert_eq!(counter(&client, "requests_timed_out"), 2);
    // One that nobody waits for any more is late too.
    drop(router.begin_request::<_, Sum>(&asks(&[10]), &target, PATIENCE).expect("sent"));
    eventually("the late reply", || counter(&client, "replies_late") == 2);
    let reply = router.request::<_, Sum>(&asks(&[0]), &target, PATIENCE);
    assert_eq!(reply.map(|of| of.total), Ok(0), "the next one is not confused by it");
}

#[test]
fn what_the_responder_says_comes_back_by_name() {
    // The panics are meant.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |what| {
        if !std::thread::current().name().unwrap_or_default().starts_with("wl-") {
            tell(what);
        }
    }));
    let desk = Node::builder("desk").path_bytes(1_400).start().expect("starts");
    let client = start("client");
    desk.respond::<SumRequest, _>(|request, _envelope| match request.numbers.len() {
        0 => Err("nothing to add"),
        1 => panic!("one is no sum"),
        2 => Ok(Sum { total: 2, words: "many ".repeat(1_000) }),
        _ => Ok(Sum { total: 3, words: "more ".repeat(20_000) }),
    })
    .expect("responds");
    let mut router = client.router();
    for target in [Target::Node(desk.address()), Target::Reliable(desk.address())] {
        let mut ask = |numbers: &[u64]| {
            let reply = router.request::<_, Sum>(&asks(numbers), &target, PATIENCE);
            reply.map(|sum| sum.total)
        };
        let failed = |reason, message: &str| {
            let (request, message) = ("sum-request", message.to_owned());
            Err(RequestError::Failed { request, reason, message })
        };
        assert_eq!(ask(&[]), failed(Failure::Responder, "nothing to add"));
        assert_eq!(ask(&[1]), failed(Failure::Panicked, "one is no sum"));
        assert_eq!(ask(&[1, 2, 3]), failed(Failure::ReplyTooLarge, ""), "no ring holds it");
        let fits = match target {
            Target::Node(_) => failed(Failure::ReplyTooLarge, "for its way"),
            _ => Ok(2),
        };
        assert_eq!(ask(&[1, 2]), fits);
        let other = router.request::<_, Product>(&asks(&[]), &target, PATIENCE);
        let Err(RequestError::Failed { reason, message, .. }) = other else { panic!("{other:?}") };
        assert_eq!((reason, message.as_str()), (Failure::OtherReply, "sum"));
        let old = older::SumRequest { number: 1 };
        let old = router.request::<_, Sum>(&old, &target, PATIENCE);
        let Err(RequestError::Failed { reason, .. }) = old else { panic!("{old:?}") };
        assert_eq!(reason, Failure::Schema);
    }
    eventually("quiet", || desk.ledger().balanced);
    let ledger = desk.close();
    let handled = &ledger.handlers["sum-request"];
    assert_eq!((handled.panicked, handled.delivered, handled.refused), (2, 6, 4), "{ledger:?}");
}

#[test]
fn a_type_has_one_responder_at_a_time() {
    let desk = start("desk");
    let first = desk.respond::<SumRequest, _>(|_, _| Product { total: 1 }).expect("responds");
    let second = desk.respond::<SumRequest, _>(|_, _| Product { total: 2 });
    assert_eq!(second, Err(SubscribeError::AlreadyAnswered("sum-request")));
    let mut router = desk.router();
    let mut ask = || router.request::<_, Product>(&asks(&[]), Target::Local, PATIENCE);
    assert_eq!(ask(), Ok(Product { total: 1 }));
    desk.off(first).expect("the worker takes commands");
    assert_eq!(ask(), Err(NOBODY));
    desk.respond::<SumRequest, _>(|_, _| Product { total: 2 }).expect("responds");
    assert_eq!(ask(), Ok(Product { total: 2 }));
}

#[test]
fn the_table_of_requests_is_bounded_and_what_is_dropped_leaves_it() {
    let (client, target) = (start("client"), Target::node("127.0.0.1:9"));
    let mut router = client.router();
    let mut pending = Vec::new();
    let full = loop {
        match router.begin_request::<_, Sum>(&asks(&[]), &target, PATIENCE) {
            Ok(reply) => pending.push(reply),
            // The kernel is slower than this loop.
            Err(RequestError::Refused(_)) => std::thread::yield_now(),
            Err(other) => break other,
        }
    };
    assert_eq!((full, pending.len()), (RequestError::Exhausted(4096), 4096));
    pending.truncate(4095);
    eventually("room", || match router.begin_request::<_, Sum>(&asks(&[]), &target, PATIENCE) {
        Ok(reply) => {
            pending.push(reply);
            true
        }
        Err(RequestError::Refused(_)) => false,
        Err(other) => panic!("{other}"),
    });
}
