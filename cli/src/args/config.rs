//! Words that speak of a node's configuration: `wireloom config`, and `--config`, `--profile` and
//! `--set` of the commands that run a node.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use wireloom::Interface;
use wireloom::config::{Config, ConfigError, Layers, Profile};

use super::help;
use crate::values;

/// `wireloom config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// One variant a subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the values that are in effect and who said each; or everything that is wrong
    #[command(after_help = help::CONFIG_CHECK)]
    Check(CheckArgs),
    /// Print a profile as a commented file, every key in it: the beginning of your own
    #[command(after_help = help::CONFIG_SHOW)]
    Show(ShowArgs),
}

/// `wireloom config check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The file, TOML
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Take the figures of this profile instead of the file's: browser, server, cluster
    #[arg(long, value_name = "PROFILE", value_parser = values::profile)]
    pub(crate) profile: Option<Profile>,
    /// One value above all others: --set tcp.pool=8. May be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::setting)]
    pub(crate) set: Vec<(String, String)>,
    /// One JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// `wireloom config show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Which profile: browser, server, cluster
    #[arg(value_name = "PROFILE", value_parser = values::profile)]
    pub(crate) profile: Profile,
}

/// Where a command that runs a node takes its figures from.
#[derive(Debug, Args)]
pub(crate) struct NodeConfigArgs {
    /// Configuration of the node, TOML; "wireloom config" explains it. Options given here come
    /// before it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Take the figures of a profile: browser, server, cluster
    #[arg(long, value_name = "PROFILE", value_parser = values::profile)]
    pub(crate) profile: Option<Profile>,
    /// One value of the configuration: --set udp.window=2MiB. May be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::setting)]
    pub(crate) set: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// Who may reach a node that this command runs.
#[derive(Debug, Args)]
pub(crate) struct ReachArgs {
    /// Let other hosts reach this node although it has no certificate: anybody there can publish
    /// under any name
    #[arg(long)]
    insecure: bool,
}

impl ReachArgs {
    /// The option and the key of the configuration it speaks of.
    pub(crate) fn option(&self) -> (&'static str, &'static str, Option<String>) {
        ("--insecure", "security.insecure", self.insecure.then(|| "true".to_owned()))
    }
}

/// Whom a node believes, what it lets others do, and where it writes what it refused.
#[derive(Debug, Args)]
pub(crate) struct SecurityArgs {
    /// Folder with this node's certificate and key, as "wireloom ca issue NAME" wrote them: links
    /// are TLS and datagrams sealed then, for nodes of the same authority alone. Looked at once a
    /// second
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    credentials: Option<String>,
    /// Who may do what ("wireloom policy"): other nodes are held to it. The file is looked at once
    /// a second; when it has changed, it is in force, or it is told what is wrong with it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<String>,
    /// Append a line of JSON for what is refused and decided about security, for this user alone:
    /// at most 100 lines a second and 8 MiB, the file before stays as FILE.1
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    audit: Option<String>,
}

impl SecurityArgs {
    /// The options and the keys of the configuration they speak of.
    pub(crate) fn options(&self) -> [(&'static str, &'static str, Option<String>); 3] {
        [
            ("--credentials", "security.credentials", self.credentials.clone()),
            ("--policy", "security.policy", self.policy.clone()),
            ("--audit", "security.audit", self.audit.clone()),
        ]
    }
}

impl NodeConfigArgs {
    /// File, environment and these options, and above them the command's own: each as it is
    /// written, the key it speaks of, and its value if it was given.
    pub(crate) fn config<'a>(
        &self,
        options: impl IntoIterator<Item = (&'a str, &'a str, Option<String>)>,
    ) -> Result<Config, ConfigError> {
        let layers = self.config.iter().fold(Layers::new(), |layers, file| layers.file(file));
        let layers = said(layers.environment(), self.profile, &self.set);
        flags(layers, [self.reach.option()].into_iter().chain(options)).config()
    }

    /// What it was told to begin from, for a person: `profile server, node.toml`; none for nothing.
    pub(crate) fn begins_from(&self, config: &Config) -> Option<String> {
        let profile = config.profile().map(|profile| format!("profile {profile}"));
        let file = self.config.as_ref().map(|file| file.display().to_string());
        let parts: Vec<String> = profile.into_iter().chain(file).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Lays a command's own options above the rest: each as it is written, the key it speaks of, and
/// its value if it was given.
pub(crate) fn flags<'a>(
    layers: Layers,
    options: impl IntoIterator<Item = (&'a str, &'a str, Option<String>)>,
) -> Layers {
    let given = options.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?)));
    given.fold(layers, |layers, (flag, key, value)| layers.flag(flag, key, &value))
}

/// An interface as the configuration writes it.
pub(crate) fn word(interface: &Interface) -> String {
    match interface {
        Interface::Default => "default".to_owned(),
        Interface::Address(address) => address.to_string(),
        Interface::Index(index) => index.to_string(),
        Interface::Name(name) => name.clone(),
    }
}

/// The options of the command line, which come last.
pub(crate) fn said(layers: Layers, profile: Option<Profile>, set: &[(String, String)]) -> Layers {
    let layers = profile.into_iter().fold(layers, Layers::profile);
    set.iter().fold(layers, |layers, (key, value)| layers.flag("--set", key, value))
}
