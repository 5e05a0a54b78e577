//! Every bound of the data plane, each with the reason for its size; relations are checked when
//! compiled.
//!
//! Nothing here is a tuning knob: a knob lives in [`crate::config`]. A bound is what lets the
//! workers run without allocating, and what the node adds up into its worst-case memory at start.

use wireloom_wire::{
    FRAME_HEADER_BYTES, LANES, PACKET_HEADER_BYTES, PACKET_PADDING_BYTES_MAX, TAG_BYTES,
};

/// Links one sender can hold: destinations this node has sent to. One table slot each.
pub const LINKS_MAX: usize = 1024;

/// Outbound rings one sender can hold: (publishers + routers × lanes) attached at one time.
pub const OUTBOUNDS_MAX: usize = 1024;

/// Streams (source, session, lane) one receiver tracks by default; about 1.2 KiB each.
pub const SOURCES_DEFAULT: usize = 256;

/// A source unheard for this long may be evicted when the table is full: longer than any pause a
/// tail marker or heartbeat leaves on a live link.
pub const SOURCE_IDLE_NS: u64 = 30_000_000_000;

/// Subscriptions one receiver can hold, all types together.
pub const SUBSCRIPTIONS_MAX: usize = 4096;

/// Slots of the type table: twice the subscriptions, so that a probe stays short.
pub const TYPE_SLOTS: usize = 2 * SUBSCRIPTIONS_MAX;

/// Cells of a receiver's table of access, peers × types, of 4 bytes each: 2,047 peers, 511 types.
pub const ACCESS_CELLS_MAX: usize = 1 << 20;

/// Nodes and types of which a receiver remembers that they were refused; 32 bytes each.
pub const REFUSALS_MAX: usize = 1024;

/// Bytes of frames the sender packs in one duty cycle: about one GSO send, so that a critical event
/// never waits behind more than that.
pub const CYCLE_BYTES: usize = 63_000;

/// The same of the lanes below high while critical or high events flow, in one packet at most: an
/// urgent event waits for a quarter of the send and of the arrival that are under way. Bulk that
/// saturates the loopback interface has seven tenths of its rate then; 16,000 bytes in 5 µs are 25
/// Gb/s.
pub const SHORT_CYCLE_BYTES: usize = 16_000;

/// For so long after an urgent event cycles are short.
pub const SHORT_CYCLE_NS: u64 = 20_000_000;

/// Bytes of frames a lower lane may send in a cycle that higher lanes filled: the starvation bound.
pub const LANE_BYTES_MIN: usize = 1_344;

/// Packets and spans of a cycle that higher lanes leave to each lower one, however small their own
/// are: spans for as many of the smallest frames as [`LANE_BYTES_MIN`] holds.
pub const LANE_PACKETS_MIN: usize = 8;
/// See [`LANE_PACKETS_MIN`].
pub const LANE_SPANS_MIN: usize = LANE_BYTES_MIN / FRAME_HEADER_BYTES;

/// Largest UDP payload over IPv4 (65,535 − 20 − 8), rounded down to the 16-byte alignment.
pub const DATAGRAM_BYTES_MAX: usize = 65_504;

/// Packets one duty cycle can open: the cycle's bytes in the smallest packets worth sending.
pub const CYCLE_PACKETS_MAX: usize = 512;

/// Spans (contiguous pieces of rings) one duty cycle can gather.
pub const CYCLE_SPANS_MAX: usize = 1024;

/// Slices one send may carry: the kernel's UIO_MAXIOV (`sendmsg(2)`: EMSGSIZE beyond it).
pub const MESSAGE_SLICES_MAX: usize = 1024;

/// Bytes the sender can keep aside when the kernel takes no more: one full cycle, one largest
/// packet beside it, and header and tag for every packet.
pub const STASH_BYTES: usize =
    CYCLE_BYTES + 2 * DATAGRAM_BYTES_MAX + CYCLE_PACKETS_MAX * (PACKET_HEADER_BYTES + TAG_BYTES);

/// Bytes of sealed packets in one duty cycle: as many as can be kept aside, and the padding that
/// runs may waste beside them.
pub const SEALED_BYTES: usize = STASH_BYTES + STASH_BYTES / 8;

/// Commands waiting for one agent; control waits when it is full, the agent never does.
pub const COMMANDS_MAX: usize = 1024;

/// Commands an agent takes in one duty cycle, so that control cannot crowd out events.
pub const COMMANDS_PER_CYCLE: usize = 16;

/// Bytes of local records dispatched in one duty cycle, for the same reason.
pub const LOCAL_CYCLE_BYTES: usize = 64 * 1024;

/// Bytes that can wait beside the ring of a blocking subscriber, at least: what a receiver may take
/// in before it can hold. Its receive slots (520 KiB) and some local rings, twice, because the
/// smallest event is twice as long with its origin.
pub const BLOCK_BACKLOG_BYTES: usize = 2 << 20;

/// Zero bytes the sender adds to a run of packets to make its GSO segments equal; far below what a
/// receiver accepts ([`wireloom_wire::PACKET_PADDING_BYTES_MAX`]).
pub const PADDING_BYTES_MAX: usize = 1024;

/// Tail markers sent after a stream falls silent, and the wait before the first; each next one
/// waits three times longer: 5, 15, 45, 135, 405 and 1,215 ms. They make loss at the end visible.
pub const TAIL_MARKERS: u32 = 6;
/// See [`TAIL_MARKERS`].
pub const TAIL_MARKER_NS: u64 = 5_000_000;

const _: () = {
    assert!(DATAGRAM_BYTES_MAX.is_multiple_of(16));
    assert!(CYCLE_BYTES <= DATAGRAM_BYTES_MAX && LANE_BYTES_MIN < SHORT_CYCLE_BYTES);
    // Every packet has at least one span.
    assert!(CYCLE_SPANS_MAX >= CYCLE_PACKETS_MAX);
    // What is left to lower lanes leaves most to the highest.
    assert!(LANES * LANE_PACKETS_MIN * 4 < CYCLE_PACKETS_MAX);
    assert!(LANES * LANE_SPANS_MIN * 4 < CYCLE_SPANS_MAX);
    // One packet with a single smallest frame is a packet.
    assert!(PACKET_HEADER_BYTES + FRAME_HEADER_BYTES <= DATAGRAM_BYTES_MAX);
    assert!(TYPE_SLOTS.is_power_of_two() && REFUSALS_MAX.is_power_of_two());
    assert!(PADDING_BYTES_MAX <= PACKET_PADDING_BYTES_MAX);
};
