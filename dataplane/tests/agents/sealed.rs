//! Links that have keys: what is sealed, what is refused, and that nothing is answered.

use std::time::Duration;

use wireloom_dataplane::command::{ReceiverCommand, SenderCommand};
use wireloom_dataplane::control_path::{ControlIntake, read_control};
use wireloom_dataplane::counters::Counter;
use wireloom_dataplane::flow::FlowControl;
use wireloom_dataplane::keyring::{Demand, PeerKeys};
use wireloom_dataplane::link::{KEY_PATIENCE_NS, LinkConfig, LinkId, LinkSeal};
use wireloom_dataplane::outbound::mark;
use wireloom_ring::{Records, RingConfig, ring};
use wireloom_seal::{Cipher, Direction, Mode, OpeningKey, PHASE_NS, SealingKey, Secret};
use wireloom_wire::{
    KeySetId, LANES, NodeId, PacketFlags, PacketHeader, Priority, SessionId, gossip,
};

use crate::pair::{Pair, put};

const SET: KeySetId = KeySetId(0x77);

pub(crate) fn secret(byte: u8) -> Secret {
    Secret::new(Cipher::of_this_processor(), &[byte; 32])
}

fn slots(secret: &Secret, direction: Direction) -> Box<[OpeningKey]> {
    (0..3).map(|slot| OpeningKey::new(secret, direction, slot)).collect()
}

impl Pair {
    /// Gives both sides of a link their keys: the sender is node 11, the receiver node 22.
    fn share(&self, link: LinkId, secret: &Secret, mode: Mode) {
        let (out, back) = (Direction::FromDialler, Direction::FromAcceptor);
        let seal =
            LinkSeal { key: SealingKey::new(secret, out, SET, 0), modes: [Some(mode); LANES] };
        self.sender
            .sender
            .commands
            .push(SenderCommand::SetKey(link, Box::new(seal)))
            .expect("room");
        for (plane, peer, opens, answers) in [
            (&self.receiver, 11, out, Some(SealingKey::new(secret, back, SET, 2))),
            (&self.sender, 22, back, None),
        ] {
            let (peer, slots) = (NodeId(peer), slots(secret, opens));
            let keys = Box::new(PeerKeys { peer, set: SET, slots, words: answers });
            let commands = &plane.receivers[0].commands;
            commands.push(ReceiverCommand::SetKeys(keys)).expect("room");
        }
    }

    fn require(&self, demand: Demand) {
        for plane in [&self.receiver, &self.sender] {
            let command = ReceiverCommand::RequireSealed([demand; LANES]);
            plane.receivers[0].commands.push(command).expect("room");
        }
    }

    fn heard(&self, counter: Counter) -> u64 {
        self.sender.receivers[0].counters.read(counter)
    }
}

#[test]
fn events_markers_and_words_are_sealed_and_arrive_as_they_were() {
    for mode in [Mode::Full, Mode::Integrity] {
        let mut pair = Pair::new();
        let link = pair.link(0, 1_400, 1_400);
        pair.share(link, &secret(1), mode);
        pair.require(if mode == Mode::Full { Demand::Full } else { Demand::Integrity });
        let mut producers: Vec<_> = (0..3).map(|_| pair.attach(Priority::Normal)).collect();
        // Of unlike length, in several rings: packets of one span and of several, and padded runs.
        let mut expected = Vec::new();
        for producer in &mut producers {
            mark(producer, link).expect("room");
            for sequence in 0..200 {
                let payload = 40 + usize::try_from(sequence * 37 % 500).expect("small");
                put(producer, sequence, payload);
                expected.push((2, sequence, payload));
            }
        }
        pair.settle();
        let mut events = pair.events();
        events.sort_unstable();
        expected.sort_unstable();
        assert_eq!(events, expected);
        pair.clock.advance(Duration::from_millis(6));
        pair.settle();
        let sent = pair.sent(Counter::PacketsSent);
        assert!(pair.sent(Counter::TailMarkers) > 0 && pair.sent(Counter::SendCalls) < sent / 4);
        assert_eq!(pair.received(Counter::PacketsOpened), sent, "markers and questions too");
        assert_eq!(pair.received(Counter::PacketsReceived), sent);
        let words = pair.received(Counter::StatusesSent);
        assert!(words > 0);
        assert_eq!(pair.heard(Counter::StatusesHeard), words);
        assert_eq!(pair.heard(Counter::PacketsOpened), words);
    }
}

