//! Where a run takes place: the configuration that was chosen, ports nobody uses, its own folder.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::config::Work;

/// What the processes of a run agree on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// What is measured.
    pub work: Work,
    /// Name of the configuration.
    pub config: String,
    /// Two ports that were free a moment ago, for TCP and UDP alike.
    pub ports: [u16; 2],
    /// An empty folder in memory where there is one; removed at the end.
    pub folder: PathBuf,
}

impl Plan {
    /// Makes a place for a run.
    pub(crate) fn new(work: Work, config: &str) -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let folder = above.join(format!("wireloom-peer-{}", process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { work, config: config.to_owned(), ports: free_ports()?, folder })
    }

    /// Loopback address of one of the two ports, as `127.0.0.1:1234`.
    #[must_use]
    pub fn address(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.ports[index])
    }

    /// Removes the folder; whoever is last has nothing left to do.
    pub(crate) fn clear(&self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Two ports that both TCP and UDP have free. All are held until both are found.
fn free_ports() -> Result<[u16; 2]> {
    let pair = || -> Result<(TcpListener, UdpSocket)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let socket = UdpSocket::bind(listener.local_addr()?)?;
        Ok((listener, socket))
    };
    let found = (0..100).filter_map(|_| pair().ok()).take(2).collect::<Vec<_>>();
    let [first, second] = found.as_slice() else { anyhow::bail!("no free ports") };
    Ok([first.0.local_addr()?.port(), second.0.local_addr()?.port()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_free_ports_and_a_folder_that_goes_away() {
        let plan = Plan::new(Work::Throughput, "any").unwrap();
        assert_ne!(plan.ports[0], plan.ports[1]);
        for index in [0, 1] {
            TcpListener::bind(plan.address(index)).unwrap();
            UdpSocket::bind(plan.address(index)).unwrap();
        }
        assert!(plan.folder.is_dir());
        plan.clear();
        assert!(!plan.folder.exists());
    }
}
