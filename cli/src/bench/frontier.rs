//! What latency costs in CPU: events that are due evenly at a rate, published each flush interval,
//! at several intervals; the product and a raw loop of the same wake-ups in alternating slices.
//!
//! The publishing thread sleeps until an absolute time, publishes all that has become due, drives
//! its node and sleeps again; the receiving node's worker parks. The raw loop has the same timer,
//! one packed send of the same bytes, and a receiver that sleeps in epoll. Latency counts from the
//! time an event was due.

use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use wireloom::{Clock, Node, Target};

use super::bare::RawSender;
use super::event::{BenchEvent, FIXED_PAYLOAD_BYTES};
use super::figures::real;
use super::frontier_report::{Frontier, Point};
use super::machine::{Machine, peak_rss_bytes, pin, process_cpu_ns};
use super::peer::{Peer, PeerPlan, PeerWork, Question};
use super::place::{Place, PlaceArgs, measured_ns};
use super::publish::Pump;
use super::receive::Driven;
use super::report::CrossLedger;
use crate::output::Output;
use crate::values::{duration, rate};

/// The flush intervals, in µs.
const INTERVALS_US: [u64; 8] = [250, 320, 500, 1_000, 1_250, 1_500, 2_000, 4_000];
/// Times the whole series is gone through.
const ROUNDS: u64 = 2;
/// One event in so many is timed: a reading of the clock for each would cost as much CPU as the
/// rest. It divides no number of events that a flush interval holds at a round rate.
const TIMED_EVERY: u64 = 7;
/// How long both go before they are measured.
const WARM_UP_NS: u64 = 100_000_000;
/// Silence in which the sender marks how far its stream has come, before the end.
const TAIL_NS: u64 = 12_000_000;
const PACKET_BYTES: usize = 1_400;

/// Options of the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct FrontierArgs {
    /// Events per second (100000, 20k, 1M)
    #[arg(long, value_name = "RATE", default_value = "100k", value_parser = rate)]
    rate: f64,
    /// How long to measure each of the eight flush intervals; the raw loop takes as long again
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    duration: Duration,
    /// Draw the curves into this file as well
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    svg: Option<PathBuf>,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

/// Runs the mode.
pub(super) fn run(args: &FrontierArgs, output: &Output) -> Result<Frontier> {
    let place = Place::check(&args.place)?;
    let slice_ns = measured_ns(args.duration)?.div_ceil(ROUNDS);
    let machine = Machine::read();
    // Before the work: a wrong name is told now.
    let create = |path: &PathBuf| {
        let cannot = || format!("--svg {}: cannot write it", path.display());
        File::create(path).with_context(cannot)
    };
    let drawing = args.svg.as_ref().map(create).transpose()?;
    let mut run = Run::prepare(&place, args.rate)?;
    let mut points: Vec<Point> = INTERVALS_US.map(Point::new).into();
    output.progress("warming up");
    for side in [Side::Raw, Side::Product] {
        run.slice(side, 1_000_000, WARM_UP_NS.min(slice_ns))?;
    }
    for round in 1..=ROUNDS {
        for point in &mut points {
            let interval_us = point.interval_us;
            output.progress(&format!("round {round} of {ROUNDS}, flush each {interval_us} µs"));
            point.raw.add(&run.slice(Side::Raw, interval_us * 1_000, slice_ns)?);
            point.product.add(&run.slice(Side::Product, interval_us * 1_000, slice_ns)?);
        }
    }
    output.progress("");
    let mut found = run.finish(points, args.rate, place.cores)?;
    found.machine = machine;
    if let Some(mut file) = drawing {
        file.write_all(found.plot().svg().as_bytes()).context("--svg: cannot write it")?;
    }
    Ok(found)
}

/// Which of the two goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Product,
    Raw,
}

/// What one slice found.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) elapsed_ns: u64,
    pub(super) publisher_cpu_ns: u64,
    pub(super) receiver_cpu_ns: u64,
    pub(super) publisher_wakes: u64,
    pub(super) receiver_wakes: u64,
    pub(super) times: super::times::Counted,
}

/// When each event is due, by its number in the slice.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    from_ns: u64,
    events_per_s: f64,
}

impl Schedule {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, whole")]
    fn due_ns(self, number: u64) -> u64 {
        self.from_ns + (real(number + 1) * 1e9 / self.events_per_s) as u64
    }

    /// How many are due by then.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, whole")]
    fn due(self, now_ns: u64) -> u64 {
        (real(now_ns.saturating_sub(self.from_ns)) * self.events_per_s / 1e9) as u64
    }
}

struct Run {
    node: Driven,
    pump: Pump<BenchEvent>,
    peer: Peer,
    raw: RawSender,
    raw_peer: Peer,
    frame_bytes: usize,
    rate: f64,
    clock: Clock,
}

