//! From the configuration to the builder of a node: which field each key sets, and how a number of
//! events becomes a ring. What nobody said leaves the builder as it is.

use std::net::SocketAddr;
use std::time::Duration;

use wireloom_control::ReliableSettings;
use wireloom_dataplane::config::{GroupMembership, IoBackend, Mode};
use wireloom_dataplane::flow::FlowControl;
use wireloom_dataplane::idle::Idle;
use wireloom_dataplane::socket::{GroupJoin, Interface};
use wireloom_wire::{FRAME_HEADER_BYTES, LANES};

use super::fault::Source;
use super::keys::Id;
use super::profile::Profile;
use super::text::interface;
use super::value::Value;
use super::{Config, Entry};
use crate::builder::{Levels, NodeBuilder};
use crate::trace::TraceSettings;

/// The smallest and largest ring that a queue becomes, bytes: below, one large event would fill it;
/// beyond, memory goes to waiting.
const RING_BYTES: (usize, usize) = (64 << 10, 64 << 20);

/// A subscriber's ring has this at least: it takes the bursts of all publishers.
const SUBSCRIBER_RING_BYTES_MIN: usize = 1 << 20;

impl NodeBuilder {
    /// Takes the figures of a profile; see [`Profile`]. Later calls override them.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Self {
        self.config(&Config::of(Some(profile)))
    }

    /// Takes everything that file, environment, command line or profile said; what nobody said
    /// stays as it was set before. A listen address that is a name is looked up now, which may
    /// block; files that are named are read when the node starts. Keys that were said and have no
    /// effect in this version stand in [`Node::notes`](crate::Node::notes).
    #[must_use]
    pub fn config(mut self, config: &Config) -> Self {
        config.node(&mut self);
        config.rings(&mut self);
        config.sockets(&mut self);
        config.links(&mut self.setup.reliable);
        if let Some(listen) = config.listen() {
            self = self.listen(listen);
        }
        let (discovery, services) = (config.discovery(), config.services());
        if config.is_said(&[Id::Heartbeat]) {
            self = self.heartbeat(discovery.heartbeat);
        }
        if config.is_said(&[Id::Choice]) {
            self = self.service_choice(services.choice);
        }
        config.traces(&mut self.setup.trace);
        if let Some(group) = discovery.group {
            self = self.discover(&group.to_string());
        }
        for seed in discovery.seeds.iter().chain(&discovery.dns) {
            self = self.seed(seed);
        }
        for service in services.announce {
            self = self.service(&service);
        }
        if config.is_said(&[Id::Insecure]) {
            self.insecure = config.security().insecure;
        }
        for (priority, protection) in config.security().protect {
            self = self.protect(priority, protection);
        }
        self.security.configure(config.security());
        if !config.rules().is_empty() {
            self = self.rules(config.rules().clone());
        }
        self.notes = config.notes();
        self
    }
}

impl Config {
    fn node(&self, builder: &mut NodeBuilder) {
        let plane = &mut builder.setup.plane;
        if let Some(name) = self.name() {
            name.clone_into(&mut builder.setup.name);
        }
        if self.is_said(&[Id::Mode]) {
            let is_dedicated = self.word(Id::Mode) == "dedicated";
            plane.mode = if is_dedicated { Mode::Dedicated } else { Mode::Shared };
        }
        if self.is_said(&[Id::Receivers]) {
            plane.receivers = self.count(Id::Receivers);
        }
        if let Value::Counts(cores) = self.value(Id::Cores)
            && self.is_said(&[Id::Cores])
        {
            plane.cores = cores.iter().filter_map(|core| usize::try_from(*core).ok()).collect();
        }
        if self.is_said(&[Id::Idle, Id::IdleSpin, Id::IdleYield, Id::IdlePark, Id::IdleSleep]) {
            plane.idle = self.idle();
        }
        if self.is_said(&[Id::Io]) {
            plane.io = match self.word(Id::Io) {
                "mio" => IoBackend::Mio,
                "uring" => IoBackend::Uring,
                _ => IoBackend::Auto,
            };
        }
        if self.is_said(&[Id::Streams]) {
            plane.sources_max = self.count(Id::Streams);
            builder.setup.sizes.streams = plane.sources_max;
        }
        if self.is_said(&[Id::Flush, Id::FlushInterval]) {
            // Natural: what there is leaves at once, which keeps every bound on waiting.
            let events = self.events();
            plane.flush_interval =
                if events.waits { events.flush_interval } else { Duration::ZERO };
        }
    }

