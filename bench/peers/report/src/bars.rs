//! Bars of throughput and of CPU by message: one bar a configuration, grouped by class, on a scale
//! of powers of ten. A fine line shows least and greatest of the rounds.

use std::path::Path;

use anyhow::Result;
use peer_measure::{Class, Row, Work};

use crate::canvas::{Area, INK, LINE, QUIET, Side};
use crate::canvas::{block, class_colour, letters, page, pale, path, pixels, text};
use crate::rows::{Gathered, Series, Spread};
use crate::summary::{class, figure, in_order, millions};

const WIDTH: i32 = 1000;
const LEFT: i32 = 260;
const RIGHT: i32 = 900;
const TOP: i32 = 78;
const ROW: i32 = 24;
const GROUP: i32 = 30;

/// What a plot of bars shows.
struct Plot {
    title: &'static str,
    under: &'static str,
    figure: fn(&Row) -> f64,
    shown: fn(f64) -> String,
    /// More is better: the best of a class is on top either way.
    rises: bool,
}

/// Messages delivered a second.
pub(crate) fn throughput(gathered: &Gathered, file: &Path) -> Result<()> {
    let plot = Plot {
        title: "Messages delivered a second (64 bytes, one publisher, one receiver)",
        under: "log scale · more is better · bar: median, line: least to greatest",
        figure: |row| row.delivered_per_s,
        shown: millions,
        rises: true,
    };
    plot.draw(gathered, file)
}

/// CPU time by message.
pub(crate) fn cpu(gathered: &Gathered, file: &Path) -> Result<()> {
    let plot = Plot {
        title: "CPU time for each message delivered, µs (all processes, user and system)",
        under: "log scale · less is better · bar: median, line: least to greatest",
        figure: |row| row.cpu_us_per_message,
        shown: figure,
        rises: false,
    };
    plot.draw(gathered, file)
}

/// A scale of powers of ten between two pixels.
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    /// Whole powers of ten around all values.
    fn around(values: &[Spread]) -> Self {
        let least = values.iter().map(|spread| spread.least).fold(f64::INFINITY, f64::min);
        let greatest = values.iter().map(|spread| spread.greatest).fold(0.0, f64::max);
        let from = least.max(1e-6).log10().floor();
        Self { from, to: greatest.max(1e-5).log10().ceil().max(from + 1.0) }
    }

    fn at(&self, value: f64) -> i32 {
        let share = (value.max(1e-9).log10() - self.from) / (self.to - self.from);
        LEFT + pixels(share.clamp(0.0, 1.0) * f64::from(RIGHT - LEFT))
    }

    fn powers(&self) -> impl Iterator<Item = f64> {
        let from = pixels(self.from);
        (from..=pixels(self.to)).map(|power| 10_f64.powi(power))
    }
}

impl Plot {
    fn draw(&self, gathered: &Gathered, file: &Path) -> Result<()> {
        let mut series = in_order(gathered, Work::Throughput);
        if !self.rises {
            let median = |series: &Series| series.spread(self.figure).median;
            series.sort_by(|a, b| {
                let classes = a.first().class.cmp(&b.first().class);
                classes.then(median(a).total_cmp(&median(b)))
            });
        }
        if series.is_empty() {
            return Ok(());
        }
        let spreads: Vec<Spread> = series.iter().map(|one| one.spread(self.figure)).collect();
        let scale = Scale::around(&spreads);
        let classes = series.chunk_by(|a, b| a.first().class == b.first().class).count();
        let rows = i32::try_from(series.len())? * ROW + i32::try_from(classes)? * GROUP;
        let height = TOP + rows + 40;
        let area = page(file, WIDTH.unsigned_abs(), height.unsigned_abs())?;
        text(&area, self.title, (20, 26), &letters(18, INK, true, Side::Right))?;
        text(&area, self.under, (20, 50), &letters(13, QUIET, false, Side::Right))?;
        self.grid(&area, &scale, TOP + rows)?;
        let (mut down, mut last) = (TOP, None);
        for (one, spread) in series.iter().zip(&spreads) {
            let group = one.first().class;
            if last != Some(group) {
                heading(&area, group, down)?;
                (down, last) = (down + GROUP, Some(group));
            }
            self.bar(&area, one, (spread, &scale), down)?;
            down += ROW;
        }
        area.present().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn grid(&self, area: &Area<'_>, scale: &Scale, bottom: i32) -> Result<()> {
        for power in scale.powers() {
            let across = scale.at(power);
            path(area, vec![(across, TOP), (across, bottom + 6)], LINE, 1)?;
            let label = match (self.shown)(power) {
                label if power < 1.0 => label.trim_end_matches('0').to_owned(),
                label => label.replace(".00", "").replace(".0", ""),
            };
            text(area, &label, (across, bottom + 20), &letters(12, QUIET, false, Side::Middle))?;
        }
        Ok(())
    }

    fn bar(
        &self,
        area: &Area<'_>,
        series: &Series,
        (spread, scale): (&Spread, &Scale),
        down: i32,
    ) -> Result<()> {
        let (ours, middle) = (series.is_ours(), down + ROW / 2);
        let full = if series.is_bare() { QUIET } else { class_colour(series.first().class) };
        let colour = if ours { full } else { pale(full) };
        let end = scale.at(spread.median);
        block(area, [(LEFT, down + 4), (end, down + ROW - 4)], colour)?;
        let (from, to) = (scale.at(spread.least), scale.at(spread.greatest));
        path(area, vec![(from, middle), (to, middle)], INK, 1)?;
        for across in [from, to] {
            path(area, vec![(across, middle - 3), (across, middle + 3)], INK, 1)?;
        }
        let name = letters(13, INK, ours, Side::Left);
        text(area, &series.name(), (LEFT - 10, middle), &name)?;
        let value = letters(13, INK, ours, Side::Right);
        text(area, &(self.shown)(spread.median), (to.max(end) + 8, middle), &value)
    }
}

fn heading(area: &Area<'_>, group: Class, down: i32) -> Result<()> {
    let style = letters(13, class_colour(group), true, Side::Right);
    text(area, &class(group).to_uppercase(), (20, down + GROUP - 10), &style)?;
    path(area, vec![(20, down + GROUP - 1), (RIGHT, down + GROUP - 1)], LINE, 1)
}