#[test]
fn what_is_encrypted_cannot_be_read_on_the_way_and_what_is_clear_can() {
    for (mode, shows) in [(None, true), (Some(Mode::Integrity), true), (Some(Mode::Full), false)] {
        let mut pair = Pair::new();
        let link = pair.link(0, 1_400, 1_400);
        if let Some(mode) = mode {
            pair.share(link, &secret(1), mode);
        }
        let (_, mut tap) = pair.network.endpoint(crate::host(2), &[]);
        let mut producer = pair.attach(Priority::Normal);
        mark(&mut producer, link).expect("room");
        put(&mut producer, 0, 100);
        pair.settle();
        let mut seen = Vec::new();
        let mut sink = |arrival: &wireloom_dataplane::io::Arrival<'_>| {
            seen.extend_from_slice(arrival.bytes);
        };
        wireloom_dataplane::io::Receive::receive(&mut tap, &mut sink);
        assert_eq!(seen.windows(50).any(|bytes| *bytes == [100; 50]), shows, "{mode:?}");
        assert_eq!(pair.events().len(), 1);
    }
}

#[test]
fn a_receiver_that_asks_for_seals_refuses_clear_ones_by_name_and_answers_none() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    pair.require(Demand::Full);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    put(&mut producer, 0, 64);
    pair.settle();
    let refused = pair.received(Counter::ClearRefused);
    assert_eq!((pair.events().len(), refused), (0, pair.sent(Counter::PacketsSent)));
    assert_eq!(pair.received(Counter::StatusesSent), 0);
    pair.share(link, &secret(1), Mode::Integrity);
    pair.settle();
    put(&mut producer, 1, 64);
    pair.settle();
    assert!(pair.received(Counter::SealedTooWeak) > 0);
    assert_eq!((pair.events().len(), pair.received(Counter::StatusesSent)), (0, 0));
}

#[test]
fn a_receiver_without_keys_refuses_sealed_packets_by_name() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    pair.share(link, &secret(1), Mode::Full);
    pair.settle();
    let forget = ReceiverCommand::ForgetPeer(NodeId(11));
    pair.receiver.receivers[0].commands.push(forget).expect("room");
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    put(&mut producer, 0, 64);
    pair.settle();
    let refused = pair.received(Counter::SealedWithoutKeys);
    assert_eq!((pair.events().len(), refused), (0, pair.sent(Counter::PacketsSent)));
    assert!(refused > 0 && pair.received(Counter::StatusesSent) == 0);
    assert!(pair.receiver.returns.free() > 0, "the keys came back to be freed");
}

#[test]
fn forged_packets_move_nothing_and_are_not_answered() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    pair.share(link, &secret(1), Mode::Full);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    put(&mut producer, 0, 64);
    pair.settle();
    for _ in 0..8 {
        // Until the last marker of the honest stream's tail has been answered.
        pair.clock.advance(Duration::from_secs(2));
        pair.settle();
    }
    let answered = pair.received(Counter::StatusesSent);
    // Right source, session, set and slot, far ahead in every count: with another key.
    let mut forger = SealingKey::new(&secret(9), Direction::FromDialler, SET, 0);
    for sequence in 0..100_u64 {
        let header = PacketHeader {
            flags: if sequence == 99 { PacketFlags::STATUS } else { PacketFlags::SEQUENCED },
            lane: 2,
            frame_count: 0,
            length: 64,
            session: SessionId(100),
            source: NodeId(11),
            sequence: 1_000 + sequence,
            first_event: 1 << 40,
        };
        let mut bytes = [0; 64];
        forger.seal((&header, Mode::Full), [], &mut bytes, 1).expect("sealed");
        pair.throw(&bytes);
    }
    // The honest packet's counter is known to be taken before any tag is looked at.
    let refused = [Counter::SealedForged, Counter::SealedReplayed].map(|c| pair.received(c));
    assert_eq!(refused, [93, 7], "seven honest counters: an event and six markers");
    assert_eq!(pair.received(Counter::StatusesSent), answered);
    put(&mut producer, 1, 64);
    pair.settle();
    assert_eq!(pair.events().len(), 2);
    assert_eq!(pair.received(Counter::EventsLost), 0);
}

#[test]
fn control_packets_are_passed_on_with_word_of_whether_they_were_sealed() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    pair.share(link, &secret(1), Mode::Full);
    let (producer, mut passed) =
        ring(RingConfig { capacity_bytes: 1 << 16, huge_pages: false }).expect("memory");
    let control = Box::new(ControlIntake::new(producer, None));
    let attend = ReceiverCommand::AttendControl(control);
    pair.receiver.receivers[0].commands.push(attend).expect("room");
    pair.settle();
    let mut bytes = [0; gossip::CONTROL_PACKET_BYTES_MAX];
    let mut packet = gossip::ControlPacket::new(&mut bytes);
    assert!(packet.push(gossip::SWIM, b"said in clear"));
    let clear = packet.finish(NodeId(11), SessionId(1)).to_vec();
    // The control thread's slot.
    let mut key = SealingKey::new(&secret(1), Direction::FromDialler, SET, 1);
    let (header, body) = clear.split_first_chunk().expect("a header");
    let header = PacketHeader { flags: PacketFlags::empty(), ..PacketHeader::peek(header) };
    let mut sealed = vec![0; clear.len() + 16];
    key.seal((&header, Mode::Full), [body], &mut sealed, 1).expect("sealed");
    pair.throw(&clear);
    pair.throw(&sealed);
    let records: Vec<_> =
        Records::new(passed.read()).filter_map(read_control).map(|p| p.authenticated).collect();
    assert_eq!(records, [false, true]);
}