    fn idle(&self) -> Idle {
        match self.word(Id::Idle) {
            "spin" => Idle::Spin,
            "sleep" => Idle::Sleep(self.time(Id::IdleSleep)),
            _ => Idle::Adaptive {
                spin: self.time(Id::IdleSpin),
                yielding: self.time(Id::IdleYield),
                park: self.time(Id::IdlePark),
            },
        }
    }

    fn rings(&self, builder: &mut NodeBuilder) {
        let sizes = &mut builder.setup.sizes;
        if self.is_said(&[Id::Queue, Id::EventBytes]) {
            sizes.outbound_ring_bytes = self.ring_bytes();
            sizes.subscriber_ring_bytes = self.ring_bytes().max(SUBSCRIBER_RING_BYTES_MIN);
        }
        if self.is_said(&[Id::Batch]) {
            sizes.batch = self.count(Id::Batch);
        }
        if self.is_said(&[Id::Priorities]) {
            sizes.levels =
                if self.count(Id::Priorities) == 3 { Levels::Three } else { Levels::Five };
        }
        if self.is_said(&[Id::HugePages]) {
            sizes.huge_pages = self.flag(Id::HugePages);
        }
        for (id, field) in
            [(Id::PacketBytes, &mut sizes.packet_bytes), (Id::PathBytes, &mut sizes.path_bytes)]
        {
            if self.is_said(&[id]) {
                *field = match self.value(id) {
                    Value::Unset => None,
                    _ => Some(self.count(id)),
                };
            }
        }
        if self.is_said(&[Id::Flow]) {
            sizes.flow = match self.word(Id::Flow) {
                "shed" => FlowControl::Shed,
                "off" => FlowControl::Off,
                _ => FlowControl::Hold,
            };
        }
    }

    /// A ring for `queue` usual events: frames of header and event, a power of two, bounded.
    fn ring_bytes(&self) -> usize {
        let frame_bytes = FRAME_HEADER_BYTES + self.count(Id::EventBytes).next_multiple_of(16);
        let wanted = self.count(Id::Queue).saturating_mul(frame_bytes);
        wanted.clamp(RING_BYTES.0, RING_BYTES.1).next_power_of_two()
    }

    fn links(&self, settings: &mut ReliableSettings) {
        let tcp = self.tcp();
        if self.is_said(&[Id::Pool]) {
            settings.pool = tcp.pool.min(LANES);
        }
        if self.is_said(&[Id::KeepAlive]) {
            settings.keep_alive = tcp.keep_alive.unwrap_or(Duration::MAX);
        }
        if self.is_said(&[Id::Attempts]) {
            settings.attempts = tcp.attempts;
        }
        if self.is_said(&[Id::Compression]) {
            settings.compression = tcp.compression;
        }
        if self.is_said(&[Id::StreamBytesMax]) {
            settings.stream_bytes_max = tcp.stream_bytes_max;
        }
        for (id, field, said) in [
            (Id::ConnectTimeout, &mut settings.connect_timeout, tcp.connect_timeout),
            (Id::AckTimeout, &mut settings.ack_timeout, tcp.ack_timeout),
            (Id::UndeliveredAfter, &mut settings.undelivered_after, tcp.undelivered_after),
            (Id::BackoffMin, &mut settings.backoff_min, tcp.backoff_min),
            (Id::BackoffMax, &mut settings.backoff_max, tcp.backoff_max),
        ] {
            if self.is_said(&[id]) {
                *field = said;
            }
        }
    }

    fn traces(&self, settings: &mut TraceSettings) {
        let TraceSettings { sample_one_in, group, collector, queue_spans, flush } = self.trace();
        if self.is_said(&[Id::TraceSampleOneIn]) {
            settings.sample_one_in = sample_one_in;
        }
        if self.is_said(&[Id::TraceGroup]) {
            settings.group = group;
        }
        if self.is_said(&[Id::TraceCollector]) {
            settings.collector = collector;
        }
        if self.is_said(&[Id::TraceQueue]) {
            settings.queue_spans = queue_spans;
        }
        if self.is_said(&[Id::TraceFlush]) {
            settings.flush = flush;
        }
    }

