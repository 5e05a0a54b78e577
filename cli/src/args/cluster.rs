//! How a command finds the cluster it takes part in: `--seed`, `--group`, `--no-group` and
//! `--cluster`, of `node`, `members`, `pub` and `sub` alike.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, bail};
use clap::Args;
use wireloom::config::{Config, Source};
use wireloom::{DISCOVERY_GROUP, NodeBuilder};

use crate::values;

/// Name of the cluster when nobody says another.
const CLUSTER: &str = "default";

/// How a node finds its cluster.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClusterArgs {
    /// A node of the cluster to say hello to: 10.0.0.7:9000, or a host name and port. May be given
    /// several times
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) seed: Vec<String>,
    /// Multicast group to find the cluster in [default: 239.255.87.76:9076]
    #[arg(long, value_name = "GROUP:PORT", value_parser = values::group)]
    pub(crate) group: Option<SocketAddr>,
    /// Do not use multicast; a seed is needed then
    #[arg(long, conflicts_with = "group")]
    pub(crate) no_group: bool,
    /// Name of the cluster; nodes of others are not heard [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
}

impl ClusterArgs {
    /// Whether anything was said of a cluster.
    pub(crate) fn is_said(&self) -> bool {
        !self.seed.is_empty() || self.group.is_some() || self.no_group || self.cluster.is_some()
    }

    /// The name of the cluster.
    pub(crate) fn name(&self) -> &str {
        self.cluster.as_deref().unwrap_or(CLUSTER)
    }

    /// The options and the keys of the configuration they speak of.
    pub(crate) fn options(&self) -> [(&'static str, &'static str, Option<String>); 3] {
        let seeds = (!self.seed.is_empty()).then(|| self.seed.join(","));
        let none = self.no_group.then(|| "none".to_owned());
        [
            ("--seed", "discovery.seeds", seeds),
            ("--group", "discovery.group", self.group.map(|group| group.to_string())),
            ("--no-group", "discovery.group", none),
        ]
    }

    /// Makes a node take part, in the default group when nothing else is said of one.
    pub(crate) fn join(&self, builder: NodeBuilder, config: &Config) -> Result<NodeBuilder> {
        if ways(config).is_empty() {
            bail!("no way to the cluster: --seed or discovery.seeds names a node of it");
        }
        let builder = builder.cluster(self.name());
        Ok(if is_group_open(config) { builder.discover(DISCOVERY_GROUP) } else { builder })
    }
}

/// Whether nobody has said which group, or that there is none.
fn is_group_open(config: &Config) -> bool {
    config.entry("discovery.group").is_some_and(|entry| *entry.source == Source::Default)
}

/// Whether the configuration itself makes a node take part in a cluster.
pub(crate) fn is_configured(config: &Config) -> bool {
    let discovery = config.discovery();
    let seeds = discovery.seeds.len() + discovery.dns.len();
    discovery.group.is_some() || seeds > 0 || !config.services().announce.is_empty()
}

/// How the cluster is found, for a person: `seed 10.0.0.7:9000`, `group 239.255.87.76:9076`.
pub(crate) fn ways(config: &Config) -> Vec<String> {
    let discovery = config.discovery();
    let seeds = discovery.seeds.iter().chain(&discovery.dns).map(|seed| format!("seed {seed}"));
    let group = discovery.group.map(|group| group.to_string());
    let group = group.or_else(|| is_group_open(config).then(|| DISCOVERY_GROUP.to_owned()));
    seeds.chain(group.map(|group| format!("group {group}"))).collect()
}

/// Where a node listens that only sends and is told nothing: on loopback when all seeds are of this
/// host, else everywhere, because the others must reach it.
pub(crate) fn listen(config: &Config) -> SocketAddr {
    let discovery = config.discovery();
    let is_here = |seed: &String| {
        let address = seed.parse::<SocketAddr>().map(|address| address.ip().is_loopback());
        address.unwrap_or_else(|_| seed.starts_with("localhost:"))
    };
    let is_here = discovery.seeds.iter().chain(&discovery.dns).all(is_here);
    let ip = if is_here { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    SocketAddr::new(IpAddr::V4(ip), 0)
}
