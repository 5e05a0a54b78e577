//! The loop: waits for sockets and for the fabric, gives clients their turns, and carries texts
//! between them and the bridge.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{read, write};
use serde::Serialize;
use wireloom::jtag::{Bridge, BridgeCounts, ClientId, LegacyEvents};

use super::JtagBridgeArgs;
use super::client::{Client, Heard, Origins};
use crate::output::Output;
use crate::stop::Stop;

/// Longest sleep: the flag of the signals, handshakes that take too long and silent clients are
/// looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a server that has no room or no descriptors left leaves newcomers in the kernel.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What became of sockets.
#[derive(Debug, Default, Serialize)]
pub(super) struct SocketCounts {
    /// Sockets that came.
    accepted: u64,
    /// Sockets that came when there was no room.
    turned_away: u64,
    /// How clients went, by reason.
    ended: BTreeMap<&'static str, u64>,
    /// Messages for clients that did not take those before.
    shed_slow_client: u64,
}

/// See the module.
pub(super) struct Server {
    listener: TcpListener,
    origins: Origins,
    clients_max: usize,
    bridge: Bridge,
    woken: Arc<OwnedFd>,
    clients: Vec<Client>,
    accept_at: Instant,
    counts: SocketCounts,
}

impl Server {
    pub(super) fn open(args: &JtagBridgeArgs, events: &LegacyEvents) -> Result<Self> {
        let listener = TcpListener::bind(args.listen)
            .with_context(|| format!("cannot listen on ws://{}", args.listen))?;
        listener.set_nonblocking(true)?;
        let woken = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let wakes = Arc::clone(&woken);
        let bridge = Bridge::new(events, move || {
            // A counter that is full has woken it already.
            let _ = write(&*wakes, &1_u64.to_ne_bytes());
        });
        Ok(Self {
            listener,
            origins: Origins(args.allow_origin.clone().into()),
            clients_max: usize::from(args.clients),
            bridge,
            woken,
            clients: Vec::new(),
            accept_at: Instant::now(),
            counts: SocketCounts::default(),
        })
    }

    pub(super) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until the end is wished.
    pub(super) fn serve(&mut self, stop: &Stop, output: &Output) -> Result<()> {
        while !stop.is_wished() {
            self.wait()?;
            let now = Instant::now();
            self.accept(now, output);
            self.bridge.poll(now);
            let Self { clients, bridge, .. } = self;
            for client in clients.iter_mut() {
                if client.is_open() || client.shake(now) {
                    turn(client, bridge, now);
                }
            }
            self.deliver();
            for client in &mut self.clients {
                if client.is_ready() && client.id.is_some() {
                    turn(client, &mut self.bridge, now);
                }
            }
            let (bridge, counts) = (&mut self.bridge, &mut self.counts);
            self.clients.retain(|client| match client.ended() {
                None => true,
                Some(why) => {
                    *counts.ended.entry(why).or_default() += 1;
                    client.id.into_iter().for_each(|id| bridge.leave(id));
                    false
                }
            });
        }
        Ok(())
    }

    /// Sleeps until something can be done.
    fn wait(&mut self) -> Result<()> {
        let now = Instant::now();
        let due = self.bridge.due().map(|due| due.saturating_duration_since(now));
        let is_ready = self.clients.iter().any(Client::is_ready);
        let sleep = if is_ready { Duration::ZERO } else { due.unwrap_or(LOOK_EVERY) };
        let sleep = Timespec::try_from(sleep.min(LOOK_EVERY))?;
        let mut waiting = vec![PollFd::new(&*self.woken, PollFlags::IN)];
        if now >= self.accept_at {
            waiting.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        for client in &self.clients {
            let out = if client.wants_to_write() { PollFlags::OUT } else { PollFlags::empty() };
            waiting.push(PollFd::from_borrowed_fd(client.socket(), PollFlags::IN | out));
        }
        match poll(&mut waiting, Some(&sleep)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut count = [0; 8];
        // Nothing to read when nobody woke it.
        let _ = read(&*self.woken, &mut count);
        Ok(())
    }

    fn accept(&mut self, now: Instant, output: &Output) {
        while now >= self.accept_at {
            match self.listener.accept() {
                Ok((stream, _)) if self.clients.len() < self.clients_max => {
                    self.counts.accepted += 1;
                    match Client::new(stream, self.origins.clone(), now) {
                        Ok(client) => self.clients.push(client),
                        Err(_) => *self.counts.ended.entry("cut").or_default() += 1,
                    }
                }
                // Closed at once: the client tries again later.
                Ok(_) => self.counts.turned_away += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    output.warning(format_args!("cannot take a client now: {error}"));
                    self.accept_at = now + ACCEPT_PAUSE;
                }
            }
        }
    }

    /// What the bridge gives out goes to the clients it is for.
    fn deliver(&mut self) {
        let mut places: BTreeMap<ClientId, usize> = BTreeMap::new();
        for (place, client) in self.clients.iter().enumerate() {
            places.extend(client.id.map(|id| (id, place)));
        }
        while let Some((to, text)) = self.bridge.next_out() {
            let client = places.get(&to).and_then(|place| self.clients.get_mut(*place));
            if client.is_some_and(|client| !client.tell(text)) {
                self.counts.shed_slow_client += 1;
            }
        }
    }

    /// Says goodbye to all and gives the account.
    pub(super) fn close(mut self) -> (SocketCounts, BridgeCounts) {
        self.bridge.poll(Instant::now());
        self.deliver();
        let now = Instant::now();
        for client in &mut self.clients {
            client.turn(now, |_| {});
            client.close();
            let why = client.ended().or_else(|| client.sent_away()).unwrap_or("bridge_ended");
            *self.counts.ended.entry(why).or_default() += 1;
        }
        (self.counts, self.bridge.counts().clone())
    }
}

/// One turn of a client that is open: the bridge hears what it says.
fn turn(client: &mut Client, bridge: &mut Bridge, now: Instant) {
    let Some(id) = client.id.or_else(|| bridge.join()) else { return };
    client.id = Some(id);
    client.turn(now, |heard| match heard {
        Heard::Text(text) => bridge.on_text(id, &text, now),
        Heard::Refused(name) => bridge.on_refused(name),
    });
}
