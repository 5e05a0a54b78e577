//! Every key of the configuration: the one place that says which there are, what they mean, and
//! what default and profiles say. Files, environment, command line, `wireloom config` and the
//! commented files of `tuning/profiles/` all follow it.

use std::time::Duration;

use wireloom_wire::LANES;

use super::key::{Effect, Key, Kind};
use super::profile::Profile;
use super::text::Form;

/// A key of [`KEYS`], by its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    NodeName,
    NodeProfile,
    Listen,
    Mode,
    Receivers,
    Cores,
    Idle,
    IdleSpin,
    IdleYield,
    IdlePark,
    IdleSleep,
    Io,
    Streams,
    HugePages,
    Batch,
    Flush,
    FlushInterval,
    Queue,
    EventBytes,
    Priorities,
    PacketBytes,
    PathBytes,
    Broadcast,
    MulticastTtl,
    MulticastInterface,
    MulticastLoopback,
    ReceiveBuffer,
    SendBuffer,
    Window,
    BusyPoll,
    Direct,
    Checksum,
    Sequencing,
    Flow,
    ConnectTimeout,
    Pool,
    KeepAlive,
    AckTimeout,
    Attempts,
    UndeliveredAfter,
    BackoffMin,
    BackoffMax,
    Compression,
    StreamBytesMax,
    DiscoveryGroup,
    Seeds,
    Dns,
    Heartbeat,
    Announce,
    Choice,
    Join,
    Replication,
    Encryption,
    Insecure,
    CredentialsFolder,
    PolicyFile,
    AuditFile,
    Protect,
    TraceSampleOneIn,
    TraceGroup,
    TraceCollector,
    TraceQueue,
    TraceFlush,
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const HOUR: Duration = Duration::from_secs(3_600);
const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

