//! One call for every target, blocking and awaited, one at a time and many at once.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use wireloom::{Node, PendingReply, Ready, RequestError, Target};

use crate::{PATIENCE, Sum, SumRequest, adds, asks, eventually, start};

#[test]
fn by_datagram_reliably_and_within_the_process() {
    let (desk, client) = (start("desk"), start("client"));
    adds(&desk);
    adds(&client);
    let mut router = client.router();
    for target in [Target::Node(desk.address()), Target::Reliable(desk.address()), Target::Local] {
        for number in 0..50 {
            let sum: Sum = router.request(&asks(&[number, 7]), &target, PATIENCE).expect("a reply");
            assert_eq!(sum, Sum { total: number + 7, words: "sum ".into() }, "{target}");
        }
    }
    for node in [desk, client] {
        eventually("quiet", || node.ledger().received.local_in_flight == 0);
        let ledger = node.close();
        assert!(ledger.balanced, "{ledger:?}");
    }
}

#[test]
fn by_name_by_service_and_to_whoever_answers() {
    let cluster = format!("request-{}", std::process::id());
    let builder = |name: &str| Node::builder(name).cluster(&cluster);
    let desk = builder("desk").service("adding").start().expect("starts");
    adds(&desk);
    let seed = desk.address().to_string();
    // It listens on every interface: where it is to be reached, it finds out for each peer.
    let client =
        builder("client").seed(&seed).listen("0.0.0.0:0").insecure().start().expect("starts");
    let wanted = Ready::peers(1).and(Ready::services(["adding"]));
    assert_eq!(client.ready(&wanted, PATIENCE), Ok(()));
    let mut router = client.router();
    let targets = ["node:desk", "service:adding", "reliable:service:adding", "interested"];
    for target in targets {
        let target: Target = target.parse().expect("a target");
        let mut reply = Err(RequestError::Exhausted(0));
        // The interest of a member may come a moment after its name.
        eventually("a reply", || {
            reply = router.request::<_, Sum>(&asks(&[1, 2]), &target, PATIENCE);
            reply.is_ok()
        });
        assert_eq!(reply.expect("a reply").total, 3, "{target}");
    }
    let nobody = router.request::<_, Sum>(&asks(&[]), &Target::named("nobody"), PATIENCE);
    assert!(matches!(nobody, Err(RequestError::Refused(_))), "{nobody:?}");
    // Of the group nobody wants this type.
    let quiet = router.request::<Sum, Sum>(
        &Sum { total: 0, words: String::new() },
        &Target::Interested,
        PATIENCE,
    );
    assert_eq!(quiet, Err(RequestError::NoResponder { request: "sum" }));
}

#[test]
fn what_one_of_many_denies_another_may_reply() {
    let cluster = format!("deny-{}", std::process::id());
    let builder = |name: &str| Node::builder(name).cluster(&cluster);
    let desk = builder("desk").start().expect("starts");
    desk.respond::<SumRequest, _>(|_, _| {
        // The other's word comes first.
        thread::sleep(Duration::from_millis(20));
        Sum { total: 3, words: String::new() }
    })
    .expect("responds");
    let seed = desk.address().to_string();
    let [sour, client] = ["sour", "client"].map(|name| {
        let node = builder(name).seed(&seed).start().expect("starts");
        node.ready(&Ready::peers(1), PATIENCE).expect("it finds the others");
        node
    });
    sour.respond::<SumRequest, Result<Sum, &str>>(|_, _| Err("not here")).expect("responds");
    let mut router = client.router();
    let mut ask = || router.request::<_, Sum>(&asks(&[]), Target::Interested, PATIENCE);
    eventually("a reply", || ask().is_ok());
    eventually("both were asked", || {
        assert_eq!(ask().map(|sum| sum.total), Ok(3));
        sour.ledger().handlers["sum-request"].delivered > 0
    });
    assert_eq!(ask().map(|sum| sum.total), Ok(3));
}

/// Polls a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let (waker, begun) = (Waker::from(Arc::new(Unpark(thread::current()))), Instant::now());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => {
                assert!(begun.elapsed() < PATIENCE, "nobody wakes it");
                thread::park_timeout(PATIENCE);
            }
        }
    }
}

#[test]
fn many_at_once_are_awaited_in_any_order() {
    let (desk, client) = (start("desk"), start("client"));
    adds(&desk);
    let mut router = client.router();
    let target = Target::Reliable(desk.address());
    let pending: Vec<PendingReply<Sum>> = (0..200)
        .map(|number| router.begin_request(&asks(&[number]), &target, PATIENCE).expect("sent"))
        .collect();
    for (number, reply) in (0_u32..200).zip(pending).rev() {
        assert_eq!(block_on(reply).expect("a reply").total, u64::from(number));
    }
    // Awaited, its time comes as well.
    let nobody = Target::node("127.0.0.1:9");
    let timeout = Duration::from_millis(30);
    let late = router.begin_request::<_, Sum>(&asks(&[]), &nobody, timeout).expect("sent");
    assert_eq!(
        block_on(late),
        Err(RequestError::TimedOut { request: "sum-request", waited: timeout })
    );
}

#[test]
fn each_of_many_threads_gets_its_own_replies() {
    let (desk, client) = (start("desk"), start("client"));
    adds(&desk);
    let target = Target::Node(desk.address());
    thread::scope(|scope| {
        for thread in 0..4 {
            let (mut router, target) = (client.router(), &target);
            scope.spawn(move || {
                for number in 0..500 {
                    let numbers = [thread * 1_000_000, number];
                    let sum: Sum =
                        router.request(&asks(&numbers), target, PATIENCE).expect("a reply");
                    assert_eq!(sum.total, thread * 1_000_000 + number);
                }
            });
        }
    });
    let (asked, answered) = (client.close(), desk.close());
    assert!(asked.balanced && answered.balanced, "{asked:?} {answered:?}");
    assert_eq!(answered.handlers["sum-request"].delivered, 2_000);
}

#[test]
fn handlers_of_the_event_do_not_meet_the_request() {
    let desk = start("desk");
    let (says, said) = std::sync::mpsc::channel();
    desk.on::<SumRequest>(move |request, _| {
        let _ = says.send(request.numbers.len());
    })
    .expect("subscribes");
    adds(&desk);
    let mut router = desk.router();
    router.route(&asks(&[1, 2, 3]), Target::Local).expect("accepted");
    let sum: Sum = router.request(&asks(&[1, 2]), Target::Local, PATIENCE).expect("a reply");
    assert_eq!(sum.total, 3);
    assert_eq!(said.recv_timeout(PATIENCE), Ok(3));
    assert!(said.try_recv().is_err(), "the request reached it too");
}

#[test]
fn a_large_reply_goes_reliably() {
    let (desk, client) = (start("desk"), start("client"));
    adds(&desk);
    let request = SumRequest { numbers: vec![1; 5_000], repeat: 12_000 };
    let target = Target::Reliable(desk.address());
    let sum: Sum = client.router().request(&request, &target, PATIENCE).expect("a reply");
    assert_eq!((sum.total, sum.words.len()), (5_000, 48_000));
}
