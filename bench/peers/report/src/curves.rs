//! Round-trip times by percentile, in the manner of HdrHistogram: each step to the right leaves ten
//! times fewer slower ones. One panel a system; Wireloom's curves stand in all of them.

use std::path::Path;

use anyhow::{Result, anyhow};
use peer_measure::Work;
use plotters::prelude::RGBColor;

use crate::canvas::{Area, INK, LINE, QUIET, Side};
use crate::canvas::{letters, page, path, pixels, text};
use crate::rows::{Gathered, Series};
use crate::summary::figure;

const PANEL_WIDTH: i32 = 500;
const PANEL_HEIGHT: i32 = 376;
const COLUMNS: usize = 2;
const TOP: i32 = 70;
/// Place of the curves inside a panel.
const LEFT: i32 = 56;
const RIGHT: i32 = PANEL_WIDTH - 16;
const UP: i32 = 90;
const DOWN: i32 = PANEL_HEIGHT - 40;
/// 50 %, 90 %, … 99.99 %: beyond that a run of 20,000 has two round trips left.
const NINES: i32 = 4;
const COLOURS: [RGBColor; 5] = [
    RGBColor(25, 113, 194),
    RGBColor(232, 119, 34),
    RGBColor(47, 158, 68),
    RGBColor(201, 42, 90),
    RGBColor(112, 72, 232),
];
const OURS: [RGBColor; 2] = [RGBColor(20, 20, 20), RGBColor(134, 142, 150)];

