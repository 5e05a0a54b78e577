//! How reliable links behave: what the user may set, with defaults that work.

use std::time::Duration;

/// Settings of the reliable links of a node, for all its peers. Every field may be set; the
/// defaults are those of the server profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReliableSettings {
    /// TCP links to each peer (1 to 5). With one, all priorities share it; with two (the default)
    /// critical events have a link of their own and never wait behind bulk; with five each priority
    /// has.
    pub pool: usize,
    /// How long dialling and the exchange of hellos may take together. Default 5 s.
    pub connect_timeout: Duration,
    /// How long an acknowledgement may be out before the link is given up and dialled anew. Default
    /// 10 s.
    pub ack_timeout: Duration,
    /// A link without events asks this often whether the peer is there. Default 15 s. The listening
    /// side forgets a link that has said nothing for three times its own value, or four times where
    /// it has itself sent events by it and has none any more.
    pub keep_alive: Duration,
    /// Attempts in a row without one acknowledgement after which everything on its way to the peer
    /// is undelivered, if [`ReliableSettings::undelivered_after`] has passed too. Default 5; at
    /// least 1.
    pub attempts: u32,
    /// How long after the first of those attempts failed nothing is undelivered yet, and attempts
    /// go on: a peer that refuses connections uses up five in a second or two, and a restart takes
    /// longer. What is given up is so when an attempt fails after that, a pause later. Default
    /// 10 s.
    pub undelivered_after: Duration,
    /// The longest pause before the second attempt; it doubles with each further one. The pause
    /// itself is chosen evenly between 0 and that (full jitter). Default 200 ms.
    pub backoff_min: Duration,
    /// The pause grows to at most this. Default 10 s.
    pub backoff_max: Duration,
    /// The ring of one publisher, and the most that of one router, target and priority grows to:
    /// events stay there until they are acknowledged. A power of two, at least 4,096 bytes; default
    /// 1 MiB.
    pub ring_bytes: usize,
    /// The largest event, bytes with its header. What no packet or ring holds travels in pieces, up
    /// to this: it bounds what this node sends and what it takes. At most 1 GiB; default 64 MiB.
    pub stream_bytes_max: usize,
    /// Whether links compress what they carry (LZ4), if the other side does too. Worth it where the
    /// network is slower than some 500 MB/s, or paid by the byte. Default no.
    pub compression: bool,
    /// What the ring of one router, target and priority begins with. When it is full, or an event
    /// is longer than a quarter of it, the router goes on in one four times as large, up to
    /// `ring_bytes`. A power of two, at least 4,096 bytes; default 16 KiB, so that two rings to
    /// each of a hundred peers are 3 MiB.
    pub ring_bytes_first: usize,
    /// Whether this node takes reliable events: it listens by TCP at the port it receives datagrams
    /// on. Default yes.
    pub listens: bool,
    /// How long the keys of an authenticated line to a peer that was introduced are used: then
    /// another line takes its place. Default 1 h.
    pub renew_after: Duration,
}

impl Default for ReliableSettings {
    fn default() -> Self {
        Self {
            pool: 2,
            connect_timeout: Duration::from_secs(5),
            ack_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
            attempts: 5,
            undelivered_after: Duration::from_secs(10),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            ring_bytes: 1 << 20,
            stream_bytes_max: 64 << 20,
            compression: false,
            ring_bytes_first: 16 << 10,
            listens: true,
            renew_after: Duration::from_secs(3_600),
        }
    }
}

/// The most that [`ReliableSettings::stream_bytes_max`] can be: a frame's offsets within it are
/// numbers of 32 bits with a sign.
const STREAM_BYTES_MOST: usize = 1 << 30;

impl ReliableSettings {
    /// The largest event, within what can be.
    #[must_use]
    pub fn event_bytes_max(&self) -> usize {
        self.stream_bytes_max.min(STREAM_BYTES_MOST)
    }

    /// What a router's ring to a peer begins with; bytes.
    #[must_use]
    pub fn first_ring_bytes(&self) -> usize {
        self.ring_bytes_first.min(self.ring_bytes)
    }
}

/// A duration in ns; one of more than 584 years is as long as that.
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
