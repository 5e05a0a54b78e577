//! The counters of an agent: one table that gives each a name, a unit and a sentence.
//!
//! A block is written by one agent alone (plain load and store, no locked instruction) and read by
//! anyone. Counters only grow; the few gauges say so in their unit.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a counter is: printed by the command and the documentation from this one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterMeaning {
    /// Stable name, ends in what is counted.
    pub name: &'static str,
    /// `events`, `packets`, `bytes`, `ns`, …
    pub unit: &'static str,
    /// One sentence: what it says, and what to do about it when it matters.
    pub meaning: &'static str,
}

macro_rules! counters {
    ($($variant:ident $name:literal $unit:literal $meaning:literal;)+) => {
        /// One counter of an agent. See [`Counter::meaning`] for the sentence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $(#[doc = $meaning] $variant,)+ }

        /// Every counter, in order.
        pub const COUNTERS: &[Counter] = &[$(Counter::$variant,)+];

        const MEANINGS: &[CounterMeaning] = &[
            $(CounterMeaning { name: $name, unit: $unit, meaning: $meaning },)+
        ];
    };
}

counters! {
    EventsTaken "events_taken" "events"
        "Events the sender took out of outbound rings.";
    EventsSent "events_sent" "events"
        "Events handed to the kernel (or simulated network) in a packet.";
    EventsUnroutable "events_unroutable" "events"
        "Events shed by the sender because their link was gone.";
    EventsOversized "events_oversized" "events"
        "Events shed by the sender because they exceed the largest packet of their link.";
    EventsShedWindow "events_shed_window" "events"
        "Events shed by the sender because their peer takes no more (flow control `shed`).";
    WindowsUsedUp "windows_used_up" "times"
        "Times a stream had to wait because its peer takes no more: the peer is the slower side.";
    WindowQuestions "window_questions" "packets"
        "Empty packets sent to ask a silent peer how much it takes.";
    StatusesHeard "statuses_heard" "packets"
        "Words of peers on how much they take of this node's streams.";
    StatusesUnknown "statuses_unknown" "packets"
        "Such words about no stream of this node, or overtaken by newer ones; dropped.";
    StatusesImpossible "statuses_impossible" "packets"
        "Such words about packets that were never sent; not believed.";
    StatusesSent "statuses_sent" "packets"
        "Words to senders on how much of their streams this node takes.";
    RecordsMalformed "records_malformed" "records"
        "Records in an outbound ring that were no frame; a fault of the publishing code.";
    PacketsSealed "packets_sealed" "packets"
        "Packets sealed before they were sent.";
    EventsShedUnsealed "events_shed_unsealed" "events"
        "Events shed by the sender because their link had no key for a second, or has used up its \
         keys: see who refuses this node's handshakes.";
    PacketsSent "packets_sent" "packets"
        "Packets handed to the kernel.";
    BlocksSent "blocks_sent" "blocks"
        "Blocks of compressed packets written to reliable links.";
    BytesPacked "bytes_packed" "bytes"
        "Bytes of the packets in those blocks, before they were compressed.";
    BlocksReceived "blocks_received" "blocks"
        "Blocks of compressed packets that came by reliable links.";
    BytesSent "bytes_sent" "bytes"
        "Bytes of packets handed to the kernel, padding included.";
    SendCalls "send_runs" "messages"
        "Runs of packets handed to the kernel, each one GSO send or one datagram.";
    SendBlocked "send_blocked" "cycles"
        "Duty cycles in which the kernel took no more; the rest was kept in order.";
    DatagramsRefused "datagrams_refused" "datagrams"
        "Datagrams the kernel refused for ever (unreachable, too long for the path); the \
         receiver sees them as lost.";
    SegmentationFailures "segmentation_failures" "messages"
        "GSO sends the kernel refused; each was sent again datagram by datagram and GSO is \
         off since.";
    TailMarkers "tail_markers_sent" "packets"
        "Empty packets sent after silence so that loss at the end is seen.";
    DatagramsReceived "datagrams_received" "datagrams"
        "Datagrams that arrived, good or bad.";
    BytesReceived "bytes_received" "bytes"
        "Bytes of datagrams that arrived.";
    PacketsReceived "packets_received" "packets"
        "Packets accepted: valid, new and in the window.";
    EventsReceived "events_received" "events"
        "Events in accepted packets.";
    EventsLocal "events_local" "events"
        "Events routed to this process itself.";
    EventsDelivered "events_delivered" "events"
        "Events taken by at least one handler or subscriber ring.";
    EventsUnsubscribed "events_unsubscribed" "events"
        "Events nobody in this node asked for (filtered).";
    EventsWrongSchema "events_refused_schema" "events"
        "Events refused because their schema fingerprint is not the subscriber's.";
    EventsWrongEncoding "events_refused_encoding" "events"
        "Events refused because the subscriber cannot read their encoding.";
    EventsBadArchive "events_refused_archive" "events"
        "Events refused because their payload failed the checks of its type.";
    EventsShedRingFull "events_shed_ring_full" "events"
        "Events shed because the subscriber's ring was full; poll faster or make it larger.";
    EventsShedTooLarge "events_shed_too_large" "events"
        "Events longer than a quarter of the subscriber's ring, or than the share of a key; make \
         the ring larger.";
    EventsShedKeysFull "events_shed_keys_full" "events"
        "Events of more keys than a subscriber keeps the newest of; let it keep more.";
    EventsShedDisconnected "events_shed_disconnected" "events"
        "Events that found the ring of a subscriber full whose policy cuts it off then.";
    EventsExpired "events_expired" "events"
        "Events whose deadline had passed when they were to be sent or handled.";
    EventsUnauthorized "events_unauthorized" "events"
        "Events of other nodes that the policy does not let them send here.";
    EventsRateLimited "events_rate_limited" "events"
        "Events of other nodes beyond the rate that the policy gives them.";
    EventsRefusable "events_refusable" "events"
        "Events that the policy would have refused, were it not in shadow mode.";
    EventsUnconverted "events_unconverted" "events"
        "Dynamic (JSON) events whose subscribers read archives only; make the type known by \
         its JSON form.";
    EventsHandlerPanicked "events_handler_panicked" "events"
        "Events whose handler panicked; the worker caught it and went on.";
    EventsMalformed "events_malformed" "events"
        "Events in a valid packet whose frame, or a frame before them, was malformed.";
    EventsLost "events_lost" "events"
        "Events missing between packets of a stream, less those that came late after all.";
    EventsLate "events_late" "events"
        "Events that arrived after they had been reported lost; delivered.";
    EventsBeforeJoin "events_before_join" "events"
        "Events a stream had carried before this node first heard it.";
    PacketsDuplicate "packets_duplicate" "packets"
        "Packets seen before; dropped.";
    PacketsStale "packets_stale" "packets"
        "Packets older than the window; dropped.";
    PacketsInconsistent "packets_inconsistent" "packets"
        "Packets whose counts contradict their stream; dropped.";
    PacketsForeign "packets_foreign" "packets"
        "Packets of a new stream while the table of streams was full; dropped.";
    SourcesEvicted "streams_evicted" "streams"
        "Silent streams forgotten to make room for new ones.";
    PacketTruncated "datagrams_truncated" "datagrams"
        "Datagrams shorter than a packet header; dropped.";
    PacketVersion "datagrams_wrong_version" "datagrams"
        "Datagrams of another protocol version, or not ours at all; dropped.";
    PacketFlags "datagrams_unsupported_flags" "datagrams"
        "Packets that need a feature this version does not have; dropped.";
    SealedWithoutKeys "datagrams_sealed_without_keys" "datagrams"
        "Sealed packets at a node that has no keys at all; dropped. Security is on at the sender \
         and off here.";
    SealedUnknownKeys "datagrams_sealed_unknown_keys" "datagrams"
        "Sealed packets of a key set or slot that this node does not share with their source; \
         dropped. Of an earlier life, of a peer that has been forgotten, or invented.";
    SealedForged "datagrams_sealed_forged" "datagrams"
        "Sealed packets whose tag does not fit: changed on the way, or made by somebody without \
         the key; dropped.";
    SealedReplayed "datagrams_sealed_replayed" "datagrams"
        "Sealed packets taken before, or older than the window: sent twice by the network or by \
         somebody; dropped.";
    SealedWrongPhase "datagrams_sealed_wrong_phase" "datagrams"
        "Sealed packets of a phase of their keys that is over, or ahead of what a receiver catches \
         up with (64 phases, a try each 10 ms); dropped.";
    SealedForeignReceiver "datagrams_sealed_foreign_receiver" "datagrams"
        "Sealed packets that came to another receiver of this node than those before them; \
         dropped.";
    SealedGivenUp "datagrams_sealed_key_given_up" "datagrams"
        "Sealed packets of a key that 2^36 others did not open by; dropped until there are new \
         keys.";
    SealedTooWeak "datagrams_sealed_integrity_only" "datagrams"
        "Packets sealed without encryption in a lane that is to be encrypted; dropped.";
    ClearRefused "datagrams_clear_refused" "datagrams"
        "Packets in clear of a lane that is to be sealed; dropped.";
    PacketsOpened "packets_opened" "packets"
        "Sealed packets whose tag fits, and whose frames were read.";
    PacketLane "datagrams_bad_lane" "datagrams"
        "Packets of a lane that does not exist; dropped.";
    PacketLength "datagrams_bad_length" "datagrams"
        "Packets whose length lies; dropped.";
    PacketTrailing "datagrams_trailing_bytes" "datagrams"
        "Packets with bytes after their end that are not padding; dropped.";
    PacketChecksum "datagrams_bad_checksum" "datagrams"
        "Packets whose checksum does not fit: bits changed on the way; dropped.";
    PacketUnchecksummed "datagrams_without_checksum" "datagrams"
        "Packets without a checksum where one is required; dropped.";
    ControlPassed "control_packets_passed" "packets"
        "Packets of other nodes' control planes, passed to this node's.";
    ControlUnattended "control_packets_unattended" "packets"
        "Such packets while this node takes part in no cluster; dropped.";
    ControlOversized "control_packets_oversized" "packets"
        "Such packets longer than 1,400 bytes; dropped.";
    ControlShed "control_packets_shed" "packets"
        "Such packets that found the control thread's ring full: it is behind; dropped.";
    KernelDrops "kernel_drops" "buffers"
        "Kernel buffers (a datagram, or a joined run of them) dropped because a receive buffer \
         was full (SO_RXQ_OVFL); raise it or slow the sender. The events in them are counted as \
         lost.";
    ReceiveTruncated "receive_slots_overrun" "datagrams"
        "Datagrams longer than a receive slot; dropped.";
    ReceiveErrors "receive_errors" "errors"
        "Errors of the receive system call, other than nothing being there.";
    Commands "commands_taken" "commands"
        "Commands taken from the control side.";
    LinksDialled "links_dialled" "links"
        "Links over TCP that this node began to dial.";
    LinksBorrowed "links_borrowed" "links"
        "Links that went by a connection the peer dialled, instead of dialling one.";
    LinksParted "links_parted" "links"
        "Links that left the peer's connection for one of their own: there was more to send than \
         goes by it, or what the peer sent found no room.";
    LinksOpened "links_opened" "links"
        "Links over TCP that were opened, dialled here or there.";
    LinksUnreachable "links_unreachable" "links"
        "Dialled links that nobody took in time; tried again after a pause.";
    LinksCut "links_cut" "links"
        "Open links over TCP that the other side or the network ended.";
    LinksSilent "links_silent" "links"
        "Open links over TCP ended because nothing was acknowledged or heard in time.";
    LinksBroken "links_broken" "links"
        "Links over TCP ended because the other side broke the protocol: a bad packet, a gap, an \
         acknowledgement of what was never sent.";
    LinksSuperseded "links_superseded" "links"
        "Links over TCP ended because the same streams came in by a newer one.";
    LinksRefused "links_refused" "links"
        "Links over TCP that the other side refused; the reason stands at the undelivered events.";
    TlsHandshakes "tls_handshakes" "sockets"
        "Sockets of reliable links whose two sides proved by their certificates who they are.";
    TlsPlain "tls_refused_plain" "sockets"
        "Sockets whose other side speaks without TLS, while this node has a certificate.";
    TlsCertificate "tls_refused_certificate" "sockets"
        "Sockets whose other side has a certificate of another authority, or of another node.";
    TlsCluster "tls_refused_cluster" "sockets"
        "Sockets whose other side has a certificate of another cluster.";
    TlsRevoked "tls_refused_revoked" "sockets"
        "Sockets whose other side has a revoked certificate; open ones were ended.";
    TlsOutdated "tls_refused_expired" "sockets"
        "Sockets whose other side has a certificate that has expired or is not good yet; open ones \
         were ended. Renew it: `wireloom ca issue`.";
    TlsRefused "tls_certificate_refused" "sockets"
        "Sockets whose other side refuses this node's certificate.";
    TlsBroken "tls_broken" "sockets"
        "Sockets whose other side broke the handshake, or TLS later, or went away meanwhile.";
    TlsKeyUpdates "tls_key_updates_flooded" "sockets"
        "Sockets ended because the other side changed its keys more than once a second.";
    TlsExpired "tls_handshakes_expired" "sockets"
        "Handshakes that took too long; closed.";
    TlsShed "tls_handshakes_shed" "sockets"
        "Handshakes ended for newcomers: very many were under way.";
    TlsLimited "tls_handshakes_limited" "sockets"
        "Sockets closed at once because too many came from their address in a second.";
    LinksRenewed "links_renewed" "links"
        "Links to introduced peers that went on by another line, with other keys: once an hour.";
    NotesSent "notes_sent" "notes"
        "Notes to nodes with certificates, on revocations and keys, that were written to links.";
    NotesUnsent "notes_unsent" "notes"
        "Notes for which there was no authenticated link or no room, or whose link ended before; \
         what must be known is said again by the next link.";
    NotesReceived "notes_received" "notes"
        "Notes of other nodes that came by authenticated links.";
    NotesRefused "notes_refused" "notes"
        "Notes of nodes with certificates that are malformed, of a kind that this version does not \
         know, or lists of revocations that no authority of this cluster has signed; no effect.";
    NotesInClear "notes_refused_in_clear" "links"
        "Links over TCP ended because a node without a certificate said a note.";
    NotesFlooded "notes_refused_flooded" "links"
        "Links over TCP ended because the other side said more than 64 notes a second.";
    LinksUntrusted "links_untrusted" "links"
        "Dialled links whose other side was not trusted, or did not trust this node; the reason \
         stands at the undelivered events.";
    HandshakesExpired "handshakes_expired" "sockets"
        "Accepted sockets whose hello did not come in time; closed.";
    HandshakesShed "handshakes_shed" "sockets"
        "Accepted sockets closed before their hello came, for newcomers: very many waited.";
    HellosProtocol "hellos_refused_protocol" "hellos"
        "Hellos refused because they speak another version of the protocol.";
    HellosCluster "hellos_refused_cluster" "hellos"
        "Hellos refused because they come from another cluster.";
    HellosOwnNode "hellos_refused_own_node" "hellos"
        "Hellos refused because this node dialled itself.";
    HellosName "hellos_refused_name" "hellos"
        "Hellos refused because a node of the same name started later: two nodes share a name.";
    HellosMalformed "hellos_refused_malformed" "hellos"
        "Sockets whose first bytes were no hello.";
    HellosBusy "hellos_refused_busy" "hellos"
        "Hellos refused because there was no room for a further link or stream.";
    HellosIdentity "hellos_refused_identity" "hellos"
        "Hellos refused because the certificate is of another node than the hello.";
    HellosTls "hellos_refused_tls" "sockets"
        "Sockets whose first bytes were TLS's, while this node has no certificate.";
    HellosStream "hellos_refused_stream" "hellos"
        "Hellos refused because a stream was to go on where it has not come to.";
    PacketsResent "packets_resent" "packets"
        "Packets of reliable streams sent again on a new link.";
    PiecesSent "pieces_sent" "pieces"
        "Pieces of events larger than a packet that were written to links over TCP.";
    PiecesReceived "pieces_received" "pieces"
        "Pieces of such events that came in by links over TCP.";
    PiecesRefused "pieces_refused" "pieces"
        "Pieces that contradict the ones before, or come beyond what was granted; their link was \
         ended as broken.";
    ReassemblyBytes "reassembly_bytes" "bytes_now"
        "Memory reserved now for events that come in pieces, until their handlers have taken them; \
         it goes up and down.";
    ReassemblyBytesMost "reassembly_bytes_most" "bytes_most"
        "The most that reassembly_bytes has been.";
    ReassembliesWaited "reassemblies_waited" "events"
        "Events in pieces that had to wait until the memory for such events had room.";
    ReassembliesAbandoned "reassemblies_abandoned" "events"
        "Events in pieces of which nothing more came in time; their memory was freed, and they \
         begin anew when their sender comes back.";
    RequestsTimedOut "requests_timed_out" "requests"
        "Requests of this node that nothing was heard of in time.";
    RequestsDenied "requests_denied" "requests"
        "Requests of other nodes that were told that no reply comes, and why.";
    RepliesLate "replies_late" "replies"
        "Replies to requests that nobody waits for any more; dropped.";
    RepliesDuplicate "replies_duplicate" "replies"
        "Replies to requests that had one already, of a second node or come twice; dropped.";
    RepliesShed "replies_shed" "replies"
        "Replies that found the way to the control thread full, or no way to the requester; it \
         waits in vain.";
    ReturnsLeaked "returns_leaked" "returns"
        "Things given back to control that found its queue full and were leaked instead of \
         freed on a worker.";
}

