//! What is written is read back: headers, frames with every combination of extensions, runs of
//! frames packed into packets and unpacked again, hashes in pieces.

use proptest::prelude::*;
use wireloom_wire::*;

use crate::sample::Event;

prop_compose! {
    fn packet_header()(
        flags in any::<u8>(),
        lane in 0..5_u8,
        session in any::<u32>(),
        source in any::<u64>(),
        sequence in any::<u64>(),
        first_event in any::<u64>(),
    ) -> PacketHeader {
        let flags = PacketFlags::from_bits(flags & PacketFlags::SUPPORTED.bits());
        // What keys a packet has is not said by flags.
        let sealed = PacketFlags::SEALED | PacketFlags::CLEAR;
        let flags = flags.without(PacketFlags::CHECKSUMMED).without(sealed);
        let status = flags.contains(PacketFlags::STATUS);
        PacketHeader {
            flags: if status { PacketFlags::STATUS } else { flags },
            lane,
            frame_count: 0,
            length: 48,
            session: SessionId(session),
            source: NodeId(source),
            sequence,
            first_event,
        }
    }
}

prop_compose! {
    fn frame_header()(
        (event_type, fingerprint) in any::<(u32, u32)>(),
        priority in 0..5_u8,
        encoding in 0..3_u8,
        (sequence, timestamp_ns) in any::<(u64, u64)>(),
    ) -> FrameHeader {
        FrameHeader {
            length: 0,
            event_type: EventTypeId(event_type),
            fingerprint: Fingerprint(fingerprint),
            priority: Priority::from_number(priority).unwrap(),
            encoding: Encoding::from_number(encoding).unwrap(),
            flags: FrameFlags::empty(),
            sequence,
            timestamp_ns,
        }
    }
}

prop_compose! {
    fn trace_context()(
        trace_id in any::<[u8; 16]>(),
        span_id in any::<[u8; 8]>(),
        sampled in any::<bool>(),
    ) -> TraceContext {
        TraceContext { trace_id, span_id, sampled }
    }
}

/// Names of 1 to 255 bytes, not only ASCII, and not only lengths that leave padding.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z-]{1,40}", "\\PC{1,60}", "x{14,16}", "x{254,255}"]
        .prop_filter("1 to 255 bytes", |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len()))
}

prop_compose! {
    fn correlation()(
        id in any::<u64>(),
        asks in any::<bool>(),
        reliable in any::<bool>(),
        (address, port) in (1..u128::MAX, 1..u16::MAX),
        subject in any::<u32>(),
    ) -> Correlation {
        let subject = EventTypeId(subject);
        if asks {
            let way = if reliable { ReplyWay::Reliable } else { ReplyWay::Datagram };
            let (kind, address) = (ExchangeKind::Request, address.to_be_bytes());
            return Correlation { id, kind, way, address, port, subject };
        }
        let kind = if reliable { ExchangeKind::Reply } else { ExchangeKind::Denial };
        let (way, address, port) = (ReplyWay::Local, [0; 16], 0);
        Correlation { id, kind, way, address, port, subject }
    }
}

prop_compose! {
    fn proof()(
        (leaf, leaves) in (1..=SIGNED_EVENTS_MAX).prop_flat_map(|leaves| (0..leaves, Just(leaves))),
        signature in any::<[u8; 32]>(),
        node in any::<[u8; HASH_BYTES]>(),
    ) -> Proof {
        let mut proof = Proof::new(leaf, leaves).unwrap();
        proof.signature[32..].copy_from_slice(&signature);
        proof.path_mut().fill(node);
        proof
    }
}

prop_compose! {
    fn event()(
        header in frame_header(),
        trace in proptest::option::of(trace_context()),
        deadline in proptest::option::of(any::<u64>()),
        proof in proptest::option::of(proof()),
        name in proptest::option::of(name()),
        correlation in proptest::option::of(correlation()),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) -> Event {
        Event { header, trace, deadline, proof, name, correlation, payload }
    }
}

fn assert_is_event(frame: &Frame<'_>, event: &Event) {
    let length = event.encoder().payload_offset() + event.payload.len();
    let expected = FrameHeader {
        length: u32::try_from(length).unwrap(),
        flags: event.flags(),
        ..event.header
    };
    assert_eq!(frame.header, expected);
    assert_eq!(frame.trace(), event.trace);
    assert_eq!(frame.deadline(), event.deadline);
    assert_eq!(frame.proof(), event.proof);
    assert_eq!(frame.name(), event.name.as_deref());
    assert_eq!(frame.correlation(), event.correlation);
    assert_eq!(frame.payload(), event.payload);
}

