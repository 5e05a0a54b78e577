//! The page that is filed with the rows: tables by class, and the ratios that the project aims at.

use std::fmt::Write as _;

use peer_measure::{Class, Row, Work};

use crate::rows::{Gathered, Series, Spread};

/// The whole page; `about` says how it was measured.
pub(crate) fn page(gathered: &Gathered, about: &str) -> String {
    let mut page = String::from("# Peers, measured in one run with Wireloom\n\n");
    let _ = writeln!(page, "{}\n", about.trim());
    page.push_str(
        "Messages of 64 bytes, each checked and counted by the receiver; publisher on core 0, \
         receiver on core 1; loopback. Medians of the rounds, least and greatest in brackets. CPU \
         is user and system time of all processes, RSS the largest process. Compare within a \
         class. Method: `bench/README.md`, \"Peers\". Raw rows: [rows.jsonl](rows.jsonl). Machine: \
         [machine.txt](machine.txt).\n\n",
    );
    throughput(&mut page, gathered);
    round_trips(&mut page, gathered);
    ratios(&mut page, gathered);
    if !gathered.missing.is_empty() {
        page.push_str("\n## Not measured\n\n");
        for (name, why) in &gathered.missing {
            let _ = writeln!(page, "- {name}: {why}");
        }
    }
    versions(&mut page, gathered);
    page
}

fn throughput(page: &mut String, gathered: &Gathered) {
    page.push_str(
        "## Throughput\n\n![messages a second](throughput.svg)\n\n![CPU](cpu.svg)\n\n\
         | class | system, configuration | what was set | delivered/s | lost | CPU µs/message \
         | RSS MB |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for series in in_order(gathered, Work::Throughput) {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {:.0} |",
            class(series.first().class),
            title(series),
            series.first().how,
            range(series.spread(|row| row.delivered_per_s), millions),
            lost(series),
            range(series.spread(|row| row.cpu_us_per_message), figure),
            series.spread(largest_rss_mb).median,
        );
    }
    page.push('\n');
}

fn round_trips(page: &mut String, gathered: &Gathered) {
    page.push_str(
        "## Round trips, µs\n\n![latency by percentile](latency.svg)\n\n\
         | class | system, configuration | what was set | p50 | p99 | p99.9 | lost \
         | CPU % of a core |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for series in in_order(gathered, Work::PingPong) {
        let time = |pick: fn(&Row) -> f64| range(series.spread(pick), figure);
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            class(series.first().class),
            title(series),
            series.first().how,
            time(|row| row.round_trip_us.map_or(0.0, |times| times.p50)),
            time(|row| row.round_trip_us.map_or(0.0, |times| times.p99)),
            time(|row| row.round_trip_us.map_or(0.0, |times| times.p99_9)),
            lost(series),
            cores(series),
        );
    }
    page.push('\n');
}

/// Wireloom beside the fastest system that can leave the host, whatever its class.
fn ratios(page: &mut String, gathered: &Gathered) {
    page.push_str("## Wireloom beside the best networked peer\n\n");
    let networked =
        |series: &&Series| !series.is_ours() && !series.is_bare() && leaves_host(series);
    let ours = gathered.series.iter().find(|series| series.name() == "wireloom udp");
    let rate = |series: &Series| series.spread(|row| row.delivered_per_s).median;
    let peers = gathered.of(Work::Throughput).filter(networked);
    let best = peers.max_by(|a, b| rate(a).total_cmp(&rate(b)));
    if let (Some(ours), Some(best)) = (ours, best) {
        let cpu = |series: &Series| series.spread(|row| row.cpu_us_per_message).median;
        let _ = writeln!(
            page,
            "- Throughput: {:.1} × the delivered/s of {} ({}), at {:.2} × its CPU a message.",
            rate(ours) / rate(best),
            best.name(),
            class(best.first().class),
            cpu(ours) / cpu(best),
        );
    }
    let p50 = |series: &Series| p_us(series, |row| row.round_trip_us.map_or(0.0, |t| t.p50));
    let p99 = |series: &Series| p_us(series, |row| row.round_trip_us.map_or(0.0, |t| t.p99));
    let peers = gathered.of(Work::PingPong).filter(networked);
    let best = peers.min_by(|a, b| p50(a).total_cmp(&p50(b)));
    for ours in gathered.of(Work::PingPong).filter(|series| series.is_ours()) {
        let bare = gathered.of(Work::PingPong).filter(|series| series.is_bare());
        let bare = bare.filter(|series| series.first().config == ours.first().config);
        for other in best.into_iter().chain(bare) {
            let _ = writeln!(
                page,
                "- Round trip, {}: p50 {:.2} × and p99 {:.2} × that of {}.",
                ours.name(),
                p50(ours) / p50(other),
                p99(ours) / p99(other),
                other.name(),
            );
        }
    }
}

