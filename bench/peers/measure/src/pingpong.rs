//! Round trips: one message there and back, the next only when the last is back.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::child::{Other, Question};
use crate::event::{MESSAGE_BYTES, fill, read};
use crate::figures::{curve, histogram, nanoseconds, ratio, real, rounded};
use crate::peer::{Pinging, until};
use crate::processes::Processes;
use crate::row::{Percentiles, Row};

/// Round trips before the measured ones, as a share of them.
const WARM_UP_SHARE: u64 = 10;
const WARM_UP_MAX: Duration = Duration::from_secs(3);
/// How long an echo may take; then the message is lost and the next one goes.
const ECHO_MAX: Duration = Duration::from_millis(100);
/// How long all round trips together take at least: the kernel counts CPU in steps of 10 ms.
const TIME_MIN: Duration = Duration::from_millis(500);
/// How long they may take.
const TIME_MAX: Duration = Duration::from_secs(15);

/// Measures `round_trips`, more where [`TIME_MIN`] holds more, as many as [`TIME_MAX`] holds.
pub(crate) fn measure(
    ping: impl Pinging,
    answering: &mut Other,
    processes: &Processes,
    round_trips: u64,
    row: &mut Row,
) -> Result<()> {
    let mut pings = Pings { ping, next: 0, began: Instant::now(), corrupt: 0 };
    until("the first echo never arrived", || Ok(pings.round_trip()?.is_some()))?;
    let (warm_up, began) = (round_trips / WARM_UP_SHARE, Instant::now());
    while pings.next < warm_up && began.elapsed() < WARM_UP_MAX {
        pings.round_trip()?;
    }
    answering.ask(Question::Begin { from: pings.next })?;
    let (from, cpu_before_ms, began) = (pings.next, processes.cpu_ms(), Instant::now());
    (pings.corrupt, row.lost) = (0, 0);
    let mut times = histogram();
    loop {
        let (count, time) = (times.len() + row.lost, began.elapsed());
        if (count >= round_trips && time >= TIME_MIN) || time >= TIME_MAX {
            break;
        }
        match pings.round_trip()? {
            Some(time) => times.record(nanoseconds(time).max(1))?,
            None => row.lost += 1,
        }
    }
    let (elapsed, cpu_ms) = (began.elapsed(), processes.cpu_ms());
    if times.is_empty() {
        bail!("no message came back");
    }
    let counts = answering.ask(Question::Sample)?.counts;
    row.seconds = rounded(elapsed.as_secs_f64());
    row.published = pings.next - from;
    row.delivered = times.len();
    (row.duplicated, row.late) = (counts.duplicated, counts.late);
    row.corrupt = counts.corrupt + pings.corrupt;
    row.delivered_per_s = ratio(real(row.delivered), elapsed.as_secs_f64()).round();
    for (name, after_ms) in cpu_ms {
        let used_ms = real(after_ms - cpu_before_ms.get(&name).unwrap_or(&0));
        row.cpu_us_per_message += used_ms * 1e3 / real(row.delivered);
        row.cpu_percent.insert(name, rounded(ratio(used_ms, elapsed.as_secs_f64() * 10.0)));
    }
    row.cpu_us_per_message = rounded(row.cpu_us_per_message);
    row.round_trip_us = Some(Percentiles::of(&times));
    row.curve_us = curve(&times);
    Ok(())
}

struct Pings<P> {
    ping: P,
    next: u64,
    began: Instant,
    corrupt: u64,
}

impl<P: Pinging> Pings<P> {
    /// Sends the next message; the time until its echo was checked, or none when it did not come.
    fn round_trip(&mut self) -> Result<Option<Duration>> {
        let mut message = [0; MESSAGE_BYTES];
        let sequence = self.next;
        self.next += 1;
        let sent = Instant::now();
        fill(&mut message, sequence, nanoseconds(sent - self.began));
        self.ping.send(&message)?;
        let (mut is_back, mut corrupt) = (false, 0);
        loop {
            self.ping.receive(&mut |bytes| {
                let reading = read(bytes);
                is_back |= reading.intact && reading.sequence == sequence;
                corrupt += u64::from(!reading.intact);
            })?;
            let time = sent.elapsed();
            if is_back || time > ECHO_MAX {
                self.corrupt += corrupt;
                return Ok(is_back.then_some(time));
            }
        }
    }
}