    fn sockets(&self, builder: &mut NodeBuilder) {
        let plane = &mut builder.setup.plane;
        for (id, field) in [
            (Id::Broadcast, &mut plane.broadcast),
            (Id::Direct, &mut plane.direct),
            (Id::MulticastLoopback, &mut plane.multicast.loopback),
            (Id::Checksum, &mut plane.require_checksum),
        ] {
            if self.is_said(&[id]) {
                *field = self.flag(id);
            }
        }
        for (id, field) in [
            (Id::ReceiveBuffer, &mut plane.receive_buffer_bytes),
            (Id::SendBuffer, &mut plane.send_buffer_bytes),
            (Id::Window, &mut plane.window_bytes),
        ] {
            if self.is_said(&[id]) {
                *field = self.count(id);
            }
        }
        if self.is_said(&[Id::MulticastTtl]) {
            plane.multicast.ttl = u8::try_from(self.count(Id::MulticastTtl)).unwrap_or(u8::MAX);
        }
        if self.is_said(&[Id::MulticastInterface]) {
            plane.multicast.interface = self.interface();
        }
        if self.is_said(&[Id::BusyPoll]) {
            let micros = self.time(Id::BusyPoll).as_micros();
            plane.busy_poll_us = u32::try_from(micros).unwrap_or(u32::MAX);
        }
        for group in self.groups().iter().filter_map(|group| group.parse().ok()) {
            let group: SocketAddr = group;
            let join = GroupJoin { group: group.ip(), interface: self.interface() };
            let membership = GroupMembership { join, port: group.port() };
            if !plane.groups.contains(&membership) {
                plane.groups.push(membership);
            }
        }
    }

    fn interface(&self) -> Interface {
        self.text(Id::MulticastInterface).and_then(interface).unwrap_or_default()
    }

