//! The file of rules that a node was started with, and how the node comes to what is new in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use wireloom::config::ConfigError;
use wireloom::{Node, RuleSet, traced};

use crate::output::Output;
use crate::text::counted;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file of rules that may change.
#[derive(Debug)]
pub(crate) struct RulesFile {
    path: PathBuf,
    rules: RuleSet,
    /// When it was written last, and its bytes then; none when it is not there.
    stamp: Option<(SystemTime, u64)>,
    looked: Instant,
}

impl RulesFile {
    /// # Errors
    /// As [`RuleSet::load`].
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        // Before it is read: what is written in between is seen by the next look.
        let stamp = stamp(path);
        let rules = RuleSet::load(path)?;
        Ok(Self { path: path.to_owned(), rules, stamp, looked: Instant::now() })
    }

    /// The rules that were read last.
    pub(crate) const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Looks whether the file has changed, once a second; gives the node what is in it, or tells
    /// what is wrong with that and leaves the node what it had.
    pub(crate) fn look(&mut self, node: &Node, output: &Output) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        let stamp = stamp(&self.path);
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        match renew(&self.path, node) {
            Ok(rules) => {
                self.rules = rules;
                let rules = counted(self.rules.len() as u64, "rule");
                output.report(format_args!("{}: {rules} from now on", self.path.display()));
            }
            Err(error) => {
                for fault in error.faults() {
                    output.report(format_args!("{fault}"));
                }
                output.warning(format_args!("the rules before these stay in effect"));
            }
        }
    }
}

/// Gives the node what is in the file. A span: whoever looks after a fleet sees which nodes took
/// new rules, and the collector of errors which did not.
#[traced("rules.renew", fields(file = path.display()))]
fn renew(path: &Path, node: &Node) -> Result<RuleSet, ConfigError> {
    let rules = RuleSet::load(path)?;
    node.apply_rules(rules.clone());
    Ok(rules)
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let told = std::fs::metadata(path).ok()?;
    Some((told.modified().ok()?, told.len()))
}
