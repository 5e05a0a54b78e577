//! Links that are cut while events flow: everything arrives, once, in order.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use wireloom::{ReliableSettings, Target};

use crate::support::{Numbered, Seen, again, eventually, node, patiently};

/// Passes bytes on between who dials it and `to`, and cuts each link after some of them.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    fn new(to: SocketAddr, cuts_max: usize) -> Self {
        Self::within(to, cuts_max, 40_000)
    }

    /// Cuts each of the first links after at most so many bytes.
    pub(crate) fn within(to: SocketAddr, cuts_max: usize, bytes_max: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (cuts, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (made, ends) = (Arc::clone(&cuts), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut random = 0x9e37_79b9_u64;
            for near in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let last = made.load(Ordering::Relaxed) >= cuts_max;
                let bytes = if last { u64::MAX } else { 1 + (random >> 33) % bytes_max };
                let far = TcpStream::connect(to).expect("the node listens");
                pass_on(near, far, bytes, &made);
            }
        });
        Self { address, cuts, stop }
    }

    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Both directions until so many bytes have gone to the far side; then both ends are shut.
fn pass_on(near: TcpStream, far: TcpStream, mut bytes: u64, cuts: &Arc<AtomicUsize>) {
    let (mut back_from, mut back_to) =
        (far.try_clone().expect("a socket"), near.try_clone().expect("a socket"));
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = back_from.read(&mut buffer) {
            if back_to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
    });
    let cuts = Arc::clone(cuts);
    std::thread::spawn(move || {
        let (mut near, mut far) = (near, far);
        let mut buffer = [0; 16_384];
        while let Ok(read @ 1..) = near.read(&mut buffer) {
            let passed = bytes.min(read as u64);
            let whole = usize::try_from(passed).expect("at most a buffer");
            if far.write_all(&buffer[..whole]).is_err() {
                break;
            }
            bytes -= passed;
            if bytes == 0 {
                cuts.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        let _ = (near.shutdown(Shutdown::Both), far.shutdown(Shutdown::Both));
    });
}

#[test]
fn a_hundred_cuts_lose_nothing_double_nothing_and_keep_the_order() {
    let desk = node("desk").start().expect("starts");
    let seen = Seen::by(&desk);
    let settings = ReliableSettings {
        attempts: u32::MAX,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        ..ReliableSettings::default()
    };
    let feed = node("feed").reliable(settings).start().expect("starts");
    let proxy = Proxy::new(desk.address(), 100);
    let target = Target::Reliable(proxy.address);
    let mut publisher = feed.publisher::<Numbered>(&target).expect("a route");
    let mut events = 0;
    while proxy.cuts() < 100 {
        for _ in 0..50 {
            patiently(|| publisher.publish(&Numbered::new(events)));
            events += 1;
        }
    }
    eventually("every acknowledgement", || feed.ledger().reliable.in_flight == 0);
    assert_eq!(seen.numbers(), (0..events).collect::<Vec<_>>());
    let ledger = feed.ledger();
    assert!(ledger.balanced && ledger.reliable.delivered == events, "{ledger:?}");
    let resent = feed.counters().into_iter().find(|(meaning, _)| meaning.name == "packets_resent");
    assert!(resent.is_some_and(|(_, packets)| packets > 10), "links were cut with packets on them");
}

#[test]
fn a_receiver_that_starts_again_gets_everything_and_nothing_it_had_acknowledged() {
    let desk = node("desk").start().expect("starts");
    let address = desk.address();
    let first = Seen::by(&desk);
    let settings = ReliableSettings {
        attempts: u32::MAX,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(20),
        // Room for all that nobody takes while nobody is there.
        ring_bytes: 8 << 20,
        ..ReliableSettings::default()
    };
    let feed = node("feed").reliable(settings).start().expect("starts");
    let mut publisher = feed.publisher::<Numbered>(&Target::Reliable(address)).expect("a route");
    let publish = |publisher: &mut wireloom::Publisher<Numbered>, numbers| {
        for number in numbers {
            patiently(|| publisher.publish(&Numbered::new(number)));
        }
    };
    publish(&mut publisher, 0..20_000);
    first.wait_for(1);
    drop(desk);
    let acknowledged = feed.ledger().reliable.delivered;
    publish(&mut publisher, 20_000..21_000);
    let desk = again("desk", address).start().expect("starts again");
    let second = Seen::by(&desk);
    desk.accept().expect("it runs");
    publish(&mut publisher, 21_000..40_000);
    eventually("every acknowledgement", || feed.ledger().reliable.in_flight == 0);
    let (first, second) = (first.numbers(), second.numbers());
    assert_eq!(first, (0..first.len() as u64).collect::<Vec<_>>());
    let begin = second[0];
    assert_eq!(second, (begin..40_000).collect::<Vec<_>>(), "in order, to the end");
    assert!(begin <= first.len() as u64, "{begin}: nothing is missing in between");
    assert!(begin >= acknowledged, "{begin}: what was acknowledged is not sent again");
}