/// All panels on one page.
pub(crate) fn latency(gathered: &Gathered, file: &Path) -> Result<()> {
    let all: Vec<&Series> = gathered.of(Work::PingPong).collect();
    let ours: Vec<&Series> = all.iter().copied().filter(|series| series.is_ours()).collect();
    let mut systems: Vec<&str> = Vec::new();
    for series in all.iter().filter(|series| !series.is_ours()) {
        if !systems.contains(&series.first().system.as_str()) {
            systems.push(&series.first().system);
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    if systems.is_empty() {
        systems.push("wireloom");
    }
    let rows = i32::try_from(systems.len().div_ceil(COLUMNS))?;
    let width = PANEL_WIDTH * i32::try_from(COLUMNS)?;
    let height = TOP + rows * PANEL_HEIGHT;
    let area = page(file, width.unsigned_abs(), height.unsigned_abs())?;
    let title = "Round-trip time by percentile, µs (64 bytes there and back)";
    text(&area, title, (20, 26), &letters(18, INK, true, Side::Right))?;
    let under = "log scales · lower is better · median of rounds · black, grey: Wireloom · (p50)";
    text(&area, under, (20, 50), &letters(13, QUIET, false, Side::Right))?;
    let scale = Scale::around(&all);
    for (index, system) in systems.iter().enumerate() {
        let (column, row) = (i32::try_from(index % COLUMNS)?, i32::try_from(index / COLUMNS)?);
        let corner = (column * PANEL_WIDTH, TOP + row * PANEL_HEIGHT);
        let panel = Panel { area: &area, scale: &scale, corner };
        panel.frame(system)?;
        let theirs = all.iter().copied().filter(|series| series.first().system == *system);
        panel.curves(&theirs.filter(|series| !series.is_ours()).collect::<Vec<_>>(), &ours)?;
    }
    area.present().map_err(|error| anyhow!("{error}"))
}

/// Powers of ten of microseconds, the same in every panel.
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    fn around(all: &[&Series]) -> Self {
        let shares = [0.0, 0.5, share_at(f64::from(NINES))];
        let times = all.iter().flat_map(|series| shares.map(|share| series.time_us(share)));
        let times: Vec<f64> = times.collect();
        let least = times.iter().copied().fold(f64::INFINITY, f64::min).max(0.01);
        let greatest = times.iter().copied().fold(0.0, f64::max).max(0.1);
        let from = least.log10().floor();
        Self { from, to: greatest.log10().ceil().max(from + 1.0) }
    }
}

/// The share of round trips below so many nines: 0 is 0 %, 1 is 90 %, 2 is 99 %.
fn share_at(nines: f64) -> f64 {
    1.0 - 10_f64.powf(-nines)
}

struct Panel<'a, 'page> {
    area: &'a Area<'page>,
    scale: &'a Scale,
    corner: (i32, i32),
}

impl Panel<'_, '_> {
    fn across(&self, nines: f64) -> i32 {
        self.corner.0 + LEFT + pixels(nines / f64::from(NINES) * f64::from(RIGHT - LEFT))
    }

    fn up(&self, time_us: f64) -> i32 {
        let Scale { from, to } = self.scale;
        let share = ((time_us.max(1e-3).log10() - from) / (to - from)).clamp(0.0, 1.0);
        self.corner.1 + DOWN - pixels(share * f64::from(DOWN - UP))
    }

    fn frame(&self, system: &str) -> Result<()> {
        let (left, up) = self.corner;
        let title = letters(15, INK, true, Side::Right);
        text(self.area, system, (left + LEFT, up + 22), &title)?;
        let quiet = |side| letters(12, QUIET, false, side);
        for (nines, label) in
            [(0.0, "0 %"), (0.301, "50 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %")]
                .into_iter()
                .chain([(4.0, "99.99 %")])
        {
            let across = self.across(nines);
            path(self.area, vec![(across, up + UP), (across, up + DOWN)], LINE, 1)?;
            let side = if nines >= f64::from(NINES) { Side::Left } else { Side::Middle };
            let nudge = if nines >= f64::from(NINES) { 12 } else { 0 };
            text(self.area, label, (across + nudge, up + DOWN + 14), &quiet(side))?;
        }
        for power in pixels(self.scale.from)..=pixels(self.scale.to) {
            let time_us = 10_f64.powi(power);
            let down = self.up(time_us);
            path(self.area, vec![(left + LEFT, down), (left + RIGHT, down)], LINE, 1)?;
            text(self.area, &label_us(time_us), (left + LEFT - 6, down), &quiet(Side::Left))?;
        }
        Ok(())
    }

    fn curves(&self, theirs: &[&Series], ours: &[&Series]) -> Result<()> {
        let ours = || ours.iter().zip(OURS.into_iter().cycle());
        for (series, colour) in ours() {
            self.curve(series, colour, 3)?;
        }
        let mut place = 0;
        for (series, colour) in theirs.iter().zip(COLOURS.into_iter().cycle()) {
            self.curve(series, colour, 2)?;
            let p50 = figure(series.time_us(0.5));
            self.key(&format!("{} ({p50})", series.first().config), colour, place)?;
            place += 1;
        }
        for (series, colour) in ours() {
            let (name, p50) = (&series.first().config, figure(series.time_us(0.5)));
            let name = name.trim_start_matches("pingpong-");
            self.key(&format!("wireloom {name} ({p50})"), colour, place)?;
            place += 1;
        }
        Ok(())
    }

    /// An entry of the key, three side by side above the curves.
    fn key(&self, label: &str, colour: RGBColor, place: i32) -> Result<()> {
        let left = self.corner.0 + LEFT + place % 3 * ((RIGHT - LEFT) / 3);
        let down = self.corner.1 + 42 + place / 3 * 16;
        path(self.area, vec![(left, down), (left + 16, down)], colour, 3)?;
        text(self.area, label, (left + 21, down), &letters(11, INK, false, Side::Right))
    }

    /// Eight steps for each nine, as far as the run has round trips; where only a few percentiles
    /// were printed, straight lines between those.
    fn curve(&self, series: &Series, colour: RGBColor, width: u32) -> Result<()> {
        let printed = &series.first().curve_us;
        let nines: Vec<f64> = if printed.len() <= 4 {
            printed.iter().map(|[share, _]| -(1.0 - share).log10()).collect()
        } else {
            (0..=NINES * 8).map(|step| f64::from(step) / 8.0).collect()
        };
        let place = |nines: f64| (self.across(nines), self.up(series.time_us(share_at(nines))));
        path(self.area, nines.into_iter().map(place).collect(), colour, width)
    }
}

fn label_us(time_us: f64) -> String {
    match time_us {
        1e6.. => format!("{} s", time_us / 1e6),
        1e3.. => format!("{} ms", time_us / 1e3),
        _ => format!("{time_us} µs"),
    }
}
