//! The live table, the plain lines that stand for it where there is no terminal, and the ledger, as
//! lines of text. Nothing here writes.

use std::time::Duration;

use super::Role;
use super::balance::Check;
use super::figures::{Figures, Row};
use super::report::Latency;
use super::screen::{Line, plain};
use crate::output::Style;
use crate::text;

/// Names of the columns; the widths stand in [`cells`].
const HEADING: [&str; 8] =
    ["node", "does", "events/s", "events", "lost", "p50 µs", "p99 µs", "max µs"];

/// What stands above the table.
#[derive(Debug)]
pub(super) struct Title {
    /// What the lines are.
    pub(super) text_name: String,
    /// How long it runs at most.
    pub(super) limit: Duration,
}

/// The whole drawing: title, a row for each node, the last event of each kind.
pub(super) fn table(title: &Title, elapsed: Duration, figures: &Figures) -> Vec<Line> {
    let mut lines = vec![
        vec![
            (Some(Style::Bold), "wireloom demo".to_owned()),
            (
                None,
                format!(
                    " · three nodes on this host · {} of {} s · {}",
                    elapsed.as_secs().min(title.limit.as_secs()),
                    title.limit.as_secs(),
                    title.text_name
                ),
            ),
        ],
        Line::new(),
        vec![(Some(Style::Dim), cells(&HEADING.map(str::to_owned)))],
    ];
    lines.extend(Role::ALL.map(|role| row(role, &figures.row(role))));
    lines.push(Line::new());
    for heard in [&figures.lines.heard, &figures.heartbeats.heard] {
        lines.push(vec![(Some(Style::Dim), heard.shown.clone())]);
    }
    lines
}

/// Right-aligned numbers behind two left-aligned words: 80 columns.
fn cells(cells: &[String; 8]) -> String {
    let [node, does, rate, events, lost, p50, p99, max] = cells;
    format!("{node:<7}{does:<19} {rate:>9} {events:>11} {lost:>7} {p50:>7} {p99:>7} {max:>7}")
}

fn row(role: Role, row: &Row) -> Line {
    let latency = |part: fn(&Latency) -> u64| {
        row.latency_ns.as_ref().map_or_else(|| "-".to_owned(), |all| text::micros(part(all)))
    };
    let lost = row.lost.map_or_else(|| "-".to_owned(), text::count);
    let style = if row.lost.is_some_and(|lost| lost > 0) { Some(Style::Warning) } else { None };
    vec![(
        style,
        cells(&[
            role.node().to_owned(),
            role.does().to_owned(),
            text::count(row.per_second),
            text::count(row.events),
            lost,
            latency(|all| all.p50),
            latency(|all| all.p99),
            latency(|all| all.max),
        ]),
    )]
}

/// One line in place of the table.
pub(super) fn plain_line(elapsed: Duration, figures: &Figures) -> Line {
    let part = |what: &str, row: &Row| {
        let latency = row.latency_ns.unwrap_or_default();
        format!(
            "{what} {}/s, {} delivered, {} lost, p50 {} µs, p99 {} µs, max {} µs",
            text::count(row.per_second),
            text::count(row.events),
            text::count(row.lost.unwrap_or(0)),
            text::micros(latency.p50),
            text::micros(latency.p99),
            text::micros(latency.max)
        )
    };
    let (lines, heartbeats) = (figures.row(Role::Lines), figures.row(Role::Heartbeats));
    plain(format!(
        "{:>4} s  {}; {}",
        elapsed.as_secs(),
        part("lines", &lines),
        part("heartbeats", &heartbeats)
    ))
}

/// The ledger, an equation a line with a tick or a cross, and the verdict.
pub(super) fn ledger(checks: &[Check]) -> Vec<Line> {
    let mut lines = vec![Line::new(), vec![(Some(Style::Bold), "ledger".to_owned())]];
    for check in checks {
        let sign = if check.holds() { (Style::Good, "✓") } else { (Style::Bad, "✗") };
        lines.push(vec![(Some(sign.0), format!("  {} ", sign.1)), (None, check.text())]);
    }
    let wrong = checks.iter().filter(|check| !check.holds()).count();
    lines.push(match wrong {
        0 => vec![(
            Some(Style::Good),
            "balanced: every event is accounted for, across three processes".to_owned(),
        )],
        _ => vec![(
            Some(Style::Bad),
            format!("not balanced: {wrong} of {} lines do not add up", checks.len()),
        )],
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::report::{Heard, Published};
    use std::time::Instant;

    fn text_of(lines: &[Line]) -> String {
        let text = |line: &Line| line.iter().map(|(_, piece)| piece.as_str()).collect::<String>();
        lines.iter().map(|line| text(line) + "\n").collect()
    }

    fn figures() -> Figures {
        let latency_ns = Latency { p50: 31_240, p99: 104_000, max: 2_000_000 };
        let lines = Heard {
            taken: 120_020,
            lost: 3,
            latency_ns,
            shown: "line 7  text".into(),
            ..Heard::default()
        };
        let mut figures = Figures::default();
        let now = Instant::now();
        figures
            .update_published(now, Published { lines_accepted: 120_023, ..Published::default() });
        figures.update_heard(Role::Lines, now, lines);
        figures
    }

    #[test]
    fn the_table_has_a_row_for_each_node_in_eighty_columns() {
        let title = Title { text_name: "a file".into(), limit: Duration::from_secs(10) };
        let table = text_of(&table(&title, Duration::from_millis(6_700), &figures()));
        assert!(table.contains(" 6 of 10 s · a file\n"), "{table}");
        for part in ["loom-1", "120,023", "loom-2", "120,020", "31.2", "104", "2,000", "loom-3"] {
            assert!(table.contains(part), "{part} in {table}");
        }
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }

    #[test]
    fn plain_lines_say_the_same() {
        let line = text_of(&[plain_line(Duration::from_secs(3), &figures())]);
        assert!(
            line.starts_with("   3 s  lines 0/s, 120,020 delivered, 3 lost, p50 31.2 µs"),
            "{line}"
        );
        assert!(line.contains("; heartbeats 0/s, 0 delivered"), "{line}");
    }
}
