//! Throughput: one side publishes as fast as it can for a time, the other counts.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::child::{Other, Question, Sample};
use crate::event::{MESSAGE_BYTES, fill};
use crate::figures::{nanoseconds, ratio, real, rounded};
use crate::peer::{Publishing, until};
use crate::processes::{ByProcess, Processes};
use crate::row::Row;

const WARM_UP: Duration = Duration::from_millis(200);
/// Silence after which a receiver takes what was sent to it as all there is.
const SILENCE: Duration = Duration::from_millis(300);
/// How long a queue or broker may take to give out what it holds at the end.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Messages that share one reading of the clock.
const BURST: u64 = 32;

/// Measures: joins, warms up, publishes for `time`, waits for what is on its way.
pub(crate) fn measure(
    publisher: impl Publishing,
    receiver: &mut Other,
    processes: &Processes,
    time: Duration,
    row: &mut Row,
) -> Result<()> {
    let mut flood = Flood { publisher, next: 0, refused: 0, began: Instant::now() };
    until("the first message never arrived", || {
        flood.offer()?;
        flood.publisher.flush()?;
        thread::sleep(Duration::from_millis(4));
        Ok(receiver.ask(Question::Sample)?.counts.delivered > 0)
    })?;
    flood.run(WARM_UP.min(time))?;
    flood.settle(receiver, processes, flood.next)?;

    let from = flood.next;
    flood.refused = 0;
    receiver.ask(Question::Begin { from })?;
    let cpu_before_ms = processes.cpu_ms();
    let began = Instant::now();
    flood.run(time)?;
    row.seconds = rounded(began.elapsed().as_secs_f64());
    row.published = flood.next - from;
    row.refused = flood.refused;
    let end = flood.settle(receiver, processes, row.published)?;
    account(row, &end, &cpu_before_ms, nanoseconds(end.at - began));
    Ok(())
}

/// The state of things when the last message was in.
struct End {
    sample: Sample,
    cpu_ms: ByProcess<u64>,
    at: Instant,
}

struct Flood<P> {
    publisher: P,
    next: u64,
    refused: u64,
    began: Instant,
}

impl<P: Publishing> Flood<P> {
    /// Offers the next message until it is taken or a second has passed.
    fn offer(&mut self) -> Result<()> {
        let mut message = [0; MESSAGE_BYTES];
        fill(&mut message, self.next, nanoseconds(self.began.elapsed()));
        let offered = Instant::now();
        while !self.publisher.offer(&message)? {
            if offered.elapsed() > Duration::from_secs(1) {
                return Ok(());
            }
            thread::yield_now();
        }
        self.next += 1;
        Ok(())
    }

    fn run(&mut self, time: Duration) -> Result<()> {
        let mut message = [0; MESSAGE_BYTES];
        let from = Instant::now();
        while from.elapsed() < time {
            let now_ns = nanoseconds(self.began.elapsed());
            for _ in 0..BURST {
                fill(&mut message, self.next, now_ns);
                if !self.publisher.offer(&message)? {
                    // The clock is read again, so that a peer that never has room cannot hold us.
                    self.refused += 1;
                    thread::yield_now();
                    break;
                }
                self.next += 1;
            }
        }
        self.publisher.flush()
    }

    /// Waits until `published` messages are in or nothing comes any more.
    fn settle(
        &mut self,
        receiver: &mut Other,
        processes: &Processes,
        published: u64,
    ) -> Result<End> {
        let deadline = Instant::now() + DRAIN_MAX;
        let mut end: Option<End> = None;
        loop {
            let (at, cpu_ms) = (Instant::now(), processes.cpu_ms());
            let sample = receiver.ask(Question::Sample)?;
            let seen = total(&sample);
            match &end {
                Some(last) if total(&last.sample) == seen => {
                    if at - last.at > SILENCE || at > deadline {
                        break;
                    }
                }
                _ => end = Some(End { sample, cpu_ms, at }),
            }
            if seen >= published {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let Some(end) = end else { bail!("the receiver gave no sample") };
        Ok(end)
    }
}

fn total(sample: &Sample) -> u64 {
    sample.counts.delivered + sample.counts.corrupt
}

fn account(row: &mut Row, end: &End, cpu_before_ms: &ByProcess<u64>, elapsed_ns: u64) {
    let counts = end.sample.counts;
    row.delivered = counts.delivered;
    row.lost = row.published.saturating_sub(total(&end.sample));
    (row.duplicated, row.corrupt, row.late) = (counts.duplicated, counts.corrupt, counts.late);
    let active_s = real(end.sample.active_ns) / 1e9;
    row.delivered_per_s = ratio(real(counts.delivered), active_s).round();
    let mut cpu_us = 0.0;
    for (name, after_ms) in &end.cpu_ms {
        let used_ms = after_ms.saturating_sub(*cpu_before_ms.get(name).unwrap_or(&0));
        cpu_us += real(used_ms) * 1e3;
        let percent = ratio(real(used_ms) * 1e8, real(elapsed_ns));
        row.cpu_percent.insert(name.clone(), rounded(percent));
    }
    row.cpu_us_per_message = rounded(ratio(cpu_us, real(counts.delivered)));
}