    /// What was said and has no effect; encryption in words of its own.
    fn notes(&self) -> Vec<String> {
        let is_said = |entry: &Entry<'_>| *entry.source != Source::Default;
        let idle = self.entries().filter(|entry| is_said(entry) && entry.no_effect().is_some());
        let paths: Vec<String> = idle.map(|entry| entry.key.path()).collect();
        let mut notes = Vec::new();
        if self.security().encryption {
            notes.push(
                "security.encryption is asked for, and this key does nothing by itself: \
                 certificates (security.credentials) encrypt links and datagrams, and without \
                 them all is in clear"
                    .to_owned(),
            );
        }
        if !paths.is_empty() {
            notes.push(format!(
                "configured without effect in this version: {}; `wireloom config check` says why",
                paths.join(", ")
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Node;

    fn applied(text: &str) -> NodeBuilder {
        Node::builder("a").config(&Config::parse(text).unwrap())
    }

    #[test]
    fn profiles_set_the_figures_of_the_design_and_leave_the_rest() {
        for (profile, outbound, subscriber, packet, wait_ms, ttl) in [
            (Profile::Browser, 128 << 10, 1 << 20, 1_200, 100, 1),
            (Profile::Server, 8 << 20, 8 << 20, 1_400, 0, 64),
            (Profile::Cluster, 8 << 20, 8 << 20, 1_400, 0, 64),
        ] {
            let builder = Node::builder("a").listen("127.0.0.1:9").profile(profile);
            let (sizes, plane) = (&builder.setup.sizes, &builder.setup.plane);
            let rings = (sizes.outbound_ring_bytes, sizes.subscriber_ring_bytes);
            assert_eq!(rings, (outbound, subscriber), "{profile}");
            assert_eq!(sizes.packet_bytes, Some(packet));
            assert_eq!(plane.flush_interval, Duration::from_millis(wait_ms));
            assert_eq!(plane.multicast.ttl, ttl);
            assert!(plane.broadcast && plane.require_checksum);
            assert_eq!(plane.listen.to_string(), "127.0.0.1:9", "nobody said anything of it");
            assert_eq!(builder.setup.name, "a");
        }
    }

    #[test]
    fn the_defaults_are_what_a_builder_has_without_them() {
        let plain = Node::builder("a");
        let untouched = Node::builder("a").config(&Config::default());
        assert_eq!(format!("{plain:?}"), format!("{untouched:?}"));
        // Said aloud, word for word, they change nothing either.
        let mut aloud = Config::default();
        for (_, source) in &mut aloud.settings {
            *source = Source::Flag("--test".to_owned());
        }
        let mut aloud = Node::builder("a").config(&aloud);
        aloud.notes.clear();
        assert_eq!(format!("{plain:?}"), format!("{aloud:?}"));
    }

    #[test]
    fn every_key_with_an_effect_changes_the_builder() {
        let plain = format!("{:?}", Node::builder("a"));
        for line in [
            "[node]\nname = \"b\"",
            "[node]\nlisten = \"127.0.0.1:9000\"",
            "[node]\nmode = \"dedicated\"",
            "[node]\nreceivers = 2",
            "[node]\ncores = [0]",
            "[node]\nidle = \"spin\"",
            "[node]\nidle_spin = \"9 us\"",
            "[node]\nidle_yield = \"9 us\"",
            "[node]\nidle_park = \"9 ms\"",
            "[node]\nidle = \"sleep\"\nidle_sleep = \"2 ms\"",
            "[node]\nio = \"uring\"",
            "[node]\nstreams = 9",
            "[node]\nhuge_pages = true",
            "[events]\nflush = \"wait\"\nflush_interval = \"3 ms\"",
            "[events]\nbatch = 10",
            "[events]\npriorities = 3",
            "[events]\nqueue = 50000",
            "[events]\nevent_bytes = 4000",
            "[udp]\npacket_bytes = 1200",
            "[udp]\npath_bytes = 1200",
            "[udp]\nbroadcast = false",
            "[udp]\nmulticast_ttl = 3",
            "[udp]\nmulticast_interface = \"lo\"",
            "[udp]\nmulticast_loopback = false",
            "[udp]\nreceive_buffer = \"8 MiB\"",
            "[udp]\nsend_buffer = \"8 MiB\"",
            "[udp]\nwindow = \"8 MiB\"",
            "[udp]\nbusy_poll = \"50 us\"",
            "[udp]\nchecksum = false",
            "[udp]\nflow = \"shed\"",
            "[udp]\ndirect = false",
            "[tcp]\nstream_bytes_max = \"1 MiB\"",
            "[tcp]\nconnect_timeout = \"9 s\"",
            "[tcp]\npool = 3",
            "[discovery]\ngroup = \"239.1.1.1:9000\"",
            "[discovery]\nseeds = [\"10.0.0.1:9000\"]",
            "[discovery]\ndns = [\"seeds.example:9000\"]",
            "[services]\nannounce = [\"orders\"]",
            "[tcp]\nkeep_alive = \"9 s\"",
            "[tcp]\nack_timeout = \"9 s\"",
            "[tcp]\nattempts = 9",
            "[tcp]\nundelivered_after = \"9 s\"",
            "[tcp]\nbackoff_min = \"9 ms\"",
            "[tcp]\nbackoff_max = \"9 s\"",
            "[groups]\njoin = [\"224.1.1.1:9000\"]",
            "[security]\ncredentials = \"keys\"",
            "[security]\npolicy = \"policy.toml\"",
            "[security]\naudit = \"audit.jsonl\"",
            "[security]\nprotect = [\"normal:off\"]",
            "[trace]\nsample_one_in = 0",
            "[trace]\ngroup = \"224.1.1.1:9000\"",
            "[trace]\ncollector = \"tcp://10.0.0.1:9000\"",
            "[trace]\nqueue = 9",
            "[trace]\nflush = \"1 s\"",
        ] {
            let builder = applied(line);
            assert!(builder.notes.is_empty() && builder.wrong.is_none(), "{line}");
            assert_ne!(format!("{builder:?}"), plain, "{line}");
        }
    }

    #[test]
    fn a_queue_becomes_a_bounded_power_of_two() {
        for (queue, event_bytes, ring) in [
            (100, 48, 64 << 10),
            (1_000, 48, 128 << 10),
            (1_000, 49, 128 << 10),
            (100_000, 48, 8 << 20),
            (100_000, 64, 16 << 20),
            (10_000_000, 65_536, 64 << 20),
        ] {
            let text = format!("[events]\nqueue = {queue}\nevent_bytes = {event_bytes}");
            let sizes = applied(&text).setup.sizes;
            assert_eq!(sizes.outbound_ring_bytes, ring, "{queue} × {event_bytes}");
            assert_eq!(sizes.subscriber_ring_bytes, ring.max(1 << 20));
        }
    }

    #[test]
    fn what_has_no_effect_is_noted() {
        let notes = applied("[cluster]\nreplication = 2").notes;
        assert!(notes.len() == 1 && notes[0].contains("cluster.replication"), "{notes:?}");
        let node = Node::builder("a").profile(Profile::Cluster).start().unwrap();
        let notes = node.notes().join("\n");
        for part in ["does nothing by itself", "cluster.replication"] {
            assert!(notes.contains(part), "{notes}");
        }
        assert!(!notes.contains("udp.packet_bytes"), "{notes}");
    }
}