/// The table. Ids stand in the order of [`Id`].
pub(super) const KEYS: &[Key] = &[
    Key::open(Id::NodeName, ("node", "name"), Kind::Text(Form::Name), "none").means(
        "The node's name, which is its identity: no two nodes of a network share one. Left open, \
         the program that starts the node names it.",
    ),
    Key::open(Id::NodeProfile, ("node", "profile"), Kind::Word(Profile::NAMES), "none")
        .profiles([Some("browser"), Some("server"), Some("cluster")])
        .means(
            "The profile whose figures stand where neither file, environment nor command line \
             say anything.",
        ),
    Key::new(Id::Listen, ("node", "listen"), Kind::Text(Form::Listen), "127.0.0.1:0").means(
        "Where the node receives and what it sends from. The default is reached from this machine \
         alone; 0.0.0.0 is every network of it. A name is looked up when the node is set up.",
    ),
    Key::new(Id::Mode, ("node", "mode"), Kind::Word(&["shared", "dedicated"]), "shared")
        .means("Threads: one for everything, or one for the sender and one for each receiver."),
    Key::new(Id::Receivers, ("node", "receivers"), Kind::Count(1, 64), "1")
        .means("Receivers that share the port; a peer's events stay with one of them."),
    Key::new(Id::Cores, ("node", "cores"), Kind::Counts(65, 4_095), "").means(
        "Cores the worker threads are pinned to, sender first. Empty leaves it to the system.",
    ),
    Key::new(Id::Idle, ("node", "idle"), Kind::Word(&["adaptive", "spin", "sleep"]), "adaptive")
        .means(
            "What a worker does without work: spin through short gaps and park in long ones; \
             always spin (a whole core, lowest latency); always sleep.",
        ),
    Key::new(Id::IdleSpin, ("node", "idle_spin"), Kind::Time(ms(0), ms(1_000)), "50 us")
        .means("How long an adaptive worker spins at most, if the gap before was as short."),
    Key::new(Id::IdleYield, ("node", "idle_yield"), Kind::Time(ms(0), ms(1_000)), "0 s")
        .means("How long it then gives the core away between two looks."),
    Key::new(Id::IdlePark, ("node", "idle_park"), Kind::Time(ms(1), ms(10_000)), "100 ms").means(
        "How long it then parks at a time; packets, publishers and deadlines wake it at once.",
    ),
    Key::new(
        Id::IdleSleep,
        ("node", "idle_sleep"),
        Kind::Time(Duration::from_micros(1), ms(1_000)),
        "1 ms",
    )
    .means("How long a worker of idle = \"sleep\" sleeps, woken by nothing."),
    Key::new(Id::Io, ("node", "io"), Kind::Word(&["auto", "mio", "uring"]), "auto").means(
        "What carries datagrams: system calls (auto, mio) or io_uring. Where the kernel refuses \
         io_uring, system calls do, and the node notes it.",
    ),
    Key::new(Id::Streams, ("node", "streams"), Kind::Count(1, 65_536), "256").means(
        "Streams (node x destination x priority) each receiver follows; about 1.2 KiB each.",
    ),
    Key::new(Id::HugePages, ("node", "huge_pages"), Kind::Flag, "false")
        .means("Asks for huge pages for rings of 2 MiB and more."),
    Key::new(Id::Batch, ("events", "batch"), Kind::Count(1, 65_536), "1000")
        .profiles([Some("10"), Some("1000"), Some("1000")])
        .means(
            "Events of a publisher that end a wait: with flush = \"wait\" the sender comes round \
             when so many are there, or after flush_interval. With natural nothing waits for a \
             number: a sender packs what there is, 63,000 bytes at a time.",
        ),
    Key::new(Id::Flush, ("events", "flush"), Kind::Word(&["natural", "wait"]), "natural")
        .profiles([Some("wait"), Some("natural"), Some("natural")])
        .means(
            "natural: what there is leaves when the sender comes round, which is at once, and \
             flush_interval is a bound that holds always. wait: a sender that has sent comes \
             round again after flush_interval, for fewer wake-ups; critical events, local ones \
             and a full ring do not wait.",
        ),
    Key::new(Id::FlushInterval, ("events", "flush_interval"), Kind::Time(ms(0), ms(10_000)), "1 s")
        .profiles([Some("100 ms"), Some("1 s"), Some("1 s")])
        .means("The longest an accepted event waits for company; see flush."),
    Key::new(Id::Queue, ("events", "queue"), Kind::Count(100, 10_000_000), "3000")
        .profiles([Some("1000"), Some("100000"), Some("100000")])
        .means(
            "Events that may wait between a publisher and the sender, and as many between the \
             receiver and a subscriber. The ring of each is made when it is first used, of queue \
             x (32 + event_bytes) bytes, rounded up to a power of two from 64 KiB to 64 MiB; a \
             subscriber's has 1 MiB at least.",
        ),
    Key::new(Id::EventBytes, ("events", "event_bytes"), Kind::Bytes(0, 64 * KIB), "48 B").means(
        "Bytes of a usual event without its header, which turn queue into bytes of rings. \
         Larger events travel all the same, and fewer of them fit.",
    ),
    Key::new(Id::Priorities, ("events", "priorities"), Kind::Choice(&[3, 5]), "5")
        .profiles([Some("3"), Some("5"), Some("5")])
        .means(
            "Levels of priority that datagrams are sent in, a lane each. With 3, critical and \
             high events share one, and low and background ones. Reliable events have five.",
        ),
    Key::open(Id::PacketBytes, ("udp", "packet_bytes"), Kind::Bytes(256, 65_504), "auto")
        .profiles([Some("1200 B"), Some("1400 B"), Some("1400 B")])
        .means(
            "Packets are filled up to this. auto: 1,400 bytes, and on loopback all that a \
             datagram holds. One larger event still travels alone as far as the path carries it.",
        ),
    Key::open(Id::PathBytes, ("udp", "path_bytes"), Kind::Bytes(256, 65_504), "auto")
        .means("The largest packet of every path. auto: the system is asked for each path's MTU."),
    Key::new(Id::Broadcast, ("udp", "broadcast"), Kind::Flag, "true")
        .servers("true")
        .means("Whether broadcast may be sent."),
    Key::new(Id::MulticastTtl, ("udp", "multicast_ttl"), Kind::Count(1, 255), "1")
        .servers("64")
        .means("Networks a multicast packet may cross; 1 is the local one."),
    Key::open(
        Id::MulticastInterface,
        ("udp", "multicast_interface"),
        Kind::Text(Form::Interface),
        "default",
    )
    .means("Interface that multicast leaves by and groups are joined on: name, address or index."),
    Key::new(Id::MulticastLoopback, ("udp", "multicast_loopback"), Kind::Flag, "true")
        .means("Whether other processes of this host receive the node's multicast."),
    Key::new(Id::ReceiveBuffer, ("udp", "receive_buffer"), Kind::Bytes(4 * KIB, GIB), "4 MiB")
        .means("Room the kernel is asked for on the way in; the node notes when it gives less."),
    Key::new(Id::SendBuffer, ("udp", "send_buffer"), Kind::Bytes(4 * KIB, GIB), "1 MiB")
        .means("Room the kernel is asked for on the way out."),
    Key::new(Id::Window, ("udp", "window"), Kind::Bytes(4 * KIB, GIB), "512 KiB").means(
        "Bytes all senders together may have on their way to a receiver, and never more than its \
         buffer really has. More is for long fast paths: bytes a second x round trip.",
    ),
    Key::new(Id::BusyPoll, ("udp", "busy_poll"), Kind::Time(ms(0), ms(1_000)), "0 s").means(
        "How long a look at an empty socket polls the network card. Needs CAP_NET_ADMIN; no \
         effect on loopback.",
    ),
    Key::new(Id::Direct, ("udp", "direct"), Kind::Flag, "true").means(
        "Connects a second socket to the peer that nine of ten datagrams go to: sends and looks \
         cost less. Not with io_uring or several receivers.",
    ),
    Key::new(Id::Checksum, ("udp", "checksum"), Kind::Flag, "true")
        .cluster("true")
        .means("Refuses packets without a checksum. Nodes of this version always send one."),
    Key::new(Id::Sequencing, ("udp", "sequencing"), Kind::Flag, "true")
        .cluster("true")
        .means("Numbers packets and events, so that a receiver counts what is lost exactly.")
        .effect(Effect::Always("true", "packets are numbered always")),
    Key::new(Id::Flow, ("udp", "flow"), Kind::Word(&["hold", "shed", "off"]), "hold").means(
        "Events beyond what a peer takes: hold them here (publishers are refused when the ring is \
         full), shed them by name, or send all the same. Groups are always sent to like that.",
    ),
    Key::new(Id::ConnectTimeout, ("tcp", "connect_timeout"), Kind::Time(ms(1), ms(600_000)), "5 s")
        .profiles([Some("5 s"), Some("30 s"), Some("30 s")])
        .means("How long a connection may take to be made."),
    Key::new(Id::Pool, ("tcp", "pool"), Kind::Count(1, 1_000), "2").servers("100").means(
        "TCP links to each peer, at most. The five priorities are spread over them, so that \
             more than 5 are 5; with 2, critical events have a link of their own.",
    ),
    Key::new(Id::KeepAlive, ("tcp", "keep_alive"), Kind::Time(ms(0), HOUR), "15 s")
        .servers("15 s")
        .means("A silent link is asked for life each this long; 0 s never."),
    Key::new(Id::AckTimeout, ("tcp", "ack_timeout"), Kind::Time(ms(1), ms(600_000)), "10 s")
        .cluster("10 s")
        .means("A link that acknowledges nothing for this long is made anew."),
    Key::new(Id::Attempts, ("tcp", "attempts"), Kind::Count(1, 1_000), "5")
        .cluster("5")
        .means("Attempts to deliver before an event is reported undelivered."),
    Key::new(
        Id::UndeliveredAfter,
        ("tcp", "undelivered_after"),
        Kind::Time(ms(0), HOUR),
        "10 s",
    )
    .means(
        "Attempts go on at least this long after the first that failed, however many they are: a \
         peer that restarts needs its time.",
    ),
    Key::new(Id::BackoffMin, ("tcp", "backoff_min"), Kind::Time(ms(1), ms(60_000)), "200 ms")
        .means("Wait before the second attempt; each next one waits twice as long, with jitter."),
    Key::new(Id::BackoffMax, ("tcp", "backoff_max"), Kind::Time(ms(1), ms(600_000)), "10 s")
        .means("The longest wait between two attempts; at least backoff_min."),
    Key::new(Id::Compression, ("tcp", "compression"), Kind::Flag, "false")
        .cluster("true")
        .means("Whether links compress what they carry, if the other side does too."),
    Key::new(Id::StreamBytesMax, ("tcp", "stream_bytes_max"), Kind::Bytes(64 * KIB, GIB), "64 MiB")
        .means(
            "The largest event to and from reliable targets; what no packet holds travels by TCP \
             in pieces.",
        ),
    Key::open(Id::DiscoveryGroup, ("discovery", "group"), Kind::Text(Form::Group), "none")
        .means("The multicast group that nodes say hello to."),
    Key::new(Id::Seeds, ("discovery", "seeds"), Kind::Texts(Form::Peer, 256), "")
        .means("Nodes to say hello to where there is no multicast."),
    Key::new(Id::Dns, ("discovery", "dns"), Kind::Texts(Form::Peer, 64), "")
        .means("Names of which every address is a seed."),
    Key::new(Id::Heartbeat, ("discovery", "heartbeat"), Kind::Time(ms(100), HOUR), "5 s")
        .means("Time between two heartbeats of a node."),
    Key::new(Id::Announce, ("services", "announce"), Kind::Texts(Form::Name, 64), "")
        .means("Services this node offers, by name."),
    Key::new(
        Id::Choice,
        ("services", "choice"),
        Kind::Word(&["round-robin", "least-loaded", "consistent-hash"]),
        "round-robin",
    )
    .means("Which of a service's members an event goes to; by hash, the same for a node's events."),
    Key::new(Id::Join, ("groups", "join"), Kind::Texts(Form::Group, 256), "")
        .means("Multicast groups the node receives from, on udp.multicast_interface."),
    Key::new(Id::Replication, ("cluster", "replication"), Kind::Count(1, 16), "1")
        .cluster("3")
        .means("Nodes that keep a copy of an event.")
        .effect(Effect::None("events of this version are kept by their publisher alone")),
    Key::new(Id::Encryption, ("security", "encryption"), Kind::Flag, "false")
        .cluster("true")
        .means("Whether links and packets are encrypted.")
        .effect(Effect::Always(
            "false",
            "certificates make links and datagrams encrypted, not this key",
        )),
    Key::new(Id::Insecure, ("security", "insecure"), Kind::Flag, "false").means(
        "Whether other hosts may reach a node that has no certificate: without this word it does \
         not start there.",
    ),
    Key::open(
        Id::CredentialsFolder,
        ("security", "credentials"),
        Kind::Text(Form::Path),
        "none",
    )
    .means(
        "Folder with the certificate and key of the node's name, as \"wireloom ca issue\" wrote \
         them: links are TLS and datagrams sealed then, for nodes of the same authority alone.",
    ),
    Key::open(Id::PolicyFile, ("security", "policy"), Kind::Text(Form::Path), "none").means(
        "File that says who may do what, TOML of its own: other nodes are held to it from the \
         start. \"wireloom node\" looks at it once a second.",
    ),
    Key::open(Id::AuditFile, ("security", "audit"), Kind::Text(Form::Path), "none").means(
        "File that gets a line of JSON for what is refused and decided about security, at most \
         100 a second and 8 MiB, with one file before it.",
    ),
    Key::new(Id::Protect, ("security", "protect"), Kind::Texts(Form::Protection, LANES), "").means(
        "How datagrams of a priority are protected between nodes with certificates: full \
         (encrypted, which those are that nothing is said of), integrity (proved and readable), \
         off (in clear, from anybody, which beyond this host needs insecure). All nodes are to be \
         told alike.",
    ),
    Key::new(
        Id::TraceSampleOneIn,
        ("trace", "sample_one_in"),
        Kind::Count(0, u32::MAX as u64),
        "1",
    )
    .means(
        "Of the traces that begin in this process, one in so many is told; 0 tells none. What \
         fails is told in any case.",
    ),
    Key::new(Id::TraceGroup, ("trace", "group"), Kind::Text(Form::Group), "224.1.1.2:9000")
        .means("The multicast group that spans go to, by udp.multicast_interface."),
    Key::new(
        Id::TraceCollector,
        ("trace", "collector"),
        Kind::Text(Form::Target),
        "reliable:service:error-collector",
    )
    .means("Where spans and errors that failed go; to the group when nobody takes them there."),
    Key::new(Id::TraceQueue, ("trace", "queue"), Kind::Count(1, 1_000_000), "4096").means(
        "Spans that may wait for the tracer's thread, and as many failed ones beside them; about \
         200 bytes each, and their texts.",
    ),
    Key::new(Id::TraceFlush, ("trace", "flush"), Kind::Time(ms(1), ms(60_000)), "10 ms")
        .means("How often the tracer's thread looks for spans that have ended."),
];

/// The key of this place.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// The sections in order.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let first = |index: usize, key: &Key| index == 0 || KEYS[index - 1].section != key.section;
    KEYS.iter()
        .enumerate()
        .filter(move |(index, key)| first(*index, key))
        .map(|(_, key)| key.section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_each_of_its_texts_is_a_value() {
        for (index, key) in KEYS.iter().enumerate() {
            assert_eq!(key.id as usize, index, "{}", key.path());
            assert!(key.meaning.ends_with('.'), "{}", key.path());
            let says = Profile::ALL.iter().filter_map(|profile| key.profile_text(*profile));
            for text in says.chain([key.default_text()]) {
                let value = key.value_of(text).unwrap_or_else(|e| panic!("{}: {e}", key.path()));
                let again = key.value_of(&key.text_of(&value));
                assert_eq!(again.as_ref(), Ok(&value), "{}: {text}", key.path());
            }
        }
        let mut paths: Vec<String> = KEYS.iter().map(Key::path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), KEYS.len(), "each path once");
        assert_eq!(sections().count(), 10, "each section in one piece");
    }
}