#[test]
fn a_link_goes_through_phases_while_events_flow() {
    let mut pair = Pair::new();
    let link = pair.link(0, 200, 200);
    pair.share(link, &secret(1), Mode::Full);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    let mut sequence = 0;
    for _ in 0..4 {
        for _ in 0..1_200 {
            put(&mut producer, sequence, 64);
            sequence += 1;
            if sequence.is_multiple_of(400) {
                pair.settle();
            }
        }
        pair.settle();
        pair.clock.advance(Duration::from_nanos(PHASE_NS));
    }
    assert_eq!(pair.events().len(), 4_800);
    assert_eq!(pair.received(Counter::SealedWrongPhase), 0);
    assert_eq!(pair.received(Counter::EventsLost), 0);
}

/// Everything that reaches the receiver's address, beside the receiver.
fn tapped(tap: &mut wireloom_dataplane::io::simulated::SimulatedReceive) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    let mut sink =
        |arrival: &wireloom_dataplane::io::Arrival<'_>| seen.push(arrival.bytes.to_vec());
    while wireloom_dataplane::io::Receive::receive(tap, &mut sink).datagrams > 0 {}
    seen
}

#[test]
fn a_link_that_demands_a_key_waits_for_it_and_says_nothing_in_clear() {
    for flow in [FlowControl::Hold, FlowControl::Off] {
        let mut pair = Pair::new();
        let config = LinkConfig { flow, demands_key: [true; LANES], ..pair.config(0) };
        let link = pair.add(config);
        let (_, mut tap) = pair.network.endpoint(crate::host(2), &[]);
        let mut producer = pair.attach(Priority::Normal);
        mark(&mut producer, link).expect("room");
        (0..20).for_each(|sequence| put(&mut producer, sequence, 100));
        // For most of the time that it waits: no question, no marker, no event, and nothing shed.
        for _ in 0..9 {
            pair.settle();
            pair.clock.advance(Duration::from_nanos(KEY_PATIENCE_NS / 10));
        }
        assert_eq!(tapped(&mut tap), Vec::<Vec<u8>>::new(), "{flow:?}");
        assert_eq!(pair.sent(Counter::EventsTaken), 0);
        assert_eq!(
            pair.sent(Counter::WindowsUsedUp),
            1,
            "held once, and not looked at all the time"
        );
        pair.share(link, &secret(1), Mode::Full);
        pair.settle();
        assert_eq!(pair.events().len(), 20, "{flow:?}");
        assert!(tapped(&mut tap).iter().all(|bytes| wireloom_wire::is_sealed(bytes)));

        // Taken away again, much later: markers of the stream are due, and none may leave.
        pair.clock.advance(Duration::from_nanos(2 * KEY_PATIENCE_NS));
        pair.sender.sender.commands.push(SenderCommand::TakeKey(link)).expect("room");
        (20..30).for_each(|sequence| put(&mut producer, sequence, 100));
        pair.settle();
        assert_eq!(pair.sent(Counter::EventsTaken), 20, "these wait as the first did");
        for _ in 0..11 {
            pair.clock.advance(Duration::from_nanos(KEY_PATIENCE_NS / 10));
            pair.settle();
        }
        assert_eq!(tapped(&mut tap), Vec::<Vec<u8>>::new(), "{flow:?}");
        assert_eq!(pair.sent(Counter::EventsShedUnsealed), 10, "{flow:?}");
        // From now on without waiting, until there is a key.
        (30..35).for_each(|sequence| put(&mut producer, sequence, 100));
        pair.settle();
        assert_eq!(pair.sent(Counter::EventsShedUnsealed), 15);
        pair.share(link, &secret(2), Mode::Full);
        (35..40).for_each(|sequence| put(&mut producer, sequence, 100));
        pair.settle();
        let sequences: Vec<u64> = pair.events().iter().map(|(_, sequence, _)| *sequence).collect();
        assert_eq!(sequences, [35, 36, 37, 38, 39], "{flow:?}");
    }
}