fn p_us(series: &Series, pick: impl Fn(&Row) -> f64) -> f64 {
    series.spread(pick).median
}

fn versions(page: &mut String, gathered: &Gathered) {
    page.push_str("\n## Versions\n\n");
    let mut seen = Vec::new();
    for row in gathered.series.iter().filter(|series| !series.is_ours()).map(Series::first) {
        if !seen.contains(&&row.system) && !row.system.ends_with("bare loop") {
            let _ = writeln!(page, "- {}: {}", row.system, row.version);
            seen.push(&row.system);
        }
    }
}

/// Series by class, the best of each first.
pub(crate) fn in_order(gathered: &Gathered, work: Work) -> Vec<&Series> {
    let mut series: Vec<&Series> = gathered.of(work).collect();
    let merit = |series: &Series| match work {
        Work::Throughput => -series.spread(|row| row.delivered_per_s).median,
        Work::PingPong => p_us(series, |row| row.round_trip_us.map_or(0.0, |times| times.p50)),
    };
    series.sort_by(|a, b| {
        let classes = a.first().class.cmp(&b.first().class);
        classes.then(merit(a).total_cmp(&merit(b)))
    });
    series
}

fn leaves_host(series: &Series) -> bool {
    series.first().class != Class::SameHost
}

fn title(series: &Series) -> String {
    if series.is_ours() { format!("**{}**", series.name()) } else { series.name() }
}

/// The class as it stands in the rows.
pub(crate) const fn class(class: Class) -> &'static str {
    match class {
        Class::Reliable => "reliable",
        Class::BestEffort => "best effort",
        Class::SameHost => "same host",
        Class::Broker => "broker, at most once",
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
fn largest_rss_mb(row: &Row) -> f64 {
    row.peak_rss_bytes.values().max().map_or(0.0, |bytes| *bytes as f64 / 1e6)
}

/// Shares of a core of all processes together; nothing where they were not printed.
fn cores(series: &Series) -> String {
    match series.first().cpu_percent.is_empty() {
        true => "–".to_owned(),
        false => format!("{:.0}", series.spread(|row| row.cpu_percent.values().sum()).median),
    }
}

/// Share of what was accepted, over all rounds, and faults by name.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn lost(series: &Series) -> String {
    let sum = |count: fn(&Row) -> u64| series.rows.iter().map(count).sum::<u64>();
    let (lost, published) = (sum(|row| row.lost), sum(|row| row.published));
    let mut text = match lost {
        0 => "0".to_owned(),
        _ => format!("{:.2} %", lost as f64 * 100.0 / published.max(1) as f64),
    };
    let faults = [
        (sum(|row| row.duplicated), "duplicated"),
        (sum(|row| row.corrupt), "corrupt"),
        (sum(|row| row.late), "late"),
    ];
    for (count, name) in faults.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, ", {count} {name}");
    }
    text
}

fn range(spread: Spread, shown: fn(f64) -> String) -> String {
    let Spread { least, median, greatest } = spread;
    format!("{} ({}–{})", shown(median), shown(least), shown(greatest))
}

/// A rate as `9.22 M` or `840 k`.
pub(crate) fn millions(value: f64) -> String {
    match value {
        10e6.. => format!("{:.1} M", value / 1e6),
        1e6.. => format!("{:.2} M", value / 1e6),
        1e3.. => format!("{:.0} k", value / 1e3),
        _ => format!("{value:.0}"),
    }
}

/// A number with three digits that count.
pub(crate) fn figure(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(["9.22 M", "30.2 M", "840 k", "7"], [9.22e6, 30.2e6, 840e3, 7.0].map(millions));
        assert_eq!(["0.052", "7.04", "16.3", "6962"], [0.052, 7.04, 16.3, 6962.0].map(figure));
    }
}
