//! The rows of all rounds, gathered by what was run.

use anyhow::{Context, Result};
use peer_measure::{Row, Work};
use serde::Deserialize;
use serde_json::Value;

use crate::wireloom;

/// One line of `rows.jsonl`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    /// A peer could not be built, or a run gave no row.
    Missing { missing: String, why: String },
    /// A row of `wireloom bench` with the name of the run.
    Wireloom { wireloom: String, row: Value },
    /// A row as a peer printed it.
    Peer(Box<Row>),
}

/// Everything a report is made of.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) series: Vec<Series>,
    /// What gave no row, and why.
    pub(crate) missing: Vec<(String, String)>,
}

/// The rows of one configuration of one system, one a round.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) rows: Vec<Row>,
}

impl Gathered {
    /// Reads the lines, in the order they were measured.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut gathered = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = serde_json::from_str(line).with_context(|| format!("line {}", index + 1))?;
            match line {
                Line::Missing { missing, why } => {
                    if !gathered.missing.iter().any(|(name, _)| *name == missing) {
                        gathered.missing.push((missing, why));
                    }
                }
                Line::Wireloom { wireloom: name, row } => {
                    wireloom::rows(&name, row)?.into_iter().for_each(|row| gathered.add(row));
                }
                Line::Peer(row) => gathered.add(*row),
            }
        }
        Ok(gathered)
    }

    fn add(&mut self, row: Row) {
        let same = |series: &&mut Series| {
            let first = &series.rows[0];
            (&first.system, &first.config, first.work) == (&row.system, &row.config, row.work)
        };
        match self.series.iter_mut().find(same) {
            Some(series) => series.rows.push(row),
            None => self.series.push(Series { rows: vec![row] }),
        }
    }

    /// The series of one kind of work.
    pub(crate) fn of(&self, work: Work) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(move |series| series.first().work == work)
    }
}

impl Series {
    /// Any row: what does not change between rounds.
    pub(crate) fn first(&self) -> &Row {
        &self.rows[0]
    }

    /// True for the project's own rows.
    pub(crate) fn is_ours(&self) -> bool {
        self.first().system == "wireloom"
    }

    /// True for bare kernel loops, which are no system.
    pub(crate) fn is_bare(&self) -> bool {
        self.first().system == "raw" || self.first().system.ends_with("bare loop")
    }

    /// `aeron udp-fast`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.first().system, self.first().config)
    }

    /// A figure of all rounds.
    pub(crate) fn spread(&self, figure: impl Fn(&Row) -> f64) -> Spread {
        let mut values: Vec<f64> = self.rows.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let (upper, lower) = (values[values.len() / 2], values[(values.len() - 1) / 2]);
        Spread {
            least: values[0],
            median: lower.midpoint(upper),
            greatest: values[values.len() - 1],
        }
    }

    /// The time below which a share of the round trips stayed, as the median of the rounds.
    pub(crate) fn time_us(&self, share: f64) -> f64 {
        self.spread(|row| {
            let reached = row.curve_us.iter().find(|[point, _]| *point >= share - 1e-9);
            reached.or_else(|| row.curve_us.last()).map_or(0.0, |[_, time]| *time)
        })
        .median
    }
}

/// Least, middle and greatest of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) greatest: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(config: &str, rate: u32) -> String {
        let row = r#"{"system":"raw","version":"1","work":"throughput","config":"CONFIG",
            "tuning":"fast","class":"reliable","how":"x","seconds":1.0,"published":9,"delivered":9,
            "lost":0,"duplicated":0,"corrupt":0,"late":0,"refused":0,"delivered_per_s":RATE,
            "cpu_us_per_message":0.5,"cpu_percent":{},"peak_rss_bytes":{}}"#;
        row.replace('\n', " ").replace("CONFIG", config).replace("RATE", &rate.to_string())
    }

    #[test]
    fn rounds_are_gathered_and_their_middle_found() {
        let lines = [peer("a", 5), peer("b", 1), peer("a", 1), peer("a", 3), peer("b", 2)];
        let gathered = Gathered::read(&lines.join("\n")).unwrap();
        let spread = |index: usize| gathered.series[index].spread(|row| row.delivered_per_s);
        assert_eq!(spread(0), Spread { least: 1.0, median: 3.0, greatest: 5.0 });
        assert_eq!(spread(1), Spread { least: 1.0, median: 1.5, greatest: 2.0 });
    }

    #[test]
    fn our_rows_and_what_is_missing_are_read() {
        let ours = r#"{"wireloom":"pingpong-spin","row":{"round_trip_us":{"p50":5.0,"p99":9.0,
            "p99_9":20.0,"max":30.0,"count":7},"raw_round_trip_us":{"p50":4.0,"p99":8.0,"p99_9":9.0,
            "max":10.0,"count":7}}}"#;
        let missing = r#"{"missing":"aeron","why":"no C compiler"}"#;
        let text = format!("{}\n{missing}\n{missing}\n", ours.replace('\n', " "));
        let gathered = Gathered::read(&text).unwrap();
        assert_eq!(gathered.missing, [("aeron".to_owned(), "no C compiler".to_owned())]);
        assert_eq!(gathered.series.len(), 2, "ours and its bare loop");
        assert!((gathered.series[0].time_us(0.99) - 9.0).abs() < 1e-9);
        assert!((gathered.series[1].time_us(0.5) - 4.0).abs() < 1e-9);
        assert!(Gathered::read("{\"wireloom\":\"no such run\",\"row\":{}}").is_err());
    }
}