/// A ring's batch: frames of these events side by side.
fn batch(events: &[Event]) -> Vec<u8> {
    events.iter().flat_map(Event::frame).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packet_headers_come_back(
        header in packet_header(),
        checksummed: bool,
        padding in 0..99_usize,
    ) {
        let mut bytes = header.encode(checksummed.then(|| body_hash(&[]))).to_vec();
        let padded = header.flags.contains(PacketFlags::PADDED);
        bytes.resize(bytes.len() + if padded { padding } else { 0 }, 0);
        let decoded = decode_packet(&bytes, checksummed).unwrap().header;
        let mut expected = header;
        if checksummed {
            expected.flags = header.flags | PacketFlags::CHECKSUMMED;
        }
        prop_assert_eq!(decoded, expected);
        prop_assert_eq!(PacketHeader::peek(bytes.first_chunk().unwrap()), expected);
    }

    #[test]
    fn frames_come_back_with_any_extensions(event in event()) {
        let bytes = event.frame();
        let frame = Frame::parse(&bytes).unwrap();
        assert_is_event(&frame, &event);
        let name = event.name.as_deref().unwrap_or_default();
        let extensions = FrameHeader::extensions_bytes(event.flags(), name);
        let proof = event.proof.as_ref().map_or(0, Proof::bytes);
        prop_assert_eq!(event.encoder().payload_offset(), 32 + extensions + proof);
        prop_assert_eq!(bytes.len(), align_up(frame.bytes().len()));
        prop_assert!(bytes[frame.bytes().len()..].iter().all(|byte| *byte == 0));
        let record = Frame::parse(frame.bytes()).unwrap();
        assert_is_event(&record, &event);
    }

    #[test]
    fn runs_of_frames_are_packed_and_unpacked(
        events in proptest::collection::vec(event(), 1..60),
        room in 816..4_096_usize,
        header in packet_header(),
    ) {
        let batch = batch(&events);
        let mut datagrams = Vec::new();
        let mut at = 0;
        while at < batch.len() {
            let (bytes, count) = take_frames(&batch[at..], room);
            // Every event fits the least room, 32 + 304 + 272 + 199 bytes, and is taken greedily.
            let next = at + bytes;
            if count == 0 {
                let frame = Frame::parse(&batch[at..]).unwrap();
                prop_assert!(align_up(frame.bytes().len()) > room);
                at += align_up(frame.bytes().len());
                continue;
            }
            prop_assert!(bytes <= room);
            if let Ok(frame) = Frame::parse(&batch[next..]) {
                prop_assert!(bytes + align_up(frame.bytes().len()) > room, "not the longest run");
            }
            let body = &batch[at..next];
            let header = PacketHeader {
                flags: header.flags.without(PacketFlags::STATUS),
                frame_count: count,
                length: u32::try_from(48 + bytes).unwrap(),
                ..header
            };
            let mut datagram = header.encode(Some(body_hash(body))).to_vec();
            datagram.extend_from_slice(body);
            datagrams.push((at, datagram));
            at = next;
        }
        let mut offsets = events.iter().scan(0, |at, event| {
            let offset = *at;
            *at += event.frame().len();
            Some((offset, event))
        });
        for (start, datagram) in &datagrams {
            let packet = decode_packet(datagram, true).unwrap();
            let mut at = *start;
            for frame in packet.frames() {
                let frame = frame.unwrap();
                let event = offsets.find(|(offset, _)| *offset == at).unwrap().1;
                assert_is_event(&frame, event);
                at += align_up(frame.bytes().len());
            }
            prop_assert_eq!(at - start, packet.body.len());
        }
    }

    #[test]
    fn a_hash_in_pieces_is_the_hash(
        bytes in proptest::collection::vec(any::<u8>(), 0..3_000),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut hash = BodyHash::default();
        let mut from = 0;
        for end in ends {
            hash.update(&bytes[from..end]);
            from = end;
        }
        prop_assert_eq!(hash.finish(), body_hash(&bytes));
    }
}

#[test]
fn hashes_of_two_pieces_agree_at_every_cut() {
    // Lengths around the hash's inner steps: 16, 128, 240, 256, blocks of 1,024.
    let bytes: Vec<u8> = (0..2_100_u32).map(|byte| (byte * 7 % 251).to_le_bytes()[0]).collect();
    for length in [0, 1, 16, 17, 128, 129, 240, 241, 256, 257, 512, 1_024, 1_025, 1_344, 2_100] {
        let bytes = &bytes[..length];
        for cut in 0..=length {
            let mut hash = BodyHash::new();
            hash.update(&bytes[..cut]);
            hash.update(&bytes[cut..]);
            assert_eq!(hash.finish(), body_hash(bytes), "{length} cut at {cut}");
        }
    }
}
