//! Many node processes of one cluster on this host, started, listened to and ended by a bench.
//!
//! None of them outlives the bench: it ends and waits for them when it ends, also by Ctrl-C, and
//! should it be killed, they see the end of their standard input.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::exchange::{Asked, Exchanged};
use crate::node::Told;
use crate::process::Process as Costs;
use crate::stop::Stop;

/// One process.
struct Process {
    child: Child,
    /// What it is asked goes here; its end is the end of the node.
    asks: ChildStdin,
    reader: Option<JoinHandle<()>>,
    begun_ns: u64,
    address: Option<SocketAddr>,
    /// Members it has up, itself not among them.
    up: BTreeSet<SocketAddr>,
    /// Its last cost: when, bytes sent, bytes heard, resident bytes.
    cost: (u64, u64, u64, u64),
    /// When it last told what its events have come to, and what.
    exchanged: (u64, Exchanged),
    ended: bool,
}

/// All of them.
pub(super) struct Crowd {
    cluster: String,
    group: String,
    multicast: bool,
    processes: Vec<Process>,
    tell: Sender<(usize, Told)>,
    told: Receiver<(usize, Told)>,
    /// Times a running process has called another running one dead.
    pub(super) false_deaths: u64,
    ended: BTreeSet<SocketAddr>,
    stop: Stop,
}

impl Crowd {
    pub(super) fn new(multicast: bool) -> Result<Self> {
        let id = std::process::id();
        let (tell, told) = channel();
        Ok(Self {
            cluster: format!("bench-{id}"),
            group: format!("239.255.87.78:{}", 20_000 + id % 20_000),
            multicast,
            processes: Vec::new(),
            tell,
            told,
            false_deaths: 0,
            ended: BTreeSet::new(),
            stop: Stop::on_signals()?,
        })
    }

    /// Starts one more and waits until it runs; its index.
    pub(super) fn start(&mut self) -> Result<usize> {
        let index = self.processes.len();
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut command = Command::new(program);
        command.args(["node", "--events", "--driven", "--name", &format!("node-{index}")]);
        command.args(["--cluster", &self.cluster]);
        let first = self.processes.first().and_then(|first| first.address);
        match first.filter(|_| !self.multicast) {
            Some(seed) => command.args(["--no-group", "--seed", &seed.to_string()]),
            None => command.args(["--group", &self.group]),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start a node")?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let asks = child.stdin.take().context("its input is piped")?;
        let told = self.tell.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(word) = serde_json::from_str(&line) {
                    let _ = told.send((index, word));
                }
            }
        });
        self.processes.push(Process {
            child,
            asks,
            reader: Some(reader),
            begun_ns: 0,
            address: None,
            up: BTreeSet::new(),
            cost: (0, 0, 0, 0),
            exchanged: (0, Exchanged::default()),
            ended: false,
        });
        self.listen_until(Duration::from_secs(20), "a node has not started", |crowd| {
            crowd.processes[index].address.is_some()
        })?;
        Ok(index)
    }

    /// When this one began to start, ns since the Unix epoch.
    pub(super) fn begun_ns(&self, index: usize) -> u64 {
        self.processes[index].begun_ns
    }

    fn hear(&mut self, index: usize, told: Told) -> u64 {
        let process = &mut self.processes[index];
        match told {
            Told::Started { unix_ns, address, .. } => {
                (process.begun_ns, process.address) = (unix_ns, Some(address));
                0
            }
            Told::Up { unix_ns, address } => {
                process.up.insert(address);
                unix_ns
            }
            Told::Down { unix_ns, address } => {
                process.up.remove(&address);
                self.false_deaths += u64::from(!self.ended.contains(&address));
                unix_ns
            }
            Told::Cost { unix_ns, bytes_sent, bytes_heard, rss_bytes, .. } => {
                process.cost = (unix_ns, bytes_sent, bytes_heard, rss_bytes);
                0
            }
            Told::Exchanged { unix_ns, exchanged } => {
                process.exchanged = (unix_ns, exchanged);
                0
            }
            Told::SharedName { .. } => 0,
        }
    }

    /// Listens until `done`; the latest time of a change among what was heard (0: none).
    pub(super) fn listen_until(
        &mut self,
        patience: Duration,
        what: &str,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<u64> {
        let until = Instant::now() + patience;
        let mut latest_ns = 0;
        while !done(self) {
            ensure!(!self.stop.is_wished(), "ended before its time; its nodes have ended too");
            let left = until.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "{what} within {patience:?}: {}", self.view());
            match self.told.recv_timeout(left.min(Duration::from_millis(50))) {
                Ok((index, told)) => latest_ns = latest_ns.max(self.hear(index, told)),
                Err(_) => {
                    for process in self.processes.iter_mut().filter(|process| !process.ended) {
                        if let Some(status) = process.child.try_wait()? {
                            bail!("a node has ended by itself: {status}");
                        }
                    }
                }
            }
        }
        Ok(latest_ns)
    }

    fn view(&self) -> String {
        let running = self.processes.iter().filter(|process| !process.ended);
        let counts: Vec<usize> = running.map(|process| process.up.len()).collect();
        format!("{} nodes, members known: {counts:?}", counts.len())
    }

    /// Whether every running process has exactly the other running ones up.
    pub(super) fn all_known(&self) -> bool {
        let running: BTreeSet<SocketAddr> = self
            .processes
            .iter()
            .filter(|process| !process.ended)
            .filter_map(|process| process.address)
            .collect();
        self.processes.iter().filter(|process| !process.ended).all(|process| {
            let own = process.address.into_iter().collect();
            process.up == running.difference(&own).copied().collect()
        })
    }

    /// Ends one: by asking, or by SIGKILL.
    pub(super) fn end(&mut self, index: usize, signal: Signal) -> Result<()> {
        let process = &mut self.processes[index];
        process.ended = true;
        self.ended.extend(process.address);
        let id = i32::try_from(process.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.context("a process has a number")?, signal)?;
        Ok(())
    }

    /// Asks something of one.
    pub(super) fn ask(&mut self, index: usize, asked: &Asked) -> Result<()> {
        let line = serde_json::to_string(asked)? + "\n";
        let asks = &mut self.processes[index].asks;
        asks.write_all(line.as_bytes()).context("a node has ended by itself")
    }

    /// Where one receives.
    pub(super) fn address(&self, index: usize) -> Option<SocketAddr> {
        self.processes[index].address
    }

    /// What the kernel says that one costs now.
    pub(super) fn kernels_account(&self, index: usize) -> Costs {
        Costs::other(self.processes[index].child.id())
    }

    /// What the events of each running process have come to, with when it was told.
    pub(super) fn exchanged(&self) -> Vec<(u64, Exchanged)> {
        let running = self.processes.iter().filter(|process| !process.ended);
        running.map(|process| process.exchanged).collect()
    }

    /// Bytes sent and heard so far by each running process, with when it was told.
    pub(super) fn costs(&self) -> Vec<(u64, u64, u64, u64)> {
        let running = self.processes.iter().filter(|process| !process.ended);
        running.map(|process| process.cost).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for index in 0..self.processes.len() {
            if !self.processes[index].ended {
                let _ = self.end(index, Signal::TERM);
            }
        }
        let until = Instant::now() + Duration::from_secs(10);
        for process in &mut self.processes {
            while matches!(process.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = process.child.kill();
            let _ = process.child.wait();
            if let Some(reader) = process.reader.take() {
                let _ = reader.join();
            }
        }
    }
}