impl Counter {
    /// The name, unit and sentence of this counter.
    #[must_use]
    pub const fn meaning(self) -> &'static CounterMeaning {
        &MEANINGS[self as usize]
    }
}

/// A block of all [`Counter`]s, written by one agent, read by anyone.
///
/// A read is not a snapshot of several counters at one instant; sums settle when the agent is idle.
#[derive(Debug)]
pub struct Counters {
    cells: [AtomicU64; COUNTERS.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self { cells: [const { AtomicU64::new(0) }; COUNTERS.len()] }
    }
}

impl Counters {
    /// Adds `n`. Only the owning agent may call this: it is a load and a store, not an atomic add,
    /// because one writer needs no more (about 1 ns instead of 7).
    #[inline]
    pub fn add(&self, counter: Counter, n: u64) {
        let cell = &self.cells[counter as usize];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` back: only for events reported lost that arrived after all.
    #[inline]
    pub fn take_back(&self, counter: Counter, n: u64) {
        let cell = &self.cells[counter as usize];
        cell.store(cell.load(Ordering::Relaxed).saturating_sub(n), Ordering::Relaxed);
    }

    /// Sets a value that somebody else counts (the kernel's drops). Only the owning agent.
    #[inline]
    pub fn set(&self, counter: Counter, value: u64) {
        self.cells[counter as usize].store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[inline]
    #[must_use]
    pub fn read(&self, counter: Counter) -> u64 {
        self.cells[counter as usize].load(Ordering::Relaxed)
    }

    /// Every counter that is not zero, with its meaning.
    pub fn non_zero(&self) -> impl Iterator<Item = (&'static CounterMeaning, u64)> + '_ {
        COUNTERS.iter().map(|c| (c.meaning(), self.read(*c))).filter(|(_, value)| *value > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_counter_has_its_own_name_a_unit_and_a_sentence() {
        let mut names = BTreeSet::new();
        for counter in COUNTERS {
            let CounterMeaning { name, unit, meaning } = counter.meaning();
            assert!(names.insert(*name), "{name} stands twice");
            assert!(!unit.is_empty() && !unit.contains(' '), "{name}: unit {unit:?}");
            assert!(meaning.ends_with('.') && meaning.contains(' '), "{name}: {meaning:?}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        }
        assert_eq!(MEANINGS.len(), COUNTERS.len());
    }

    #[test]
    fn a_counter_adds_and_takes_back_without_wrapping_below_zero() {
        let counters = Counters::default();
        counters.add(Counter::EventsLost, 5);
        counters.take_back(Counter::EventsLost, 2);
        assert_eq!(counters.read(Counter::EventsLost), 3);
        counters.take_back(Counter::EventsLost, 9);
        assert_eq!(counters.read(Counter::EventsLost), 0);
        assert_eq!(counters.non_zero().count(), 0);
    }
}