impl Run {
    fn prepare(place: &Place, rate: f64) -> Result<Self> {
        let frame_bytes =
            wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + FIXED_PAYLOAD_BYTES);
        let plan = PeerPlan {
            core: place.core(1),
            frame_bytes,
            timed_every: TIMED_EVERY,
            ..PeerPlan::default()
        };
        let raw_plan = PeerPlan { work: PeerWork::Raw, ..plan.clone() };
        let (peer, raw_peer) = (Peer::start(&plan)?, Peer::start(&raw_plan)?);
        pin(place.core(0));
        // Timers of this thread end when they say, not up to 50 µs later: for both sides.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))
            .context("the timer slack of this thread")?;
        let builder = Node::builder("bench-frontier").packet_bytes(PACKET_BYTES);
        let mut node = Driven::start(builder, true)?;
        let publisher = node.node.publisher(&Target::Node(peer.address(&plan)))?;
        while node.drive() > 0 {}
        Ok(Self {
            node,
            pump: Pump::new(publisher, FIXED_PAYLOAD_BYTES, frame_bytes),
            raw: RawSender::new(raw_peer.address(&raw_plan), frame_bytes, PACKET_BYTES)?,
            peer,
            raw_peer,
            frame_bytes,
            rate,
            clock: Clock::system(),
        })
    }

    fn slice(&mut self, side: Side, interval_ns: u64, for_ns: u64) -> Result<Slice> {
        let from_ns = self.clock.now_ns();
        let before = self.peer_of(side).sample(Question::Run { timed_from_ns: from_ns })?;
        let cpu_ns = process_cpu_ns();
        let schedule = Schedule { from_ns: self.clock.now_ns(), events_per_s: self.rate };
        let publisher_wakes = self.flush_each(side, interval_ns, for_ns, schedule)?;
        let elapsed_ns = self.clock.now_ns() - schedule.from_ns;
        let publisher_cpu_ns = process_cpu_ns() - cpu_ns;
        let peer = self.peer_of(side);
        let after = peer.sample(Question::Sample)?;
        let times = peer.sample(Question::Pause)?.times;
        Ok(Slice {
            elapsed_ns,
            publisher_cpu_ns,
            receiver_cpu_ns: after.cpu_ns - before.cpu_ns,
            publisher_wakes,
            receiver_wakes: after.wakes - before.wakes,
            times,
        })
    }

    const fn peer_of(&mut self, side: Side) -> &mut Peer {
        match side {
            Side::Product => &mut self.peer,
            Side::Raw => &mut self.raw_peer,
        }
    }

    /// Sleeps and publishes until the time is over; returns how often it woke.
    fn flush_each(
        &mut self,
        side: Side,
        interval_ns: u64,
        for_ns: u64,
        schedule: Schedule,
    ) -> Result<u64> {
        let (mut published, mut wakes, mut now_ns) = (0, 0, schedule.from_ns);
        while now_ns - schedule.from_ns < for_ns {
            // Ticks that were missed are not made up for: what was due goes with the next.
            let ticks = (now_ns - schedule.from_ns) / interval_ns + 1;
            sleep_until(schedule.from_ns + ticks * interval_ns);
            wakes += 1;
            now_ns = self.clock.now_ns();
            let due = schedule.due(now_ns);
            let events = due - published;
            match side {
                Side::Raw => {
                    let first = self.raw.sequence();
                    let due_ns = |sequence| schedule.due_ns(published + sequence - first);
                    self.raw.send_packed(events, due_ns);
                }
                Side::Product => {
                    self.publish(events, |number| schedule.due_ns(published + number))?
                }
            }
            published = due;
        }
        Ok(wakes)
    }

    /// Publishes and sends; `due_ns` gives each event its time.
    fn publish(&mut self, events: u64, due_ns: impl Fn(u64) -> u64) -> Result<()> {
        let first = self.pump.accepted;
        while self.pump.accepted < first + events {
            let left = first + events - self.pump.accepted;
            self.pump.burst_of(left, |sequence| due_ns(sequence - first))?;
            // One turn sends what lies in one piece; the ring's end may be between.
            while self.node.drive() > 0 {}
        }
        Ok(())
    }

    fn finish(mut self, points: Vec<Point>, rate: f64, cores: Vec<usize>) -> Result<Frontier> {
        let until_ns = self.clock.now_ns() + TAIL_NS;
        while self.clock.now_ns() < until_ns {
            self.node.drive();
        }
        let notes = self.peer.notes.clone();
        let peak = peak_rss_bytes();
        let (own, _) = self.node.close();
        let (account, raw) = (self.peer.finish()?, self.raw_peer.finish()?);
        let mut found = Frontier::new(rate, points, &account);
        let (ledger, adds_up) = CrossLedger::between(&own.published, &account);
        found.ledger_balanced = adds_up && own.balanced && account.balanced;
        (found.ledger, found.frame_bytes) = (ledger, self.frame_bytes);
        found.published = self.pump.accepted;
        found.lost = found.published.saturating_sub(found.delivered + found.corrupt);
        found.raw_lost = self.raw.sequence().saturating_sub(raw.counts.delivered);
        found.peak_rss_bytes = super::figures::sides(peak, account.peak_rss_bytes);
        (found.cores, found.notes) = (cores, notes);
        Ok(found)
    }
}

/// Sleeps until a monotonic time.
fn sleep_until(at_ns: u64) {
    let at = rustix::time::Timespec {
        tv_sec: (at_ns / 1_000_000_000).cast_signed(),
        tv_nsec: (at_ns % 1_000_000_000).cast_signed(),
    };
    let clock = rustix::thread::ClockId::Monotonic;
    // Only a signal ends it early; the caller's loop then looks at the clock like after any other.
    let _ = rustix::thread::clock_nanosleep_absolute(clock, &at);
}
